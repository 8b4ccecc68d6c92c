"""Role (rbac.authorization.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="Role",
        plural="roles",
        singular="role",
        namespaced=True,
        schema="io.k8s.api.rbac.v1.Role",
        create_on_update=True,
    ),
)
