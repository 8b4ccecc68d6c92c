"""CPU and memory of containers and pods in the kernel's terms: shares, quotas, limits, oom_score_adj. Pure.

Constants and rounding are the kubelet's (``cm/helpers_linux.go``, ``qos/policy.go``).
"""

from __future__ import annotations

from sampan.api import quantity
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.pods import spec

PERIOD_MICROSECONDS = 100_000
MIN_SHARES = 2
MAX_SHARES = 262_144
MIN_QUOTA_MICROSECONDS = 1000
_SYSTEM_CRITICAL = 2_000_000_000


def shares(millicores: int) -> int:
    return min(max(millicores * 1024 // 1000, MIN_SHARES), MAX_SHARES)


def quota(millicores: int) -> int:
    """Microseconds a period; 0 is no limit."""
    return 0 if millicores == 0 else max(millicores * PERIOD_MICROSECONDS // 1000, MIN_QUOTA_MICROSECONDS)


def oom_score_adj(pod: Obj, container: Obj, memory_capacity_bytes: int) -> int:
    if (pod["spec"].get("priority") or 0) >= _SYSTEM_CRITICAL:
        return -997
    quality = spec.qos_class(pod)
    if quality == "Guaranteed":
        return -997
    if quality == "BestEffort" or memory_capacity_bytes <= 0:
        return 1000
    requested = quantity.value(spec.requests_of(container).get("memory", 0))
    score = 1000 - 1000 * requested // memory_capacity_bytes
    return min(max(score, 3), 999)


def container_resources(pod: Obj, container: Obj, memory_capacity_bytes: int) -> runtime.Resources:
    requests, limits = spec.requests_of(container), spec.limits_of(container)
    cpu_limit = quantity.millis(limits["cpu"]) if "cpu" in limits else 0
    return runtime.Resources(
        cpu_period=PERIOD_MICROSECONDS if cpu_limit else 0,
        cpu_quota=quota(cpu_limit),
        cpu_shares=shares(quantity.millis(requests["cpu"]) if "cpu" in requests else 0),
        memory_limit_bytes=quantity.value(limits["memory"]) if "memory" in limits else 0,
        oom_score_adj=oom_score_adj(pod, container, memory_capacity_bytes),
    )
