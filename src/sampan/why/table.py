"""The table of rules, in order: each finds one cause, or a few that are alike, in objects of certain kinds.

    @rule("taint", PODS, says="the taints of nodes keep it off")
    def taint(world: World, pod: Obj) -> Found: ...

A rule is a generator over a frozen world; it reads no clock and asks nobody. Where it needs an object that nobody asked
for yet, ``World`` raises for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module
from typing import Final

from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.why.model import Cause, Lead
from sampan.why.world import World

Found = Iterator[Cause | Lead]
Judge = Callable[[World, Obj], Iterable[Cause | Lead]]

#: In this order: what ends the looking first, then what people meet most.
MODULES: Final = (
    "deletion", "pods", "scheduling", "filters", "images", "containers", "podvolumes", "refusals", "access",
    "rollouts", "jobs", "services",
    "ingress", "claims", "namespaces", "nodes", "disruption", "autoscaling", "quota", "apis", "certificates",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """``says``: the cause it looks for, as a line of "what was checked". ``kinds`` empty: any."""

    name: str
    kinds: tuple[str, ...]
    says: str
    judge: Judge
    order: int = 0

    def concerns(self, resource: Resource) -> bool:
        return not self.kinds or resource.kind in self.kinds


_rules: dict[str, Rule] = {}


def rule(name: str, *resources: Resource, says: str) -> Callable[[Judge], Judge]:
    def add(judge: Judge) -> Judge:
        if name in _rules:
            raise ValueError(f"two rules are called {name}")
        _rules[name] = Rule(name, tuple(each.kind for each in resources), says, judge, len(_rules))
        return judge

    return add


@cache
def rules() -> tuple[Rule, ...]:
    for name in MODULES:
        import_module(f"sampan.why.rules.{name}")
    return tuple(_rules.values())
