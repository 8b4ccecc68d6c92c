"""In-place resize (KEP-1287, KEP-5419): what a pod was given, what it wants instead, and how far that has come. Pure.

What the API asks for is only wished; ``allocated`` is what the node has promised, by container name and, under
``WHOLE``, for the pod itself; ``applied`` is what the runtime has been told, by container id. Status shows the latter
two as the kernel holds them (``resizing_shown``), never the wish. Used by ``live`` (plan), ``absorb`` (results),
``worker`` (status), and by ``resizing_desk``, which promises.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import orjson

from sampan.api.pods import origin
from sampan.api.pods.containers import STATUS_FIELDS, find, long_running
from sampan.api.pods.qos import compute_qos_class
from sampan.api.pods.requests import Amounts, pod_requests
from sampan.api.reading import part, parts
from sampan.api.types import Obj
from sampan.node.pods.operations import Tell
from sampan.node.pods.swap import Swap, resize_meets_swap

_RESOURCES = ("cpu", "memory")
_KINDS = ("requests", "limits")
#: The pod's own resources, among those of its containers by name.
WHOLE = ""
#: A wish for which there is no room is looked at again when there may be more, and at the latest after that.
DEFERRED_SECONDS = 180.0

Allocation = Mapping[str, Obj]


class Verdict(NamedTuple):
    """Why a resize has to wait: for other pods to go, or for ever."""

    reason: Literal["Deferred", "Infeasible"]
    message: str


def infeasible(
    pod: Obj,
    promised: Obj,
    allocatable: Amounts,
    *,
    static_cpus: bool = False,
    static_memory: bool = False,
    swap: Swap | None = None,
) -> Verdict | None:
    """Why this node will never do it, whatever becomes of other pods. ``static_cpus``: the CPU manager hands out whole
    processors, ``static_memory``: the memory manager memory of NUMA nodes. ``swap``: how the machine swaps."""
    if origin.is_static(pod):
        return Verdict("Infeasible", "In-place resize of static-pods is not supported")
    if resize_meets_swap(swap, pod, promised):
        return Verdict("Infeasible", "In-place resize of containers with swap is not supported.")
    if static_cpus and compute_qos_class(pod) == "Guaranteed" and _requests(pod, "cpu") != _requests(promised, "cpu"):
        text = 'Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"'
        return Verdict("Infeasible", text)
    resized = _requests(pod, "memory") != _requests(promised, "memory")
    if static_memory and resized and compute_qos_class(pod) == "Guaranteed":
        text = 'Resize is infeasible for Guaranteed Pods alongside Memory Manager policy "Static"'
        return Verdict("Infeasible", text)
    wanted = pod_requests(pod, use_status=False)
    for name in reversed(_RESOURCES):
        if (asked := wanted.get(name, 0)) > (capacity := allocatable.get(name, 0)):
            text = f"Node didn't have enough capacity: {name}, requested: {asked}, capacity: {capacity}"
            return Verdict("Infeasible", text)
    return None


def deferred(pod: Obj, used: Amounts, allocatable: Amounts) -> Verdict | None:
    """``used`` is what the other pods of the node have been promised."""
    wanted = pod_requests(pod, use_status=False)
    for name in _RESOURCES:
        asked, taken, capacity = wanted.get(name, 0), used.get(name, 0), allocatable.get(name, 0)
        if asked and taken + asked > capacity:
            return Verdict(
                "Deferred",
                f"Node didn't have enough resource: {name}, requested: {asked}, used: {taken}, capacity: {capacity}",
            )
    return None


def _requests(pod: Obj, resource: str) -> dict[str, object]:
    return {item["name"]: part(part(item, "resources"), "requests").get(resource) for item in long_running(pod)}


def turn(pod: Obj, promised: Obj, since: float) -> tuple[bool, int, bool, float]:
    """In which order waiting wishes are granted: those that take no more than before first, then by priority, class,
    and the time they have waited."""
    wanted, had = pod_requests(pod, use_status=False), pod_requests(promised, use_status=False)
    grows = any(wanted.get(name, 0) > had.get(name, 0) for name in _RESOURCES)
    return grows, -origin.priority(pod), compute_qos_class(pod) != "Guaranteed", since


def wished(pod: Obj) -> dict[str, Obj]:
    """By name: of main containers and of those before them, whether these go on running or end (the gate
    InPlacePodVerticalScalingInitContainers is locked)."""
    wanted = (*parts(part(pod, "spec"), "containers"), *parts(part(pod, "spec"), "initContainers"))
    found = {container["name"]: container.get("resources") or {} for container in wanted}
    if whole := part(pod, "spec").get("resources"):
        found[WHOLE] = whole
    return found


def shown_before(pod: Obj) -> Iterator[tuple[str, str, Obj]]:
    """Name, runtime id and resources of the containers that ran by the status of the API."""
    for field in STATUS_FIELDS.values():
        for item in (pod.get("status") or {}).get(field) or ():
            if "running" in (item.get("state") or {}) and "resources" in item:
                yield item["name"], str(item.get("containerID", "")).rpartition("/")[2], item["resources"]


def with_allocated(pod: Obj, allocated: Allocation) -> Obj:
    """The pod as the node has promised it."""
    if all(allocated.get(name, resources) == resources for name, resources in wished(pod).items()):
        return pod
    spec = dict(pod["spec"])
    if WHOLE in allocated:
        spec["resources"] = allocated[WHOLE]
    for field in ("containers", "initContainers"):
        if spec.get(field):
            spec[field] = [
                {**item, "resources": allocated[item["name"]]} if item["name"] in allocated else item
                for item in spec[field]
            ]
    return {**pod, "spec": spec}


def needs_restart(pod: Obj, name: str, before: Obj, after: Obj) -> bool:
    """By the container's resizePolicy."""
    found = find(pod, name)
    policies = {
        item.get("resourceName"): item.get("restartPolicy")
        for item in (found[1].get("resizePolicy") or () if found else ())
    }
    return any(
        policies.get(resource) == "RestartContainer"
        and any((before.get(kind) or {}).get(resource) != (after.get(kind) or {}).get(resource) for kind in _KINDS)
        for resource in _RESOURCES
    )


def conditions(verdict: Verdict | None, *, under_way: bool, error: str) -> list[Obj]:
    found: list[Obj] = []
    if verdict is not None:
        found.append(
            {"type": "PodResizePending", "status": "True", "reason": verdict.reason, "message": verdict.message}
        )
    if under_way:
        condition: Obj = {"type": "PodResizeInProgress", "status": "True"}
        found.append({**condition, "reason": "Error", "message": error} if error else condition)
    return found


# Events, in the kubelet's form: the resources of the containers as JSON.


def started(pod: Obj, allocated: Allocation) -> Tell:
    return Tell("Normal", "ResizeStarted", f"Pod resize started: {_summary(with_allocated(pod, allocated))}")


def completed(pod: Obj, allocated: Allocation) -> Tell:
    return Tell("Normal", "ResizeCompleted", f"Pod resize completed: {_summary(with_allocated(pod, allocated))}")


def failed(pod: Obj, allocated: Allocation, error: str) -> Tell:
    return Tell("Warning", "ResizeError", f"Pod resize error: {_summary(with_allocated(pod, allocated), error)}")


def pending(pod: Obj, verdict: Verdict) -> Tell:
    text = f"Pod resize {verdict.reason}: {_summary(pod, verdict.message)}"
    return Tell("Warning", f"Resize{verdict.reason}", text)


def _summary(pod: Obj, error: str = "") -> str:
    detail: Obj = {}
    for field in ("initContainers", "containers"):
        if listed := list(parts(part(pod, "spec"), field)):
            detail[field] = [{"name": item["name"], "resources": _ordered(part(item, "resources"))} for item in listed]
    detail["generation"] = part(pod, "metadata").get("generation", 0)
    if error:
        detail["error"] = error
    return orjson.dumps(detail).decode()


def _ordered(resources: Obj) -> Obj:
    return {kind: dict(sorted(resources[kind].items())) for kind in reversed(_KINDS) if resources.get(kind)}


def total(pods: Iterable[Obj]) -> Amounts:
    """What pods ask for together, as they are given."""
    found: Amounts = {}
    for pod in pods:
        for name, amount in pod_requests(pod, use_status=False).items():
            found[name] = found.get(name, 0) + amount
    return found


def look_again(now: datetime) -> datetime:
    return now + timedelta(seconds=DEFERRED_SECONDS)
