"""TLS towards extension API servers: the front proxy's client certificate, and whom to believe for each APIService.

A context is made once for what it depends on; ``forget`` has the next ones made of the files as they are then.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from sampan.server.aggregation.remotes import Remote
from sampan.server.threads import aside

#: contexts that are kept: one for each CA that APIServices name
_MOST_KEPT: Final = 256
_Question = tuple[bool, bytes]
_ANYBODY: Final[_Question] = (True, b"")


class NotUsable(Exception):
    """The APIService's CA, or the proxy's own certificate, cannot be used; says why."""


class Trust:
    """``cert`` and ``key``: as whom this server connects; without them extension API servers cannot know it."""

    def __init__(self, cert: Path | None, key: Path | None) -> None:
        self._cert, self._key = cert, key
        self._kept: dict[_Question, ssl.SSLContext] = {}

    async def towards(self, remote: Remote) -> ssl.SSLContext:
        """What an APIService's certificate is held to: its CA, else the machine's. Raises NotUsable."""
        return await self._get((remote.insecure, b"" if remote.insecure else remote.ca_bundle))

    async def towards_anybody(self) -> ssl.SSLContext:
        """For the question whether somebody is there, which is not asked in confidence. Raises NotUsable."""
        return await self._get(_ANYBODY)

    def forget(self) -> None:
        self._kept.clear()

    async def _get(self, question: _Question) -> ssl.SSLContext:
        found = self._kept.get(question)
        if found is None:
            found = await aside(self._make, *question)  # reads files; the machine's CAs take a while
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[question] = found
        return found

    def _make(self, insecure: bool, ca_bundle: bytes) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif ca_bundle:
            # As in Go, whatever is pinned is trusted: an intermediate, or the server's very certificate.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            try:
                context.load_verify_locations(cadata=ca_bundle.decode("ascii"))
            except (ValueError, ssl.SSLError) as error:
                text = "unable to load root certificates: unable to parse bytes as PEM block"
                raise NotUsable(text) from error
        else:
            context.load_default_certs()
        if self._cert is not None and self._key is not None:
            try:
                context.load_cert_chain(self._cert, self._key)
            except (OSError, ssl.SSLError) as error:
                raise NotUsable("the proxy client certificate cannot be read") from error
        return context
