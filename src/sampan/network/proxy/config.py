"""The settings of one node's service proxy."""

from __future__ import annotations

from pathlib import Path

from sampan.records import dataclass

#: Bit of the packet mark that asks for masquerading; the one kube-proxy uses.
MASQUERADE_MARK = "0x4000"


def bridge_is_filtered() -> bool:
    """Whether the kernel shows bridged packets to nftables, so that replies within a bridge are translated back."""
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    return switch.exists() and switch.read_text().strip() == "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """Made by ``sampan.cluster`` from the instance's settings."""

    instance: str
    node_name: str
    #: Address that the cluster DNS listens on; never a loopback one.
    node_address: str
    node_pod_cidr: str
    cluster_pod_cidr: str
    #: The pods' bridge and the range of Services, for the node's own processes ("": nothing is done for them).
    bridge: str = ""
    service_cidr: str = ""
    #: Cluster address of DNS ("": leave DNS to ordinary services) and the port of this node's own server.
    dns_ip: str = "10.96.0.10"
    dns_port: int = 10053
    #: Without it, connections from pod to Service to pod of one bridge are masqueraded: correct, but sources are lost.
    bridge_filtered: bool = True
    #: Changes within this time become one transaction; the first of a calm time goes at once.
    min_sync_seconds: float = 0.1
    retry_seconds: float = 1
    #: How often to look whether the table is still there, and how often to write all of it.
    check_seconds: float = 30
    resync_seconds: float = 1800
    #: Address that healthCheckNodePorts listen on.
    health_address: str = "0.0.0.0"

    @property
    def table(self) -> str:
        return f"sampan-{self.instance}"
