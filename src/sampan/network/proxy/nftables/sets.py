"""The sets and maps of the table, a group for each address family. Pure.

Names of IPv6's end in ``6``. All are hashes: a look-up and a change cost the same, however many elements there are.
"""

from __future__ import annotations

from sampan.network.proxy.rules.values import Collection
from sampan.records import dataclass

#: Protocols whose ordinary Services need no chain (``spread``).
SPREAD_PROTOCOLS = ("tcp", "udp")
#: How many places endpoints are spread over, where a Service needs no chain: the least that divides well (``spread``).
PLACES = (1, 2, 3, 12, 60, 360)


@dataclass(frozen=True, slots=True)
class Sets:
    """``ip`` is what rules call the family, ``protocol`` what the kernel's metadata does."""

    version: int
    ip: str
    protocol: str
    cluster_ips: Collection
    #: What refuses clearly, and what is silent.
    no_endpoint_ips: Collection
    silent_ips: Collection
    no_endpoint_nodeports: Collection
    #: What hides who asked: the endpoint may be elsewhere.
    masqueraded_ips: Collection
    masqueraded_nodeports: Collection
    #: Services that need a chain.
    service_ips: Collection
    service_nodeports: Collection
    firewall_ips: Collection
    #: Endpoints as (source, destination): a pod that reached itself through a Service must not see its own address.
    hairpin: Collection
    host_ports: Collection
    host_ports_by_ip: Collection
    #: Endpoints by number, for chains: each has a block of numbers (``blocks``) and draws one of them. One for each
    #: protocol, since nft lets a port of one's type be used for no other.
    tcp_endpoints: Collection
    udp_endpoints: Collection
    sctp_endpoints: Collection
    sticky_endpoints: Collection

    @property
    def suffix(self) -> str:
        """Of names that both families have."""
        return "" if self.version == 4 else "6"

    def endpoints(self, protocol: str) -> Collection:
        """Raises KeyError for a protocol that has none."""
        return {"tcp": self.tcp_endpoints, "udp": self.udp_endpoints, "sctp": self.sctp_endpoints}[protocol]

    def spread_ips(self, protocol: str, places: int) -> Collection:
        """Endpoints by a Service's address, port and place."""
        key = f"{self.ip} daddr . {protocol} dport . {_NUMBER}"
        return self._spread(f"{protocol}-{places}", key, protocol)

    def spread_nodeports(self, protocol: str, places: int) -> Collection:
        return self._spread(f"{protocol}-nodeports-{places}", f"{protocol} dport . {_NUMBER}", protocol)

    def _spread(self, name: str, key: str, protocol: str) -> Collection:
        return Collection(name + self.suffix, "map", f"typeof {key} : {self.ip} daddr . {protocol} dport")

    @property
    def all(self) -> tuple[Collection, ...]:
        single = [value for name in self.__slots__ if isinstance(value := getattr(self, name), Collection)]
        spread = [
            kind(protocol, places)
            for protocol in SPREAD_PROTOCOLS
            for kind in (self.spread_ips, self.spread_nodeports)
            for places in PLACES
        ]
        return (*single, *spread)


#: ``type`` has no word for a number that was drawn.
_NUMBER = "numgen random mod 2"


def _sets(version: int, ip: str, suffix: str) -> Sets:
    address = f"ipv{version}_addr"
    addressed, ported = f"{address} . inet_proto . inet_service", "inet_proto . inet_service"

    def collection(name: str, kind: str) -> Collection:
        return Collection(name + suffix, "map" if " : " in kind else "set", kind)

    return Sets(
        version,
        ip,
        f"ipv{version}",
        cluster_ips=collection("cluster-ips", address),
        no_endpoint_ips=collection("no-endpoint-ips", addressed),
        silent_ips=collection("silent-ips", addressed),
        no_endpoint_nodeports=collection("no-endpoint-nodeports", ported),
        masqueraded_ips=collection("masqueraded-ips", addressed),
        masqueraded_nodeports=collection("masqueraded-nodeports", ported),
        service_ips=collection("service-ips", f"{addressed} : verdict"),
        service_nodeports=collection("service-nodeports", f"{ported} : verdict"),
        firewall_ips=collection("firewall-ips", f"{addressed} : verdict"),
        hairpin=collection("hairpin-connections", f"{address} . {address}"),
        host_ports=collection("host-ports", f"{ported} : {address} . inet_service"),
        host_ports_by_ip=collection("host-ports-by-ip", f"{addressed} : {address} . inet_service"),
        tcp_endpoints=collection("tcp-endpoints", f"typeof {_NUMBER} : {ip} daddr . tcp dport"),
        udp_endpoints=collection("udp-endpoints", f"typeof {_NUMBER} : {ip} daddr . udp dport"),
        sctp_endpoints=collection("sctp-endpoints", f"typeof {_NUMBER} : {ip} daddr . sctp dport"),
        sticky_endpoints=collection("sticky-endpoints", f"typeof {_NUMBER} : verdict"),
    )


V4 = _sets(4, "ip", "")
V6 = _sets(6, "ip6", "6")
OF = {4: V4, 6: V6}
