"""extensions/v1beta1 and what became of it: apps/v1 and networking.k8s.io/v1."""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.api.versions.convert.networking_v1beta1 import default_ingress, from_ingress, to_ingress
from sampan.api.versions.convert.workloads import (
    UNLIMITED,
    from_daemonset,
    from_deployment,
    labels_from_template,
    to_daemonset,
    to_deployment,
)

__all__ = [
    "default_daemonset",
    "default_deployment",
    "default_ingress",
    "default_replicaset",
    "from_daemonset",
    "from_deployment",
    "from_ingress",
    "to_daemonset",
    "to_deployment",
    "to_ingress",
]


def default_deployment(deployment: Obj) -> None:
    labels_from_template(deployment)
    spec = deployment.setdefault("spec", {})
    spec.setdefault("progressDeadlineSeconds", UNLIMITED)
    spec.setdefault("revisionHistoryLimit", UNLIMITED)
    strategy = spec.setdefault("strategy", {})
    if strategy.get("type") in (None, "", "RollingUpdate"):
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 1)


def default_daemonset(daemon_set: Obj) -> None:
    labels_from_template(daemon_set)
    strategy = daemon_set.setdefault("spec", {}).setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "OnDelete"


def default_replicaset(replica_set: Obj) -> None:
    labels_from_template(replica_set)
