"""CPU and memory of pods in the kernel's terms, for cgroup v1 and v2. Pure.

Constants and rounding are the kubelet's (``cm/helpers_linux.go``, ``cm/qos_container_manager_linux.go``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from sampan.api.pods.qos import qos_class
from sampan.api.pods.requests import pod_limit, pod_limits, pod_requests
from sampan.api.types import Obj
from sampan.node.numa import kernel_name

#: Controller to file to value.
Settings = dict[str, dict[str, str]]
Tier = Literal["burstable", "besteffort"]
#: What of a pod's cgroup a resize writes at a time.
Part = Literal["cpu request", "cpu limit", "memory limit"]

PERIOD_MICROSECONDS = 100_000
MIN_SHARES = 2
MAX_SHARES = 262_144
MIN_QUOTA_MICROSECONDS = 1000
TIERS: tuple[Tier, ...] = ("burstable", "besteffort")
_TIER_OF: dict[str, Tier | Literal[""]] = {"Guaranteed": "", "Burstable": "burstable", "BestEffort": "besteffort"}


def shares(millicores: int) -> int:
    return min(max(millicores * 1024 // 1000, MIN_SHARES), MAX_SHARES)


def quota(millicores: int) -> int:
    """Microseconds a period; 0 is no limit."""
    return 0 if millicores == 0 else max(millicores * PERIOD_MICROSECONDS // 1000, MIN_QUOTA_MICROSECONDS)


def weight(cpu_shares: int) -> int:
    """``cpu.weight`` (1 to 10000) of what ``cpu.shares`` (2 to 262144) would be."""
    return 1 + (cpu_shares - MIN_SHARES) * 9999 // (MAX_SHARES - MIN_SHARES)


def tier_path(root: str, tier: Tier) -> str:
    return f"{root.rstrip('/')}/{tier}"


def pod_path(root: str, pod: Obj) -> str:
    """``<root>/burstable/pod<uid>``: what CRI calls the cgroup parent. "" when cgroups are left to the runtime."""
    if not root:
        return ""
    parts = [root.rstrip("/"), _TIER_OF[qos_class(pod)], f"pod{pod['metadata']['uid']}"]
    return "/".join(part for part in parts if part)


def pod_settings(pod: Obj, *, unified: bool, pids_limit: int = -1, page_sizes: Sequence[str] = ()) -> Settings:
    """What the pod, as the node has promised it, gets as a whole: the sum of its containers, or what it asks for itself
    (KEP-2837). ``pids_limit``: of processes and threads; less than 0: none. ``page_sizes``: resources of huge pages
    that it is held to."""
    settings = _cpu_shares(shares(pod_requests(pod, use_status=False).get("cpu", 0)), unified=unified)
    cpu_quota, memory = quota(pod_limit(pod, "cpu") or 0), pod_limit(pod, "memory")
    period = PERIOD_MICROSECONDS
    if unified:
        settings["cpu"]["cpu.max"] = f"{cpu_quota or 'max'} {period}"
    else:
        settings["cpu"] |= {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(cpu_quota or -1)}
    if memory is not None:
        settings["memory"] = {"memory.max" if unified else "memory.limit_in_bytes": str(memory)}
    if pids_limit > 0:
        settings["pids"] = {"pids.max": str(pids_limit)}
    if page_sizes:
        limits, file = pod_limits(pod), "max" if unified else "limit_in_bytes"
        settings["hugetlb"] = {f"hugetlb.{kernel_name(size)}.{file}": str(limits.get(size, 0)) for size in page_sizes}
    return settings


def node_settings(millicores: int, memory_bytes: int, *, unified: bool) -> Settings:
    """What all pods of the node get together: what nothing else is reserved for."""
    settings = _cpu_shares(shares(millicores), unified=unified)
    settings["memory"] = {"memory.max" if unified else "memory.limit_in_bytes": str(memory_bytes)}
    return settings


_FILES: dict[Part, tuple[str, ...]] = {
    "cpu request": ("cpu.shares", "cpu.weight"),
    "cpu limit": ("cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.max"),
    "memory limit": ("memory.limit_in_bytes", "memory.max"),
}


def only(settings: Settings, part: Part) -> Settings:
    """``settings`` without what is no matter of ``part``."""
    kept = {
        controller: {name: value for name, value in values.items() if name in _FILES[part]}
        for controller, values in settings.items()
    }
    return {controller: values for controller, values in kept.items() if values}


def tier_settings(tier: Tier, millicores: int, *, unified: bool) -> Settings:
    """Pods that ask for nothing share the least there is; the others get together what they ask for."""
    return _cpu_shares(MIN_SHARES if tier == "besteffort" else shares(millicores), unified=unified)


def burstable_millicores(pods: Iterable[Obj]) -> int:
    return sum(pod_requests(pod, use_status=False).get("cpu", 0) for pod in pods if qos_class(pod) == "Burstable")


def _cpu_shares(value: int, *, unified: bool) -> Settings:
    return {"cpu": {"cpu.weight": str(weight(value))} if unified else {"cpu.shares": str(value)}}
