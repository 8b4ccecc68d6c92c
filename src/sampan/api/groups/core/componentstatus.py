"""ComponentStatus (v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="ComponentStatus",
        plural="componentstatuses",
        singular="componentstatus",
        namespaced=False,
        schema="io.k8s.api.core.v1.ComponentStatus",
        short_names=("cs",),
        verbs=("get", "list"),
    ),
)
