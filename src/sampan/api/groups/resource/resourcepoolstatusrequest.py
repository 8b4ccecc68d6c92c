"""ResourcePoolStatusRequest (resource.k8s.io/v1alpha3)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="resource.k8s.io",
        version="v1alpha3",
        kind="ResourcePoolStatusRequest",
        plural="resourcepoolstatusrequests",
        singular="resourcepoolstatusrequest",
        namespaced=False,
        schema="io.k8s.api.resource.v1alpha3.ResourcePoolStatusRequest",
        status=True,
        prepare_create=drop_status,
    ),
)
