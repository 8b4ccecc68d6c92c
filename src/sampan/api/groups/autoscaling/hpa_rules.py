"""What a HorizontalPodAutoscaler (autoscaling/v2) must be like; other versions are judged as what is stored of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sampan.api import errors, names, quantity
from sampan.api.types import Obj
from sampan.api.validation import common, resources
from sampan.api.validation.common import Errors

_LONGEST_PERIOD_SECONDS: Final = 1800
_LONGEST_WINDOW_SECONDS: Final = 3600
_SELECT: Final = ("Disabled", "Max", "Min")
_POLICIES: Final = ("Percent", "Pods")
#: the types of metrics and their fields, in the order in which the reference looks at the fields
SOURCES: Final = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}
_TYPES: Final = tuple(sorted(SOURCES))
_EITHER: Final = "must set either a target raw value or a target utilization"


def validate(autoscaler: Obj) -> Errors:
    spec = autoscaler.get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    found = common.non_negative(least, "spec.minReplicas")
    if most < 1:
        found.append(errors.invalid("spec.maxReplicas", most, "must be greater than 0"))
    if least is not None and most < least:
        text = "must be greater than or equal to `minReplicas`"
        found.append(errors.invalid("spec.maxReplicas", most, text))
    found += _reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef")
    metrics = spec.get("metrics") or ()
    for index, metric in enumerate(metrics):
        found += _metric(metric, f"spec.metrics[{index}]")
    if least == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        text = "must specify at least one Object or External metric to support scaling to zero replicas"
        found.append(errors.forbidden("spec.metrics", text))
    behavior = spec.get("behavior") or {}
    for key in ("scaleUp", "scaleDown"):
        if behavior.get(key) is not None:
            found += _scaling(behavior[key], f"spec.behavior.{key}")
    return found


def validate_status(new: Obj, old: Obj) -> Errors:
    status = new.get("status") or {}
    found = common.non_negative(status.get("currentReplicas"), "status.currentReplicas")
    return found + common.non_negative(status.get("desiredReplicas"), "status.desiredReplicas")


def _segment(value: str, path: str, detail: str = "") -> Errors:
    if not value:
        return [errors.required(path, detail)]
    return common.named(names.path_segment, value, path)


def _reference(reference: Obj, path: str) -> Errors:
    found = _segment(reference.get("kind", ""), f"{path}.kind")
    return found + _segment(reference.get("name", ""), f"{path}.name")


# -- how fast ----------------------------------------------------------------------------------------------------


def _scaling(rules: Obj, path: str) -> Errors:
    found: Errors = []
    window, where = rules.get("stabilizationWindowSeconds"), f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        found.append(errors.invalid(where, window, "must be greater than or equal to zero"))
    if window is not None and window > _LONGEST_WINDOW_SECONDS:
        found.append(errors.invalid(where, window, f"must be less than or equal to {_LONGEST_WINDOW_SECONDS}"))
    choice = rules.get("selectPolicy")
    if choice is not None and choice not in _SELECT:
        found.append(errors.not_supported(f"{path}.selectPolicy", choice, _SELECT))
    policies = rules.get("policies") or ()
    if not policies:
        found.append(errors.required(f"{path}.policies", "must specify at least one Policy"))
    for index, policy in enumerate(policies):
        found += _policy(policy, f"{path}.policies[{index}]")
    if (tolerance := rules.get("tolerance")) is not None:
        found += common.quantity_value(tolerance, f"{path}.tolerance")
    return found


def _policy(policy: Obj, path: str) -> Errors:
    kind, value, period = policy.get("type", ""), policy.get("value") or 0, policy.get("periodSeconds") or 0
    found: Errors = []
    if kind not in _POLICIES:
        found.append(errors.not_supported(f"{path}.type", kind, _POLICIES))
    for key, number in (("value", value), ("periodSeconds", period)):
        if number <= 0:
            found.append(errors.invalid(f"{path}.{key}", number, "must be greater than zero"))
    if period > _LONGEST_PERIOD_SECONDS:
        text = f"must be less than or equal to {_LONGEST_PERIOD_SECONDS}"
        found.append(errors.invalid(f"{path}.periodSeconds", period, text))
    return found


# -- by what -----------------------------------------------------------------------------------------------------


def _metric(metric: Obj, path: str) -> Errors:
    kind = metric.get("type", "")
    unknown = [] if kind in SOURCES else [errors.not_supported(f"{path}.type", kind, _TYPES)]
    found = [] if kind else [errors.required(f"{path}.type", "must specify a metric source type")]
    found += unknown
    present = [field for field in SOURCES.values() if metric.get(field) is not None]
    if present:
        found += _CHECKS[present[0]](metric[present[0]], f"{path}.{present[0]}")
    field = SOURCES.get(kind, "")
    if field and metric.get(field) is None:
        text = "must populate information for the given metric source"
        found.append(errors.required(f"{path}.{field}", text))
    found += unknown
    if len(present) > 1:
        text = "must populate the given metric source only"
        found += [errors.forbidden(f"{path}.{other}", text) for other in present if other != field]
    return found


def _object(source: Obj, path: str) -> Errors:
    target = source.get("target") or {}
    found = _reference(source.get("describedObject") or {}, f"{path}.describedObject")
    found += _identifier(source, path) + _target(target, f"{path}.target")
    if target.get("value") is None and target.get("averageValue") is None:
        text = "must set either a target value or averageValue"
        found.append(errors.required(f"{path}.target.averageValue", text))
    return found


def _external(source: Obj, path: str) -> Errors:
    target = source.get("target") or {}
    found = _identifier(source, path) + _target(target, f"{path}.target")
    value, average = target.get("value"), target.get("averageValue")
    if value is None and average is None:
        text = "must set either a target value for metric or a per-pod target"
        found.append(errors.required(f"{path}.target.averageValue", text))
    if value is not None and average is not None:
        text = "may not set both a target value for metric and a per-pod target"
        found.append(errors.forbidden(f"{path}.target.value", text))
    return found


def _pods(source: Obj, path: str) -> Errors:
    target = source.get("target") or {}
    found = _identifier(source, path) + _target(target, f"{path}.target")
    if target.get("averageValue") is None:
        found.append(errors.required(f"{path}.target.averageValue", "must specify a positive target averageValue"))
    return found


def _resource(source: Obj, path: str) -> Errors:
    found = [] if source.get("name") else [errors.required(f"{path}.name", "must specify a resource name")]
    return found + _utilization(source, path)


def _container_resource(source: Obj, path: str) -> Errors:
    found: Errors = []
    if name := source.get("name"):
        found += resources.container_resource_name(name, f"{path}.name")
    else:
        found.append(errors.required(f"{path}.name", "must specify a resource name"))
    if container := source.get("container"):
        found += common.named(names.dns1123_label, container, f"{path}.container")
    else:
        found.append(errors.required(f"{path}.container", "must specify a container"))
    return found + _utilization(source, path)


def _utilization(source: Obj, path: str) -> Errors:
    target = source.get("target") or {}
    found = _target(target, f"{path}.target")
    utilization, average = target.get("averageUtilization"), target.get("averageValue")
    if utilization is None and average is None:
        found.append(errors.required(f"{path}.target.averageUtilization", _EITHER))
    if utilization is not None and average is not None:
        text = "may not set both a target raw value and a target utilization"
        found.append(errors.forbidden(f"{path}.target.averageValue", text))
    return found


def _identifier(source: Obj, path: str) -> Errors:
    return _segment((source.get("metric") or {}).get("name", ""), f"{path}.metric.name", "must specify a metric name")


def _target(target: Obj, path: str) -> Errors:
    kind = target.get("type", "")
    found = [] if kind else [errors.required(f"{path}.type", "must specify a metric target type")]
    if kind not in ("Utilization", "Value", "AverageValue"):
        found.append(errors.invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue"))
    for key in ("value", "averageValue"):
        amount = target.get(key)
        if amount is not None and quantity.parse(amount) <= 0:
            found.append(errors.invalid(f"{path}.{key}", quantity.canonical(amount), "must be positive"))
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        found.append(errors.invalid(f"{path}.averageUtilization", utilization, "must be greater than 0"))
    return found


_CHECKS: Final[dict[str, Callable[[Obj, str], Errors]]] = {
    "object": _object,
    "external": _external,
    "pods": _pods,
    "resource": _resource,
    "containerResource": _container_resource,
}
