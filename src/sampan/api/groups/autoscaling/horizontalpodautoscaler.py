"""HorizontalPodAutoscaler (autoscaling/v2)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="autoscaling",
        version="v2",
        kind="HorizontalPodAutoscaler",
        plural="horizontalpodautoscalers",
        singular="horizontalpodautoscaler",
        namespaced=True,
        schema="io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
        short_names=("hpa",),
        categories=("all",),
        status=True,
        prepare_create=drop_status,
    ),
)
