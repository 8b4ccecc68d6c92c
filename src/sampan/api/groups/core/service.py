"""Service (v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind, Subresource

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Service",
        plural="services",
        singular="service",
        namespaced=True,
        schema="io.k8s.api.core.v1.Service",
        short_names=("svc",),
        categories=("all",),
        status=True,
        prepare_create=drop_status,
        subresources=(
            Subresource("proxy", "ServiceProxyOptions", "", "v1", ("create", "delete", "get", "patch", "update")),
        ),
    ),
)
