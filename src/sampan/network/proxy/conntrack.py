"""Forgetting UDP and SCTP flows whose endpoint is gone: else a client that keeps its port talks to nobody for minutes.

``plan_stale`` is pure; ``Conntrack`` runs the ``conntrack`` tool where it is installed and is silent where it is not
(the flows then expire by themselves, 30 to 120 seconds after the last packet). TCP clients reconnect on their own.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from sampan.api.faults import cause
from sampan.network.proxy.plan import Flow
from sampan.records import dataclass

log = logging.getLogger(__name__)

#: For all that is forgotten after one change: the next change of the table waits for it.
_SECONDS = 5.0
#: Each costs the start of a program.
_MANY = 64


@dataclass(frozen=True, slots=True)
class StaleFlow:
    """``endpoint`` "" means flows that were never translated, begun before there was an endpoint."""

    flow: Flow
    endpoint: str = ""

    def arguments(self) -> tuple[str, ...]:
        match = ["-f", f"ipv{self.flow.family}", "-p", self.flow.protocol, "--orig-port-dst", str(self.flow.port)]
        if self.flow.address:
            match += ["--orig-dst", self.flow.address]
        if self.endpoint:
            match += ["--dst-nat", self.endpoint]
        return tuple(match)


def plan_stale(before: Mapping[Flow, frozenset[str]], after: Mapping[Flow, frozenset[str]]) -> list[StaleFlow]:
    """What to forget when the endpoints of a Service change from ``before`` to ``after``."""
    stale = [
        StaleFlow(flow, endpoint)
        for flow, endpoints in before.items()
        for endpoint in sorted(endpoints - after.get(flow, frozenset()))
    ]
    stale += [StaleFlow(flow) for flow, endpoints in after.items() if endpoints and not before.get(flow)]
    return stale


class FlowTable(Protocol):
    async def forget(self, flows: Iterable[StaleFlow]) -> None:
        """Best effort; never raises for flows that are not there."""
        ...


class Conntrack:
    """``prefix`` puts the command into a network namespace."""

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        self._prefix = tuple(prefix)
        self._present = shutil.which("conntrack") is not None

    async def forget(self, flows: Iterable[StaleFlow]) -> None:
        if not self._present:
            return
        try:
            async with asyncio.timeout(_SECONDS):
                for flow in _few(flows):
                    await self._forget(flow)
        except (OSError, TimeoutError) as error:
            log.warning("conntrack did not forget all flows of changed Services: %s", cause(error))

    async def _forget(self, flow: StaleFlow) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._prefix,
            "conntrack",
            "-D",
            *flow.arguments(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()  # a killed program ends at once, and leaves no zombie
        # The tool exits with 1 when nothing matched, which is the usual case.
        if process.returncode and b"0 flow entries" not in said:
            log.warning("conntrack could not forget %s: %s", flow, said.decode(errors="replace").strip()[:200])


def _few(flows: Iterable[StaleFlow]) -> list[StaleFlow]:
    """Of very many, those of whole Services: flows that could have stayed are made anew by their next packet."""
    listed = list(dict.fromkeys(flows))
    return listed if len(listed) <= _MANY else list(dict.fromkeys(StaleFlow(stale.flow) for stale in listed))
