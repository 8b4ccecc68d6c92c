"""Role (rbac.authorization.k8s.io/v1)."""

from __future__ import annotations

from sampan.api import names
from sampan.api.groups import printing
from sampan.api.groups.rbac import rules
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation.common import Errors


def _validate(role: Obj) -> Errors:
    return rules.validate_rules(role.get("rules"), namespaced=True)


KINDS = (
    Kind(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="Role",
        plural="roles",
        singular="role",
        namespaced=True,
        schema="io.k8s.api.rbac.v1.Role",
        name_check=names.path_segment,
        create_on_update=True,
        validate=_validate,
        columns=printing.CREATED_AT_COLUMNS,
        row=printing.created_at_row,
    ),
)
