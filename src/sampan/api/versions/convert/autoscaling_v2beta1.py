"""HorizontalPodAutoscaler of autoscaling/v2beta1 and autoscaling/v2: metrics had their targets beside their names.

How fast it scales travels in the annotation that autoscaling/v1 has for it. Upstream:
``pkg/apis/autoscaling/v2beta1/conversion.go``, last served by 1.24.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sampan.api.groups.autoscaling.hpa_conversion import BEHAVIOR
from sampan.api.types import Obj
from sampan.api.versions.convert.parts import annotate_json, part, parts, take_json

#: type of a metric to its field
_FIELDS: Final = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}
#: field here to field there
Names = dict[str, str]
_RESOURCE: Final[Names] = {
    "targetAverageUtilization": "averageUtilization",
    "targetAverageValue": "averageValue",
}
_RESOURCE_NOW: Final[Names] = {
    "currentAverageUtilization": "averageUtilization",
    "currentAverageValue": "averageValue",
}
_TARGETS: Final[dict[str, Names]] = {
    "resource": _RESOURCE,
    "containerResource": _RESOURCE,
    "pods": {"targetAverageValue": "averageValue"},
    "object": {"targetValue": "value", "averageValue": "averageValue"},
    "external": {"targetValue": "value", "targetAverageValue": "averageValue"},
}
_CURRENT: Final[dict[str, Names]] = {
    "resource": _RESOURCE_NOW,
    "containerResource": _RESOURCE_NOW,
    "pods": {"currentAverageValue": "averageValue"},
    "object": {"currentValue": "value", "averageValue": "averageValue"},
    "external": {"currentValue": "value", "currentAverageValue": "averageValue"},
}
_TARGET_TYPES: Final = (("averageUtilization", "Utilization"), ("averageValue", "AverageValue"), ("value", "Value"))
_ZERO: Final = "0"


def to_horizontalpodautoscaler(autoscaler: Obj) -> Obj:
    spec, status = part(autoscaler, "spec"), part(autoscaler, "status")
    behavior = take_json(autoscaler, BEHAVIOR)
    if isinstance(behavior, dict):
        autoscaler.setdefault("spec", {})["behavior"] = behavior
    _each(spec, "metrics", lambda field, metric: _to(field, metric, _TARGETS[field], "target"))
    _each(status, "currentMetrics", lambda field, metric: _to(field, metric, _CURRENT[field], "current"))
    return autoscaler


def from_horizontalpodautoscaler(autoscaler: Obj) -> Obj:
    spec, status = part(autoscaler, "spec"), part(autoscaler, "status")
    behavior = spec.pop("behavior", None)
    if isinstance(behavior, dict):
        annotate_json(autoscaler, BEHAVIOR, behavior)
    _each(spec, "metrics", lambda field, metric: _from(field, metric, _TARGETS[field], "target"))
    _each(status, "currentMetrics", lambda field, metric: _from(field, metric, _CURRENT[field], "current"))
    return autoscaler


def _each(holder: Obj, key: str, change: Callable[[str, Obj], Obj]) -> None:
    for metric in parts(holder, key):
        field = _FIELDS.get(str(metric.get("type")), "")
        if isinstance(metric.get(field), dict):
            metric[field] = change(field, metric[field])


def _to(field: str, metric: Obj, names: Names, values: str) -> Obj:
    amounts = {there: metric[here] for here, there in names.items() if metric.get(here) is not None}
    if field in ("object", "external") and "averageValue" in amounts and amounts.get("value") in (None, _ZERO, 0):
        amounts.pop("value", None)  # that field is always written
    if field in ("resource", "containerResource") and values == "current" and _is_absent(amounts.get("averageValue")):
        amounts.pop("averageValue", None)
    found: Obj = {key: metric[key] for key in ("name", "container") if key in metric}
    if field in ("pods", "object", "external"):
        selector = "metricSelector" if field == "external" else "selector"
        found["metric"] = _present(name=metric.get("metricName"), selector=metric.get(selector))
    if field == "object":
        found["describedObject"] = part(metric, "target")
    if values == "target":
        kind = next((kind for key, kind in _TARGET_TYPES if key in amounts), _default_type(field))
        amounts = {"type": kind, **amounts}
    found[values] = amounts
    return found


def _is_absent(amount: Any) -> bool:
    return amount in (None, _ZERO, 0)


def _default_type(field: str) -> str:
    return "Value" if field == "object" else "AverageValue"


def _from(field: str, metric: Obj, names: Names, values: str) -> Obj:
    amounts = part(metric, values)
    found: Obj = {key: metric[key] for key in ("name", "container") if key in metric}
    if field in ("pods", "object", "external"):
        named = part(metric, "metric")
        selector = "metricSelector" if field == "external" else "selector"
        found |= _present(**{"metricName": named.get("name"), selector: named.get("selector")})
    if field == "object":
        found["target"] = part(metric, "describedObject")
    found |= {here: amounts[there] for here, there in names.items() if amounts.get(there) is not None}
    always = "currentValue" if values == "current" else "targetValue" if field == "object" else ""
    if field in ("object", "external") and always:
        found.setdefault(always, _ZERO)
    if field in ("resource", "containerResource") and values == "current":
        found.setdefault("currentAverageValue", _ZERO)
    return found


def _present(**values: Any) -> Obj:
    return {key: value for key, value in values.items() if value is not None}
