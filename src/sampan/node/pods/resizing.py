"""In-place resize (KEP-1287): what a pod was given, what it wants instead, and how far that has come. Pure.

What the API asks for is only wished; ``allocated`` is what the node has promised, by container name, and ``applied``
what the runtime has been told, by container id. Status shows the latter two, never the wish. Used by ``live`` (plan),
``absorb`` (results) and ``worker`` (status).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import orjson

from sampan.api.pods.containers import STATUS_FIELDS, find, long_running
from sampan.api.pods.requests import Amounts, pod_requests
from sampan.api.types import Obj
from sampan.node.pods.operations import Tell

_RESOURCES = ("cpu", "memory")
#: A wish for which there is no room now is looked at again.
DEFERRED_SECONDS = 10.0


class Verdict(NamedTuple):
    """Why a resize has to wait: for other pods to go, or for ever."""

    reason: Literal["Deferred", "Infeasible"]
    message: str


def weigh(pod: Obj, others: Iterable[Obj], allocatable: Amounts) -> Verdict | None:
    """Whether the node has room for the pod as it wants to be. ``others`` have theirs already."""
    wanted = pod_requests(pod, use_status=False)
    for name in _RESOURCES:
        if (asked := wanted.get(name, 0)) > (capacity := allocatable.get(name, 0)):
            text = f"Node didn't have enough capacity: {name}, requested: {asked}, capacity: {capacity}"
            return Verdict("Infeasible", text)
    present = [pod_requests(other) for other in others]
    for name in _RESOURCES:
        asked, capacity = wanted.get(name, 0), allocatable.get(name, 0)
        used = sum(each.get(name, 0) for each in present)
        if asked and used + asked > capacity:
            return Verdict(
                "Deferred",
                f"Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {capacity}",
            )
    return None


def wished(pod: Obj) -> dict[str, Obj]:
    return {container["name"]: container.get("resources") or {} for container in long_running(pod)}


def shown_before(pod: Obj) -> Iterator[tuple[str, str, Obj]]:
    """Name, runtime id and resources of the containers that ran by the status of the API."""
    for field in STATUS_FIELDS.values():
        for item in (pod.get("status") or {}).get(field) or ():
            if "running" in (item.get("state") or {}) and "resources" in item:
                yield item["name"], str(item.get("containerID", "")).rpartition("/")[2], item["resources"]


def with_allocated(pod: Obj, allocated: Mapping[str, Obj]) -> Obj:
    """The pod as the node has promised it."""
    if all(allocated.get(name, resources) == resources for name, resources in wished(pod).items()):
        return pod
    spec = dict(pod["spec"])
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


_KINDS = ("requests", "limits")


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


def told(pod: Obj, reason: str, words: str, allocated: Mapping[str, Obj]) -> Tell:
    listed = [{"name": name, "resources": resources} for name, resources in allocated.items()]
    detail = {"containers": listed, "generation": pod["metadata"].get("generation", 0)}
    return Tell("Normal", reason, f"Pod resize {words}: {orjson.dumps(detail).decode()}")


def pending_tell(verdict: Verdict) -> Tell:
    return Tell("Warning", f"Resize{verdict.reason}", verdict.message)


def look_again(now: datetime) -> datetime:
    return now + timedelta(seconds=DEFERRED_SECONDS)
