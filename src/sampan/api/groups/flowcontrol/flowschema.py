"""FlowSchema (flowcontrol.apiserver.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="flowcontrol.apiserver.k8s.io",
        version="v1",
        kind="FlowSchema",
        plural="flowschemas",
        singular="flowschema",
        namespaced=False,
        schema="io.k8s.api.flowcontrol.v1.FlowSchema",
        status=True,
        prepare_create=drop_status,
        generation=True,
        unconditional_update=False,
    ),
)
