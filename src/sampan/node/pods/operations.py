"""What the pod machine asks for: operations, which are answered by an event, and two things that are done at once.

Values only. ``machine`` makes them, ``worker`` carries them out (``actions`` knows how). Every operation is idempotent
or starts something that the next observation shows: after a crash the next agent begins with what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from sampan.api.types import Obj
from sampan.node.pods.spec import Sort
from sampan.records import dataclass

#: Operation's name and subject: of one key only one is under way.
Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Operation:
    """``subject``: the container's name, or the runtime's id of what it is about; "" for the pod."""

    subject: str = ""

    @property
    def key(self) -> Key:
        return type(self).__name__, self.subject


# Looking.


@dataclass(frozen=True, slots=True)
class Observe(Operation):
    """Read all that the runtime has of the pod. ``since``: the count of changes that the machine knew then."""

    since: int = 0


@dataclass(frozen=True, slots=True)
class Look(Operation):
    """Read one sandbox or container again, by id."""


# Starting.


@dataclass(frozen=True, slots=True)
class MountVolumes(Operation):
    """Make the pod's volumes present and keep them current."""


@dataclass(frozen=True, slots=True)
class RunSandbox(Operation):
    """Make the pod's cgroup and its sandbox."""

    attempt: int = 0


@dataclass(frozen=True, slots=True)
class PullImage(Operation):
    """Make the image of a container (by name) present."""


@dataclass(frozen=True, slots=True)
class StartContainer(Operation):
    """Create and start a container (by name)."""

    sort: Sort = "main"
    attempt: int = 0
    #: What the node has promised it.
    resources: Obj = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunHook(Operation):
    """Run a lifecycle handler of a running container (by id)."""

    name: str = ""
    hook: Literal["postStart", "preStop"] = "postStart"
    timeout_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class WeighResize(Operation):
    """Ask the node to promise the pod what it wants to have now."""

    wish: Mapping[str, Obj] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResizePod(Operation):
    """Give the pod's cgroup and its running containers what the node has promised."""

    allocated: Mapping[str, Obj] = field(default_factory=dict)
    #: Names of running containers, by id, that get theirs in place.
    containers: Mapping[str, str] = field(default_factory=dict)


# Stopping and clearing up.


@dataclass(frozen=True, slots=True)
class StopContainer(Operation):
    """Signal a container (by id), and kill it after the grace."""

    name: str = ""
    grace_seconds: int = 0


@dataclass(frozen=True, slots=True)
class RemoveContainer(Operation):
    """Forget a container that has ended, by id."""


@dataclass(frozen=True, slots=True)
class StopSandbox(Operation):
    """End a sandbox and its network, by id."""


@dataclass(frozen=True, slots=True)
class RemoveSandbox(Operation):
    """Forget a sandbox and its containers, by id."""


@dataclass(frozen=True, slots=True)
class UnmountVolumes(Operation):
    """Take the pod's volumes and its directory off the node."""


@dataclass(frozen=True, slots=True)
class RemoveCgroup(Operation):
    """Remove the pod's cgroup."""


@dataclass(frozen=True, slots=True)
class DeleteObject(Operation):
    """Tell the API server that the pod has ended and may go."""


@dataclass(frozen=True, slots=True)
class RemoveLogs(Operation):
    """Remove the pod's log directory."""


# Done at once, never answered.


@dataclass(frozen=True, slots=True)
class Cancel:
    """End an operation that is under way; its ``Cancelled`` (or its result, if that was quicker) follows."""

    key: Key


@dataclass(frozen=True, slots=True)
class Tell:
    """An Event on the pod, or on one of its containers."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str
    container: str = ""


Instruction: TypeAlias = Operation | Cancel | Tell
