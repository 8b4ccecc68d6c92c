"""The arguments of plug-ins (``pluginConfig``), with upstream's defaults, checked in upstream's words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sampan.api import names
from sampan.api.durations import parse as parse_duration
from sampan.api.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from sampan.api.types import Obj
from sampan.scheduler.configuration.fields import ARGUMENTS, BadConfiguration, check
from sampan.scheduler.plugins.noderesources import DEFAULT_SHAPE, ScoringStrategy

_STRATEGIES: Final = ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio")
_ACTIONS: Final = ("DoNotSchedule", "ScheduleAnyway")
_HIGHEST_SCORE: Final = 10

#: fields of a ProfileConfig
Changes = dict[str, Any]


def read_arguments(entries: Sequence[Obj], path: str, faults: list[FieldError]) -> Changes:
    """What ``pluginConfig`` changes of a profile; what is wrong is added to ``faults``. Raises BadConfiguration for
    fields that there are not. Arguments of plug-ins from elsewhere are theirs to check."""
    found: Changes = {}
    others: dict[str, Obj] = {}
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        where, name = f"{path}.pluginConfig[{index}]", entry.get("name", "")
        if name in seen:
            faults.append(duplicate(where, name))
        seen.add(name)
        given = entry.get("args") or {}
        if name not in ARGUMENTS:
            others[name] = given
            continue
        args = check(given, ARGUMENTS[name], f"{where}.args")
        kind = args.get("kind", f"{name}Args")
        if kind != f"{name}Args":
            raise BadConfiguration(f'{where}.args: the arguments of {name} are of kind "{name}Args", not "{kind}"')
        found.update(_READERS[name](args, f"{where}.args", faults))
    return {**found, "arguments": others} if others else found


def _preemption(args: Obj, path: str, faults: list[FieldError]) -> Changes:
    percentage = args.get("minCandidateNodesPercentage", 10)
    absolute = args.get("minCandidateNodesAbsolute", 100)
    at_percentage, at_absolute = f"{path}.minCandidateNodesPercentage", f"{path}.minCandidateNodesAbsolute"
    if not 0 <= percentage <= 100:
        faults.append(invalid(at_percentage, percentage, "not in valid range [0, 100]"))
    if absolute < 0:
        faults.append(invalid(at_absolute, absolute, "not in valid range [0, inf)"))
    if percentage == absolute == 0:
        both = "cannot be zero at the same time as "
        faults.append(invalid(at_percentage, percentage, both + "minCandidateNodesAbsolute"))
        faults.append(invalid(at_absolute, absolute, both + "minCandidateNodesPercentage"))
    return {"min_candidate_percent": percentage, "min_candidates": absolute}


def _affinity_between_pods(args: Obj, path: str, faults: list[FieldError]) -> Changes:
    weight = args.get("hardPodAffinityWeight", 1)
    if not 0 <= weight <= 100:
        faults.append(invalid(f"{path}.hardPodAffinityWeight", weight, "not in valid range [0, 100]"))
    return {
        "hard_affinity_weight": weight,
        "ignore_preferred_of_others": args.get("ignorePreferredTermsOfExistingPods", False),
    }


def _node_affinity(args: Obj, path: str, faults: list[FieldError]) -> Changes:
    added = args.get("addedAffinity")
    if added is None:
        return {}
    where = f"{path}.addedAffinity"
    needed = added.get("requiredDuringSchedulingIgnoredDuringExecution")
    if needed is not None:
        terms = needed.get("nodeSelectorTerms") or []
        if not isinstance(terms, list):
            raise BadConfiguration(f"{where}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: a list")
        for index, term in enumerate(terms):
            at = f"{where}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[{index}]"
            _node_term(term, at, faults)
    for index, wish in enumerate(added.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        at = f"{where}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
        _node_term(wish.get("preference") or {}, at, faults)
    return {"added_affinity": added}


_OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")


def _node_term(term: Any, path: str, faults: list[FieldError]) -> None:
    if not isinstance(term, dict):
        raise BadConfiguration(f"{path} must be an object")
    for name in ("matchExpressions", "matchFields"):
        for index, test in enumerate(term.get(name) or ()):
            at, operator, values = f"{path}.{name}[{index}]", test.get("operator", ""), test.get("values") or []
            if operator not in _OPERATORS:
                faults.append(not_supported(f"{at}.operator", operator, _OPERATORS))
            elif operator in ("In", "NotIn") and not values:
                faults.append(required(f"{at}.values", "for 'in', 'notin' operators, values set can't be empty"))
            elif operator in ("Gt", "Lt") and len(values) != 1:
                faults.append(
                    invalid(f"{at}.values", values, "for 'Gt', 'Lt' operators, exactly one value is required")
                )
            if name == "matchExpressions":
                faults += [
                    invalid(f"{at}.key", test.get("key", ""), m) for m in names.qualified_name(test.get("key", ""))
                ]


def _weights(resources: Sequence[Obj]) -> tuple[tuple[str, int], ...]:
    return tuple((entry.get("name", ""), entry.get("weight") or 1) for entry in resources) or (
        ("cpu", 1),
        ("memory", 1),
    )


def _balanced(args: Obj, path: str, faults: list[FieldError]) -> Changes:
    resources = _weights(args.get("resources") or ())
    seen: set[str] = set()
    for index, (name, weight) in enumerate(resources):
        if name in seen:
            faults.append(duplicate(f"{path}.resources[{index}].name", name))
        seen.add(name)
        if weight != 1:
            faults.append(invalid(f"{path}.resources[{index}].weight", weight, "must be 1"))
    return {"balanced_resources": tuple(name for name, _ in resources)}


def _fit(args: Obj, path: str, faults: list[FieldError]) -> Changes:
    for index, name in enumerate(args.get("ignoredResources") or ()):
        at = f"{path}.ignoredResources[{index}]"
        faults += [invalid(at, name, problem) for problem in names.qualified_name(name)]
    for index, group in enumerate(args.get("ignoredResourceGroups") or ()):
        at = f"{path}.ignoredResourceGroups[{index}]"
        if "/" in group:
            faults.append(invalid(at, group, "resource group name can't contain '/'"))
        faults += [invalid(at, group, problem) for problem in names.qualified_name(group)]
    strategy = args.get("scoringStrategy") or {"type": "LeastAllocated"}
    where, kind = f"{path}.scoringStrategy", strategy.get("type", "")
    if kind not in _STRATEGIES:
        faults.append(not_supported(f"{where}.type", kind, _STRATEGIES))
        kind = "LeastAllocated"
    resources = _weights(strategy.get("resources") or ())
    for index, (name, weight) in enumerate(resources):
        if not 0 < weight <= 100:
            problem = f"resource weight of {name} not in valid range (0, 100]"
            faults.append(invalid(f"{where}.resources[{index}].weight", weight, problem))
    ratio, shape = strategy.get("requestedToCapacityRatio"), DEFAULT_SHAPE
    at = f"{where}.requestedToCapacityRatio"
    if kind == "RequestedToCapacityRatio":
        if ratio is None:
            faults.append(required(at, "must be specified when type is RequestedToCapacityRatio"))
        else:
            shape = _shape(ratio.get("shape") or (), f"{at}.shape", faults)
    elif ratio is not None:
        faults.append(forbidden(at, "must be nil when type is not RequestedToCapacityRatio"))
    return {
        "fit_strategy": ScoringStrategy(kind, resources, shape),
        "ignored_resources": tuple(args.get("ignoredResources") or ()),
        "ignored_groups": tuple(args.get("ignoredResourceGroups") or ()),
    }


def _shape(points: Sequence[Obj], path: str, faults: list[FieldError]) -> tuple[tuple[int, int], ...]:
    shape = tuple((point.get("utilization", 0), point.get("score", 0)) for point in points)
    if not shape:
        faults.append(required(path, "at least one point must be specified"))
        return DEFAULT_SHAPE
    for index in range(1, len(shape)):
        if shape[index - 1][0] >= shape[index][0]:
            at = f"{path}[{index}].utilization"
            faults.append(invalid(at, shape[index][0], "values must be sorted in increasing order"))
            break
    for index, (utilization, score) in enumerate(shape):
        if not 0 <= utilization <= 100:
            faults.append(invalid(f"{path}[{index}].utilization", utilization, "not in valid range [0, 100]"))
        if not 0 <= score <= _HIGHEST_SCORE:
            faults.append(invalid(f"{path}[{index}].score", score, f"not in valid range [0, {_HIGHEST_SCORE}]"))
    return shape


def _spread(args: Obj, path: str, faults: list[FieldError]) -> Changes:
    kind, constraints = args.get("defaultingType") or "System", args.get("defaultConstraints") or []
    if kind not in ("System", "List"):
        faults.append(not_supported(f"{path}.defaultingType", kind, ("System", "List")))
    elif kind == "System" and constraints:
        faults.append(invalid(f"{path}.defaultingType", kind, "when .defaultConstraints are not empty"))
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(constraints):
        _default_constraint(constraint, f"{path}.defaultConstraints[{index}]", seen, faults)
    return {"default_spreading": kind == "System", "default_constraints": tuple(constraints)}


def _default_constraint(constraint: Obj, path: str, seen: set[tuple[str, str]], faults: list[FieldError]) -> None:
    skew, key = constraint.get("maxSkew", 0), constraint.get("topologyKey", "")
    action = constraint.get("whenUnsatisfiable", "")
    if skew <= 0:
        faults.append(invalid(f"{path}.maxSkew", skew, "not in valid range (0, inf)"))
    if not key:
        faults.append(required(f"{path}.topologyKey", "can not be empty"))
    else:
        faults += [invalid(f"{path}.topologyKey", key, problem) for problem in names.qualified_name(key)]
    if not action:
        faults.append(required(f"{path}.whenUnsatisfiable", "can not be empty"))
    elif action not in _ACTIONS:
        faults.append(not_supported(f"{path}.whenUnsatisfiable", action, _ACTIONS))
    if constraint.get("labelSelector") is not None:
        problem = "constraint must not define a selector, as they deduced for each pod"
        faults.append(forbidden(f"{path}.labelSelector", problem))
    if (key, action) in seen:
        faults.append(duplicate(path, f"{{{key}, {action}}}"))
    seen.add((key, action))


def _volume_binding(args: Obj, path: str, faults: list[FieldError]) -> Changes:
    seconds = args.get("bindTimeoutSeconds", 600)
    if seconds < 0:
        problem = "invalid BindTimeoutSeconds, should not be a negative value"
        faults.append(invalid(f"{path}.bindTimeoutSeconds", seconds, problem))
    if "shape" in args:
        problem = "unexpected field `shape`, remove it or turn on the feature gate StorageCapacityScoring"
        faults.append(invalid(f"{path}.shape", args["shape"], problem))
    return {"volume_bind_seconds": float(seconds)}


def _devices(args: Obj, path: str, faults: list[FieldError]) -> Changes:
    for name, least, problem in (
        ("filterTimeout", 0.0, "must be zero or positive"), ("bindingTimeout", 1.0, "must be at least 1 second"),
    ):  # fmt: skip
        if name not in args:
            continue
        try:
            seconds = parse_duration(args[name])
        except ValueError as error:
            raise BadConfiguration(f"{path}.{name}: {error}") from error
        if seconds < least:
            faults.append(invalid(f"{path}.{name}", args[name], problem))
    return {}


_READERS: Final[Mapping[str, Callable[[Obj, str, list[FieldError]], Changes]]] = {
    "DefaultPreemption": _preemption,
    "InterPodAffinity": _affinity_between_pods,
    "NodeAffinity": _node_affinity,
    "NodeResourcesBalancedAllocation": _balanced,
    "NodeResourcesFit": _fit,
    "PodTopologySpread": _spread,
    "VolumeBinding": _volume_binding,
    "DynamicResources": _devices,
}
