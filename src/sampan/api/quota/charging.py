"""Whether a write fits the quotas of its namespace, and what it takes of each.

``demand_of`` is worked out once a write; ``decide`` holds it against the quotas as they are, as often as they change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime

from sampan.api import go_text
from sampan.api.quota import amounts
from sampan.api.quota.amounts import Amount, Amounts
from sampan.api.quota.evaluators import Evaluator
from sampan.api.quota.scopes import covers, terms_of
from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.records import dataclass


class Refused(Exception):
    """The write does not fit; the message is upstream's."""


class Uncovered(Refused):
    """A scope may be used only where a quota covers it, and none does."""


@dataclass(frozen=True, slots=True)
class Limited:
    """What may only be used where a quota allows it (LimitedResource of ResourceQuotaConfiguration)."""

    resource: tuple[str, str]
    contains: tuple[str, ...] = ()
    scopes: tuple[Obj, ...] = ()


@dataclass(frozen=True, slots=True)
class Demand:
    """What a write uses. ``before``: of what it replaces; None: it makes something new.

    ``free``: it is counted and never refused (a status says what is so already).
    """

    evaluator: Evaluator
    obj: Obj
    usage: Amounts
    old: Obj | None = None
    before: Amounts | None = None
    free: bool = False

    def of(self, quota: Obj) -> dict[str, Amount]:
        """What it adds to the quota's count, of whatever that limits."""
        more = self.usage
        if self.before is not None and self.old is not None and covers(quota, self.evaluator, self.old):
            more = amounts.subtract(self.usage, self.before)
        return amounts.without_zeros(more)

    @property
    def changes(self) -> bool:
        """Whether it adds anything anywhere, scopes left aside."""
        more = self.usage if self.before is None else amounts.subtract(self.usage, self.before)
        return bool(amounts.without_zeros(more))


def demand_of(evaluator: Evaluator, obj: Obj, old: Obj | None, now: datetime, *, free: bool = False) -> Demand:
    """Raises Refused."""
    usage = evaluator.usage(obj, now)
    if below := amounts.negative(usage):
        raise Refused(f"quota usage is negative for resource(s): {amounts.show_names(below)}")
    return Demand(evaluator, obj, usage, old, evaluator.usage(old, now) if old is not None else None, free)


@dataclass(frozen=True, slots=True)
class Standing:
    """A quota as decisions see it: its scopes from ``quota``, what it limits, what of that is used."""

    quota: Obj
    hard: Amounts
    used: Amounts

    @classmethod
    def of(cls, quota: Obj) -> Standing:
        status = part(quota, "status")
        return cls(quota, amounts.read(status, "hard"), amounts.read(status, "used"))

    @property
    def name(self) -> str:
        return text(part(self.quota, "metadata"), "name")


@dataclass(frozen=True, slots=True)
class Decision:
    """By name of the quota, what it is charged."""

    charges: Mapping[str, Amounts] = field(default_factory=dict)


def decide(demand: Demand, quotas: Sequence[Standing], limited: Sequence[Limited] = ()) -> Decision:
    """Raises Refused."""
    evaluator, obj = demand.evaluator, demand.obj
    concerned: list[Standing] = []
    covered: set[str] = set()
    scopes: set[str] = set()
    for standing in quotas:
        scopes |= {text(term, "scopeName") for term in terms_of(standing.quota) if evaluator.is_in_scope(term, obj)}
        counted = evaluator.matching(standing.hard)
        if not counted or not covers(standing.quota, evaluator, obj):
            continue
        if missing := evaluator.missing(counted, obj):
            raise Refused(f"failed quota: {standing.name}: {missing}")
        if not counted <= standing.used.keys():
            names = amounts.show_names(counted)
            raise Refused(f"status unknown for quota: {standing.name}, resources: {names}")
        concerned.append(standing)
        covered |= counted
    demands = {standing.name: demand.of(standing.quota) for standing in concerned}
    if not (any(demands.values()) if concerned else demand.changes):
        return Decision()
    _check_limited(demand, limited, covered, scopes)
    charges = {s.name: amounts.mask(demands[s.name], s.hard.keys()) for s in concerned}
    if not demand.free:
        for standing in concerned:
            _check(standing, charges[standing.name])
    return Decision({name: charge for name, charge in charges.items() if charge})


def _check(standing: Standing, charge: Amounts) -> None:
    """Raises Refused."""
    after = amounts.mask(amounts.add(standing.used, charge), charge.keys())
    if over := amounts.exceeding(after, standing.hard):
        requested, used, hard = (amounts.show(amounts.mask(a, over)) for a in (charge, standing.used, standing.hard))
        raise Refused(f"exceeded quota: {standing.name}, requested: {requested}, used: {used}, limited: {hard}")


def _check_limited(demand: Demand, limited: Sequence[Limited], covered: set[str], scopes: set[str]) -> None:
    """Raises Refused: something is used that needs a quota, and there is none."""
    needed: set[str] = set()
    missing: list[Obj] = []
    for rule in limited:
        if rule.resource == demand.evaluator.resource:
            consumed = amounts.without_zeros(demand.usage)
            needed |= {name for name in consumed if any(word in name for word in rule.contains)}
        missing += [
            term
            for term in rule.scopes
            if demand.evaluator.is_in_scope(term, demand.obj) and text(term, "scopeName") not in scopes
        ]
    if uncovered := needed - covered:
        raise Refused(f"insufficient quota to consume: {amounts.show_names(uncovered)}")
    if missing:
        shown = " ".join(
            f"{{{text(term, 'scopeName')} {text(term, 'operator')} {go_text.show(term.get('values') or [])}}}"
            for term in missing
        )
        raise Uncovered(f"insufficient quota to match these scopes: [{shown}]")
