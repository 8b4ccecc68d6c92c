"""Plans as rules of one nftables table."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.network.proxy.config import ProxyConfig
from sampan.network.proxy.model import HostPort
from sampan.network.proxy.nftables import base
from sampan.network.proxy.nftables.blocks import Blocks
from sampan.network.proxy.nftables.netlink import NftNetlink
from sampan.network.proxy.nftables.nft import NftCommand
from sampan.network.proxy.nftables.render import render_service
from sampan.network.proxy.plan import ServiceKey, ServicePlan
from sampan.network.proxy.reach import NodeReach
from sampan.network.proxy.rules.backend import RuleBackend
from sampan.network.proxy.rules.table import Contents
from sampan.network.proxy.rules.values import Tables


class NftRendering:
    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._blocks = Blocks()

    def base(self) -> Contents:
        return base.base_contents(self._config)

    def service(self, plan: ServicePlan) -> Contents:
        return render_service(plan, self._config, self._blocks)

    def forget(self, key: ServiceKey) -> None:
        self._blocks.forget(key)

    def host_ports(self, ports: Sequence[HostPort]) -> Contents:
        return base.host_port_contents(ports)


class NftBackend(RuleBackend):
    def __init__(self, config: ProxyConfig, nft: Tables | None = None, reach: NodeReach | None = None) -> None:
        tables = nft or NftNetlink(config.table, NftCommand(config.table))
        super().__init__(config, tables, NftRendering(config), reach)
