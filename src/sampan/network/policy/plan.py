"""What a node enforces, in no back end's words: sets, chains of rules, and which pod goes through which. Pure.

A set holds addresses of pods (``PeerSet``) or their ports of one name (``NamedPorts``). A chain is what one direction
of some pods is judged by: those that the same policies select share it. A ``Delta`` is what a back end has to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import NamedTuple, TypeAlias

from sampan.network.policy.model import Direction, Peer, PolicyKey, PortName, Rule
from sampan.records import dataclass


class PeerSet(NamedTuple):
    """The addresses of pods."""

    peer: Peer


class NamedPorts(NamedTuple):
    """The (address, number) of every pod that has a port of this name and protocol."""

    port: PortName


SetKey: TypeAlias = PeerSet | NamedPorts


class Element(NamedTuple):
    """``port`` 0: all of the address."""

    address: str
    port: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """The policies that decide one direction of a pod: ``admin`` and ``baseline`` in the order in which they are asked.

    With ``network`` policies what none of them accepts is dropped, and ``baseline`` is empty.
    """

    direction: Direction
    admin: tuple[PolicyKey, ...] = ()
    network: tuple[PolicyKey, ...] = ()
    baseline: tuple[PolicyKey, ...] = ()
    #: Of many policies it takes long to make, and it is asked for often.
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.direction, self.admin, self.network, self.baseline)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def policies(self) -> tuple[PolicyKey, ...]:
        return (*self.admin, *self.network, *self.baseline)


@dataclass(frozen=True, slots=True)
class Chain:
    """What a selection comes to. ``network``: policies whose rules are in chains of their own (``PolicyRules``)."""

    admin: tuple[Rule, ...] = ()
    network: tuple[PolicyKey, ...] = ()
    baseline: tuple[Rule, ...] = ()


class PolicyRules(NamedTuple):
    """The rules of one NetworkPolicy for one direction."""

    key: PolicyKey
    direction: Direction


class Judged(NamedTuple):
    """By what an address of a pod of this node is judged; None: that direction is not restricted."""

    ingress: Selection | None = None
    egress: Selection | None = None


@dataclass(slots=True)
class Delta:
    """In each mapping: what is new (None: gone). Elements: True when they are new, False when they are gone; they are
    told of new sets, and not of sets that are gone. ``before`` has what was there of chains and pods that change."""

    whole: bool = False
    sets: dict[SetKey, bool] = field(default_factory=dict)
    elements: dict[SetKey, dict[Element, bool]] = field(default_factory=dict)
    policies: dict[PolicyRules, tuple[Rule, ...] | None] = field(default_factory=dict)
    chains: dict[Selection, Chain | None] = field(default_factory=dict)
    pods: dict[str, Judged | None] = field(default_factory=dict)
    pods_before: Mapping[str, Judged] = field(default_factory=dict)
    known_policies: frozenset[PolicyRules] = frozenset()
    known_chains: frozenset[Selection] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.whole or self.sets or self.elements or self.policies or self.chains or self.pods)
