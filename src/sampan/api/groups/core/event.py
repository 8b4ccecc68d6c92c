"""Event (v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Event",
        plural="events",
        singular="event",
        namespaced=True,
        schema="io.k8s.api.core.v1.Event",
        short_names=("ev",),
        create_on_update=True,
    ),
)
