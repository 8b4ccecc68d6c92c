"""CSIDriver (storage.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="storage.k8s.io",
        version="v1",
        kind="CSIDriver",
        plural="csidrivers",
        singular="csidriver",
        namespaced=False,
        schema="io.k8s.api.storage.v1.CSIDriver",
        generation=True,
        unconditional_update=False,
    ),
)
