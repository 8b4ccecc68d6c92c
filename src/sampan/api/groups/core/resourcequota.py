"""ResourceQuota (v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="ResourceQuota",
        plural="resourcequotas",
        singular="resourcequota",
        namespaced=True,
        schema="io.k8s.api.core.v1.ResourceQuota",
        short_names=("quota",),
        status=True,
        prepare_create=drop_status,
    ),
)
