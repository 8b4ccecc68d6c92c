"""How much of each resource a pod asks for (upstream ``component-helpers/resource``, ``PodRequests``). Pure.

Amounts are integers in the scheduler's units: cpu in millicores, everything else in whole units (bytes, counts).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from sampan.api import quantity
from sampan.api.types import Obj

Amounts = dict[str, int]

#: What a container without a request counts for in scores, so that such pods spread too (``GetNonzeroRequests``).
DEFAULT_CPU_MILLICORES = 100
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024
NONZERO_DEFAULTS: Amounts = {"cpu": DEFAULT_CPU_MILLICORES, "memory": DEFAULT_MEMORY_BYTES}

_POD_LEVEL = ("cpu", "memory")
_MAX = 2**62  # sums of these still fit an int64


@lru_cache(maxsize=8192)
def amount(resource: str, text: str | int) -> int:
    value = quantity.millis(text) if resource == "cpu" else quantity.value(text)
    return min(value, _MAX)


def amounts(listed: Mapping[str, str | int] | None) -> Amounts:
    return {name: amount(name, text) for name, text in (listed or {}).items()}


def pod_requests(pod: Obj, defaults: Amounts | None = None) -> Amounts:
    """Containers summed, init containers as their highest moment, sidecars for all their time, plus overhead.

    ``defaults`` stand in for requests that a container does not make.
    """
    spec = pod.get("spec") or {}
    statuses = {
        status.get("name"): status for status in (pod.get("status") or {}).get("containerStatuses") or () if status
    }
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _container(container, statuses.get(container.get("name")), defaults))
    peak: Amounts = {}
    sidecars: Amounts = {}
    for container in spec.get("initContainers") or ():
        wanted = _container(container, None, defaults)
        if container.get("restartPolicy") == "Always":
            _add(total, wanted)
            _add(sidecars, wanted)
            _raise_to(peak, sidecars)
        else:
            _add(wanted, sidecars)
            _raise_to(peak, wanted)
    _raise_to(total, peak)
    for name, value in amounts((spec.get("resources") or {}).get("requests")).items():
        if name in _POD_LEVEL or name.startswith("hugepages-"):
            total[name] = value
    _add(total, amounts(spec.get("overhead")))
    return total


def _container(container: Obj, status: Obj | None, defaults: Amounts | None) -> Amounts:
    wanted = amounts((container.get("resources") or {}).get("requests"))
    if status is not None:
        # A resize in place: until the node has acted, the larger of what is wanted and what is held counts.
        _raise_to(wanted, amounts(status.get("allocatedResources")))
        _raise_to(wanted, amounts((status.get("resources") or {}).get("requests")))
    for name, value in (defaults or {}).items():
        wanted.setdefault(name, value)
    return wanted


def _add(total: Amounts, more: Amounts) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise_to(total: Amounts, floor: Amounts) -> None:
    for name, value in floor.items():
        if value > total.get(name, 0):
            total[name] = value


def host_ports(spec: Obj) -> Iterable[tuple[str, str, int]]:
    """(address, protocol, port) of each host port; sidecars hold theirs as containers do."""
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(port["hostPort"])
