"""Taints of a node: the well-known ones, and those of an effect. Pure; never raises."""

from __future__ import annotations

from sampan.api.reading import part, parts
from sampan.api.types import Obj

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
MEMORY_PRESSURE = "node.kubernetes.io/memory-pressure"
DISK_PRESSURE = "node.kubernetes.io/disk-pressure"
PID_PRESSURE = "node.kubernetes.io/pid-pressure"
NETWORK_UNAVAILABLE = "node.kubernetes.io/network-unavailable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"

#: The effects that keep new pods away.
REPELLING = ("NoSchedule", "NoExecute")


def of(node: Obj) -> list[Obj]:
    return list(parts(part(node, "spec"), "taints"))


def with_effect(node: Obj, *effects: str) -> list[Obj]:
    return [taint for taint in parts(part(node, "spec"), "taints") if taint.get("effect") in effects]


def has(node: Obj, key: str, effect: str) -> bool:
    return any(taint.get("key") == key for taint in with_effect(node, effect))
