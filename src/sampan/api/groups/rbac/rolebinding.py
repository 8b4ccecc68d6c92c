"""RoleBinding (rbac.authorization.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import names
from sampan.api.groups import printing
from sampan.api.groups.rbac import rules
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation.common import Errors


def _validate(binding: Obj) -> Errors:
    return rules.validate_binding(binding, namespaced=True)


def _row(binding: Obj, now: datetime) -> Sequence[Any]:
    reference = binding.get("roleRef") or {}
    role = f"{reference.get('kind', '')}/{reference.get('name', '')}"
    return (printing.name(binding), role, printing.age(binding, now), *rules.subjects_by_kind(binding))


KINDS = (
    Kind(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="RoleBinding",
        plural="rolebindings",
        singular="rolebinding",
        namespaced=True,
        schema="io.k8s.api.rbac.v1.RoleBinding",
        name_check=names.path_segment,
        create_on_update=True,
        default=rules.default_binding,
        validate=_validate,
        validate_update=rules.validate_binding_update,
        columns=(
            printing.NAME,
            Column("Role"),
            printing.AGE,
            printing.wide("Users"),
            printing.wide("Groups"),
            printing.wide("ServiceAccounts"),
        ),
        row=_row,
    ),
)
