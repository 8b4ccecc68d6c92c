"""Validation of what a webhook or a policy is about: operations and resources (RuleWithOperations)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sampan.api import errors
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_OPERATIONS: Final = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES: Final = ("*", "Cluster", "Namespaced")


def validate_rule(rule: Obj, path: str) -> Errors:
    operations = rule.get("operations") or []
    found = _wildcard(operations, f"{path}.operations", "operations")
    for index, operation in enumerate(operations):
        where = f"{path}.operations[{index}]"
        if operation not in _OPERATIONS:
            found.append(errors.not_supported(where, operation, _OPERATIONS))
    found += _wildcard(rule.get("apiGroups") or [], f"{path}.apiGroups", "API groups")
    versions = rule.get("apiVersions") or []
    found += _wildcard(versions, f"{path}.apiVersions", "API versions")
    found += [errors.required(f"{path}.apiVersions[{index}]") for index, each in enumerate(versions) if not each]
    found += _resources(rule.get("resources") or [], f"{path}.resources")
    return found + common.one_of(rule.get("scope"), _SCOPES, f"{path}.scope")


def _wildcard(values: Sequence[str], path: str, what: str) -> Errors:
    if not values:
        return [errors.required(path)]
    if len(values) > 1 and "*" in values:
        return [errors.invalid(path, values, f"if '*' is present, must not specify other {what}")]
    return []


def _resources(resources: Sequence[str], path: str) -> Errors:
    """What a wildcard says already must not be said again."""
    if not resources:
        return [errors.required(path)]
    found: Errors = []
    all_of: set[str] = set()
    of_all: set[str] = set()
    plain = False
    for index, given in enumerate(resources):
        where = f"{path}[{index}]"
        if not given:
            found.append(errors.required(where))
            continue
        resource, slash, subresource = given.partition("/")
        if not slash:
            plain = given != "*"
            continue
        if resource in all_of:
            found.append(errors.invalid(where, given, f"if '{resource}/*' is present, must not specify {given}"))
        if subresource in of_all:
            found.append(errors.invalid(where, given, f"if '*/{subresource}' is present, must not specify {given}"))
        if subresource == "*":
            all_of.add(resource)
        if resource == "*":
            of_all.add(subresource)
    if len(resources) > 1 and "*/*" in resources:
        found.append(errors.invalid(path, resources, "if '*/*' is present, must not specify other resources"))
    if plain and "*" in resources:
        text = "if '*' is present, must not specify other resources without subresources"
        found.append(errors.invalid(path, resources, text))
    return found
