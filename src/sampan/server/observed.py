"""What a running server says of itself: the numbers behind ``/metrics``, and the address that others see."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

from sampan import keeping
from sampan.server.metrics import Labels
from sampan.server.pipeline import Pipeline
from sampan.server.surface import Surface
from sampan.server.watching import Watching


class ServerState:
    """``sampan.server.metrics.State`` of a server."""

    def __init__(
        self, pipeline: Pipeline, watching: Watching, components: keeping.Keeper, surface: Callable[[], Surface]
    ) -> None:
        self._pipeline, self._watching, self._components, self._surface = pipeline, watching, components, surface

    def inflight(self) -> Mapping[str, int]:
        return {"readOnly": self._pipeline.reads, "mutating": self._pipeline.writes}

    def longrunning(self) -> Mapping[Labels, int]:
        watches = self._watching.counts()
        return {**self._pipeline.connections} | {
            ("WATCH", group, version, resource, "", scope): count
            for (group, version, resource, scope), count in watches.items()
        }

    def refused(self) -> Mapping[str, int]:
        return {"429": self._pipeline.refused}

    def objects(self) -> Mapping[tuple[str, str], int]:
        storages = self._surface().storages()
        return {(storage.kind.group, storage.kind.plural): storage.cache.count() for storage in storages}

    def components(self) -> Mapping[str, tuple[bool, int]]:
        return {kept.name: (kept.state != "waiting", kept.failures) for kept in self._components}


def own_address(bound: str) -> str:
    """The address that others see: the one listened on, or else that of the default route (nothing is sent)."""
    if bound and bound not in ("0.0.0.0", "::"):
        return bound
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address: str = probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"
    return address
