"""Policies, pods and namespaces of the API as values of ``model``. Pure.

A rule that is not understood closes and never opens (``closed_rule``), as do all of a policy that is too large. A
NetworkPolicy of which nobody knows whom it selects closes its namespace; a policy of the whole cluster like that does
nothing, for it would close the cluster. ``Policy.faults`` says what is so. The API server's validation lets few of them
through; the store may hold damaged ones, and definitions of ClusterNetworkPolicy may come from elsewhere.

NetworkPolicy: networking.k8s.io/v1. ClusterNetworkPolicy: policy.networking.k8s.io/v1alpha2; AdminNetworkPolicy and
BaselineAdminNetworkPolicy: v1alpha1 of that group.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from sampan.api.labels import EVERYTHING, NOTHING, Selector, SelectorError
from sampan.api.labels import from_label_selector as parse_selector
from sampan.api.pods.containers import long_running
from sampan.api.pods.status import is_terminal
from sampan.api.reading import flag, part, parts, text, text_map, texts, whole
from sampan.api.types import Obj
from sampan.network.policy import intervals
from sampan.network.policy.intervals import Span
from sampan.network.policy.model import (
    DIRECTIONS,
    PROTOCOLS,
    Action,
    Direction,
    Peer,
    PodFacts,
    PodKey,
    Policy,
    PolicyKey,
    PortName,
    PortRange,
    Rule,
    Tier,
    closed_rule,
)

_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, SelectorError)
_PEERS: dict[Direction, str] = {"ingress": "from", "egress": "to"}
_ACTIONS: dict[str, Action] = {"Accept": "accept", "Allow": "accept", "Deny": "deny", "Pass": "pass"}


#: Peers, exceptions and ports of one policy, and lines of rules that they come to, that are enforced: every node reads
#: them while nothing else runs there. A peer by labels is a set in either family, and counts as much as ten addresses.
_MOST = 10_000
_SELECTOR = 10
#: Faults that are told of one policy.
_MOST_TOLD = 5


class Unreadable(ValueError):
    """A part of a policy that is not as its kind has it; the message says what."""


def read_policy(obj: Obj) -> Policy:
    """Of any of the kinds. Never raises for what is below ``spec``."""
    match obj.get("kind"):
        case "NetworkPolicy":
            return read_network_policy(obj)
        case "ClusterNetworkPolicy":
            tier: Tier = "baseline" if text(part(obj, "spec"), "tier") == "Baseline" else "admin"
            return _read_cluster_policy(obj, "ClusterNetworkPolicy", tier)
        case "AdminNetworkPolicy":
            return _read_cluster_policy(obj, "AdminNetworkPolicy", "admin")
        case "BaselineAdminNetworkPolicy":
            return _read_cluster_policy(obj, "BaselineAdminNetworkPolicy", "baseline")
    raise Unreadable(f"{obj.get('kind')} is no kind of network policy")


# -- NetworkPolicy -----------------------------------------------------------------------------------------------


def read_network_policy(obj: Obj) -> Policy:
    namespace, name = text(obj["metadata"], "namespace"), text(obj["metadata"], "name")
    key, spec = PolicyKey("NetworkPolicy", namespace, name), part(obj, "spec")
    types = set(texts(spec, "policyTypes")) or ({"Ingress", "Egress"} if spec.get("egress") else {"Ingress"})
    try:
        pods = _label_selector(spec.get("podSelector") or {})
    except _UNREADABLE as error:
        # Whom it was to protect is unknown: all of the namespace are closed until it is mended.
        fault = f"it closes its whole namespace, for its podSelector is not understood: {_words(error)}"
        return Policy(key, "network", Peer(EVERYTHING, namespace), (), (), faults=(fault,))
    read = _Reader(spec)
    rules = {
        direction: read.rules(direction, lambda _: "accept", partial(_network_rule, key))
        if direction.capitalize() in types
        else None
        for direction in DIRECTIONS
    }
    return Policy(key, "network", Peer(pods, namespace), rules["ingress"], rules["egress"], faults=read.told)


class _Reader:
    """Reads the rules of one policy, and keeps what is to be said of them."""

    def __init__(self, spec: Obj) -> None:
        self._spec = spec
        self._faults: list[str] = []
        self._large = sum(_cost(rule, way) for way in DIRECTIONS for rule in parts(spec, way)) > _MOST
        if self._large:
            self._faults.append(
                f"all its rules close, for it is too large: no more than {_MOST} addresses and ports, a peer by labels"
                f" counting as {_SELECTOR}, are enforced of one policy"
            )

    @property
    def told(self) -> tuple[str, ...]:
        return tuple(self._faults[:_MOST_TOLD])

    def rules(
        self, direction: Direction, action: Callable[[Obj], Action], read: Callable[[Obj, int, Action, Direction], Rule]
    ) -> tuple[Rule, ...]:
        found: list[Rule] = []
        for index, rule in enumerate(parts(self._spec, direction)):
            wanted = action(rule)
            if self._large:
                found.append(closed_rule(wanted, index))
                continue
            try:
                found.append(read(rule, index, wanted, direction))
            except _UNREADABLE as error:
                self._faults.append(f"{direction} rule {index} closes: {_words(error)}")
                found.append(closed_rule(wanted, index))
        return tuple(found)


def _cost(rule: Obj, direction: Direction) -> int:
    """How much there is to read and to write of a rule, roughly."""
    peers = parts(rule, _PEERS[direction])
    ports = len(parts(rule, "ports")) + len(parts(rule, "protocols"))
    blocks = sum(_count(part(peer, "ipBlock").get("except")) + _count(peer.get("networks")) for peer in peers)
    named = sum(1 for port in parts(rule, "ports") if isinstance(port.get("port"), str) or "namedPort" in port)
    named += sum(1 for port in parts(rule, "protocols") if "destinationNamedPort" in port)
    selectors = sum(1 for peer in peers if "ipBlock" not in peer and "networks" not in peer)
    return len(peers) + _SELECTOR * selectors + ports + blocks + len(peers) * named


def _count(listed: object) -> int:
    return len(listed) if isinstance(listed, list) else 0


def _words(error: Exception) -> str:
    """Python's own are no words for who wrote a policy."""
    return (
        str(error)[:200]
        if isinstance(error, Unreadable | SelectorError | intervals.NotARange)
        else "it is not as its kind has it"
    )


def _network_rule(key: PolicyKey, rule: Obj, index: int, action: Action, direction: Direction) -> Rule:
    peers: list[Peer] = []
    spans: list[Span] = []
    listed = rule.get(_PEERS[direction]) or ()
    for peer in listed:
        if peer.get("ipBlock") is not None:
            block = part(peer, "ipBlock")
            spans += intervals.block(text(block, "cidr"), texts(block, "except"))
        else:
            peers.append(_network_peer(key, peer))
    ports, names, any_port = _network_ports(rule.get("ports") or ())
    return Rule(
        action,
        index,
        anyone=not listed,
        peers=tuple(dict.fromkeys(peers)),
        blocks=intervals.united(spans),
        any_port=any_port,
        ports=ports,
        names=names,
    )


def _network_peer(key: PolicyKey, peer: Obj) -> Peer:
    in_pods, in_namespaces = peer.get("podSelector"), peer.get("namespaceSelector")
    if in_pods is None and in_namespaces is None:
        raise Unreadable("a peer says neither which pods nor which namespaces or addresses it is")
    pods = EVERYTHING if in_pods is None else _label_selector(in_pods)
    if in_namespaces is None:
        return Peer(pods, key.namespace)
    return Peer(pods, "", _label_selector(in_namespaces))


def _network_ports(ports: Sequence[Obj]) -> tuple[tuple[PortRange, ...], tuple[PortName, ...], bool]:
    """Ranges, names, and whether every port will do: where none is listed."""
    ranges: list[PortRange] = []
    names: list[PortName] = []
    for port in ports:
        protocol, number = _protocol(port.get("protocol") or "TCP"), port.get("port")
        if number is None:
            ranges.append(PortRange(protocol, 0, 65535))
        elif isinstance(number, str):
            names.append(PortName(protocol, number))
        else:
            last = port.get("endPort")
            ranges.append(_range(protocol, number, number if last is None else last))
    return _united(ranges), tuple(dict.fromkeys(names)), not ports


# -- Policies of the whole cluster -------------------------------------------------------------------------------


def _read_cluster_policy(obj: Obj, kind: str, tier: Tier) -> Policy:
    key, spec = PolicyKey(kind, "", text(obj["metadata"], "name")), part(obj, "spec")
    try:
        subject = _cluster_peer(part(spec, "subject"))
        if subject is None:
            raise Unreadable("its subject is of no known sort")
    except _UNREADABLE as error:
        fault = f"nothing of it is enforced, for its subject is not understood: {_words(error)}"
        return Policy(key, tier, Peer(NOTHING), faults=(fault,))
    read = _Reader(spec)
    rules = {
        direction: read.rules(direction, lambda rule: _ACTIONS.get(text(rule, "action"), "deny"), _cluster_rule) or None
        for direction in DIRECTIONS
    }
    priority = whole(spec, "priority") or 0
    return Policy(key, tier, subject, rules["ingress"], rules["egress"], priority, read.told)


def _cluster_rule(rule: Obj, index: int, action: Action, direction: Direction) -> Rule:
    peers: list[Peer] = []
    spans: list[Span] = []
    for peer in rule[_PEERS[direction]]:
        if peer.get("networks") is not None:
            for cidr in texts(peer, "networks"):
                spans += intervals.block(cidr)
            continue
        pods = _cluster_peer(peer)
        if pods is None:
            raise Unreadable(f"peers by {', '.join(sorted(peer)) or 'nothing'} are not supported")
        peers.append(pods)
    ranges: list[PortRange] = []
    names: list[PortName] = []
    described = [*(rule.get("protocols") or ()), *(rule.get("ports") or ())]
    for port in described:
        _add_cluster_port(port, ranges, names)
    return Rule(
        action,
        index,
        peers=tuple(dict.fromkeys(peers)),
        blocks=intervals.united(spans),
        any_port=not described,
        ports=_united(ranges),
        names=tuple(dict.fromkeys(names)),
        label=text(rule, "name"),
    )


def _cluster_peer(peer: Obj) -> Peer | None:
    if peer.get("namespaces") is not None:
        return Peer(EVERYTHING, "", _label_selector(peer["namespaces"]))
    if peer.get("pods") is not None:
        pods = peer["pods"]
        return Peer(_selector(pods, "podSelector"), "", _selector(pods, "namespaceSelector"))
    return None


def _label_selector(selector: Any) -> Selector:
    """Raises Unreadable, among others, for what no API server would have let through."""
    made = parse_selector(selector)
    for requirement in made.requirements:
        if not all(isinstance(word, str) for word in (requirement.key, *requirement.values)):
            raise Unreadable("a selector has keys or values that are no text")
    return made


def _selector(holder: Obj, key: str) -> Selector:
    return _label_selector(holder.get(key) or {})


def _add_cluster_port(port: Obj, ranges: list[PortRange], names: list[PortName]) -> None:
    """One of ``protocols`` (v1alpha2) or ``ports`` (v1alpha1)."""
    for protocol in PROTOCOLS:
        if port.get(protocol) is not None:
            wanted = part(part(port, protocol), "destinationPort")
            if wanted.get("range"):
                ranges.append(_range(protocol, wanted["range"]["start"], wanted["range"]["end"]))
            elif wanted:
                ranges.append(_range(protocol, wanted["number"], wanted["number"]))
            else:
                ranges.append(PortRange(protocol, 0, 65535))
            return
    name = text(port, "destinationNamedPort") or text(port, "namedPort")
    if name:
        names.extend(PortName(protocol, name) for protocol in PROTOCOLS)
    elif port.get("portNumber"):
        number = port["portNumber"]
        ranges.append(_range(_protocol(number["protocol"]), number["port"], number["port"]))
    elif port.get("portRange"):
        span = port["portRange"]
        ranges.append(_range(_protocol(span.get("protocol") or "TCP"), span["start"], span["end"]))
    else:
        raise Unreadable("a port is of no known sort")


def _protocol(name: Any) -> str:
    lower = str(name).lower()
    if lower not in PROTOCOLS:
        raise Unreadable(f"protocol {str(name)[:40]} is not supported")
    return lower


def _range(protocol: str, first: Any, last: Any) -> PortRange:
    if type(first) is not int or type(last) is not int or not 0 <= first <= last <= 65535:
        raise Unreadable(f"ports {str(first)[:20]} to {str(last)[:20]} are no range")
    return PortRange(protocol, first, last)


def _united(ranges: Sequence[PortRange]) -> tuple[PortRange, ...]:
    return tuple(
        PortRange(protocol, first, last)
        for protocol in PROTOCOLS
        for first, last in intervals.united_ports((r.first, r.last) for r in ranges if r.protocol == protocol)
    )


# -- Pods --------------------------------------------------------------------------------------------------------


def read_pod(pod: Obj, addresses: Sequence[str] = ()) -> PodFacts | None:
    """None: it has no address of its own (yet, or any more, or it uses its node's). ``addresses``: what its node knows
    before the API does."""
    meta, spec, status = part(pod, "metadata"), part(pod, "spec"), part(pod, "status")
    if flag(spec, "hostNetwork") or is_terminal(pod):
        return None
    listed = [text(each, "ip") for each in parts(status, "podIPs")] or [text(status, "podIP")]
    known = tuple(dict.fromkeys(_addresses([*listed, *addresses])))
    if not known:
        return None
    ports = [
        (text(port, "name"), text(port, "protocol").lower() or "tcp", whole(port, "containerPort") or 0)
        for container in long_running(pod)
        for port in parts(container, "ports")
        if text(port, "name") and 0 < (whole(port, "containerPort") or 0) <= 65535
    ]
    return PodFacts(
        PodKey(text(meta, "namespace"), text(meta, "name")),
        text_map(meta, "labels"),
        known,
        text(spec, "nodeName"),
        tuple(dict.fromkeys(ports)),
    )


def _addresses(listed: Sequence[str]) -> Iterator[str]:
    for each in listed:
        try:
            address = ipaddress.ip_address(each)
        except ValueError:
            continue
        if not getattr(address, "scope_id", None):
            yield str(address)
