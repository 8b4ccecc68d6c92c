"""The sets and maps of the table, a group for each address family. Pure.

Names of IPv6's end in ``6``. All are hashes: a look-up and a change cost the same, however many elements there are.
"""

from __future__ import annotations

from sampan.network.proxy.nftables.nft import Collection
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Sets:
    """``ip`` is what rules call the family, ``protocol`` what the kernel's metadata does."""

    version: int
    ip: str
    protocol: str
    service_ips: Collection
    service_nodeports: Collection
    no_endpoint_ips: Collection
    no_endpoint_nodeports: Collection
    firewall_ips: Collection
    cluster_ips: Collection
    #: Endpoints as (source, destination): a pod that reached itself through a Service must not see its own address.
    hairpin: Collection
    host_ports: Collection
    host_ports_by_ip: Collection
    #: Endpoints by number: each balancing chain has a block of numbers (``blocks``) and draws one of them.
    endpoints: Collection
    sticky_endpoints: Collection

    @property
    def suffix(self) -> str:
        """Of names that both families have."""
        return "" if self.version == 4 else "6"

    @property
    def all(self) -> tuple[Collection, ...]:
        return tuple(value for name in self.__slots__ if isinstance(value := getattr(self, name), Collection))


def _sets(version: int, ip: str, suffix: str) -> Sets:
    address = f"ipv{version}_addr"
    addressed, ported = f"{address} . inet_proto . inet_service", "inet_proto . inet_service"
    # ``type`` has no word for a number that was drawn.
    number = "typeof numgen random mod 2"

    def collection(name: str, kind: str) -> Collection:
        return Collection(name + suffix, "map" if " : " in kind else "set", kind)

    return Sets(
        version,
        ip,
        f"ipv{version}",
        service_ips=collection("service-ips", f"{addressed} : verdict"),
        service_nodeports=collection("service-nodeports", f"{ported} : verdict"),
        no_endpoint_ips=collection("no-endpoint-ips", f"{addressed} : verdict"),
        no_endpoint_nodeports=collection("no-endpoint-nodeports", f"{ported} : verdict"),
        firewall_ips=collection("firewall-ips", f"{addressed} : verdict"),
        cluster_ips=collection("cluster-ips", address),
        hairpin=collection("hairpin-connections", f"{address} . {address}"),
        host_ports=collection("host-ports", f"{ported} : {address} . inet_service"),
        host_ports_by_ip=collection("host-ports-by-ip", f"{addressed} : {address} . inet_service"),
        endpoints=collection("endpoints", f"{number} : {ip} daddr . tcp dport"),
        sticky_endpoints=collection("sticky-endpoints", f"{number} : verdict"),
    )


V4 = _sets(4, "ip", "")
V6 = _sets(6, "ip6", "6")
OF = {4: V4, 6: V6}
