"""HorizontalPodAutoscaler: autoscaling/v1 to autoscaling/v2, which is stored, and back.

v1 has one field for a CPU target; whatever else v2 knows travels in annotations, so that nothing is lost on the way.
Upstream: ``pkg/apis/autoscaling/v1/conversion.go``.
"""

from __future__ import annotations

from typing import Any

import orjson

from sampan.api import schema
from sampan.api.errors import BadRequest
from sampan.api.types import Obj

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_ANNOTATIONS = (METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR)

_V1 = "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler"
_V2 = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler"

_FIELD = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def _without_none(obj: Obj) -> Obj:
    return {key: value for key, value in obj.items() if value is not None}


def _target(kind: str, **values: Any) -> Obj:
    return _without_none({"type": kind, **values})


def _resource_target(source: Obj) -> Obj:
    if source.get("targetAverageUtilization") is not None:
        return _target("Utilization", averageUtilization=source["targetAverageUtilization"])
    return _target("AverageValue", averageValue=source.get("targetAverageValue"))


def _metric_to_v2(metric: Obj) -> Obj:
    kind = str(metric.get("type") or "")
    field = _FIELD.get(kind, "")
    source = metric.get(field)
    if not isinstance(source, dict):
        source = {}
    match kind:
        case "Resource" | "ContainerResource":
            inner = {"name": source.get("name"), "container": source.get("container")}
            return {"type": kind, field: _without_none({**inner, "target": _resource_target(source)})}
        case "Pods":
            name = _without_none({"name": source.get("metricName"), "selector": source.get("selector")})
            target = _target("AverageValue", averageValue=source.get("targetAverageValue"))
            return {"type": kind, field: {"metric": name, "target": target}}
        case "Object":
            name = _without_none({"name": source.get("metricName"), "selector": source.get("selector")})
            average = source.get("averageValue")
            target = (
                _target("Value", value=source.get("targetValue"))
                if average is None
                else _target("AverageValue", averageValue=average)
            )
            described = source.get("target")
            return {"type": kind, field: {"describedObject": described or {}, "metric": name, "target": target}}
        case _:
            name = _without_none({"name": source.get("metricName"), "selector": source.get("metricSelector")})
            value = source.get("targetValue")
            target = (
                _target("AverageValue", averageValue=source.get("targetAverageValue"))
                if value is None
                else _target("Value", value=value)
            )
            return {"type": kind, field: {"metric": name, "target": target}}


def _metric_to_v1(metric: Obj) -> Obj:
    kind = metric.get("type", "")
    field = _FIELD.get(kind, "")
    source = metric.get(field) or {}
    target, named = source.get("target") or {}, source.get("metric") or {}
    match kind:
        case "Resource" | "ContainerResource":
            inner = {
                "name": source.get("name"),
                "container": source.get("container"),
                "targetAverageUtilization": target.get("averageUtilization"),
                "targetAverageValue": target.get("averageValue"),
            }
        case "Pods":
            inner = {
                "metricName": named.get("name"),
                "selector": named.get("selector"),
                "targetAverageValue": target.get("averageValue"),
            }
        case "Object":
            inner = {
                "target": source.get("describedObject"),
                "metricName": named.get("name"),
                "selector": named.get("selector"),
                "targetValue": target.get("value", "0"),
                "averageValue": target.get("averageValue"),
            }
        case _:
            inner = {
                "metricName": named.get("name"),
                "metricSelector": named.get("selector"),
                "targetValue": target.get("value"),
                "targetAverageValue": target.get("averageValue"),
            }
    return {"type": kind, field: _without_none(inner)}


def _is_cpu_utilization(metric: Obj) -> bool:
    source = metric.get("resource") or {}
    utilization = (source.get("target") or {}).get("averageUtilization")
    return metric.get("type") == "Resource" and source.get("name") == "cpu" and utilization is not None


def _load(text: str | None) -> Any:
    """The value of an annotation. Clients can write anything there; what is not JSON is ignored, as upstream does."""
    if not text:
        return None
    try:
        return schema.parse_json(text.encode())[0]
    except BadRequest:
        return None


def _typed(part: str, key: str, value: Any) -> Any:
    """What stood in an annotation as a field of v2's Spec or Status; None: it is of another type."""
    node = schema.load().definition(_V2 + part)
    assert isinstance(node, schema.ObjectNode)
    decoded = schema.decode(node.fields[key].node, value, collect_unknown=False)
    return decoded.value if decoded.error is None else None


def _objects(value: Any) -> list[Obj]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def to_v2(autoscaler: Obj) -> Obj:
    metadata = dict(autoscaler.get("metadata") or {})
    annotations = dict(metadata.get("annotations") or {})
    carried = {key: annotations.pop(key, None) for key in _ANNOTATIONS}
    metadata["annotations"] = annotations
    if not annotations:
        del metadata["annotations"]
    spec, status = dict(autoscaler.get("spec") or {}), dict(autoscaler.get("status") or {})
    metrics = [_metric_to_v2(metric) for metric in _objects(_load(carried[METRICS]))]
    listed: list[Obj] = _typed("Spec", "metrics", metrics) or []
    utilization = spec.pop("targetCPUUtilizationPercentage", None)
    if utilization is not None:
        target = _target("Utilization", averageUtilization=utilization)
        listed.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if listed:
        spec["metrics"] = listed
    behavior = _load(carried[BEHAVIOR])
    if isinstance(behavior, dict) and (typed := _typed("Spec", "behavior", behavior)) is not None:
        spec["behavior"] = typed
    status.pop("currentCPUUtilizationPercentage", None)
    for key, annotation in (("conditions", CONDITIONS), ("currentMetrics", CURRENT_METRICS)):
        value = _load(carried[annotation])
        if isinstance(value, list) and (typed := _typed("Status", key, value)) is not None:
            status[key] = typed
    converted = {**autoscaler, "apiVersion": "autoscaling/v2", "metadata": metadata, "spec": spec}
    if "status" in autoscaler or status:
        converted["status"] = status
    schema.normalise(schema.load().definition(_V2), converted)
    return converted


def from_v2(autoscaler: Obj) -> Obj:
    metadata = dict(autoscaler.get("metadata") or {})
    annotations = dict(metadata.get("annotations") or {})
    spec, status = dict(autoscaler.get("spec") or {}), dict(autoscaler.get("status") or {})
    metrics = list(spec.pop("metrics", None) or ())
    for index, metric in enumerate(metrics):
        if _is_cpu_utilization(metric):
            spec["targetCPUUtilizationPercentage"] = metric["resource"]["target"]["averageUtilization"]
            del metrics[index]
            break
    if metrics:
        annotations[METRICS] = orjson.dumps([_metric_to_v1(metric) for metric in metrics]).decode()
    if (behavior := spec.pop("behavior", None)) is not None:
        annotations[BEHAVIOR] = orjson.dumps(behavior).decode()
    current = status.pop("currentMetrics", None)
    if current:
        annotations[CURRENT_METRICS] = orjson.dumps(current).decode()
        for metric in current:
            resource = metric.get("resource") or {}
            utilization = (resource.get("current") or {}).get("averageUtilization")
            if resource.get("name") == "cpu" and utilization is not None:
                status["currentCPUUtilizationPercentage"] = utilization
    if conditions := status.pop("conditions", None):
        annotations[CONDITIONS] = orjson.dumps(conditions).decode()
    if annotations:
        metadata["annotations"] = annotations
    converted = {**autoscaler, "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}
    schema.normalise(schema.load().definition(_V1), converted)
    return converted
