"""ClusterTrustBundle (certificates.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="certificates.k8s.io",
        version="v1",
        kind="ClusterTrustBundle",
        plural="clustertrustbundles",
        singular="clustertrustbundle",
        namespaced=False,
        schema="io.k8s.api.certificates.v1.ClusterTrustBundle",
        unconditional_update=False,
    ),
)
