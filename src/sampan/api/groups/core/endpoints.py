"""Endpoints (v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Endpoints",
        plural="endpoints",
        singular="endpoints",
        namespaced=True,
        schema="io.k8s.api.core.v1.Endpoints",
        short_names=("ep",),
        create_on_update=True,
    ),
)
