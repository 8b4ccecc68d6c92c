"""The contract between the scheduler and its plugins: extension points, status codes, verdicts, cycle state.

Plugins see all nodes at once: a filter answers with one verdict id a slot, a score with one number a slot. The
extension points are upstream's (KEP-624); a plugin implements those that it needs. Pure: no I/O here, and none in
QueueSort, PreFilter, Filter, PreScore, Score; Bind and PostFilter's effects are carried out by the shell.
"""

from __future__ import annotations

from dataclasses import field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from sampan.records import dataclass
from sampan.scheduler.arrays import At, Floats, Ids
from sampan.scheduler.podinfo import PodInfo

if TYPE_CHECKING:
    from sampan.scheduler.cache import Cluster

MAX_NODE_SCORE = 100


class Code(Enum):
    SUCCESS = "Success"
    ERROR = "Error"
    #: removing pods from the node may help
    UNSCHEDULABLE = "Unschedulable"
    #: nothing that preemption can do would help
    UNRESOLVABLE = "UnschedulableAndUnresolvable"
    WAIT = "Wait"
    SKIP = "Skip"


@dataclass(frozen=True, slots=True)
class Status:
    code: Code = Code.SUCCESS
    reasons: tuple[str, ...] = ()
    plugin: str = ""

    @property
    def message(self) -> str:
        return ", ".join(self.reasons)


SUCCESS = Status()
SKIP = Status(Code.SKIP)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a filter says of a node. ``reasons`` are counted in messages; ``detail`` is for explanations only."""

    plugin: str
    code: Code
    reasons: tuple[str, ...]
    detail: str = ""


class Verdicts:
    """Interned verdicts: arrays hold their ids. 0 passes, -1 is a slot without a node.

    A cluster has one table. It is full when ``LIMIT`` different ones were met (details name taints and resources, which
    come and go): then the cluster takes a new one before its next decision, and classes are evaluated anew.
    """

    PASS = 0
    ABSENT = -1
    LIMIT = 4096

    def __init__(self) -> None:
        self._all: list[Verdict] = [Verdict("", Code.SUCCESS, ())]
        self._ids: dict[Verdict, int] = {}

    def id(self, plugin: str, code: Code, *reasons: str, detail: str = "") -> int:
        verdict = Verdict(plugin, code, reasons, detail)
        found = self._ids.get(verdict)
        if found is None:
            found = self._ids[verdict] = len(self._all)
            self._all.append(verdict)
        return found

    def find(self, verdict: Verdict) -> int | None:
        return self._ids.get(verdict)

    def __getitem__(self, number: int) -> Verdict:
        return self._all[number]

    @property
    def is_full(self) -> bool:
        return len(self._all) > self.LIMIT

    def resolvable(self, numbers: Ids) -> Any:
        """A mask: which of these could change when pods leave the node."""
        table = np.array([v.code is Code.UNSCHEDULABLE for v in self._all] + [False], np.bool_)
        return table[numbers]


@dataclass(slots=True)
class CycleState:
    """What plugins keep between the extension points of one decision (or of one class of pods)."""

    data: dict[str, Any] = field(default_factory=dict)
    #: plugins whose PreFilter or PreScore said Skip
    skipped: set[str] = field(default_factory=set)
    #: how many nodes each of those that are scored stands for; None: each for itself
    nodes_at: Ids | None = None


class Event(Enum):
    """A change of the cluster that may make a pod schedulable (``framework.ClusterEvent``)."""

    NODE_ADD = "NodeAdd"
    NODE_UPDATE = "NodeUpdate"
    POD_ADD = "AssignedPodAdd"
    POD_UPDATE = "AssignedPodUpdate"
    POD_DELETE = "AssignedPodDelete"
    OTHER = "Other"


class Plugin(Protocol):
    @property
    def name(self) -> str: ...


@runtime_checkable
class PreEnqueuePlugin(Protocol):
    def pre_enqueue(self, pod: PodInfo) -> Status: ...


@runtime_checkable
class QueueSortPlugin(Protocol):
    def sort_key(self, pod: PodInfo, enqueued: float) -> Any:
        """Smaller comes first."""
        ...


@runtime_checkable
class FilterPlugin(Protocol):
    """``local``: the verdict on a node depends on the pod and that node alone, so it may be kept and repaired; with a
    ``usage`` that is False, on the Node object and not on the pods there. One with ``filter_slot(state, pod, cluster,
    slot)``, a verdict as a plain number, is asked that way about single nodes.
    ``wakes``: after which events a pod that this plugin turned down is worth another try (not for local ones: their
    verdict on the changed node itself says it). One that looks beyond a node and has ``filter_looks_at(state, pod,
    cluster)``, its facets (``nodegroups.py``), is asked about one node of each kind; a score has ``score_looks_at``.
    One that looks beyond a node and has ``only_with``, a field of a spec, is not asked about pods without that field.
    """

    name: str
    local: bool
    wakes: frozenset[Event]

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        """SKIP: this plugin has nothing to say about the pod. Unschedulable: no node can do."""
        ...

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        """A verdict id for each slot of ``at``; None when all pass."""
        ...


@runtime_checkable
class ScorePlugin(Protocol):
    """``local``, ``usage`` and ``score_slot`` as for filters. ``normalized``: raw scores are compared over the feasible
    nodes of each decision."""

    name: str
    local: bool
    normalized: bool

    def pre_score(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> bool:
        """False: skip; all nodes are equal."""
        ...

    def score(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Floats: ...

    def normalize(self, state: CycleState, scores: Floats) -> Floats:
        """0 to 100, from the raw scores of the feasible nodes."""
        ...


@runtime_checkable
class PostFilterPlugin(Protocol):
    def post_filter(self, pod: PodInfo, profile: Any, cluster: Cluster, budgets: Any, random: Any) -> Any:
        """What may be done for a pod that no node can take (``plugins/defaultpreemption.py: Preemption``)."""
        ...


@runtime_checkable
class ReservePlugin(Protocol):
    def reserve(self, pod: PodInfo, node: str) -> Status: ...
    def unreserve(self, pod: PodInfo, node: str) -> None: ...


@runtime_checkable
class PermitPlugin(Protocol):
    async def permit(self, pod: PodInfo, node: str) -> Status:
        """May wait, as long as the configuration allows; runs with the binding, not with the decision, and holds up no
        other pod. SUCCESS: the pod may be bound."""
        ...


@runtime_checkable
class PreBindPlugin(Protocol):
    """One that may wait for others has ``waits(pod)``: it holds no place among the bindings while it does."""

    async def pre_bind(self, pod: PodInfo, node: str) -> Status: ...


@runtime_checkable
class BindPlugin(Protocol):
    async def bind(self, pod: PodInfo, node: str) -> Status:
        """SKIP leaves the pod to the next Bind plugin. Raises ApiError."""
        ...


@runtime_checkable
class PostBindPlugin(Protocol):
    def post_bind(self, pod: PodInfo, node: str) -> None: ...


def default_normalize(scores: Floats, *, reverse: bool = False) -> Floats:
    """Scaled so that the highest is 100 (``DefaultNormalizeScore``, with its integer division)."""
    highest = scores.max(initial=0)
    if highest == 0:
        return np.full(len(scores), float(MAX_NODE_SCORE)) if reverse else scores
    scaled: Floats = np.floor(MAX_NODE_SCORE * scores / highest)
    return MAX_NODE_SCORE - scaled if reverse else scaled


_answers: dict[tuple[type, object], bool] = {}


def has_point(plugin: Any, point: Any) -> bool:
    """``isinstance``, remembered: asked for each pod, and slow for protocols. One entry a plugin class and point."""
    key = type(plugin), point
    found = _answers.get(key)
    if found is None:
        found = _answers[key] = isinstance(plugin, point)
    return found
