"""Deployment (apps/v1): defaults, validation, columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sampan.api import errors, gates
from sampan.api.groups import printing, templated
from sampan.api.groups.core import template_warnings
from sampan.api.groups.core.pod_defaults import default_pod_template
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import IDENTITY, Column, Kind, ScalePaths
from sampan.api.types import Obj
from sampan.api.validation import common, go_values
from sampan.api.validation.common import Errors

_ROLLING: Final[go_values.Layout] = go_values.plain("maxUnavailable", "maxSurge", zero=0)
_STRATEGY: Final[go_values.Layout] = {
    **go_values.plain("type", zero=""),
    "rollingUpdate": ("RollingUpdate", None, _ROLLING),
}


def _default(deployment: Obj) -> None:
    spec = deployment.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    default_pod_template(spec.setdefault("template", {}))


def _rolling_update(rolling: Obj, path: str) -> Errors:
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    found = common.int_or_percent(unavailable, f"{path}.maxUnavailable")
    found += common.int_or_percent(surge, f"{path}.maxSurge")
    if _is_zero(unavailable) and _is_zero(surge):
        found.append(errors.invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    return found + common.not_more_than_100_percent(unavailable, f"{path}.maxUnavailable")


def _is_zero(value: int | str | None) -> bool:
    return value == 0 or common.percent_of(value) == 0


def _strategy(strategy: Obj, path: str) -> Errors:
    kind = strategy.get("type", "")
    match kind:
        case "Recreate":
            if strategy.get("rollingUpdate") is not None:
                text = "may not be specified when strategy `type` is 'Recreate'"
                return [errors.forbidden(f"{path}.rollingUpdate", text)]
            return []
        case "RollingUpdate":
            if strategy.get("rollingUpdate") is None:
                text = "this should be defaulted and never be nil"
                return [errors.required(f"{path}.rollingUpdate", text)]
            return _rolling_update(strategy["rollingUpdate"], f"{path}.rollingUpdate")
        case _:
            return [errors.not_supported(path, go_values.struct(strategy, _STRATEGY), ("Recreate", "RollingUpdate"))]


def _validate(deployment: Obj, old: Obj | None = None) -> Errors:
    spec = deployment.get("spec") or {}
    found = common.non_negative(spec.get("replicas"), "spec.replicas")
    found += templated.replica_template(spec, "spec", templated.template_of(old))
    found += _strategy(spec.get("strategy") or {}, "spec.strategy")
    minimum, deadline = spec.get("minReadySeconds", 0), spec.get("progressDeadlineSeconds")
    found += common.non_negative(minimum, "spec.minReadySeconds")
    found += common.non_negative(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")
    found += common.non_negative(deadline, "spec.progressDeadlineSeconds")
    if deadline is not None and deadline <= minimum:
        found.append(errors.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    return _validate(new, old) + templated.same_selector(new, old)


def _validate_status(new: Obj, old: Obj) -> Errors:
    status = new.get("status") or {}
    parts = ("updatedReplicas", "readyReplicas", "availableReplicas")
    found = templated.counters(
        status, "observedGeneration", "replicas", *parts, "unavailableReplicas", "collisionCount"
    )
    found += templated.not_more(status, "replicas", *parts)
    found += templated.not_more(status, "readyReplicas", "availableReplicas", said="readyReplicas")
    return found + templated.collisions_only_grow(new, old)


def _row(deployment: Obj, now: datetime) -> Sequence[Any]:
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    containers, images = printing.containers(printing.template_spec(deployment))
    return (
        printing.name(deployment),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        printing.age(deployment, now),
        containers,
        images,
        printing.selector(spec.get("selector")),
    )


KINDS = (
    Kind(
        group="apps",
        version="v1",
        kind="Deployment",
        plural="deployments",
        singular="deployment",
        namespaced=True,
        schema="io.k8s.api.apps.v1.Deployment",
        gated=gates.WORKLOAD,
        status_metadata=(*IDENTITY, "annotations", "finalizers"),
        short_names=("deploy",),
        categories=("all",),
        status=True,
        scale=ScalePaths(),
        generation=True,
        counted_metadata=("annotations",),
        default=_default,
        validate=_validate,
        warnings=template_warnings.of_workload,
        validate_update=_validate_update,
        ratchets=True,
        validate_status=_validate_status,
        prepare_create=drop_status,
        columns=(
            printing.NAME,
            Column("Ready"),
            Column("Up-to-date"),
            Column("Available"),
            printing.AGE,
            printing.CONTAINERS,
            printing.IMAGES,
            printing.SELECTOR,
        ),
        row=_row,
    ),
)
