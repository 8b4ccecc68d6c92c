"""What Services of type LoadBalancer, nodes and pools say to each other without a cloud. Pure; never raises.

The controller (``sampan.controllers.serviceloadbalancer``) gives a Service its addresses and names the node that
announces them; that node answers for them on its network (``sampan.network.loadbalancer``). They meet here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Final, TypeAlias

from sampan.api import objects
from sampan.api.reading import part, parts, text, text_map, texts, whole
from sampan.api.types import Obj
from sampan.records import dataclass

#: The nodes' own addresses; what a Service that names no class gets, unless the pools' ConfigMap says otherwise.
NODE_CLASS: Final = "sampan.io/node"
#: An address out of a pool, announced by one node at a time (ARP, NDP).
LAYER2_CLASS: Final = "sampan.io/l2"
CLASSES: Final = (NODE_CLASS, LAYER2_CLASS)

#: On a Service: whose its load balancer is, which node announces it, from which pool it wants its addresses.
CLASS_MARK: Final = "loadbalancer.sampan.io/class"
ANNOUNCED_BY: Final = "loadbalancer.sampan.io/announced-by"
POOL_WISH: Final = "loadbalancer.sampan.io/pool"
#: On a Node: ports that programs of the machine listen on, at addresses that others reach (``TCP/22,TCP/6443``).
HOST_PORTS: Final = "loadbalancer.sampan.io/host-ports"
FINALIZER: Final = "service.kubernetes.io/load-balancer-cleanup"

#: The ConfigMap of the pools: a pool a key, its ranges separated by commas; and the class of Services without one.
POOLS_NAMESPACE: Final = "kube-system"
POOLS_NAME: Final = "sampan-loadbalancer"
DEFAULT_CLASS_KEY: Final = "default-class"
#: as a default: Services without a class are somebody else's
NO_CLASS: Final = "none"
_MAX_RANGES = 256
_MAX_TEXT = 64 * 1024
#: of the ports that a node tells
MAX_HOST_PORTS: Final = 256

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_wanted(service: Obj) -> bool:
    """Whether it is a LoadBalancer of one of our classes, or of none."""
    spec = part(service, "spec")
    return text(spec, "type") == "LoadBalancer" and text(spec, "loadBalancerClass") in ("", *CLASSES)


def class_of(service: Obj, default: str = "") -> str:
    """Of our classes; "": it is no LoadBalancer, or somebody else's. One that names none keeps the class by which it
    got its addresses."""
    if not is_wanted(service):
        return ""
    marked = text_map(part(service, "metadata"), "annotations").get(CLASS_MARK, "")
    named = text(part(service, "spec"), "loadBalancerClass") or (marked if marked in CLASSES else default)
    return named if named in CLASSES else ""


def addresses(service: Obj) -> tuple[str, ...]:
    """Those that its status has, of whichever class."""
    balancer = part(part(service, "status"), "loadBalancer")
    return tuple(filter(None, (text(entry, "ip") for entry in parts(balancer, "ingress"))))


def granted(service: Obj) -> tuple[tuple[str, str], ...]:
    """Addresses of nodes, each with a port (``TCP/80``) that it was given there: others of the Service lead nowhere."""
    balancer = part(part(service, "status"), "loadBalancer")
    return tuple(
        (text(entry, "ip"), f"{text(given, 'protocol') or 'TCP'}/{whole(given, 'port') or 0}")
        for entry in parts(balancer, "ingress")
        for given in parts(entry, "ports")
    )


def own_addresses(service: Obj) -> tuple[str, ...]:
    """Those of its status that are the Service's whole: of which it was not given some ports only. Whoever may write a
    Service may write all that says its class, but no status: a node's address never becomes one of these."""
    balancer = part(part(service, "status"), "loadBalancer")
    listed = parts(balancer, "ingress")
    return tuple(filter(None, (text(entry, "ip") for entry in listed if not parts(entry, "ports"))))


def ports(service: Obj) -> tuple[str, ...]:
    """Its ports as ``TCP/80``."""
    entries = parts(part(service, "spec"), "ports")
    found = (f"{text(entry, 'protocol') or 'TCP'}/{whole(entry, 'port') or 0}" for entry in entries)
    return tuple(dict.fromkeys(found))


def families(service: Obj) -> tuple[int, ...]:
    """4 and 6, in the Service's order."""
    return tuple(6 if name == "IPv6" else 4 for name in texts(part(service, "spec"), "ipFamilies")) or (4,)


def prefers_local(service: Obj) -> bool:
    return text(part(service, "spec"), "externalTrafficPolicy") == "Local"


def announced_by(service: Obj) -> str:
    """The node that answers for its addresses; "": none does."""
    if class_of(service) != LAYER2_CLASS or objects.is_deleting(service):
        return ""
    return text_map(part(service, "metadata"), "annotations").get(ANNOUNCED_BY, "")


def host_ports(node: Obj) -> frozenset[str] | None:
    """None: it has not told any."""
    told = text_map(part(node, "metadata"), "annotations").get(HOST_PORTS)
    return None if told is None else frozenset(filter(None, told.split(",")))


def address_of(value: str) -> Address | None:
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Range:
    first: Address
    last: Address

    def __contains__(self, address: Address) -> bool:
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)

    @property
    def size(self) -> int:
        return int(self.last) - int(self.first) + 1

    def addresses(self) -> Iterator[Address]:
        kind = type(self.first)
        return (kind(number) for number in range(int(self.first), int(self.last) + 1))


@dataclass(frozen=True, slots=True)
class Pools:
    """Ranges by the pool's name. ``faults``: what was not understood, and is left out."""

    ranges: Mapping[str, tuple[Range, ...]] = field(default_factory=dict)
    default_class: str = NODE_CLASS
    faults: tuple[str, ...] = ()

    def of(self, name: str) -> tuple[Range, ...]:
        """Those of one pool, or with "" of all of them."""
        if name:
            return self.ranges.get(name, ())
        return tuple(each for pool in sorted(self.ranges) for each in self.ranges[pool])


def parse_pools(config_map: Obj | None) -> Pools:
    ranges: dict[str, tuple[Range, ...]] = {}
    faults: list[str] = []
    count, default = 0, NODE_CLASS
    for name, value in text_map(config_map or {}, "data").items():
        if name == DEFAULT_CLASS_KEY:
            if value in (*CLASSES, NO_CLASS):
                default = value
            else:
                faults.append(f"{name}: choose {', '.join(CLASSES)} or {NO_CLASS}")
            continue
        found: list[Range] = []
        if len(value) > _MAX_TEXT:
            faults.append(f"{name}: too long")
            value = ""
        for word in filter(None, (word.strip() for word in value.replace("\n", ",").split(","))):
            count += 1
            if count > _MAX_RANGES:
                faults.insert(0, f"{name}: more than {_MAX_RANGES} ranges")
                break
            try:
                found.append(parse_range(word))
            except ValueError as error:
                faults.append(f"{name}: {error}")
        ranges[name] = tuple(found)
    return Pools(ranges, default, tuple(faults[:10]))


def parse_range(word: str) -> Range:
    """``A``, ``A-B`` or ``A/BITS``. Raises ValueError, which says what is wrong."""
    if len(word) > 100:
        raise ValueError("a range is written like 192.0.2.10-192.0.2.20 or 192.0.2.16/28")
    try:
        if "/" in word:
            network = ipaddress.ip_network(word)
            found = Range(network[0], network[-1])
        else:
            first, _, last = word.partition("-")
            found = Range(ipaddress.ip_address(first.strip()), ipaddress.ip_address((last or first).strip()))
    except ValueError:
        raise ValueError(f'"{word}" is not a range like 192.0.2.10-192.0.2.20 or 192.0.2.16/28') from None
    if found.first.version != found.last.version or int(found.first) > int(found.last):
        raise ValueError(f'"{word}" does not end behind its beginning')
    for address in (found.first, found.last):
        if (
            "%" in str(address)
            or address.is_loopback
            or address.is_multicast
            or address.is_unspecified
            or address.is_link_local
        ):
            raise ValueError(f'"{word}" has addresses that no network carries')
    return found
