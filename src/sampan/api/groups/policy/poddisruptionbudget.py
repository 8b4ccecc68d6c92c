"""PodDisruptionBudget (policy/v1): how many pods may be away on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sampan.api import errors
from sampan.api.groups import printing, templated
from sampan.api.groups.strategy import zero_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common, conditions, go_values
from sampan.api.validation.common import Errors

_COUNTERS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


_POLICIES: Final = ("AlwaysAllow", "IfHealthyBudget")
_SPEC: Final[go_values.Layout] = go_values.plain(
    "minAvailable", "selector", "maxUnavailable", "unhealthyPodEvictionPolicy"
)


def _shown(spec: Obj) -> Obj:
    shown = go_values.struct(spec, _SPEC) or {}
    if shown["Selector"] is not None:
        shown["Selector"] = templated.shown_selector(shown["Selector"])
    return shown


def _validate(budget: Obj) -> Errors:
    spec = budget.get("spec") or {}
    minimum, maximum = spec.get("minAvailable"), spec.get("maxUnavailable")
    found: Errors = []
    if minimum is not None and maximum is not None:
        text = "minAvailable and maxUnavailable cannot be both set"
        found.append(errors.invalid("spec", _shown(spec), text))
    for key, value in (("minAvailable", minimum), ("maxUnavailable", maximum)):
        if value is not None:
            found += common.int_or_percent(value, f"spec.{key}")
            found += common.not_more_than_100_percent(value, f"spec.{key}")
    found += common.label_selector(spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in _POLICIES:
        found.append(errors.not_supported("spec.unhealthyPodEvictionPolicy", policy, _POLICIES))
    return found


def _validate_status(new: Obj, old: Obj) -> Errors:
    status = new.get("status") or {}
    found = conditions.conditions(status.get("conditions") or (), "status.conditions")
    return found + templated.counters(status, *_COUNTERS)


def _row(budget: Obj, now: datetime) -> Sequence[Any]:
    spec = budget.get("spec") or {}
    minimum, maximum = spec.get("minAvailable"), spec.get("maxUnavailable")
    return (
        printing.name(budget),
        "N/A" if minimum is None else str(minimum),
        "N/A" if maximum is None else str(maximum),
        (budget.get("status") or {}).get("disruptionsAllowed", 0),
        printing.age(budget, now),
    )


KINDS = (
    Kind(
        group="policy",
        version="v1",
        kind="PodDisruptionBudget",
        plural="poddisruptionbudgets",
        singular="poddisruptionbudget",
        namespaced=True,
        schema="io.k8s.api.policy.v1.PodDisruptionBudget",
        short_names=("pdb",),
        status=True,
        generation=True,
        unconditional_update=False,
        validate=_validate,
        validate_status=_validate_status,
        prepare_create=zero_status("io.k8s.api.policy.v1.PodDisruptionBudgetStatus"),
        columns=(
            printing.NAME,
            Column("Min Available"),
            Column("Max Unavailable"),
            printing.number("Allowed Disruptions"),
            printing.AGE,
        ),
        row=_row,
    ),
)
