"""IPAddress (networking.k8s.io/v1): an address that a Service holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import addresses, common
from sampan.api.validation.common import Errors


def _parent(obj: Obj) -> Obj | None:
    found: Obj | None = (obj.get("spec") or {}).get("parentRef")
    return found


def _validate(obj: Obj) -> Errors:
    parent, path = _parent(obj), "spec.parentRef"
    if parent is None:
        return [errors.required(path)]
    found: Errors = []
    if parent.get("group"):
        found += common.named(names.dns1123_subdomain, parent["group"], f"{path}.group")
    for key in ("resource", "name", "namespace"):
        if parent.get(key):
            found += common.named(names.path_segment, parent[key], f"{path}.{key}")
        elif key != "namespace":
            found.append(errors.required(f"{path}.{key}"))
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    parent = _parent(new)
    if parent == _parent(old):
        return []
    shown = {key.capitalize(): (parent or {}).get(key, "") for key in ("group", "resource", "namespace", "name")}
    return [errors.invalid("spec.parentRef", None if parent is None else shown, common.IMMUTABLE)]


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    parent = _parent(obj)
    if parent is None:
        return (printing.name(obj), printing.NONE)
    resource = ".".join(filter(None, (parent.get("resource", ""), parent.get("group", ""))))
    return (printing.name(obj), f"{resource}/{parent.get('namespace', '')}/{parent.get('name', '')}")


KINDS = (
    Kind(
        group="networking.k8s.io",
        version="v1",
        kind="IPAddress",
        plural="ipaddresses",
        singular="ipaddress",
        namespaced=False,
        schema="io.k8s.api.networking.v1.IPAddress",
        name_check=addresses.canonical_problems,
        short_names=("ip",),
        validate=_validate,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            Column("ParentRef"),
        ),
        row=_row,
    ),
)
