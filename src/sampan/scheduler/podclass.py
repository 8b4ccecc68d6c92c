"""Pods that every plug-in with verdicts on single nodes treats alike, with these verdicts and scores of all nodes.

Made for a pod that was never seen before by array work over all nodes; for the next pods of a template only the nodes
that changed are looked at, in plain numbers. Kept by ``profile.py``; one event loop, no I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np

from sampan.records import dataclass
from sampan.scheduler.arrays import At, Floats, Ids, NodeArrays
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import Code, CycleState, FilterPlugin, ScorePlugin, Status, Verdicts
from sampan.scheduler.podinfo import PodInfo

#: Changed nodes that are repaired one by one.
_FEW = 8
NEVER = -np.inf
ABSENT = Verdicts.ABSENT


@dataclass(slots=True)
class PodClass:
    """Invariants: where ``seen >= changed[slot]``, verdicts are those of the slot's present state, and so are scores
    where the verdict passes; scores of plug-ins that ask the Node object alone are, everywhere."""

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


def new_class(
    pod: PodInfo, cluster: Cluster, filters: Sequence[FilterPlugin], scorers: Sequence[tuple[ScorePlugin, int]]
) -> PodClass:
    state = CycleState()
    capacity = cluster.nodes.capacity
    absent: Ids = np.full(capacity, ABSENT, np.int32)
    zeros: Floats = np.zeros(capacity)
    found = PodClass(
        pod,
        state,
        cluster.nodes.structure,
        [],
        [],
        [],
        [],
        [],
        absent,
        absent.copy(),
        zeros,
        zeros.copy(),
        np.full(capacity, NEVER),
    )
    for plugin in filters:
        if not plugin.local:
            continue
        status = plugin.pre_filter(state, pod, cluster)
        if status.code is Code.SUCCESS:
            fixed = not found.filters and not getattr(plugin, "usage", True)
            (found.fixed if fixed else found.filters).append(plugin)
        elif status.code is not Code.SKIP:
            found.rejected = replace(status, plugin=plugin.name)
            return found
    for scorer, weight in scorers:
        if scorer.local and scorer.pre_score(state, pod, cluster):
            fixed_scorers = found.scorers if getattr(scorer, "usage", True) else found.fixed_scorers
            (found.normalized if scorer.normalized else fixed_scorers).append((scorer, weight))
    found.raw = {scorer.name: np.zeros(capacity) for scorer, _ in found.normalized}
    return found


def evaluate(found: PodClass, cluster: Cluster, at: At) -> None:
    """Brings the class up to date at these slots. The caller says so in ``seen``."""
    nodes, pod, state = cluster.nodes, found.pod, found.state
    if found.rejected is not None or not nodes.length(at):
        return
    if found.seen >= 0 and nodes.length(at) <= _FEW and not isinstance(at, slice):
        for slot in at.tolist():
            repair_one(found, cluster, slot)
        return
    verdicts: Ids = nodes.remembered_of_layout("verdicts of nodes", lambda: _of_nodes(nodes))[at].copy()
    apply(found.fixed, state, pod, cluster, verdicts, at)
    found.fixed_verdicts[at] = verdicts
    apply(found.filters, state, pod, cluster, verdicts, at)
    total: Floats = np.zeros(len(verdicts))
    for scorer, weight in found.fixed_scorers:
        total += weight * scorer.score(state, pod, cluster, at)
    found.fixed_total[at] = total
    for scorer, _ in found.normalized:
        found.raw[scorer.name][at] = scorer.score(state, pod, cluster, at)
    passing = verdicts == Verdicts.PASS
    number = int(np.count_nonzero(passing))
    if 2 * number < len(verdicts):  # fewer nodes to score are worth picking them out
        chosen = np.flatnonzero(passing)
        slots = chosen if isinstance(at, slice) else at[chosen]
        some: Floats = np.zeros(number)
        for scorer, weight in found.scorers if number else ():
            some += weight * scorer.score(state, pod, cluster, slots)
        total[chosen] += some
    else:
        for scorer, weight in found.scorers:
            total += weight * scorer.score(state, pod, cluster, at)
    if found.seen >= 0:
        found.ruled_out.subtract(histogram(found.verdicts[at], passes=True))
    found.ruled_out.update(histogram(verdicts, passes=True))
    found.verdicts[at] = verdicts
    found.total[at] = total
    found.masked[at] = np.where(passing, total, NEVER)


def _of_nodes(nodes: NodeArrays) -> Ids:
    """What is said of slots before any filter was asked."""
    found: Ids = np.where(nodes.present[: nodes.size], np.int32(Verdicts.PASS), np.int32(ABSENT))
    return found


def repair_one(found: PodClass, cluster: Cluster, slot: int) -> None:
    """``evaluate`` for the usual case, a node that took a pod, in plain numbers. What asks the Node object alone is
    asked again when that changed; a node that is turned down needs no other scores."""
    nodes, pod, state = cluster.nodes, found.pod, found.state
    node_changed = nodes.node_changed.item(slot) > found.seen
    if node_changed:
        at = np.array([slot])
        number = Verdicts.PASS if nodes.present[slot] else ABSENT
        for plugin in found.fixed if number == Verdicts.PASS else ():
            verdict = plugin.filter(state, pod, cluster, at)
            if verdict is not None and (number := int(verdict[0])) != Verdicts.PASS:
                break
        found.fixed_verdicts[slot] = number
        _score_fixed(found, cluster, slot)
    else:
        number = found.fixed_verdicts.item(slot)
    for plugin in found.filters if number == Verdicts.PASS else ():
        number = verdict_of(plugin, state, pod, cluster, slot)
        if number != Verdicts.PASS:
            break
    before = found.verdicts.item(slot)
    if before != number:
        for changed, step in ((before, -1), (number, 1)):
            if changed != ABSENT:
                found.ruled_out[changed] += step
        found.verdicts[slot] = number
    if number != Verdicts.PASS:
        found.masked[slot] = NEVER
        return
    total = found.fixed_total.item(slot)
    for scorer, weight in found.scorers:
        total += weight * _score_of(scorer, state, pod, cluster, slot)
    for scorer, _ in found.normalized:
        if getattr(scorer, "usage", True):
            found.raw[scorer.name][slot] = _score_of(scorer, state, pod, cluster, slot)
    found.total[slot] = found.masked[slot] = total


def local_verdict(known: PodClass, pod: PodInfo, cluster: Cluster, slot: int) -> int | None:
    """Of the filters that ask one node, in plain numbers, where the class knows the Node; None: it does not."""
    nodes = cluster.nodes
    if known.is_stale(cluster) or nodes.node_changed.item(slot) > known.seen:
        return None
    number: int = known.fixed_verdicts.item(slot)
    for plugin in known.filters if number == Verdicts.PASS else ():
        number = verdict_of(plugin, known.state, pod, cluster, slot)
        if number != Verdicts.PASS:
            break
    return number


def _score_fixed(found: PodClass, cluster: Cluster, slot: int) -> None:
    total = 0.0
    for scorer, weight in found.fixed_scorers:
        total += weight * _score_of(scorer, found.state, found.pod, cluster, slot)
    found.fixed_total[slot] = total
    for scorer, _ in found.normalized:
        found.raw[scorer.name][slot] = _score_of(scorer, found.state, found.pod, cluster, slot)


def verdict_of(plugin: Any, state: CycleState, pod: PodInfo, cluster: Cluster, slot: int) -> int:
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


def apply(
    filters: Sequence[FilterPlugin], state: CycleState, pod: PodInfo, cluster: Cluster, verdicts: Ids, at: At
) -> None:
    """The first filter that turns a node down gives the verdict, as if filters ran node by node."""
    for plugin in filters:
        found = plugin.filter(state, pod, cluster, at)
        if found is not None:
            np.copyto(verdicts, found, where=verdicts == Verdicts.PASS)


def histogram(verdicts: Ids, *, passes: bool = False) -> Counter[int]:
    """Slots by their verdict, those without a node left out."""
    if len(verdicts) == 1:
        number = int(verdicts[0])
        return Counter({number: 1}) if number > 0 or (passes and number == 0) else Counter()
    counts = np.bincount(verdicts + 1)  # from -1, a slot without a node
    pairs = [(int(place) - 1, int(counts[place])) for place in np.flatnonzero(counts)]
    return Counter({number: count for number, count in pairs if number > 0 or (passes and number == 0)})
