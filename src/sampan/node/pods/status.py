"""A pod's ``status`` from its spec, the runtime's state and the probes. Pure; the worker sends the result.

Phases, conditions, reasons and messages are the kubelet's (``kubelet_pods.go``, ``status/generate.go``). Conditions
the agent does not own (readiness gates, the scheduler's) are kept as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime

from sampan.api.clock import format_time
from sampan.api.pods.qos import qos_class
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.pods import spec
from sampan.node.pods.state import PodState, restart_count
from sampan.records import dataclass

#: Ours, and only there while they are true.
_RESIZE_CONDITIONS = ("PodResizePending", "PodResizeInProgress")
#: The exit code of a container whose own nobody knows: killed.
_LOST_EXIT_CODE = 137


@dataclass(frozen=True, slots=True)
class Waiting:
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What status needs besides pod and state."""

    now: datetime
    host_ips: tuple[str, ...]
    runtime_name: str = "containerd"
    start_time: datetime | None = None
    #: Why a container does not run, by name (ErrImagePull, CrashLoopBackOff ...).
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    #: Container ids that pass readiness, and those that passed startup.
    ready: frozenset[str] = frozenset()
    started: frozenset[str] = frozenset()
    #: Messages that containers left when they ended, by container id.
    termination_messages: Mapping[str, str] = field(default_factory=dict)
    #: The pod will never run anything again (deleted, evicted, deadline): everything that ended has ended for good.
    terminal: bool = False
    #: Overrides phase, reason and message (Evicted, DeadlineExceeded, admission failures).
    failure: tuple[str, str] | None = None
    #: The node ended the pod, for that failure.
    disrupted: bool = False
    out_of_memory: frozenset[str] = frozenset()
    #: Resources by container id (what is in force) and by name (what the node has promised).
    resources: Mapping[str, Obj] = field(default_factory=dict)
    allocated: Mapping[str, Obj] = field(default_factory=dict)
    #: ``resources`` and ``allocatedResources`` of the pod itself, where it asks for some.
    whole: tuple[Obj, Obj] | None = None
    #: All containers are ending because one asked for that; those (by id) that ended so and begin anew.
    restarting_all: bool = False
    reset: frozenset[str] = frozenset()
    #: Conditions of a resize that waits or is under way.
    resize: Sequence[Obj] = ()


def render_status(pod: Obj, state: PodState, facts: Facts) -> Obj:
    """The complete status; what other components wrote into the present one is carried over."""
    previous: Obj = pod.get("status") or {}
    sandbox = state.latest_sandbox
    groups: dict[spec.Sort, list[Obj]] = {
        sort: [_container_status(pod, sort, container, state, facts) for container in spec.containers(pod, sort)]
        for sort in spec.FIELDS
    }
    had_ended = spec.is_terminal(previous.get("phase", ""))
    phase = "Failed" if facts.failure else _phase(pod, groups, facts)
    if had_ended or (facts.reset and (phase, previous.get("phase")) == ("Pending", "Running")):
        phase = previous["phase"]  # a pod that begins anew as a whole goes on running
    generation = pod["metadata"].get("generation")
    conditions = _conditions(pod, groups, phase, state, facts)
    #: What has ended for good is told only when none of its containers runs any more.
    early = spec.is_terminal(phase) and not had_ended and bool(state.running())
    if facts.disrupted and facts.failure and not early:
        conditions.append(_condition("DisruptionTarget", True, "TerminationByKubelet", facts.failure[1]))
    status: Obj = {"phase": (previous.get("phase") or "Pending") if early else phase}
    if generation is not None:
        status["observedGeneration"] = generation
    status["conditions"] = _merge_conditions(previous.get("conditions") or (), conditions, facts.now, generation)
    if facts.failure and not early:
        status["reason"], status["message"] = facts.failure
    elif previous.get("reason") and had_ended:
        status["reason"], status["message"] = previous["reason"], previous.get("message", "")
    _addresses(pod, sandbox, previous, phase, facts, status)
    start = previous.get("startTime") or (format_time(facts.start_time) if facts.start_time else None)
    if start:
        status["startTime"] = start
    for sort, name in _STATUS_FIELDS.items():
        if groups[sort]:
            status[name] = groups[sort]
    if facts.whole is not None and not spec.is_terminal(phase):
        status["resources"], status["allocatedResources"] = facts.whole
    status["qosClass"] = previous.get("qosClass") or qos_class(pod)
    return status


_STATUS_FIELDS: dict[spec.Sort, str] = {
    "init": "initContainerStatuses",
    "main": "containerStatuses",
    "ephemeral": "ephemeralContainerStatuses",
}


def _addresses(pod: Obj, sandbox: runtime.Sandbox | None, previous: Obj, phase: str, facts: Facts, status: Obj) -> None:
    status["hostIP"] = facts.host_ips[0]
    status["hostIPs"] = [{"ip": address} for address in facts.host_ips]
    ips: Sequence[str] = ()
    if spec.is_host_network(pod):
        ips = facts.host_ips if sandbox is not None else ()
    elif sandbox is not None:
        ips = sandbox.ips
    if not ips:
        # A pod that has ended keeps its last address, as upstream.
        ips = [item["ip"] for item in previous.get("podIPs") or ()]
    if ips:
        status["podIP"] = ips[0]
        status["podIPs"] = [{"ip": address} for address in ips]


def _container_status(pod: Obj, sort: spec.Sort, container: Obj, state: PodState, facts: Facts) -> Obj:
    name = container["name"]
    history = state.history(name)
    status: Obj = {
        "name": name,
        "state": {},
        "lastState": {},
        "ready": False,
        "restartCount": 0,
        "image": container.get("image", ""),
        "imageID": "",
        "started": False,
    }
    waiting = facts.waiting.get(name)
    if not history:
        return _missing_status(pod, sort, status, state, facts)
    last = history[0]
    status["restartCount"] = restart_count(last)
    status["image"] = last.image or status["image"]
    status["imageID"] = last.image_ref
    status["containerID"] = f"{facts.runtime_name}://{last.id}"
    ended = [item for item in history if item.state == "exited"]
    if last.state == "running":
        status["state"] = {"running": {"startedAt": format_time(last.started_at or last.created_at)}}
        status["started"] = last.id in facts.started
        status["ready"] = last.id in facts.ready
        if sort != "ephemeral":
            # There even when empty: by that the API server knows that this node can resize.
            status["resources"] = facts.resources.get(last.id, container.get("resources")) or {}
        if requests := (facts.allocated.get(name) or container.get("resources") or {}).get("requests"):
            status["allocatedResources"] = requests
    elif last.state == "exited" and ((waiting is None and last.id not in facts.reset) or facts.terminal):
        status["state"] = {"terminated": _terminated(last, facts)}
        status["ready"] = sort == "init" and last.exit_code == 0 and not spec.is_sidecar(sort, container)
        ended = ended[1:]
    elif facts.terminal:
        status["state"] = {"terminated": _lost("terminated")}
    else:
        status["state"] = {"waiting": _waiting(waiting or Waiting(_default_reason(pod)))}
    if ended:
        status["lastState"] = {"terminated": _terminated(ended[0], facts)}
    return status


def _missing_status(pod: Obj, sort: spec.Sort, status: Obj, state: PodState, facts: Facts) -> Obj:
    """Of a container that the runtime does not have: it was never made, or was lost with the runtime's memory."""
    waiting = facts.waiting.get(status["name"])
    before = _told(pod, sort, status["name"])
    then = before.get("state") or {}
    if "terminated" in then and waiting is None:
        return dict(before)
    status["restartCount"] = before.get("restartCount", 0)
    if before.get("lastState"):
        status["lastState"] = before["lastState"]
    if "running" in then:
        # Ours is the word that it ran: it is gone, and will be made again under the next number.
        status["lastState"] = {"terminated": _lost("deleted.  The container used to be Running")}
        status["restartCount"] += not pod["metadata"].get("deletionTimestamp")
    if facts.terminal and (before or _has_begun(pod)) and _may_have_run(pod, sort, status["name"], state):
        status["state"] = {"terminated": _lost("terminated")}
    else:
        status["state"] = {"waiting": _waiting(waiting or Waiting(_default_reason(pod)))}
    return status


def _told(pod: Obj, sort: spec.Sort, name: str) -> Obj:
    """A container's status as the API has it."""
    listed = (pod.get("status") or {}).get(_STATUS_FIELDS[sort]) or ()
    return next((item for item in listed if item.get("name") == name), {})


def _may_have_run(pod: Obj, sort: spec.Sort, name: str, state: PodState) -> bool:
    """Whether the containers before one had their turn: upstream's ``hasPodInitialized``, ``initializedContainers``."""

    def ran(kind: spec.Sort, container: Obj) -> bool:
        told = _told(pod, kind, container["name"])
        return bool(state.history(container["name"])) or "waiting" not in (told.get("state") or {"waiting": {}})

    init = spec.containers(pod, "init")
    if sort == "init":
        at = next(number for number, container in enumerate(init) if container["name"] == name)
        return at == 0 or any(ran("init", container) for container in init[at:])
    if sort == "ephemeral" or not init or _has_begun(pod):
        return True
    last = state.history(init[-1]["name"])
    if last and last[0].state == "exited" and last[0].exit_code == 0:
        return True
    return any(ran("main", container) for container in spec.containers(pod, "main"))


def _has_begun(pod: Obj) -> bool:
    return any(
        item["type"] == "Initialized" and item["status"] == "True"
        for item in (pod.get("status") or {}).get("conditions") or ()
    )


def _lost(when: str) -> Obj:
    message = f"The container could not be located when the pod was {when}"
    return {"exitCode": _LOST_EXIT_CODE, "reason": "ContainerStatusUnknown", "message": message}


def _default_reason(pod: Obj) -> str:
    """ContainerCreating, or PodInitializing while there are init containers."""
    return "PodInitializing" if spec.containers(pod, "init") else "ContainerCreating"


def _waiting(waiting: Waiting) -> Obj:
    return {"reason": waiting.reason, **({"message": waiting.message} if waiting.message else {})}


def _terminated(container: runtime.Container, facts: Facts) -> Obj:
    reason = container.reason or ("Completed" if container.exit_code == 0 else "Error")
    if container.id in facts.out_of_memory and container.exit_code != 0:
        reason = "OOMKilled"
    terminated: Obj = {
        "exitCode": container.exit_code,
        "reason": reason,
        "containerID": f"{facts.runtime_name}://{container.id}",
    }
    if container.started_at:
        terminated["startedAt"] = format_time(container.started_at)
    if container.finished_at:
        terminated["finishedAt"] = format_time(container.finished_at)
    message = facts.termination_messages.get(container.id) or container.message
    if message:
        terminated["message"] = message
    return terminated


@dataclass(slots=True)
class _Tally:
    """How many containers are in which state, as upstream's ``getPhase`` counts them."""

    pending_init: int = 0
    pending_sidecars: int = 0
    failed_init: int = 0
    waiting: int = 0
    running: int = 0
    codes: list[tuple[Obj, int]] = field(default_factory=list)


def _tally(pod: Obj, groups: Mapping[spec.Sort, list[Obj]]) -> _Tally:
    tally = _Tally()
    for container, status in zip(spec.containers(pod, "init"), groups["init"], strict=True):
        state, before = status["state"], (status["lastState"] or {}).get("terminated")
        if spec.is_sidecar("init", container):
            tally.running += "running" in state
            tally.waiting += "waiting" in state and before is None
            tally.pending_sidecars += ("running" in state and not status["started"]) or (
                "waiting" in state and before is None
            )
        elif (ended := state.get("terminated") or (before if "waiting" in state else None)) is not None:
            tally.failed_init += ended["exitCode"] != 0
        else:
            tally.pending_init += 1
    for container, status in zip(spec.containers(pod, "main"), groups["main"], strict=True):
        state, before = status["state"], (status["lastState"] or {}).get("terminated")
        if "running" in state:
            tally.running += 1
        elif (ended := state.get("terminated") or (before if "waiting" in state else None)) is not None:
            tally.codes.append((container, int(ended["exitCode"])))
        else:
            tally.waiting += 1
    return tally


def _phase(pod: Obj, groups: Mapping[spec.Sort, list[Obj]], facts: Facts) -> str:
    policy, tally = spec.restart_policy(pod), _tally(pod, groups)
    if tally.failed_init and policy == "Never":
        return "Failed"
    succeeded = all(code == 0 for _, code in tally.codes)
    if facts.terminal:
        complete = bool(tally.codes) and not tally.waiting and not tally.failed_init and not tally.pending_init
        return "Succeeded" if complete and succeeded else "Failed"
    begun = bool(tally.codes) or any("running" in status["state"] for status in groups["main"])
    if tally.pending_init or (tally.pending_sidecars and not begun) or tally.waiting:
        return "Pending"
    if tally.running:
        return "Running"
    if any(spec.should_restart(pod, "main", container, code) for container, code in tally.codes):
        return "Running"
    return "Succeeded" if succeeded else "Failed"


def _condition(kind: str, status: bool, reason: str = "", message: str = "") -> Obj:
    condition: Obj = {"type": kind, "status": "True" if status else "False"}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _conditions(
    pod: Obj, groups: Mapping[spec.Sort, list[Obj]], phase: str, state: PodState, facts: Facts
) -> list[Obj]:
    containers_ready = _containers_ready(pod, groups, phase)
    sandbox = state.ready_sandbox
    sandbox_ready = sandbox is not None and (bool(sandbox.ips) or spec.is_host_network(pod))
    return [
        _condition("PodReadyToStartContainers", sandbox_ready and not facts.failure),
        _initialized(pod, groups["init"], groups["main"], phase),
        _ready(pod, containers_ready),
        containers_ready,
        _condition("PodScheduled", True),
        *facts.resize,
        *(_restarting_all(phase, facts) if spec.may_restart_all(pod) else ()),
    ]


def _restarting_all(phase: str, facts: Facts) -> list[Obj]:
    kind = "AllContainersRestarting"
    if spec.is_terminal(phase):
        return [_condition(kind, False, "PodCompleted" if phase == "Succeeded" else "PodFailed")]
    if not facts.restarting_all:
        return [_condition(kind, False)]
    return [_condition(kind, True, "RestartAllContainersStarted", "container exited with restart policy rule")]


def _initialized(pod: Obj, statuses: Sequence[Obj], main: Sequence[Obj], phase: str) -> Obj:
    if phase == "Succeeded":
        return _condition("Initialized", True, "PodCompleted" if statuses else "")
    if any("running" in status["state"] or status["lastState"] for status in main):
        return _condition("Initialized", True)
    incomplete = []
    for container, status in zip(spec.containers(pod, "init"), statuses, strict=True):
        sidecar = spec.is_sidecar("init", container)
        done = status["started"] if sidecar else (status["state"].get("terminated") or {}).get("exitCode") == 0
        if not done:
            incomplete.append(status["name"])
    if incomplete:
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        return _condition("Initialized", False, "ContainersNotInitialized", message)
    return _condition("Initialized", True)


def _containers_ready(pod: Obj, groups: Mapping[spec.Sort, list[Obj]], phase: str) -> Obj:
    if phase == "Succeeded":
        return _condition("ContainersReady", False, "PodCompleted")
    if phase == "Failed":
        return _condition("ContainersReady", False, "PodFailed")
    sidecars = [
        status
        for container, status in zip(spec.containers(pod, "init"), groups["init"], strict=True)
        if spec.is_sidecar("init", container)
    ]
    unready = [status["name"] for status in [*sidecars, *groups["main"]] if not status["ready"]]
    if unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        return _condition("ContainersReady", False, "ContainersNotReady", message)
    return _condition("ContainersReady", True)


def _ready(pod: Obj, containers_ready: Obj) -> Obj:
    if containers_ready["status"] == "False":
        return {**containers_ready, "type": "Ready"}
    present = {item["type"]: item["status"] for item in (pod.get("status") or {}).get("conditions") or ()}
    messages = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        if kind not in present:
            messages.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif present[kind] != "True":
            messages.append(f'the status of pod readiness gate "{kind}" is not "True", but {present[kind]}')
    if messages:
        return _condition("Ready", False, "ReadinessGatesNotReady", ", ".join(messages))
    return _condition("Ready", True)


def _merge_conditions(previous: Sequence[Obj], own: Sequence[Obj], now: datetime, generation: int | None) -> list[Obj]:
    known = {item["type"]: item for item in previous}
    wanted = {item["type"] for item in own}
    merged = []
    for condition in own:
        before = known.pop(condition["type"], None)
        same = before is not None and before.get("status") == condition["status"]
        moment = before.get("lastTransitionTime") if same and before is not None else None
        entry = {**condition, "lastTransitionTime": moment or format_time(now)}
        if generation is not None:
            entry["observedGeneration"] = generation
        merged.append(entry)
    return [*merged, *(item for name, item in known.items() if name in wanted or name not in _RESIZE_CONDITIONS)]


def plan_status_patch(previous: Obj, status: Obj) -> Obj:
    """The strategic merge patch from one status to another; empty when nothing changed.

    ``podIPs`` and ``hostIPs`` are merged by ip upstream, so addresses that went away are deleted by name.
    """
    patch: Obj = {}
    for key in (*_OWNED, *_STATUS_FIELDS.values()):
        new, old = status.get(key), previous.get(key)
        if key == "conditions":  # the API writes null where no probe time was given
            new, old = _without_nulls(new), _without_nulls(old)
        if new == old:
            continue
        if key in ("podIPs", "hostIPs"):
            gone = [item for item in old or () if item not in (new or ())]
            patch[key] = [*(new or ()), *({"$patch": "delete", "ip": item["ip"]} for item in gone)]
        elif key == "conditions":
            before = {item["type"]: item for item in old or ()}
            # Merged by type and field: what a condition no longer says (its reason) is removed by name.
            now = {item["type"] for item in new or ()}
            patch[key] = [
                {**dict.fromkeys(before.get(item["type"], {}).keys() - item.keys()), **item}
                for item in new or ()
                if before.get(item["type"]) != item
            ] + [{"$patch": "delete", "type": name} for name in before if name not in now]
        else:
            patch[key] = new
    return patch


def _without_nulls(conditions: Sequence[Obj] | None) -> list[Obj]:
    return [
        {key: value for key, value in item.items() if value is not None} if None in item.values() else item
        for item in conditions or ()
    ]


_OWNED = (
    "observedGeneration", "phase", "reason", "message", "conditions", "hostIP", "hostIPs", "podIP", "podIPs",
    "startTime", "qosClass", "resources", "allocatedResources",
)  # fmt: skip
