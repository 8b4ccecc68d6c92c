"""Which policy decides a connection, and how: rule by rule, in the order of the tiers. Pure.

A connection is judged twice: by the policies of the pod that sends, and by those of the pod that it comes to, each on
its own node.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from sampan.network.policy import intervals
from sampan.network.policy.model import Direction, PodFacts, Policy, PolicyKey, Rule
from sampan.network.seeing.world import World
from sampan.records import dataclass


class Connection(NamedTuple):
    """After what Services translate. ``protocol`` as in the API: TCP."""

    source: str
    target: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Decision:
    """One direction of a connection. ``policy`` and ``rule`` decided it (None: no rule did; ``rule`` counts from 0);
    ``selecting`` are the policies that have a say. ``because`` says it for people."""

    allowed: bool
    because: str
    policy: PolicyKey | None = None
    rule: int | None = None
    selecting: tuple[PolicyKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    egress: Decision
    ingress: Decision

    @property
    def allowed(self) -> bool:
        return self.egress.allowed and self.ingress.allowed


def judge(world: World, connection: Connection) -> Verdict:
    return Verdict(_direction(world, connection, "egress"), _direction(world, connection, "ingress"))


def _direction(world: World, connection: Connection, direction: Direction) -> Decision:
    own, other = connection.source, connection.target
    if direction == "ingress":
        own, other = other, own
    pod = world.by_address.get(own)
    if pod is None:
        return Decision(True, f"{own} is no pod's address: no policy restricts it")
    if own == other:
        return Decision(True, "a pod always reaches itself")
    if pod.node and world.node_of(other) == pod.node:
        return Decision(True, f"{pod.key} and its own node always reach each other")
    return _by_tiers(world, connection, direction, other, pod, _selecting(world, pod, direction))


def _selecting(world: World, pod: PodFacts, direction: Direction) -> list[Policy]:
    """Those that have a say, in the order in which they are asked; looked for once, however many connections it has."""
    found = world.selecting.get((pod.key, direction))
    if found is None:
        labels = world.namespaces.get(pod.key.namespace, {})
        found = world.selecting[pod.key, direction] = sorted(
            (
                policy
                for policy in world.policies
                if policy.rules(direction) is not None and policy.subject.matches(pod.key.namespace, labels, pod.labels)
            ),
            key=lambda policy: policy.order,
        )
    return found


def _by_tiers(
    world: World, connection: Connection, direction: Direction, other: str, pod: PodFacts, selecting: list[Policy]
) -> Decision:
    keys = tuple(policy.key for policy in selecting)

    def first(policies: list[Policy]) -> tuple[Policy, Rule] | None:
        return next(
            (
                (policy, rule)
                for policy in policies
                for rule in policy.rules(direction) or ()
                if _matches(world, rule, other, connection)
            ),
            None,
        )

    network = [policy for policy in selecting if policy.tier == "network"]
    for tier in ("admin", "baseline"):
        if tier == "baseline" and network:
            found = first(network)
            if found is not None:
                return _decided(*found, direction, keys)
            listed = ", ".join(str(policy.key) for policy in network)
            return Decision(False, f"{direction} of {pod.key} is restricted by {listed}, and no rule of it allows this",
                            selecting=keys)  # fmt: skip
        found = first([policy for policy in selecting if policy.tier == tier])
        if found is not None and found[1].action != "pass":
            return _decided(*found, direction, keys)
    why = f"no policy that selects {pod.key} decides it" if keys else f"no policy restricts {direction} of {pod.key}"
    return Decision(True, why, selecting=keys)


def _decided(policy: Policy, rule: Rule, direction: Direction, keys: tuple[PolicyKey, ...]) -> Decision:
    allowed = rule.action == "accept"
    label = f" ({rule.label})" if rule.label else ""
    verb = "allows" if allowed else "denies"
    because = f"{policy.key} {verb} it: spec.{direction}[{rule.index}]{label}"
    return Decision(allowed, because, policy.key, rule.index, keys)


def _matches(world: World, rule: Rule, other: str, connection: Connection) -> bool:
    if not rule.anyone:
        pod = world.by_address.get(other)
        among = pod is not None and any(
            peer.matches(pod.key.namespace, world.namespaces.get(pod.key.namespace, {}), pod.labels)
            for peer in rule.peers
        )
        if not among and not intervals.holds(rule.blocks, ipaddress.ip_address(other)):
            return False
    if rule.any_port:
        return True
    protocol, port = connection.protocol.lower(), connection.port
    if any(each.protocol == protocol and each.first <= port <= each.last for each in rule.ports):
        return True
    target = world.by_address.get(connection.target)
    return target is not None and any(
        (name.name, name.protocol, port) in target.ports for name in rule.names if name.protocol == protocol
    )
