"""LeaseCandidate of coordination.k8s.io/v1alpha1 and v1beta1: it named several strategies, the preferred one first."""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.api.versions.convert.parts import OWN, annotate_json, part, take_json

_OTHERS = f"{OWN}other-strategies"


def to_leasecandidate(candidate: Obj) -> Obj:
    spec = part(candidate, "spec")
    strategies = spec.pop("preferredStrategies", None)
    if isinstance(strategies, list) and strategies:
        spec["strategy"] = strategies[0]
        if strategies[1:]:
            annotate_json(candidate, _OTHERS, strategies[1:])
    return candidate


def from_leasecandidate(candidate: Obj) -> Obj:
    spec = part(candidate, "spec")
    others = take_json(candidate, _OTHERS)
    strategy = spec.pop("strategy", None)
    if strategy is not None:
        named = [each for each in others if isinstance(each, str)] if isinstance(others, list) else []
        spec["preferredStrategies"] = [strategy, *named]
    return candidate
