"""PriorityClass (scheduling.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="scheduling.k8s.io",
        version="v1",
        kind="PriorityClass",
        plural="priorityclasses",
        singular="priorityclass",
        namespaced=False,
        schema="io.k8s.api.scheduling.v1.PriorityClass",
        short_names=("pc",),
    ),
)
