"""The settings of one node's service proxy."""

from __future__ import annotations

import functools
import ipaddress
from pathlib import Path

from sampan.records import dataclass

#: Bit of the packet mark that asks for masquerading; the one kube-proxy uses.
MASQUERADE_MARK = "0x4000"


def bridge_is_filtered(switches: Path = Path("/proc/sys/net/bridge")) -> bool:
    """Whether the kernel shows bridged packets of both families to nftables, so that replies within a bridge are
    translated back."""
    files = [switches / f"bridge-nf-call-{tables}" for tables in ("iptables", "ip6tables")]
    return all(file.exists() and file.read_text().strip() == "1" for file in files)


#: Of the cluster's DNS address: what leads to the node's own server. The last one has its metrics, as CoreDNS has.
DNS_PORTS = (("udp", 53), ("tcp", 53), ("tcp", 9153))


@dataclass(frozen=True, slots=True)
class FamilyConfig:
    """What is true of one address family of the cluster. All but ``cluster_pod_cidr`` may be "": this node has none."""

    version: int
    node_address: str
    node_pod_cidr: str
    cluster_pod_cidr: str
    service_cidr: str = ""
    dns_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """Made by ``sampan.cluster`` from the instance's settings.

    Addresses and ranges may be one of each family, separated by a comma, as Kubernetes' flags have them. The families
    of the cluster are those that its pods have.
    """

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
    #: Changes wait for company so long at most; the first of a calm time goes at once.
    min_sync_seconds: float = 0.1
    retry_seconds: float = 1
    #: How often to look whether the table is still there, and how often to write all of it.
    check_seconds: float = 30
    resync_seconds: float = 1800
    #: Address that healthCheckNodePorts listen on; "": every one of the families.
    health_address: str = ""
    #: Ranges of the node's addresses that node ports answer on; "": every one.
    node_port_addresses: str = ""

    @property
    def table(self) -> str:
        return f"sampan-{self.instance}"

    @property
    def own_ranges(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """Of Services and pods."""
        return tuple(map(ipaddress.ip_network, (*parts(self.service_cidr), *parts(self.cluster_pod_cidr))))

    @property
    def families(self) -> tuple[FamilyConfig, ...]:
        """In the order of the pods' ranges, the first of which is the cluster's first family."""
        return _families(self)


@functools.lru_cache(maxsize=8)
def _families(config: ProxyConfig) -> tuple[FamilyConfig, ...]:
    found = []
    for cidr in parts(config.cluster_pod_cidr):
        version = ipaddress.ip_network(cidr).version
        found.append(
            FamilyConfig(
                version,
                first_of(config.node_address, version),
                first_of(config.node_pod_cidr, version),
                cidr,
                first_of(config.service_cidr, version),
                first_of(config.dns_ip, version) if first_of(config.node_address, version) else "",
            )
        )
    return tuple(found)


def parts(texts: str) -> list[str]:
    """Of a list that is separated by commas."""
    return [part for text in texts.split(",") if (part := text.strip())]


def first_of(texts: str, version: int) -> str:
    """The first address or range of a family; "": there is none."""
    return next((text for text in parts(texts) if ipaddress.ip_network(text, strict=False).version == version), "")
