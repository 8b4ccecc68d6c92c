"""Which node it is, from scores of nodes or of groups of them; nodes that are equally good are drawn from. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sampan.api.clock import Random
from sampan.scheduler.arrays import Floats, Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.decision import Decision
from sampan.scheduler.framework import CycleState, FilterPlugin, ScorePlugin, Verdict, Verdicts
from sampan.scheduler.nodegroups import Group, NodeGroups, Slots
from sampan.scheduler.podclass import PodClass, apply
from sampan.scheduler.podinfo import PodInfo

TOP = 3
#: Nodes among which the best few are looked for; of more, those that are as good as the best are told.
SORTED = 512


def named(counts: Mapping[int, int], cluster: Cluster) -> dict[Verdict, int]:
    """Counts of ids as those of what they mean; what passes is left out."""
    return {cluster.verdicts[number]: count for number, count in counts.items() if count and number > 0}


def choose(
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
    if len(top) < TOP and len(top) < len(scores) <= SORTED:
        order = np.argsort(-scores, kind="stable")[:TOP]
        top = [(names[int(feasible[place])], float(scores[place])) for place in order]
    return replace(decision, node=names[chosen], top=tuple(top))


def decide_grouped(
    decision: Decision,
    state: CycleState,
    pod: PodInfo,
    cluster: Cluster,
    random: Random,
    found: PodClass,
    groups: NodeGroups,
    others: Sequence[FilterPlugin],
    scorers: Sequence[tuple[ScorePlugin, int]],
) -> Decision | None:
    """From one node of each group. None: no node can take the pod, and what is told of that takes a look at all."""
    if not groups.groups:
        return None
    feasible = found.ruled_out[Verdicts.PASS]
    if not others and not scorers and not found.normalized:
        best = groups.groups[max(groups.groups)]
        ranked = [(best.key[0], best)]
        if len(best.slots) < TOP and len(groups.groups) > 1:
            ranked = sorted(((key[0], group) for key, group in groups.groups.items()), key=_by_score)
        return _choose_group(decision, ranked, 1, feasible, named(found.ruled_out, cluster), cluster, random)
    listed = list(groups.groups.values())
    at = np.array([group.slots[0] for group in listed], np.intp)
    nodes_at: Ids = np.array([len(group.slots) for group in listed], np.int32)
    ruled_out = found.ruled_out
    if others:
        verdicts: Ids = np.zeros(len(at), np.int32)
        apply(others, state, pod, cluster, verdicts, at)
        passing = verdicts == Verdicts.PASS
        if not passing.all():
            if not passing.any():
                return None
            ruled_out = ruled_out.copy()
            for number, nodes in zip(verdicts.tolist(), nodes_at.tolist(), strict=True):
                if number != Verdicts.PASS:
                    ruled_out[number] += nodes
            chosen = np.flatnonzero(passing)
            listed, at, nodes_at = [listed[place] for place in chosen.tolist()], at[chosen], nodes_at[chosen]
            feasible = int(nodes_at.sum())
    scores: Floats = np.array([group.key[0] for group in listed])
    if feasible > 1:
        for place, (plugin, weight) in enumerate(found.normalized, 1):
            raw = np.array([group.key[place] for group in listed])
            scores += weight * plugin.normalize(found.state, raw)
        state.nodes_at = nodes_at
        for plugin, weight in scorers:
            scores += weight * plugin.normalize(state, plugin.score(state, pod, cluster, at))
    order = np.argsort(-scores, kind="stable").tolist()
    values = scores.tolist()
    ranked = [(values[place], listed[place]) for place in order]
    equal = sum(1 for value in values if value == values[order[0]])
    return _choose_group(decision, ranked, equal, feasible, named(ruled_out, cluster), cluster, random)


def _by_score(ranked: tuple[float, Group]) -> float:
    return -ranked[0]


def _choose_group(
    decision: Decision,
    ranked: Sequence[tuple[float, Group]],
    equal: int,
    feasible: int,
    ruled_out: Mapping[Verdict, int],
    cluster: Cluster,
    random: Random,
) -> Decision:
    """Any node of the first ``equal`` groups is as good as another; the best come first in ``ranked``."""
    names = cluster.nodes.names
    ties = sum(len(group.slots) for _, group in ranked[:equal]) if equal > 1 else len(ranked[0][1].slots)
    place = random.randrange(ties) if ties > 1 else 0
    chosen = 0
    for _, group in ranked[:equal]:
        if place < len(group.slots):
            chosen = group.slots[place]
            break
        place -= len(group.slots)
    top: list[tuple[str, float]] = []
    for score, group in ranked:
        top += [(names[slot], score) for slot in group.slots[: TOP - len(top)]]
        if len(top) == TOP:
            break
    return Decision(decision.pod, decision.uid, names[chosen], decision.nodes, feasible, ruled_out, top=tuple(top))
