"""Plans as virtual servers, and as the rules that these need beside them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

from sampan.network.proxy.backend import Backend, BackendError
from sampan.network.proxy.config import ProxyConfig
from sampan.network.proxy.ipvs.plan import Servers, change, held_addresses, parse, virtual_servers
from sampan.network.proxy.ipvs.program import IpvsProgram
from sampan.network.proxy.model import HostPort
from sampan.network.proxy.plan import ServiceKey, ServicePlan

log = logging.getLogger(__name__)


def interface(instance: str) -> str:
    """Which has the addresses of an instance's virtual servers; a name of at most 15 characters."""
    whole = f"svs-{instance}"
    return whole if len(whole) < 15 else f"svs-{instance[:5]}{hashlib.sha256(instance.encode()).hexdigest()[:6]}"


class IpvsBackend:
    """``rules`` has an ``IpvsRendering``.

    Invariant: while ``_present`` is not None, it is what the kernel has of ours; otherwise the kernel is asked. Of two
    Services that claim one address and port, the first by name has it.
    """

    def __init__(self, config: ProxyConfig, scheduler: str, rules: Backend, program: IpvsProgram) -> None:
        self._nodes = {family.version: family.node_address for family in config.families if family.node_address}
        self._scheduler = scheduler
        self._rules = rules
        self._program = program
        self._interface = interface(config.instance)
        self._wanted: dict[ServiceKey, Servers] = {}
        self._present: Servers | None = None
        self._changed = True

    def plan(self, key: ServiceKey, wanted: ServicePlan | None) -> None:
        self._rules.plan(key, wanted)
        servers = virtual_servers(wanted, self._nodes, self._scheduler) if wanted is not None else {}
        if servers != self._wanted.get(key, {}):
            self._changed = True
        if servers:
            self._wanted[key] = servers
        else:
            self._wanted.pop(key, None)

    def plan_host_ports(self, ports: Sequence[HostPort]) -> None:
        self._rules.plan_host_ports(ports)

    async def apply(self) -> bool:
        changed = await self._rules.apply()
        if not self._changed and self._present is not None:
            return changed
        wanted = self._whole()
        held = await self._program.addresses(self._interface)
        if held is None:
            await self._program.make(self._interface)
            held = frozenset()
        present = self._present if self._present is not None else await self._ours(held)
        self._present = None
        addresses = held_addresses(wanted, self._nodes.values())
        await self._program.change_addresses(self._interface, addresses - held, ())
        await self._program.restore(change(present, wanted))
        await self._program.change_addresses(self._interface, (), held - addresses)
        self._present, self._changed = wanted, False
        return True

    def _whole(self) -> Servers:
        whole: Servers = {}
        places = set()
        for key in sorted(self._wanted):
            for server, reals in self._wanted[key].items():
                if server.place not in places:
                    places.add(server.place)
                    whole[server] = reals
        return whole

    async def _ours(self, held: frozenset[str]) -> Servers:
        """Of the machine's virtual servers those with an address of ours, or that stand where one is wanted."""
        places = {server.place for server in self._whole()}
        saved = parse(await self._program.saved())
        return {server: reals for server, reals in saved.items() if server.address in held or server.place in places}

    async def repair(self, *, whole: bool) -> None:
        await self._rules.repair(whole=whole)
        try:
            held = await self._program.addresses(self._interface)
            if self._present is None or held is None or await self._ours(held) != self._present:
                log.warning("virtual servers are not as they were left; writing them again")
                self._present = None
        except BackendError as error:
            log.warning("virtual servers cannot be looked at: %s", error)

    async def close(self) -> None:
        await self._rules.close()


async def remove(instance: str, program: IpvsProgram) -> None:
    """Virtual servers and interface of an instance; content when there are none. Raises BackendError."""
    held = await program.addresses(interface(instance))
    if held is None:
        return
    saved = parse(await program.saved())
    await program.restore(change({server: reals for server, reals in saved.items() if server.address in held}, {}))
    await program.remove(interface(instance))
