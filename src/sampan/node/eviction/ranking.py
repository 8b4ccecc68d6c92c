"""Which pod goes first when the node is short of something. Pure.

The kubelet's order: first those of which nothing could be measured, then those that use more than they asked for, then
by priority, then by how much more. Of processes nothing is asked for, so there priority comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan.api.pods import origin
from sampan.api.pods.requests import pod_requests
from sampan.api.types import Obj
from sampan.node.eviction.usage import PodUsage
from sampan.node.thresholds import RESOURCES, Signal


def rank(
    signal: Signal, pods: Sequence[Obj], usage: Mapping[str, PodUsage], *, dedicated_image_fs: bool = False
) -> list[Obj]:
    """First to go first. ``usage`` by uid. Pods that are equal in all stay in the order in which they are given."""

    def key(pod: Obj) -> tuple[Any, ...]:
        used = usage.get(pod["metadata"]["uid"])
        priority = origin.priority(pod)
        resource = RESOURCES[signal]
        if resource == "pids":
            return priority, used is not None, -used.processes if used is not None else 0
        if used is None:
            return False, False, priority, 0
        amount = _used(signal, used, dedicated_image_fs)
        # Nobody can ask for inodes: who has one has more than he asked for.
        over = amount - pod_requests(pod).get(resource, 0)
        return True, over <= 0, priority, -over

    return sorted(pods, key=key)


def _used(signal: Signal, used: PodUsage, dedicated_image_fs: bool) -> int:
    if RESOURCES[signal] == "memory":
        return used.memory_bytes
    if dedicated_image_fs:
        on_node = signal.startswith("nodefs.")
        disk = used.disk(rootfs=not on_node, logs_and_volumes=on_node)
    else:
        disk = used.disk()
    return disk.inodes if RESOURCES[signal] == "inodes" else disk.used_bytes
