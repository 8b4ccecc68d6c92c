"""What the managers of processors, memory and places have done, as the kubelet's ``/metrics`` counts it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: name, what it counts
_HELP: Final = {
    "kubelet_topology_manager_admission_requests_total": "Pods that were asked to be aligned",
    "kubelet_topology_manager_admission_errors_total": "Pods that could not be aligned",
    "kubelet_cpu_manager_pinning_requests_total": "Containers that asked for processors of their own",
    "kubelet_cpu_manager_pinning_errors_total": "Containers that could not have processors of their own",
    "kubelet_cpu_manager_shared_pool_size_millicores": "Millicores of the processors that containers share",
    "kubelet_cpu_manager_exclusive_cpu_allocation_count": "Processors that are a container's own",
    "kubelet_memory_manager_pinning_requests_total": "Containers that asked for memory of their own NUMA nodes",
    "kubelet_memory_manager_pinning_errors_total": "Containers that could not have memory of their own NUMA nodes",
}


def render(values: Mapping[str, int]) -> str:
    """``values``: by name."""
    lines = []
    for name, words in _HELP.items():
        if name in values:
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} [ALPHA] {words}.", f"# TYPE {name} {kind}", f"{name} {values[name]}"]
    return "".join(f"{line}\n" for line in lines)
