"""TLS towards webhooks: one context for each bundle of CAs, kept as long as it is asked for.

A context of the machine's own roots takes some ten milliseconds to read: contexts are made in a thread.
"""

from __future__ import annotations

import ssl
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Final

from sampan.server.threads import aside
from sampan.server.webhooks.credentials import Identity
from sampan.server.webhooks.targets import BadTarget

#: contexts kept; one of a few CAs takes some ten kilobytes
_KEPT: Final = 256


class ClientCertificateError(Exception):
    """The certificate that is configured cannot be used."""


class Trust:
    def __init__(self) -> None:
        self._contexts: OrderedDict[tuple[bytes, Identity | None], ssl.SSLContext] = OrderedDict()

    async def towards(self, bundle: bytes, identity: Identity | None = None) -> ssl.SSLContext:
        """Believes who the bundle's CAs have signed. Raises BadTarget: it holds no certificate."""
        key = (bundle, identity)
        found = self._contexts.get(key)
        if found is not None:
            self._contexts.move_to_end(key)
            return found
        try:
            made = await aside(_context, bundle, identity)
        except ClientCertificateError as error:
            raise BadTarget(str(error)) from error
        except (ssl.SSLError, ValueError):
            text = "unable to load root certificates: unable to parse bytes as PEM block"
            raise BadTarget(text) from None
        # Two that came at the same time share one: connections are kept by their context.
        found = self._contexts.setdefault(key, made)
        while len(self._contexts) > _KEPT:
            self._contexts.popitem(last=False)
        return found


def _context(bundle: bytes, identity: Identity | None) -> ssl.SSLContext:
    """Raises ssl.SSLError, ValueError, OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # as Go: names are in the certificate's SANs
    context.set_alpn_protocols(["http/1.1"])
    if bundle:
        context.load_verify_locations(cadata=bundle.decode("ascii"))
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if identity is not None and identity.certificate is not None and identity.key is not None:
        _load_chain(context, identity.certificate, identity.key)
    return context


def _load_chain(context: ssl.SSLContext, certificate: Path | bytes, key: Path | bytes) -> None:
    """OpenSSL reads files only."""
    with tempfile.TemporaryDirectory(prefix="sampan-webhook-") as folder:
        files = []
        for name, pem in (("certificate", certificate), ("key", key)):
            path = pem if isinstance(pem, Path) else Path(folder) / name
            if isinstance(pem, bytes):
                path.touch(0o600)
                path.write_bytes(pem)
            files.append(str(path))
        try:
            context.load_cert_chain(*files)
        except OSError as error:  # ssl.SSLError is one
            raise ClientCertificateError("unable to load the client certificate for webhooks") from error
