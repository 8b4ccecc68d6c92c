"""ConfigMap (v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="ConfigMap",
        plural="configmaps",
        singular="configmap",
        namespaced=True,
        schema="io.k8s.api.core.v1.ConfigMap",
        short_names=("cm",),
    ),
)
