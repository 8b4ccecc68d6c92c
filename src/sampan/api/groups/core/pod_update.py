"""What may change in a pod, by whom: an update, /status, /ephemeralcontainers, /resize.

Upstream: ``ValidatePodUpdate`` and its neighbours. A pod is a decision already taken, so little of it may change.
"""

from __future__ import annotations

from typing import Any

from sampan.api import errors, strategies
from sampan.api.kind import Kind, Strategy
from sampan.api.objects import deep_copy
from sampan.api.pods.origin import MIRROR_ANNOTATION
from sampan.api.pods.qos import compute_qos_class, qos_class
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation import pod as pod_validation
from sampan.api.validation.common import Errors
from sampan.api.validation.options import Options

_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_RESIZE_MAY_CHANGE = "only cpu and memory resources are mutable"


def _mirror_annotation(new: Obj, old: Obj) -> Errors:
    """A pod that shows what a node runs by itself never becomes another, nor another one such (upstream:
    ``ValidatePodSpecificAnnotationUpdates``)."""
    after, before = ((pod["metadata"].get("annotations") or {}).get(MIRROR_ANNOTATION) for pod in (new, old))
    if after == before:
        return []
    what = "add" if before is None else "remove or update"
    return [errors.forbidden(f"metadata.annotations[{MIRROR_ANNOTATION}]", f"may not {what} mirror pod annotation")]


def _copy(value: Any) -> Any:
    """Two levels are enough to replace fields of containers without touching the object itself."""
    if isinstance(value, dict):
        return {key: [dict(i) if isinstance(i, dict) else i for i in item] if isinstance(item, list) else item
                for key, item in value.items()}  # fmt: skip
    return value


def validate_update(new: Obj, old: Obj) -> Errors:
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    found = _mirror_annotation(new, old)
    for key in ("containers", "initContainers"):
        if len(spec.get(key) or ()) != len(old_spec.get(key) or ()):
            return [errors.forbidden(f"spec.{key}", "pod updates may not add or remove containers")]
    found += _deadline(spec.get("activeDeadlineSeconds"), old_spec.get("activeDeadlineSeconds"))
    found += _tolerations(spec.get("tolerations") or [], old_spec.get("tolerations") or [])
    found += _scheduling_gates(spec.get("schedulingGates") or [], old_spec.get("schedulingGates") or [])
    found += common.immutable(spec.get("ephemeralContainers"), old_spec.get("ephemeralContainers"),
                              "spec.ephemeralContainers")  # fmt: skip
    munged = _with_mutable_fields_of(spec, old_spec)
    if munged != old_spec:
        paths = common.changed_paths(munged, old_spec, "spec")
        found.append(errors.forbidden("spec", _MAY_CHANGE + "\n" + "\n".join(sorted(paths))))
    return found


def _with_mutable_fields_of(spec: Obj, old: Obj) -> Obj:
    """``spec`` with everything that may change put back as it was."""
    munged: Obj = _copy(spec)
    for key in ("containers", "initContainers"):
        for container, previous in zip(munged.get(key) or (), old.get(key) or (), strict=True):
            container["image"] = previous.get("image")
    for key in ("activeDeadlineSeconds", "tolerations", "schedulingGates", "ephemeralContainers"):
        _put_back(munged, old, key)
    if old.get("terminationGracePeriodSeconds", 0) < 0 and munged.get("terminationGracePeriodSeconds") == 1:
        _put_back(munged, old, "terminationGracePeriodSeconds")
    if old.get("schedulingGates"):
        # Whoever gates a pod may still narrow down where it goes.
        selector, previous = munged.get("nodeSelector") or {}, old.get("nodeSelector") or {}
        if previous.items() <= selector.items():
            _put_back(munged, old, "nodeSelector")
    return munged


def _put_back(munged: Obj, old: Obj, key: str) -> None:
    if key in old:
        munged[key] = old[key]
    else:
        munged.pop(key, None)


def _deadline(new: int | None, old: int | None) -> Errors:
    path = "spec.activeDeadlineSeconds"
    if old is None or new == old:
        return []
    if new is None:
        return [errors.invalid(path, None, "must not update from a positive integer to nil value")]
    if new > old:
        return [errors.invalid(path, new, "must be less than or equal to previous value")]
    return []


def _tolerations(new: list[Obj], old: list[Obj]) -> Errors:
    """All old ones stay; of those only tolerationSeconds may change."""

    def identity(toleration: Obj) -> Obj:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    present = [identity(toleration) for toleration in new]
    if all(identity(toleration) in present for toleration in old):
        return []
    return [
        errors.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
    ]


def _scheduling_gates(new: list[Obj], old: list[Obj]) -> Errors:
    names = {gate.get("name") for gate in old}
    added = sorted(gate.get("name", "") for gate in new if gate.get("name") not in names)
    if added:
        text = f"only deletion is allowed, but found new scheduling gates '{', '.join(added)}'"
        return [errors.forbidden("spec.schedulingGates", text)]
    return []


def validate_status(new: Obj, old: Obj) -> Errors:
    """Of the containers of a pod that is never restarted, an ended one stays ended."""
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    found = _mirror_annotation(new, old)
    if spec.get("nodeName") != old_spec.get("nodeName"):
        found.append(errors.forbidden("status.nodeName", "may not be changed directly"))
    policy = old_spec.get("restartPolicy", "Always")
    if policy != "Always":
        for key in ("containerStatuses", "initContainerStatuses"):
            found += _stays_terminated(new, old, key, policy)
    return found


def _stays_terminated(new: Obj, old: Obj, key: str, policy: str) -> Errors:
    spec = old.get("spec") or {}
    own_policies = {
        container.get("name"): container.get("restartPolicy")
        for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    }
    previous = {status.get("name"): status for status in (old.get("status") or {}).get(key) or ()}
    found: Errors = []
    for index, status in enumerate((new.get("status") or {}).get(key) or ()):
        before = (previous.get(status.get("name"), {}).get("state") or {}).get("terminated")
        if before is None or own_policies.get(status.get("name")):
            continue
        if policy == "OnFailure" and before.get("exitCode", 0) != 0:
            continue
        if (status.get("state") or {}).get("terminated") is None:
            text = "may not be transitioned to non-terminated state"
            found.append(errors.forbidden(f"status.{key}[{index}].state", text))
    return found


def validate_ephemeral_containers(new: Obj, old: Obj) -> Errors:
    """For /ephemeralcontainers: containers may only be added. The caller keeps everything else as it was."""
    found = pod_validation.pod(new, Options(is_pod=True))
    after = {c.get("name"): c for c in (new.get("spec") or {}).get("ephemeralContainers") or ()}
    for container in (old.get("spec") or {}).get("ephemeralContainers") or ():
        name = container.get("name", "")
        if name not in after:
            text = f'existing ephemeral containers "{name}" may not be removed\n'
            found.append(errors.forbidden("spec.ephemeralContainers", text))
        elif after[name] != container:
            text = f'existing ephemeral containers "{name}" may not be changed\n'
            found.append(errors.forbidden("spec.ephemeralContainers", text))
    return found


def validate_resize(new: Obj, old: Obj) -> Errors:
    """For /resize: only cpu and memory of containers, and how to apply them."""
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    found = pod_validation.pod(new, Options(is_pod=True))
    munged: Obj = _copy(spec)
    for key in ("containers", "initContainers"):
        before = old_spec.get(key) or []
        if len(munged.get(key) or ()) != len(before):
            return [errors.forbidden(f"spec.{key}", "resize may not add or remove containers")]
        for container, previous in zip(munged.get(key) or (), before, strict=True):
            for field in ("resources", "resizePolicy"):
                _put_back(container, previous, field)
    if munged != old_spec:
        found.append(errors.forbidden("spec", _RESIZE_MAY_CHANGE))
    if compute_qos_class(new) != qos_class(old):
        text = f'Pod QOS Class may not change as a result of resizing (currently "{qos_class(old)}")'
        found.append(errors.invalid("spec", qos_class(old), text))
    return found


def _merge_ephemeral_containers(kind: Kind, new: Obj, old: Obj) -> Obj:
    result = strategies.only(new, old)
    given = (new.get("spec") or {}).get("ephemeralContainers") or []
    if given:
        result["spec"] = {**result["spec"], "ephemeralContainers": deep_copy(given)}
    return result


def _merge_resize(kind: Kind, new: Obj, old: Obj) -> Obj:
    """Of the spec only resources and resize policies of containers (KEP-1287)."""
    result = strategies.only(new, old)
    wanted = new.get("spec") or {}
    for group in ("containers", "initContainers"):
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
