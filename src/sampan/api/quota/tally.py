"""The sum of what a quota counts, kept as objects come, change and go: what an event costs does not grow with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sampan.api.objects import deep_copy
from sampan.api.quota import amounts, pods
from sampan.api.quota.amounts import ZERO, Amount, Amounts
from sampan.api.quota.evaluators import Evaluator, Resource
from sampan.api.quota.scopes import terms_of
from sampan.api.reading import part, text
from sampan.api.types import Obj

#: equal usages of a quota's objects are one dict: so many different ones are remembered
_SHARED = 256


class Tally:
    """Of one quota, in one state of its spec.

    Invariants: ``_held`` has what each object adds, by resource and name, where that is anything; ``used`` is its sum.
    """

    def __init__(self, quota: Obj, evaluators: Mapping[Resource, Evaluator]) -> None:
        self.spec: Obj = deep_copy(part(quota, "spec"))
        self.hard: Amounts = amounts.read(self.spec, "hard")
        self._terms = terms_of(quota)
        #: what of the quota each resource's objects use
        self.resources = {
            resource: matching
            for resource, evaluator in evaluators.items()
            if (matching := evaluator.matching(self.hard))
        }
        self._evaluators = {resource: evaluators[resource] for resource in self.resources}
        self.used: dict[str, Amount] = {name: ZERO for matching in self.resources.values() for name in sorted(matching)}
        self._held: dict[Resource, dict[str, Amounts]] = {resource: {} for resource in self.resources}
        self._seen: dict[Resource, set[str]] = {resource: set() for resource in self.resources}
        self._overdue: dict[str, datetime] = {}
        self._shared: dict[tuple[tuple[str, Amount], ...], Amounts] = {}

    def is_of(self, quota: Obj) -> bool:
        """Whether this is how the quota counts now."""
        return self.spec == part(quota, "spec")

    def has(self, resource: Resource, name: str) -> bool:
        """Whether the object has been told of since the tally was begun."""
        return name in self._seen[resource]

    def put(self, resource: Resource, obj: Obj, now: datetime, usage: Amounts | None = None) -> None:
        """The object is there, in this state; ``usage``: what it uses, where that is known already."""
        name = text(part(obj, "metadata"), "name")
        self._seen[resource].add(name)
        evaluator = self._evaluators[resource]
        adds: Amounts = amounts.NOTHING
        if all(evaluator.is_in_scope(term, obj) for term in self._terms):
            whole = evaluator.usage(obj, now) if usage is None else usage
            adds = self._share(amounts.without_zeros(amounts.mask(whole, self.resources[resource])))
        self._replace(resource, name, adds)
        if resource == ("", "pods"):
            self._expect(name, obj, now)

    def drop(self, resource: Resource, name: str) -> None:
        """The object is gone."""
        self._seen[resource].discard(name)
        self._replace(resource, name, amounts.NOTHING)
        if resource == ("", "pods"):
            self._overdue.pop(name, None)

    def due(self, now: datetime) -> list[str]:
        """Pods that count for less by now, though nothing about them has changed: to be put again."""
        return [name for name, moment in self._overdue.items() if moment < now]

    def seconds_until_due(self, now: datetime) -> float | None:
        moments = self._overdue.values()
        return max(0.0, (min(moments) - now).total_seconds()) + 1.0 if moments else None

    def _expect(self, name: str, pod: Obj, now: datetime) -> None:
        ends = pods.overdue_at(pod)
        if ends is not None and ends >= now:
            self._overdue[name] = ends
        else:
            self._overdue.pop(name, None)

    def _replace(self, resource: Resource, name: str, adds: Amounts) -> None:
        held = self._held[resource]
        before = held.pop(name, amounts.NOTHING)
        if adds:
            held[name] = adds
        if before is not adds:
            self.used = amounts.add(amounts.subtract(self.used, before), adds)

    def _share(self, usage: dict[str, Amount]) -> Amounts:
        key = tuple(sorted(usage.items()))
        found = self._shared.get(key)
        if found is None:
            if len(self._shared) >= _SHARED:
                self._shared.clear()
            found = self._shared[key] = usage
        return found
