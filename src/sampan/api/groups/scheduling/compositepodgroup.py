"""CompositePodGroup (scheduling.k8s.io/v1alpha3)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="scheduling.k8s.io",
        version="v1alpha3",
        kind="CompositePodGroup",
        plural="compositepodgroups",
        singular="compositepodgroup",
        namespaced=True,
        schema="io.k8s.api.scheduling.v1alpha3.CompositePodGroup",
        status=True,
        prepare_create=drop_status,
    ),
)
