"""ReplicationController (v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind, ScalePaths

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="ReplicationController",
        plural="replicationcontrollers",
        singular="replicationcontroller",
        namespaced=True,
        schema="io.k8s.api.core.v1.ReplicationController",
        short_names=("rc",),
        categories=("all",),
        status=True,
        prepare_create=drop_status,
        generation=True,
        scale=ScalePaths(),
        default_propagation="orphan",
    ),
)
