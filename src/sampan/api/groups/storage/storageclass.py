"""StorageClass (storage.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="storage.k8s.io",
        version="v1",
        kind="StorageClass",
        plural="storageclasses",
        singular="storageclass",
        namespaced=False,
        schema="io.k8s.api.storage.v1.StorageClass",
        short_names=("sc",),
    ),
)
