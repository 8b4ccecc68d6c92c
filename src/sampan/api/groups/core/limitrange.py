"""LimitRange (v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="LimitRange",
        plural="limitranges",
        singular="limitrange",
        namespaced=True,
        schema="io.k8s.api.core.v1.LimitRange",
        short_names=("limits",),
        create_on_update=True,
    ),
)
