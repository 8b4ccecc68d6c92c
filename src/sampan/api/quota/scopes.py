"""Scopes: which objects a quota counts at all, by what they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from sampan.api.pods.qos import compute_qos_class
from sampan.api.quota.pods import has_deadline
from sampan.api.reading import part, parts, text, texts
from sampan.api.types import Obj


class _InScope(Protocol):
    def is_in_scope(self, term: Obj, obj: Obj) -> bool: ...


def terms_of(quota: Obj) -> list[Obj]:
    """All of them have to match. A plain scope asks that the object have it."""
    spec = part(quota, "spec")
    plain = [{"scopeName": name, "operator": "Exists"} for name in texts(spec, "scopes")]
    return [*plain, *parts(part(spec, "scopeSelector"), "matchExpressions")]


def pod_is_in_scope(term: Obj, pod: Obj) -> bool:
    match text(term, "scopeName"):
        case "Terminating":
            return has_deadline(pod)
        case "NotTerminating":
            return not has_deadline(pod)
        case "BestEffort":
            return compute_qos_class(pod) == "BestEffort"
        case "NotBestEffort":
            return compute_qos_class(pod) != "BestEffort"
        case "PriorityClass":
            name = text(part(pod, "spec"), "priorityClassName")
            return _selects(term, {name} - {""})
        case "CrossNamespacePodAffinity":
            return any(_looks_elsewhere(affinity) for affinity in _pod_affinities(pod))
    return False


def claim_is_in_scope(term: Obj, claim: Obj) -> bool:
    if text(term, "scopeName") != "VolumeAttributesClass":
        return False
    spec, status = part(claim, "spec"), part(claim, "status")
    found = {
        text(spec, "volumeAttributesClassName"),
        text(status, "currentVolumeAttributesClassName"),
        text(part(status, "modifyVolumeStatus"), "targetVolumeAttributesClassName"),
    }
    return _selects(term, found - {""})


def _selects(term: Obj, found: set[str]) -> bool:
    """By the operator of a selector over one name, of which an object may have none."""
    values = set(texts(term, "values"))
    match text(term, "operator"):
        case "Exists":
            return bool(found)
        case "DoesNotExist":
            return not found
        case "In":
            return bool(found & values)
        case "NotIn":
            return not found & values
    return False


def _pod_affinities(pod: Obj) -> Iterator[Obj]:
    affinity = part(part(pod, "spec"), "affinity")
    yield part(affinity, "podAffinity")
    yield part(affinity, "podAntiAffinity")


def _looks_elsewhere(affinity: Obj) -> bool:
    required = parts(affinity, "requiredDuringSchedulingIgnoredDuringExecution")
    preferred = parts(affinity, "preferredDuringSchedulingIgnoredDuringExecution")
    terms = [*required, *(part(weighted, "podAffinityTerm") for weighted in preferred)]
    return any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms)


def covers(quota: Obj, evaluator: _InScope, obj: Obj) -> bool:
    """Whether the object is in all of the quota's scopes."""
    return all(evaluator.is_in_scope(term, obj) for term in terms_of(quota))
