"""StatefulSet (apps/v1): defaults, validation, columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sampan.api import errors, gates, names
from sampan.api.groups import printing, templated
from sampan.api.groups.core import pod_warnings
from sampan.api.groups.core.persistentvolumeclaim import default_claim_spec
from sampan.api.groups.core.pod_defaults import default_pod_template
from sampan.api.groups.strategy import zero_status
from sampan.api.kind import Column, Kind, ScalePaths
from sampan.api.types import Obj
from sampan.api.validation import claims, common, go_values, pod
from sampan.api.validation.common import Errors

_MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip
_MAY_CHANGE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


_ROLLING: Final[go_values.Layout] = {**go_values.plain("partition", zero=0), **go_values.plain("maxUnavailable")}
_STRATEGY: Final[go_values.Layout] = {
    **go_values.plain("type", zero=""),
    "rollingUpdate": ("RollingUpdate", None, _ROLLING),
}


def _default(stateful_set: Obj) -> None:
    spec = stateful_set.setdefault("spec", {})
    if not spec.get("podManagementPolicy"):
        spec["podManagementPolicy"] = "OrderedReady"
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] == "RollingUpdate" and rolling is not None:
        rolling.setdefault("partition", 0)
        rolling.setdefault("maxUnavailable", 1)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    for key in ("whenDeleted", "whenScaled"):
        if not retention.get(key):
            retention[key] = "Retain"
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    default_pod_template(spec.setdefault("template", {}))
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.setdefault("kind", "PersistentVolumeClaim")
        claim.setdefault("apiVersion", "v1")
        default_claim_spec(claim.setdefault("spec", {}))
        claim.setdefault("status", {}).setdefault("phase", "Pending")


# -- rules -------------------------------------------------------------------------------------------------------


def _update_strategy(strategy: Obj, path: str) -> Errors:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    match kind:
        case "":
            return [errors.required(path)]
        case "OnDelete":
            if rolling is None:
                return []
            text = "only allowed for updateStrategy 'RollingUpdate'"
            return [errors.invalid(f"{path}.rollingUpdate", go_values.struct(rolling, _ROLLING), text)]
        case "RollingUpdate":
            return _rolling_update(rolling or {}, f"{path}.rollingUpdate")
        case _:
            text = "must be 'RollingUpdate' or 'OnDelete'"
            return [errors.invalid(path, go_values.struct(strategy, _STRATEGY), text)]


def _rolling_update(rolling: Obj, path: str) -> Errors:
    found = common.non_negative(rolling.get("partition"), f"{path}.partition")
    unavailable, where = rolling.get("maxUnavailable"), f"{path}.maxUnavailable"
    if unavailable is None:
        return found
    found += common.int_or_percent(unavailable, where)
    if unavailable == 0 or common.percent_of(unavailable) == 0:
        found.append(errors.invalid(where, unavailable, "cannot be 0"))
    return found + common.not_more_than_100_percent(unavailable, where)


def _with_claims(template: Obj, claims: list[Obj]) -> Obj:
    """The template with its claims as the volumes that they will be: containers may mount them."""
    made = {
        name: {"name": name, "persistentVolumeClaim": {"claimName": name}}
        for name in ((claim.get("metadata") or {}).get("name", "") for claim in claims)
    }
    spec = template.get("spec") or {}
    volumes = [made.pop(volume.get("name", ""), volume) for volume in spec.get("volumes") or ()]
    return {**template, "spec": {**spec, "volumes": [*volumes, *made.values()]}}


def _template(spec: Obj, before: Obj | None, *, whole: bool) -> Errors:
    """Of a spec whose selector has no faults. ``whole``: not only what it has to have in common with the selector.
    ``before``: the template before an update."""
    template, claims, path = spec.get("template") or {}, spec.get("volumeClaimTemplates"), "spec.template"
    found = templated.selects(spec.get("selector"), template, path)
    if whole:
        found += pod.pod_template(_with_claims(template, claims) if claims else template, path, before)
    return found


def _rules(stateful_set: Obj, old: Obj | None = None, *, service: bool = True, whole: bool = True) -> Errors:
    """``service``: its name is looked at; ``whole``: so are the template and the claims."""
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
    if whole:
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            found += claims.claim_spec(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{index}].spec")
    found += common.non_negative(spec.get("replicas"), "spec.replicas")
    found += common.non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    found += common.non_negative((spec.get("ordinals") or {}).get("start"), "spec.ordinals.start")
    if service and spec.get("serviceName"):
        found += common.named(names.dns1123_label, spec["serviceName"], "spec.serviceName")
    selector = spec.get("selector")
    found += templated.selector(selector, "spec.selector", "statefulset")
    if selector is not None and common.label_selector(selector, ""):
        found.append(errors.invalid("spec.selector", templated.shown_selector(selector), ""))
    else:
        found += _template(spec, templated.template_of(old), whole=whole)
    return found + templated.always_restarted(spec.get("template") or {}, "spec.template", "StatefulSet")


def _validate_update(new: Obj, old: Obj) -> Errors:
    """What was stored before template, claims and name of the service were looked at may stay as it is."""
    found = _rules(new, old, service=False)
    if found and _rules(old, service=False):
        found = _rules(new, old, service=False, whole=False)
    spec, old_spec = dict(new.get("spec", {})), old.get("spec", {})
    for key in _MUTABLE:
        if key in old_spec:
            spec[key] = old_spec[key]
        else:
            spec.pop(key, None)
    return found if spec == old_spec else [*found, errors.forbidden("spec", _MAY_CHANGE)]


def _validate_status(new: Obj, old: Obj) -> Errors:
    status = new.get("status") or {}
    parts = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    found = templated.counters(status, "replicas", *parts, "observedGeneration", "collisionCount")
    found += templated.not_more(status, "replicas", *parts)
    found += templated.not_more(status, "readyReplicas", "availableReplicas")
    return found + templated.collisions_only_grow(new, old)


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    spec = new.get("spec") or {}
    found: list[str] = []
    if pod_warnings.is_new_generation(new, old):
        found += pod_warnings.of_template(spec.get("template"), "spec.template")
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        path = f"spec.volumeClaimTemplates[{index}]"
        found += pod_warnings.of_claim(claim.get("spec") or {}, path if old is None else f"{path}.Spec")
    return found


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
        gated=gates.WORKLOAD,
        name_check=names.dns1123_label,
        short_names=("sts",),
        categories=("all",),
        status=True,
        scale=ScalePaths(),
        generation=True,
        default=_default,
        validate=_rules,
        warnings=_warnings,
        validate_update=_validate_update,
        ratchets=True,
        validate_status=_validate_status,
        prepare_create=zero_status("io.k8s.api.apps.v1.StatefulSetStatus"),
        columns=(printing.NAME, Column("Ready"), printing.AGE, printing.CONTAINERS, printing.IMAGES),
        row=_row,
    ),
)
