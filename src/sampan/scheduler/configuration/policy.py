"""The Policy that named predicates and priorities (v1, removed by 1.23), as the profile that it means today. Pure.

Names and what became of each are upstream's own translation; what its plug-ins no longer do is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sampan.api.errors import FieldError, invalid
from sampan.api.types import Obj
from sampan.scheduler.config import DEFAULT_SETS, ProfileConfig, SchedulerConfig
from sampan.scheduler.configuration.extenders import read_extenders
from sampan.scheduler.configuration.fields import EXTENDER, BadConfiguration, check, refuse
from sampan.scheduler.plugins.noderesources import ScoringStrategy
from sampan.scheduler.pluginsets import ALL, PluginSet, PluginSets, Use

_FIT, _AFFINITY, _PORTS = "NodeResourcesFit", "NodeAffinity", "NodePorts"
#: the filters that a predicate stands for; (): its work is done by filters that are always there
PREDICATES: Final[Mapping[str, tuple[str, ...]]] = {
    "GeneralPredicates": (_FIT, "NodeName", _PORTS, _AFFINITY),
    "PodFitsResources": (_FIT,),
    "PodFitsHost": ("NodeName",),
    "HostName": ("NodeName",),
    "PodFitsPorts": (_PORTS,),
    "PodFitsHostPorts": (_PORTS,),
    "PodSelectorMatches": (_AFFINITY,),
    "PodSelectorMatcher": (_AFFINITY,),
    "MatchNodeSelector": (_AFFINITY,),
    "NoDiskConflict": ("VolumeRestrictions",),
    "NoVolumeZoneConflict": ("VolumeZone",),
    "MaxCSIVolumeCountPred": ("NodeVolumeLimits",),
    "MaxEBSVolumeCount": ("NodeVolumeLimits",),
    "MaxGCEPDVolumeCount": ("NodeVolumeLimits",),
    "MaxAzureDiskVolumeCount": ("NodeVolumeLimits",),
    "MaxCinderVolumeCount": ("NodeVolumeLimits",),
    "CheckVolumeBinding": ("VolumeBinding",),
    "MatchInterPodAffinity": ("InterPodAffinity",),
    "EvenPodsSpread": ("PodTopologySpread",),
    "PodToleratesNodeTaints": (),
    "PodToleratesNodeNoExecuteTaints": (),
    "CheckNodeUnschedulable": (),
    "CheckNodeCondition": (),
    "CheckNodeMemoryPressure": (),
    "CheckNodeDiskPressure": (),
    "CheckNodePIDPressure": (),
}
PRIORITIES: Final[Mapping[str, str]] = {
    "LeastRequestedPriority": _FIT,
    "MostRequestedPriority": _FIT,
    "RequestedToCapacityRatioPriority": _FIT,
    "BalancedResourceAllocation": "NodeResourcesBalancedAllocation",
    "ImageLocalityPriority": "ImageLocality",
    "InterPodAffinityPriority": "InterPodAffinity",
    "NodeAffinityPriority": _AFFINITY,
    "TaintTolerationPriority": "TaintToleration",
    "SelectorSpreadPriority": "PodTopologySpread",
    "ServiceSpreadingPriority": "PodTopologySpread",
    "EvenPodsSpreadPriority": "PodTopologySpread",
    "EqualPriority": "",
}
_STRATEGIES: Final = {"LeastRequestedPriority": "LeastAllocated", "MostRequestedPriority": "MostAllocated"}
#: filters that no Policy could leave out
_ALWAYS: Final = ("NodeUnschedulable", "TaintToleration", "DynamicResources")
_FIELDS: Final = {
    "apiVersion": "text",
    "kind": "text",
    "predicates": [{"name": "text", "argument": "object"}],
    "priorities": [{"name": "text", "weight": "whole", "argument": "object"}],
    "extenders": [{**EXTENDER, "apiVersion": "text", "httpTimeout": "whole"}],
    "hardPodAffinitySymmetricWeight": "whole",
    "alwaysCheckAllPredicates": "truth",
}


def read(document: Obj) -> tuple[SchedulerConfig, tuple[str, ...]]:
    """The configuration, and what was accepted and does not act. Raises BadConfiguration."""
    policy = check(document, _FIELDS)
    faults: list[FieldError] = []
    points: dict[str, PluginSet] = {}
    changes: dict[str, Any] = {}
    if "predicates" in policy:
        points["filter"] = _filters(policy["predicates"])
    if "priorities" in policy:
        points["score"] = _scores(policy["priorities"], changes, faults)
    if "hardPodAffinitySymmetricWeight" in policy:
        weight = changes["hard_affinity_weight"] = policy["hardPodAffinitySymmetricWeight"]
        if not 0 <= weight <= 100:
            faults.append(invalid("hardPodAffinitySymmetricWeight", weight, "not in valid range [0-100]"))
    listed = policy.get("extenders") or ()
    for extender in listed:
        if "httpTimeout" in extender:  # nanoseconds, as Go wrote a Duration then
            extender["httpTimeout"] = f"{extender['httpTimeout']}ns"
    extenders = read_extenders(listed, faults)
    refuse(faults)
    profile = ProfileConfig(plugins=PluginSets(DEFAULT_SETS.multi_point, points), **changes)
    warnings = ("alwaysCheckAllPredicates has no effect",) if "alwaysCheckAllPredicates" in policy else ()
    return SchedulerConfig((profile,), extenders=extenders), warnings


def _filters(predicates: Sequence[Obj]) -> PluginSet:
    wanted = set(_ALWAYS)
    for predicate in predicates:
        name = predicate.get("name", "")
        if name not in PREDICATES:
            raise BadConfiguration(f'predicates: "{name[:60]}" is no predicate, or one that no plug-in does any more')
        if predicate.get("argument"):
            raise BadConfiguration(f'predicates: "{name}": arguments of predicates are no longer known')
        wanted.update(PREDICATES[name])
    ordered = tuple(use for use in DEFAULT_SETS.multi_point.enabled if use.name in wanted)
    return PluginSet(ordered, frozenset((ALL,)))


def _scores(priorities: Sequence[Obj], changes: dict[str, Any], faults: list[FieldError]) -> PluginSet:
    weights: dict[str, int] = {}
    for index, priority in enumerate(priorities):
        name, weight = priority.get("name", ""), priority.get("weight", 0)
        if name not in PRIORITIES:
            raise BadConfiguration(f'priorities: "{name[:60]}" is no priority, or one that no plug-in does any more')
        if weight <= 0:
            problem = "must have a positive weight applied to it"
            faults.append(invalid(f"priorities[{index}].weight", weight, problem))
        if priority.get("argument"):
            raise BadConfiguration(
                f'priorities: "{name}": write its argument as pluginConfig of a KubeSchedulerConfiguration'
            )
        plugin = PRIORITIES[name]
        if plugin:
            weights[plugin] = weights.get(plugin, 0) + weight
        if name in _STRATEGIES:
            changes["fit_strategy"] = ScoringStrategy(_STRATEGIES[name])  # type: ignore[arg-type]  # two of three words
    if {"LeastRequestedPriority", "MostRequestedPriority"} <= {p.get("name") for p in priorities}:
        raise BadConfiguration("priorities: LeastRequestedPriority and MostRequestedPriority contradict each other")
    return PluginSet(tuple(Use(name, weight) for name, weight in weights.items()), frozenset((ALL,)))
