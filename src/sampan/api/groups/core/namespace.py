"""Namespace (v1): its finalizer, phase and name label."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names, strategies
from sampan.api.groups import printing, selectable
from sampan.api.kind import Column, Kind, Strategy, Subresource
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

NAME_LABEL = "kubernetes.io/metadata.name"


def _default(namespace: Obj) -> None:
    """Every namespace can be selected by its name."""
    metadata = namespace.setdefault("metadata", {})
    if metadata.get("name"):
        metadata.setdefault("labels", {})[NAME_LABEL] = metadata["name"]


def _prepare_create(namespace: Obj) -> None:
    """The ``kubernetes`` finalizer holds it until its contents are gone."""
    finalizers = namespace.setdefault("spec", {}).setdefault("finalizers", [])
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")
    namespace["status"] = {"phase": "Active"}


def _prepare_update(new: Obj, old: Obj) -> None:
    """Finalizers of the spec change through /finalize only."""
    new.setdefault("spec", {})["finalizers"] = list((old.get("spec") or {}).get("finalizers") or [])


def _prepare_delete(namespace: Obj) -> None:
    namespace.setdefault("status", {})["phase"] = "Terminating"


def _removable(namespace: Obj) -> bool:
    """It stays until its content is gone and the finalizers of its spec with it."""
    return not (namespace.get("spec") or {}).get("finalizers")


def _merge_finalize(kind: Kind, new: Obj, old: Obj) -> Obj:
    result = strategies.only(new, old)
    spec = result["spec"] = {**(result.get("spec") or {})}
    spec["finalizers"] = list((new.get("spec") or {}).get("finalizers") or [])
    return result


_FINALIZE = Strategy(_merge_finalize, strategies.nothing_to_check, counts_generation=False)


def _validate(namespace: Obj) -> Errors:
    found: Errors = []
    for index, finalizer in enumerate((namespace.get("spec") or {}).get("finalizers") or ()):
        path = f"spec.finalizers[{index}]"
        problems = common.named(names.qualified_name, finalizer, path)
        if not problems and "/" not in finalizer and finalizer != "kubernetes":
            text = "name is neither a standard finalizer name nor is it fully qualified"
            problems = [errors.invalid(path, finalizer, text)]
        found += problems
    return found


def _validate_status(new: Obj, old: Obj) -> Errors:
    phase = (new.get("status") or {}).get("phase", "")
    path = "status.phase"
    if new.get("metadata", {}).get("deletionTimestamp"):
        if phase != "Terminating":
            text = "may only be 'Terminating' if `deletionTimestamp` is not empty"
            return [errors.invalid(path, phase, text)]
    elif phase != "Active":
        return [errors.invalid(path, phase, "may only be 'Active' if `deletionTimestamp` is empty")]
    return []


def _row(namespace: Obj, now: datetime) -> Sequence[Any]:
    phase = (namespace.get("status") or {}).get("phase", "")
    return (printing.name(namespace), phase, printing.age(namespace, now))


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Namespace",
        plural="namespaces",
        singular="namespace",
        namespaced=False,
        schema="io.k8s.api.core.v1.Namespace",
        name_check=names.dns1123_label,
        short_names=("ns",),
        status=True,
        verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
        subresources=(Subresource("finalize", "Namespace", "", "v1", ("update",), _FINALIZE),),
        default=_default,
        validate=_validate,
        validate_status=_validate_status,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
        prepare_delete=_prepare_delete,
        removable=_removable,
        columns=(printing.NAME, Column("Status"), printing.AGE),
        row=_row,
        selectable_fields=selectable.fields_at("status.phase"),
        selectable_names=("status.phase",),
    ),
)
