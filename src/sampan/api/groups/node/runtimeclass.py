"""RuntimeClass (node.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sampan.api import errors, names
from sampan.api import metadata as object_metadata
from sampan.api.groups import printing
from sampan.api.groups.core import pod_warnings
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common, go_values, resources
from sampan.api.validation import scheduling as pod_scheduling
from sampan.api.validation.common import Errors
from sampan.api.validation.options import TEMPLATE

#: of a node selector here, beside those that pods are warned of
_MORE_LABELS: Final = {
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
_KEYS: Final = ("key", "operator", "value", "effect")


def _validate(obj: Obj) -> Errors:
    found = common.named(names.dns1123_label, obj.get("handler", ""), "handler")
    if (overhead := (obj.get("overhead") or {}).get("podFixed")) is not None:
        found += resources.overhead(overhead, "overhead", TEMPLATE)
    scheduling = obj.get("scheduling") or {}
    found += object_metadata.validate_labels(scheduling.get("nodeSelector"), "scheduling.nodeSelector")
    if tolerations := scheduling.get("tolerations"):
        found += pod_scheduling.tolerations(tolerations, "scheduling.tolerations")
        found += _repeated(tolerations, "scheduling.tolerations")
    return found


def _repeated(tolerations: list[Obj], path: str) -> Errors:
    found: Errors = []
    seen: set[tuple[str, ...]] = set()
    for index, toleration in enumerate(tolerations):
        key = tuple(toleration.get(name) or "" for name in _KEYS)
        if key in seen:
            found.append(errors.duplicate(f"{path}[{index}]", go_values.struct(toleration, go_values.TOLERATION)))
        seen.add(key)
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("handler"), old.get("handler"), "handler")


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    known = {**pod_warnings.NODE_LABELS, **_MORE_LABELS}
    labels = (new.get("scheduling") or {}).get("nodeSelector") or {}
    return [f"scheduling.nodeSelector: {known[label]}" for label in labels if label in known]


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(obj), obj.get("handler", ""), printing.age(obj, now))


KINDS = (
    Kind(
        group="node.k8s.io",
        version="v1",
        kind="RuntimeClass",
        plural="runtimeclasses",
        singular="runtimeclass",
        namespaced=False,
        schema="io.k8s.api.node.v1.RuntimeClass",
        unconditional_update=False,
        validate=_validate,
        validate_update=_validate_update,
        warnings=_warnings,
        columns=(
            printing.NAME,
            Column("Handler"),
            printing.AGE,
        ),
        row=_row,
    ),
)
