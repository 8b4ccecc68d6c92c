"""PriorityLevelConfiguration (flowcontrol.apiserver.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="flowcontrol.apiserver.k8s.io",
        version="v1",
        kind="PriorityLevelConfiguration",
        plural="prioritylevelconfigurations",
        singular="prioritylevelconfiguration",
        namespaced=False,
        schema="io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
        status=True,
        prepare_create=drop_status,
        generation=True,
        unconditional_update=False,
    ),
)
