"""Decides for one DaemonSet: on which nodes to create pods, which to delete, what status to report. Pure.

First every node gets what it lacks and loses what is too much (upstream ``manage``); when nothing of that is left to
do, old pods give way to new ones (``rollingUpdate``). The shell is ``controller.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final, NamedTuple

from sampan.api.pods import status as podstatus
from sampan.api.reading import part, whole
from sampan.api.types import Obj
from sampan.controllers.daemonset import facts
from sampan.controllers.daemonset.facts import Placement, Verdict

#: At most this many creates, and deletes, a sync; the rest follows in the next.
BURST: Final = 250
_AT_ONCE: Final = 0.001

_NOWHERE: Final = Verdict(False, False)


@dataclass(frozen=True)
class Observed:
    """One snapshot. ``nodes`` by name; ``pods`` those the DaemonSet controls; ``revision``: its template's hash."""

    daemon_set: Obj
    nodes: Mapping[str, Obj]
    pods: Sequence[Obj]
    revision: str
    now: datetime
    #: seconds until a failed pod of a node may be replaced; 0: now
    backoff: Callable[[str], float] = lambda node: 0.0
    #: of this DaemonSet; one that was asked before answers at once
    placement: Placement | None = None

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        placement = self.placement or Placement(self.daemon_set)
        return dict(zip(self.nodes, placement.verdicts(self.nodes.values()), strict=True))

    @cached_property
    def waits(self) -> dict[int, float | None]:
        """After how many seconds each pod is available, by the identity of what is known of it; None: not ready."""
        seconds, now = facts.min_ready_seconds(self.daemon_set), self.now
        return {id(pod): podstatus.available_in_seconds(pod, seconds, now) for pod in self.pods}

    @cached_property
    def updated(self) -> dict[int, bool]:
        """Which pods are of the newest template."""
        daemon_set, revision = self.daemon_set, self.revision
        return {id(pod): facts.is_updated(pod, daemon_set, revision) for pod in self.pods}

    @cached_property
    def by_node(self) -> Mapping[str, Sequence[Obj]]:
        return facts.by_node(self.pods)


@dataclass(slots=True)
class Plan:
    """``ended``: (node, pod) whose pod ended by itself and goes; told of in an Event. ``wait``: seconds until a
    failed pod may be replaced, or the rest is due."""

    create: list[str] = field(default_factory=list)
    delete: list[Obj] = field(default_factory=list)
    ended: list[tuple[str, Obj]] = field(default_factory=list)
    wait: float | None = None

    @property
    def empty(self) -> bool:
        return not self.create and not self.delete

    def bounded(self) -> Plan:
        wait = _AT_ONCE if max(len(self.create), len(self.delete)) > BURST else self.wait
        return Plan(self.create[:BURST], self.delete[:BURST], self.ended, wait)


def plan(observed: Observed) -> Plan:
    found = _manage(observed)
    if found.empty and facts.rolls(observed.daemon_set):
        rolled = _roll(observed)
        rolled.wait = found.wait
        return rolled.bounded()
    return found.bounded()


def _manage(observed: Observed) -> Plan:
    found = Plan()
    for name, verdict in observed.verdicts.items():
        here = observed.by_node.get(name, ())
        if verdict.starts and not here:
            found.create.append(name)
        elif verdict.stays:
            _prune(observed, name, here, found)
        else:
            found.delete += _staying(here)
    for name, left in observed.by_node.items():
        if name not in observed.nodes:  # bound ones are the pod collector's
            found.delete += [pod for pod in _staying(left) if not podstatus.node_name(pod)]
    return found


def _staying(pods: Sequence[Obj]) -> list[Obj]:
    return [pod for pod in pods if not podstatus.is_terminating(pod)]


def _prune(observed: Observed, node: str, pods: Sequence[Obj], found: Plan) -> None:
    """Of a node's pods: those that ended go, and all but one, or two while a new one takes over."""
    if len(pods) == 1 and not podstatus.is_terminal(pods[0]):
        return  # as nearly always
    running = []
    for pod in _staying(pods):
        if not podstatus.is_terminal(pod):
            running.append(pod)
            continue
        wait = observed.backoff(node) if podstatus.phase(pod) == "Failed" else 0.0
        if wait > 0:
            found.wait = wait if found.wait is None else min(found.wait, wait)
            continue
        found.ended.append((node, pod))
        found.delete.append(pod)
    if len(running) <= 1:
        return
    running = facts.oldest_first(running)
    if not facts.may_surge(observed.daemon_set):
        found.delete += running[1:]
        return
    new = [pod for pod in running if observed.updated[id(pod)]]
    old = [pod for pod in running if pod not in new]
    found.delete += new[1:] + old[1:]
    if new and old and (not podstatus.is_ready(old[0]) or _is_available(observed, new[0])):
        found.delete.append(old[0])


def _is_available(observed: Observed, pod: Obj) -> bool:
    return observed.waits[id(pod)] == 0


class _Pair(NamedTuple):
    """What a node has: at most one pod of each sort."""

    new: Obj | None
    old: Obj | None


def _pair(observed: Observed, pods: Sequence[Obj]) -> _Pair | None:
    """None: several of a sort; the next sync will see to that."""
    new: list[Obj] = []
    old: list[Obj] = []
    for pod in _staying(pods):
        (new if observed.updated[id(pod)] else old).append(pod)
    if len(new) > 1 or len(old) > 1:
        return None
    return _Pair(new[0] if new else None, old[0] if old else None)


def _roll(observed: Observed) -> Plan:
    if all(observed.updated.values()):
        return Plan()
    verdicts = observed.verdicts
    desired = sum(verdict.starts for verdict in verdicts.values())
    surge, unavailable = facts.fenceposts(observed.daemon_set, desired)
    pairs = {node: _pair(observed, pods) for node, pods in observed.by_node.items()}
    if surge:
        found = _roll_by_surge(observed, pairs, surge, verdicts)
        found.delete += _misplaced(observed, pairs, verdicts, desired)
        return found
    return _roll_by_deletion(observed, pairs, unavailable)


def _roll_by_deletion(observed: Observed, pairs: Mapping[str, _Pair | None], most: int) -> Plan:
    """Old pods that are not available go at once; of the others as many as may be missing."""
    missing, useless, candidates = 0, [], []
    for pair in pairs.values():
        if pair is None or (pair.new is None) == (pair.old is None):
            missing += 1
        elif pair.new is not None:
            missing += not _is_available(observed, pair.new)
        elif pair.old is not None and _is_available(observed, pair.old):
            candidates.append(pair.old)
        elif pair.old is not None:
            useless.append(pair.old)
            missing += 1
    return Plan(delete=useless + candidates[: max(0, most - missing)])


def _roll_by_surge(
    observed: Observed, pairs: Mapping[str, _Pair | None], most: int, verdicts: Mapping[str, Verdict]
) -> Plan:
    """New pods come beside old ones, on as many nodes as may have two; the old one goes when the new is available."""
    found, candidates, surging = Plan(), [], 0
    for node, pair in pairs.items():
        if pair is None:
            surging += 1
        elif pair.old is None:
            continue
        elif pair.new is not None:
            if _is_available(observed, pair.new):
                found.delete.append(pair.old)
            else:
                surging += 1
        elif not verdicts.get(node, _NOWHERE).starts:
            continue  # no new one may come
        elif _is_available(observed, pair.old):
            candidates.append(node)
        else:
            found.create.append(node)
    found.create += candidates[: max(0, most - surging)]
    return found


def _misplaced(
    observed: Observed, pairs: Mapping[str, _Pair | None], verdicts: Mapping[str, Verdict], desired: int
) -> list[Obj]:
    """Old pods on nodes that got taints or lost labels since: as many as are available beyond those that are wanted."""
    several = [pair for pair in pairs.values() if pair is not None]
    available = sum(
        any(pod is not None and _is_available(observed, pod) for pod in (pair.new, pair.old)) for pair in several
    )
    misplaced = [
        pair.old
        for node, pair in pairs.items()
        if pair is not None and pair.old is not None and pair.new is None and not verdicts.get(node, _NOWHERE).starts
    ]
    return misplaced[: max(0, available - desired)]


def plan_status(observed: Observed) -> tuple[Obj, float | None]:
    """The status, and after how many seconds a pod's minReadySeconds will change it."""
    daemon_set, pods = observed.daemon_set, observed.by_node
    counts = dict.fromkeys(("desired", "current", "misscheduled", "ready", "available", "updated"), 0)
    later: list[float] = []
    for name, verdict in observed.verdicts.items():
        here = pods.get(name, ())
        if len(here) > 1:
            here = facts.oldest_first(here)
        if not verdict.starts:
            counts["misscheduled"] += bool(here)
            continue
        counts["desired"] += 1
        if not here:
            continue
        counts["current"] += 1
        wait = observed.waits[id(here[0])]
        counts["ready"] += wait is not None or podstatus.is_ready(here[0])  # since when may be unknown
        counts["available"] += wait == 0
        counts["updated"] += observed.updated[id(here[0])]
        if wait:
            later.append(wait)
    status: Obj = {
        "currentNumberScheduled": counts["current"],
        "numberMisscheduled": counts["misscheduled"],
        "desiredNumberScheduled": counts["desired"],
        "numberReady": counts["ready"],
    }
    if generation := whole(part(daemon_set, "metadata"), "generation"):
        status["observedGeneration"] = generation
    optional = {
        "updatedNumberScheduled": counts["updated"],
        "numberAvailable": counts["available"],
        "numberUnavailable": counts["desired"] - counts["available"],
    }
    status |= {key: count for key, count in optional.items() if count}
    old = part(daemon_set, "status")
    status |= {key: old[key] for key in ("collisionCount", "conditions") if key in old}
    return status, min(later, default=None)
