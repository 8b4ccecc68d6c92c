"""DeviceClass (resource.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="resource.k8s.io",
        version="v1",
        kind="DeviceClass",
        plural="deviceclasses",
        singular="deviceclass",
        namespaced=False,
        schema="io.k8s.api.resource.v1.DeviceClass",
        generation=True,
    ),
)
