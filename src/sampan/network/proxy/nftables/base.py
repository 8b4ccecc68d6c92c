"""The part of the table that does not depend on Services: hooks, the maps' lookups, masquerading, cluster DNS. Pure.

Path of a new connection: ``filter-*`` refuses what has no endpoint, ``services`` looks its target up and translates
it, ``nat-postrouting`` masquerades what was marked. Later packets of a connection meet none of the NAT chains.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.network.proxy.config import MASQUERADE_MARK, ProxyConfig
from sampan.network.proxy.model import HostPort
from sampan.network.proxy.nftables.nft import Chain, Collection
from sampan.network.proxy.nftables.table import Contents

_ADDRESSED = "ipv4_addr . inet_proto . inet_service"
_PORTED = "inet_proto . inet_service"

SERVICE_IPS = Collection("service-ips", "map", f"{_ADDRESSED} : verdict")
SERVICE_NODEPORTS = Collection("service-nodeports", "map", f"{_PORTED} : verdict")
NO_ENDPOINT_IPS = Collection("no-endpoint-ips", "map", f"{_ADDRESSED} : verdict")
NO_ENDPOINT_NODEPORTS = Collection("no-endpoint-nodeports", "map", f"{_PORTED} : verdict")
FIREWALL_IPS = Collection("firewall-ips", "map", f"{_ADDRESSED} : verdict")
CLUSTER_IPS = Collection("cluster-ips", "set", "ipv4_addr")
#: Endpoints as (source, destination): a pod that reached itself through a Service must not see its own address.
HAIRPIN = Collection("hairpin-connections", "set", "ipv4_addr . ipv4_addr")
HOST_PORTS = Collection("host-ports", "map", f"{_PORTED} : ipv4_addr . inet_service")
HOST_PORTS_BY_IP = Collection("host-ports-by-ip", "map", f"{_ADDRESSED} : ipv4_addr . inet_service")
COLLECTIONS = (
    SERVICE_IPS,
    SERVICE_NODEPORTS,
    NO_ENDPOINT_IPS,
    NO_ENDPOINT_NODEPORTS,
    FIREWALL_IPS,
    CLUSTER_IPS,
    HAIRPIN,
    HOST_PORTS,
    HOST_PORTS_BY_IP,
)

MARK_CHAIN = "mark-for-masquerade"
REJECT_CHAIN = "reject-all"
DROP_CHAIN = "drop-all"

_BY_ADDRESS = "ip daddr . meta l4proto . th dport"
_BY_PORT = "meta l4proto . th dport"
#: Node ports answer on every address of the node, loopback too (``reach``).
_TO_NODE = "fib daddr type local"
#: Host ports, whose numbers pods choose, on 127.0.0.1 alone of these: others belong to the node's own programs. On
#: 127.0.0.53 is its resolver, which no pod may take the place of.
_TO_NODE_ITSELF = f"ip daddr != 127.0.0.2-127.255.255.255 {_TO_NODE}"
_LOOPBACK = "127.0.0.0/8"


def base_contents(config: ProxyConfig) -> Contents:
    """The table of a cluster without Services."""
    contents = Contents(collections={collection: {} for collection in COLLECTIONS})
    contents.chains = {
        Chain(MARK_CHAIN): (f"meta mark set meta mark or {MASQUERADE_MARK}",),
        Chain(REJECT_CHAIN): ("meta l4proto tcp reject with tcp reset", "reject with icmpx type port-unreachable"),
        Chain(DROP_CHAIN): ("drop",),
        Chain("services"): _services(config),
        Chain("no-endpoints"): (
            f"{_BY_ADDRESS} vmap @{NO_ENDPOINT_IPS.name}",
            f"{_TO_NODE} {_BY_PORT} vmap @{NO_ENDPOINT_NODEPORTS.name}",
        ),
        # Behind translation: what still goes to a cluster address asks for a port that the Service does not have.
        Chain("unknown-ports"): (f"ip daddr @{CLUSTER_IPS.name} goto {REJECT_CHAIN}",),
        # Before anything is translated: loopback addresses come from this node alone (CVE-2020-8558).
        Chain("loopback-guard", "type filter hook prerouting priority -300"): (
            f'iifname != "lo" ip daddr {_LOOPBACK} drop',
            f'iifname != "lo" ip saddr {_LOOPBACK} drop',
        ),
        Chain("filter-prerouting", "type filter hook prerouting priority -110"): (
            f"ct state new {_BY_ADDRESS} vmap @{FIREWALL_IPS.name}",
        ),
        Chain("filter-input", "type filter hook input priority -110"): _input(config),
        Chain("filter-forward", "type filter hook forward priority -110"): (
            "ct state new jump no-endpoints",
            "ct state new jump unknown-ports",
        ),
        Chain("filter-output", "type filter hook output priority -110"): ("ct state new jump no-endpoints",),
        Chain("filter-output-translated", "type filter hook output priority -90"): ("ct state new jump unknown-ports",),
        Chain("nat-prerouting", "type nat hook prerouting priority -100"): ("jump services",),
        Chain("nat-output", "type nat hook output priority -100"): ("jump services",),
        Chain("nat-postrouting", "type nat hook postrouting priority 100"): _postrouting(config),
    }
    if config.dns_ip:
        _add_dns(contents, config)
    return contents


def _services(config: ProxyConfig) -> tuple[str, ...]:
    return (
        f"ip daddr @{CLUSTER_IPS.name} ip saddr != {config.cluster_pod_cidr} jump {MARK_CHAIN}",
        f"{_BY_ADDRESS} vmap @{SERVICE_IPS.name}",
        f"{_TO_NODE} {_BY_PORT} vmap @{SERVICE_NODEPORTS.name}",
        f"{_TO_NODE_ITSELF} dnat ip to {_BY_ADDRESS} map @{HOST_PORTS_BY_IP.name}",
        f"{_TO_NODE_ITSELF} dnat ip to {_BY_PORT} map @{HOST_PORTS.name}",
    )


def _input(config: ProxyConfig) -> tuple[str, ...]:
    rules = [
        # What was translated meanwhile: answers to the node's own connections may go to loopback, nothing else.
        f'iifname != "lo" ip daddr {_LOOPBACK} ct direction original drop',
        "ct state new jump no-endpoints",
    ]
    if config.dns_ip:
        # The DNS server would otherwise resolve for anybody who can reach the node.
        rules.append(
            f'iifname != "lo" ip saddr != {config.cluster_pod_cidr} meta l4proto {{ tcp, udp }}'
            f" th dport {config.dns_port} ct status & dnat == 0 drop"
        )
    return tuple(rules)


def _postrouting(config: ProxyConfig) -> tuple[str, ...]:
    rules = [
        f"meta mark & {MASQUERADE_MARK} == {MASQUERADE_MARK}"
        f" meta mark set meta mark xor {MASQUERADE_MARK} masquerade fully-random",
        f'ip saddr {_LOOPBACK} oifname != "lo" masquerade fully-random',
        f"ip saddr . ip daddr @{HAIRPIN.name} ct status & dnat == dnat masquerade fully-random",
        f"ip saddr {config.node_pod_cidr} ip daddr != {{ {config.cluster_pod_cidr}, 224.0.0.0/4 }}"
        " masquerade fully-random",
    ]
    if not config.bridge_filtered:
        # The answer would stay within the bridge, unseen and so untranslated.
        own = config.node_pod_cidr
        rules.insert(3, f"ip saddr {own} ip daddr {own} ct status & dnat == dnat masquerade fully-random")
    return tuple(rules)


def _add_dns(contents: Contents, config: ProxyConfig) -> None:
    """Cluster DNS goes to this node's own server, whatever endpoints the kube-dns Service has or lacks."""
    contents.put(CLUSTER_IPS, config.dns_ip)
    for protocol in ("udp", "tcp"):
        chain = f"cluster-dns/{protocol}"
        target = f"{config.node_address}:{config.dns_port}"
        contents.chains[Chain(chain)] = (f"meta l4proto {protocol} dnat ip to {target}",)
        contents.put(SERVICE_IPS, f"{config.dns_ip} . {protocol} . 53", f"goto {chain}")


def host_port_contents(ports: Iterable[HostPort]) -> Contents:
    contents = Contents()
    for port in ports:
        target = f"{port.pod_ip} . {port.pod_port}"
        if port.host_ip:
            contents.put(HOST_PORTS_BY_IP, f"{port.host_ip} . {port.protocol} . {port.port}", target)
        else:
            contents.put(HOST_PORTS, f"{port.protocol} . {port.port}", target)
        contents.put(HAIRPIN, f"{port.pod_ip} . {port.pod_ip}")
    return contents
