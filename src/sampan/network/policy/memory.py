"""A back end that only remembers, and can say what it would let through: for tests, and for nodes that forward nothing.

It holds what it is told to the words of ``plan``: whoever adds what is there, or takes away what is not, is at fault.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from sampan.network.policy import intervals
from sampan.network.policy.backend import BackendError, Dropped, Refused
from sampan.network.policy.model import Direction, Policy, Rule
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
from sampan.network.policy.planner import alone

K = TypeVar("K")
V = TypeVar("V")


class MemoryBackend:
    """``fail_next`` are errors that coming applications raise; ``deltas`` is what was applied. ``bad``: rules that are
    refused."""

    def __init__(self) -> None:
        self.sets: dict[SetKey, set[Element]] = {}
        self.policies: dict[PolicyRules, tuple[Rule, ...]] = {}
        self.chains: dict[Selection, Chain] = {}
        self.pods: dict[str, Judged] = {}
        self.deltas: list[Delta] = []
        self.fail_next: list[BackendError] = []
        self.bad: set[Rule] = set()
        self.lost = False

    async def apply(self, delta: Delta) -> None:
        if self.fail_next:
            raise self.fail_next.pop(0)
        if self.bad & _rules(delta):
            raise Refused("a rule is no good")
        self.take(delta)

    def take(self, delta: Delta) -> None:
        if delta.whole:
            self.sets, self.policies, self.chains, self.pods, self.lost = {}, {}, {}, {}, False
        self.deltas.append(delta)
        _replace(self.policies, delta.policies)
        _replace(self.chains, delta.chains)
        self._take_sets(delta)
        for address, judged in delta.pods.items():
            assert self.pods.get(address) == delta.pods_before.get(address), address
            if judged is None:
                del self.pods[address]
            else:
                self.pods[address] = judged
        self.check_invariants()

    def _take_sets(self, delta: Delta) -> None:
        for key, there in delta.sets.items():
            if there:
                assert key not in self.sets, key
                self.sets[key] = set()
            else:
                del self.sets[key]
        for key, elements in delta.elements.items():
            for element, there in elements.items():
                assert (element in self.sets[key]) != there, (key, element)
                (self.sets[key].add if there else self.sets[key].remove)(element)

    def check_invariants(self) -> None:
        """What is named is there, and nothing is there that nothing names."""
        used = {selection for judged in self.pods.values() for selection in judged if selection is not None}
        assert set(self.chains) == used
        named = {PolicyRules(key, each.direction) for each, chain in self.chains.items() for key in chain.network}
        assert set(self.policies) == named
        rules = [rule for chain in self.chains.values() for rule in (*chain.admin, *chain.baseline)]
        rules += [rule for listed in self.policies.values() for rule in listed]
        asked: set[SetKey] = {PeerSet(peer) for rule in rules for peer in rule.peers}
        asked |= {NamedPorts(name) for rule in rules for name in rule.names}
        assert set(self.sets) == asked

    async def refuses(self, policies: Sequence[Policy]) -> bool:
        return bool(self.bad & _rules(alone(policies)))

    async def is_there(self) -> bool:
        return not self.lost

    async def dropped(self) -> Mapping[tuple[str, Direction], Dropped]:
        return {}

    async def remove(self) -> None:
        self.take(Delta(whole=True))

    # What it would let through

    def lets(self, source: str, target: str, protocol: str, port: int) -> bool:
        """A connection from an address to one of a pod or of the world, after what Services translate."""
        if source == target:
            return True
        going, coming = self.pods.get(source, Judged()).egress, self.pods.get(target, Judged()).ingress
        return (going is None or self._accepts(going, target, target, protocol, port)) and (
            coming is None or self._accepts(coming, source, target, protocol, port)
        )

    def _accepts(self, selection: Selection, other: str, target: str, protocol: str, port: int) -> bool:
        chain = self.chains[selection]

        def first(rules: Iterable[Rule]) -> str:
            return next((rule.action for rule in rules if self._matches(rule, other, target, protocol, port)), "")

        decided = first(chain.admin)
        if decided in ("accept", "deny"):
            return decided == "accept"
        if chain.network:
            listed = [self.policies[PolicyRules(key, selection.direction)] for key in chain.network]
            return any(first(rules) for rules in listed)
        return first(chain.baseline) != "deny"

    def _matches(self, rule: Rule, other: str, target: str, protocol: str, port: int) -> bool:
        return self._is_peer(rule, other) and (
            rule.any_port
            or any(each.protocol == protocol and each.first <= port <= each.last for each in rule.ports)
            or any(
                name.protocol == protocol and Element(target, port) in self.sets[NamedPorts(name)]
                for name in rule.names
            )
        )

    def _is_peer(self, rule: Rule, other: str) -> bool:
        return (
            rule.anyone
            or any(Element(other) in self.sets[PeerSet(peer)] for peer in rule.peers)
            or intervals.holds(rule.blocks, ipaddress.ip_address(other))
        )


def _rules(delta: Delta) -> set[Rule]:
    found = {rule for rules in delta.policies.values() for rule in rules or ()}
    chains = [chain for chain in delta.chains.values() if chain is not None]
    return found | {rule for chain in chains for rule in (*chain.admin, *chain.baseline)}


def _replace(held: dict[K, V], changes: Mapping[K, V | None]) -> None:
    for key, value in changes.items():
        if value is None:
            del held[key]
        else:
            held[key] = value
