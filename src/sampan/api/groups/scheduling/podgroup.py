"""PodGroup (scheduling.k8s.io/v1beta1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="scheduling.k8s.io",
        version="v1beta1",
        kind="PodGroup",
        plural="podgroups",
        singular="podgroup",
        namespaced=True,
        schema="io.k8s.api.scheduling.v1beta1.PodGroup",
        status=True,
        prepare_create=drop_status,
    ),
)
