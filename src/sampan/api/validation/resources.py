"""Names and amounts of resources: containers' requests and limits, resource lists of other kinds."""

from __future__ import annotations

from sampan.api import errors, names, quantity
from sampan.api.types import Obj
from sampan.api.validation.common import NON_NEGATIVE, Errors

_CONTAINER_RESOURCES = frozenset(("cpu", "memory", "ephemeral-storage"))
#: Resources that are named without a prefix anywhere (core/helper IsStandardResourceName), hugepages-* besides.
_STANDARD_RESOURCES = _CONTAINER_RESOURCES | {
    "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims",
    "storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage", "requests.storage", "limits.cpu",
    "limits.memory", "limits.ephemeral-storage", "services.nodeports", "services.loadbalancers",
}  # fmt: skip

OBJECT_COUNT_RESOURCES = frozenset((
    "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims",
    "services.nodeports", "services.loadbalancers",
))  # fmt: skip


def is_huge_page(name: str) -> bool:
    return name.startswith("hugepages-")


def is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    return not is_native(name) and not name.startswith("requests.") and not names.qualified_name(f"requests.{name}")


def is_integer(name: str) -> bool:
    return name in OBJECT_COUNT_RESOURCES or is_extended(name)


def resource_name(name: str, path: str) -> Errors:
    found = [errors.invalid(path, name, text) for text in names.qualified_name(name)]
    if not found and "/" not in name and name not in _STANDARD_RESOURCES and not is_huge_page(name):
        found.append(errors.invalid(path, name, "must be a standard resource type or fully qualified"))
    return found


def container_resource_name(name: str, path: str) -> Errors:
    found = resource_name(name, path)
    if found:
        return found
    if "/" not in name:
        if name not in _CONTAINER_RESOURCES and not is_huge_page(name):
            found.append(errors.invalid(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        found.append(errors.invalid(path, name, "doesn't follow extended resource name standard"))
    return found


def resource_quantity(name: str, amount: str, path: str) -> Errors:
    found: Errors = []
    value = quantity.parse(amount)
    if value < 0:
        found.append(errors.invalid(path, quantity.canonical(amount), NON_NEGATIVE))
    if is_integer(name) and value.denominator != 1:
        found.append(errors.invalid(path, quantity.canonical(amount), "must be an integer"))
    return found


def resource_list(resources: Obj | None, path: str) -> Errors:
    found: Errors = []
    for name, amount in (resources or {}).items():
        found += resource_name(name, f"{path}[{name}]")
        found += resource_quantity(name, amount, f"{path}[{name}]")
    return found


def resource_requirements(requirements: Obj | None, path: str, claims: frozenset[str] = frozenset()) -> Errors:
    """``resources`` of a container. ``claims``: names of the pod's resourceClaims."""
    if not requirements:
        return []
    found: Errors = []
    limits, requests = requirements.get("limits") or {}, requirements.get("requests") or {}
    for key, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            found += container_resource_name(name, f"{path}.{key}[{name}]")
            found += resource_quantity(name, amount, f"{path}.{key}[{name}]")
    for name, amount in requests.items():
        found += _request_fits(name, amount, limits, path)
    has_huge = any(is_huge_page(name) for name in (*limits, *requests))
    if has_huge and not ({"cpu", "memory"} & {*limits, *requests}):
        found.append(errors.forbidden(path, "HugePages require cpu or memory"))
    for index, claim in enumerate(requirements.get("claims") or ()):
        name = claim.get("name", "")
        if not name:
            found.append(errors.required(f"{path}.claims[{index}]"))
        elif name not in claims:
            found.append(errors.not_found_value(f"{path}.claims[{index}]", name))
    return found


def _request_fits(name: str, amount: str, limits: Obj, path: str) -> Errors:
    exact = is_extended(name) or is_huge_page(name)
    shown = quantity.canonical(amount)
    if name not in limits:
        text = "Limit must be set for non overcommitable resources"
        return [errors.required(f"{path}.limits", text)] if exact else []
    limit = limits[name]
    order = quantity.compare(amount, limit)
    if exact and order != 0:
        text = f"must be equal to {name} limit of {quantity.canonical(limit)}"
        return [errors.invalid(f"{path}.requests", shown, text)]
    if order > 0:
        text = f"must be less than or equal to {name} limit of {quantity.canonical(limit)}"
        return [errors.invalid(f"{path}.requests", shown, text)]
    return []
