"""A plan as rules of one nftables table of the family inet. Pure: a change becomes the text of one transaction.

Both hooks stand where packets are forwarded, behind translation: what a Service or a node port was is a pod's address
by then. Frames within the pods' bridge come by here too (bridge-nf-call-iptables). What the node itself sends or
receives does not: a pod is always open to its own node and its node to it. While there are policies, pods of one bridge
do not speak to each other by their link-local addresses at all.

Egress and ingress are two base chains, so that ``accept`` in the first leaves the word to the second. Every packet is
judged, not only the first of a connection; an answer is judged as what it answers, with addresses and ports turned
around (the chains that end in ``/r``). So a change of policy cuts connections that it no longer allows, at once and in
both directions, and nothing has to be forgotten by conntrack.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from sampan.network.policy.intervals import Span
from sampan.network.policy.model import DIRECTIONS, Direction, PortRange, Rule
from sampan.network.policy.plan import (
    Chain,
    Delta,
    Element,
    Judged,
    NamedPorts,
    PeerSet,
    PolicyRules,
    Selection,
    SetKey,
)
from sampan.records import dataclass

FAMILIES = ((4, "ip", "ipv4_addr"), (6, "ip6", "ipv6_addr"))
#: Of what is dropped, so much is told; the counters have all of it.
_TOLD = "limit rate 50/second burst 100 packets"
_TOLD_BYTES = 96
#: Behind the service proxy's own filters, and where most firewalls stand.
_PRIORITIES: dict[Direction, int] = {"egress": 5, "ingress": 6}
#: Neighbours find each other by these; within a bridge they pass here, and ARP does not. What was routed (a hop limit
#: below 255) is none of theirs.
_NEIGHBOURS = "ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }"
#: Every pod has one beside those that the API knows; nobody knows whose it is, so nothing else passes by it.
_LINK_LOCAL = "fe80::/10"
#: Elements in one line: nft reads long lines slowly.
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Table:
    """``log_group``: where dropped packets are told (nflog); None: nobody listens."""

    name: str
    log_group: int | None = None

    def render(self, delta: Delta) -> str:
        """The text for ``nft -f``."""
        return "\n".join(self._lines(delta)) + "\n"

    def _lines(self, delta: Delta) -> Iterator[str]:
        table = f"inet {self.name}"
        if delta.whole:
            yield f"add table {table}"
            yield f"delete table {table}"
            yield f"add table {table}"
            yield from self._base()
        yield from self._declare(delta)
        # Before any rule refers to them: all elements that are new, then chains, then who goes through which.
        yield from self._elements(delta, True)
        yield from self._fill(delta)
        yield from self._pods(delta)
        yield from self._take_away(delta)

    def _base(self) -> Iterator[str]:
        table = f"inet {self.name}"
        for version, _, kind in FAMILIES:
            yield f"add set {table} self{version} {{ type {kind} . {kind} ; }}"
            for direction in DIRECTIONS:
                yield f"add map {table} {direction}{version} {{ type {kind} : verdict ; }}"
                yield f"add set {table} {dropped_set(direction, version)} {{ type {kind} ; counter ; }}"
        for direction in DIRECTIONS:
            for reply in ("", "/r"):
                yield f"add chain {table} drop-{direction}{reply}"
                pod = _end(direction, own=True, reply=bool(reply))
                for version, family, _ in FAMILIES:
                    yield f"add rule {table} drop-{direction}{reply} {family} {pod} @{dropped_set(direction, version)}"
                if self.log_group is not None:
                    told = f'log prefix "{direction}{reply}" group {self.log_group} snaplen {_TOLD_BYTES}'
                    yield f"add rule {table} drop-{direction}{reply} {_TOLD} {told}"
                yield f"add rule {table} drop-{direction}{reply} drop"
            yield from self._hook(direction)

    def _hook(self, direction: Direction) -> Iterator[str]:
        table, replies = f"inet {self.name}", f"{direction}/r"
        hook = f"type filter hook forward priority {_PRIORITIES[direction]} ; policy accept ;"
        yield f"add chain {table} {direction} {{ {hook} }}"
        yield f"add chain {table} {replies}"
        yield f"add rule {table} {direction} ct state related accept"
        yield f"add rule {table} {direction} {_NEIGHBOURS} accept"
        for end in ("saddr", "daddr"):
            yield f"add rule {table} {direction} ip6 {end} {_LINK_LOCAL} drop"
        for version, family, _ in FAMILIES:
            yield f"add rule {table} {direction} {family} saddr . {family} daddr @self{version} accept"
        yield f"add rule {table} {direction} ct direction reply goto {replies}"
        for chain, reply in ((direction, False), (replies, True)):
            for version, family, _ in FAMILIES:
                end = _end(direction, own=True, reply=reply)
                yield f"add rule {table} {chain} {family} {end} vmap @{direction}{version}"

    def _declare(self, delta: Delta) -> Iterator[str]:
        table = f"inet {self.name}"
        for key, there in delta.sets.items():
            if there:
                for version, _, kind in FAMILIES:
                    more = " . inet_service" if isinstance(key, NamedPorts) else ""
                    yield f"add set {table} {set_name(key, version)} {{ type {kind}{more} ; }}"
        for rules, listed in delta.policies.items():
            if listed is not None:
                yield f"add chain {table} {policy_chain(rules)}"
                yield f"add chain {table} {policy_chain(rules)}/r"
        for selection, chain in delta.chains.items():
            if chain is not None:
                for name in _chain_names(selection):
                    yield f"add chain {table} {name}"

    def _elements(self, delta: Delta, there: bool) -> Iterator[str]:
        verb = "add" if there else "delete"
        for key, elements in delta.elements.items():
            for version, _, _ in FAMILIES:
                keys = [_element(each) for each, new in elements.items() if new == there and _version(each) == version]
                yield from self._of_collection(verb, set_name(key, version), keys)

    def _of_collection(self, verb: str, name: str, elements: Sequence[str]) -> Iterator[str]:
        for start in range(0, len(elements), _AT_ONCE):
            listed = ", ".join(elements[start : start + _AT_ONCE])
            yield f"{verb} element inet {self.name} {name} {{ {listed} }}"

    def _fill(self, delta: Delta) -> Iterator[str]:
        for rules, listed in delta.policies.items():
            if listed is not None:
                for reply in (False, True):
                    name = policy_chain(rules) + ("/r" if reply else "")
                    lines = [line for rule in listed for line in rule_lines(rule, rules.direction, reply=reply)]
                    if not reply:
                        lines.insert(0, f"ct direction reply goto {name}/r")
                    yield from self._chain(name, lines, rules in delta.known_policies)
        for selection, chain in delta.chains.items():
            if chain is not None:
                for name, lines in _selection_chains(selection, chain):
                    yield from self._chain(name, lines, selection in delta.known_chains)

    def _chain(self, name: str, lines: Iterable[str], known: bool) -> Iterator[str]:
        if known:
            yield f"flush chain inet {self.name} {name}"
        for line in lines:
            yield f"add rule inet {self.name} {name} {line}"

    def _pods(self, delta: Delta) -> Iterator[str]:
        for address, judged in delta.pods.items():
            version = 6 if ":" in address else 4
            before, after = delta.pods_before.get(address, Judged()), judged or Judged()
            for direction, old, new in zip(DIRECTIONS, before, after, strict=True):
                if old == new:
                    continue
                if old is not None:
                    yield f"delete element inet {self.name} {direction}{version} {{ {address} }}"
                if new is not None:
                    through = f"{address} : jump {selection_chain(new)}"
                    yield f"add element inet {self.name} {direction}{version} {{ {through} }}"
                if (old is None) != (new is None):
                    verb = "add" if old is None else "delete"
                    yield f"{verb} element inet {self.name} {dropped_set(direction, version)} {{ {address} }}"
            if (before == Judged()) != (after == Judged()):
                verb = "add" if before == Judged() else "delete"
                yield f"{verb} element inet {self.name} self{version} {{ {address} . {address} }}"

    def _take_away(self, delta: Delta) -> Iterator[str]:
        """Chains are emptied before the first is deleted: they refer to each other and to sets."""
        gone = [name for selection, chain in delta.chains.items() if chain is None for name in _chain_names(selection)]
        for rules, listed in delta.policies.items():
            if listed is None:
                gone += [policy_chain(rules), f"{policy_chain(rules)}/r"]
        for verb in ("flush", "delete"):
            for name in gone:
                yield f"{verb} chain inet {self.name} {name}"
        yield from self._elements(delta, False)
        for key, there in delta.sets.items():
            if not there:
                for version, _, _ in FAMILIES:
                    yield f"delete set inet {self.name} {set_name(key, version)}"


def _selection_chains(selection: Selection, chain: Chain) -> Iterator[tuple[str, list[str]]]:
    """The chains of a selection with their rules. Rules of the admin tier stand apart, so that ``return`` passes on."""
    for reply in (False, True):
        turned = "/r" if reply else ""
        name = selection_chain(selection) + turned
        admin = [line for rule in chain.admin for line in rule_lines(rule, selection.direction, reply=reply)]
        yield f"{selection_chain(selection)}/a{turned}", admin
        lines = [] if reply else [f"ct direction reply goto {name}/r"]
        if admin:
            lines.append(f"jump {selection_chain(selection)}/a{turned}")
        for key in chain.network:
            lines.append(f"jump {policy_chain(PolicyRules(key, selection.direction))}{turned}")
        if chain.network:
            lines.append(f"goto drop-{selection.direction}{turned}")
        lines += [line for rule in chain.baseline for line in rule_lines(rule, selection.direction, reply=reply)]
        yield name, lines


def rule_lines(rule: Rule, direction: Direction, *, reply: bool) -> Iterator[str]:
    """A rule's lines. They are as many as it has peers and sorts of ports, whatever these have of members."""
    verdict = {"accept": "accept", "pass": "return", "deny": f"goto drop-{direction}{'/r' if reply else ''}"}[
        rule.action
    ]
    ports = list(_port_matches(rule, reply))
    for version, address in _address_matches(rule, _end(direction, own=False, reply=reply)):
        for port_version, port in ports:
            if 0 in (version, port_version) or version == port_version:
                yield " ".join(part for part in (address, port, verdict) if part)


def _address_matches(rule: Rule, end: str) -> Iterator[tuple[int, str]]:
    """(family or 0 for both, words)."""
    if rule.anyone:
        yield 0, ""
        return
    for version, family, _ in FAMILIES:
        for peer in rule.peers:
            yield version, f"{family} {end} @{set_name(PeerSet(peer), version)}"
        spans = [span for span in rule.blocks if span.version == version]
        if spans:
            yield version, f"{family} {end} {{ {', '.join(map(_span, spans))} }}"


def _port_matches(rule: Rule, reply: bool) -> Iterator[tuple[int, str]]:
    if rule.any_port:
        yield 0, ""
        return
    port, target = ("sport", "saddr") if reply else ("dport", "daddr")
    by_protocol: dict[str, list[PortRange]] = {}
    for each in rule.ports:
        by_protocol.setdefault(each.protocol, []).append(each)
    for protocol, ranges in by_protocol.items():
        if ranges[0][1:] == (0, 65535):
            yield 0, f"meta l4proto {protocol}"
        else:
            yield 0, f"{protocol} {port} {{ {', '.join(map(_range, ranges))} }}"
    for name in rule.names:
        for version, family, _ in FAMILIES:
            yield version, f"{family} {target} . {name.protocol} {port} @{set_name(NamedPorts(name), version)}"


def _end(direction: Direction, *, own: bool, reply: bool) -> str:
    """Where a packet has the address of the restricted pod (``own``), or of the other side."""
    is_source = (direction == "egress") == own
    return "saddr" if is_source != reply else "daddr"


def _span(span: Span) -> str:
    return str(span)


def _range(ports: PortRange) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"


def _element(element: Element) -> str:
    return f"{element.address} . {element.port}" if element.port else element.address


def _version(element: Element) -> int:
    return 6 if ":" in element.address else 4


# -- Names -------------------------------------------------------------------------------------------------------


def _hash(words: str) -> str:
    return hashlib.blake2s(words.encode(), digest_size=10).hexdigest()


def dropped_set(direction: Direction, version: int) -> str:
    return f"dropped-{direction}{version}"


def set_name(key: SetKey, version: int) -> str:
    if isinstance(key, PeerSet):
        return f"peer{version}-{_hash(str(key.peer))}"
    return f"port{version}-{_hash('/'.join(key.port))}"


def policy_chain(rules: PolicyRules) -> str:
    return f"policy-{rules.direction}-{_hash(str(rules.key))}"


def selection_chain(selection: Selection) -> str:
    tiers = (selection.admin, selection.network, selection.baseline)
    return f"pods-{selection.direction}-{_hash('|'.join(','.join(map(str, tier)) for tier in tiers))}"


def _chain_names(selection: Selection) -> list[str]:
    name = selection_chain(selection)
    return [name, f"{name}/r", f"{name}/a", f"{name}/a/r"]
