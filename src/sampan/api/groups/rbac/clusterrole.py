"""ClusterRole (rbac.authorization.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="ClusterRole",
        plural="clusterroles",
        singular="clusterrole",
        namespaced=False,
        schema="io.k8s.api.rbac.v1.ClusterRole",
        create_on_update=True,
    ),
)
