"""Namespace (v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind, Subresource

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Namespace",
        plural="namespaces",
        singular="namespace",
        namespaced=False,
        schema="io.k8s.api.core.v1.Namespace",
        short_names=("ns",),
        status=True,
        prepare_create=drop_status,
        verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
        subresources=(Subresource("finalize", "Namespace", "", "v1", ("update",)),),
    ),
)
