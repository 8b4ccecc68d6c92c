"""A pod as the scheduler sees it: what it asks for, computed once. Immutable but for lazily filled parts."""

from __future__ import annotations

from functools import cached_property

import orjson

from sampan.api.imagenames import with_tag
from sampan.api.pods import origin, status
from sampan.api.pods.containers import host_ports
from sampan.api.pods.requests import NONZERO_DEFAULTS, Amounts, pod_requests
from sampan.api.pods.resourceclaims import PodResourceClaim
from sampan.api.pods.resourceclaims import claims_of_pod as claims_for_devices
from sampan.api.reading import part, parts, text, text_map
from sampan.api.storage.claims import PodClaim, claims_of_pod
from sampan.api.types import Obj
from sampan.client.keys import ObjectKey
from sampan.records import dataclass

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
        meta, self.spec = pod["metadata"], part(pod, "spec")
        self.obj = pod
        self.namespace: str = meta.get("namespace", "")
        self.name: str = meta["name"]
        self.key = ObjectKey(self.namespace, self.name)
        self.uid: str = meta.get("uid", "")
        self.labels = text_map(meta, "labels")
        self.priority = origin.priority(pod)
        self.terminating = status.is_terminating(pod)

    @property
    def node_name(self) -> str:
        return text(self.spec, "nodeName")

    @property
    def scheduler_name(self) -> str:
        return text(self.spec, "schedulerName") or DEFAULT_SCHEDULER

    @property
    def nominated_node(self) -> str:
        return text(part(self.obj, "status"), "nominatedNodeName")

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
        if part(self.obj, "status").get("containerStatuses"):
            return _shape(self.obj)
        key = self._shape_key
        found = _shapes.get(key)
        if found is None:
            found = _shape(self.obj)
            if len(key) <= _KEY_BYTES:
                if len(_shapes) >= _SHAPES:
                    _shapes.clear()
                _shapes[key] = found
        return found

    @cached_property
    def _shape_key(self) -> bytes:
        spec = self.spec
        containers = [
            [[c.get("resources"), c.get("ports"), c.get("image"), c.get("restartPolicy")] for c in parts(spec, kind)]
            for kind in ("containers", "initContainers")
        ]
        return orjson.dumps([containers, spec.get("overhead"), spec.get("resources")])

    @cached_property
    def claims(self) -> tuple[PodClaim, ...]:
        """Its volumes that stand for claims."""
        return tuple(claims_of_pod(self.obj)) if self.spec.get("volumes") else ()

    @cached_property
    def resource_claims(self) -> tuple[PodResourceClaim, ...]:
        """Its claims for devices."""
        return tuple(claims_for_devices(self.obj)) if self.spec.get("resourceClaims") else ()

    @cached_property
    def affinity(self) -> Obj:
        return part(self.spec, "affinity")

    @cached_property
    def company(self) -> bytes:
        """Equal for pods that want the same of, and mean the same to, other pods."""
        wishes = [
            self.namespace,
            sorted(self.labels.items()),
            self.affinity.get("podAffinity"),
            self.affinity.get("podAntiAffinity"),
            self.spec.get("topologySpreadConstraints"),
        ]
        return orjson.dumps(wishes)

    @cached_property
    def signature(self) -> bytes:
        spec = self.spec
        wishes = [
            self.scheduler_name,
            spec.get("nodeSelector"),
            self.affinity.get("nodeAffinity"),
            spec.get("tolerations"),
            spec.get("nodeName"),
        ]
        return self._shape_key + orjson.dumps(wishes)

    def weighs_as(self, other: PodInfo) -> bool:
        """Whether it means the same to the node that it is on and to other pods."""
        here, there = self.spec, other.spec
        return (
            self.labels == other.labels
            and self.terminating == other.terminating
            and self.priority == other.priority
            and all(here.get(field) == there.get(field) for field in _WEIGHED)
            and self.shape == other.shape
        )

    @cached_property
    def whole_signature(self) -> bytes:
        """Equal for pods that differ in their names alone."""
        meta = self.obj["metadata"]
        return orjson.dumps(
            [self.namespace, meta.get("labels"), meta.get("annotations"), meta.get("ownerReferences"), self.spec],
            option=orjson.OPT_SORT_KEYS,
        )


#: of a spec, what is counted besides its shape
_WEIGHED = ("affinity", "volumes", "resourceClaims")


#: Shapes by their key, a function's memory: at most so many of so many bytes. Emptied when full: templates come and go.
_shapes: dict[bytes, Shape] = {}
_SHAPES = 4096
_KEY_BYTES = 4096


def _shape(pod: Obj) -> Shape:
    spec = part(pod, "spec")
    requests = {name: value for name, value in pod_requests(pod).items() if value}
    requests["pods"] = 1
    counted = pod_requests(pod, NONZERO_DEFAULTS)
    containers = [*parts(spec, "initContainers"), *parts(spec, "containers")]
    return Shape(
        requests,
        (counted.get("cpu", 0), counted.get("memory", 0)),
        tuple(host_ports(pod)),
        tuple(with_tag(text(container, "image")) for container in containers),
    )
