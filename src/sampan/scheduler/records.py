"""What came of each attempt to schedule a pod, kept for a day: what `sampan why` and others read.

Where it is asked: ``GET /sampan/scheduler/attempts?namespace=NS&pod=NAME`` (``PATH``), a non-resource path. The API
server answers it while it runs the scheduler; a scheduler apart (`sampan scheduler`) answers it on its secure port. Who
may ask is RBAC's: ``nonResourceURLs: ["/sampan/scheduler/attempts"], verbs: ["get"]``. Both parameters may be left out
(all pods of a namespace, all pods); ``uid`` asks for one pod among several that had the name, ``limit`` for so many of
the newest. The answer, newest attempt first::

    {"kind": "AttemptList", "apiVersion": "scheduler.sampan.io/v1alpha1", "items": [AttemptRecord.to_json(), ...]}

An attempt, as JSON (all fields are always there)::

    {"pod": {"namespace": "default", "name": "web-1", "uid": "…"}, "at": "2026-11-28T23:59:01Z",
     "profile": "default-scheduler", "result": "unschedulable",      # or "scheduled", "error"
     "node": "",                                                     # where it went
     "message": "0/3 nodes are available: …",                        # what the event says
     "nodes": 3, "feasible": 0,
     "rejections": [{"plugin": "NodeResourcesFit", "nodes": 2, "reason": "Insufficient cpu", "detail": "",
                     "example": "node-1"}],                          # most nodes first
     "nearest": {"node": "node-1", "plugin": "NodeResourcesFit", "reason": "Insufficient cpu",
                 "lacking": {"cpu": "500m"}},                        # {} when no node came near
     "topScores": [{"node": "node-2", "total": 412, "plugins": {}}],   # plugins: kept empty until now
     "preemption": {"node": "node-1", "victims": ["default/low"], "message": "…"}}   # or null

Imports nothing heavy: a command reads this too. One event loop; no I/O.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import orjson

from sampan.api.clock import format_time, parse_time
from sampan.api.errors import BadRequest
from sampan.api.types import Obj
from sampan.records import dataclass

PATH: Final = "/sampan/scheduler/attempts"
API_VERSION: Final = "scheduler.sampan.io/v1alpha1"
KEPT_FOR: Final = timedelta(days=1)
KEPT_BYTES: Final = 8 * 1024 * 1024
#: of one pod: the newest, for a pod that nothing helps is tried every few minutes
KEPT_OF_A_POD: Final = 16
#: what Python needs for a pod's first entry besides its bytes
_ENTRY_BYTES: Final = 450
_MOST: Final = 500

Result: TypeAlias = Literal["scheduled", "unschedulable", "error"]


@dataclass(frozen=True, slots=True)
class PodName:
    namespace: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Nodes that one plug-in ruled out for one reason. ``detail`` says what the reason, as upstream words it, does not
    (which taint); ``example`` is one of the nodes, "" when the plug-in refused them all at once."""

    plugin: str
    nodes: int
    reason: str
    example: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The node that came nearest; ``lacking`` holds what it has too little of, as quantities."""

    node: str
    plugin: str = ""
    reason: str = ""
    lacking: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeScore:
    """``plugins``: weighted scores by plug-in. The scheduler fills in the sum alone until now."""

    node: str
    total: float
    plugins: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PreemptionRecord:
    """``node`` "": nobody would have to go, or it would not help; ``message`` says which."""

    node: str = ""
    victims: tuple[str, ...] = ()
    message: str = ""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    pod: PodName
    at: datetime
    profile: str
    result: Result
    node: str = ""
    message: str = ""
    nodes: int = 0
    feasible: int = 0
    rejections: tuple[Rejection, ...] = ()
    nearest: Nearest | None = None
    top_scores: tuple[NodeScore, ...] = ()
    preemption: PreemptionRecord | None = None

    def to_json(self) -> Obj:
        return {
            "pod": {"namespace": self.pod.namespace, "name": self.pod.name, "uid": self.pod.uid},
            "at": format_time(self.at),
            "profile": self.profile,
            "result": self.result,
            "node": self.node,
            "message": self.message,
            "nodes": self.nodes,
            "feasible": self.feasible,
            "rejections": [
                {"plugin": r.plugin, "nodes": r.nodes, "reason": r.reason, "detail": r.detail, "example": r.example}
                for r in self.rejections
            ],
            "nearest": _nearest(self.nearest),
            "topScores": [{"node": s.node, "total": s.total, "plugins": dict(s.plugins)} for s in self.top_scores],
            "preemption": None if self.preemption is None else _preemption(self.preemption),
        }

    @classmethod
    def from_json(cls, data: Obj) -> AttemptRecord:
        """What ``to_json`` made. Raises KeyError, TypeError, ValueError for what it did not."""
        nearest, preemption = data.get("nearest") or {}, data.get("preemption")
        return cls(
            PodName(data["pod"]["namespace"], data["pod"]["name"], data["pod"].get("uid", "")),
            parse_time(data["at"]),
            data["profile"],
            data["result"],
            data.get("node", ""),
            data.get("message", ""),
            data.get("nodes", 0),
            data.get("feasible", 0),
            tuple(
                Rejection(r["plugin"], r["nodes"], r["reason"], r.get("example", ""), r.get("detail", ""))
                for r in data.get("rejections") or ()
            ),
            Nearest(nearest["node"], nearest.get("plugin", ""), nearest.get("reason", ""), nearest.get("lacking") or {})
            if nearest
            else None,
            tuple(NodeScore(s["node"], s["total"], s.get("plugins") or {}) for s in data.get("topScores") or ()),
            None
            if preemption is None
            else PreemptionRecord(
                preemption.get("node", ""), tuple(preemption.get("victims") or ()), preemption.get("message", "")
            ),
        )


def _nearest(nearest: Nearest | None) -> Obj:
    if nearest is None:
        return {}
    return {
        "node": nearest.node,
        "plugin": nearest.plugin,
        "reason": nearest.reason,
        "lacking": dict(nearest.lacking),
    }


def _preemption(record: PreemptionRecord) -> Obj:
    return {"node": record.node, "victims": list(record.victims), "message": record.message}


#: a pod's key: namespace and name
_Key: TypeAlias = tuple[str, str]


class Attempts:
    """Invariants: ``_bytes`` is what all entries cost; a pod's entries are in the order of their time, and the pods in
    the order of their newest entry."""

    def __init__(
        self, *, kept_bytes: int = KEPT_BYTES, kept_for: timedelta = KEPT_FOR, of_a_pod: int = KEPT_OF_A_POD
    ) -> None:
        self._kept_bytes, self._kept_for, self._of_a_pod = kept_bytes, kept_for, of_a_pod
        self._pods: OrderedDict[_Key, list[tuple[datetime, bytes]]] = OrderedDict()
        self._bytes = 0

    def put(self, record: AttemptRecord) -> None:
        self._forget_older(record.at - self._kept_for)
        key = record.pod.namespace, record.pod.name
        value = bytes(memoryview(orjson.dumps(record.to_json())))  # a copy: orjson's own keep a buffer of 4 KiB
        kept = self._pods.get(key)
        if kept is None:
            kept = self._pods[key] = []
        while kept and kept[0][0] < record.at - self._kept_for:
            self._drop_first(kept)
        kept.append((record.at, value))
        self._pods.move_to_end(key)
        self._bytes += len(value) + _ENTRY_BYTES
        if len(kept) > self._of_a_pod:
            self._drop_first(kept)
        while self._bytes > self._kept_bytes and self._pods:
            self._drop_oldest()

    def of(self, namespace: str = "", name: str = "") -> Iterator[bytes]:
        """As JSON, newest first within a pod, the pod that was tried last first. "" is every one."""
        if namespace and name:
            yield from (value for _, value in reversed(self._pods.get((namespace, name), ())))
            return
        for (in_namespace, called), kept in reversed(self._pods.items()):
            if (not namespace or in_namespace == namespace) and (not name or called == name):
                yield from (value for _, value in reversed(kept))

    def latest(self, namespace: str, name: str) -> AttemptRecord | None:
        return next((AttemptRecord.from_json(orjson.loads(value)) for value in self.of(namespace, name)), None)

    def __len__(self) -> int:
        return sum(map(len, self._pods.values()))

    def answer(self, query: Mapping[str, str]) -> Obj:
        """What ``PATH`` answers. Raises BadRequest."""
        try:
            limit = int(query.get("limit") or _MOST)
        except ValueError:
            raise BadRequest(f'limit: "{query["limit"][:40]}" is no number') from None
        if not 1 <= limit <= _MOST:
            raise BadRequest(f"limit: {limit} is not between 1 and {_MOST}")
        uid = query.get("uid", "")
        items: list[Any] = []
        for value in self.of(query.get("namespace", ""), query.get("pod", "")):
            item = orjson.loads(value)
            if uid and item["pod"]["uid"] != uid:
                continue
            items.append(item)
            if len(items) >= limit:
                break
        return {"kind": "AttemptList", "apiVersion": API_VERSION, "items": items}

    # Inside

    def _forget_older(self, horizon: datetime) -> None:
        """Pods that nobody tried since, and the old attempts of the one that was tried longest ago."""
        while self._pods:
            kept = next(iter(self._pods.values()))
            if kept[0][0] >= horizon:
                return
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        key = next(iter(self._pods))
        kept = self._pods[key]
        self._drop_first(kept)
        if not kept:
            del self._pods[key]

    def _drop_first(self, kept: list[tuple[datetime, bytes]]) -> None:
        _, value = kept.pop(0)
        self._bytes -= len(value) + _ENTRY_BYTES
