"""apps/v1beta1 and apps/v1: Deployment and StatefulSet."""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.api.versions.convert.workloads import from_deployment, labels_from_template, to_deployment

__all__ = ["default_deployment", "default_statefulset", "from_deployment", "to_deployment"]


def default_deployment(deployment: Obj) -> None:
    labels_from_template(deployment)
    deployment.setdefault("spec", {}).setdefault("revisionHistoryLimit", 2)


def default_statefulset(stateful_set: Obj) -> None:
    labels_from_template(stateful_set)
    strategy = stateful_set.setdefault("spec", {}).setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "OnDelete"
