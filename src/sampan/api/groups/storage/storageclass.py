"""StorageClass (storage.k8s.io/v1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.groups.core.pod_warnings import NODE_LABELS
from sampan.api.groups.storage import parameters
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

#: Claims that name no class get the one with this annotation.
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def _default(obj: Obj) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")


def _validate(obj: Obj) -> Errors:
    found = parameters.provisioner(obj.get("provisioner") or "", "provisioner")
    found += parameters.validate(obj.get("parameters"), "parameters")
    found += common.one_of(obj.get("reclaimPolicy"), ("Delete", "Retain"), "reclaimPolicy")
    mode = obj.get("volumeBindingMode")
    if mode is None:
        found.append(errors.required("volumeBindingMode"))
    elif mode not in _BINDING_MODES:
        found.append(errors.not_supported("volumeBindingMode", mode, _BINDING_MODES))
    return found + _topologies(obj.get("allowedTopologies") or ())


def _topologies(terms: Sequence[Obj]) -> Errors:
    """Each term once. One without expressions counts as told as often as there are terms, as upstream's does."""
    found: Errors = []
    seen = Counter({frozenset[Any](): len(terms)})
    for index, term in enumerate(terms):
        path = f"allowedTopologies[{index}]"
        values, faults = _topology(term, path)
        found += faults
        asked = frozenset((key, frozenset(listed)) for key, listed in values.items())
        found += [errors.duplicate(f"{path}.matchLabelExpressions", "")] * min(seen[asked], errors.MOST_CAUSES)
        if len(found) > errors.MOST_CAUSES:
            break  # of so many nobody is told more
        seen[asked] += 1
    return found


def _topology(term: Obj, path: str) -> tuple[dict[str, set[str]], Errors]:
    """What it asks for, by label."""
    found: Errors = []
    asked: dict[str, set[str]] = {}
    for index, expression in enumerate(term.get("matchLabelExpressions") or ()):
        where = f"{path}.matchLabelExpressions[{index}]"
        key, listed = expression.get("key") or "", expression.get("values") or ()
        if not listed:
            found.append(errors.required(f"{where}.values"))
        values: set[str] = set()
        for position, value in enumerate(listed):
            if value in values:
                found.append(errors.duplicate(f"{where}.values[{position}]", value))
            values.add(value)
        found += common.named(names.qualified_name, key, f"{where}.key")
        if key in asked:
            found.append(errors.duplicate(f"{where}.key", key))
        asked[key] = values
    return asked, found


def _validate_update(new: Obj, old: Obj) -> Errors:
    found = [
        errors.forbidden(key, f"updates to {key} are forbidden.")
        for key in ("parameters", "provisioner", "reclaimPolicy")
        if (new.get(key) or None) != (old.get(key) or None)
    ]
    return found + common.immutable(new.get("volumeBindingMode"), old.get("volumeBindingMode"), "volumeBindingMode")


_BETA_DEFAULT = "storageclass.beta.kubernetes.io/is-default-class"


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    """Topologies that ask for labels of old."""
    return [
        f"allowedTopologies[{i}].matchLabelExpressions[{j}].key: {NODE_LABELS[key]}"
        for i, term in enumerate(new.get("allowedTopologies") or ())
        for j, expression in enumerate(term.get("matchLabelExpressions") or ())
        if (key := expression.get("key")) in NODE_LABELS
    ]


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    name = printing.name(obj)
    annotations = obj.get("metadata", {}).get("annotations") or {}
    if "true" in (annotations.get(DEFAULT_CLASS), annotations.get(_BETA_DEFAULT)):
        name += " (default)"
    return (
        name,
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        printing.age(obj, now),
    )


KINDS = (
    Kind(
        group="storage.k8s.io",
        version="v1",
        kind="StorageClass",
        plural="storageclasses",
        singular="storageclass",
        namespaced=False,
        schema="io.k8s.api.storage.v1.StorageClass",
        returns_deleted=True,
        short_names=("sc",),
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        warnings=_warnings,
        columns=(
            printing.NAME,
            Column("Provisioner"),
            Column("ReclaimPolicy"),
            Column("VolumeBindingMode"),
            Column("AllowVolumeExpansion"),
            printing.AGE,
        ),
        row=_row,
    ),
)
