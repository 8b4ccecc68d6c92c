"""DaemonSet (apps/v1): defaults, validation, columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sampan.api import errors, gates, labels
from sampan.api.groups import printing, templated
from sampan.api.groups.core import pod_warnings
from sampan.api.groups.core.pod_defaults import default_pod_template
from sampan.api.groups.strategy import zero_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common, go_values, pod
from sampan.api.validation.common import Errors

_reset_status = zero_status("io.k8s.api.apps.v1.DaemonSetStatus")
#: Counts changes of the template; the API shows it as an annotation since apps/v1.
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"

_ROLLING: Final[go_values.Layout] = go_values.plain("maxUnavailable", "maxSurge", zero=0)
_STRATEGY: Final[go_values.Layout] = {
    **go_values.plain("type", zero=""),
    "rollingUpdate": ("RollingUpdate", None, _ROLLING),
}
_COUNTERS: Final = (
    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration",
    "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount",
)  # fmt: skip

_GENERATION = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


def _default(daemon_set: Obj) -> None:
    spec = daemon_set.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    default_pod_template(spec.setdefault("template", {}))


def _prepare_create(daemon_set: Obj) -> None:
    _reset_status(daemon_set)
    annotations = daemon_set["metadata"].setdefault("annotations", {})
    annotations[TEMPLATE_GENERATION] = str(max(_template_generation(daemon_set), 1))


def _prepare_update(new: Obj, old: Obj) -> None:
    _template_generation(new)
    before = (old["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "1")
    changed = new.get("spec", {}).get("template") != old.get("spec", {}).get("template")
    after = str(int(before) + 1) if changed and _GENERATION.fullmatch(before) else before
    new["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = after


def _template_generation(daemon_set: Obj) -> int:
    """What the annotation says, which the reference keeps as a number. Raises BadRequest."""
    text = (daemon_set["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "0")
    if _GENERATION.fullmatch(text):
        return int(text)
    fault = f"strconv.ParseInt: parsing {errors.quoted(text)}: invalid syntax"
    raise errors.BadRequest(f'DaemonSet in version "v1" cannot be handled as a DaemonSet: {fault}')


def _is_zero(value: int | str | None) -> bool:
    return value in (0, None) or common.percent_of(value) == 0


def _update_strategy(strategy: Obj, path: str) -> Errors:
    kind = strategy.get("type", "")
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        return [errors.not_supported(path, go_values.struct(strategy, _STRATEGY), ("RollingUpdate", "OnDelete"))]
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        return [errors.required(f"{path}.rollingUpdate")]
    found: Errors = []
    for check in (common.int_or_percent, common.not_more_than_100_percent):
        for key in ("maxUnavailable", "maxSurge"):
            found += check(rolling.get(key), f"{path}.rollingUpdate.{key}")
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    if not _is_zero(unavailable) and not _is_zero(surge):
        text = "may not be set when maxUnavailable is non-zero"
        found.append(errors.invalid(f"{path}.rollingUpdate.maxSurge", surge, text))
    if _is_zero(unavailable) and _is_zero(surge):
        text = "cannot be 0 when maxSurge is 0"
        found.append(errors.required(f"{path}.rollingUpdate.maxUnavailable", text))
    return found


def _validate(daemon_set: Obj, old: Obj | None = None) -> Errors:
    spec = daemon_set.get("spec") or {}
    selector, template = spec.get("selector"), spec.get("template") or {}
    found = common.label_selector(selector, "spec.selector")
    if not found:
        found += templated.selects(selector, template, "spec.template")
    found += templated.not_empty(selector, "spec.selector", "daemonset")
    found += pod.pod_template(template, "spec.template", templated.template_of(old))
    found += templated.always_restarted(template, "spec.template", "DaemonSet")
    found += common.non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    found += _update_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy")
    return found + common.non_negative(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")


def _validate_update(new: Obj, old: Obj) -> Errors:
    """The rules are told twice, as the reference does."""
    found = _validate(new, old)
    return found + found + templated.same_selector(new, old)


def _validate_status(new: Obj, old: Obj) -> Errors:
    return templated.counters(new.get("status") or {}, *_COUNTERS) + templated.collisions_only_grow(new, old)


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    template = (new.get("spec") or {}).get("template")
    if old is not None and template == (old.get("spec") or {}).get("template"):
        return ()
    return pod_warnings.of_template(template, "spec.template")


def _row(daemon_set: Obj, now: datetime) -> Sequence[Any]:
    spec, status = daemon_set.get("spec") or {}, daemon_set.get("status") or {}
    template = printing.template_spec(daemon_set)
    return (
        printing.name(daemon_set),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        labels.format_map(template.get("nodeSelector")),
        printing.age(daemon_set, now),
        *printing.containers(template),
        printing.label_selector(spec.get("selector")),
    )


KINDS = (
    Kind(
        group="apps",
        version="v1",
        kind="DaemonSet",
        plural="daemonsets",
        singular="daemonset",
        namespaced=True,
        schema="io.k8s.api.apps.v1.DaemonSet",
        gated=gates.WORKLOAD,
        short_names=("ds",),
        categories=("all",),
        status=True,
        generation=True,
        default=_default,
        validate=_validate,
        warnings=_warnings,
        validate_update=_validate_update,
        ratchets=True,
        validate_status=_validate_status,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
        columns=(
            printing.NAME,
            printing.number("Desired"),
            printing.number("Current"),
            printing.number("Ready"),
            printing.number("Up-to-date"),
            printing.number("Available"),
            Column("Node Selector"),
            printing.AGE,
            printing.CONTAINERS,
            printing.IMAGES,
            printing.SELECTOR,
        ),
        row=_row,
    ),
)
