"""Plans with a relay in place of the endpoints: the nftables back end leads to it, the relay does the rest."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple

from sampan.api.faults import cause
from sampan.network.proxy.backend import Backend
from sampan.network.proxy.config import ProxyConfig
from sampan.network.proxy.endpoints import Choice
from sampan.network.proxy.model import Endpoint, HostPort
from sampan.network.proxy.plan import PortPlan, ServiceKey, ServicePlan
from sampan.network.proxy.userspace.relay import Relay, Sockets, TcpRelay, UdpRelay, plain

log = logging.getLogger(__name__)

_KINDS: dict[str, type[TcpRelay] | type[UdpRelay]] = {"tcp": TcpRelay, "udp": UdpRelay}


class RelayName(NamedTuple):
    """A port has one relay for all endpoints, and one for this node's where a policy asks for these."""

    label: str
    which: Literal["cluster", "local"]


class UserspaceBackend:
    """``rules`` does what relays do not: leading to them, refusing, host ports, SCTP.

    Invariant: every port that ``rules`` was told of is one that a relay has; a relay goes after the rules to it.
    """

    def __init__(self, config: ProxyConfig, rules: Backend, sockets: Sockets = plain) -> None:
        self._addresses = {family.version: family.node_address for family in config.families}
        self._node = config.node_name
        self._rules = rules
        self._sockets = sockets
        self._relays: dict[ServiceKey, dict[RelayName, Relay]] = {}
        self._new: list[Relay] = []
        self._stale: list[Relay] = []

    def plan(self, key: ServiceKey, wanted: ServicePlan | None) -> None:
        before = self._relays.pop(key, {})
        after: dict[RelayName, Relay] = {}
        if wanted is not None:
            ports = tuple(self._relayed(each, before, after) for each in wanted.ports)
            wanted = dataclasses.replace(wanted, ports=ports)
        if after:
            self._relays[key] = after
        self._stale += [relay for name, relay in before.items() if name not in after]
        self._rules.plan(key, wanted)

    def _relayed(self, each: PortPlan, before: dict[RelayName, Relay], after: dict[RelayName, Relay]) -> PortPlan:
        port = each.port
        address = self._addresses.get(port.family, "")
        if port.protocol not in _KINDS or not address:
            return each
        chosen = {"cluster": each.choice.cluster, "local": each.choice.local}
        stands: dict[str, tuple[Endpoint, ...]] = {"cluster": (), "local": ()}
        for which, endpoints in chosen.items():
            if not endpoints:
                continue
            name = RelayName(port.label, "cluster" if which == "cluster" else "local")
            relay = before.get(name) or self._open(port.protocol, address, port.label)
            if relay is None:
                return each  # by rules alone
            relay.balancer.set(endpoints, port.affinity_seconds)
            after[name] = relay
            stands[which] = (Endpoint(address, relay.port, self._node),)
        return PortPlan(dataclasses.replace(port, affinity_seconds=0), Choice(stands["cluster"], stands["local"]))

    def _open(self, protocol: str, address: str, label: str) -> Relay | None:
        try:
            relay = _KINDS[protocol](address, self._sockets)
        except OSError as error:
            log.warning("no relay for %s, its rules lead to its endpoints: %s", label, cause(error))
            return None
        self._new.append(relay)
        return relay

    def plan_host_ports(self, ports: Sequence[HostPort]) -> None:
        self._rules.plan_host_ports(ports)

    async def apply(self) -> bool:
        new, self._new = self._new, []
        for relay in new:
            await relay.start()
        changed = await self._rules.apply()
        stale, self._stale = self._stale, []
        for relay in stale:
            await relay.close()
        return changed

    async def repair(self, *, whole: bool) -> None:
        await self._rules.repair(whole=whole)

    async def close(self) -> None:
        for relay in [*self._stale, *(relay for relays in self._relays.values() for relay in relays.values())]:
            await relay.close()
        self._relays.clear()
        await self._rules.close()
