"""A pod as the scheduler sees it: what it asks for, computed once. Immutable but for lazily filled parts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import orjson

from sampan.api.types import Obj
from sampan.client.keys import ObjectKey
from sampan.scheduler.requests import NONZERO_DEFAULTS, Amounts, host_ports, pod_requests

DEFAULT_SCHEDULER = "default-scheduler"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a pod takes up."""

    requests: Amounts
    nonzero: tuple[int, int]
    ports: tuple[tuple[str, str, int], ...]
    images: tuple[str, ...]


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

    @property
    def requests(self) -> Amounts:
        """Without zeros, and with the one pod that it is."""
        return self.shape.requests

    @property
    def nonzero(self) -> tuple[int, int]:
        """Millicores and bytes that scores count (``NonZeroRequested``)."""
        return self.shape.nonzero

    @property
    def ports(self) -> tuple[tuple[str, str, int], ...]:
        return self.shape.ports

    @property
    def images(self) -> tuple[str, ...]:
        return self.shape.images

    @cached_property
    def shape(self) -> Shape:
        """Shared by pods of one template, unless a resize in place gives the pod amounts of its own."""
        if (self.obj.get("status") or {}).get("containerStatuses"):
            return _shape(self.obj)
        found = _shapes.get(self._shape_key)
        if found is None:
            if len(_shapes) >= _SHAPES:
                _shapes.clear()
            found = _shapes[self._shape_key] = _shape(self.obj)
        return found

    @cached_property
    def _shape_key(self) -> bytes:
        spec = self.spec
        parts = [
            [[c.get("resources"), c.get("ports"), c.get("image"), c.get("restartPolicy")] for c in spec.get(kind) or ()]
            for kind in ("containers", "initContainers")
        ]
        return orjson.dumps([parts, spec.get("overhead"), spec.get("resources")])

    @cached_property
    def affinity(self) -> Obj:
        found: Obj = self.spec.get("affinity") or {}
        return found

    @cached_property
    def signature(self) -> bytes:
        spec = self.spec
        parts = [
            self.scheduler_name,
            spec.get("nodeSelector"),
            self.affinity.get("nodeAffinity"),
            spec.get("tolerations"),
            spec.get("nodeName"),
        ]
        return self._shape_key + orjson.dumps(parts)


#: Shapes by their key; emptied when full: templates come and go.
_shapes: dict[bytes, Shape] = {}
_SHAPES = 4096


def _shape(pod: Obj) -> Shape:
    spec = pod.get("spec") or {}
    requests = {name: value for name, value in pod_requests(pod).items() if value}
    requests["pods"] = 1
    counted = pod_requests(pod, NONZERO_DEFAULTS)
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return Shape(
        requests,
        (counted.get("cpu", 0), counted.get("memory", 0)),
        tuple(host_ports(spec)),
        tuple(normalized_image(container.get("image", "")) for container in containers),
    )


def normalized_image(image: str) -> str:
    """With ``:latest`` when it has neither tag nor digest (``normalizedImageName``)."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"
