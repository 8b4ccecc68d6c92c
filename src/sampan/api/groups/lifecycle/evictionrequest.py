"""EvictionRequest (lifecycle.k8s.io/v1alpha1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="lifecycle.k8s.io",
        version="v1alpha1",
        kind="EvictionRequest",
        plural="evictionrequests",
        singular="evictionrequest",
        namespaced=True,
        schema="io.k8s.api.lifecycle.v1alpha1.EvictionRequest",
        status=True,
        prepare_create=drop_status,
    ),
)
