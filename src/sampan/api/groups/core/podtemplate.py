"""PodTemplate (v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import gates, labels
from sampan.api.groups import printing
from sampan.api.groups.core import pod_warnings
from sampan.api.groups.core.pod_defaults import default_pod_template
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import pod
from sampan.api.validation.common import Errors


def _default(obj: Obj) -> None:
    default_pod_template(obj.setdefault("template", {}))


def _validate(obj: Obj) -> Errors:
    return pod.pod_template(obj.get("template") or {}, "template")


def _validate_update(new: Obj, old: Obj) -> Errors:
    return pod.pod_template(new.get("template") or {}, "template", old.get("template"))


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    if not pod_warnings.is_new_generation(new, old):
        return ()
    return pod_warnings.of_template(new.get("template"), "template")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    template = obj.get("template") or {}
    pod_labels = labels.format_map((template.get("metadata") or {}).get("labels"))
    return (printing.name(obj), *printing.containers(template.get("spec") or {}), pod_labels)


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="PodTemplate",
        plural="podtemplates",
        singular="podtemplate",
        namespaced=True,
        schema="io.k8s.api.core.v1.PodTemplate",
        gated=gates.TEMPLATE,
        returns_deleted=True,
        generation=True,
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        ratchets=True,
        warnings=_warnings,
        columns=(printing.NAME, Column("Containers"), Column("Images"), Column("Pod Labels")),
        row=_row,
    ),
)
