"""The rules beside virtual servers: refusing, source ranges, masquerading, host ports. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.network.proxy.config import ProxyConfig
from sampan.network.proxy.model import Endpoint, HostPort
from sampan.network.proxy.nftables import base, sets
from sampan.network.proxy.nftables.blocks import Blocks
from sampan.network.proxy.nftables.render import PortRendering
from sampan.network.proxy.plan import ServiceKey, ServicePlan
from sampan.network.proxy.rules.table import Contents
from sampan.network.proxy.rules.values import Chain


class IpvsRendering:
    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._families = {family.version: family for family in config.families}
        self._blocks = Blocks()

    def base(self) -> Contents:
        contents = base.base_contents(self._config)
        for version in self._families:
            group = sets.OF[version]
            # A virtual server's packets keep its address until they leave.
            contents.chains[Chain(f"unknown-ports{group.suffix}")] = ()
            # Nor does the kernel say of them that they were translated.
            hook = next(chain for chain in contents.chains if chain.name == "nat-postrouting")
            hairpin = f"{group.ip} saddr . {group.ip} daddr @{group.hairpin.name} masquerade fully-random"
            contents.chains[hook] = (*contents.chains[hook], hairpin)
        return contents

    def service(self, plan: ServicePlan) -> Contents:
        contents = Contents()
        for each in plan.ports:
            family = self._families.get(each.port.family)
            if family is not None:
                _Port(plan.key, each, family, contents, self._blocks).run()
        return contents

    def forget(self, key: ServiceKey) -> None:
        self._blocks.forget(key)

    def host_ports(self, ports: Sequence[HostPort]) -> Contents:
        return base.host_port_contents(ports)


class _Port(PortRendering):
    """Endpoints are the virtual servers': what is left is who is masqueraded, and who refused."""

    def _is_spread(self, endpoints: Sequence[Endpoint]) -> bool:
        return bool(endpoints)

    def _spread(self, address: str, endpoints: Sequence[Endpoint]) -> None:
        """A virtual server does it."""

    def _spread_outside(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            self.contents.put(self.sets.masqueraded_ips, self._key(address))
        if self.port.node_port:
            self.contents.put(self.sets.masqueraded_nodeports, self._node_port_key)

    def _chain_outside(self, addresses: Sequence[str]) -> None:
        """Policy Local: this node's endpoints alone, who see their client; without one there is silence."""
        if not self.choice.local:
            for address in addresses:
                self.contents.put(self.sets.silent_ips, self._key(address))
