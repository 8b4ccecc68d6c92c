"""ResourceSlice (resource.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="resource.k8s.io",
        version="v1",
        kind="ResourceSlice",
        plural="resourceslices",
        singular="resourceslice",
        namespaced=False,
        schema="io.k8s.api.resource.v1.ResourceSlice",
        generation=True,
    ),
)
