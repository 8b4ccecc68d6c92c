"""Job (batch/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="batch",
        version="v1",
        kind="Job",
        plural="jobs",
        singular="job",
        namespaced=True,
        schema="io.k8s.api.batch.v1.Job",
        categories=("all",),
        status=True,
        prepare_create=drop_status,
        generation=True,
        default_propagation="orphan",
    ),
)
