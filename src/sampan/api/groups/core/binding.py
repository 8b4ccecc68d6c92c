"""Binding (v1)."""

from __future__ import annotations

from sampan.api.kind import REVIEW_VERBS, Kind

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Binding",
        plural="bindings",
        singular="binding",
        namespaced=True,
        schema="io.k8s.api.core.v1.Binding",
        verbs=REVIEW_VERBS,
    ),
)
