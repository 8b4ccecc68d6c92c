"""DeviceTaintRule (resource.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="resource.k8s.io",
        version="v1",
        kind="DeviceTaintRule",
        plural="devicetaintrules",
        singular="devicetaintrule",
        namespaced=False,
        schema="io.k8s.api.resource.v1.DeviceTaintRule",
        status=True,
        prepare_create=drop_status,
        generation=True,
    ),
)
