"""Where a pod may run: affinity, tolerations, spread constraints, scheduling gates, node selectors, taints."""

from __future__ import annotations

from sampan.api import errors, names
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def _node_requirement(requirement: Obj, path: str) -> Errors:
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
    for index, value in enumerate(values):
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


def node_selector_term(term: Obj, path: str) -> Errors:
    found: Errors = []
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        found += _node_requirement(requirement, f"{path}.matchExpressions[{index}]")
    for index, requirement in enumerate(term.get("matchFields") or ()):
        found += _node_field_requirement(requirement, f"{path}.matchFields[{index}]")
    return found


def node_selector(selector: Obj, path: str) -> Errors:
    terms = selector.get("nodeSelectorTerms") or []
    if not terms:
        return [errors.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")]
    return [
        fault for i, term in enumerate(terms) for fault in node_selector_term(term, f"{path}.nodeSelectorTerms[{i}]")
    ]


def _weight(term: Obj, path: str) -> Errors:
    if 1 <= term.get("weight", 0) <= 100:
        return []
    return [errors.invalid(f"{path}.weight", term.get("weight", 0), "must be in the range 1-100")]


_REQUIRED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def _node_affinity(value: Obj, path: str) -> Errors:
    found: Errors = []
    if value.get(_REQUIRED) is not None:
        found += node_selector(value[_REQUIRED], f"{path}.{_REQUIRED}")
    for index, term in enumerate(value.get(_PREFERRED) or ()):
        where = f"{path}.{_PREFERRED}[{index}]"
        found += _weight(term, where)
        found += node_selector_term(term.get("preference") or {}, f"{where}.preference")
    return found


def _pod_affinity_term(term: Obj, path: str) -> Errors:
    found = common.label_selector(term.get("labelSelector"), f"{path}.labelSelector")
    found += common.label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for index, namespace in enumerate(term.get("namespaces") or ()):
        found += common.named(names.dns1123_label, namespace, f"{path}.namespaces[{index}]")
    found += _match_label_keys(term.get("matchLabelKeys"), term.get("labelSelector"), f"{path}.matchLabelKeys")
    if not term.get("topologyKey"):
        return [*found, errors.required(f"{path}.topologyKey", "can not be empty")]
    return found + common.named(names.qualified_name, term["topologyKey"], f"{path}.topologyKey")


def _match_label_keys(keys: list[str] | None, selector: Obj | None, path: str) -> Errors:
    if not keys:
        return []
    if selector is None:
        return [errors.forbidden(path, "must not be specified when labelSelector is not set")]
    return [fault for i, key in enumerate(keys) for fault in common.named(names.qualified_name, key, f"{path}[{i}]")]


def _pod_affinity(value: Obj, path: str) -> Errors:
    found: Errors = []
    for index, term in enumerate(value.get(_REQUIRED) or ()):
        found += _pod_affinity_term(term, f"{path}.{_REQUIRED}[{index}]")
    for index, term in enumerate(value.get(_PREFERRED) or ()):
        where = f"{path}.{_PREFERRED}[{index}]"
        found += _weight(term, where)
        found += _pod_affinity_term(term.get("podAffinityTerm") or {}, f"{where}.podAffinityTerm")
    return found


def affinity(value: Obj | None, path: str) -> Errors:
    found: Errors = []
    for key, check in (
        ("nodeAffinity", _node_affinity),
        ("podAffinity", _pod_affinity),
        ("podAntiAffinity", _pod_affinity),
    ):
        if value and value.get(key) is not None:
            found += check(value[key], f"{path}.{key}")
    return found


def tolerations(values: list[Obj] | None, path: str) -> Errors:
    found: Errors = []
    for index, toleration in enumerate(values or ()):
        found += _toleration(toleration, f"{path}[{index}]")
    return found


def _toleration(toleration: Obj, path: str) -> Errors:
    found: Errors = []
    key, operator = toleration.get("key", ""), toleration.get("operator", "")
    if key:
        found += common.named(names.qualified_name, key, f"{path}.key")
    elif operator != "Exists":
        text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        found.append(errors.invalid(f"{path}.operator", operator, text))
    if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
        text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        found.append(errors.invalid(f"{path}.effect", toleration.get("effect", ""), text))
    match operator:
        case "" | "Equal":
            problems = names.label_value(toleration.get("value", ""))
            if problems:
                found.append(errors.invalid(f"{path}.operator", toleration.get("value", ""), ";".join(problems)))
        case "Exists":
            if toleration.get("value"):
                text = "value must be empty when `operator` is 'Exists'"
                found.append(errors.invalid(f"{path}.operator", toleration, text))
        case "Lt" | "Gt":
            if not toleration.get("value", "").lstrip("+-").isdigit():
                text = "value must be a valid integer when `operator` is 'Lt' or 'Gt'"
                found.append(errors.invalid(f"{path}.value", toleration.get("value", ""), text))
        case _:
            found.append(errors.not_supported(f"{path}.operator", operator, ("Equal", "Exists")))
    if toleration.get("effect"):
        found += common.one_of(toleration["effect"], TAINT_EFFECTS, f"{path}.effect")
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


def topology_spread(constraints: list[Obj] | None, path: str) -> Errors:
    found: Errors = []
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(constraints or ()):
        where = f"{path}[{index}]"
        found += common.positive(constraint.get("maxSkew", 0), f"{where}.maxSkew")
        key, action = constraint.get("topologyKey", ""), constraint.get("whenUnsatisfiable", "")
        if not key:
            found.append(errors.required(f"{where}.topologyKey", "can not be empty"))
        else:
            found += common.named(names.qualified_name, key, f"{where}.topologyKey")
        actions = ("DoNotSchedule", "ScheduleAnyway")
        if action not in actions:
            found.append(errors.not_supported(f"{where}.whenUnsatisfiable", action, actions))
        if (key, action) in seen:
            found.append(errors.duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
        seen.add((key, action))
        if constraint.get("minDomains") is not None:
            found += common.positive(constraint["minDomains"], f"{where}.minDomains")
            if action != "DoNotSchedule":
                text = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
                found.append(errors.invalid(f"{where}.minDomains", constraint["minDomains"], text))
        for policy in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            found += common.one_of(constraint.get(policy), ("Ignore", "Honor"), f"{where}.{policy}")
        selector = constraint.get("labelSelector")
        found += common.label_selector(selector, f"{where}.labelSelector")
        found += _match_label_keys(constraint.get("matchLabelKeys"), selector, f"{where}.matchLabelKeys")
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
