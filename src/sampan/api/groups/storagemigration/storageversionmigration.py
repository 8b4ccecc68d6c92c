"""StorageVersionMigration (storagemigration.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="storagemigration.k8s.io",
        version="v1",
        kind="StorageVersionMigration",
        plural="storageversionmigrations",
        singular="storageversionmigration",
        namespaced=False,
        schema="io.k8s.api.storagemigration.v1.StorageVersionMigration",
        status=True,
        prepare_create=drop_status,
        generation=True,
    ),
)
