"""Where a pod comes from and how much it matters: static and mirror pods, priority. Pure; never raises."""

from __future__ import annotations

from sampan.api.reading import part, text_map, whole
from sampan.api.types import Obj

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
SOURCE_ANNOTATION = "kubernetes.io/config.source"
#: ``system-cluster-critical`` and above (``scheduling.SystemCriticalPriority``).
SYSTEM_CRITICAL = 2_000_000_000


def is_mirror(pod: Obj) -> bool:
    """It only shows what a node runs from its own files."""
    return MIRROR_ANNOTATION in part(part(pod, "metadata"), "annotations")


def is_static(pod: Obj) -> bool:
    """It comes from a file of its node and not from the API."""
    source = text_map(part(pod, "metadata"), "annotations").get(SOURCE_ANNOTATION)
    return source is not None and source != "api"


def priority(pod: Obj) -> int:
    return whole(part(pod, "spec"), "priority") or 0


def is_critical(pod: Obj) -> bool:
    """The node keeps it running before others (kubelet ``IsCriticalPod``)."""
    return is_static(pod) or is_mirror(pod) or priority(pod) >= SYSTEM_CRITICAL
