"""Webhooks of the two webhook configurations: defaults and validation; defaults of what policies match."""

from __future__ import annotations

from sampan.api import errors, names
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


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


def validate_webhooks(obj: Obj) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, hook in enumerate(obj.get("webhooks") or ()):
        path, name = f"webhooks[{index}]", hook.get("name", "")
        found += _name(name, f"{path}.name")
        if name in seen:
            found.append(errors.duplicate(f"{path}.name", name))
        seen.add(name)
        found += _webhook(hook, path)
    return found


def _name(name: str, path: str) -> Errors:
    found = common.named(names.dns1123_subdomain, name, path)
    if not found and name.count(".") < 2:
        text = "should be a domain with at least three segments separated by dots"
        found.append(errors.invalid(path, name, text))
    return found


def _webhook(hook: Obj, path: str) -> Errors:
    found = common.one_of(hook.get("failurePolicy"), ("Fail", "Ignore"), f"{path}.failurePolicy")
    found += common.one_of(hook.get("matchPolicy"), ("Equivalent", "Exact"), f"{path}.matchPolicy")
    effects = ("None", "NoneOnDryRun")
    found += common.one_of(hook.get("sideEffects"), effects, f"{path}.sideEffects", must=True)
    timeout = hook.get("timeoutSeconds")
    if timeout is not None and not 1 <= timeout <= 30:
        text = "the timeout value must be between 1 and 30 seconds"
        found.append(errors.invalid(f"{path}.timeoutSeconds", timeout, text))
    if not hook.get("admissionReviewVersions"):
        text = "must specify one of v1, v1beta1"
        found.append(errors.required(f"{path}.admissionReviewVersions", text))
    for key in ("namespaceSelector", "objectSelector"):
        found += common.label_selector(hook.get(key), f"{path}.{key}")
    config = hook.get("clientConfig") or {}
    if bool(config.get("url")) == bool(config.get("service")):
        text = "exactly one of url or service is required"
        found.append(errors.required(f"{path}.clientConfig", text))
    for index, rule in enumerate(hook.get("rules") or ()):
        found += common.needed(rule, f"{path}.rules[{index}]", "operations", "apiGroups", "apiVersions", "resources")
    return found
