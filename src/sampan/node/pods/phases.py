"""The phases of a pod's life on its node, and the table of the ways from one to the next: data, which is printed too.

``machine`` follows the table: the first row of the present phase whose condition holds. ``docs/pod-life-cycle.md`` is
what ``python -m sampan.node.pods.phases`` prints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from sampan.node.pods import events, operations, spec
from sampan.node.pods.operations import Operation, Tell
from sampan.node.pods.record import NONE, Phase, PodRecord
from sampan.records import dataclass

DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"

Condition = Callable[[PodRecord, datetime], bool]
Effect = Callable[[PodRecord], list[Tell]]


@dataclass(frozen=True, slots=True)
class Transition:
    source: Phase
    target: Phase
    when: str
    holds: Condition
    then: str = ""
    effect: Effect = lambda record: []


def _past_deadline(record: PodRecord, now: datetime) -> bool:
    return record.deadline is not None and now >= record.deadline


def _fail_by_deadline(record: PodRecord) -> list[Tell]:
    record.failure = ("DeadlineExceeded", DEADLINE_MESSAGE)
    return [Tell("Normal", "DeadlineExceeded", DEADLINE_MESSAGE)]


def _has_ended_before(record: PodRecord, now: datetime) -> bool:
    return spec.is_terminal((record.pod.get("status") or {}).get("phase", ""))


def _is_over(record: PodRecord, now: datetime) -> bool:
    """Ended in the world: no container, no sandbox, no volume, no cgroup is left, and the API server knows."""
    return (
        record.terminal
        and record.stopped_sandboxes.issuperset(record.state.sandboxes)
        and record.unmounted
        and record.cgroup_removed
        and record.is_status_sent
    )


def _forget_stops(record: PodRecord) -> list[Tell]:
    record.stopped_sandboxes = NONE
    record.ending_since = None
    return []


def _is_forgotten(record: PodRecord, now: datetime) -> bool:
    return record.object_gone and not record.state.sandboxes and record.logs_removed


#: In order: the first row of the present phase that holds is taken.
TRANSITIONS: tuple[Transition, ...] = (
    Transition("adopting", "live", "the runtime has been asked what it has of the pod", lambda r, now: r.viewed),
    Transition("live", "ending", "the API object is gone", lambda r, now: r.object_gone),
    Transition("live", "ending", "the pod is being deleted", lambda r, now: r.is_deleted),
    Transition("live", "ending", "the node refused or evicted it", lambda r, now: r.failure is not None,
               "phase Failed with that reason"),
    Transition("live", "ending", "the API says that it has ended (before this agent began)", _has_ended_before),
    Transition("live", "ending", "`activeDeadlineSeconds` are over", _past_deadline,
               "phase Failed, reason DeadlineExceeded, and the Event", _fail_by_deadline),
    Transition("live", "ending", "nothing of it will ever run again (restart policies, exit codes)",
               lambda r, now: r.finished, "phase Succeeded or Failed"),
    Transition("ending", "lingering",
               "no container runs, network, volumes and cgroup are gone, and the API server has the last status",
               _is_over),
    Transition("lingering", "ending", "a container of it turns out to run (its start was cancelled too late)",
               lambda r, now: bool(r.state.running()), "it is stopped like the others", _forget_stops),
    Transition("lingering", "gone", "the API object is gone, and so are sandboxes, containers and logs", _is_forgotten),
)  # fmt: skip

#: What a phase may ask for; what is under way and not allowed in the next phase is cancelled.
ALLOWED: Mapping[Phase, tuple[type[Operation], ...]] = {
    "adopting": (operations.Observe,),
    "live": (
        operations.Observe, operations.Look, operations.MountVolumes, operations.RunSandbox, operations.PullImage,
        operations.StartContainer, operations.RunHook, operations.WeighResize, operations.ResizePod,
        operations.StopContainer, operations.RemoveContainer, operations.StopSandbox, operations.RemoveSandbox,
    ),
    "ending": (
        operations.Observe, operations.Look, operations.RunHook, operations.StopContainer, operations.StopSandbox,
        operations.UnmountVolumes, operations.RemoveCgroup,
    ),
    "lingering": (
        operations.Observe, operations.Look, operations.DeleteObject, operations.RemoveSandbox, operations.RemoveLogs,
    ),
    "gone": (),
}  # fmt: skip


def is_allowed(phase: Phase, operation: Operation) -> bool:
    if isinstance(operation, operations.RunHook) and operation.hook == "postStart" and phase != "live":
        return False
    return type(operation) in ALLOWED[phase]


PHASES: Mapping[Phase, str] = {
    "adopting": "Nothing is known of the runtime's side yet, so nothing is done but to ask.",
    "live": "Containers are started, watched, restarted, resized and replaced as the specification says.",
    "ending": "Nothing is started any more. Containers end, sidecars last; then the network, volumes and cgroup.",
    "lingering": "The pod has ended; its containers stay readable (logs, exit codes) until it is deleted.",
    "gone": "Nothing of it is left on the node.",
}

EVENTS: Mapping[type[object], str] = {
    events.PodChanged: "the API object changed: deleted, resized, a new image or ephemeral container, a shorter grace",
    events.ObjectGone: "the API object was removed (by us, or by force)",
    events.Evicted: "the node refuses the pod, or needs what it uses",
    events.RuntimeEnded: "a container or sandbox ended",
    events.OutOfMemory: "the kernel killed something in a container",
    events.ViewDoubted: "events of the runtime may have been lost",
    events.RoomMade: "the node may have room for a resize that waits",
    events.ObjectsChanged: "a ConfigMap or Secret of the pod changed",
    events.Probed: "a probe has another result than before",
    events.StatusSent: "the API server has the newest status",
    events.TimePassed: "a moment that the machine waited for has come",
    events.Done: "an operation succeeded",
    events.Failed: "an operation failed; it is asked for again after a back-off of its own",
    events.Cancelled: "an operation was cancelled, and has ended",
}


def render() -> str:
    """The tables as Markdown."""
    lines = ["### Phases", "", "| phase | what happens in it | operations |", "|---|---|---|"]
    for phase, words in PHASES.items():
        allowed = ", ".join(f"`{kind.__name__}`" for kind in ALLOWED[phase]) or "none"
        lines.append(f"| {phase} | {words} | {allowed} |")
    lines += ["", "### Transitions", "", "| from | when | to | with |", "|---|---|---|---|"]
    lines += [f"| {row.source} | {row.when} | {row.target} | {row.then} |" for row in TRANSITIONS]
    lines += ["", "### Events", "", "| event | says |", "|---|---|"]
    lines += [f"| `{kind.__name__}` | {words} |" for kind, words in EVENTS.items()]
    lines += ["", "### Operations", "", "| operation | does |", "|---|---|"]
    kinds = dict.fromkeys(kind for allowed in ALLOWED.values() for kind in allowed)
    lines += [f"| `{kind.__name__}` | {' '.join((kind.__doc__ or '').split())} |" for kind in kinds]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(render())
