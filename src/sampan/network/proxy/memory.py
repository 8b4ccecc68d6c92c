"""A back end that only remembers: for tests, and for hollow nodes, which forward nothing."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.network.proxy.backend import BackendError
from sampan.network.proxy.model import HostPort
from sampan.network.proxy.plan import ServiceKey, ServicePlan


class MemoryBackend:
    """``services`` and ``host_ports`` are what was applied; ``fail_next`` are errors that coming applications raise."""

    def __init__(self) -> None:
        self.services: dict[ServiceKey, ServicePlan] = {}
        self.host_ports: tuple[HostPort, ...] = ()
        self.applications = 0
        self.fail_next: list[BackendError] = []
        self._wanted: dict[ServiceKey, ServicePlan | None] = {}
        self._wanted_host_ports: tuple[HostPort, ...] | None = None

    def plan(self, key: ServiceKey, wanted: ServicePlan | None) -> None:
        self._wanted[key] = wanted

    def plan_host_ports(self, ports: Sequence[HostPort]) -> None:
        self._wanted_host_ports = tuple(ports)

    async def apply(self) -> bool:
        if self.fail_next:
            raise self.fail_next.pop(0)
        before = dict(self.services), self.host_ports
        for key, wanted in self._wanted.items():
            if wanted is None:
                self.services.pop(key, None)
            else:
                self.services[key] = wanted
        if self._wanted_host_ports is not None:
            self.host_ports = self._wanted_host_ports
        self._wanted, self._wanted_host_ports = {}, None
        changed = before != (self.services, self.host_ports)
        self.applications += changed
        return changed

    async def repair(self, *, whole: bool) -> None:
        """Nobody else can reach it."""

    async def close(self) -> None:
        """Holds nothing."""
