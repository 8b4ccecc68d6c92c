"""DaemonSet (apps/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="apps",
        version="v1",
        kind="DaemonSet",
        plural="daemonsets",
        singular="daemonset",
        namespaced=True,
        schema="io.k8s.api.apps.v1.DaemonSet",
        short_names=("ds",),
        categories=("all",),
        status=True,
        prepare_create=drop_status,
        generation=True,
    ),
)
