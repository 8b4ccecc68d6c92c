"""DeviceClass (resource.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.groups.resource import naming, selecting
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation.common import Errors

_MOST = 32
_EXTENDED = "must be a valid extended resource name"


def _validate(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    found = selecting.selectors(spec.get("selectors") or (), "spec.selectors")
    found += naming.each(spec.get("config") or (), _MOST, "spec.config", selecting.configuration)
    name = spec.get("extendedResourceName")
    if name is not None and not _is_extended(name):
        found.append(errors.invalid("spec.extendedResourceName", name, _EXTENDED))
    return found


def _is_extended(name: str) -> bool:
    """A name of somebody's own domain, that stays one as ``requests.NAME`` in a quota."""
    domain, slash, _ = name.partition("/")
    if not slash or "kubernetes.io" in domain or name.startswith("requests."):
        return False
    return not names.qualified_name(f"requests.{name}")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(obj), printing.age(obj, now))


KINDS = (
    Kind(
        group="resource.k8s.io",
        version="v1",
        kind="DeviceClass",
        plural="deviceclasses",
        singular="deviceclass",
        namespaced=False,
        schema="io.k8s.api.resource.v1.DeviceClass",
        generation=True,
        validate=_validate,
        demanding=True,
        columns=(
            printing.NAME,
            printing.AGE,
        ),
        row=_row,
    ),
)
