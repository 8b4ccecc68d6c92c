"""What the pod machine is told. Values only; ``machine`` takes them in, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias

from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.cgroups.held import Held
from sampan.node.pods.operations import Operation
from sampan.node.pods.resizing import Verdict
from sampan.node.pods.state import PodState
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class PodChanged:
    """The API object, newer than before."""

    pod: Obj


@dataclass(frozen=True, slots=True)
class ObjectGone:
    """The API object was removed; ``pod`` is its last state."""

    pod: Obj


@dataclass(frozen=True, slots=True)
class Evicted:
    """The node cannot or must not run the pod: refused at admission, or short of something, or about to be off.

    ``grace_seconds``: the most that its containers get; None: what the pod says. ``disruption``: the status says that
    the node ended it."""

    reason: str
    message: str
    grace_seconds: int | None = None
    disruption: bool = False


@dataclass(frozen=True, slots=True)
class RuntimeEnded:
    """The runtime says that a container or sandbox ended, by id."""

    runtime_id: str


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """The kernel killed something in a container, by id."""

    container_id: str


@dataclass(frozen=True, slots=True)
class ViewDoubted:
    """Events of the runtime may have been lost: what is known of it may be old."""


@dataclass(frozen=True, slots=True)
class RoomMade:
    """A resize that waits has been granted, or may be."""


@dataclass(frozen=True, slots=True)
class ObjectsChanged:
    """A ConfigMap or Secret that the pod uses changed."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What the probes say now, by container ids."""

    ready: frozenset[str] = frozenset()
    started: frozenset[str] = frozenset()
    failed_liveness: frozenset[str] = frozenset()
    failed_startup: frozenset[str] = frozenset()


NOT_PROBED = Probed()


@dataclass(frozen=True, slots=True)
class StatusSent:
    """The API server has the status that was rendered at ``serial``."""

    serial: int


@dataclass(frozen=True, slots=True)
class TimePassed:
    """A moment the machine waited for has come (or somebody wants it to look again)."""


@dataclass(frozen=True, slots=True)
class Resized:
    """How far a resize came. ``applied``: ids of containers that have theirs; ``error``: why not all is done."""

    applied: frozenset[str] = frozenset()
    error: str = ""


#: What the operations give: see each in ``actions``.
Result: TypeAlias = PodState | runtime.Sandbox | runtime.Container | Verdict | Resized | bool | None


@dataclass(frozen=True, slots=True)
class Done:
    """An operation succeeded. ``messages``: what containers that ended have left, by id. ``held``: what the kernel
    holds those that run to, by id, and the pod itself under ""."""

    operation: Operation
    result: Result = None
    messages: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, Held] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """An operation failed. ``reason`` is the container's waiting reason, where it is about a container."""

    operation: Operation
    reason: str = ""
    message: str = ""
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """An operation was cancelled, and has ended."""

    operation: Operation


Event: TypeAlias = (
    PodChanged | ObjectGone | Evicted | RuntimeEnded | OutOfMemory | ViewDoubted | ObjectsChanged | RoomMade | Probed
    | StatusSent | TimePassed | Done | Failed | Cancelled
)  # fmt: skip
