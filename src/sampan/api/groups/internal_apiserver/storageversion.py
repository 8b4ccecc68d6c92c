"""StorageVersion (internal.apiserver.k8s.io/v1alpha1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="internal.apiserver.k8s.io",
        version="v1alpha1",
        kind="StorageVersion",
        plural="storageversions",
        singular="storageversion",
        namespaced=False,
        schema="io.k8s.api.apiserverinternal.v1alpha1.StorageVersion",
        status=True,
        prepare_create=drop_status,
        unconditional_update=False,
    ),
)
