"""Which addresses a Service gets, and which node announces them. Pure: views in, an outcome out.

What a Service has it keeps as long as it may: addresses move only when they must.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from sampan.api import loadbalancing as balancing
from sampan.api import objects
from sampan.api.loadbalancing import Address, Pools, Range
from sampan.api.nodes import status as nodestatus
from sampan.api.nodes import taints
from sampan.api.reading import part, parts, text, text_map
from sampan.api.types import Obj
from sampan.records import dataclass

EXCLUDED: Final = "node.kubernetes.io/exclude-from-external-load-balancers"
_TO_BE_DELETED: Final = "ToBeDeletedByClusterAutoscaler"
NO_NODES: Final = "There are no available nodes for LoadBalancer"
#: of nodes in one status: whoever looks the name up takes the first ones anyway
MAX_ADDRESSES: Final = 64
#: Addresses of a pool that are looked at, from its beginning, and then anywhere in it: a choice takes milliseconds.
MAX_LOOKS: Final = 1024
MAX_PROBES: Final = 512


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node that may serve. ``host_ports`` (``TCP/22``) are not to be had there; None: which ones is not known."""

    name: str
    addresses: tuple[str, ...]
    host_ports: frozenset[str] | None = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """``unavailable``: no node can serve. ``refusal``: why there is no address, "" otherwise. ``stays``: the status is
    left as it is, and nothing is given that the Service has come to ask for."""

    addresses: tuple[str, ...] = ()
    announcer: str = ""
    refusal: str = ""
    unavailable: bool = False
    stays: bool = False


#: Whether somebody else has an address, or a port (``TCP/80``) at one of a node: who, "" if nobody.
HolderOf = Callable[[str], str]
PortHolder = Callable[[str, str], str]


def view_node(node: Obj) -> NodeView | None:
    """None: it takes no traffic from outside."""
    if (
        not nodestatus.is_ready(node)
        or objects.is_deleting(node)
        or EXCLUDED in text_map(part(node, "metadata"), "labels")
        or any(taint.get("key") == _TO_BE_DELETED for taint in taints.of(node))
    ):
        return None
    return NodeView(objects.name(node), node_addresses(node), balancing.host_ports(node))


def node_addresses(node: Obj) -> tuple[str, ...]:
    """Of each family those for the outside, or if there are none the node's own."""
    listed = [(text(entry, "type"), text(entry, "address")) for entry in parts(part(node, "status"), "addresses")]
    found: list[str] = []
    for family in (4, 6):
        of_family = [(kind, value) for kind, value in listed if _family(value) == family]
        outside = [value for kind, value in of_family if kind == "ExternalIP"]
        found += outside or [value for kind, value in of_family if kind == "InternalIP"]
    return tuple(dict.fromkeys(found))


def plan_nodes(service: Obj, nodes: Sequence[NodeView], local: frozenset[str], taken: PortHolder) -> Outcome:
    """``local``: nodes with ready endpoints of the Service; ``taken``: by others."""
    has, granted = balancing.addresses(service), frozenset(balancing.granted(service))
    if not nodes:
        return Outcome(has, unavailable=True, stays=True)
    if balancing.prefers_local(service):
        nodes = [node for node in nodes if node.name in local]
        if not nodes:
            return Outcome(has, stays=True)
    wish, families = text(part(service, "spec"), "loadBalancerIP"), balancing.families(service)
    free: list[str] = []
    refusals: dict[str, None] = {}
    places = [(address, node) for node in nodes for address in node.addresses if _family(address) in families]
    for address, node in sorted(places, key=lambda place: (place[0] not in has, _number(place[0]))):
        if wish and not _same(wish, address):
            continue
        if refusal := _conflict(service, node, address, taken, granted):
            refusals[refusal] = None
            continue
        free.append(address)
        if len(free) >= MAX_ADDRESSES:
            break
    if free:
        return Outcome(_ordered(free, families))
    if refusals:
        return Outcome(refusal=next(iter(refusals)))
    named = f"loadBalancerIP {wish} is not an address of a node" if wish else "no node has an address of its families"
    return Outcome(refusal=named)


def _conflict(
    service: Obj, node: NodeView, address: str, taken: PortHolder, granted: frozenset[tuple[str, str]]
) -> str:
    for port in balancing.ports(service):
        if holder := taken(address, port):
            return f"port {port} of {address} belongs to {holder}"
        if (address, port) in granted:
            continue
        if node.host_ports is None:
            return f"node {node.name} has not told yet which ports of {address} belong to its programs"
        if port in node.host_ports:
            return f"port {port} of {address} belongs to a program of node {node.name}"
    return ""


def overlap(service: Obj, nodes: Sequence[NodeView]) -> str:
    """A program of a node that listens where the Service has been before it: what it does not get, said once."""
    granted = frozenset(balancing.granted(service))
    for node in nodes:
        for address in node.addresses:
            for port in balancing.ports(service):
                if (address, port) in granted and port in (node.host_ports or ()):
                    return f"port {port} of {address} leads here; a program of node {node.name} listens there too"
    return ""


def plan_layer2(
    service: Obj, nodes: Sequence[NodeView], local: frozenset[str], pools: Pools, holder: HolderOf
) -> Outcome:
    """``holder``: who else has an address, a node among them."""
    spec, name = part(service, "spec"), text_map(part(service, "metadata"), "annotations").get(balancing.POOL_WISH, "")
    ranges, has = pools.of(name), balancing.addresses(service)
    if not ranges:
        missing = f'there is no pool "{name}"' if name else "there is no pool of addresses"
        return Outcome(refusal=f"{missing} in ConfigMap {balancing.POOLS_NAMESPACE}/{balancing.POOLS_NAME}")
    wish = balancing.address_of(text(spec, "loadBalancerIP"))
    if wish is not None:
        if not any(wish in each for each in ranges):
            return Outcome(refusal=f"loadBalancerIP {wish} is in no pool")
        if whose := holder(str(wish)):
            return Outcome(refusal=f"loadBalancerIP {wish} belongs to {whose}")
    found: list[str] = []
    for family in balancing.families(service):
        if wish is not None and wish.version == family:
            found.append(str(wish))
        elif chosen := _choose(family, objects.uid(service), has, ranges, holder):
            found.append(chosen)
    lacking = len(balancing.families(service)) - len(found)
    if not found or (lacking and text(spec, "ipFamilyPolicy") == "RequireDualStack"):
        return Outcome(refusal="no address is free in the pools" + (" for each of its families" if found else ""))
    announcer = choose_announcer(service, nodes, local)
    return Outcome(tuple(found), announcer, unavailable=not announcer)


def _choose(family: int, uid: str, has: Iterable[str], ranges: Iterable[Range], holder: HolderOf) -> str:
    kept = [each for each in map(balancing.address_of, has) if each is not None and each.version == family]
    ranges = [each for each in ranges if each.first.version == family]
    for address in kept:
        if any(address in each for each in ranges) and not holder(str(address)):
            return str(address)
    first = itertools.islice(itertools.chain.from_iterable(each.addresses() for each in ranges), MAX_LOOKS)
    for address in itertools.chain(first, _probes(uid, ranges)):
        if not holder(str(address)):
            return str(address)
    return ""


def _probes(uid: str, ranges: Sequence[Range]) -> Iterator[Address]:
    """Places in pools of more addresses than are looked at one by one, others for each Service."""
    if sum(each.size for each in ranges) <= MAX_LOOKS:
        return
    largest = max(ranges, key=lambda each: each.size)
    for number in range(MAX_PROBES):
        place = int.from_bytes(hashlib.blake2s(f"{uid} {number}".encode()).digest(), "big")
        yield largest.first + place % largest.size


def choose_announcer(service: Obj, nodes: Sequence[NodeView], local: frozenset[str]) -> str:
    """The one that does it already, while it can; else Services are spread over the nodes by their uid."""
    able = [node.name for node in nodes]
    if balancing.prefers_local(service):
        able = [name for name in able if name in local] or able
    now = balancing.announced_by(service)
    if now in able or not able:
        return now
    uid = objects.uid(service)
    return max(able, key=lambda name: hashlib.blake2s(f"{uid} {name}".encode(), digest_size=8).digest())


def _ordered(free: Iterable[str], families: Sequence[int]) -> tuple[str, ...]:
    """By family as the Service has them, then by number."""
    return tuple(sorted(dict.fromkeys(free), key=lambda each: (families.index(_family(each)), _number(each))))


def _number(value: str) -> int:
    address = balancing.address_of(value)
    return 0 if address is None else int(address)


def _family(value: str) -> int:
    address = balancing.address_of(value)
    return 0 if address is None else address.version


def _same(left: str, right: str) -> bool:
    first, second = balancing.address_of(left), balancing.address_of(right)
    return first is not None and first == second


def is_older(one: Obj, other: Obj) -> bool:
    """Which of two that have the same keeps it."""
    return _age(one) < _age(other)


def _age(service: Obj) -> tuple[str, str]:
    return text(part(service, "metadata"), "creationTimestamp"), objects.uid(service)


def render(service: Obj, balancer_class: str, outcome: Outcome) -> Obj | None:
    """The merge patch of ``status`` that makes it so; None: it is so. A former announcer stays named as long as nobody
    takes its place."""
    meta = part(service, "metadata")
    annotations = text_map(meta, "annotations")
    wanted: dict[str, str | None] = {
        balancing.CLASS_MARK: balancer_class,
        balancing.ANNOUNCED_BY: outcome.announcer or None,
    }
    patch: Obj = {}
    if differing := {key: value for key, value in wanted.items() if annotations.get(key) != value}:
        patch["metadata"] = {"annotations": differing}
    finalizers = list(objects.finalizers(service))
    if balancing.FINALIZER not in finalizers:
        patch.setdefault("metadata", {})["finalizers"] = [*finalizers, balancing.FINALIZER]
    ingress = [_render_address(service, address, balancer_class) for address in outcome.addresses]
    if not outcome.stays and list(parts(part(part(service, "status"), "loadBalancer"), "ingress")) != ingress:
        patch["status"] = {"loadBalancer": {"ingress": ingress or None}}
    return patch or None


def _render_address(service: Obj, address: str, balancer_class: str) -> Obj:
    """An address of a node tells which of its ports the Service was given."""
    found: Obj = {"ip": address, "ipMode": "VIP"}
    if balancer_class == balancing.NODE_CLASS:
        given = (port.partition("/") for port in balancing.ports(service))
        found["ports"] = [{"port": int(number), "protocol": protocol} for protocol, _, number in given]
    return found


def is_ours_to_clean(service: Obj, default_class: str) -> bool:
    """A load balancer of ours that nobody wants any more. Its mark may have been taken off: as long as its class says
    that it is ours, nobody else takes the finalizer away."""
    balancer_class = balancing.class_of(service, default_class)
    if balancing.CLASS_MARK in text_map(part(service, "metadata"), "annotations"):
        return objects.is_deleting(service) or not balancer_class
    return bool(balancer_class) and objects.is_deleting(service) and balancing.FINALIZER in objects.finalizers(service)


def render_cleanup(service: Obj) -> Obj:
    finalizers = [each for each in objects.finalizers(service) if each != balancing.FINALIZER]
    annotations = {balancing.CLASS_MARK: None, balancing.ANNOUNCED_BY: None}
    return {
        "metadata": {"annotations": annotations, "finalizers": finalizers or None},
        "status": {"loadBalancer": {"ingress": None}},
    }
