"""A profile: one ``schedulerName`` with its plugins, their order and weights; and its decision on a pod.

``Profile.decide`` is the scheduling cycle: filters, then scores, all nodes at once. It changes nothing but its own
kept results. Pods with the same signature form a class (``podclass.py``), which keeps its verdicts and scores and
repairs them only where a node changed. A class that is met again has its nodes in groups of equals
(``nodegroups.py``): then one look at each group decides, not one at each node.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np

from sampan.api.clock import Random
from sampan.api.nodes import affinity
from sampan.api.reading import part
from sampan.records import dataclass
from sampan.scheduler.arrays import Floats, Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.choosing import SORTED, TOP, choose, decide_grouped, named
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
from sampan.scheduler.nodegroups import BUILT_AFTER, Facet, NodeGroups, Slots, can_group
from sampan.scheduler.podclass import ABSENT, NEVER, PodClass, apply, evaluate, histogram, local_verdict, new_class
from sampan.scheduler.podinfo import PodInfo

#: Classes kept at one time: the templates that are being rolled out.
CLASSES = 64
#: Of these, whose nodes are in groups: one takes some 30 bytes a node.
GROUPED = 64
#: Filters beyond one node whose hints see of a pod its namespace, labels and wishes for company.
BY_TEMPLATE = frozenset(("PodTopologySpread", "InterPodAffinity"))
_ELSEWHERE = "node(s) didn't satisfy plugin(s) [NodeAffinity]"


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
    #: decisions of a class before its nodes are put into groups
    grouped_after: int = BUILT_AFTER
    _classes: OrderedDict[bytes, PodClass] = field(default_factory=OrderedDict)
    _groups: OrderedDict[tuple[bytes, tuple[Facet, ...]], NodeGroups] = field(default_factory=OrderedDict)
    #: filters that look beyond one node, each with the field of a spec without which it has nothing to say ("": none)
    _far: tuple[tuple[FilterPlugin, str], ...] | None = None
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
        slot_of = cluster.nodes.slot_of
        nominated = {  # a node that is too full as it is has nothing to be overtaken in
            node: promised
            for node, promised in self.nominated(pod, cluster).items()
            if found.verdicts.item(slot_of[node]) == Verdicts.PASS
        }
        scorers = [s for s in self.scorers if not s[0].local and s[0].pre_score(state, pod, cluster)]
        if not nominated:
            groups = self._groups_of(state, pod, cluster, found, others, scorers)
            if groups is not None:
                grouped = decide_grouped(decision, state, pod, cluster, random, found, groups, others, scorers)
                if grouped is not None:
                    return grouped
        if not others and not nominated and not scorers and not found.normalized:
            return self._fast(decision, found, cluster, random)
        verdicts = self._verdicts(state, pod, cluster, found, others, nominated)
        feasible = np.flatnonzero(verdicts == Verdicts.PASS)
        decision = replace(decision, feasible=len(feasible), ruled_out=named(histogram(verdicts), cluster))
        if not len(feasible):
            return replace(decision, verdicts=verdicts)
        scores = self._scores(state, pod, cluster, found, scorers, feasible)
        return choose(decision, feasible, scores, cluster, random)

    def survey(self, pod: PodInfo, cluster: Cluster) -> Decision:
        """Filters alone: a decision without a node, for somebody else to narrow down."""
        verdicts = self.verdicts(pod, cluster) if cluster.nodes.count else np.zeros(0, np.int32)
        feasible = int((verdicts == Verdicts.PASS).sum())
        ruled_out = named(histogram(verdicts), cluster)
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
                    apply((plugin,), state, pod, cluster, here, slots)
            elif status.code is not Code.SKIP:
                return replace(status, plugin=plugin.name)
        elsewhere = cluster.verdicts.id("NodeAffinity", Code.UNRESOLVABLE, _ELSEWHERE)
        verdicts: Ids = np.where(nodes.present[: nodes.size], np.int32(elsewhere), np.int32(ABSENT))
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
        ruled_out = named(histogram(verdicts), cluster)
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
        return choose(decision, feasible, scores, cluster, random)

    def _groups_of(
        self,
        state: CycleState,
        pod: PodInfo,
        cluster: Cluster,
        found: PodClass,
        others: Sequence[FilterPlugin],
        scorers: Sequence[tuple[ScorePlugin, int]],
    ) -> NodeGroups | None:
        """The class's nodes in groups; None where a plug-in does not say what it looks at, or it is not worth it."""
        facets: list[Facet] = []
        for plugin in others:
            looks_at = getattr(plugin, "filter_looks_at", None)
            if looks_at is None:
                return None
            facets += looks_at(state, pod, cluster)
        for scorer, _ in scorers:
            looks_at = getattr(scorer, "score_looks_at", None)
            if looks_at is None:
                return None
            facets += looks_at(state, pod, cluster)
        if facets and not can_group(cluster.nodes, facets):
            return None
        key = self.signature_of(pod), tuple(facets)
        groups = self._groups.get(key)
        if groups is None:
            groups = self._groups[key] = NodeGroups()
            if len(self._groups) > GROUPED:
                self._groups.popitem(last=False)
        else:
            self._groups.move_to_end(key)
        return groups if groups.ready(found, cluster, facets, self.grouped_after) else None

    def _fast(self, decision: Decision, found: PodClass, cluster: Cluster, random: Random) -> Decision:
        masked = found.masked[: cluster.nodes.size]
        best = masked.max()
        ruled_out = named(found.ruled_out, cluster)
        feasible = found.ruled_out[Verdicts.PASS]
        if best == NEVER:
            verdicts = found.verdicts[: cluster.nodes.size]
            return replace(decision, feasible=feasible, ruled_out=ruled_out, verdicts=verdicts)
        ties = np.flatnonzero(masked == best)
        names = cluster.nodes.names
        chosen = int(ties[random.randrange(len(ties))]) if len(ties) > 1 else int(ties[0])
        top = [(names[int(slot)], float(best)) for slot in ties[:TOP]]
        if len(top) < TOP and feasible > len(top) and len(masked) <= SORTED:
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
        if self._far is None:
            self._far = tuple((each, getattr(each, "only_with", "")) for each in self.filters if not each.local)
        spec = pod.spec
        for plugin, field_ in self._far:
            if field_ and field_ not in spec:
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
        apply(others, state, pod, cluster, verdicts, cluster.nodes.all())
        self._keep_promises(pod, cluster, verdicts, nominated)
        return verdicts

    def _keep_promises(
        self, pod: PodInfo, cluster: Cluster, verdicts: Ids, nominated: Mapping[str, list[PodInfo]]
    ) -> None:
        """Nodes that would be too full once those are there that were promised room."""
        for node, promised in nominated.items():
            if verdicts[cluster.nodes.slot_of[node]] != Verdicts.PASS:
                continue
            with cluster.hypothetical(node) as supposed:
                for other in promised:
                    supposed.join(other)
                verdicts[supposed.slot] = self.verdict_at(pod, cluster, supposed.slot)

    def verdicts(self, pod: PodInfo, cluster: Cluster) -> Ids:
        """On every slot, as the decision on this pod saw them."""
        size = cluster.nodes.size
        slots = self._named_slots(pod, cluster)
        if slots is not None:
            narrowed = self._narrowed(pod, cluster, slots)
            if isinstance(narrowed, Status):
                number = cluster.verdicts.id(narrowed.plugin, narrowed.code, *narrowed.reasons)
                return np.where(cluster.nodes.present[:size], np.int32(number), np.int32(ABSENT))
            return narrowed
        found = self.class_of(pod, cluster)
        status = found.rejected
        state = CycleState()
        others: list[FilterPlugin] = []
        if status is None:
            others, status = self._cross_node(state, pod, cluster)
        if status is not None:
            number = cluster.verdicts.id(status.plugin, status.code, *status.reasons)
            return np.where(cluster.nodes.present[:size], np.int32(number), np.int32(ABSENT))
        return self._verdicts(state, pod, cluster, found, others, self.nominated(pod, cluster))

    def verdict_at(self, pod: PodInfo, cluster: Cluster, slot: int) -> int:
        """The verdict on one node in the cluster's present (maybe hypothetical) state, nothing kept."""
        known = self._classes.get(self.signature_of(pod))
        filters = self.filters
        if known is not None and known.rejected is None and self._named_slots(pod, cluster) is None:
            number = local_verdict(known, pod, cluster, slot)
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
            apply((plugin,), state, pod, cluster, verdicts, at)
            if verdicts[0]:
                break
        return int(verdicts[0])

    def only_room(self, pod: PodInfo, cluster: Cluster) -> tuple[Any, Ids] | None:
        """The plug-in that looks at what is free (it has ``lack``), and the verdicts of all that ask the Node alone,
        where nothing else matters to the pod of what pods on nodes are and do; None: more does."""
        if self._named_slots(pod, cluster) is not None:
            return None
        found = self.class_of(pod, cluster)
        if found.rejected is not None or len(found.filters) != 1 or not hasattr(found.filters[0], "lack"):
            return None
        others, rejected = self._cross_node(CycleState(), pod, cluster)
        return (found.filters[0], found.fixed_verdicts) if not others and rejected is None else None

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
            found = self._classes[signature] = new_class(pod, cluster, self.filters, self.scorers)
            evaluate(found, cluster, nodes.all())
            if len(self._classes) > CLASSES:
                self._classes.popitem(last=False)
        elif found.seen < nodes.version:
            evaluate(found, cluster, nodes.changed_since(found.seen))
        self._classes.move_to_end(signature)
        found.seen = nodes.version
        return found

    def signature_of(self, pod: PodInfo) -> bytes:
        """Equal for pods that every plug-in with verdicts on single nodes treats alike."""
        return pod.whole_signature if self.from_outside else pod.signature

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
