"""ClusterRoleBinding (rbac.authorization.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="ClusterRoleBinding",
        plural="clusterrolebindings",
        singular="clusterrolebinding",
        namespaced=False,
        schema="io.k8s.api.rbac.v1.ClusterRoleBinding",
        create_on_update=True,
    ),
)
