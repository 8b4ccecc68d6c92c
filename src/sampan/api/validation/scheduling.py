"""Where a pod may run: affinity, tolerations, spread constraints, scheduling gates, node selectors, taints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from sampan.api import errors, names
from sampan.api.errors import quoted
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors
from sampan.api.validation.options import Options

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_COMPARING: Final = ("Lt", "Gt")
_ACTIONS: Final = ("DoNotSchedule", "ScheduleAnyway")
_INCLUSION: Final = ("Honor", "Ignore")
_DECIMAL: Final = re.compile(r"(0|-?[1-9][0-9]*)", re.ASCII)
#: digits that are read as a number at all: leading zeros count
_LONGEST_NUMBER: Final = 1000
_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)


def _node_requirement(requirement: Obj, path: str, *, any_value: bool) -> Errors:
    found: Errors = []
    values = requirement.get("values") or []
    match requirement.get("operator", ""):
        case "In" | "NotIn":
            if not values:
                text = "must be specified when `operator` is 'In' or 'NotIn'"
                found.append(errors.required(f"{path}.values", text))
        case "Exists" | "DoesNotExist":
            if values:
                text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                found.append(errors.forbidden(f"{path}.values", text))
        case "Gt" | "Lt":
            if len(values) != 1:
                text = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                found.append(errors.required(f"{path}.values", text))
        case operator:
            found.append(errors.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    found += common.named(names.qualified_name, requirement.get("key", ""), f"{path}.key")
    for index, value in enumerate(() if any_value else values):
        found += common.named(names.label_value, value, f"{path}.values[{index}]")
    return found


def _node_field_requirement(requirement: Obj, path: str) -> Errors:
    found: Errors = []
    operator, values = requirement.get("operator", ""), requirement.get("values") or []
    if operator not in ("In", "NotIn"):
        found.append(errors.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    elif len(values) != 1:
        text = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        found.append(errors.required(f"{path}.values", text))
    if requirement.get("key") != "metadata.name":
        text = "not a valid field selector key"
        found.append(errors.invalid(f"{path}.key", requirement.get("key", ""), text))
    for index, value in enumerate(values):
        found += common.named(names.dns1123_subdomain, value, f"{path}.values[{index}]")
    return found


def node_selector_term(term: Obj, path: str, *, any_value: bool = False) -> Errors:
    """``any_value``: also values that no label has."""
    found: Errors = []
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        found += _node_requirement(requirement, f"{path}.matchExpressions[{index}]", any_value=any_value)
    for index, requirement in enumerate(term.get("matchFields") or ()):
        found += _node_field_requirement(requirement, f"{path}.matchFields[{index}]")
    return found


def node_selector(selector: Obj, path: str, *, any_value: bool = False) -> Errors:
    terms = selector.get("nodeSelectorTerms") or []
    if not terms:
        return [errors.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")]
    found: Errors = []
    for index, term in enumerate(terms):
        found += node_selector_term(term, f"{path}.nodeSelectorTerms[{index}]", any_value=any_value)
    return found


def _weight(term: Obj, path: str) -> Errors:
    if 1 <= term.get("weight", 0) <= 100:
        return []
    return [errors.invalid(f"{path}.weight", term.get("weight", 0), "must be in the range 1-100")]


REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def _node_affinity(value: Obj, path: str, options: Options) -> Errors:
    found: Errors = []
    if value.get(REQUIRED) is not None:
        any_value = options.invalid_node_affinity_values
        found += node_selector(value[REQUIRED], f"{path}.{REQUIRED}", any_value=any_value)
    for index, term in enumerate(value.get(PREFERRED) or ()):
        where = f"{path}.{PREFERRED}[{index}]"
        found += _weight(term, where)
        # A preference that no node can meet does no harm.
        found += node_selector_term(term.get("preference") or {}, f"{where}.preference", any_value=True)
    return found


def _pod_affinity_term(term: Obj, path: str, options: Options) -> Errors:
    any_value = options.invalid_selector_values
    found = common.label_selector(term.get("labelSelector"), f"{path}.labelSelector", any_value=any_value)
    found += common.label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector", any_value=any_value)
    for namespace in term.get("namespaces") or ():
        found += common.named(names.dns1123_label, namespace, f"{path}.namespace")
    matching, mismatching = term.get("matchLabelKeys") or [], term.get("mismatchLabelKeys") or []
    if matching or mismatching:
        found += label_keys(matching, mismatching, term.get("labelSelector"), path)
    if not term.get("topologyKey"):
        found.append(errors.required(f"{path}.topologyKey", "can not be empty"))
    return found + common.named(names.qualified_name, term.get("topologyKey", ""), f"{path}.topologyKey")


def label_keys(matching: list[str], mismatching: list[str], selector: Obj | None, path: str) -> Errors:
    """Labels whose values the pod's own ones say (matchLabelKeys, mismatchLabelKeys). The selector has requirements
    made of them already: a key that it has twice was there before."""
    found = _named_keys(matching, selector, f"{path}.matchLabelKeys")
    found += _named_keys(mismatching, selector, f"{path}.mismatchLabelKeys")
    positions = {key: index for index, key in enumerate(matching)}
    if selector is not None:
        present = set(selector.get("matchLabels") or ())
        for expression in selector.get("matchExpressions") or ():
            key = expression.get("key", "")
            if key in positions and key in present:
                text = "exists in both matchLabelKeys and labelSelector"
                found.append(errors.invalid(f"{path}[{positions[key]}]", key, text))
            present.add(key)
    excluded = frozenset(mismatching)
    for index, key in enumerate(matching):
        if key in excluded:
            text = "exists in both matchLabelKeys and mismatchLabelKeys"
            found.append(errors.invalid(f"{path}.matchLabelKeys[{index}]", key, text))
    return found


def _named_keys(keys: list[str], selector: Obj | None, path: str) -> Errors:
    if not keys:
        return []
    if selector is None:
        return [errors.forbidden(path, "must not be specified when labelSelector is not set")]
    return [fault for i, key in enumerate(keys) for fault in common.named(names.qualified_name, key, f"{path}[{i}]")]


def _pod_affinity(value: Obj, path: str, options: Options) -> Errors:
    found: Errors = []
    for index, term in enumerate(value.get(REQUIRED) or ()):
        found += _pod_affinity_term(term, f"{path}.{REQUIRED}[{index}]", options)
    for index, term in enumerate(value.get(PREFERRED) or ()):
        where = f"{path}.{PREFERRED}[{index}]"
        found += _weight(term, where)
        found += _pod_affinity_term(term.get("podAffinityTerm") or {}, f"{where}.podAffinityTerm", options)
    return found


def affinity(value: Obj, path: str, options: Options) -> Errors:
    found: Errors = []
    for key, check in (
        ("nodeAffinity", _node_affinity),
        ("podAffinity", _pod_affinity),
        ("podAntiAffinity", _pod_affinity),
    ):
        if value.get(key) is not None:
            found += check(value[key], f"{path}.{key}", options)
    return found


def compares(values: Iterable[Obj]) -> bool:
    """Whether a toleration compares numbers: the gate for it is off, and objects that do so already may go on."""
    return any(toleration.get("operator") in _COMPARING for toleration in values)


def tolerations(values: list[Obj] | None, path: str, *, comparing: bool = False) -> Errors:
    """``comparing``: they may compare numbers."""
    found: Errors = []
    for index, toleration in enumerate(values or ()):
        found += _toleration(toleration, f"{path}[{index}]", comparing=comparing)
    return found


def _toleration(toleration: Obj, path: str, *, comparing: bool) -> Errors:
    found: Errors = []
    key, operator, effect = toleration.get("key", ""), toleration.get("operator", ""), toleration.get("effect", "")
    if key:
        found += common.named(names.qualified_name, key, f"{path}.key")
    elif operator != "Exists":
        text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        found.append(errors.invalid(f"{path}.operator", operator, text))
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        found.append(errors.invalid(f"{path}.effect", effect, text))
    found += _toleration_value(operator, toleration.get("value", ""), path, comparing=comparing)
    if effect and effect not in TAINT_EFFECTS:
        found.append(errors.not_supported(f"{path}.effect", effect, TAINT_EFFECTS))
    return found


def _toleration_value(operator: str, value: str, path: str, *, comparing: bool) -> Errors:
    match operator:
        case "" | "Equal":
            if value and (problems := names.label_value(value)):
                return [errors.invalid(f"{path}.operator", value, ";".join(problems))]
            return []
        case "Exists":
            text = "value must be empty when `operator` is 'Exists'"
            return [errors.invalid(f"{path}.operator", value, text)] if value else []
        case "Lt" | "Gt" if comparing:
            return _number(value, f"{path}.value")
        case _:
            return [errors.not_supported(f"{path}.operator", operator, ("Equal", "Exists"))]


def _number(value: str, path: str) -> Errors:
    found: Errors = []
    if not value:
        found.append(errors.invalid(path, value, "must be non-empty"))
    elif not _DECIMAL.fullmatch(value):
        found.append(errors.invalid(path, value, "must be a valid decimal integer in canonical form"))
    if not _INTEGER.fullmatch(value):
        found.append(errors.invalid(path, value, f"strconv.ParseInt: parsing {quoted(value)}: invalid syntax"))
    elif len(value) > _LONGEST_NUMBER or not -(2**63) <= int(value) < 2**63:
        found.append(errors.invalid(path, value, f"strconv.ParseInt: parsing {quoted(value)}: value out of range"))
    return found


def taints(values: list[Obj] | None, path: str) -> Errors:
    """``spec.taints`` of a Node: unique by key and effect."""
    found: Errors = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(values or ()):
        where = f"{path}[{index}]"
        found += common.named(names.qualified_name, taint.get("key", ""), f"{where}.key")
        found += common.named(names.label_value, taint.get("value", ""), f"{where}.value")
        found += common.one_of(taint.get("effect"), TAINT_EFFECTS, f"{where}.effect", must=True)
        identity = (taint.get("key", ""), taint.get("effect", ""))
        if identity in seen:
            found.append(errors.duplicate(where, taint))
        seen.add(identity)
    return found


def topology_spread(constraints: list[Obj], path: str, options: Options) -> Errors:
    found: Errors = []
    pairs = [(each.get("topologyKey", ""), each.get("whenUnsatisfiable", "")) for each in constraints]
    left = Counter(pairs)
    for index, (constraint, (key, action)) in enumerate(zip(constraints, pairs, strict=True)):
        where = f"{path}[{index}]"
        found += common.positive(constraint.get("maxSkew", 0), f"{where}.maxSkew")
        if not key:
            found.append(errors.required(f"{where}.topologyKey", "can not be empty"))
        if action not in _ACTIONS:
            found.append(errors.not_supported(f"{where}.whenUnsatisfiable", action, _ACTIONS))
        left[key, action] -= 1
        if left[key, action]:  # the last of its sort is the one that is let be
            found.append(errors.duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
        if (domains := constraint.get("minDomains")) is not None:
            found += common.positive(domains, f"{where}.minDomains")
            if action != "DoNotSchedule":
                text = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                found.append(errors.invalid(f"{where}.minDomains", domains, text))
        for policy in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if constraint.get(policy) is not None and constraint[policy] not in _INCLUSION:
                found.append(errors.not_supported(f"{where}.{policy}", constraint[policy], _INCLUSION))
        selector, keys = constraint.get("labelSelector"), constraint.get("matchLabelKeys") or []
        if keys:
            check = _repeated_keys if options.repeated_spread_keys else label_keys
            found += check(keys, [], selector, where)
        if not options.invalid_spread_selectors:
            found += common.label_selector(selector, f"{where}.labelSelector")
    return found


def _repeated_keys(keys: list[str], _mismatching: list[str], selector: Obj | None, path: str) -> Errors:
    """What was asked of matchLabelKeys of spread constraints until v1.33: of objects that are from then."""
    found: Errors = []
    if selector is None:
        text = "must not be specified when labelSelector is not set"
        found.append(errors.forbidden(f"{path}.matchLabelKeys", text))
    present = set((selector or {}).get("matchLabels") or ())
    present.update(each.get("key", "") for each in (selector or {}).get("matchExpressions") or ())
    for index, key in enumerate(keys):
        where = f"{path}.matchLabelKeys[{index}]"
        found += common.named(names.qualified_name, key, where)
        if key in present:
            found.append(errors.invalid(where, key, "exists in both matchLabelKeys and labelSelector"))
    return found


def scheduling_gates(gates: list[Obj] | None, path: str) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, gate in enumerate(gates or ()):
        name = gate.get("name", "")
        found += common.named(names.qualified_name, name, f"{path}[{index}]")
        if name in seen:
            found.append(errors.duplicate(f"{path}[{index}]", name))
        seen.add(name)
    return found
