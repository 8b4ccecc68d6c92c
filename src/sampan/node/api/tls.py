"""The TLS side of the node API: the server's certificate, and the CA of clients. Callers reload on rotation."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias, cast

#: (kind, value) of a certificate's subject, in its order: ``("commonName", "admin")``
Subject: TypeAlias = tuple[tuple[str, str], ...]


def server_context(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """A client may show a certificate, and then it must be of the CA. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def peer_subject(tls: object) -> Subject | None:
    """Whom the verified client certificate of a connection's ``ssl_object`` names; None when none was shown. As
    OpenSSL tells it, which has read the certificate anyhow: a library for it would take 8 MiB."""
    if not isinstance(tls, ssl.SSLObject):
        return None
    try:
        shown = tls.getpeercert()
    except ValueError:  # a name that is no text
        return ()
    if shown is None:
        return None
    parts = cast("Iterable[Subject]", shown.get("subject", ()))
    return tuple(pair for part in parts for pair in part)
