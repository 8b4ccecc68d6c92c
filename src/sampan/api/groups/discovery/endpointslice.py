"""EndpointSlice (discovery.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="discovery.k8s.io",
        version="v1",
        kind="EndpointSlice",
        plural="endpointslices",
        singular="endpointslice",
        namespaced=True,
        schema="io.k8s.api.discovery.v1.EndpointSlice",
        generation=True,
    ),
)
