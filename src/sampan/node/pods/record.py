"""What a pod machine knows of its pod. Data with the questions that several parts of the machine ask; no decisions.

``absorb`` writes it from events; ``phases``, ``live`` and ``ending`` read it and note what they began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from sampan.api.clock import parse_time
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.cgroups.held import Held
from sampan.node.pods import resizing, spec
from sampan.node.pods.events import NOT_PROBED, Probed
from sampan.node.pods.operations import Key, Operation
from sampan.node.pods.resizing import Verdict
from sampan.node.pods.resizing_checkpoint import Checkpoint
from sampan.node.pods.state import PodState
from sampan.node.pods.status import Waiting
from sampan.records import dataclass

Phase = Literal["adopting", "live", "ending", "lingering", "gone"]
T = TypeVar("T")

#: the empty set of all pods
NONE: frozenset[Any] = frozenset()


def without(known: frozenset[T], item: T) -> frozenset[T]:
    """The set without ``item``; the shared one when that leaves none."""
    return known - {item} or NONE if item in known else known


@dataclass(slots=True)
class Stop:
    """A container on its way to its end. ``deadline``: when it is killed at the latest."""

    container_id: str
    name: str
    deadline: datetime
    hook: Literal["due", "running", "done"] = "done"
    #: Killed no sooner than so many seconds after its signal.
    minimum_seconds: int = 2
    #: The deadline that the StopContainer under way was given.
    sent: datetime | None = None
    #: It is to run again whatever the restart policy says: its definition changed.
    replace: bool = False


@dataclass(slots=True)
class Retry:
    failures: int
    not_before: datetime


@dataclass(slots=True)
class PodRecord:
    """Invariants: ``state`` is the runtime's view of this pod alone; a container that ended there never runs again;
    ``under_way`` holds one operation a key. Its sets are replaced, never changed: most stay empty,
    and all pods of a process share the empty one."""

    pod: Obj
    start_time: datetime
    state: PodState = field(default_factory=PodState)
    phase: Phase = "adopting"
    under_way: dict[Key, Operation] = field(default_factory=dict)
    cancelling: frozenset[Key] = NONE
    retries: dict[Key, Retry] = field(default_factory=dict)

    #: The longest CrashLoopBackOff of this node.
    max_delay_seconds: float = 300

    # The runtime's view.
    #: It has been read since this machine began.
    viewed: bool = False
    #: It may be wrong: nothing is started or held to be gone before it is read again.
    doubted: bool = False
    #: Sandboxes and containers to read again, by id.
    to_look: frozenset[str] = NONE
    #: Counts what this machine itself changed in the runtime: an observation begun before is too old.
    changes: int = 0
    messages: dict[str, str] = field(default_factory=dict)
    out_of_memory: frozenset[str] = NONE
    probes: Probed = NOT_PROBED

    # Living.
    mounted: bool = False
    pulled: frozenset[str] = NONE
    #: Containers whose postStart hook has not ended, by id.
    held: frozenset[str] = NONE
    #: Containers that wait for somebody to attach and are not told to be ready yet, by id.
    unready: frozenset[str] = NONE
    waiting: dict[str, Waiting] = field(default_factory=dict)
    #: Container name to its present restart delay in seconds, and the moment before which no start is tried.
    delays: dict[str, float] = field(default_factory=dict)
    not_before: dict[str, datetime] = field(default_factory=dict)
    #: Containers that run again whatever the policy, by name.
    replace: frozenset[str] = NONE
    stops: dict[str, Stop] = field(default_factory=dict)

    # Beginning anew as a whole: see ``live``.
    restarting_all: bool = False
    #: Containers of the rounds before, by id: they count no more, whatever they ended with.
    reset: frozenset[str] = NONE

    # Resizing: see ``resizing``.
    allocated: Mapping[str, Obj] = field(default_factory=dict)
    applied: dict[str, Obj] = field(default_factory=dict)
    #: What the pod's cgroup was written by.
    cgroup: Mapping[str, Obj] = field(default_factory=dict)
    #: What the kernel holds running containers to, by id, and the pod itself under "", where it can be told.
    kernel: dict[str, Held] = field(default_factory=dict)
    #: Why the present wish is not promised, and what was wished then.
    verdict: Verdict | None = None
    weighed: dict[str, Obj] | None = None
    weigh_at: datetime | None = None
    #: The last error of a resize under way.
    resize_error: str = ""
    resizing: bool = False

    # Ending.
    object_gone: bool = False
    #: Why the pod failed as a whole: reason and message.
    failure: tuple[str, str] | None = None
    #: The node ended it, and its status says so; the most seconds that it gets for that.
    disrupted: bool = False
    grace_limit: int | None = None
    #: Nothing of it will ever run again.
    finished: bool = False
    #: All its containers have ended for good.
    terminal: bool = False
    ending_since: datetime | None = None
    stopped_sandboxes: frozenset[str] = NONE
    unmounted: bool = False
    cgroup_removed: bool = False
    logs_removed: bool = False
    object_deleted: bool = False
    #: Counts the changes that a status may show; the serial of the newest status that the API server has.
    serial: int = 1
    sent_serial: int = 0

    @property
    def is_deleted(self) -> bool:
        return bool(self.pod["metadata"].get("deletionTimestamp"))

    @property
    def deadline(self) -> datetime | None:
        """Until when the pod may be active."""
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        return None if limit is None else self.start_time + timedelta(seconds=int(limit))

    @property
    def is_status_sent(self) -> bool:
        return self.object_gone or self.sent_serial == self.serial

    def grace_seconds(self) -> int:
        own = spec.termination_grace_seconds(self.pod)
        return own if self.grace_limit is None else max(min(own, self.grace_limit), 1)

    def is_under_way(self, kind: type[Operation], subject: str = "") -> bool:
        return (kind.__name__, subject) in self.under_way

    def starting(self) -> frozenset[str]:
        """Names of the containers that are just being started."""
        return frozenset(subject for kind, subject in self.under_way if kind == "StartContainer")

    def pod_ip(self) -> str:
        """Of the pod's own network; "" where it has none (yet)."""
        sandbox = self.state.latest_sandbox
        return sandbox.ips[0] if sandbox is not None and sandbox.ips else ""

    def container(self, container_id: str) -> tuple[spec.Sort, Obj] | None:
        """The specification of a container that the runtime has."""
        known = self.state.containers.get(container_id)
        return spec.find_container(self.pod, known.name) if known is not None else None


def new_record(
    pod: Obj, now: datetime, state: PodState | None = None, checkpoint: Checkpoint | None = None
) -> PodRecord:
    """What is known when a machine begins: the pod, what the runtime has of it, if that was read already, and what a
    machine of before had promised."""
    record = PodRecord(pod, now)
    present: Mapping[str, object] = pod.get("status") or {}
    try:
        record.start_time = parse_time(str(present["startTime"]))
    except (KeyError, ValueError):
        pass  # it starts now
    allocated = resizing.wished(pod)
    for name, container_id, given in resizing.shown_before(pod):
        record.applied[container_id] = given
        if name in allocated:
            allocated[name] = given
    record.allocated = record.cgroup = allocated
    if checkpoint is not None:
        # Agents of before promised nothing to containers that end before the main ones begin: they have what they ask.
        first = {item["name"]: allocated[item["name"]] for item in spec.containers(pod, "init")}
        record.allocated, record.cgroup = {**first, **checkpoint.allocated}, {**first, **checkpoint.cgroup}
        record.applied |= checkpoint.applied
        record.resizing = resizing.wished(pod) == record.allocated != record.cgroup
    if state is not None:
        record.state, record.viewed = state, True
    return record


def ready_before(pod: Obj, state: PodState) -> frozenset[str]:
    """Containers that run and were ready before this agent began: they stay so until a probe says otherwise."""
    ready = {
        str(item.get("containerID", "")).rpartition("/")[2]
        for name in ("initContainerStatuses", "containerStatuses")
        for item in (pod.get("status") or {}).get(name) or ()
        if item.get("ready")
    }
    return frozenset(ready & {container.id for container in state.running()})


def hook_of(container: Obj, name: str) -> Obj | None:
    """The container's postStart or preStop handler."""
    found: Obj | None = (container.get("lifecycle") or {}).get(name)
    return found or None


def ran_seconds(container: runtime.Container) -> float:
    if container.finished_at is None or container.started_at is None:
        return 0.0
    return (container.finished_at - container.started_at).total_seconds()
