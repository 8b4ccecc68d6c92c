"""VolumeAttachment (storage.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="storage.k8s.io",
        version="v1",
        kind="VolumeAttachment",
        plural="volumeattachments",
        singular="volumeattachment",
        namespaced=False,
        schema="io.k8s.api.storage.v1.VolumeAttachment",
        status=True,
        prepare_create=drop_status,
        unconditional_update=False,
    ),
)
