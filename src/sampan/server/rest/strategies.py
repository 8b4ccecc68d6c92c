"""What an update through each URL of an object may change: the main resource, /status, and the subresources.

A strategy is pure: ``merge(new, old)`` gives the object to store from what the client sent and what is stored, and
``validate(new, old)`` checks it. Sources: the ``*StatusStrategy`` types of upstream's registry packages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sampan.api import errors
from sampan.api.errors import FieldError
from sampan.api.groups.core import pod_update
from sampan.api.kind import Kind
from sampan.api.objects import deep_copy
from sampan.api.types import Obj


@dataclass(frozen=True, slots=True)
class Strategy:
    #: the object to store; may change and return ``new``, must not change ``old``
    merge: Callable[[Kind, Obj, Obj], Obj]
    validate: Callable[[Kind, Obj, Obj], list[FieldError]]
    #: whether a change of anything but metadata and status counts in ``metadata.generation``
    counts_generation: bool = True
    #: PUT may create the object when the kind allows it
    may_create: bool = False


def _merge_main(kind: Kind, new: Obj, old: Obj) -> Obj:
    if kind.status:
        _take(new, old, "status")
    kind.prepare_update(new, old)
    return new


def _validate_main(kind: Kind, new: Obj, old: Obj) -> list[FieldError]:
    return kind.validate(new) + kind.validate_update(new, old)


def _take(new: Obj, old: Obj, key: str) -> None:
    """``new[key]`` becomes what ``old`` has."""
    if key in old:
        new[key] = deep_copy(old[key])
    else:
        new.pop(key, None)


def _merge_status(kind: Kind, new: Obj, old: Obj) -> Obj:
    """Status, and of metadata what everybody may set; all else stays."""
    return _only(new, old, "status", metadata=_STATUS_METADATA.get((kind.group, kind.plural), _METADATA))


_IDENTITY = ("resourceVersion", "uid", "name", "namespace")
_METADATA = (*_IDENTITY, "labels", "annotations", "finalizers")
#: what of metadata goes through /status where that is not all of it (upstream: ResetObjectMetaForStatus and its like)
_STATUS_METADATA: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "deployments"): (*_IDENTITY, "annotations", "finalizers"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"): _IDENTITY,
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"): _IDENTITY,
    ("lifecycle.k8s.io", "evictionrequests"): _IDENTITY,
    ("resource.k8s.io", "resourceclaims"): _IDENTITY,
    ("scheduling.k8s.io", "podgroups"): _IDENTITY,
    ("storage.k8s.io", "volumeattachments"): _IDENTITY,
    ("storagemigration.k8s.io", "storageversionmigrations"): _IDENTITY,
}


def _only(new: Obj, old: Obj, *keys: str, metadata: tuple[str, ...] = _METADATA) -> Obj:
    result: Obj = deep_copy(old)
    for key in keys:
        _take(result, new, key)
    given, kept = new.get("metadata", {}), result["metadata"]
    for key in metadata:
        _take(kept, given, key)
    return result


def _validate_status(kind: Kind, new: Obj, old: Obj) -> list[FieldError]:
    return kind.validate_status(new, old)


def _merge_approval(kind: Kind, new: Obj, old: Obj) -> Obj:
    """Only the Approved and Denied conditions of a CertificateSigningRequest."""
    result = _only(new, old)
    decisions = ("Approved", "Denied")
    given = (new.get("status") or {}).get("conditions") or []
    kept = (old.get("status") or {}).get("conditions") or []
    conditions = [c for c in deep_copy(kept) if c.get("type") not in decisions]
    conditions += [c for c in deep_copy(given) if c.get("type") in decisions]
    status = result["status"] = {**(result.get("status") or {})}
    if conditions:
        status["conditions"] = conditions
    else:
        status.pop("conditions", None)
    return result


def _validate_approval(kind: Kind, new: Obj, old: Obj) -> list[FieldError]:
    conditions = (new.get("status") or {}).get("conditions") or []
    types = {condition.get("type") for condition in conditions}
    if {"Approved", "Denied"} <= types:
        text = "Approved and Denied conditions are mutually exclusive"
        return [errors.invalid("status.conditions", "Denied", text)]
    found: list[FieldError] = []
    before = {c.get("type") for c in (old.get("status") or {}).get("conditions") or []}
    for gone in sorted({"Approved", "Denied"} & before - types):
        found.append(errors.forbidden("status.conditions", f"updates may not remove a condition of type {gone!r}"))
    for index, condition in enumerate(conditions):
        if condition.get("type") in ("Approved", "Denied") and condition.get("status") != "True":
            path = f"status.conditions[{index}].status"
            found.append(errors.not_supported(path, condition.get("status", ""), ("True",)))
    return found


def _merge_finalize(kind: Kind, new: Obj, old: Obj) -> Obj:
    result = _only(new, old)
    spec = result["spec"] = {**(result.get("spec") or {})}
    spec["finalizers"] = list((new.get("spec") or {}).get("finalizers") or [])
    return result


def _nothing_to_check(kind: Kind, new: Obj, old: Obj) -> list[FieldError]:
    return []


def _merge_ephemeral_containers(kind: Kind, new: Obj, old: Obj) -> Obj:
    result = _only(new, old)
    given = (new.get("spec") or {}).get("ephemeralContainers") or []
    if given:
        result["spec"] = {**result["spec"], "ephemeralContainers": deep_copy(given)}
    return result


def _validate_ephemeral_containers(kind: Kind, new: Obj, old: Obj) -> list[FieldError]:
    return pod_update.validate_ephemeral_containers(new, old)


def _merge_resize(kind: Kind, new: Obj, old: Obj) -> Obj:
    """Of the spec only resources and resize policies of containers (KEP-1287)."""
    result = _only(new, old)
    wanted = new.get("spec") or {}
    for group in ("containers", "initContainers"):
        by_name = {container.get("name"): container for container in wanted.get(group) or []}
        for container in result["spec"].get(group) or []:
            given = by_name.get(container.get("name"))
            if given is not None:
                _take(container, given, "resources")
                _take(container, given, "resizePolicy")
    return result


def _validate_resize(kind: Kind, new: Obj, old: Obj) -> list[FieldError]:
    return pod_update.validate_resize(new, old)


MAIN = Strategy(_merge_main, _validate_main, may_create=True)
STATUS = Strategy(_merge_status, _validate_status, counts_generation=False)
APPROVAL = Strategy(_merge_approval, _validate_approval, counts_generation=False)
FINALIZE = Strategy(_merge_finalize, _nothing_to_check, counts_generation=False)
EPHEMERAL_CONTAINERS = Strategy(_merge_ephemeral_containers, _validate_ephemeral_containers)
RESIZE = Strategy(_merge_resize, _validate_resize)

#: by (group, resource, subresource)
SUBRESOURCE_STRATEGIES: dict[tuple[str, str, str], Strategy] = {
    ("", "namespaces", "finalize"): FINALIZE,
    ("", "pods", "ephemeralcontainers"): EPHEMERAL_CONTAINERS,
    ("", "pods", "resize"): RESIZE,
    ("certificates.k8s.io", "certificatesigningrequests", "approval"): APPROVAL,
}


def strategy_for(kind: Kind, subresource: str) -> Strategy | None:
    """None: updates do not go through this subresource."""
    if not subresource:
        return MAIN
    if subresource == "status":
        return STATUS if kind.status else None
    return SUBRESOURCE_STRATEGIES.get((kind.group, kind.plural, subresource))
