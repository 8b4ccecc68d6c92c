"""A pod as the scheduler sees it: what it asks for, computed once. Immutable but for lazily filled parts."""

from __future__ import annotations

from functools import cached_property

import orjson

from sampan.api.types import Obj
from sampan.client.keys import ObjectKey
from sampan.scheduler.requests import NONZERO_DEFAULTS, Amounts, host_ports, pod_requests

DEFAULT_SCHEDULER = "default-scheduler"


class PodInfo:
    """Two infos are the same pod when their ``uid`` is the same; ``signature`` is equal for pods that every plugin
    with per-node verdicts treats alike: the pods of one template."""

    def __init__(self, pod: Obj) -> None:
        meta, self.spec = pod["metadata"], pod.get("spec") or {}
        self.obj = pod
        self.namespace: str = meta.get("namespace", "")
        self.name: str = meta["name"]
        self.key = ObjectKey(self.namespace, self.name)
        self.uid: str = meta.get("uid", "")
        self.labels: dict[str, str] = meta.get("labels") or {}
        self.priority = int(self.spec.get("priority") or 0)
        self.terminating = bool(meta.get("deletionTimestamp"))

    @property
    def node_name(self) -> str:
        return self.spec.get("nodeName") or ""

    @property
    def scheduler_name(self) -> str:
        return self.spec.get("schedulerName") or DEFAULT_SCHEDULER

    @property
    def nominated_node(self) -> str:
        return (self.obj.get("status") or {}).get("nominatedNodeName") or ""

    @cached_property
    def requests(self) -> Amounts:
        """Without zeros, and with the one pod that it is."""
        found = {name: value for name, value in pod_requests(self.obj).items() if value}
        found["pods"] = 1
        return found

    @cached_property
    def nonzero(self) -> tuple[int, int]:
        """Millicores and bytes that scores count (``NonZeroRequested``)."""
        found = pod_requests(self.obj, NONZERO_DEFAULTS)
        return found.get("cpu", 0), found.get("memory", 0)

    @cached_property
    def ports(self) -> tuple[tuple[str, str, int], ...]:
        return tuple(host_ports(self.spec))

    @cached_property
    def images(self) -> tuple[str, ...]:
        containers = [*(self.spec.get("initContainers") or ()), *(self.spec.get("containers") or ())]
        return tuple(normalized_image(container.get("image", "")) for container in containers)

    @cached_property
    def affinity(self) -> Obj:
        found: Obj = self.spec.get("affinity") or {}
        return found

    @cached_property
    def signature(self) -> bytes:
        spec = self.spec
        return orjson.dumps(
            [
                self.scheduler_name,
                spec.get("nodeSelector"),
                self.affinity.get("nodeAffinity"),
                spec.get("tolerations"),
                self.requests,
                self.nonzero,
                self.ports,
                self.images,
                spec.get("nodeName"),
            ]
        )


def normalized_image(image: str) -> str:
    """With ``:latest`` when it has neither tag nor digest (``normalizedImageName``)."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"
