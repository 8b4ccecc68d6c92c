"""CPU and memory of containers in the kernel's terms: shares, quotas, limits, oom_score_adj. Pure.

Constants and rounding are the kubelet's (``cm/helpers_linux.go``, ``qos/policy.go``). Where the pod asks for resources
as a whole (KEP-2837), a container without a limit of its own has the pod's.
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api.pods import containers, origin
from sampan.api.pods.qos import qos_class
from sampan.api.pods.requests import Amounts, amounts, container_limits, container_requests
from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.cgroups.settings import PERIOD_MICROSECONDS, quota, shares
from sampan.node.numa import kernel_name
from sampan.node.pods.swap import Swap

_KEPT, _FIRST_TO_GO = -997, 1000


def oom_score_adj(pod: Obj, container: Obj, memory_capacity_bytes: int) -> int:
    """The lower the later the kernel ends it: what asked for more of the memory may use more before it is chosen."""
    if origin.is_critical(pod) and text(part(pod, "spec"), "priorityClassName") == "system-node-critical":
        return _KEPT
    quality = qos_class(pod)
    if quality == "Guaranteed":
        return _KEPT
    if quality == "BestEffort" or memory_capacity_bytes <= 0:
        return _FIRST_TO_GO
    requested = _requested_memory(container) + _share_of_the_pods(pod)
    if container in containers.sidecars(pod):
        # A sidecar is not ended before the containers that it serves.
        requested = max(requested, min(map(_requested_memory, parts(part(pod, "spec"), "containers")), default=0))
    score = _FIRST_TO_GO - _FIRST_TO_GO * requested // memory_capacity_bytes
    return min(max(score, _FIRST_TO_GO + _KEPT), _FIRST_TO_GO - 1)


def container_resources(
    pod: Obj,
    container: Obj,
    memory_capacity_bytes: int,
    *,
    unified: bool = False,
    cpus: str = "",
    memory_nodes: str = "",
    page_sizes: Sequence[str] = (),
    swap: Swap | None = None,
) -> runtime.Resources:
    """``unified``: the machine has cgroup v2, where a container that runs out of memory ends as a whole. ``cpus``: the
    processors that it may use, where the CPU manager says; ``memory_nodes``: the NUMA nodes, where the memory manager
    does; ``page_sizes``: resources of huge pages that it is held to. ``swap``: None where the kernel does not bound
    it."""
    requests, limits = container_requests(container), {**_of_the_pod(pod, "limits"), **container_limits(container)}
    cpu_limit = limits.get("cpu", 0)
    return runtime.Resources(
        cpu_period=PERIOD_MICROSECONDS if cpu_limit else 0,
        cpu_quota=quota(cpu_limit),
        cpu_shares=shares(requests.get("cpu", cpu_limit)),
        memory_limit_bytes=limits.get("memory", 0),
        oom_score_adj=oom_score_adj(pod, container, memory_capacity_bytes),
        unified=_unified(pod, container, swap) if unified else {},
        cpuset_cpus=cpus,
        cpuset_mems=memory_nodes,
        hugepage_limits={kernel_name(size): limits.get(size, 0) for size in page_sizes},
    )


def _unified(pod: Obj, container: Obj, swap: Swap | None) -> dict[str, str]:
    found = {"memory.oom.group": "1"}
    return found if swap is None else found | {"memory.swap.max": str(swap.limit_bytes(pod, container))}


def _of_the_pod(pod: Obj, kind: str) -> Amounts:
    own = amounts(part(part(part(pod, "spec"), "resources"), kind))
    return {name: value for name, value in own.items() if name in ("cpu", "memory")}


def _requested_memory(container: Obj) -> int:
    return container_requests(container).get("memory", 0)


def _share_of_the_pods(pod: Obj) -> int:
    """What the pod asks for beyond its containers, divided among them."""
    whole = _of_the_pod(pod, "requests").get("memory", 0)
    counted = [container for sort, container in containers.walk(pod) if sort != "ephemeral"]
    return max(whole - sum(map(_requested_memory, counted)), 0) // len(counted) if whole and counted else 0
