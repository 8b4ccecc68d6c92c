"""Memory that is no pod's, by NUMA node (``reservedMemory`` of a KubeletConfiguration): read and checked. Pure.

Words are the kubelet's (``apis/config/validation``, ``memorymanager/memory_manager.go``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan.api import quantity
from sampan.api.errors import quoted
from sampan.node.numa import Cell

MEMORY, HUGE_PAGES = "memory", "hugepages-"

#: Bytes by NUMA node and resource.
Reserved = Mapping[int, Mapping[str, int]]


def is_memory(resource: str) -> bool:
    return resource == MEMORY or resource.startswith(HUGE_PAGES)


def read(entries: Sequence[Mapping[str, Any]]) -> Reserved:
    """Raises ValueError: what no kubelet takes."""
    found: dict[int, dict[str, int]] = {}
    for entry in entries:
        for name in entry:
            if name not in ("numaNode", "limits"):
                raise ValueError(f'strict decoding error: unknown field "reservedMemory.{name}"')
        node, limits = entry.get("numaNode", 0), entry.get("limits") or {}
        if type(node) is not int or not isinstance(limits, dict):
            raise ValueError("reservedMemory: numaNode is a whole number, and limits are a map of quantities")
        for resource, text in limits.items():
            if not is_memory(resource):
                raise ValueError(
                    f"the limit type {quoted(resource)} for NUMA node {node} is not supported, only "
                    "[memory hugepages-<HugePageSize>] is accepted"
                )
            try:
                amount = quantity.value(str(text))
            except ValueError as error:
                raise ValueError(f"reservedMemory of NUMA node {node}, {quoted(resource)}: {error}") from error
            if amount <= 0:
                raise ValueError(
                    f"reserved memory may not be zero for NUMA node {node} and resource {quoted(resource)}"
                )
            if resource in found.setdefault(node, {}):
                raise ValueError(
                    f"the reserved memory has a duplicate value for NUMA node {node} and resource {quoted(resource)}"
                )
            found[node][resource] = amount
    return found


def check(reserved: Reserved, cells: Sequence[Cell], kept_bytes: int) -> None:
    """``kept_bytes``: memory that is no pod's by the other settings. Raises ValueError: they do not agree, or not on
    this machine."""
    by_id = {cell.id: cell for cell in cells}
    total = {MEMORY: 0}
    for node, limits in reserved.items():
        if node not in by_id:
            raise ValueError(
                f"the reserved memory configuration references a NUMA node {node} that does not exist on this machine"
            )
        for resource, amount in limits.items():
            total[resource] = total.get(resource, 0) + amount
    for resource, amount in total.items():
        expected = kept_bytes if resource == MEMORY else 0
        if amount != expected:
            raise ValueError(
                f"the total amount {_shown(amount)} of type {quoted(resource)} is not equal to the value "
                f"{_shown(expected)} determined by Node Allocatable feature"
            )
    for node, limits in reserved.items():
        if limits.get(MEMORY, 0) > by_id[node].memory_bytes:
            raise ValueError(
                f"{_shown(limits[MEMORY])} of memory are reserved on NUMA node {node}, which has "
                f"{_shown(by_id[node].memory_bytes)}"
            )


def _shown(amount: int) -> str:
    return quoted(quantity.format_quantity(amount, "BinarySI"))
