"""HorizontalPodAutoscaler (autoscaling/v2, stored, and autoscaling/v1): defaults, validation, columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sampan.api.groups import printing
from sampan.api.groups.autoscaling import hpa_conversion, hpa_rules
from sampan.api.groups.strategy import zero_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj

#: a quantity that is not there
_NIL: Final = "<nil>"
_SHOWN_METRICS: Final = 2


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


# -- columns -----------------------------------------------------------------------------------------------------


def _metric_text(metric: Obj, measured: Obj) -> str:
    """``measured``: what is in the same place of the status."""
    kind = metric.get("type", "")
    field = hpa_rules.SOURCES.get(kind)
    if field is None:
        return "<unknown type>"
    source, seen = metric.get(field) or {}, measured.get(field)
    target = source.get("target") or {}
    current = (seen or {}).get("current") or {}
    average = target.get("averageValue")
    match kind:
        case "Object" | "External":
            if average is not None:
                return f"{current.get('averageValue', printing.UNKNOWN)}/{average} (avg)"
            return f"{_raw(seen, current, 'value')}/{target.get('value', _NIL)}"
        case "Pods":
            return f"{_raw(seen, current, 'averageValue')}/{target.get('averageValue', _NIL)}"
        case _:
            name = f"{source.get('name', '')}: "
            if average is not None:
                return f"{name}{_raw(seen, current, 'averageValue')}/{average}"
            return f"{name}{_percent(current, printing.UNKNOWN)}/{_percent(target, '<auto>')}"


def _raw(seen: Obj | None, current: Obj, key: str) -> str:
    """A quantity as Go prints the pointer to it."""
    return printing.UNKNOWN if seen is None else str(current.get(key, _NIL))


def _percent(values: Obj, otherwise: str) -> str:
    utilization = values.get("averageUtilization")
    return otherwise if utilization is None else f"{utilization}%"


def _targets(autoscaler: Obj) -> str:
    metrics = (autoscaler.get("spec") or {}).get("metrics") or []
    if not metrics:
        return printing.NONE
    measured = [*((autoscaler.get("status") or {}).get("currentMetrics") or ()), *({} for _ in metrics)]
    shown = ", ".join(_metric_text(*pair) for pair in list(zip(metrics, measured, strict=False))[:_SHOWN_METRICS])
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
        generation=True,
        prepare_create=zero_status("io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerStatus"),
        default=_default_v2,
        validate=hpa_rules.validate,
        validate_status=hpa_rules.validate_status,
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
        generation=True,
        prepare_create=zero_status("io.k8s.api.autoscaling.v1.HorizontalPodAutoscalerStatus"),
        default=_default_v1,
        columns=_COLUMNS,
        row=_row_v1,
        stored_as=("autoscaling", "v2"),
        to_stored=hpa_conversion.to_v2,
        from_stored=hpa_conversion.from_v2,
    ),
)
