"""PodDisruptionBudget of policy/v1beta1 and policy/v1: an empty selector selected nothing, and selects everything.

What the other version's empty selector means is said by a term on a label that nobody has. Upstream:
``pkg/apis/policy/v1beta1/conversion.go``, last served by 1.24.
"""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.api.versions.convert.parts import part

_LABEL = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match"
_NOTHING: Obj = {"matchExpressions": [{"key": _LABEL, "operator": "Exists"}]}
_EVERYTHING: Obj = {"matchExpressions": [{"key": _LABEL, "operator": "DoesNotExist"}]}


def to_poddisruptionbudget(budget: Obj) -> Obj:
    spec = part(budget, "spec")
    selector = spec.get("selector")
    if selector == {}:
        spec["selector"] = _copy(_NOTHING)
    elif selector == _EVERYTHING:
        spec["selector"] = {}
    return budget


def from_poddisruptionbudget(budget: Obj) -> Obj:
    spec = part(budget, "spec")
    selector = spec.get("selector")
    if selector == {}:
        spec["selector"] = _copy(_EVERYTHING)
    elif selector == _NOTHING:
        spec["selector"] = {}
    return budget


def _copy(selector: Obj) -> Obj:
    return {"matchExpressions": [dict(term) for term in selector["matchExpressions"]]}
