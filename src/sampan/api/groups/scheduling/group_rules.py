"""Groups of pods that are scheduled together: what Workload, PodGroup and CompositePodGroup say of them.

The reference checks these kinds by what its types declare (``+k8s:`` tags): in the order of the fields, and with the
values as the version writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sampan.api import errors, names
from sampan.api.names import NameCheck
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

MOST_TEMPLATES: Final = 8
_MOST_CLAIMS: Final = 4
_HIGHEST_PRIORITY: Final = 1_000_000_000
_COMPOSITE: Final = "compositePodGroupTemplates"
#: groups within groups within groups ...
_DEEPEST: Final = 16
_PREEMPTION: Final = ("Never", "PreemptLowerPriority")


def union(value: Obj | None, path: str, *members: str, must: bool = True) -> Errors:
    """Exactly one of the members."""
    has = [f"`{member}`" for member in members if (value or {}).get(member) is not None]
    listed = ", ".join(f"`{member}`" for member in members)
    if len(has) > 1:
        text = f"exactly one of {listed} is required, but multiple fields are set"
        return [errors.invalid(path, f"{{{', '.join(has)}}}", text)]
    if not has and must:
        return [errors.invalid(path, "", f"must specify one of: {listed}")]
    return []


def name(value: str | None, path: str, check: NameCheck) -> Errors:
    """Required, and of this form."""
    return common.named(check, value, path) if value else [errors.required(path)]


def listed(items: Sequence[Obj] | None, path: str, most: int, check: Callable[[Obj, str], Errors]) -> Errors:
    """A list of things with names of their own."""
    if items and len(items) > most:
        return [errors.too_many(path, len(items), most)]
    found: Errors = []
    seen: set[Any] = set()
    for index, item in enumerate(items or ()):
        if item.get("name") in seen:
            found.append(errors.duplicate(f"{path}[{index}]", item))
        seen.add(item.get("name"))
    for index, item in enumerate(items or ()):
        found += check(item, f"{path}[{index}]")
    return found


def policy(value: Obj | None, path: str, count: str = "minCount") -> Errors:
    found = union(value, path, "basic", "gang")
    gang = (value or {}).get("gang")
    if found or gang is None:
        return found
    least = gang.get(count) or 0
    if least == 0:
        return [errors.required(f"{path}.gang.{count}")]
    return [errors.invalid(f"{path}.gang.{count}", least, "must be greater than or equal to 1")] if least < 0 else []


def constraints(value: Obj | None, path: str) -> Errors:
    topology = (value or {}).get("topology") or ()
    if len(topology) > 1:
        return [errors.too_many(f"{path}.topology", len(topology), 1)]
    return [
        fault for index, item in enumerate(topology)
        for fault in name(item.get("key"), f"{path}.topology[{index}].key", names.qualified_name)
    ]  # fmt: skip


def _claim(claim: Obj, path: str) -> Errors:
    found = union(claim, path, "resourceClaimName", "resourceClaimTemplateName")
    found += name(claim.get("name"), f"{path}.name", names.dns1123_label)
    for key in ("resourceClaimName", "resourceClaimTemplateName"):
        if claim.get(key) is not None:
            found += common.named(names.dns1123_subdomain, claim[key], f"{path}.{key}")
    return found


def shared(group: Obj, path: str, count: str = "minCount") -> Errors:
    """What templates and groups say alike."""
    found = policy(group.get("schedulingPolicy"), f"{path}.schedulingPolicy", count)
    found += constraints(group.get("schedulingConstraints"), f"{path}.schedulingConstraints")
    found += listed(group.get("resourceClaims"), f"{path}.resourceClaims", _MOST_CLAIMS, _claim)
    if group.get("disruptionMode") is not None:
        found += union(group["disruptionMode"], f"{path}.disruptionMode", "single", "all")
    if group.get("priorityClassName"):
        found += common.named(names.dns1123_subdomain, group["priorityClassName"], f"{path}.priorityClassName")
    priority = group.get("priority")
    if priority is not None and priority > _HIGHEST_PRIORITY:
        text = f"must be less than or equal to {_HIGHEST_PRIORITY}"
        found.append(errors.invalid(f"{path}.priority", priority, text))
    return found + common.one_of(group.get("preemptionPolicy"), _PREEMPTION, f"{path}.preemptionPolicy")


def template(group: Obj, path: str) -> Errors:
    return name(group.get("name"), f"{path}.name", names.dns1123_label) + shared(group, path)


def composite_template(group: Obj, path: str) -> Errors:
    if path.count(_COMPOSITE) > _DEEPEST:
        return [errors.forbidden(path, "groups are nested too deeply")]
    found = name(group.get("name"), f"{path}.name", names.dns1123_label)
    found += listed(group.get("podGroupTemplates"), f"{path}.podGroupTemplates", MOST_TEMPLATES, template)
    found += listed(group.get(_COMPOSITE), f"{path}.{_COMPOSITE}", MOST_TEMPLATES, composite_template)
    return found + shared(group, path, "minGroupCount")


def workload_reference(reference: Obj | None, path: str) -> Errors:
    if reference is None:
        return []
    found = name(reference.get("workloadName"), f"{path}.workloadName", names.dns1123_subdomain)
    return found + name(reference.get("templateName"), f"{path}.templateName", names.dns1123_label)


def policy_unchanged(new: Obj, old: Obj) -> Errors:
    """A gang stays one, but how many of its pods are needed may change."""
    now, before = ((each.get("spec") or {}).get("schedulingPolicy") or {} for each in (new, old))
    if now.get("gang") is not None and before.get("gang") is not None:
        now, before = ({**each, "gang": {**each["gang"], "minCount": None}} for each in (now, before))
    if now == before:
        return []
    written = (new.get("spec") or {}).get("schedulingPolicy")
    return [errors.invalid("spec.schedulingPolicy", written, common.IMMUTABLE)]


def unchanged(new: Obj, old: Obj, *keys: str) -> Errors:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    return [
        errors.invalid(f"spec.{key}", spec.get(key), common.IMMUTABLE)
        for key in keys
        if spec.get(key) != before.get(key)
    ]
