"""How each event changes what the pod machine knows. Facts only: what follows from them is ``phases``' and the plans'.

``absorb`` gives the Events (``Tell``) that a result is worth. Pure but for the record, which it changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sampan.api import durations
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.pods import events, operations, resizing, spec
from sampan.node.pods.operations import Tell
from sampan.node.pods.record import PodRecord, Retry, Stop, hook_of, without
from sampan.node.pods.state import PodState
from sampan.node.pods.status import Waiting

RETRY_FIRST_SECONDS = 0.5
RETRY_MAX_SECONDS = 60.0
#: How long until a failed start is tried again, as the kubelet's pod workers do.
START_RETRY_SECONDS = 10.0

#: How the status of a pod that was refused at admission begins to say why.
REJECTED = "Pod was rejected: "

_RANK = {"created": 0, "running": 1, "unknown": 1, "exited": 2}


def absorb(record: PodRecord, event: events.Event, now: datetime) -> list[Tell]:
    return _EVENTS[type(event)](record, event, now)


# The pod and its surroundings.


def _pod_changed(record: PodRecord, event: events.PodChanged, now: datetime) -> list[Tell]:
    if _shown_to_containers(event.pod) != _shown_to_containers(record.pod):
        _try_configurations_at_once(record)
    record.pod = event.pod
    record.serial += 1
    return []


def _object_gone(record: PodRecord, event: events.ObjectGone, now: datetime) -> list[Tell]:
    record.pod = event.pod
    record.object_gone = True
    return []


def _evicted(record: PodRecord, event: events.Evicted, now: datetime) -> list[Tell]:
    if record.failure is not None:
        return []
    record.failure = event.reason, event.message
    record.grace_limit, record.disrupted = event.grace_seconds, event.disruption
    record.serial += 1
    return [Tell("Warning", event.reason, event.message.removeprefix(REJECTED))]


def _objects_changed(record: PodRecord, event: events.ObjectsChanged, now: datetime) -> list[Tell]:
    """What failed for want of a ConfigMap or Secret is tried at once."""
    _try_configurations_at_once(record)
    record.retries.pop(operations.MountVolumes().key, None)
    return []


def _shown_to_containers(pod: Obj) -> tuple[Any, ...]:
    """What of a pod, other than its spec, containers are given: a variable may be one of its annotations."""
    meta = pod["metadata"]
    return meta.get("labels"), meta.get("annotations"), meta.get("generation")


def _try_configurations_at_once(record: PodRecord) -> None:
    for name in [name for name, why in record.waiting.items() if why.reason == "CreateContainerConfigError"]:
        record.not_before.pop(name, None)


def _runtime_ended(record: PodRecord, event: events.RuntimeEnded, now: datetime) -> list[Tell]:
    """A container often ends because its sandbox did: both are read again before anything is started."""
    latest = record.state.ready_sandbox
    record.to_look |= {event.runtime_id} | ({latest.id} if latest is not None else set())
    return []


def _out_of_memory(record: PodRecord, event: events.OutOfMemory, now: datetime) -> list[Tell]:
    record.out_of_memory |= {event.container_id}
    record.serial += 1
    return []


def _view_doubted(record: PodRecord, event: events.ViewDoubted, now: datetime) -> list[Tell]:
    record.doubted = True
    return []


def _probed(record: PodRecord, event: events.Probed, now: datetime) -> list[Tell]:
    if record.probes != event:
        record.probes = event
        record.serial += 1
    return []


def _status_sent(record: PodRecord, event: events.StatusSent, now: datetime) -> list[Tell]:
    record.sent_serial = max(record.sent_serial, event.serial)
    return []


def _time_passed(record: PodRecord, event: events.TimePassed, now: datetime) -> list[Tell]:
    return []


# Results.


def _done(record: PodRecord, event: events.Done, now: datetime) -> list[Tell]:
    operation = event.operation
    if not _ended(record, operation):
        return []
    record.retries.pop(operation.key, None)
    record.messages.update(event.messages)
    record.kernel.update(event.held)
    record.serial += 1
    handler = _DONE.get(type(operation))
    return handler(record, operation, event.result, now) or [] if handler is not None else []


def _failed(record: PodRecord, event: events.Failed, now: datetime) -> list[Tell]:
    operation = event.operation
    if not _ended(record, operation):
        return []
    record.serial += 1
    handler = _FAILED.get(type(operation))
    return handler(record, operation, event, now) or [] if handler is not None else _retry(record, event, now)


def _cancelled(record: PodRecord, event: events.Cancelled, now: datetime) -> list[Tell]:
    operation = event.operation
    if not _ended(record, operation):
        return []
    if isinstance(operation, operations.RunSandbox | operations.StartContainer):
        record.doubted = True  # it may have been done all the same
        record.changes += 1
    if isinstance(operation, operations.RunHook):
        _hook_ended(record, operation)
    return []


def _ended(record: PodRecord, operation: operations.Operation) -> bool:
    """False for an answer that nobody waits for."""
    record.cancelling = without(record.cancelling, operation.key)
    ended = record.under_way.pop(operation.key, None)
    if not record.under_way:
        record.under_way = {}  # one that was emptied keeps the room that it had
    return ended is not None


def _look_failed(record: PodRecord, operation: Any, event: events.Failed, now: datetime) -> None:
    record.to_look |= {operation.subject}
    _retry(record, event, now)


def _retry(record: PodRecord, event: events.Failed, now: datetime) -> list[Tell]:
    failures = record.retries[event.operation.key].failures + 1 if event.operation.key in record.retries else 1
    delay = event.retry_after_seconds
    if delay is None:
        delay = min(RETRY_FIRST_SECONDS * 2 ** min(failures - 1, 16), RETRY_MAX_SECONDS)
    record.retries[event.operation.key] = Retry(failures, now + timedelta(seconds=delay))
    return []


def _observed(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    if operation.since != record.changes:
        return  # older than what is known: it is read again
    newer: PodState = result
    for known in record.state.containers.values():
        if (seen := newer.containers.get(known.id)) is not None and _RANK[seen.state] < _RANK[known.state]:
            newer.containers[known.id] = known
    record.state, record.viewed, record.doubted = newer, True, False
    for container_id in [*record.stops, *record.held]:
        _settle(record, container_id)
    for container in newer.running():
        record.waiting.pop(container.name, None)


def _looked(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    put(record, operation.subject, result)


def put(record: PodRecord, runtime_id: str, found: runtime.Sandbox | runtime.Container | None) -> None:
    """One thing of the runtime as it is now; None: it is gone."""
    record.changes += 1
    if found is None:
        record.state.containers.pop(runtime_id, None)
        record.state.sandboxes.pop(runtime_id, None)
    elif isinstance(found, runtime.Sandbox):
        known = record.state.sandboxes.get(found.id)
        if known is None or known.ready or not found.ready:
            record.state.sandboxes[found.id] = found
    else:
        known_container = record.state.containers.get(found.id)
        if known_container is None or _RANK[found.state] >= _RANK[known_container.state]:
            record.state.put(found)
    _settle(record, runtime_id)


def _settle(record: PodRecord, container_id: str) -> None:
    """What was begun for a container that has ended is over."""
    container = record.state.containers.get(container_id)
    if container is None or container.state == "exited":
        stop = record.stops.pop(container_id, None)
        record.held = without(record.held, container_id)
        if stop is not None and stop.replace:
            record.replace |= {stop.name}


def _mounted(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    record.mounted = True
    record.waiting.clear()  # nothing was started yet: they waited for a volume's image


def _sandbox_runs(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    put(record, result.id, result)
    record.not_before.clear()


def _pulled(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    record.pulled |= {operation.subject}


def _started(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    name = operation.subject
    for known in (record.not_before, record.waiting):
        known.pop(name, None)
    record.replace = without(record.replace, name)
    found = spec.find_container(record.pod, name)
    record.applied[result.id] = operation.resources
    if result.state == "running" and found is not None and hook_of(found[1], "postStart"):
        record.held |= {result.id}
    put(record, result.id, result)


def _hook_done(record: PodRecord, operation: Any, result: Any, now: datetime) -> list[Tell]:
    _hook_ended(record, operation)
    if result:
        return []
    return _hook_failed(record, operation, "", now)


def _hook_ended(record: PodRecord, operation: Any) -> None:
    if operation.hook == "postStart":
        record.held = without(record.held, operation.subject)
    elif (stop := record.stops.get(operation.subject)) is not None:
        stop.hook = "done"


def _hook_failed(record: PodRecord, operation: Any, message: str, now: datetime) -> list[Tell]:
    """The hook's output stays out of Events: it may hold secrets."""
    name, container_id = operation.name, operation.subject
    if operation.hook == "preStop":
        return [Tell("Warning", "FailedPreStopHook", "PreStopHook failed", name)]
    told = [Tell("Warning", "FailedPostStartHook", "PostStartHook failed", name)]
    container = record.state.containers.get(container_id)
    if container is not None and container.state == "running" and container_id not in record.stops:
        record.waiting[name] = Waiting("PostStartHookError", "PostStartHook failed")
        record.stops[container_id] = new_stop(record, container_id, name, record.grace_seconds(), now)
        told.append(Tell("Normal", "Killing", "FailedPostStartHook", name))
    return told


def new_stop(record: PodRecord, container_id: str, name: str, grace_seconds: float, now: datetime) -> Stop:
    found = spec.find_container(record.pod, name)
    has_hook = found is not None and hook_of(found[1], "preStop") is not None and grace_seconds > 0
    deadline = now + durations.span(grace_seconds)
    return Stop(container_id, name, deadline, "due" if has_hook else "done")


def _weighed(record: PodRecord, operation: Any, result: Any, now: datetime) -> list[Tell]:
    before, record.verdict = record.verdict, result
    record.weighed = operation.wish
    if result is not None:
        record.weigh_at = resizing.look_again(now)
        return [] if result == before else [resizing.pending(record.pod, result)]
    record.allocated, record.weigh_at = operation.wish, None
    record.resizing, record.resize_error = True, ""
    record.retries.pop(operations.ResizePod().key, None)
    return [resizing.started(record.pod, record.allocated)]


def _resized(record: PodRecord, operation: Any, result: Any, now: datetime) -> list[Tell]:
    for container_id in result.applied:
        record.applied[container_id] = operation.allocated[operation.containers[container_id]]
    if result.error:
        return _resize_failed(record, operation, events.Failed(operation, message=result.error), now)
    record.cgroup, record.resize_error = operation.allocated, ""
    return []


def _resize_failed(record: PodRecord, operation: Any, event: events.Failed, now: datetime) -> list[Tell]:
    """An error that only counts another number of bytes in use is not told again."""
    _retry(record, event, now)
    known, record.resize_error = record.resize_error, event.message
    if known.partition("(")[0] == event.message.partition("(")[0]:
        return []
    return [resizing.failed(record.pod, operation.allocated, event.message)]


def _room_made(record: PodRecord, event: events.RoomMade, now: datetime) -> list[Tell]:
    if record.verdict is not None:
        record.weigh_at = now
    return []


def _stopped(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    put(record, operation.subject, result)
    if result is not None and result.state != "exited":
        record.doubted = True
        record.retries[operation.key] = Retry(1, now + timedelta(seconds=RETRY_FIRST_SECONDS))


def _container_removed(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    put(record, operation.subject, None)
    record.messages.pop(operation.subject, None)
    record.applied.pop(operation.subject, None)
    record.kernel.pop(operation.subject, None)
    record.reset = without(record.reset, operation.subject)
    record.out_of_memory = without(record.out_of_memory, operation.subject)


def _sandbox_stopped(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    sandbox_id = operation.subject
    record.stopped_sandboxes |= {sandbox_id}
    known = record.state.sandboxes.get(sandbox_id)
    put(record, sandbox_id, None if result is None or known is None else replace(result, ready=False))


def _sandbox_removed(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    for container in list(record.state.containers.values()):
        if container.sandbox_id == operation.subject:
            put(record, container.id, None)
    put(record, operation.subject, None)
    record.stopped_sandboxes = without(record.stopped_sandboxes, operation.subject)


def _unmounted(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    record.unmounted, record.mounted = True, False


def _cgroup_removed(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    record.cgroup_removed = True


def _logs_removed(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    record.logs_removed = True


def _object_deleted(record: PodRecord, operation: Any, result: Any, now: datetime) -> None:
    """Finalizers may keep it; then its removal is told later. ``result`` is True when there is nothing any more."""
    record.object_deleted = True
    record.object_gone = record.object_gone or bool(result)


def _mount_failed(record: PodRecord, operation: Any, event: events.Failed, now: datetime) -> list[Tell]:
    _retry(record, event, now)
    if event.reason:  # of a volume's image, whose Events are told: the containers wait for it
        first = (record.pod["spec"].get("initContainers") or ())[:1] or record.pod["spec"]["containers"]
        record.waiting |= {container["name"]: Waiting(event.reason, event.message) for container in first}
        return []
    return [Tell("Warning", "FailedMount", event.message)]


def _sandbox_failed(record: PodRecord, operation: Any, event: events.Failed, now: datetime) -> list[Tell]:
    _retry(record, event, now)
    record.doubted = True  # half of it may be there, and have the number
    record.changes += 1
    return [Tell("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {event.message}")]


def _start_failed(record: PodRecord, operation: Any, event: events.Failed, now: datetime) -> list[Tell]:
    """Of a pull or a start: the reason is what the container waits for."""
    name = operation.subject
    record.waiting[name] = Waiting(event.reason or "CreateContainerError", event.message)
    delay = START_RETRY_SECONDS if event.retry_after_seconds is None else event.retry_after_seconds
    record.not_before[name] = now + timedelta(seconds=delay)
    if isinstance(operation, operations.StartContainer):
        record.doubted = True  # a container may have been made: the next one gets another number
        record.changes += 1
    return []


def _hook_broken(record: PodRecord, operation: Any, event: events.Failed, now: datetime) -> list[Tell]:
    _hook_ended(record, operation)
    return _hook_failed(record, operation, event.message, now)


def _stop_failed(record: PodRecord, operation: Any, event: events.Failed, now: datetime) -> list[Tell]:
    _retry(record, event, now)
    record.doubted = True
    return []


_EVENTS: dict[type[Any], Callable[[PodRecord, Any, datetime], list[Tell]]] = {
    events.PodChanged: _pod_changed,
    events.ObjectGone: _object_gone,
    events.Evicted: _evicted,
    events.RuntimeEnded: _runtime_ended,
    events.OutOfMemory: _out_of_memory,
    events.ViewDoubted: _view_doubted,
    events.ObjectsChanged: _objects_changed,
    events.RoomMade: _room_made,
    events.Probed: _probed,
    events.StatusSent: _status_sent,
    events.TimePassed: _time_passed,
    events.Done: _done,
    events.Failed: _failed,
    events.Cancelled: _cancelled,
}

_DONE: dict[type[Any], Callable[[PodRecord, Any, Any, datetime], list[Tell] | None]] = {
    operations.Observe: _observed,
    operations.Look: _looked,
    operations.MountVolumes: _mounted,
    operations.RunSandbox: _sandbox_runs,
    operations.PullImage: _pulled,
    operations.StartContainer: _started,
    operations.RunHook: _hook_done,
    operations.WeighResize: _weighed,
    operations.ResizePod: _resized,
    operations.StopContainer: _stopped,
    operations.RemoveContainer: _container_removed,
    operations.StopSandbox: _sandbox_stopped,
    operations.RemoveSandbox: _sandbox_removed,
    operations.UnmountVolumes: _unmounted,
    operations.RemoveCgroup: _cgroup_removed,
    operations.RemoveLogs: _logs_removed,
    operations.DeleteObject: _object_deleted,
}

_FAILED: dict[type[Any], Callable[[PodRecord, Any, events.Failed, datetime], list[Tell] | None]] = {
    operations.Look: _look_failed,
    operations.MountVolumes: _mount_failed,
    operations.RunSandbox: _sandbox_failed,
    operations.PullImage: _start_failed,
    operations.StartContainer: _start_failed,
    operations.RunHook: _hook_broken,
    operations.ResizePod: _resize_failed,
    operations.StopContainer: _stop_failed,
}
