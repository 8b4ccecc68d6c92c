"""DefaultPreemption (PostFilter): which pods of lower priority would have to go, on which node. Pure planning.

The shell evicts the victims (``preempting.py``). Nodes are tried in the cluster's own arrays: pods are supposed away,
the filters are asked again, and all is put back before anything else runs. A search over many nodes stops between two
of them, so that others get their turn: what it found before is looked at once more at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from sampan.api import labels, objects
from sampan.api.clock import Random
from sampan.api.labels import Selector, SelectorError
from sampan.api.pods import status
from sampan.api.reading import part, whole
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.scheduler.arrays import Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.decision import fit_error
from sampan.scheduler.framework import Code, Verdicts
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.profile import Profile

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
#: Candidates looked for: a tenth of the nodes, at least this many.
_MIN_CANDIDATES = 100
_MIN_PERCENT = 10
#: Verdicts that are asked for in a row, at some 50 µs each.
_PORTION = 50
#: So many fewer are asked for where only room matters.
_QUICKER = 8

#: what ``Profile.only_room`` says
Room: TypeAlias = "tuple[Any, Ids] | None"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What holds for all candidates of a pod as long as nothing else runs: pods that were promised room, by node, and
    whether only room matters."""

    promised: Mapping[str, Sequence[PodInfo]]
    room: Room

    @classmethod
    def of(cls, pod: PodInfo, profile: Profile, cluster: Cluster) -> Surroundings:
        return cls(profile.nominated(pod, cluster), profile.only_room(pod, cluster))


@dataclass(frozen=True, slots=True)
class Preemption:
    """``node`` "" : nothing to gain, and ``message`` says why. ``keep``: an earlier nomination still stands."""

    node: str = ""
    victims: tuple[PodInfo, ...] = ()
    message: str = ""
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node, the pods that would have to leave it, and how many budgets that breaks."""

    node: str
    victims: tuple[PodInfo, ...]
    violations: int

    def cost(self) -> tuple[Any, ...]:
        """Smaller is better (``pickOneNodeForPreemption``)."""
        highest = max(pod.priority for pod in self.victims)
        earliest = min(pod.started for pod in self.victims if pod.priority == highest)
        total = sum(pod.priority + 2**31 for pod in self.victims)
        return self.violations, highest, total, len(self.victims), _Later(earliest)


@dataclass(frozen=True, slots=True, order=False)
class _Later:
    """Orders later start times first: what has run longest is left alone."""

    moment: str

    def __lt__(self, other: _Later) -> bool:
        return self.moment > other.moment


#: stops where others may get their turn; ends with candidates for ``choose``, or why there are none
Search: TypeAlias = Generator[None, None, Preemption | list[Candidate]]


class DefaultPreemption:
    name = "DefaultPreemption"

    def __init__(self, min_percent: int = _MIN_PERCENT, min_candidates: int = _MIN_CANDIDATES) -> None:
        self._min_percent, self._min_candidates = min_percent, min_candidates

    def post_filter(
        self, pod: PodInfo, profile: Profile, cluster: Cluster, budgets: Iterable[Obj], random: Random
    ) -> Preemption:
        """The whole search at once."""
        search = self.search(pod, profile, cluster, Budgets(budgets), random)
        while True:
            try:
                next(search)
            except StopIteration as end:
                return end.value if isinstance(end.value, Preemption) else choose(end.value)

    def search(self, pod: PodInfo, profile: Profile, cluster: Cluster, budgets: Budgets, random: Random) -> Search:
        verdicts = profile.verdicts(pod, cluster)
        refused = self._not_eligible(pod, cluster, verdicts)
        if refused is not None:
            return refused
        numbers = np.flatnonzero(verdicts > 0)
        resolvable = numbers[cluster.verdicts.resolvable(verdicts[numbers])]
        reasons: Counter[str] = Counter()
        if len(numbers) > len(resolvable):
            reasons[NOT_HELPFUL] = len(numbers) - len(resolvable)
        wanted = max(len(numbers) * self._min_percent // 100, self._min_candidates)
        candidates: list[Candidate] = []
        offset = random.randrange(len(resolvable)) if len(resolvable) else 0
        names = [cluster.nodes.names[slot] for slot in np.roll(resolvable, -offset).tolist()]
        asked, around = 0, Surroundings.of(pod, profile, cluster)
        for name in names:
            outcome = look_at(pod, profile, cluster, name, budgets, around)
            if isinstance(outcome, Candidate):
                candidates.append(outcome)
                if len(candidates) >= wanted:
                    break
            else:
                reasons.update(outcome)
            asked += 1 + len(cluster.pods_on.get(name, ())) // (1 if around.room is None else _QUICKER)
            if asked >= _PORTION:
                asked = 0
                yield
                around = Surroundings.of(pod, profile, cluster)
        if not candidates:
            return Preemption(message=f"preemption: {fit_error(cluster.nodes.count, reasons)}")
        return candidates

    @staticmethod
    def _not_eligible(pod: PodInfo, cluster: Cluster, verdicts: Ids) -> Preemption | None:
        """What to answer a pod that may not preempt now."""
        if pod.spec.get("preemptionPolicy") == "Never":
            return Preemption(message="preemption: not eligible due to preemptionPolicy=Never.")
        node = pod.nominated_node or cluster.nominated.get(pod.uid, (pod, ""))[1]
        slot = cluster.nodes.slot_of.get(node)
        if slot is None or cluster.verdicts[int(verdicts[slot])].code is Code.UNRESOLVABLE:
            return None
        for other in cluster.pods_on.get(node, {}).values():
            if other.terminating and other.priority < pod.priority and _preempted(other):
                message = "preemption: not eligible due to a terminating pod on the nominated node."
                return Preemption(message=message, keep=True)
        return None


def choose(candidates: Sequence[Candidate]) -> Preemption:
    best = min(candidates, key=Candidate.cost)
    return Preemption(best.node, best.victims)


def _preempted(pod: PodInfo) -> bool:
    target = status.condition(pod.obj, "DisruptionTarget") or {}
    return target.get("status") == "True" and target.get("reason") == "PreemptionByScheduler"


def look_at(
    pod: PodInfo, profile: Profile, cluster: Cluster, node: str, budgets: Budgets, around: Surroundings
) -> Candidate | tuple[str, ...]:
    """The cheapest set of victims on this node, or the reasons why none will do; () where it is gone."""
    if node not in cluster.nodes.slot_of:
        return ()
    lower = [other for other in cluster.pods_on.get(node, {}).values() if other.priority < pod.priority]
    if not lower:
        return (NO_VICTIMS,)
    promised = around.promised.get(node, ())
    if around.room is not None and not promised:
        found = _look_at_room(pod, cluster, node, lower, budgets, *around.room)
        if found is not None:
            return found
    gone = dict.fromkeys(lower)
    with cluster.hypothetical(node) as supposed:
        for other in lower:
            supposed.leave(other)
        for other in promised:
            supposed.join(other)
        number = profile.verdict_at(pod, cluster, supposed.slot)
        if number != Verdicts.PASS:
            return cluster.verdicts[number].reasons
        ordered = _by_importance(lower)
        protected = budgets.violated_by(ordered)
        for other in _in_turn(ordered, protected):
            supposed.join(other)
            if profile.verdict_at(pod, cluster, supposed.slot) == Verdicts.PASS:
                del gone[other]
            else:
                supposed.leave(other)
    victims = tuple(other for other in ordered if other in gone)
    if not victims:
        return (NO_VICTIMS,)
    return Candidate(node, victims, sum(victim.uid in protected for victim in victims))


def _by_importance(pods: Iterable[PodInfo]) -> list[PodInfo]:
    """The most important first: whoever can stay, stays."""
    return sorted(pods, key=lambda other: (-other.priority, other.started))


def _in_turn(ordered: Sequence[PodInfo], protected: Collection[str]) -> Sequence[PodInfo]:
    """Those that a budget protects are asked before others whether they can stay."""
    if not protected:
        return ordered
    return [*(o for o in ordered if o.uid in protected), *(o for o in ordered if o.uid not in protected)]


def _look_at_room(
    pod: PodInfo, cluster: Cluster, node: str, lower: Sequence[PodInfo], budgets: Budgets, fit: Any, fixed: Ids
) -> Candidate | tuple[str, ...] | None:
    """The same by reckoning, nothing supposed; None: what is to be told of it takes the other way."""
    slot = cluster.nodes.slot_of[node]
    lack = fit.lack(pod, cluster, slot) if fixed.item(slot) == Verdicts.PASS else None
    if lack is None:
        return None
    # What is left over once all are gone: none of it below zero.
    over = {name: -short + sum(other.shape.requests.get(name, 0) for other in lower) for name, short in lack.items()}
    if min(over.values()) < 0:
        return None
    ordered = _by_importance(lower)
    protected = budgets.violated_by(ordered)
    gone = set()
    for other in _in_turn(ordered, protected):
        requests = other.shape.requests
        if all(requests.get(name, 0) <= left for name, left in over.items()):
            for name in over:
                over[name] -= requests.get(name, 0)
        else:
            gone.add(other.uid)
    victims = tuple(other for other in ordered if other.uid in gone)
    if not victims:
        return (NO_VICTIMS,)
    return Candidate(node, victims, sum(victim.uid in protected for victim in victims))


class Budgets:
    """Disruption budgets, by namespace; a selector is read when a pod may come under it. One that cannot be read
    protects nobody."""

    def __init__(self, listed: Iterable[Obj]) -> None:
        self._listed: dict[str, list[Obj]] = {}
        for budget in listed:
            self._listed.setdefault(objects.namespace(budget), []).append(budget)
        self._read: dict[str, list[tuple[Selector, Mapping[str, Any], int]]] = {}

    def violated_by(self, pods: Sequence[PodInfo]) -> set[str]:
        """Pods whose eviction would break a budget, evicting in this order."""
        found: set[str] = set()
        allowed: dict[tuple[str, int], int] = {}
        for pod in pods:
            if not pod.labels or pod.namespace not in self._listed:
                continue
            for index, (selector, disrupted, most) in enumerate(self._of(pod.namespace)):
                if pod.name not in disrupted and selector.matches(pod.labels):
                    left = allowed[pod.namespace, index] = allowed.get((pod.namespace, index), most) - 1
                    if left < 0:
                        found.add(pod.uid)
        return found

    def _of(self, namespace: str) -> list[tuple[Selector, Mapping[str, Any], int]]:
        found = self._read.get(namespace)
        if found is None:
            found = self._read[namespace] = [_budget(each) for each in self._listed[namespace]]
        return found


def _budget(budget: Obj) -> tuple[Selector, Mapping[str, Any], int]:
    told = part(budget, "status")
    return _selector_of(budget), part(told, "disruptedPods"), whole(told, "disruptionsAllowed") or 0


def _selector_of(budget: Obj) -> Selector:
    try:
        return labels.from_label_selector(part(part(budget, "spec"), "selector") or None)
    except SelectorError:
        return labels.NOTHING
