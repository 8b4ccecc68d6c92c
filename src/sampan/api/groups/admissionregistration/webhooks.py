"""Webhooks of the two webhook configurations: defaults and validation; defaults of what policies match."""

from __future__ import annotations

from typing import Final

from sampan.api import errors, names
from sampan.api.groups.admissionregistration.conditions import validate_match_conditions
from sampan.api.groups.admissionregistration.rules import validate_rule
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.clientconfig import client_config
from sampan.api.validation.common import Errors

_REVIEWS: Final = ("v1", "v1beta1")
_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun")
_REINVOCATIONS: Final = ("IfNeeded", "Never")


def default_webhooks(obj: Obj, *, reinvocation: bool = False) -> None:
    for hook in obj.get("webhooks") or ():
        hook.setdefault("failurePolicy", "Fail")
        hook.setdefault("matchPolicy", "Equivalent")
        hook.setdefault("namespaceSelector", {})
        hook.setdefault("objectSelector", {})
        hook.setdefault("timeoutSeconds", 10)
        if reinvocation:
            hook.setdefault("reinvocationPolicy", "Never")
        service = (hook.get("clientConfig") or {}).get("service")
        if service is not None:
            service.setdefault("port", 443)
        for rule in hook.get("rules") or ():
            rule.setdefault("scope", "*")


def default_match_resources(match: Obj | None) -> None:
    """What an admission policy, or a binding, applies to."""
    if match is None:
        return
    match.setdefault("matchPolicy", "Equivalent")
    match.setdefault("namespaceSelector", {})
    match.setdefault("objectSelector", {})
    for key in ("resourceRules", "excludeResourceRules"):
        for rule in match.get(key) or ():
            rule.setdefault("scope", "*")


def validate_webhooks(obj: Obj, *, reinvocation: bool = False) -> Errors:
    """``reinvocation``: of the mutating ones."""
    found: Errors = []
    seen: set[str] = set()
    for index, hook in enumerate(obj.get("webhooks") or ()):
        path, name = f"webhooks[{index}]", hook.get("name", "")
        found += _webhook(hook, path)
        if reinvocation:
            found += common.one_of(hook.get("reinvocationPolicy"), _REINVOCATIONS, f"{path}.reinvocationPolicy")
        found += _review_versions(hook.get("admissionReviewVersions") or [], f"{path}.admissionReviewVersions")
        if name and name in seen:
            found.append(errors.duplicate(f"{path}.name", name))
        seen.add(name)
    return found


def _webhook(hook: Obj, path: str) -> Errors:
    found = _name(hook.get("name", ""), f"{path}.name")
    for index, rule in enumerate(hook.get("rules") or ()):
        found += validate_rule(rule, f"{path}.rules[{index}]")
    found += common.one_of(hook.get("failurePolicy"), ("Fail", "Ignore"), f"{path}.failurePolicy")
    found += common.one_of(hook.get("matchPolicy"), ("Equivalent", "Exact"), f"{path}.matchPolicy")
    if hook.get("sideEffects") is None:
        found.append(errors.required(f"{path}.sideEffects", f"must specify one of {', '.join(_SIDE_EFFECTS)}"))
    else:
        found += common.one_of(hook["sideEffects"], _SIDE_EFFECTS, f"{path}.sideEffects")
    timeout = hook.get("timeoutSeconds")
    if timeout is not None and not 1 <= timeout <= 30:
        text = "the timeout value must be between 1 and 30 seconds"
        found.append(errors.invalid(f"{path}.timeoutSeconds", timeout, text))
    for key in ("namespaceSelector", "objectSelector"):
        found += common.label_selector(hook.get(key), f"{path}.{key}")
    found += client_config(hook.get("clientConfig") or {}, f"{path}.clientConfig")
    return found + validate_match_conditions(hook, f"{path}.matchConditions")


def _name(name: str, path: str) -> Errors:
    """A fully qualified name."""
    if not name:
        return [errors.required(path)]
    if problems := names.dns1123_subdomain(name):
        return [errors.invalid(path, name, ",".join(problems))]
    if name.count(".") < 2:
        return [errors.invalid(path, name, "should be a domain with at least three segments separated by dots")]
    return []


def _review_versions(versions: list[str], path: str) -> Errors:
    listed = ", ".join(_REVIEWS)
    if not versions:
        return [errors.required(path, f"must specify one of {listed}")]
    found: Errors = []
    seen: set[str] = set()
    for index, version in enumerate(versions):
        where = f"{path}[{index}]"
        if version in seen:
            found.append(errors.invalid(where, version, "duplicate version"))
        else:
            found += [errors.invalid(where, version, problem) for problem in names.dns1035_label(version)]
        seen.add(version)
    if not set(versions) & set(_REVIEWS):
        found.append(errors.invalid(path, versions, f"must include at least one of {listed}"))
    return found
