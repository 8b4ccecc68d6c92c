"""What a node has promised a pod, and what it has done of it, as a file that outlives the agent. Pure.

Upstream keeps ``allocated_pods_state`` and ``actuated_pods_state`` for all pods; here each pod has a file of its own,
in its directory, so that it goes with the pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

import orjson

from sampan.api.types import Obj
from sampan.node.pods.resizing import Allocation
from sampan.records import dataclass

DIRECTORY = "resources"
FILE = "state.json"
LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``cgroup``: what the pod's cgroup was written by. ``applied``: what containers have, by id."""

    allocated: Allocation
    cgroup: Allocation
    applied: Mapping[str, Obj]


def encode(checkpoint: Checkpoint) -> bytes:
    return orjson.dumps(
        {"allocated": checkpoint.allocated, "cgroup": checkpoint.cgroup, "applied": checkpoint.applied},
        option=orjson.OPT_SORT_KEYS,
    )


def decode(data: bytes) -> Checkpoint | None:
    """None when there is none, or when it is damaged: then the API's status is what is left."""
    try:
        read = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(read, dict):
        return None
    allocated, cgroup, applied = (read.get(name) for name in ("allocated", "cgroup", "applied"))
    if not (_is_allocation(allocated) and _is_allocation(cgroup) and _is_allocation(applied)):
        return None
    return Checkpoint(allocated, cgroup, applied)


def _is_allocation(value: object) -> TypeGuard[dict[str, Obj]]:
    return isinstance(value, dict) and all(
        isinstance(each, dict) and all(isinstance(amounts, dict | list) for amounts in each.values())
        for each in value.values()
    )
