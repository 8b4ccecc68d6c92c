"""A Job's policies: which failures of pods count, when it has succeeded, and when pods are replaced."""

from __future__ import annotations

from typing import Final

from sampan.api import errors, names
from sampan.api.groups.batch import job_indexes
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_MOST_RULES: Final = 20
_MOST_EXIT_CODES: Final = 255
_MOST_PATTERNS: Final = 20
_LONGEST_INDEXES_BYTES: Final = 64 * 1024

_ACTIONS: Final = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS: Final = ("In", "NotIn")
_STATUSES: Final = ("False", "True", "Unknown")


def pod_replacement(spec: Obj, path: str) -> Errors:
    policy = spec.get("podReplacementPolicy")
    if policy is None:
        return []
    allowed = ("Failed", "TerminatingOrFailed") if spec.get("podFailurePolicy") is None else ("Failed",)
    return [] if policy in allowed else [errors.not_supported(path, policy, allowed)]


# -- failures ----------------------------------------------------------------------------------------------------


def pod_failure(spec: Obj, path: str) -> Errors:
    rules = spec["podFailurePolicy"].get("rules") or []
    found: Errors = []
    if len(rules) > _MOST_RULES:
        found.append(errors.too_many(f"{path}.rules", len(rules), _MOST_RULES))
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = {c.get("name", "") for key in ("containers", "initContainers") for c in pod.get(key) or ()}
    for index, rule in enumerate(rules):
        found += _failure_rule(spec, rule, f"{path}.rules[{index}]", containers)
    return found


def _failure_rule(spec: Obj, rule: Obj, path: str, containers: set[str]) -> Errors:
    action, codes, patterns = rule.get("action", ""), rule.get("onExitCodes"), rule.get("onPodConditions") or []
    found = _enum(action, _ACTIONS, f"{path}.action")
    if action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        found.append(errors.invalid(f"{path}.action", action, "requires the backoffLimitPerIndex to be set"))
    if codes is not None:
        found += _exit_codes(codes, f"{path}.onExitCodes", containers)
    if patterns:
        found += _patterns(patterns, f"{path}.onPodConditions")
    if codes is not None and patterns:
        found.append(errors.invalid_without_value(path, "specifying both OnExitCodes and OnPodConditions is not "
                                                  "supported"))  # fmt: skip
    if codes is None and not patterns:
        found.append(errors.invalid_without_value(path, "specifying one of OnExitCodes and OnPodConditions is "
                                                  "required"))  # fmt: skip
    return found


def _enum(value: str, supported: tuple[str, ...], path: str) -> Errors:
    """Required, and told with all values when it is absent."""
    if not value:
        listed = " ".join(f'"{item}"' for item in supported)
        return [errors.required(path, f"valid values: [{listed}]")]
    return [] if value in supported else [errors.not_supported(path, value, supported)]


def _patterns(patterns: list[Obj], path: str) -> Errors:
    found: Errors = []
    if len(patterns) > _MOST_PATTERNS:
        found.append(errors.too_many(path, len(patterns), _MOST_PATTERNS))
    for index, pattern in enumerate(patterns):
        found += common.named(names.qualified_name, pattern.get("type", ""), f"{path}[{index}].type")
        found += _enum(pattern.get("status", ""), _STATUSES, f"{path}[{index}].status")
    return found


def _exit_codes(codes: Obj, path: str, containers: set[str]) -> Errors:
    operator, container, values = codes.get("operator", ""), codes.get("containerName"), codes.get("values") or []
    found = _enum(operator, _OPERATORS, f"{path}.operator")
    if container is not None and container not in containers:
        text = "must be one of the container or initContainer names in the pod template"
        found.append(errors.invalid(f"{path}.containerName", container, text))
    where = f"{path}.values"
    if not values:
        shown = errors.NIL if codes.get("values") is None else values
        found.append(errors.invalid(where, shown, "at least one value is required"))
    elif len(values) > _MOST_EXIT_CODES:
        found.append(errors.too_many(where, len(values), _MOST_EXIT_CODES))
    seen: set[int] = set()
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            found.append(errors.invalid(f"{where}[{index}]", value, "must not be 0 for the In operator"))
        if value in seen:
            found.append(errors.duplicate(f"{where}[{index}]", value))
        seen.add(value)
    if values != sorted(values):
        found.append(errors.invalid(where, values, "must be ordered"))
    return found


# -- success -----------------------------------------------------------------------------------------------------


def success(spec: Obj, path: str) -> Errors:
    """Of an Indexed Job."""
    rules = spec["successPolicy"].get("rules") or []
    found: Errors = []
    if not rules:
        text = "at least one rules must be specified when the successPolicy is specified"
        found.append(errors.required(f"{path}.rules", text))
    if len(rules) > _MOST_RULES:
        found.append(errors.too_many(f"{path}.rules", len(rules), _MOST_RULES))
    for index, rule in enumerate(rules):
        found += _success_rule(rule, spec.get("completions") or 0, f"{path}.rules[{index}]")
    return found


def _success_rule(rule: Obj, completions: int, path: str) -> Errors:
    number, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    found: Errors = []
    if number is None and indexes is None:
        text = "at least one of succeededCount or succeededIndexes must be specified"
        found.append(errors.required(path, text))
    listed = 0
    if indexes is not None:
        where = f"{path}.succeededIndexes"
        if len(indexes.encode()) > _LONGEST_INDEXES_BYTES:
            found.append(errors.too_long(where, _LONGEST_INDEXES_BYTES))
        try:
            listed = job_indexes.count(indexes, completions)
        except job_indexes.BadIndexes as error:
            found.append(errors.invalid(where, indexes, f"error parsing succeededIndexes: {error}"))
    if number is None:
        return found
    where = f"{path}.succeededCount"
    found += common.non_negative(number, where)
    if number > completions:
        text = f"must be less than or equal to {completions} (the number of specified completions)"
        found.append(errors.invalid(where, number, text))
    if indexes is not None and number > listed:
        text = f"must be less than or equal to {listed} (the number of indexes in the specified succeededIndexes field)"
        found.append(errors.invalid(where, number, text))
    return found
