"""Changes of a pod through /ephemeralcontainers and /resize (upstream: ``ValidatePodEphemeralContainersUpdate``,
``ValidatePodResize``)."""

from __future__ import annotations

from typing import Any, Final

from sampan.api import errors, gates, strategies
from sampan.api.errors import quoted
from sampan.api.groups.core import pod_update
from sampan.api.kind import Kind, Strategy
from sampan.api.objects import deep_copy
from sampan.api.pods.origin import MIRROR_ANNOTATION
from sampan.api.pods.qos import compute_qos_class, qos_class
from sampan.api.types import Obj
from sampan.api.validation import pod as pod_validation
from sampan.api.validation import pod_diff, tolerance
from sampan.api.validation.common import Errors

_KINDS: Final = ("containers", "initContainers")
_AMOUNTS: Final = ("requests", "limits")
_RESIZABLE: Final = ("cpu", "memory")


def _is_mirror(pod: Obj) -> bool:
    return MIRROR_ANNOTATION in (pod["metadata"].get("annotations") or {})


# -- ephemeral containers ----------------------------------------------------------------------------------------


def validate_ephemeral_containers(new: Obj, old: Obj) -> Errors:
    """Containers may only be added. The strategy keeps everything else as it was."""
    if _is_mirror(old):
        return [errors.forbidden("[]", "static pods do not support ephemeral containers")]
    found = tolerance.validated(new, old, pod_validation.pod) + pod_update.changed_annotations(new, old)
    after = {c.get("name"): c for c in (new.get("spec") or {}).get("ephemeralContainers") or ()}
    for container in (old.get("spec") or {}).get("ephemeralContainers") or ():
        name = container.get("name", "")
        if name not in after:
            text = f"existing ephemeral containers {quoted(name)} may not be removed\n"
            found.append(errors.forbidden("spec.ephemeralContainers", text))
        elif after[name] != container:
            text = f"existing ephemeral containers {quoted(name)} may not be changed\n"
            text += pod_diff.ephemeral_containers(container, after[name])
            found.append(errors.forbidden("spec.ephemeralContainers", text))
    return found


# -- resize ------------------------------------------------------------------------------------------------------


def validate_resize(new: Obj, old: Obj) -> Errors:
    """Only cpu and memory of containers and of the pod, and how to apply them."""
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    if _is_mirror(old):
        return [errors.forbidden("[]", "static pods cannot be resized")]
    if (old_spec.get("os") or {}).get("name") == "windows":
        return [errors.forbidden("[]", "windows pods cannot be resized")]
    found = tolerance.validated(new, old, pod_validation.pod)
    if compute_qos_class(new) != qos_class(old):
        text = "Pod QOS Class may not change as a result of resizing"
        found.append(errors.invalid("spec", (new.get("status") or {}).get("qosClass", ""), text))
    if not _is_supported(old):
        found.append(errors.forbidden("spec", "Pod running on node without support for resize"))
    if _has_amounts(spec) or _has_amounts(old_spec):
        found += _of_pod(spec.get("resources"), old_spec.get("resources"))
    if faults := _order(spec, old_spec):
        return found + faults
    for key in reversed(_KINDS):
        for index, (container, before) in enumerate(zip(spec.get(key) or (), old_spec.get(key) or (), strict=True)):
            path = f"spec.{key}[{index}].resources"
            found += _removed(container.get("resources"), before.get("resources"), path, "resource")
    for key in _KINDS:
        for container, before in zip(spec.get(key) or (), old_spec.get(key) or (), strict=True):
            found += _else_unchanged(container, before, key)
    return found


def _is_supported(pod: Obj) -> bool:
    """A node that can resize says what the containers that run have got."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if (status.get("state") or {}).get("running") is not None:
            return status.get("resources") is not None
    return True


def _has_amounts(spec: Obj) -> bool:
    resources = spec.get("resources") or {}
    return any(resources.get(kind) for kind in _AMOUNTS)


def _of_pod(new: Obj | None, old: Obj | None) -> Errors:
    if old is not None and new is None:
        return [errors.forbidden("spec.resources", "pod-level resources cannot be removed")]
    found = _removed(new, old, "spec.resources", "pod-level resource") if old is not None else []
    if _others(new) != _others(old):
        found.append(errors.forbidden("spec", "only cpu and memory resources are mutable at pod-level"))
    return found


def _order(spec: Obj, old: Obj) -> Errors:
    found: Errors = []
    for key in _KINDS:
        listed, before = spec.get(key) or [], old.get(key) or []
        if len(listed) != len(before):
            found.append(errors.forbidden(f"spec.{key}", f"{key} may not be added or removed on resize"))
            continue
        for index, (container, previous) in enumerate(zip(listed, before, strict=True)):
            if container.get("name") != previous.get("name"):
                text = f"{key} may not be renamed or reordered on resize"
                found.append(errors.forbidden(f"spec.{key}[{index}].name", text))
    return found


def _removed(new: Obj | None, old: Obj | None, path: str, what: str) -> Errors:
    return [
        errors.forbidden(f"{path}.{kind}", f"{what} {kind} cannot be removed")
        for kind in _AMOUNTS
        if not ((old or {}).get(kind) or {}).keys() <= ((new or {}).get(kind) or {}).keys()
    ]


def _is_sidecar(container: Obj) -> bool:
    return container.get("restartPolicy") == "Always"


def _others(resources: Obj | None) -> Any:
    """What is asked for besides cpu and memory."""
    return [
        {name: amount for name, amount in ((resources or {}).get(kind) or {}).items() if name not in _RESIZABLE}
        for kind in _AMOUNTS
    ]


def _else_unchanged(container: Obj, before: Obj, key: str) -> Errors:
    if container == before:
        return []
    rest, previous = ({**each, "resources": _others(each.get("resources"))} for each in (container, before))
    # Upstream's comparison loses the claims of the new one: a container with claims cannot be resized.
    has_claims = bool((before.get("resources") or {}).get("claims"))
    if rest == previous and not has_claims:
        return []
    sort = "sidecar" if _is_sidecar(container) else "init"
    of_init = f" for {sort} containers" if key == "initContainers" else ""
    return [errors.forbidden("spec", f"only cpu and memory resources{of_init} are mutable")]


def _merge_ephemeral_containers(kind: Kind, new: Obj, old: Obj) -> Obj:
    result = strategies.only(new, old)
    given = (new.get("spec") or {}).get("ephemeralContainers") or []
    if given:
        result["spec"] = {**result["spec"], "ephemeralContainers": deep_copy(given)}
    else:
        result["spec"] = {key: value for key, value in result["spec"].items() if key != "ephemeralContainers"}
    if kind.gated is not None:
        gates.drop(kind.gated, result, old)
    return result


def _merge_resize(kind: Kind, new: Obj, old: Obj) -> Obj:
    """Of the spec only resources and resize policies of containers, and resources of the pod (KEP-1287, KEP-5419)."""
    result = strategies.only(new, old)
    wanted = new.get("spec") or {}
    strategies.take(result["spec"], wanted, "resources")
    for group in _KINDS:
        by_name = {container.get("name"): container for container in wanted.get(group) or []}
        for container in result["spec"].get(group) or []:
            given = by_name.get(container.get("name"))
            if given is not None:
                strategies.take(container, given, "resources")
                strategies.take(container, given, "resizePolicy")
    return result


#: the strategies of pods/ephemeralcontainers and pods/resize
EPHEMERAL_CONTAINERS = Strategy(
    _merge_ephemeral_containers, lambda kind, new, old: validate_ephemeral_containers(new, old)
)
RESIZE = Strategy(_merge_resize, lambda kind, new, old: validate_resize(new, old))
