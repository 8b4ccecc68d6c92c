"""What the API stores and nothing acts on yet: one table, from a kind to what does not happen.

Whoever creates such an object, or applies it, is told so in a Warning header (``admission/honesty.py``). An entry goes
when its kind comes to life; a test finds the entry again by the name of what it waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from sampan.api.reading import part, parts
from sampan.api.types import Obj
from sampan.records import dataclass

#: (group, kind)
Name = tuple[str, str]


def _always(obj: Obj) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Lack:
    """``says``: what does not happen. ``waits_for``: the controllers, admission plugins or modules any of which, once
    there, makes it untrue. ``concerns``: whether it is true of this object; pure, and given whatever was admitted."""

    says: str
    waits_for: tuple[str, ...]
    concerns: Callable[[Obj], bool] = _always


def warning(name: Name, obj: Obj) -> str:
    """The text for the header; "": all that an object of this kind asks for is done."""
    lack = LACKS.get(name)
    if lack is None or not lack.concerns(obj):
        return ""
    return f"Sampan stores this {name[1]} and does not act on it yet: {lack.says}"


def _each(group: str, kinds: Iterable[str], lack: Lack) -> dict[Name, Lack]:
    return {(group, kind): lack for kind in kinds}


_GROUPS = (
    "topology constraints, claims of a whole group, groups of groups, and disruption of all pods at once are not "
    "heeded; gangs are scheduled together"
)
_UNHEEDED = ("parentCompositePodGroupName", "schedulingConstraints", "resourceClaims")
_TAINTED_DEVICES = "no device is kept from pods by it, and no pod is evicted; taints in a ResourceSlice are honoured"
_FAIRNESS = "requests are limited by their number alone, not by priority"
_LIFECYCLE = "nobody carries the eviction out; use the eviction subresource of the pod"


def _asks_more(spec: Obj) -> bool:
    return part(spec, "disruptionMode").get("all") is not None or any(spec.get(key) for key in _UNHEEDED)


def _group_asks_more(obj: Obj) -> bool:
    return _asks_more(part(obj, "spec"))


def _workload_asks_more(obj: Obj) -> bool:
    spec = part(obj, "spec")
    return bool(spec.get("compositePodGroupTemplates")) or any(map(_asks_more, parts(spec, "podGroupTemplates")))


LACKS: Mapping[Name, Lack] = MappingProxyType(
    {
        ("scheduling.k8s.io", "CompositePodGroup"): Lack(
            "its groups are scheduled each for itself", ("sampan.scheduler.compositegroups",)
        ),
        ("scheduling.k8s.io", "PodGroup"): Lack(_GROUPS, ("sampan.scheduler.placements",), _group_asks_more),
        ("scheduling.k8s.io", "Workload"): Lack(_GROUPS, ("sampan.scheduler.placements",), _workload_asks_more),
        ("coordination.k8s.io", "LeaseCandidate"): Lack(
            "nobody elects a leader among candidates", ("sampan.server.leaderelection",)
        ),
        **_each(
            "flowcontrol.apiserver.k8s.io",
            ("FlowSchema", "PriorityLevelConfiguration"),
            Lack(_FAIRNESS, ("sampan.server.flowcontrol",)),
        ),
        ("resource.k8s.io", "DeviceTaintRule"): Lack(_TAINTED_DEVICES, ("device-taint-eviction-controller",)),
        ("resource.k8s.io", "ResourcePoolStatusRequest"): Lack(
            "nobody answers it", ("resourcepoolstatusrequest-controller",)
        ),
        ("storagemigration.k8s.io", "StorageVersionMigration"): Lack(
            "no controller rewrites stored objects", ("storage-version-migrator-controller",)
        ),
        **_each("lifecycle.k8s.io", ("Eviction", "EvictionRequest"), Lack(_LIFECYCLE, ("evictionrequest-controller",))),
        ("internal.apiserver.k8s.io", "StorageVersion"): Lack(
            "the server neither writes nor reads storage versions", ("storageversion-garbage-collector-controller",)
        ),
    }
)
