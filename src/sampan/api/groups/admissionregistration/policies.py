"""Validation of admission policies and their bindings.

Expressions are compiled here as they will be when they act: what does not compile is refused with the compiler's words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sampan.api import errors, names
from sampan.api.expressions.escaping import RESERVED
from sampan.api.groups.admissionregistration.conditions import validate_conditions, validate_expression
from sampan.api.groups.admissionregistration.rules import validate_rule
from sampan.api.groups.admissionregistration.webhooks import default_match_resources
from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

if TYPE_CHECKING:
    from sampan.api.expressions.admission import Compiled
    from sampan.api.expressions.policies import Policy

_FAILURE_POLICIES: Final = ("Fail", "Ignore")
_MATCH_POLICIES: Final = ("Equivalent", "Exact")
_REASONS: Final = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_ACTIONS: Final = ("Audit", "Deny", "Warn")
_NOT_FOUND_ACTIONS: Final = ("Deny", "Allow")
_PATCH_TYPES: Final = ("ApplyConfiguration", "JSONPatch")
_REINVOCATIONS: Final = ("IfNeeded", "Never")
_MAX_ANNOTATIONS: Final = 20
_MAX_VALUE_EXPRESSION: Final = 5 * 1024
_IDENTIFIER: Final = re.compile("[_a-zA-Z][_a-zA-Z0-9]*", re.ASCII)


# Defaults


def default_policy(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    default_match_resources(spec.get("matchConstraints"))


def default_binding(obj: Obj) -> None:
    spec = part(obj, "spec")
    default_match_resources(spec.get("matchResources"))
    if isinstance(reference := spec.get("paramRef"), dict):
        reference.setdefault("parameterNotFoundAction", "Deny")


# Policies


def validate_validating(obj: Obj) -> Errors:
    from sampan.api.expressions.policies import compile_validating  # late: most clusters have no policy

    spec = part(obj, "spec")
    policy = compile_validating(spec)
    found = _common(spec, policy)
    if not spec.get("validations") and not spec.get("auditAnnotations"):
        needed = "validations or auditAnnotations must contain at least one item"
        return [*found, errors.required("spec.validations", needed), errors.required("spec.auditAnnotations", needed)]
    for index, validation in enumerate(parts(spec, "validations")):
        path, compiled = f"spec.validations[{index}]", policy.validations[index]
        found += validate_expression(compiled.rule, f"{path}.expression")
        found += _message(validation, compiled.message_expression, path)
        found += common.one_of(validation.get("reason"), _REASONS, f"{path}.reason")
    return found + _annotations(obj, spec, policy)


def validate_mutating(obj: Obj) -> Errors:
    from sampan.api.expressions.policies import compile_mutating  # late: most clusters have no policy

    spec = part(obj, "spec")
    policy = compile_mutating(spec)
    found = _common(spec, policy)
    if not spec.get("mutations"):
        found.append(errors.required("spec.mutations", "mutations must contain at least one item"))
    for index, mutation in enumerate(parts(spec, "mutations")):
        found += _mutation(mutation, policy.mutations[index].expression, f"spec.mutations[{index}]")
    found += common.one_of(spec.get("reinvocationPolicy"), _REINVOCATIONS, "spec.reinvocationPolicy", must=True)
    return found


def _common(spec: Obj, policy: Policy) -> Errors:
    found = common.one_of(spec.get("failurePolicy"), _FAILURE_POLICIES, "spec.failurePolicy", must=True)
    if isinstance(kind := spec.get("paramKind"), dict):
        found += _param_kind(kind, "spec.paramKind")
    constraints = spec.get("matchConstraints")
    if constraints is None:
        found.append(errors.required("spec.matchConstraints"))
    else:
        found += _match_resources(constraints, "spec.matchConstraints")
        if not constraints.get("resourceRules"):
            found.append(errors.required("spec.matchConstraints.resourceRules"))
    found += validate_conditions(spec, [compiled for _, compiled in policy.conditions], "spec.matchConditions")
    for index, variable in enumerate(policy.variables):
        path = f"spec.variables[{index}]"
        if not variable.name.strip():
            found.append(errors.required(f"{path}.name", "name is not specified"))
        elif not _IDENTIFIER.fullmatch(variable.name) or variable.name in RESERVED:
            found.append(errors.invalid(f"{path}.name", variable.name, "name is not a valid CEL identifier"))
        found += validate_expression(variable.compiled, f"{path}.expression")
    return found


def _message(validation: Obj, made: Compiled | None, path: str) -> Errors:
    found: Errors = []
    if made is not None:
        if not made.expression.strip():
            where = f"{path}.messageExpression"
            found.append(errors.invalid(where, made.expression, "must be non-empty if specified"))
        else:
            found += validate_expression(made, f"{path}.messageExpression")
    message = text(validation, "message")
    if message and not message.strip():
        found.append(errors.invalid(f"{path}.message", message, "message must be non-empty if specified"))
    elif "\n" in message.strip() or "\r" in message.strip():
        found.append(errors.invalid(f"{path}.message", message, "message must not contain line breaks"))
    return found


def _annotations(obj: Obj, spec: Obj, policy: Policy) -> Errors:
    found: Errors = []
    name = text(part(obj, "metadata"), "name")
    if len(policy.annotations) > _MAX_ANNOTATIONS:
        told = f"must not have more than {_MAX_ANNOTATIONS} auditAnnotations"
        found.append(errors.invalid("spec.auditAnnotations", spec["auditAnnotations"], told))
    seen: set[str] = set()
    for index, annotation in enumerate(policy.annotations):
        path = f"spec.auditAnnotations[{index}]"
        if name:
            found += common.named(names.qualified_name, f"{name}/{annotation.key}", f"{path}.key")
        else:
            found.append(errors.invalid(f"{path}.key", annotation.key, "requires metadata.name be non-empty"))
        where = f"{path}.valueExpression"
        if len(annotation.value.expression.strip()) > _MAX_VALUE_EXPRESSION:
            found.append(errors.required(where, f"must not exceed {_MAX_VALUE_EXPRESSION} bytes in length"))
        else:
            found += validate_expression(annotation.value, where, "valueExpression is not specified")
        if annotation.key in seen:
            found.append(errors.duplicate(f"{path}.key", annotation.key))
        seen.add(annotation.key)
    return found


def _mutation(mutation: Obj, compiled: Compiled, path: str) -> Errors:
    kind = text(mutation, "patchType")
    if found := common.one_of(kind, _PATCH_TYPES, f"{path}.patchType", must=True):
        return found
    fields = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
    wanted = fields[kind]
    other = next(field for field in fields.values() if field != wanted)
    if mutation.get(wanted) is None:
        found.append(errors.required(f"{path}.{wanted}", f"must be specified when patchType is {kind}"))
    else:
        found += validate_expression(compiled, f"{path}.{wanted}.expression")
    if mutation.get(other) is not None:
        found.append(errors.forbidden(f"{path}.{other}", f"must not be specified when patchType is {kind}"))
    return found


# What they match


def _param_kind(kind: Obj, path: str) -> Errors:
    version = text(kind, "apiVersion")
    found = [errors.required(f"{path}.apiVersion")] if not version else _group_version(version, f"{path}.apiVersion")
    name = text(kind, "kind")
    if not name:
        return [*found, errors.required(f"{path}.kind")]
    if problems := names.dns1035_label(name.lower()):
        told = f"may have mixed case, but should otherwise match: {','.join(problems)}"
        found.append(errors.invalid(f"{path}.kind", name, told))
    return found


def _group_version(given: str, path: str) -> Errors:
    if given.count("/") > 1:
        return [errors.invalid(path, given, f"unexpected GroupVersion string: {given}")]
    group, _, version = given.rpartition("/")
    found: Errors = []
    if group and (problems := names.dns1123_subdomain(group)):
        found.append(errors.invalid(path, group, ",".join(problems)))
    if not version:
        found.append(errors.invalid(path, given, "version must be specified"))
    elif problems := names.dns1035_label(version):
        found.append(errors.invalid(path, version, ",".join(problems)))
    return found


def _match_resources(match: Obj, path: str) -> Errors:
    found = common.one_of(match.get("matchPolicy"), _MATCH_POLICIES, f"{path}.matchPolicy", must=True)
    for key in ("namespaceSelector", "objectSelector"):
        if match.get(key) is None:
            found.append(errors.required(f"{path}.{key}"))
        found += common.label_selector(match.get(key), f"{path}.{key}")
    for key in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(parts(match, key)):
            found += _named_rule(rule, f"{path}.{key}[{index}]")
    return found


def _named_rule(rule: Obj, path: str) -> Errors:
    found: Errors = []
    listed: list[Any] = rule.get("resourceNames") or []
    seen: set[Any] = set()
    for index, name in enumerate(listed):
        where = f"{path}.resourceNames[{index}]"
        found += common.named(names.path_segment, name, where)
        if name in seen:
            found.append(errors.duplicate(where, name))
        seen.add(name)
    return found + validate_rule(rule, path)


# Bindings


def validate_binding(obj: Obj) -> Errors:
    """Of a mutating policy."""
    spec = part(obj, "spec")
    name = text(spec, "policyName")
    found: Errors = []
    if not name:
        found.append(errors.required("spec.policyName"))
    else:
        found += common.named(names.dns1123_subdomain, name, "spec.policyName")
    if isinstance(reference := spec.get("paramRef"), dict):
        found += _param_ref(reference, "spec.paramRef")
    if isinstance(match := spec.get("matchResources"), dict):
        found += _match_resources(match, "spec.matchResouces")  # upstream's spelling
    return found


def validate_validating_binding(obj: Obj) -> Errors:
    found = validate_binding(obj)
    actions: list[Any] = part(obj, "spec").get("validationActions") or []
    path = "spec.validationActions"
    seen: set[Any] = set()
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            found.append(errors.not_supported(f"{path}[{index}]", action, _ACTIONS))
        if action in seen:
            found.append(errors.duplicate(f"{path}[{index}]", action))
        seen.add(action)
    if "Deny" in actions and "Warn" in actions:
        told = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API "
            "response and headers serves no purpose)"
        )
        found.append(errors.invalid(path, actions, told))
    if not actions:
        found.append(errors.required(path, "at least one validation action is required"))
    return found


def _param_ref(reference: Obj, path: str) -> Errors:
    name, selector = text(reference, "name"), reference.get("selector")
    found = common.named(names.path_segment, name, f"{path}.name") if name else []
    exclusive = "name and selector are mutually exclusive"
    if name and selector is not None:
        found.append(errors.forbidden(f"{path}.name", exclusive))
    found += common.label_selector(selector, f"{path}.selector")
    if name and selector is not None:
        found.append(errors.forbidden(f"{path}.selector", exclusive))
    if not name and selector is None:
        found.append(errors.required(path, "one of name or selector must be specified"))
    action = reference.get("parameterNotFoundAction")
    return found + common.one_of(action, _NOT_FOUND_ACTIONS, f"{path}.parameterNotFoundAction", must=True)
