"""ReplicaSet (apps/v1): defaults, validation, columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import gates
from sampan.api.groups import printing, replicated, selectable, templated
from sampan.api.groups.core import template_warnings
from sampan.api.groups.core.pod_defaults import default_pod_template
from sampan.api.groups.strategy import zero_status
from sampan.api.kind import Kind, ScalePaths
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _default(replica_set: Obj) -> None:
    spec = replica_set.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    default_pod_template(spec.setdefault("template", {}))


def _validate(replica_set: Obj, old: Obj | None = None) -> Errors:
    spec = replica_set.get("spec") or {}
    found = common.non_negative(spec.get("replicas"), "spec.replicas")
    found += common.non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    return found + templated.replica_template(spec, "spec", templated.template_of(old))


def _validate_update(new: Obj, old: Obj) -> Errors:
    """The rules are told twice, as the reference does."""
    found = _validate(new, old)
    return found + found + templated.same_selector(new, old)


def _row(replica_set: Obj, now: datetime) -> Sequence[Any]:
    return replicated.row(replica_set, now, printing.label_selector((replica_set.get("spec") or {}).get("selector")))


KINDS = (
    Kind(
        group="apps",
        version="v1",
        kind="ReplicaSet",
        plural="replicasets",
        singular="replicaset",
        namespaced=True,
        schema="io.k8s.api.apps.v1.ReplicaSet",
        gated=gates.WORKLOAD,
        short_names=("rs",),
        categories=("all",),
        status=True,
        scale=ScalePaths(),
        generation=True,
        default=_default,
        validate=_validate,
        warnings=template_warnings.of_workload,
        validate_update=_validate_update,
        ratchets=True,
        validate_status=replicated.validate_status,
        prepare_create=zero_status("io.k8s.api.apps.v1.ReplicaSetStatus"),
        columns=replicated.COLUMNS,
        row=_row,
        selectable_fields=selectable.fields_at("status.replicas", zero="0"),
        selectable_names=("status.replicas",),
    ),
)
