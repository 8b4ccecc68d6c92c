"""StatefulSet (apps/v1): defaults, validation, columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.groups.core.persistentvolumeclaim import default_claim_spec
from sampan.api.groups.core.pod_defaults import default_pod_template
from sampan.api.groups.strategy import zero_status
from sampan.api.kind import Column, Kind, ScalePaths
from sampan.api.types import Obj
from sampan.api.validation import common, pod
from sampan.api.validation.common import Errors

_MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip
_MAY_CHANGE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _default(stateful_set: Obj) -> None:
    spec = stateful_set.setdefault("spec", {})
    if not spec.get("podManagementPolicy"):
        spec["podManagementPolicy"] = "OrderedReady"
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    default_pod_template(spec.setdefault("template", {}))
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.setdefault("kind", "PersistentVolumeClaim")
        claim.setdefault("apiVersion", "v1")
        default_claim_spec(claim.setdefault("spec", {}))
        claim.setdefault("status", {}).setdefault("phase", "Pending")


def _update_strategy(strategy: Obj, path: str) -> Errors:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        if rolling is not None:
            text = "only allowed for updateStrategy 'RollingUpdate'"
            return [errors.invalid(f"{path}.rollingUpdate", rolling, text)]
        return []
    if kind != "RollingUpdate":
        text = "must be 'RollingUpdate' or 'OnDelete'"
        return [errors.invalid(path, strategy, text)]
    found = common.non_negative((rolling or {}).get("partition"), f"{path}.rollingUpdate.partition")
    unavailable = (rolling or {}).get("maxUnavailable")
    if unavailable is not None:
        where = f"{path}.rollingUpdate.maxUnavailable"
        found += common.int_or_percent(unavailable, where)
        if unavailable == 0 or common.percent_of(unavailable) == 0:
            found.append(errors.invalid(where, unavailable, "cannot be 0"))
        found += common.not_more_than_100_percent(unavailable, where)
    return found


def _validate(stateful_set: Obj) -> Errors:
    spec = stateful_set.get("spec") or {}
    found: Errors = []
    policy = spec.get("podManagementPolicy", "")
    if policy not in ("OrderedReady", "Parallel"):
        text = "must be 'OrderedReady' or 'Parallel'"
        found.append(errors.invalid("spec.podManagementPolicy", policy, text))
    found += _update_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for key in ("whenDeleted", "whenScaled"):
        path = f"spec.persistentVolumeClaimRetentionPolicy.{key}"
        found += common.one_of(retention.get(key), ("Retain", "Delete"), path)
    found += common.non_negative(spec.get("replicas"), "spec.replicas")
    found += common.non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    found += common.non_negative((spec.get("ordinals") or {}).get("start"), "spec.ordinals.start")
    found += pod.selector(spec.get("selector"), "spec.selector", "statefulset")
    return found + pod.selected_template(spec.get("template"), spec.get("selector"), "spec.template", "StatefulSet")


def _validate_update(new: Obj, old: Obj) -> Errors:
    spec, old_spec = dict(new.get("spec", {})), old.get("spec", {})
    for key in _MUTABLE:
        if key in old_spec:
            spec[key] = old_spec[key]
        else:
            spec.pop(key, None)
    return [] if spec == old_spec else [errors.forbidden("spec", _MAY_CHANGE)]


def _row(stateful_set: Obj, now: datetime) -> Sequence[Any]:
    spec, status = stateful_set.get("spec") or {}, stateful_set.get("status") or {}
    return (
        printing.name(stateful_set),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        printing.age(stateful_set, now),
        *printing.containers(printing.template_spec(stateful_set)),
    )


KINDS = (
    Kind(
        group="apps",
        version="v1",
        kind="StatefulSet",
        plural="statefulsets",
        singular="statefulset",
        namespaced=True,
        schema="io.k8s.api.apps.v1.StatefulSet",
        name_check=names.dns1123_label,
        short_names=("sts",),
        categories=("all",),
        status=True,
        scale=ScalePaths(),
        generation=True,
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        prepare_create=zero_status("io.k8s.api.apps.v1.StatefulSetStatus"),
        columns=(printing.NAME, Column("Ready"), printing.AGE, printing.CONTAINERS, printing.IMAGES),
        row=_row,
    ),
)
