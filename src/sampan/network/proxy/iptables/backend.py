"""Plans as rules of iptables and ip6tables."""

from __future__ import annotations

from sampan.network.proxy.config import ProxyConfig
from sampan.network.proxy.iptables.render import IptablesRendering
from sampan.network.proxy.iptables.restore import IptablesTables
from sampan.network.proxy.reach import NodeReach
from sampan.network.proxy.rules.backend import RuleBackend
from sampan.network.proxy.rules.values import Tables


class IptablesBackend(RuleBackend):
    def __init__(self, config: ProxyConfig, tables: Tables | None = None, reach: NodeReach | None = None) -> None:
        versions = [family.version for family in config.families]
        super().__init__(config, tables or IptablesTables(config.instance, versions), IptablesRendering(config), reach)
