"""Node (v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind, Subresource

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Node",
        plural="nodes",
        singular="node",
        namespaced=False,
        schema="io.k8s.api.core.v1.Node",
        short_names=("no",),
        status=True,
        prepare_create=drop_status,
        subresources=(
            Subresource("proxy", "NodeProxyOptions", "", "v1", ("create", "delete", "get", "patch", "update")),
        ),
    ),
)
