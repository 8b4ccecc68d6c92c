"""Lease (coordination.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="coordination.k8s.io",
        version="v1",
        kind="Lease",
        plural="leases",
        singular="lease",
        namespaced=True,
        schema="io.k8s.api.coordination.v1.Lease",
        unconditional_update=False,
        create_on_update=True,
    ),
)
