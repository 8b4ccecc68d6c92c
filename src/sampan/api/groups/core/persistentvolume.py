"""PersistentVolume (v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="PersistentVolume",
        plural="persistentvolumes",
        singular="persistentvolume",
        namespaced=False,
        schema="io.k8s.api.core.v1.PersistentVolume",
        short_names=("pv",),
        status=True,
        prepare_create=drop_status,
    ),
)
