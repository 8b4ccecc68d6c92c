"""A resource of few objects that plugins ask about with every write: kept at hand, in step with its cache.

Loaded and followed from the first question on. Objects are shared and read-only.
"""

from __future__ import annotations

from collections.abc import Mapping

from sampan.api.reading import part, text
from sampan.api.resources import Resource
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.server.reader import ObjectReader

_NONE: Mapping[str, Obj] = {}


class Followed:
    """Invariant: once started, ``_objects`` holds by namespace and name what the reader lists."""

    def __init__(self, reader: ObjectReader, resource: Resource) -> None:
        self._reader, self._resource = reader, resource
        self._objects: dict[str, dict[str, Obj]] = {}
        self._started = False

    def of(self, namespace: str = "") -> Mapping[str, Obj]:
        """The objects of a namespace, by name; "" of a resource without namespaces."""
        if not self._started:
            self._start()
        return self._objects.get(namespace, _NONE)

    def _start(self) -> None:
        self._started = True
        self._reader.subscribe(self._resource, self._changed, keep=False)
        for obj in self._reader.list(self._resource):
            self._changed("ADDED", obj, None, 0)

    def _changed(self, event: EventType, obj: Obj, _previous: Obj | None, _revision: int) -> None:
        meta = part(obj, "metadata")
        namespace, name = text(meta, "namespace"), text(meta, "name")
        if event != "DELETED":
            self._objects.setdefault(namespace, {})[name] = obj
            return
        there = self._objects.get(namespace, {})
        there.pop(name, None)
        if not there:
            self._objects.pop(namespace, None)
