"""The TLS side of the node API: the server's certificate, and the CA of clients. Callers reload on rotation."""

from __future__ import annotations

import ssl
from pathlib import Path


def server_context(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """A client may show a certificate, and then it must be of the CA. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def peer_certificate(tls: object) -> bytes | None:
    """DER of the verified client certificate of a connection's ``ssl_object``; None when none was shown."""
    return tls.getpeercert(binary_form=True) if isinstance(tls, ssl.SSLObject) else None
