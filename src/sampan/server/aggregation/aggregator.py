"""The one door to aggregation: which group versions are somebody else's, what they serve, and the way there.

Composed by ``app``. Everything that speaks HTTP to others is imported and made when the first APIService with a Service
appears: a cluster without one pays for a dictionary that is empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.api.clock import Clock
from sampan.api.transport import Transport
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.aggregation.hosted import Hosted
from sampan.server.aggregation.remotes import Remote, Remotes
from sampan.server.aggregation.services import Resolver
from sampan.server.reader import ObjectReader
from sampan.server.request import Request, RequestInfo, Response
from sampan.server.threads import aside

if TYPE_CHECKING:
    from sampan.server.aggregation.described import Described
    from sampan.server.aggregation.parts import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregationConfig:
    """``proxy_cert``, ``proxy_key``: as whom this server connects (front proxy)."""

    proxy_cert: Path | None = None
    proxy_key: Path | None = None
    #: how long an answer that is no stream may take
    answer_seconds: float = 60.0


class Aggregator:
    """``follow`` it from the start, keep ``run`` running, and ``close`` it in the end."""

    def __init__(
        self,
        config: AggregationConfig,
        reader: ObjectReader,
        resolver: Resolver,
        clock: Clock,
        built_in: Mapping[str, tuple[str, ...]],
        hosted: Hosted | None = None,
    ) -> None:
        self._config, self._reader, self._resolver, self._clock = config, reader, resolver, clock
        self.remotes = Remotes(built_in)
        #: what this server answers as an extension API server would
        self.hosted = hosted or Hosted()
        self._some = asyncio.Event()
        self._parts: Parts | None = None

    def follow(self) -> Callable[[], None]:
        """From now on requests find their way; returns what ends it."""
        self.remotes.subscribe(lambda key, remote: self._some.set())
        ends = self.remotes.follow(self._reader), self.hosted.follow(self._reader)

        def end() -> None:
            for each in ends:
                each()

        return end

    async def run(self, transport: Transport) -> None:
        """Looks after the extension API servers, until cancelled; writes with ``transport``."""
        await self._some.wait()
        parts = await self._load()
        await parts.follower(self.remotes, self._reader, transport, self._clock).run()

    def forget_certificates(self) -> None:
        """New connections are made with the files as they are now."""
        if self._parts is not None:
            self._parts.trust.forget()

    async def close(self) -> None:
        if self._parts is not None:
            await self._parts.close()

    # -- what requests ask ---------------------------------------------------------------------------------------

    def remote_of(self, info: RequestInfo) -> Remote | None:
        """Who serves this resource, or this discovery document (``/apis/GROUP/VERSION``); None: this server."""
        if info.is_resource:
            return self.remotes.get(info.group, info.version)
        if not info.path.startswith("/apis/"):
            return None
        group, _, version = info.path[6:].rstrip("/").partition("/")
        return self.remotes.get(group, version)

    async def serve(self, request: Request, remote: Remote) -> Response:
        """Raises ApiError. Returns after the end of an upgraded connection."""
        return await (await self._load()).proxy.handle(request, remote)

    # -- what discovery asks -------------------------------------------------------------------------------------

    @property
    def changes(self) -> int:
        own = self.remotes.changes + self.hosted.changes
        return own + (self._parts.discovered.changes if self._parts is not None else 0)

    def groups(self, local: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return self.remotes.with_local(local, self.hosted.priorities())

    def version(self, group: str, version: str) -> Obj | None:
        """The entry of aggregated discovery of what is no kind of this server; None: it is one."""
        if self.remotes.get(group, version) is None:
            return self.hosted.version(group, version)
        if self._parts is None:
            return {"version": version, "resources": [], "freshness": "Stale"}
        return self._parts.discovered.version(group, version)

    def resource_list(self, group: str, version: str) -> Obj | None:
        """The older document of a group version that is hosted here; None: it is not."""
        return self.hosted.resource_list(group, version)

    # -- what OpenAPI asks ---------------------------------------------------------------------------------------

    @property
    def described(self) -> Described | None:
        """None: nobody has been registered so far."""
        return self._parts.described if self._parts is not None else None

    # -- the rest ------------------------------------------------------------------------------------------------

    async def _load(self) -> Parts:
        if self._parts is None:
            made = await aside(self._import_and_make)
            if self._parts is None:  # several may have come at once
                self._parts = made
        return self._parts

    def _import_and_make(self) -> Parts:
        from sampan.server.aggregation.parts import Parts

        config = self._config
        return Parts(self._resolver, config.proxy_cert, config.proxy_key, config.answer_seconds)
