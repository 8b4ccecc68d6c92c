"""The seam below the service proxy: who makes plans real. Implemented by ``nftables.backend`` and ``memory``.

A back end is told what is wanted, Service by Service, and asked now and then to apply it. It owns what it applied and
finds the difference by itself; the cost of one Service's change is that of the one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sampan.network.proxy.model import HostPort
from sampan.network.proxy.plan import ServiceKey, ServicePlan


class BackendError(Exception):
    """Nothing could be applied; the same call may succeed later. The message is for the log."""


class Backend(Protocol):
    def plan(self, key: ServiceKey, wanted: ServicePlan | None) -> None:
        """What is wanted of a Service from now on; None: nothing. Takes effect with ``apply``."""
        ...

    def plan_host_ports(self, ports: Sequence[HostPort]) -> None:
        """All of them, in order of precedence."""
        ...

    async def apply(self) -> bool:
        """Makes real what was planned; whether anything had to be done. What one Service asks for and cannot be had
        is left out, and said in the log, without a loss for the others. Raises BackendError."""
        ...

    async def repair(self, *, whole: bool) -> None:
        """Makes good what others did to it; ``whole``: without looking first. Never raises but for cancellation."""
        ...

    async def close(self) -> None:
        """Lets go of what only this process has. What the kernel was told stays in force: a restart is not noticed."""
        ...
