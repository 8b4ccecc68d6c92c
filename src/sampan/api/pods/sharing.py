"""Parts of specs that pods of one template have in common: one object for all of them, where decoded pods are kept.

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
_CONTAINERS: Final = frozenset(("containers", "initContainers", "ephemeralContainers"))


class SharedParts:
    """Invariant: ``_bytes`` is the length of all keys of ``_kept``."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Any] = {}
        self._bytes = 0

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
        return {**pod, "spec": shared}

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
        if self._bytes > MOST_BYTES:
            self._kept, self._bytes = {}, len(text)
        self._kept[bytes(memoryview(text))] = part  # a copy: orjson's own bytes keep a buffer of some KiB
        return part

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
