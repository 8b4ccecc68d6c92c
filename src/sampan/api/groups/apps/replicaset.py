"""ReplicaSet (apps/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind, ScalePaths

KINDS = (
    Kind(
        group="apps",
        version="v1",
        kind="ReplicaSet",
        plural="replicasets",
        singular="replicaset",
        namespaced=True,
        schema="io.k8s.api.apps.v1.ReplicaSet",
        short_names=("rs",),
        categories=("all",),
        status=True,
        prepare_create=drop_status,
        generation=True,
        scale=ScalePaths(),
    ),
)
