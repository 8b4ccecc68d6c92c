"""A pod as the scheduler sees it: what it asks for, computed once. Immutable but for lazily filled parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from sampan.api.imagenames import with_tag
from sampan.api.pods import origin, status
from sampan.api.pods.containers import host_ports
from sampan.api.pods.requests import NONZERO_DEFAULTS, Amounts, container_requests, pod_requests
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

    __slots__ = (
        "_shape_key",
        "affinity",
        "claims",
        "company",
        "disks",
        "key",
        "labels",
        "name",
        "namespace",
        "obj",
        "priority",
        "resource_claims",
        "shape",
        "signature",
        "spec",
        "started",
        "terminating",
        "terms",
        "uid",
        "whole_signature",
    )
    # Found when first asked for (``_LAZY``).
    #: shared by pods of one template, unless a resize in place gives the pod amounts of its own
    shape: Shape
    _shape_key: bytes
    #: its volumes that stand for claims
    claims: tuple[PodClaim, ...]
    #: its claims for devices
    resource_claims: tuple[PodResourceClaim, ...]
    affinity: Obj
    #: when, in RFC 3339 and UTC, which compares as text; of one that has not, what comes after all times
    started: str
    #: equal for pods that want the same of, and mean the same to, other pods
    company: bytes
    signature: bytes
    #: equal for pods that differ in their names alone
    whole_signature: bytes
    #: what ``affinity.terms_of`` and ``plugins/volumerestrictions`` found
    terms: Any
    disks: tuple[Obj, ...]

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

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            make = _LAZY.get(name)
            if make is None:
                raise AttributeError(f"a pod has no {name!r}", name=name, obj=self)
            value = make(self)
            setattr(self, name, value)
            return value

    def weighs_as(self, other: PodInfo) -> bool:
        """Whether it means the same to the node that it is on and to other pods."""
        here, there = self.spec, other.spec
        return (
            self.labels == other.labels
            and self.terminating == other.terminating
            and self.priority == other.priority
            and all(here.get(field) == there.get(field) for field in _WEIGHED)
            and self._shaped_as(other)
        )

    def _shaped_as(self, other: PodInfo) -> bool:
        """Whether both take up the same; of one template and not resized, the other's shape is taken over."""
        here, there = self.spec, other.spec
        if part(self.obj, "status").get("containerStatuses") or part(other.obj, "status").get("containerStatuses"):
            return self.shape == other.shape
        if all(here.get(field) == there.get(field) for field in _SHAPES_IT):
            self.shape = other.shape
            return True
        return self.shape == other.shape


#: of a spec, what is counted besides its shape
_WEIGHED = ("affinity", "volumes", "resourceClaims")
#: all that its shape follows from
_SHAPES_IT = ("containers", "initContainers", "overhead", "resources")


#: Shapes by their key, a function's memory: at most so many of so many bytes. Emptied when full: templates come and go.
_shapes: dict[bytes, Shape] = {}
_SHAPES = 4096
_KEY_BYTES = 4096
#: Keys that pods of a template have in common: one object for all of them. Bounded as shapes are.
_keys: dict[bytes, bytes] = {}


def _key_of(value: Any, option: int = 0) -> bytes:
    return _one(orjson.dumps(value, option=option))


def _one(written: bytes) -> bytes:
    found = _keys.get(written)
    if found is None:
        found = bytes(memoryview(written))  # a copy: orjson's own bytes keep a buffer of some KiB
        if len(found) <= _KEY_BYTES:
            if len(_keys) >= _SHAPES:
                _keys.clear()
            _keys[found] = found
    return found


def _shape(pod: Obj) -> Shape:
    spec = part(pod, "spec")
    asked = pod_requests(pod)
    requests = {name: value for name, value in asked.items() if value}
    requests["pods"] = 1
    containers = [*parts(spec, "initContainers"), *parts(spec, "containers")]
    counted = asked
    if part(pod, "status").get("containerStatuses") or not all(map(_asks, containers)):
        counted = pod_requests(pod, NONZERO_DEFAULTS)
    return Shape(
        requests,
        (counted.get("cpu", 0), counted.get("memory", 0)),
        tuple(host_ports(pod)),
        tuple(with_tag(text(container, "image")) for container in containers),
    )


def _asks(container: Obj) -> bool:
    """Whether no default stands in for what the container asks for."""
    asked = container_requests(container)
    return all(asked.get(name) for name in NONZERO_DEFAULTS)


def _shape_of(pod: PodInfo) -> Shape:
    if part(pod.obj, "status").get("containerStatuses"):
        return _shape(pod.obj)
    key = pod._shape_key
    found = _shapes.get(key)
    if found is None:
        found = _shape(pod.obj)
        if len(key) <= _KEY_BYTES:
            if len(_shapes) >= _SHAPES:
                _shapes.clear()
            _shapes[key] = found
    return found


def _shape_key(pod: PodInfo) -> bytes:
    spec = pod.spec
    containers = [
        [[c.get("resources"), c.get("ports"), c.get("image"), c.get("restartPolicy")] for c in parts(spec, kind)]
        for kind in ("containers", "initContainers")
    ]
    return _key_of([containers, spec.get("overhead"), spec.get("resources")])


def _company(pod: PodInfo) -> bytes:
    affinity = pod.affinity
    return _key_of(
        [
            pod.namespace,
            sorted(pod.labels.items()),
            affinity.get("podAffinity"),
            affinity.get("podAntiAffinity"),
            pod.spec.get("topologySpreadConstraints"),
        ]
    )


def _signature(pod: PodInfo) -> bytes:
    spec = pod.spec
    wishes = [
        pod.scheduler_name,
        spec.get("nodeSelector"),
        pod.affinity.get("nodeAffinity"),
        spec.get("tolerations"),
        spec.get("nodeName"),
    ]
    return _one(pod._shape_key + orjson.dumps(wishes))


def _whole_signature(pod: PodInfo) -> bytes:
    meta = pod.obj["metadata"]
    return _key_of(
        [pod.namespace, meta.get("labels"), meta.get("annotations"), meta.get("ownerReferences"), pod.spec],
        orjson.OPT_SORT_KEYS,
    )


_LAZY: Mapping[str, Callable[[PodInfo], Any]] = {
    "shape": _shape_of,
    "_shape_key": _shape_key,
    "claims": lambda pod: tuple(claims_of_pod(pod.obj)) if pod.spec.get("volumes") else (),
    "resource_claims": lambda pod: tuple(claims_for_devices(pod.obj)) if pod.spec.get("resourceClaims") else (),
    "affinity": lambda pod: part(pod.spec, "affinity"),
    "company": _company,
    "started": lambda pod: text(part(pod.obj, "status"), "startTime") or "9",
    "signature": _signature,
    "whole_signature": _whole_signature,
}
