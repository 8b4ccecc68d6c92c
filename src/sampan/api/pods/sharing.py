"""Parts that pods of one template have in common: one object for all of them, where decoded pods are kept. And what
pods that start in the same second have: their conditions, and who else than their nodes wrote them then.

What differs from pod to pod (its node; the names of the volumes of its account's token, and so its mounts) stays its
own. Parts are told apart by their JSON, the order of keys included, so a shared part is written as the pod's own would
be. Whoever takes an object from a cache leaves it as it is (``objects``), so nobody sees that parts are shared.

What is remembered is bounded; when it is full it begins anew. One event loop.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from sampan.api.types import Obj

#: of JSON text that is remembered
MOST_BYTES: Final = 1024 * 1024
#: a longer part is one pod's own
LONGEST_BYTES: Final = 8 * 1024
#: of what is the same for a second only
MOST_OF_A_MOMENT_BYTES: Final = 128 * 1024
_CONTAINERS: Final = frozenset(("containers", "initContainers", "ephemeralContainers"))


class Remembered:
    """Invariant: ``_bytes`` is the length of all keys of ``_kept``."""

    def __init__(self, most_bytes: int) -> None:
        self._kept: dict[bytes, Any] = {}
        self._bytes, self._most_bytes = 0, most_bytes

    def one(self, part: Any) -> Any:
        """The part that stands for all that are written as this one is."""
        try:
            text = orjson.dumps(part)
        except orjson.JSONEncodeError:  # a number or text that orjson does not write: nothing is lost but room
            return part
        found = self._kept.get(text)
        if found is not None:
            return found
        if len(text) > LONGEST_BYTES:
            return part
        self._bytes += len(text)
        if self._bytes > self._most_bytes:
            self._kept, self._bytes = {}, len(text)
        self._kept[bytes(memoryview(text))] = part  # a copy: orjson's own bytes keep a buffer of some KiB
        return part


class SharedParts(Remembered):
    """``one`` is for parts of any kind; those of a moment are remembered apart, lest they push out the others."""

    def __init__(self) -> None:
        super().__init__(MOST_BYTES)
        self._of_a_moment = Remembered(MOST_OF_A_MOMENT_BYTES)

    def pod(self, pod: Obj) -> Obj:
        """The same pod with shared parts. What it is made of is not changed."""
        spec = pod.get("spec")
        if type(spec) is not dict:
            return pod
        shared = {}
        for key, value in spec.items():
            kind = type(value)
            if kind is not dict and kind is not list:
                shared[key] = value
            elif kind is list and key in _CONTAINERS:
                shared[key] = [self._container(each) for each in value]
            elif kind is list and key == "volumes":
                shared[key] = [self._members(each) for each in value]
            else:
                shared[key] = self.one(value)
        return self._with_moments({**pod, "spec": shared})

    def _with_moments(self, pod: Obj) -> Obj:
        """Changes the pod itself, and nothing below it."""
        one = self._of_a_moment.one
        status, metadata = pod.get("status"), pod.get("metadata")
        if type(status) is dict and type(conditions := status.get("conditions")) is list:
            pod["status"] = {**status, "conditions": [one(each) for each in conditions]}
        if type(metadata) is dict and type(managed := metadata.get("managedFields")) is list:
            # What a node owns of a status is the pod's own: its address is in it.
            owners = [each if "subresource" in each else one(each) for each in managed]
            pod["metadata"] = {**metadata, "managedFields": owners}
        return pod

    def _container(self, container: Any) -> Any:
        if type(container) is dict and "volumeMounts" in container:
            return self._members(container)
        return self.one(container)

    def _members(self, value: Any) -> Any:
        if type(value) is not dict:
            return value
        return {key: self.one(each) if type(each) in (dict, list) else each for key, each in value.items()}


#: of this process
PARTS: Final = SharedParts()
