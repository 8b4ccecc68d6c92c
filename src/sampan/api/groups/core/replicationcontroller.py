"""ReplicationController (v1): the forerunner of ReplicaSet, with a plain map as selector."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, gates, labels
from sampan.api.groups import replicated, selectable, templated
from sampan.api.groups.core import pod_warnings, template_warnings
from sampan.api.groups.core.pod_defaults import default_pod_template
from sampan.api.groups.strategy import zero_status
from sampan.api.kind import Kind, ScalePaths
from sampan.api.types import Obj
from sampan.api.validation import common, pod
from sampan.api.validation.common import Errors


def _default(controller: Obj) -> None:
    spec = controller.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    template = spec.get("template")
    if template is not None:
        default_pod_template(template)
        if template_labels := (template.get("metadata") or {}).get("labels"):
            if not spec.get("selector"):
                spec["selector"] = dict(template_labels)
            metadata = controller.setdefault("metadata", {})
            if not metadata.get("labels"):
                metadata["labels"] = dict(template_labels)


def _validate(controller: Obj, old: Obj | None = None) -> Errors:
    spec = controller.get("spec") or {}
    selector, template = spec.get("selector") or {}, spec.get("template")
    found = common.non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    if not selector:
        found.append(errors.required("spec.selector"))
    found += common.non_negative(spec.get("replicas"), "spec.replicas")
    if template is None:
        return [*found, errors.required("spec.template")]
    if selector:
        found += templated.selects({"matchLabels": selector}, template, "spec.template")
    found += pod.pod_template(template, "spec.template", templated.template_of(old))
    return found + templated.always_restarted(template, "spec.template", "ReplicationController")


def _validate_update(new: Obj, old: Obj) -> Errors:
    """The rules are told twice, as the reference does."""
    found = _validate(new, old)
    return found + found


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    if old is None:
        return template_warnings.of_workload(new, None)
    if not pod_warnings.is_new_generation(new, old):
        return ()
    # The reference hands over the two the wrong way round.
    return pod_warnings.of_template((old.get("spec") or {}).get("template"), "spec.template")


def _row(controller: Obj, now: datetime) -> Sequence[Any]:
    selector = (controller.get("spec") or {}).get("selector")
    return replicated.row(controller, now, labels.format_map(selector))


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="ReplicationController",
        plural="replicationcontrollers",
        singular="replicationcontroller",
        namespaced=True,
        schema="io.k8s.api.core.v1.ReplicationController",
        gated=gates.WORKLOAD,
        short_names=("rc",),
        categories=("all",),
        status=True,
        scale=ScalePaths(),
        generation=True,
        default_propagation="orphan",
        default=_default,
        validate=_validate,
        warnings=_warnings,
        validate_update=_validate_update,
        ratchets=True,
        validate_status=replicated.validate_status,
        prepare_create=zero_status("io.k8s.api.core.v1.ReplicationControllerStatus"),
        columns=replicated.COLUMNS,
        row=_row,
        selectable_fields=selectable.fields_at("status.replicas", zero="0"),
        selectable_names=("status.replicas",),
    ),
)
