"""A profile: one ``schedulerName`` with its plugins, their order and weights; and its decision on a pod.

``Profile.decide`` is the scheduling cycle: filters, then scores, all nodes at once. It changes nothing but its own
kept results. Pods with the same signature form a class; the class keeps its verdicts and scores and repairs them only
where a node changed, so that the next pod of a template costs a few microseconds.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, TypeAlias

import numpy as np

from sampan.api.clock import Random
from sampan.records import dataclass
from sampan.scheduler.arrays import At, Floats, Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.decision import Decision
from sampan.scheduler.framework import (
    Code,
    CycleState,
    Event,
    FilterPlugin,
    ScorePlugin,
    Status,
    Verdict,
    Verdicts,
)
from sampan.scheduler.podinfo import PodInfo

#: Classes kept at one time: the templates that are being rolled out.
CLASSES = 64
TOP = 3
#: Filters beyond one node whose hints see of a pod its namespace, labels and wishes for company.
BY_TEMPLATE = frozenset(("PodTopologySpread", "InterPodAffinity"))
_ABSENT = Verdicts.ABSENT
_NEVER = -np.inf


#: numbers of slots
Slots: TypeAlias = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(slots=True)
class PodClass:
    """Invariant: where ``seen >= changed[slot]``, verdicts and scores are those of the slot's present state."""

    pod: PodInfo
    state: CycleState
    structure: int
    filters: list[FilterPlugin]
    scorers: list[tuple[ScorePlugin, int]]
    normalized: list[tuple[ScorePlugin, int]]
    verdicts: Ids
    #: weighted sum of the scores that need no normalizing
    total: Floats
    #: ``total`` where the verdict passes, else minus infinity
    masked: Floats
    raw: dict[str, Floats] = field(default_factory=dict)
    ruled_out: Counter[int] = field(default_factory=Counter)
    rejected: Status | None = None
    seen: int = -1

    def is_stale(self, cluster: Cluster) -> bool:
        """Whether something changed that verdicts or scores of all nodes depend on."""
        nodes = cluster.nodes
        if self.structure != nodes.structure or len(self.verdicts) != nodes.capacity:
            return True
        return any(nodes.image_changed.get(image, 0) > self.seen for image in self.pod.images)


@dataclass(slots=True)
class Profile:
    scheduler_name: str
    filters: Sequence[FilterPlugin]
    scorers: Sequence[tuple[ScorePlugin, int]]
    #: all plugins with their other extension points, in order
    plugins: Sequence[Any] = ()
    post_filter: Any = None
    #: plug-ins that are not our own: what of a pod they look at is not known
    from_outside: bool = False
    #: the plug-ins of each extension point, by its protocol; those that ``plugins`` have, where it says nothing
    points: Mapping[Any, tuple[Any, ...]] = field(default_factory=dict)
    _classes: OrderedDict[bytes, PodClass] = field(default_factory=OrderedDict)
    _having: dict[object, tuple[Any, ...]] = field(default_factory=dict)

    def having(self, point: Any) -> tuple[Any, ...]:
        """The plugins with this extension point, in order."""
        found = self.points.get(point)
        if found is None:
            found = self._having.get(point)
        if found is None:
            found = self._having[point] = tuple(plugin for plugin in self.plugins if isinstance(plugin, point))
        return found

    # Deciding

    def decide(self, pod: PodInfo, cluster: Cluster, random: Random) -> Decision:
        nodes = cluster.nodes
        decision = Decision(pod.key, pod.uid, nodes=nodes.count)
        if not nodes.count:
            return decision
        found = self.class_of(pod, cluster)
        if found.rejected is not None:
            return self._rejected(decision, found.rejected)
        state = CycleState()
        others, rejected = self._cross_node(state, pod, cluster)
        if rejected is not None:
            return self._rejected(decision, rejected)
        nominated = self.nominated(pod, cluster)
        scorers = [s for s in self.scorers if not s[0].local and s[0].pre_score(state, pod, cluster)]
        if not others and not nominated and not scorers and not found.normalized:
            return self._fast(decision, found, cluster, random)
        verdicts = self._verdicts(state, pod, cluster, found, others, nominated)
        feasible = np.flatnonzero(verdicts == Verdicts.PASS)
        decision = replace(decision, feasible=len(feasible), ruled_out=_named(_histogram(verdicts), cluster))
        if not len(feasible):
            return replace(decision, verdicts=verdicts)
        scores = self._scores(state, pod, cluster, found, scorers, feasible)
        return _choose(decision, feasible, scores, cluster, random)

    def survey(self, pod: PodInfo, cluster: Cluster) -> Decision:
        """Filters alone: a decision without a node, for somebody else to narrow down."""
        verdicts = self.verdicts(pod, cluster) if cluster.nodes.count else np.zeros(0, np.int32)
        feasible = int((verdicts == Verdicts.PASS).sum())
        ruled_out = _named(_histogram(verdicts), cluster)
        return Decision(pod.key, pod.uid, "", cluster.nodes.count, feasible, ruled_out, verdicts=verdicts)

    def scores_on(self, pod: PodInfo, cluster: Cluster, slots: Slots) -> Floats:
        """The weighted scores of nodes that can take the pod."""
        found, state = self.class_of(pod, cluster), CycleState()
        self._cross_node(state, pod, cluster)
        scorers = [s for s in self.scorers if not s[0].local and s[0].pre_score(state, pod, cluster)]
        return self._scores(state, pod, cluster, found, scorers, slots)

    def _fast(self, decision: Decision, found: PodClass, cluster: Cluster, random: Random) -> Decision:
        masked = found.masked[: cluster.nodes.size]
        best = masked.max()
        ruled_out = _named(found.ruled_out, cluster)
        feasible = found.ruled_out[Verdicts.PASS]
        if best == _NEVER:
            verdicts = found.verdicts[: cluster.nodes.size]
            return replace(decision, feasible=feasible, ruled_out=ruled_out, verdicts=verdicts)
        ties = np.flatnonzero(masked == best)
        names = cluster.nodes.names
        chosen = int(ties[random.randrange(len(ties))]) if len(ties) > 1 else int(ties[0])
        top = [(names[int(slot)], float(best)) for slot in ties[:TOP]]
        if len(top) < TOP and feasible > len(top) and len(masked) <= 512:
            top = [(names[int(slot)], float(masked[slot])) for slot in np.argsort(-masked)[: min(TOP, feasible)]]
        return Decision(decision.pod, decision.uid, names[chosen], decision.nodes, feasible, ruled_out, top=tuple(top))

    @staticmethod
    def _rejected(decision: Decision, status: Status) -> Decision:
        code = status.code if status.code is Code.UNSCHEDULABLE else Code.UNRESOLVABLE
        verdict = Verdict(status.plugin, code, status.reasons)
        return replace(decision, ruled_out={verdict: decision.nodes}, pre_filter=status.message)

    def _cross_node(
        self, state: CycleState, pod: PodInfo, cluster: Cluster
    ) -> tuple[list[FilterPlugin], Status | None]:
        """Filters that look beyond one node and have something to say about this pod."""
        active: list[FilterPlugin] = []
        for plugin in self.filters:
            if plugin.local:
                continue
            status = plugin.pre_filter(state, pod, cluster)
            if status.code is Code.SUCCESS:
                active.append(plugin)
            elif status.code is not Code.SKIP:
                return [], replace(status, plugin=plugin.name)
        return active, None

    @staticmethod
    def nominated(pod: PodInfo, cluster: Cluster) -> dict[str, list[PodInfo]]:
        """Pods that were promised room by preemption and are not to be overtaken by this one."""
        found: dict[str, list[PodInfo]] = {}
        for other, node in cluster.nominated.values():
            if other.uid != pod.uid and other.priority >= pod.priority and node in cluster.nodes.slot_of:
                found.setdefault(node, []).append(other)
        return found

    def _verdicts(
        self,
        state: CycleState,
        pod: PodInfo,
        cluster: Cluster,
        found: PodClass,
        others: Sequence[FilterPlugin],
        nominated: Mapping[str, list[PodInfo]],
    ) -> Ids:
        verdicts = found.verdicts[: cluster.nodes.size].copy()
        _apply(others, state, pod, cluster, verdicts, cluster.nodes.all())
        for node, promised in nominated.items():
            with cluster.hypothetical(node) as supposed:
                for other in promised:
                    supposed.join(other)
                if verdicts[supposed.slot] == Verdicts.PASS:
                    verdicts[supposed.slot] = self.verdict_at(pod, cluster, supposed.slot)
        return verdicts

    def verdicts(self, pod: PodInfo, cluster: Cluster) -> Ids:
        """On every slot, as the decision on this pod saw them."""
        size = cluster.nodes.size
        found = self.class_of(pod, cluster)
        status = found.rejected
        state = CycleState()
        others: list[FilterPlugin] = []
        if status is None:
            others, status = self._cross_node(state, pod, cluster)
        if status is not None:
            number = cluster.verdicts.id(status.plugin, status.code, *status.reasons)
            return np.where(cluster.nodes.present[:size], np.int32(number), np.int32(_ABSENT))
        return self._verdicts(state, pod, cluster, found, others, self.nominated(pod, cluster))

    def verdict_at(self, pod: PodInfo, cluster: Cluster, slot: int) -> int:
        """The verdict on one node in the cluster's present (maybe hypothetical) state, nothing kept."""
        state = CycleState()
        at = np.array([slot])
        verdicts: Ids = np.zeros(1, np.int32)
        for plugin in self.filters:
            status = plugin.pre_filter(state, pod, cluster)
            if status.code is Code.SKIP:
                continue
            if status.code is not Code.SUCCESS:
                return cluster.verdicts.id(plugin.name, status.code, *status.reasons)
            _apply((plugin,), state, pod, cluster, verdicts, at)
            if verdicts[0]:
                break
        return int(verdicts[0])

    def _scores(
        self,
        state: CycleState,
        pod: PodInfo,
        cluster: Cluster,
        found: PodClass,
        scorers: Sequence[tuple[ScorePlugin, int]],
        feasible: Slots,
    ) -> Floats:
        scores: Floats = found.total[feasible]
        if len(feasible) == 1:
            return scores
        for plugin, weight in found.normalized:
            scores += weight * plugin.normalize(found.state, found.raw[plugin.name][feasible])
        for plugin, weight in scorers:
            scores += weight * plugin.normalize(state, plugin.score(state, pod, cluster, feasible))
        return scores

    # Classes

    def class_of(self, pod: PodInfo, cluster: Cluster) -> PodClass:
        """The pod's class, its verdicts up to date."""
        if cluster.verdicts.is_full:
            cluster.renew_verdicts()
        signature = self.signature_of(pod)
        found = self._classes.get(signature)
        nodes = cluster.nodes
        if found is None or found.is_stale(cluster):
            found = self._classes[signature] = self._new_class(pod, cluster)
            self._evaluate(found, cluster, nodes.all())
            if len(self._classes) > CLASSES:
                self._classes.popitem(last=False)
        elif found.seen < nodes.version:
            self._evaluate(found, cluster, np.flatnonzero(nodes.changed[: nodes.size] > found.seen))
        self._classes.move_to_end(signature)
        found.seen = nodes.version
        return found

    def signature_of(self, pod: PodInfo) -> bytes:
        """Equal for pods that every plug-in with verdicts on single nodes treats alike."""
        return pod.whole_signature if self.from_outside else pod.signature

    def _new_class(self, pod: PodInfo, cluster: Cluster) -> PodClass:
        state = CycleState()
        capacity = cluster.nodes.capacity
        found = PodClass(
            pod,
            state,
            cluster.nodes.structure,
            [],
            [],
            [],
            np.full(capacity, _ABSENT, np.int32),
            np.zeros(capacity),
            np.full(capacity, _NEVER),
        )
        for plugin in self.filters:
            if not plugin.local:
                continue
            status = plugin.pre_filter(state, pod, cluster)
            if status.code is Code.SUCCESS:
                found.filters.append(plugin)
            elif status.code is not Code.SKIP:
                found.rejected = replace(status, plugin=plugin.name)
                return found
        for scorer, weight in self.scorers:
            if scorer.local and scorer.pre_score(state, pod, cluster):
                (found.normalized if scorer.normalized else found.scorers).append((scorer, weight))
        found.raw = {scorer.name: np.zeros(capacity) for scorer, _ in found.normalized}
        return found

    @staticmethod
    def _evaluate(found: PodClass, cluster: Cluster, at: At) -> None:
        nodes, pod, state = cluster.nodes, found.pod, found.state
        if found.rejected is not None or not nodes.length(at):
            return
        slot = nodes.only(at)
        if slot is not None and found.seen >= 0:
            _repair_one(found, cluster, slot, at)
            return
        verdicts: Ids = np.where(nodes.present[at], np.int32(0), np.int32(_ABSENT))
        _apply(found.filters, state, pod, cluster, verdicts, at)
        total: Floats = np.zeros(len(verdicts))
        for scorer, weight in found.scorers:
            total += weight * scorer.score(state, pod, cluster, at)
        for scorer, _ in found.normalized:
            found.raw[scorer.name][at] = scorer.score(state, pod, cluster, at)
        if found.seen >= 0:
            found.ruled_out.subtract(_histogram(found.verdicts[at], passes=True))
        found.ruled_out.update(_histogram(verdicts, passes=True))
        found.verdicts[at] = verdicts
        found.total[at] = total
        found.masked[at] = np.where(verdicts == Verdicts.PASS, total, _NEVER)

    # Requeueing

    def hint_key(self, pod: PodInfo, plugins: frozenset[str]) -> Hashable:
        """Equal for pods to which every hint gives the same answer: those of one template, turned down by the same
        plugins. What a plug-in from outside depends on is not known: its pods are asked one by one."""
        others = [plugin.name for plugin in self.filters if not plugin.local and plugin.name in plugins]
        if not others:
            return self.scheduler_name, self.signature_of(pod), plugins, pod.priority > 0
        if BY_TEMPLATE.issuperset(others):
            return self.scheduler_name, self.signature_of(pod), plugins, pod.priority > 0, pod.company
        return self.scheduler_name, plugins, pod.uid

    def may_help(
        self,
        pod: PodInfo,
        plugins: frozenset[str],
        event: Event,
        cluster: Cluster,
        slot: int | None,
        changed: PodInfo | None = None,
    ) -> bool:
        """Whether an event is worth another try of a pod that these plugins turned down (queueing hints).

        Plugins that look at one node are asked for their verdict on the changed node. Others may have a method
        ``hint(pod, event, changed, cluster)``, where ``changed`` is the pod that came, went or changed.
        """
        for plugin in self.filters:
            if plugin.local or plugin.name not in plugins or event not in plugin.wakes:
                continue
            hint = getattr(plugin, "hint", None)
            if hint is None or hint(pod, event, changed, cluster):
                return True
        if not plugins or slot is None:
            return True
        if event is Event.POD_ADD:
            return False  # a node that took a pod fits no better than before, by itself
        found = self.class_of(pod, cluster)
        if found.rejected is not None:
            return False
        number = int(found.verdicts[slot])
        if number == Verdicts.PASS:
            return True
        # Not yet free, but perhaps now a node that preemption can free.
        node_changed = event in (Event.NODE_ADD, Event.NODE_UPDATE)
        return node_changed and pod.priority > 0 and cluster.verdicts[number].code is Code.UNSCHEDULABLE


def _repair_one(found: PodClass, cluster: Cluster, slot: int, at: At) -> None:
    """``_evaluate`` for the usual case, one node that took a pod, in plain numbers. A node that is turned down needs
    no scores."""
    pod, state = found.pod, found.state
    number = Verdicts.PASS if cluster.nodes.present[slot] else _ABSENT
    for plugin in found.filters if number == Verdicts.PASS else ():
        verdict = plugin.filter(state, pod, cluster, at)
        if verdict is not None and (number := int(verdict[0])) != Verdicts.PASS:
            break
    before = found.verdicts.item(slot)
    if before != number:
        for changed, step in ((before, -1), (number, 1)):
            if changed != _ABSENT:
                found.ruled_out[changed] += step
        found.verdicts[slot] = number
    if number != Verdicts.PASS:
        found.masked[slot] = _NEVER
        return
    total = 0.0
    for scorer, weight in found.scorers:
        total += weight * scorer.score(state, pod, cluster, at).item()
    for scorer, _ in found.normalized:
        found.raw[scorer.name][slot] = scorer.score(state, pod, cluster, at).item()
    found.total[slot] = found.masked[slot] = total


def _apply(
    filters: Sequence[FilterPlugin], state: CycleState, pod: PodInfo, cluster: Cluster, verdicts: Ids, at: At
) -> None:
    """The first filter that turns a node down gives the verdict, as if filters ran node by node."""
    for plugin in filters:
        found = plugin.filter(state, pod, cluster, at)
        if found is not None:
            np.copyto(verdicts, found, where=verdicts == Verdicts.PASS)


def _histogram(verdicts: Ids, *, passes: bool = False) -> Counter[int]:
    if len(verdicts) == 1:
        number = int(verdicts[0])
        return Counter({number: 1}) if number > 0 or (passes and number == 0) else Counter()
    numbers, counts = np.unique(verdicts, return_counts=True)
    pairs = zip(numbers.tolist(), counts.tolist(), strict=True)
    return Counter({number: count for number, count in pairs if number > 0 or (passes and number == 0)})


def _named(counts: Mapping[int, int], cluster: Cluster) -> dict[Verdict, int]:
    """Counts of ids as those of what they mean; what passes is left out."""
    return {cluster.verdicts[number]: count for number, count in counts.items() if count and number > 0}


def _choose(
    decision: Decision,
    feasible: Slots,
    scores: Floats,
    cluster: Cluster,
    random: Random,
) -> Decision:
    ties = np.flatnonzero(scores == scores.max())
    names = cluster.nodes.names
    chosen = int(feasible[ties[random.randrange(len(ties))]])
    count = min(TOP, len(scores))
    best = np.argpartition(-scores, count - 1)[:count]
    top = sorted(((names[int(feasible[i])], float(scores[i])) for i in best), key=lambda item: -item[1])
    return replace(decision, node=names[chosen], top=tuple(top))
