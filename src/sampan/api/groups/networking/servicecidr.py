"""ServiceCIDR (networking.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="networking.k8s.io",
        version="v1",
        kind="ServiceCIDR",
        plural="servicecidrs",
        singular="servicecidr",
        namespaced=False,
        schema="io.k8s.api.networking.v1.ServiceCIDR",
        status=True,
        prepare_create=drop_status,
    ),
)
