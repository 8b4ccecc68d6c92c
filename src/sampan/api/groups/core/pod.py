"""Pod (v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind, Subresource
from sampan.api.types import Obj

PROXY_VERBS = ("create", "delete", "get", "patch", "update")


def grace_period_seconds(pod: Obj) -> int | None:
    seconds: int | None = pod.get("spec", {}).get("terminationGracePeriodSeconds")
    return 30 if seconds is None else seconds


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Pod",
        plural="pods",
        singular="pod",
        namespaced=True,
        schema="io.k8s.api.core.v1.Pod",
        short_names=("po",),
        categories=("all",),
        status=True,
        prepare_create=drop_status,
        generation=True,
        subresources=(
            Subresource("attach", "PodAttachOptions", "", "v1", ("create", "get")),
            Subresource("binding", "Binding", "", "v1", ("create",)),
            Subresource("ephemeralcontainers", "Pod", "", "v1", ("get", "patch", "update")),
            Subresource("eviction", "Eviction", "policy", "v1", ("create",)),
            Subresource("exec", "PodExecOptions", "", "v1", ("create", "get")),
            Subresource("log", "Pod", "", "v1", ("get",)),
            Subresource("portforward", "PodPortForwardOptions", "", "v1", ("create", "get")),
            Subresource("proxy", "PodProxyOptions", "", "v1", PROXY_VERBS),
            Subresource("resize", "Pod", "", "v1", ("get", "patch", "update")),
        ),
        grace_period_seconds=grace_period_seconds,
    ),
)
