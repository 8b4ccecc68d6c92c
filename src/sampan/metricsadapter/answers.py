"""The objects of ``custom.metrics.k8s.io`` and ``external.metrics.k8s.io``, and what discovery says of them. Pure.

Spec: k8s.io/metrics (custom_metrics v1beta1 and v1beta2, external_metrics v1beta1), custom-metrics-apiserver.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final

from sampan.api.clock import format_time
from sampan.api.errors import NotFound
from sampan.api.quantity import format_quantity
from sampan.api.types import Obj
from sampan.metricsadapter.catalog import Catalog, Known
from sampan.metricsadapter.prometheus import Sample, milli

CUSTOM: Final = "custom.metrics.k8s.io"
CUSTOM_VERSIONS: Final = ("v1beta2", "v1beta1")
EXTERNAL: Final = "external.metrics.k8s.io"
EXTERNAL_VERSIONS: Final = ("v1beta1",)
VERSIONS: Final[Mapping[str, tuple[str, ...]]] = {CUSTOM: CUSTOM_VERSIONS, EXTERNAL: EXTERNAL_VERSIONS}


def custom_value(
    version: str, metric: str, known: Known, namespace: str, name: str, sample: Sample, selector: Obj | None
) -> Obj:
    described: Obj = {"kind": known.kind}
    if namespace:
        described["namespace"] = namespace
    described |= {"name": name, "apiVersion": f"{known.resource.group}/{known.version}"}
    value: Obj = {"describedObject": described}
    if version == "v1beta1":
        value |= {"metricName": metric, "timestamp": _time(sample), "value": _amount(sample), "selector": selector}
    else:
        named = {"name": metric, "selector": selector}
        value |= {"metric": named, "timestamp": _time(sample), "value": _amount(sample)}
    return value


def custom_list(version: str, items: Iterable[Obj]) -> Obj:
    head: Obj = {"kind": "MetricValueList", "apiVersion": f"{CUSTOM}/{version}", "metadata": {}}
    return {**head, "items": list(items)}


def external_list(metric: str, samples: Iterable[Sample]) -> Obj:
    items = [
        {
            "metricName": metric,
            "metricLabels": dict(sample.labels),
            "timestamp": _time(sample),
            "value": _amount(sample),
        }
        for sample in samples
    ]
    return {"kind": "ExternalMetricValueList", "apiVersion": f"{EXTERNAL}/v1beta1", "metadata": {}, "items": items}


def _time(sample: Sample) -> str:
    return format_time(datetime.fromtimestamp(sample.time, UTC))


def _amount(sample: Sample) -> str:
    return format_quantity(Fraction(milli(sample.value), 1000))


def no_metric(metric: str, resource: str, name: str = "") -> NotFound:
    text = f"the server could not find the metric {metric} for {resource}"
    return NotFound(f"{text} {name}" if name else text)


def resource_list(catalog: Catalog, group: str, version: str) -> Obj:
    """``/apis/GROUP/VERSION``."""
    resources: list[Obj] = []
    if group == CUSTOM:
        for metric in catalog.custom:
            name = f"{metric.resource}/{metric.name}"
            resources.append(_resource(name, metric.namespaced, "MetricValueList"))
    else:
        resources += [_resource(name, True, "ExternalMetricValueList") for name in catalog.external]
    resources.sort(key=lambda each: str(each["name"]))
    head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}"}
    return {**head, "resources": resources}


def _resource(name: str, namespaced: bool, kind: str) -> Obj:
    return {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get"]}


def group(name: str) -> Obj:
    """``/apis/GROUP``."""
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in VERSIONS[name]]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list() -> Obj:
    """``/apis``."""
    groups = [
        {key: value for key, value in group(name).items() if key not in ("kind", "apiVersion")} for name in VERSIONS
    ]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
