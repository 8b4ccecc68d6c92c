"""The HTTP transport of the API server: sockets, TLS and HTTP/1.1, written for this server and nothing else.

``server`` listens and keeps what all connections share; ``connection`` is one client, on top of a ``wire``; ``heads``
and ``bodies`` read requests, ``answers`` renders what is sent back, ``streams`` is for answers that come bit by bit and
for upgrades; ``tls`` and ``canames`` have the certificates, ``handshakes`` those who have yet to
finish theirs, ``limits`` every bound.
"""

from sampan.server.http.answers import limited_warnings
from sampan.server.http.limits import MAX_BODY_BYTES, Limits, raise_descriptor_limit
from sampan.server.http.server import Answerer, HttpServer
from sampan.server.http.tls import TlsFiles

__all__ = [
    "MAX_BODY_BYTES",
    "Answerer",
    "HttpServer",
    "Limits",
    "TlsFiles",
    "limited_warnings",
    "raise_descriptor_limit",
]
