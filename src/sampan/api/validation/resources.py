"""Names and amounts of resources: containers' requests and limits, resource lists of other kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cached_property

from sampan.api import errors, names, quantity
from sampan.api.types import Obj
from sampan.api.validation import totals
from sampan.api.validation.common import NON_NEGATIVE, Errors
from sampan.api.validation.options import Options

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
    if name in _CONTAINER_RESOURCES:
        return []
    found = resource_name(name, path)
    if "/" not in name:
        if not is_huge_page(name):
            found.append(errors.invalid(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        found.append(errors.invalid(path, name, "doesn't follow extended resource name standard"))
    return found


def pod_resource_name(name: str, path: str) -> Errors:
    """Of what a pod may ask for as a whole."""
    if name in ("cpu", "memory"):
        return []
    found = resource_name(name, path)
    if not found and not is_huge_page(name):
        found.append(errors.not_supported(path, name, ("cpu", "hugepages-", "memory")))
    return found


def resource_quantity(name: str, amount: str, path: str) -> Errors:
    value = quantity.parse(amount)
    found = [errors.invalid(path, quantity.canonical(amount), NON_NEGATIVE)] if value < 0 else []
    if value.denominator != 1 and is_integer(name):
        found.append(errors.invalid(path, quantity.canonical(amount), "must be an integer"))
    return found


def resource_list(resources: Obj | None, path: str) -> Errors:
    found: Errors = []
    for name, amount in (resources or {}).items():
        found += resource_name(name, f"{path}[{name}]")
        found += resource_quantity(name, amount, f"{path}[{name}]")
    return found


def container_requirements(requirements: Obj, path: str, claims: ClaimNames, options: Options) -> Errors:
    """``resources`` of a container. ``claims``: names of the pod's resourceClaims."""
    return _requirements(requirements, path, container_resource_name, options) + _claims(
        requirements.get("claims"), f"{path}.claims", claims
    )


def pod_requirements(spec: Obj, path: str, claims: ClaimNames, options: Options) -> Errors:
    """``resources`` of a pod as a whole, and what its containers ask for beside it. ``path``: of the field."""
    requirements = spec["resources"]
    if (spec.get("os") or {}).get("name") == "windows":
        return [errors.forbidden(path, "may not be set for a windows pod")]
    found: Errors = []
    if requirements.get("claims") is not None:
        found.append(errors.forbidden(f"{path}.claims", "claims may not be set for Resources at pod-level"))
    found += _requirements(requirements, path, pod_resource_name, options)
    found += _claims(requirements.get("claims"), f"{path}.claims", claims)
    return found + _beside_containers(spec, requirements, path)


def overhead(amounts: Obj, path: str, options: Options) -> Errors:
    return _requirements({"limits": amounts}, path, container_resource_name, options)


def _requirements(requirements: Obj, path: str, check: Callable[[str, str], Errors], options: Options) -> Errors:
    found: Errors = []
    limits, requests = requirements.get("limits") or {}, requirements.get("requests") or {}
    for name, amount in limits.items():
        where = f"{path}.limits[{name}]"
        found += check(name, where)
        found += resource_quantity(name, amount, where)
        found += _whole_pages(name, amount, where, options)
    for name, amount in requests.items():
        where = f"{path}.requests[{name}]"
        found += check(name, where)
        found += resource_quantity(name, amount, where)
        found += _request_fits(name, amount, limits, path)
        found += _whole_pages(name, amount, where, options)
    named = limits.keys() | requests.keys()
    if not named & {"cpu", "memory"} and any(map(is_huge_page, named)):
        found.append(errors.forbidden(path, "HugePages require cpu or memory"))
    return found


def _whole_pages(name: str, amount: str, path: str, options: Options) -> Errors:
    if not is_huge_page(name) or options.indivisible_huge_pages or is_divisible(name, amount):
        return []
    shown = quantity.canonical(amount)
    return [errors.invalid(path, shown, f"{shown} is not positive integer multiple of {name}")]


def is_divisible(name: str, amount: str) -> bool:
    """Whether an amount of huge pages is a number of them."""
    try:
        size = quantity.parse(name.removeprefix("hugepages-"))
    except ValueError:
        return False
    return size > 0 and size.denominator == 1 and quantity.value(amount) % size == 0


def _request_fits(name: str, amount: str, limits: Obj, path: str) -> Errors:
    exact = is_huge_page(name) or not is_native(name)
    if name not in limits:
        text = "Limit must be set for non overcommitable resources"
        return [errors.required(f"{path}.limits", text)] if exact else []
    limit = limits[name]
    if amount == limit:
        return []
    order = quantity.compare(amount, limit)
    shown, bound = quantity.canonical(amount), quantity.canonical(limit)
    if exact and order != 0:
        return [errors.invalid(f"{path}.requests", shown, f"must be equal to {name} limit of {bound}")]
    if order > 0:
        text = f"must be less than or equal to {name} limit of {bound}"
        return [errors.invalid(f"{path}.requests", shown, text)]
    return []


def _claims(listed: list[Obj] | None, path: str, claims: ClaimNames) -> Errors:
    """References to the pod's claims: to a claim once, or to each of its requests once."""
    found: Errors = []
    seen: set[str] = set()
    below: Counter[str] = Counter()  # how many of those seen are of a claim's requests
    for index, claim in enumerate(listed or ()):
        where, name, request = f"{path}[{index}]", claim.get("name", ""), claim.get("request", "")
        if len(found) > errors.MOST_CAUSES:
            break
        if not name:
            found.append(errors.required(where))
            continue
        if name in seen:
            found.append(errors.duplicate(where, name))
        else:
            key = f"{name}/{request}" if request else name
            if request:
                found += [errors.invalid(f"{where}.request", request, text) for text in names.dns1123_label(request)]
            if key in seen:
                found.append(errors.duplicate(where, key))
            elif not request:
                found += [errors.duplicate(where, name)] * min(below[name], errors.MOST_CAUSES)
            if key not in seen:
                below.update(_above(key))
            seen.add(key)
        if name not in claims:
            text = f"must be one of the names in pod.spec.resourceClaims{claims.listing}"
            found.append(errors.not_found_value(where, name, text))
    return found


#: of the names that a message lists, and of the parts of a name
_LONGEST_LISTING, _MOST_PARTS = 8 * 1024, 16


class ClaimNames(frozenset[str]):
    """What the resource claims of a pod are called."""

    @cached_property
    def listing(self) -> str:
        """As refusals end: written once for all containers, and only if there is one."""
        return f": {', '.join(sorted(self))}"[:_LONGEST_LISTING] if self else " which is empty"


def _above(key: str) -> list[str]:
    """What it is a request of."""
    parts = key.split("/", _MOST_PARTS)
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


# -- of a pod as a whole -----------------------------------------------------------------------------------------


def _beside_containers(spec: Obj, requirements: Obj, path: str) -> Errors:
    """Containers together ask for no more than the pod, and each may use no more."""
    found: Errors = []
    requests, limits = requirements.get("requests") or {}, requirements.get("limits") or {}
    together = totals.of_containers(spec, "requests")
    for name in sorted(requests.keys() & together.keys()):
        if together[name].amount > quantity.parse(requests[name]):
            shown = quantity.canonical(requests[name])
            text = f"must be greater than or equal to aggregate container requests of {together[name]}"
            found.append(errors.invalid(f"{path}.requests[{name}]", shown, text))
    if any(map(is_huge_page, limits)):
        together = totals.of_containers(spec, "limits")
        for name in sorted(limits.keys() & together.keys()):
            if is_huge_page(name) and together[name].amount > quantity.parse(limits[name]):
                shown = quantity.canonical(limits[name])
                text = f"must be greater than or equal to aggregate container limits of {together[name]}"
                found.append(errors.invalid(f"{path}.limits[{name}]", shown, text))
    for index, container in enumerate(spec.get("containers") or ()):
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in limits and quantity.compare(amount, limits[name]) > 0:
                text = f"must be less than or equal to pod limits of {quantity.canonical(limits[name])}"
                where = f"{path}.containers[{index}][{name}].limits"
                found.append(errors.invalid(where, quantity.canonical(amount), text))
    return found
