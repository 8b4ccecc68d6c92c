"""What may change in a pod by an update of its main resource (upstream: ``ValidatePodUpdate``).

A pod is a decision already taken, so little of it may change. Its status is judged in ``pod_status_rules``, what goes
through /ephemeralcontainers and /resize in ``pod_subresources``.
"""

from __future__ import annotations

from typing import Any, Final

from sampan.api import errors
from sampan.api.types import Obj
from sampan.api.validation import containers, go_values, pod_annotations, pod_diff, scheduling, tolerance
from sampan.api.validation import pod as pod_validation
from sampan.api.validation.common import Errors

_MAY_CHANGE: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
)
_MAX_SECONDS: Final = 2**31 - 1
_KINDS: Final = ("containers", "initContainers")


def validate_update(new: Obj, old: Obj) -> Errors:
    """All that is asked of the pod, and of the change; faults that it had before count where upstream lets them not."""
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    found = tolerance.validated(new, old, pod_validation.pod)
    found += changed_annotations(new, old)
    for key in _KINDS:
        listed = spec.get(key) or []
        if len(listed) != len(old_spec.get(key) or ()):
            return [*found, errors.forbidden(f"spec.{key}", "pod updates may not add or remove containers")]
        found += _images(listed, f"spec.{key}")
    if spec == old_spec:
        return found
    faults, stop = _deadline(spec.get("activeDeadlineSeconds"), old_spec.get("activeDeadlineSeconds"))
    found += faults
    if stop:
        return found
    found += _tolerations(spec.get("tolerations") or [], old_spec.get("tolerations") or [])
    found += _scheduling_gates(spec.get("schedulingGates") or [], old_spec.get("schedulingGates") or [])
    munged = _with_mutable_fields_of(spec, old_spec)
    if old_spec.get("schedulingGates"):
        found += _gated(munged, old_spec)
    if munged != old_spec:
        found.append(errors.forbidden("spec", _MAY_CHANGE + pod_diff.specs(old_spec, munged)))
    return found


def changed_annotations(new: Obj, old: Obj) -> Errors:
    """Who a pod is by its annotations stays so, and they mean what they may."""
    after, before = ((pod["metadata"].get("annotations") or {}) for pod in (new, old))
    if after == before:
        return []
    found = pod_annotations.annotation_updates(after, before, "metadata.annotations")
    return found + tolerance.validated(new, old, pod_validation.meaning_of_annotations)


def _images(listed: list[Obj], path: str) -> Errors:
    found: Errors = []
    for index, container in enumerate(listed):
        where = f"{path}[{index}]"
        if not container.get("image"):
            found.append(errors.required(f"{where}.image"))
        found += containers.image_without_padding(container, where)
    return found


def _with_mutable_fields_of(spec: Obj, old: Obj) -> Obj:
    """``spec`` with everything that may change put back as it was."""
    munged = dict(spec)
    for key in _KINDS:
        if spec.get(key):
            munged[key] = [
                {**container, "image": before.get("image", "")}
                for container, before in zip(spec[key], old.get(key) or (), strict=True)
            ]
    for key in ("activeDeadlineSeconds", "tolerations", "schedulingGates"):
        _put_back(munged, old, key)
    if old.get("terminationGracePeriodSeconds", 0) < 0 and munged.get("terminationGracePeriodSeconds") == 1:
        _put_back(munged, old, "terminationGracePeriodSeconds")
    return munged


def _put_back(munged: Obj, old: Obj, key: str) -> None:
    if key in old:
        munged[key] = old[key]
    else:
        munged.pop(key, None)


def _deadline(new: int | None, old: int | None) -> tuple[Errors, bool]:
    """The faults, and whether they are all that is said."""
    path = "spec.activeDeadlineSeconds"
    if new is None:
        if old is None:
            return [], False
        return [errors.invalid(path, None, "must not update from a positive integer to nil value")], False
    if not 0 <= new <= _MAX_SECONDS:
        return [errors.invalid(path, new, f"must be between 0 and {_MAX_SECONDS}, inclusive")], True
    if old is not None and new > old:
        return [errors.invalid(path, new, "must be less than or equal to previous value")], True
    return [], False


def _tolerations(new: list[Obj], old: list[Obj]) -> Errors:
    """All old ones stay; of those only tolerationSeconds may change."""
    if new != old:

        def identity(toleration: Obj) -> frozenset[tuple[str, Any]]:
            return frozenset((key, value) for key, value in toleration.items() if key != "tolerationSeconds")

        present = {identity(toleration) for toleration in new}
        if not all(identity(toleration) in present for toleration in old):
            text = "existing toleration can not be modified except its tolerationSeconds"
            return [errors.forbidden("spec.tolerations", text)]
    return scheduling.tolerations(new, "spec.tolerations", comparing=scheduling.compares(old))


def _scheduling_gates(new: list[Obj], old: list[Obj]) -> Errors:
    known = {gate.get("name") for gate in old}
    return [
        errors.forbidden(
            f"spec.schedulingGates[{index}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'",
        )
        for index, gate in enumerate(new)
        if gate.get("name") not in known
    ]


# -- of gated pods -----------------------------------------------------------------------------------------------


def _gated(munged: Obj, old: Obj) -> Errors:
    """Whoever gates a pod may still narrow down where it goes. Puts back what may change, in ``munged``."""
    found: Errors = []
    selector, previous = munged.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if selector != previous:
        if not previous.items() <= selector.items():
            text = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            found.append(errors.invalid("spec.nodeSelector", dict(sorted(selector.items())), text))
        _put_back(munged, old, "nodeSelector")
    affinity, previous_affinity = munged.get("affinity") or {}, old.get("affinity") or {}
    if affinity.get("nodeAffinity") == previous_affinity.get("nodeAffinity"):
        return found
    found += _node_affinity(affinity.get("nodeAffinity") or {}, previous_affinity.get("nodeAffinity") or {})
    rest = {key: value for key, value in affinity.items() if key != "nodeAffinity"}
    if previous_affinity.get("nodeAffinity") is not None:
        rest["nodeAffinity"] = previous_affinity["nodeAffinity"]
    if rest or "affinity" in old:
        munged["affinity"] = rest
    else:
        munged.pop("affinity", None)
    return found


def _node_affinity(new: Obj, old: Obj) -> Errors:
    """Preferences are free; requirements may be added to each term, where there are terms."""
    path = f"spec.affinity.nodeAffinity.{scheduling.REQUIRED}.nodeSelectorTerms"
    terms, previous = ((each.get(scheduling.REQUIRED) or {}).get("nodeSelectorTerms") or [] for each in (new, old))
    if previous and len(terms) != len(previous):
        shown = [go_values.struct(term, go_values.of_pods("NodeSelectorTerm")) for term in terms]
        text = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [errors.invalid(path, shown or None, text)]
    text = "only additions are allowed (no mutations or deletions)"
    return [
        errors.invalid(f"{path}[{index}]", go_values.struct(term, go_values.of_pods("NodeSelectorTerm")), text)
        for index, (term, before) in enumerate(zip(terms, previous, strict=False))
        if not _only_adds(term, before)
    ]


def _only_adds(new: Obj, old: Obj) -> bool:
    keys = ("matchExpressions", "matchFields")
    if not any(old.get(key) for key in keys):
        return not any(new.get(key) for key in keys)  # a term that selects nothing goes on to
    return all((new.get(key) or [])[: len(old.get(key) or ())] == (old.get(key) or []) for key in keys)
