"""RuntimeClass (node.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="node.k8s.io",
        version="v1",
        kind="RuntimeClass",
        plural="runtimeclasses",
        singular="runtimeclass",
        namespaced=False,
        schema="io.k8s.api.node.v1.RuntimeClass",
        unconditional_update=False,
    ),
)
