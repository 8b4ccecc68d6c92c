"""What a pod gets when it is made, from its own labels and annotations (upstream: ``podStrategy.PrepareForCreate``).

- Keys of labels (matchLabelKeys, mismatchLabelKeys) become requirements of the selectors beside them, with the values
  that the pod has.
- AppArmor profiles stand in annotations for old nodes and in fields for new ones: each is made of the other.
"""

from __future__ import annotations

from typing import Final

from sampan.api.groups.core import container_warnings
from sampan.api.types import Obj
from sampan.api.validation import pod_annotations, scheduling, security
from sampan.api.validation.pod import all_containers

_DEPRECATED: Final = container_warnings.APPARMOR_TEXT


def complete(pod: Obj) -> list[str]:
    """In place; gives warnings."""
    spec, metadata = pod.get("spec") or {}, pod.get("metadata") or {}
    labels = metadata.get("labels") or {}
    affinity = spec.get("affinity")
    if labels and affinity:
        for key in ("podAffinity", "podAntiAffinity"):
            for term in _terms(affinity.get(key) or {}):
                _select(term, labels)
    if labels:
        for constraint in spec.get("topologySpreadConstraints") or ():
            _select(constraint, labels)
    return _profiles(spec, metadata)


def _terms(affinity: Obj) -> list[Obj]:
    preferred = affinity.get(scheduling.PREFERRED) or ()
    return [*(each.get("podAffinityTerm") or {} for each in preferred), *(affinity.get(scheduling.REQUIRED) or ())]


def _select(term: Obj, labels: Obj) -> None:
    selector = term.get("labelSelector")
    if selector is None:
        return  # it selects no pod, whatever is added
    added = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for keys, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.get(keys) or ()
        if key in labels
    ]
    if added:
        selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *added]


def _profiles(spec: Obj, metadata: Obj) -> list[str]:
    annotations = dict(metadata.get("annotations") or {})
    of_pod = (spec.get("securityContext") or {}).get("appArmorProfile")
    if (spec.get("os") or {}).get("name") == "windows":
        return []
    found: list[str] = []
    for container, _ in all_containers(spec, ""):
        key = pod_annotations.APPARMOR + container.get("name", "")
        own = (container.get("securityContext") or {}).get("appArmorProfile")
        if key not in annotations:
            if said := pod_annotations.apparmor_annotation(own or of_pod or {}):
                annotations[key] = said
                metadata["annotations"] = annotations
        elif own is None:
            field = pod_annotations.apparmor_field(annotations[key])
            if field is not None and security.apparmor_profile(field, ""):
                field = None
            if field is not None and field != of_pod:
                container["securityContext"] = {**(container.get("securityContext") or {}), "appArmorProfile": field}
            if field is None or field != of_pod:
                found.append(f"metadata.annotations[{key}]: {_DEPRECATED}")
    return found
