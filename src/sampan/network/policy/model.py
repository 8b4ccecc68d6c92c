"""What policies and pods mean to the network, as values. Pure: ``reading`` makes them of objects.

A policy is of a tier. Admin policies are asked first, in order of their priority, rule by rule; what they leave open is
decided by the NetworkPolicies that select the pod, if there are any; otherwise by the Baseline policies; and what all
of these leave open is allowed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from sampan.api.labels import EVERYTHING, Selector
from sampan.network.policy.intervals import Span
from sampan.records import dataclass

Direction: TypeAlias = Literal["ingress", "egress"]
Action: TypeAlias = Literal["accept", "deny", "pass"]
Tier: TypeAlias = Literal["admin", "network", "baseline"]

DIRECTIONS: tuple[Direction, Direction] = ("ingress", "egress")
PROTOCOLS = ("tcp", "udp", "sctp")


class PolicyKey(NamedTuple):
    """``namespace`` is "" for kinds of the whole cluster."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class PodKey(NamedTuple):
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Peer:
    """Pods: of the one ``namespace``, or, where that is "", of the namespaces whose labels match ``namespaces``."""

    pods: Selector = EVERYTHING
    namespace: str = ""
    namespaces: Selector = EVERYTHING

    def matches(self, namespace: str, namespace_labels: Mapping[str, str], labels: Mapping[str, str]) -> bool:
        if self.namespace:
            return self.namespace == namespace and self.pods.matches(labels)
        return self.namespaces.matches(namespace_labels) and self.pods.matches(labels)

    def __str__(self) -> str:
        """The same for the same pods as they were asked for; a part of names of sets."""
        where = f"namespace {self.namespace}" if self.namespace else f"namespaces ({_words(self.namespaces)})"
        return f"pods ({_words(self.pods)}) of {where}"


def _words(selector: Selector) -> str:
    return "<none>" if selector.nothing else str(selector)


class PortRange(NamedTuple):
    protocol: str
    first: int
    last: int


class PortName(NamedTuple):
    """A port that pods call by name: each pod's may be another number."""

    protocol: str
    name: str


@dataclass(frozen=True, slots=True)
class Rule:
    """``anyone``: whatever the address. ``any_port``: whatever the protocol and port; else what is in one of ``ports``
    or has one of the ``names`` at the destination. ``index``: its place among the rules of its direction."""

    action: Action
    index: int
    anyone: bool = False
    peers: tuple[Peer, ...] = ()
    blocks: tuple[Span, ...] = ()
    any_port: bool = False
    ports: tuple[PortRange, ...] = ()
    names: tuple[PortName, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """``ingress`` and ``egress``: None where it says nothing of that direction. ``faults``: what of it is not enforced
    as it stands, in words for who wrote it."""

    key: PolicyKey
    tier: Tier
    subject: Peer
    ingress: tuple[Rule, ...] | None = None
    egress: tuple[Rule, ...] | None = None
    priority: int = 0
    faults: tuple[str, ...] = ()

    def rules(self, direction: Direction) -> tuple[Rule, ...] | None:
        return self.ingress if direction == "ingress" else self.egress

    @property
    def order(self) -> tuple[int, PolicyKey]:
        """Who is asked first; of one priority, by name, so that every node decides alike."""
        return self.priority, self.key


def closed_rule(action: Action, index: int) -> Rule:
    """In the place of one that cannot be enforced: it closes and never opens. What would accept matches nothing, what
    would deny or pass denies everything."""
    everything = action != "accept"
    return Rule("deny" if everything else "accept", index, anyone=everything, any_port=everything)


def closed(policy: Policy) -> Policy:
    """With every rule closed, for the same pods."""
    ingress, egress = (
        None if rules is None else tuple(closed_rule(rule.action, rule.index) for rule in rules)
        for rules in (policy.ingress, policy.egress)
    )
    return dataclasses.replace(policy, ingress=ingress, egress=egress)


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod with a network of its own. ``ports``: (name, protocol, number)."""

    key: PodKey
    labels: Mapping[str, str]
    addresses: tuple[str, ...]
    node: str = ""
    ports: tuple[tuple[str, str, int], ...] = ()
