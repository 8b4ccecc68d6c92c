"""Namespace (v1): its finalizer, phase and name label."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names, strategies
from sampan.api.groups import printing, selectable
from sampan.api.kind import Column, Kind, Strategy, Subresource
from sampan.api.metadata import STANDARD_FINALIZERS
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
    _default(namespace)  # a generated name is only known now


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


def _finalizer(name: str, path: str) -> Errors:
    found = common.named(names.qualified_name, name, path)
    if "/" not in name and name not in STANDARD_FINALIZERS:
        text = "name is neither a standard finalizer name nor is it fully qualified"
        found.append(errors.invalid(path, name, text))
    return found


def _finalizers(namespace: Obj) -> list[str]:
    return (namespace.get("spec") or {}).get("finalizers") or []


def _validate(namespace: Obj) -> Errors:
    return [fault for name in _finalizers(namespace) for fault in _finalizer(name, "spec.finalizers")]


def _validate_finalize(kind: Kind, new: Obj, old: Obj) -> Errors:
    named = enumerate(_finalizers(new))
    return [fault for index, name in named for fault in _finalizer(name, f"spec.finalizers[{index}]")]


_FINALIZE = Strategy(_merge_finalize, _validate_finalize, counts_generation=False)


def _validate_status(new: Obj, old: Obj) -> Errors:
    phase = (new.get("status") or {}).get("phase", "")
    path = "status.Phase"
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
