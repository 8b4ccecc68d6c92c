"""TLS of the serving side: certificates from files, read again on demand, and HTTP where TLS is spoken.

Client certificates are asked for and verified, but not required: other credentials may come in a header.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from sampan.server.http.canames import name_authorities

PLAIN_HTTP_ANSWER = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 48\r\n"
    b"Connection: close\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server.\n"
)


class _TlsObject(ssl.SSLObject):
    """A TLS connection that says why it fails: by its alert, or in plain HTTP to a peer that speaks plain HTTP.

    Event loops drop a connection whose handshake fails at once, with whatever was still to be sent.
    """

    outgoing: ssl.MemoryBIO | None = None
    failed: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        if self.failed is not None:
            raise self.failed
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            outgoing = self.outgoing
            if outgoing is None:
                raise
            if error.reason == "HTTP_REQUEST":
                outgoing.read()  # drops the alert
                outgoing.write(PLAIN_HTTP_ANSWER)
            if not outgoing.pending:
                raise
            self.failed = error
            # The event loop sends what is there and waits for more, which then fails for good.
            raise ssl.SSLWantReadError from error


class _LoadedContext(ssl.SSLContext):
    """What the files held at one time."""

    sslobject_class = _TlsObject

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **named: Any) -> ssl.SSLObject:
        made = super().wrap_bio(incoming, outgoing, *args, **named)
        if isinstance(made, _TlsObject):
            made.outgoing = outgoing
        return made


class _CurrentContext(ssl.SSLContext):
    """The context that a listener holds on to: every new connection gets the one that is current.

    A context cannot forget an authority, so what changes is replaced as a whole.
    """

    current: ssl.SSLContext

    def wrap_bio(self, *args: Any, **named: Any) -> ssl.SSLObject:
        return self.current.wrap_bio(*args, **named)


class TlsFiles:
    """The serving certificate and the client CA on disk. ``context`` stays the same object through every ``reload``."""

    def __init__(self, cert: Path, key: Path, client_ca: Path | None, *more_cas: Path) -> None:
        """``more_cas``: whose client certificates are taken too; whoever asks whom a certificate names knows whose."""
        self._cert, self._key = cert, key
        self._client_cas = [*([client_ca] if client_ca is not None else []), *more_cas]
        self._context = _CurrentContext(ssl.PROTOCOL_TLS_SERVER)
        self.reload()

    @property
    def context(self) -> ssl.SSLContext:
        return self._context

    def reload(self) -> None:
        """New connections use the files as they are now, and nothing else. Raises OSError or ssl.SSLError, and then
        keeps what it had."""
        self._context.current = self._load()

    def _load(self) -> ssl.SSLContext:
        context = _LoadedContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._cert, self._key)
        for authority in self._client_cas:
            context.load_verify_locations(authority)
        if self._client_cas:
            context.verify_mode = ssl.CERT_OPTIONAL
            name_authorities(context, *self._client_cas)
        return context


__all__ = ["PLAIN_HTTP_ANSWER", "TlsFiles"]
