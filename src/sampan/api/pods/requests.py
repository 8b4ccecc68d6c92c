"""What a pod asks for and may use (upstream ``component-helpers/resource``: ``PodRequests``, ``PodLimits``).

Pure; never raises: an amount that does not parse counts as absent. Amounts are integers: cpu in millicores, everything
else in whole units (bytes, counts). Used by the scheduler, the node, and whoever counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sampan.api import quantity
from sampan.api.pods import containers
from sampan.api.pods.status import is_resize_infeasible
from sampan.api.reading import part, parts
from sampan.api.types import Obj

Amounts = dict[str, int]

#: What a container without a request counts for in scores, so that such pods spread too (``GetNonzeroRequests``).
NONZERO_DEFAULTS: Amounts = {"cpu": 100, "memory": 200 * 1024 * 1024}

_MAX = 2**62  # sums of these still fit an int64


def amounts(listed: Any) -> Amounts:
    """Of a ResourceList."""
    found: Amounts = {}
    if isinstance(listed, dict):
        for name, written in listed.items():
            value = _amount(name, written) if type(written) in (str, int, float) else None
            if value is not None:
                found[name] = value
    return found


@lru_cache(maxsize=8192)
def _amount(name: str, written: str | int | float) -> int | None:
    try:
        value = quantity.millis(written) if name == "cpu" else quantity.value(written)
    except ValueError:
        return None
    return max(-_MAX, min(value, _MAX))


def container_requests(container: Obj) -> Amounts:
    """Its requests; a limit without a request is one (the API server's default)."""
    resources = part(container, "resources")
    return {**amounts(resources.get("limits")), **amounts(resources.get("requests"))}


def container_limits(container: Obj) -> Amounts:
    return amounts(part(container, "resources").get("limits"))


def pod_requests(
    pod: Obj, defaults: Amounts | None = None, *, use_status: bool = True, overhead: bool = True
) -> Amounts:
    """Containers summed, init containers at their highest moment, sidecars for all their time, plus overhead; what
    the pod asks for as a whole stands for what its containers ask for.

    ``use_status``: of a pod that is being resized, the largest of what is wanted, allocated and in force counts.
    ``defaults`` stand in for requests that a container does not make.
    """
    spec, status = part(pod, "spec"), part(pod, "status")
    statuses = _statuses(status) if use_status else {}
    infeasible = bool(statuses) and is_resize_infeasible(pod)
    wanted = _aggregate(spec, statuses, _wanted, defaults)
    if statuses:
        whole = part(status, "resources").get("requests")
        if whole is not None and status.get("allocatedResources") is not None:
            allocated, actual = amounts(status["allocatedResources"]), amounts(whole)
        else:
            allocated = _aggregate(spec, statuses, _allocated(infeasible), defaults)
            actual = _aggregate(spec, statuses, _actual(infeasible), defaults)
        total = {} if infeasible else wanted
        _raise_to(total, allocated)
        _raise_to(total, actual)
    else:
        total = wanted
    total.update(_pod_level(pod, "requests", use_status=use_status))
    if overhead:
        _add(total, amounts(spec.get("overhead")))
    return total


def pod_limits(pod: Obj, *, overhead: bool = True) -> Amounts:
    """The sum of the limits that are set, by the arithmetic of requests. A sum does not say that the pod is limited:
    ``pod_limit`` does."""
    spec = part(pod, "spec")
    total = _aggregate(spec, {}, lambda container, status: container_limits(container), None)
    total.update(_pod_level(pod, "limits", use_status=False))
    if overhead:
        for name, value in amounts(spec.get("overhead")).items():
            if total.get(name):
                total[name] += value
    return total


def pod_limit(pod: Obj, name: str, *, overhead: bool = True) -> int | None:
    """What the pod may use of a resource in all; None: a container has no limit, and neither has the pod."""
    if not (is_pod_level(name) and amounts(_own(pod, "limits")).get(name)):
        for sort, container in containers.walk(pod):
            if sort != "ephemeral" and not container_limits(container).get(name):
                return None
    return pod_limits(pod, overhead=overhead).get(name) or None


def is_pod_level(name: str) -> bool:
    """Whether a pod may ask for the resource as a whole."""
    return name in ("cpu", "memory") or name.startswith("hugepages-")


def has_pod_level(pod: Obj) -> bool:
    return any(is_pod_level(name) for kind in ("requests", "limits") for name in _own(pod, kind))


def _own(pod: Obj, kind: str) -> Obj:
    return part(part(part(pod, "spec"), "resources"), kind)


def _pod_level(pod: Obj, kind: str, *, use_status: bool) -> Amounts:
    """What stands for the containers' sum."""
    found = {name: value for name, value in amounts(_own(pod, kind)).items() if is_pod_level(name)}
    status = part(pod, "status")
    if not found or not use_status or ("resources" not in status and "allocatedResources" not in status):
        return found
    if is_resize_infeasible(pod):
        found = {}
    overhead = amounts(part(pod, "spec").get("overhead"))
    for listed in (part(status, "resources").get(kind), status.get("allocatedResources")):
        # The node reports what the pod has, and that includes its overhead.
        held = {name: max(0, value - overhead.get(name, 0)) for name, value in amounts(listed).items()}
        _raise_to(found, {name: value for name, value in held.items() if is_pod_level(name)})
    return found


_Reader = Callable[[Obj, Obj | None], Amounts]


def _wanted(container: Obj, status: Obj | None) -> Amounts:
    return amounts(part(container, "resources").get("requests"))


def _allocated(infeasible: bool) -> _Reader:
    def read(container: Obj, status: Obj | None) -> Amounts:
        if status is not None and status.get("allocatedResources") is not None:
            return amounts(status["allocatedResources"])
        return {} if infeasible else _wanted(container, status)

    return read


def _actual(infeasible: bool) -> _Reader:
    allocated = _allocated(infeasible)

    def read(container: Obj, status: Obj | None) -> Amounts:
        in_force = part(status, "resources").get("requests")
        return amounts(in_force) if in_force is not None else allocated(container, status)

    return read


def _statuses(status: Obj) -> dict[str, Obj]:
    """By name of the container."""
    found: dict[str, Obj] = {}
    for field in (containers.STATUS_FIELDS["main"], containers.STATUS_FIELDS["init"]):
        for entry in parts(status, field):
            if isinstance(entry.get("name"), str):
                found.setdefault(entry["name"], entry)
    return found


def _aggregate(spec: Obj, statuses: dict[str, Obj], read: _Reader, defaults: Amounts | None) -> Amounts:
    """The arithmetic of KEP-753: while the i-th init container runs, it and the sidecars before it count."""

    def of(container: Obj) -> Amounts:
        name = container.get("name")
        found = dict(read(container, statuses.get(name) if isinstance(name, str) else None))
        for missing, value in (defaults or {}).items():
            found.setdefault(missing, value)
        return found

    total: Amounts = {}
    for container in parts(spec, "containers"):
        _add(total, of(container))
    peak: Amounts = {}
    sidecars: Amounts = {}
    for container in parts(spec, "initContainers"):
        wanted = of(container)
        # Of what this one does not ask for, the moment before was no lower.
        moment = {name: value + sidecars.get(name, 0) for name, value in wanted.items()}
        if containers.is_sidecar("init", container):
            _add(total, wanted)
            sidecars |= moment
        _raise_to(peak, moment)
    _raise_to(total, peak)
    return total


def _add(total: Amounts, more: Amounts) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise_to(total: Amounts, floor: Amounts) -> None:
    for name, value in floor.items():
        if name not in total or value > total[name]:
            total[name] = value
