"""What a pod's status says of resources: the words of the specification where the kernel holds just that, else the
kernel's numbers. Pure.

Shares of the processor and limits are read from the cgroups. Requests of memory are in no cgroup: they are what the
node has promised. Where a cgroup cannot be read (another runtime, a simulated one) what the runtime was told is shown.
"""

from __future__ import annotations

from sampan.api import quantity
from sampan.api.pods.requests import amounts, pod_limit, pod_requests
from sampan.api.reading import part
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.cgroups import settings
from sampan.node.cgroups.held import Held
from sampan.node.pods import resizing, resources
from sampan.node.pods.resizing import WHOLE, Allocation

#: The kernel keeps limits of memory in whole pages.
_PAGE = 4096


def of_container(pod: Obj, container: Obj, given: Obj, held: Held | None) -> Obj:
    """``given`` is what the runtime was told for it."""
    if held is None:
        return given
    told = resources.container_resources(pod, {**container, "resources": given}, 0)
    found = {kind: dict(part(given, kind)) for kind in ("requests", "limits")}
    if held.cpu_shares is not None and held.cpu_shares != told.cpu_shares:
        found["requests"]["cpu"] = _millis(-(-held.cpu_shares * 1000 // 1024))
    _correct_limits(found["limits"], told, held)
    rest = {key: value for key, value in given.items() if key not in found}
    return rest | {kind: listed for kind, listed in found.items() if listed}


def of_pod(pod: Obj, cgroup: Allocation, held: Held | None) -> Obj | None:
    """``resources`` of the status of a pod that asks for itself; ``cgroup`` is what its cgroup was written by. The
    overhead is a part of them. None: it does not ask."""
    whole = cgroup.get(WHOLE)
    if not whole:
        return None
    written = resizing.with_allocated(pod, cgroup)
    found: dict[str, dict[str, str]] = {}
    for kind in ("requests", "limits"):
        own, overhead = part(whole, kind), part(part(pod, "spec"), "overhead")
        found[kind] = {name: _sum(text, overhead.get(name)) for name, text in own.items()}
    if held is not None:
        told = runtime.Resources(
            cpu_quota=settings.quota(pod_limit(written, "cpu") or 0),
            cpu_shares=settings.shares(pod_requests(written, use_status=False).get("cpu", 0)),
            memory_limit_bytes=pod_limit(written, "memory") or 0,
        )
        if held.cpu_shares is not None and held.cpu_shares != told.cpu_shares:
            found["requests"]["cpu"] = _millis(-(-held.cpu_shares * 1000 // 1024))
        _correct_limits(found["limits"], told, held)
    return {kind: listed for kind, listed in found.items() if listed}


def allocated_to_pod(pod: Obj, allocated: Allocation) -> dict[str, str] | None:
    """``allocatedResources`` of the status of a pod that asks for itself."""
    if not allocated.get(WHOLE):
        return None
    given = pod_requests(resizing.with_allocated(pod, allocated), use_status=False)
    texts = part(allocated[WHOLE], "requests")
    written = amounts(texts)
    return {
        name: texts[name] if written.get(name) == amount else _amount(name, amount)
        for name, amount in given.items()
        if name in ("cpu", "memory") or name.startswith("hugepages-")
    }


def _correct_limits(limits: dict[str, str], told: runtime.Resources, held: Held) -> None:
    if held.cpu_quota_microseconds != told.cpu_quota:
        _put(limits, "cpu", _millis(held.cpu_quota_microseconds * 1000 // settings.PERIOD_MICROSECONDS))
    if held.memory_limit_bytes // _PAGE != told.memory_limit_bytes // _PAGE:
        _put(limits, "memory", str(held.memory_limit_bytes))


def _put(limits: dict[str, str], name: str, text: str) -> None:
    if text == "0":
        limits.pop(name, None)
    else:
        limits[name] = text


def _sum(text: str, more: str | None) -> str:
    return text if more is None else quantity.add(text, more)


def _amount(name: str, amount: int) -> str:
    return _millis(amount) if name == "cpu" else str(amount)


def _millis(millicores: int) -> str:
    return quantity.canonical(f"{millicores}m")
