"""Workload (scheduling.k8s.io/v1beta1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="scheduling.k8s.io",
        version="v1beta1",
        kind="Workload",
        plural="workloads",
        singular="workload",
        namespaced=True,
        schema="io.k8s.api.scheduling.v1beta1.Workload",
    ),
)
