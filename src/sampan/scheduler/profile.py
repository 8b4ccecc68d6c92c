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
from sampan.api.nodes import affinity
from sampan.api.reading import part
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
#: Nodes among which the best few are looked for; of more, those that are as good as the best are told.
_SORTED = 512
#: Changed nodes that are repaired one by one.
_FEW = 8
_NEVER = -np.inf
_ELSEWHERE = "node(s) didn't satisfy plugin(s) [NodeAffinity]"


#: numbers of slots
Slots: TypeAlias = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(slots=True)
class PodClass:
    """Invariant: where ``seen >= changed[slot]``, verdicts and scores are those of the slot's present state."""

    pod: PodInfo
    state: CycleState
    structure: int
    #: of the first filters, those that ask the Node object alone
    fixed: list[FilterPlugin]
    filters: list[FilterPlugin]
    #: of the scores that need no normalizing: those that ask the Node object alone, and the others
    fixed_scorers: list[tuple[ScorePlugin, int]]
    scorers: list[tuple[ScorePlugin, int]]
    normalized: list[tuple[ScorePlugin, int]]
    #: of ``fixed``, and of all
    fixed_verdicts: Ids
    verdicts: Ids
    #: weighted sums of ``fixed_scorers``, and of all scores that need no normalizing
    fixed_total: Floats
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
        slots = self._named_slots(pod, cluster)
        if slots is not None:
            return self._decide_narrowed(decision, pod, cluster, random, slots)
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

    @staticmethod
    def _named_slots(pod: PodInfo, cluster: Cluster) -> Slots | None:
        """The nodes that the pod names itself, as a DaemonSet's pods do: nobody looks at others (PreFilterResult)."""
        if not pod.affinity.get("nodeAffinity"):
            return None
        names = affinity.named_nodes(part(pod.affinity, "nodeAffinity"))
        if not names:
            return None
        slots = (cluster.nodes.slot_of.get(name) for name in names)
        return np.array(sorted(slot for slot in slots if slot is not None), np.intp)

    def _narrowed(self, pod: PodInfo, cluster: Cluster, slots: Slots) -> Ids | Status:
        """Verdicts where a pod names its nodes."""
        if cluster.verdicts.is_full:
            cluster.renew_verdicts()
        state, nodes = CycleState(), cluster.nodes
        here: Ids = np.zeros(len(slots), np.int32)
        for plugin in self.filters:
            status = plugin.pre_filter(state, pod, cluster)
            if status.code is Code.SUCCESS:
                if len(slots):
                    _apply((plugin,), state, pod, cluster, here, slots)
            elif status.code is not Code.SKIP:
                return replace(status, plugin=plugin.name)
        elsewhere = cluster.verdicts.id("NodeAffinity", Code.UNRESOLVABLE, _ELSEWHERE)
        verdicts: Ids = np.where(nodes.present[: nodes.size], np.int32(elsewhere), np.int32(_ABSENT))
        verdicts[slots] = here
        self._keep_promises(pod, cluster, verdicts, self.nominated(pod, cluster))
        return verdicts

    def _decide_narrowed(
        self, decision: Decision, pod: PodInfo, cluster: Cluster, random: Random, slots: Slots
    ) -> Decision:
        verdicts = self._narrowed(pod, cluster, slots)
        if isinstance(verdicts, Status):
            return self._rejected(decision, verdicts)
        feasible = slots[verdicts[slots] == Verdicts.PASS]
        ruled_out = _named(_histogram(verdicts), cluster)
        decision = replace(decision, feasible=len(feasible), ruled_out=ruled_out)
        if not len(feasible):
            return replace(decision, verdicts=verdicts)
        scores: Floats = np.zeros(len(feasible))
        if len(feasible) > 1:
            state = CycleState()
            for scorer, weight in self.scorers:
                if scorer.pre_score(state, pod, cluster):
                    raw = scorer.score(state, pod, cluster, feasible)
                    scores += weight * (scorer.normalize(state, raw) if scorer.normalized else raw)
        return _choose(decision, feasible, scores, cluster, random)

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
        if len(top) < TOP and feasible > len(top) and len(masked) <= _SORTED:
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
        self._keep_promises(pod, cluster, verdicts, nominated)
        return verdicts

    def _keep_promises(
        self, pod: PodInfo, cluster: Cluster, verdicts: Ids, nominated: Mapping[str, list[PodInfo]]
    ) -> None:
        """Nodes that would be too full once those are there that were promised room."""
        for node, promised in nominated.items():
            with cluster.hypothetical(node) as supposed:
                for other in promised:
                    supposed.join(other)
                if verdicts[supposed.slot] == Verdicts.PASS:
                    verdicts[supposed.slot] = self.verdict_at(pod, cluster, supposed.slot)

    def verdicts(self, pod: PodInfo, cluster: Cluster) -> Ids:
        """On every slot, as the decision on this pod saw them."""
        size = cluster.nodes.size
        slots = self._named_slots(pod, cluster)
        if slots is not None:
            narrowed = self._narrowed(pod, cluster, slots)
            if isinstance(narrowed, Status):
                number = cluster.verdicts.id(narrowed.plugin, narrowed.code, *narrowed.reasons)
                return np.where(cluster.nodes.present[:size], np.int32(number), np.int32(_ABSENT))
            return narrowed
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
        known = self._classes.get(self.signature_of(pod))
        filters = self.filters
        if known is not None and known.rejected is None and self._named_slots(pod, cluster) is None:
            number = self._local_verdict(known, pod, cluster, slot)
            if number is not None:
                if number != Verdicts.PASS:
                    return number
                filters = [plugin for plugin in self.filters if not plugin.local]
        state = CycleState()
        at = np.array([slot])
        verdicts: Ids = np.zeros(1, np.int32)
        for plugin in filters:
            status = plugin.pre_filter(state, pod, cluster)
            if status.code is Code.SKIP:
                continue
            if status.code is not Code.SUCCESS:
                return cluster.verdicts.id(plugin.name, status.code, *status.reasons)
            _apply((plugin,), state, pod, cluster, verdicts, at)
            if verdicts[0]:
                break
        return int(verdicts[0])

    @staticmethod
    def _local_verdict(known: PodClass, pod: PodInfo, cluster: Cluster, slot: int) -> int | None:
        """Of the filters that ask one node, in plain numbers, where the class knows the Node; None: it does not."""
        nodes = cluster.nodes
        if known.is_stale(cluster) or nodes.node_changed.item(slot) > known.seen:
            return None
        number: int = known.fixed_verdicts.item(slot)
        for plugin in known.filters if number == Verdicts.PASS else ():
            number = _verdict_of(plugin, known.state, pod, cluster, slot)
            if number != Verdicts.PASS:
                break
        return number

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
            self._evaluate(found, cluster, nodes.changed_since(found.seen))
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
            [],
            [],
            np.full(capacity, _ABSENT, np.int32),
            np.full(capacity, _ABSENT, np.int32),
            np.zeros(capacity),
            np.zeros(capacity),
            np.full(capacity, _NEVER),
        )
        for plugin in self.filters:
            if not plugin.local:
                continue
            status = plugin.pre_filter(state, pod, cluster)
            if status.code is Code.SUCCESS:
                fixed = not found.filters and not getattr(plugin, "usage", True)
                (found.fixed if fixed else found.filters).append(plugin)
            elif status.code is not Code.SKIP:
                found.rejected = replace(status, plugin=plugin.name)
                return found
        for scorer, weight in self.scorers:
            if scorer.local and scorer.pre_score(state, pod, cluster):
                fixed_scorers = found.scorers if getattr(scorer, "usage", True) else found.fixed_scorers
                (found.normalized if scorer.normalized else fixed_scorers).append((scorer, weight))
        found.raw = {scorer.name: np.zeros(capacity) for scorer, _ in found.normalized}
        return found

    @staticmethod
    def _evaluate(found: PodClass, cluster: Cluster, at: At) -> None:
        nodes, pod, state = cluster.nodes, found.pod, found.state
        if found.rejected is not None or not nodes.length(at):
            return
        if found.seen >= 0 and nodes.length(at) <= _FEW and not isinstance(at, slice):
            for slot in at.tolist():
                _repair_one(found, cluster, slot)
            return
        verdicts: Ids = np.where(nodes.present[at], np.int32(0), np.int32(_ABSENT))
        _apply(found.fixed, state, pod, cluster, verdicts, at)
        found.fixed_verdicts[at] = verdicts
        _apply(found.filters, state, pod, cluster, verdicts, at)
        total: Floats = np.zeros(len(verdicts))
        for scorer, weight in found.fixed_scorers:
            total += weight * scorer.score(state, pod, cluster, at)
        found.fixed_total[at] = total
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
        if self._named_slots(pod, cluster) is not None:
            number = self.verdict_at(pod, cluster, slot)
        else:
            found = self.class_of(pod, cluster)
            if found.rejected is not None:
                return False
            number = int(found.verdicts[slot])
        if number == Verdicts.PASS:
            return True
        # Not yet free, but perhaps now a node that preemption can free.
        node_changed = event in (Event.NODE_ADD, Event.NODE_UPDATE)
        return node_changed and pod.priority > 0 and cluster.verdicts[number].code is Code.UNSCHEDULABLE


def _repair_one(found: PodClass, cluster: Cluster, slot: int) -> None:
    """``_evaluate`` for the usual case, a node that took a pod, in plain numbers. What asks the Node object alone is
    asked again when that changed; a node that is turned down needs no scores."""
    nodes, pod, state = cluster.nodes, found.pod, found.state
    node_changed = nodes.node_changed.item(slot) > found.seen
    if node_changed:
        at = np.array([slot])
        number = Verdicts.PASS if nodes.present[slot] else _ABSENT
        for plugin in found.fixed if number == Verdicts.PASS else ():
            verdict = plugin.filter(state, pod, cluster, at)
            if verdict is not None and (number := int(verdict[0])) != Verdicts.PASS:
                break
        found.fixed_verdicts[slot] = number
    else:
        number = found.fixed_verdicts.item(slot)
    for plugin in found.filters if number == Verdicts.PASS else ():
        number = _verdict_of(plugin, state, pod, cluster, slot)
        if number != Verdicts.PASS:
            break
    before = found.verdicts.item(slot)
    if before != number:
        for changed, step in ((before, -1), (number, 1)):
            if changed != _ABSENT:
                found.ruled_out[changed] += step
        found.verdicts[slot] = number
    if number != Verdicts.PASS:
        found.masked[slot] = _NEVER
        # A node that has room again later is scored then: the fixed part must be that of this Node.
        if node_changed:
            _score_fixed(found, cluster, slot)
        return
    if node_changed:
        _score_fixed(found, cluster, slot)
    total = found.fixed_total.item(slot)
    for scorer, weight in found.scorers:
        total += weight * _score_of(scorer, state, pod, cluster, slot)
    for scorer, _ in found.normalized:
        if node_changed or getattr(scorer, "usage", True):
            found.raw[scorer.name][slot] = _score_of(scorer, state, pod, cluster, slot)
    found.total[slot] = found.masked[slot] = total


def _score_fixed(found: PodClass, cluster: Cluster, slot: int) -> None:
    total = 0.0
    for scorer, weight in found.fixed_scorers:
        total += weight * _score_of(scorer, found.state, found.pod, cluster, slot)
    found.fixed_total[slot] = total
    for scorer, _ in found.normalized:
        found.raw[scorer.name][slot] = _score_of(scorer, found.state, found.pod, cluster, slot)


def _verdict_of(plugin: Any, state: CycleState, pod: PodInfo, cluster: Cluster, slot: int) -> int:
    ask = getattr(plugin, "filter_slot", None)
    if ask is not None:
        number: int = ask(state, pod, cluster, slot)
        return number
    verdict = plugin.filter(state, pod, cluster, np.array([slot]))
    return Verdicts.PASS if verdict is None else int(verdict[0])


def _score_of(scorer: Any, state: CycleState, pod: PodInfo, cluster: Cluster, slot: int) -> float:
    ask = getattr(scorer, "score_slot", None)
    score: float = (
        scorer.score(state, pod, cluster, np.array([slot])).item() if ask is None else ask(state, pod, cluster, slot)
    )
    return score


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
    counts = np.bincount(verdicts + 1)  # from -1, a slot without a node
    pairs = [(int(place) - 1, int(counts[place])) for place in np.flatnonzero(counts)]
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
    best = scores.max()
    ties = np.flatnonzero(scores == best)
    names = cluster.nodes.names
    chosen = int(feasible[ties[random.randrange(len(ties))]])
    top = [(names[int(feasible[place])], float(best)) for place in ties[:TOP]]
    if len(top) < TOP and len(top) < len(scores) <= _SORTED:
        order = np.argsort(-scores, kind="stable")[:TOP]
        top = [(names[int(feasible[place])], float(scores[place])) for place in order]
    return replace(decision, node=names[chosen], top=tuple(top))
