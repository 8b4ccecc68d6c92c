"""One question to an extension API server, asked by this server for itself: a bounded answer in bounded time.

Availability, discovery and OpenAPI ask through ``Backends``; what clients ask goes through ``proxy``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp

from sampan.records import dataclass
from sampan.server.aggregation.identity import AGGREGATOR, headers_of
from sampan.server.aggregation.remotes import Remote
from sampan.server.aggregation.services import Resolver, Unresolved
from sampan.server.aggregation.trust import NotUsable, Trust
from sampan.server.streaming.backend import DialError, HttpClient, Target

#: a question that is not answered within this time counts as failed
ASK_SECONDS: Final = 5.0
_PIECE: Final = 64 << 10


class Unanswered(Exception):
    """There was no answer, or none that can be used; says why in the reference's words."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content_type: str
    etag: str
    body: bytes


class Backends:
    def __init__(self, resolver: Resolver, trust: Trust, http: HttpClient) -> None:
        self._resolver, self._trust, self._http = resolver, trust, http

    async def target(self, remote: Remote) -> Target:
        """Where its requests go, and whom to believe there. Raises Unresolved, NotUsable."""
        address = self._resolver.resolve(remote.namespace, remote.service, remote.port)
        return Target(address.host, address.port, await self._trust.towards(remote), remote.host)

    async def probe(self, remote: Remote) -> None:
        """Returns if somebody answers for the group version. Raises Unanswered."""
        try:
            address = self._resolver.resolve(remote.namespace, remote.service, remote.port)
            target = Target(address.host, address.port, await self._trust.towards_anybody(), remote.host)
        except (Unresolved, NotUsable) as error:
            raise Unanswered(str(error)) from error
        url = f"https://{address.authority}{remote.path}"
        try:
            answer = await self._within(target, remote.path, (), 0)
        except Unanswered as error:
            raise Unanswered(f'failing or missing response from {url}: Get "{url}": {error}') from error
        if not 200 <= answer.status < 300:
            text = f"bad status from {url}: {answer.status}"
            raise Unanswered(f"failing or missing response from {url}: {text}")

    async def ask(self, remote: Remote, path: str, limit_bytes: int, headers: Mapping[str, str]) -> Answer:
        """What is served at ``path``. Raises Unanswered, also for an answer of more than ``limit_bytes``."""
        try:
            target = await self.target(remote)
        except (Unresolved, NotUsable) as error:
            raise Unanswered(str(error)) from error
        return await self._within(target, path, tuple(headers.items()), limit_bytes)

    async def _within(self, target: Target, path: str, headers: Sequence[tuple[str, str]], limit_bytes: int) -> Answer:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self._ask(target, path, headers, limit_bytes)
        except TimeoutError as error:
            raise Unanswered("context deadline exceeded (Client.Timeout exceeded while awaiting headers)") from error

    async def _ask(self, target: Target, path: str, headers: Sequence[tuple[str, str]], limit_bytes: int) -> Answer:
        try:
            response = await self._http.request(target, "GET", path, [*headers_of(AGGREGATOR), *headers], b"")
        except DialError as error:
            raise Unanswered(error.fault) from error
        try:
            body = bytearray()
            while limit_bytes and (piece := await response.content.read(_PIECE)):
                body += piece
                if len(body) > limit_bytes:
                    raise Unanswered(f"the answer is larger than {limit_bytes} bytes")
        except (aiohttp.ClientError, OSError) as error:
            raise Unanswered("unexpected EOF") from error
        finally:
            response.close()
        kind = response.headers.get("Content-Type", "")
        return Answer(response.status, kind, response.headers.get("ETag", ""), bytes(body))
