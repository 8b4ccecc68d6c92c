"""HorizontalPodAutoscaler (autoscaling/v2, stored, and autoscaling/v1): defaults, validation, columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors
from sampan.api.groups import printing
from sampan.api.groups.autoscaling import hpa_conversion
from sampan.api.groups.strategy import zero_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_SOURCES = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}
_SHOWN_METRICS = 2


def _default_v1(autoscaler: Obj) -> None:
    autoscaler.setdefault("spec", {}).setdefault("minReplicas", 1)


def _default_v2(autoscaler: Obj) -> None:
    spec = autoscaler.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is not None:
        _default_rules(behavior.setdefault("scaleUp", {}), 0, [("Pods", 4), ("Percent", 100)])
        _default_rules(behavior.setdefault("scaleDown", {}), None, [("Percent", 100)])


def _default_rules(rules: Obj, window: int | None, policies: list[tuple[str, int]]) -> None:
    rules.setdefault("selectPolicy", "Max")
    if window is not None:
        rules.setdefault("stabilizationWindowSeconds", window)
    if not rules.get("policies"):
        rules["policies"] = [{"type": kind, "value": value, "periodSeconds": 15} for kind, value in policies]


def _validate_common(spec: Obj) -> Errors:
    minimum, maximum = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    found: Errors = []
    if minimum is not None and minimum < 1:
        found.append(errors.invalid("spec.minReplicas", minimum, "must be greater than or equal to 1"))
    if maximum < 1:
        found.append(errors.invalid("spec.maxReplicas", maximum, "must be greater than 0"))
    if minimum is not None and maximum < minimum:
        text = "must be greater than or equal to `minReplicas`"
        found.append(errors.invalid("spec.maxReplicas", maximum, text))
    return found + common.needed(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef", "kind", "name")


def _validate_v1(autoscaler: Obj) -> Errors:
    spec = autoscaler.get("spec") or {}
    utilization = spec.get("targetCPUUtilizationPercentage")
    return _validate_common(spec) + common.positive(utilization, "spec.targetCPUUtilizationPercentage")


def _validate_v2(autoscaler: Obj) -> Errors:
    spec = autoscaler.get("spec") or {}
    found = _validate_common(spec)
    for index, metric in enumerate(spec.get("metrics") or ()):
        found += _metric(metric, f"spec.metrics[{index}]")
    return found


def _metric(metric: Obj, path: str) -> Errors:
    kind = metric.get("type", "")
    if not kind:
        return [errors.required(f"{path}.type", "must specify a metric source type")]
    field = _SOURCES.get(kind)
    if field is None:
        return [errors.not_supported(f"{path}.type", kind, sorted(_SOURCES))]
    source = metric.get(field)
    if source is None:
        text = "must populate information for the given metric source"
        return [errors.required(f"{path}.{field}", text)]
    target = source.get("target") or {}
    found = common.one_of(
        target.get("type"), ("Utilization", "Value", "AverageValue"), f"{path}.{field}.target.type", must=True
    )
    if all(target.get(key) is None for key in ("averageUtilization", "averageValue", "value")):
        text = "must set either a target raw value or a target utilization"
        found.append(errors.required(f"{path}.{field}.target.averageUtilization", text))
    return found + common.positive(target.get("averageUtilization"), f"{path}.{field}.target.averageUtilization")


def _current(autoscaler: Obj, kind: str, name: str) -> Obj:
    """What was last measured for a metric."""
    for metric in (autoscaler.get("status") or {}).get("currentMetrics") or ():
        source = metric.get(_SOURCES.get(kind, "")) or {}
        if metric.get("type") == kind and name in (source.get("name"), (source.get("metric") or {}).get("name")):
            found: Obj = source.get("current") or {}
            return found
    return {}


def _metric_text(autoscaler: Obj, metric: Obj) -> str:
    kind = metric.get("type", "")
    source = metric.get(_SOURCES.get(kind, "")) or {}
    target = source.get("target") or {}
    name = source.get("name") or (source.get("metric") or {}).get("name", "")
    current = _current(autoscaler, kind, name)
    prefix = f"{name}: " if kind in ("Resource", "ContainerResource") else ""
    if kind == "ContainerResource":
        prefix = f"{source.get('container', '')}/{prefix}" if source.get("container") else prefix
    if target.get("averageUtilization") is not None:
        measured = current.get("averageUtilization")
        shown = printing.UNKNOWN if measured is None else f"{measured}%"
        return f"{prefix}{shown}/{target['averageUtilization']}%"
    key = "averageValue" if target.get("averageValue") is not None else "value"
    suffix = " (avg)" if key == "averageValue" and kind in ("Object", "External") else ""
    return f"{prefix}{current.get(key, printing.UNKNOWN)}/{target.get(key, '')}{suffix}"


def _targets(autoscaler: Obj) -> str:
    metrics = (autoscaler.get("spec") or {}).get("metrics") or []
    if not metrics:
        return printing.NONE
    shown = ", ".join(_metric_text(autoscaler, metric) for metric in metrics[:_SHOWN_METRICS])
    more = len(metrics) - _SHOWN_METRICS
    return f"{shown} + {more} more..." if more > 0 else shown


def _row_v2(autoscaler: Obj, now: datetime) -> Sequence[Any]:
    spec = autoscaler.get("spec") or {}
    target = spec.get("scaleTargetRef") or {}
    return (
        printing.name(autoscaler),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _targets(autoscaler),
        str(spec.get("minReplicas", printing.UNSET)),
        spec.get("maxReplicas", 0),
        (autoscaler.get("status") or {}).get("currentReplicas", 0),
        printing.age(autoscaler, now),
    )


def _row_v1(autoscaler: Obj, now: datetime) -> Sequence[Any]:
    return _row_v2(hpa_conversion.to_v2(autoscaler), now)


_COLUMNS = (
    printing.NAME,
    Column("Reference"),
    Column("Targets"),
    Column("MinPods"),
    Column("MaxPods"),
    Column("Replicas"),
    printing.AGE,
)

KINDS = (
    Kind(
        group="autoscaling",
        version="v2",
        kind="HorizontalPodAutoscaler",
        plural="horizontalpodautoscalers",
        singular="horizontalpodautoscaler",
        namespaced=True,
        schema="io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
        short_names=("hpa",),
        categories=("all",),
        status=True,
        prepare_create=zero_status("io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerStatus"),
        default=_default_v2,
        validate=_validate_v2,
        columns=_COLUMNS,
        row=_row_v2,
    ),
    Kind(
        group="autoscaling",
        version="v1",
        kind="HorizontalPodAutoscaler",
        plural="horizontalpodautoscalers",
        singular="horizontalpodautoscaler",
        namespaced=True,
        schema="io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
        short_names=("hpa",),
        categories=("all",),
        status=True,
        prepare_create=zero_status("io.k8s.api.autoscaling.v1.HorizontalPodAutoscalerStatus"),
        default=_default_v1,
        validate=_validate_v1,
        columns=_COLUMNS,
        row=_row_v1,
        stored_as=("autoscaling", "v2"),
        to_stored=hpa_conversion.to_v2,
        from_stored=hpa_conversion.from_v2,
    ),
)
