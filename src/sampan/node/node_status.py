"""What a node says of itself: its labels, capacity and conditions, rendered from facts. Pure.

Used by ``sampan.node.registration``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from fractions import Fraction

from sampan.api import quantity
from sampan.api.clock import format_time
from sampan.api.pods.requests import Amounts, amounts
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.host import Machine
from sampan.node.thresholds import hard_amount
from sampan.records import dataclass

KUBELET_VERSION = "v1.37.0"
#: fields of the status that the node alone writes
_FIELDS = (
    "addresses",
    "capacity",
    "allocatable",
    "daemonEndpoints",
    "nodeInfo",
    "images",
    "runtimeHandlers",
    "features",
    "volumesInUse",
)


def render_capacity(machine: Machine, config: NodeConfig) -> Obj:
    """Quantities here are in the form in which the API server keeps them, to be compared with it."""
    return {
        "cpu": str(machine.cpus),
        "ephemeral-storage": quantity.canonical(f"{machine.disk_bytes // 1024}Ki"),
        **{name: _quantity(size) for name, size in machine.hugepages.items()},
        "memory": quantity.canonical(f"{machine.memory_bytes // 1024}Ki"),
        "pods": str(config.max_pods),
        **config.extended_resources,
    }


def render_allocatable(machine: Machine, config: NodeConfig) -> Obj:
    """Capacity less what is reserved, and less what eviction keeps free."""
    allocatable, reserved, hard = render_capacity(machine, config), reservations(config), config.eviction_thresholds
    millis = machine.cpus * 1000 - reserved.get("cpu", 0)
    memory = pods_memory_bytes(machine, config) - hard_amount(hard, "memory.available", machine.memory_bytes)
    memory -= sum(machine.hugepages.values())  # they are given by themselves
    disk = machine.disk_bytes - reserved.get("ephemeral-storage", 0)
    disk -= hard_amount(hard, "nodefs.available", machine.disk_bytes)
    allocatable["cpu"] = quantity.canonical(f"{max(millis, 0)}m")
    allocatable["memory"] = quantity.canonical(f"{max(memory, 0) // 1024}Ki")
    allocatable["ephemeral-storage"] = quantity.canonical(max(disk, 0))
    return allocatable


def reservations(config: NodeConfig) -> Amounts:
    """What is no pod's, of each resource."""
    total: Amounts = {}
    for listed in (config.kube_reserved, config.system_reserved):
        for name, value in amounts(dict(listed)).items():
            total[name] = total.get(name, 0) + value
    return total


def _quantity(size_bytes: int) -> str:
    return quantity.format_quantity(size_bytes, "BinarySI")


def check_reservations(config: NodeConfig, *, cpus: int, memory_bytes: int, disk_bytes: int) -> None:
    """Raises ValueError with the kubelet's words: more is no pod's than there is."""
    kept, hard, wrong = reservations(config), config.eviction_thresholds, []
    keeps: list[tuple[str, int, int, quantity.Format]] = [
        ("cpu", 0, cpus * 1000, "DecimalSI"),
        ("memory", hard_amount(hard, "memory.available", memory_bytes), memory_bytes, "BinarySI"),
        ("ephemeral-storage", hard_amount(hard, "nodefs.available", disk_bytes), disk_bytes, "BinarySI"),
    ]
    for name, for_eviction, capacity, kind in keeps:
        reserved = kept.get(name, 0) + for_eviction
        if name in kept and reserved > capacity:
            unit = 1000 if name == "cpu" else 1
            shown, there = (quantity.format_quantity(Fraction(each, unit), kind) for each in (reserved, capacity))
            wrong.append(
                f'Resource "{name}" has a reservation of {shown} but capacity of {there}. '
                "Expected capacity >= reservation."
            )
    if wrong:
        raise ValueError(f"invalid Node Allocatable configuration. {' '.join(wrong)}")


def pods_memory_bytes(machine: Machine, config: NodeConfig) -> int:
    """What all pods together may use; what eviction keeps free is on top of it, as upstream."""
    return max(machine.memory_bytes - reservations(config).get("memory", 0), 0)


def pods_millicores(machine: Machine, config: NodeConfig) -> int:
    return max(machine.cpus * 1000 - reservations(config).get("cpu", 0), 0)


def render_labels(machine: Machine, config: NodeConfig) -> dict[str, str]:
    """Those that the node keeps as they are; the configuration's are only given to a new Node."""
    return {
        "beta.kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/hostname": config.node_name,
        "kubernetes.io/os": "linux",
    }


@dataclass(frozen=True, slots=True)
class Health:
    """What the conditions are made of."""

    not_ready: str = ""
    memory_pressure: bool = False
    disk_pressure: bool = False
    pid_pressure: bool = False


def judge_health(pressures: Collection[str], not_ready: str) -> Health:
    """``not_ready`` says why the node takes no pods; "" when it does. ``pressures``: conditions that hold."""
    return Health(
        not_ready=not_ready,
        memory_pressure="MemoryPressure" in pressures,
        disk_pressure="DiskPressure" in pressures,
        pid_pressure="PIDPressure" in pressures,
    )


def describe_conditions(conditions: Sequence[runtime.RuntimeCondition]) -> str:
    """Why the runtime is not ready, in the kubelet's words; "" when it is."""
    reasons = []
    for condition in conditions:
        if condition.status:
            continue
        detail = f"{condition.type}=false reason:{condition.reason} message:{condition.message}"
        if condition.type == "NetworkReady":
            reasons.append(f"container runtime network not ready: {detail}")
        elif condition.type == "RuntimeReady":
            reasons.append(f"container runtime not ready: {detail}")
    return ", ".join(reasons)


def render_conditions(health: Health, previous: Sequence[Obj], now: datetime) -> list[Obj]:
    ready = not health.not_ready
    wanted = [
        (
            "MemoryPressure", health.memory_pressure,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        (
            "DiskPressure", health.disk_pressure,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        (
            "PIDPressure", health.pid_pressure,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        (
            "Ready", ready,
            ("KubeletReady", "kubelet is posting ready status"),
            ("KubeletNotReady", f"[{health.not_ready}]"),
        ),
    ]  # fmt: skip
    known = {item["type"]: item for item in previous}
    stamp = format_time(now)
    conditions = []
    for kind, holds, if_true, if_false in wanted:
        status = "True" if holds else "False"
        before = known.get(kind)
        same = before is not None and before.get("status") == status
        reason, message = if_true if holds else if_false
        conditions.append(
            {
                "type": kind,
                "status": status,
                "lastHeartbeatTime": stamp,
                "lastTransitionTime": before["lastTransitionTime"] if same and before is not None else stamp,
                "reason": reason,
                "message": message,
            }
        )
    return conditions


def render_status(
    machine: Machine,
    config: NodeConfig,
    version: runtime.Version,
    images: Sequence[runtime.Image],
    features: runtime.Features,
    present: Obj,
    devices: Mapping[str, tuple[int, int]] | None = None,
) -> Obj:
    """The status without its conditions. ``present``: the API's; resources that others advertise in its capacity
    (``example.com/dongle``) are allocatable as they are. ``devices``: of plug-ins, capacity and allocatable."""
    lent = devices or {}
    shown = len(images) if config.status_max_images < 0 else config.status_max_images
    largest = sorted(images, key=lambda image: -image.size_bytes)[:shown]
    ours = render_capacity(machine, config)
    others = {name: amount for name, amount in (present.get("capacity") or {}).items() if name not in ours}
    return {
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in config.addresses),
            {"type": "Hostname", "address": config.node_name},
        ],
        "capacity": {**others, **ours, **{name: str(all_) for name, (all_, _) in lent.items()}},
        "allocatable": {
            **others,
            **render_allocatable(machine, config),
            **{name: str(healthy) for name, (_, healthy) in lent.items()},
        },
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.node_api_port}},
        "nodeInfo": {
            "architecture": machine.architecture,
            "bootID": machine.boot_id,
            "containerRuntimeVersion": f"{version.name}://{version.version}",
            "kernelVersion": machine.kernel_version,
            "kubeProxyVersion": "",
            "kubeletVersion": KUBELET_VERSION,
            "machineID": machine.machine_id,
            "operatingSystem": "linux",
            "osImage": machine.os_image,
            "systemUUID": machine.system_uuid,
            **({"swap": {"capacity": machine.swap_bytes}} if machine.swap_bytes else {}),
        },
        "images": [
            {"names": [*image.digests, *image.tags][:5], "sizeBytes": image.size_bytes}
            for image in largest
            if image.digests or image.tags
        ],
        **_features(features),
    }


def _features(features: runtime.Features) -> Obj:
    """Absent: a runtime that tells of nothing."""
    handlers = [
        {
            "name": name,
            "features": {
                "recursiveReadOnlyMounts": handler.recursive_read_only_mounts,
                "userNamespaces": handler.user_namespaces,
            },
        }
        for name, handler in sorted(features.handlers.items())
    ]
    policy = features.supplemental_groups_policy
    return {"runtimeHandlers": handlers or None, "features": {"supplementalGroupsPolicy": True} if policy else None}


def differs(wanted: Obj, present: Obj) -> bool:
    """Whether the API's status says anything else than it should, stamps of heartbeats apart."""
    told = {item.get("type"): item for item in present.get("conditions") or ()}
    return any((wanted[name] or None) != (present.get(name) or None) for name in _FIELDS) or any(
        item.get(name) != told.get(item["type"], {}).get(name)
        for item in wanted["conditions"]
        for name in ("status", "reason", "message")
    )


#: of a condition, the Events that it became true, and that it became false
_TOLD = {
    "MemoryPressure": ("NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
    "DiskPressure": ("NodeHasDiskPressure", "NodeHasNoDiskPressure"),
    "PIDPressure": ("NodeHasInsufficientPID", "NodeHasSufficientPID"),
    "Ready": ("NodeReady", "NodeNotReady"),
}


def transitions(wanted: Obj, present: Obj) -> list[str]:
    """The reasons of the Events that tell how the node's own conditions changed, in the kubelet's words.

    A new node tells of its pressures, and of Ready only once that changes, as the kubelet does."""
    before = {item.get("type"): item.get("status") for item in present.get("conditions") or ()}
    return [
        _TOLD[item["type"]][item["status"] != "True"]
        for item in wanted["conditions"]
        if before.get(item["type"]) != item["status"] and (item["type"] != "Ready" or "Ready" in before)
    ]


def rebooted(wanted: Obj, present: Obj) -> str:
    """The machine's boot id, if it is another one than the API knows; else ""."""
    known, now = ((status.get("nodeInfo") or {}).get("bootID") or "" for status in (present, wanted))
    return str(now) if known and now != known else ""


def plan_patch(wanted: Obj, present: Obj) -> Obj:
    """A strategic merge patch of the status: the node's own conditions, by type, and the fields that differ.

    Conditions and resources of others are not in it, and so stay."""
    patch: Obj = {name: wanted[name] for name in _FIELDS if (wanted[name] or None) != (present.get(name) or None)}
    if "addresses" in patch:
        # Merged by type otherwise, so that an address that is gone would stay.
        patch["addresses"] = [{"$patch": "replace"}, *patch["addresses"]]
    patch["conditions"] = wanted["conditions"]
    return patch
