"""Defaults of a structural schema, in place (apiextensions ``schema/defaulting/algorithm.go``).

Bounded: a default in a list multiplies by its items, so what is filled into one object has a length, and a number of
places that are looked at, beyond which the object is refused. No object that long could be stored.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from sampan.api.customresources.parts import Part
from sampan.api.errors import RequestEntityTooLarge
from sampan.api.objects import deep_copy

#: of the JSON that defaults add to one object: twice what an object may have
MOST_BYTES: Final = 3 * 1024 * 1024
MOST_STEPS: Final = 2_000_000


def apply(part: Part, value: Any) -> None:
    """A field that is missing, or null where it may not be, takes its default; then whatever is there is looked into.
    What is not there has no fields to fill. Idempotent. Raises RequestEntityTooLarge: the object is filled in part."""
    if "default" in part.traits:
        _Filling().fill(part, value)


class _Filling:
    __slots__ = ("_lengths", "_room", "_steps")

    def __init__(self) -> None:
        self._room, self._steps = MOST_BYTES, MOST_STEPS
        #: of defaults, by the part that has it
        self._lengths: dict[Part, int] = {}

    def fill(self, part: Part, value: Any) -> None:
        keywords = part.keywords
        if type(value) is dict:
            other = keywords.additional
            self._step(len(keywords.defaulted) + len(value))
            for name, field in keywords.defaulted:
                known = field.keywords
                if known.default is not None and (name not in value or (value[name] is None and not known.nullable)):
                    value[name] = self._default(field)
                if name in value and value[name] is not None:
                    self.fill(field, value[name])
            if other is not None and "default" in other.traits:
                for name in value:
                    if name not in keywords.properties:
                        value[name] = self._item(other, value[name])
        elif type(value) is list and keywords.items is not None and "default" in keywords.items.traits:
            self._step(len(value))
            for index, item in enumerate(value):
                value[index] = self._item(keywords.items, item)

    def _item(self, part: Part, item: Any) -> Any:
        """Of a list or map: a null that may not be one takes the default, if there is one."""
        if item is None and not part.keywords.nullable and part.keywords.default is not None:
            item = self._default(part)
        self.fill(part, item)
        return item

    def _default(self, part: Part) -> Any:
        default = part.keywords.default
        length = self._lengths.get(part)
        if length is None:
            length = self._lengths[part] = len(orjson.dumps(default))
        self._room -= length
        if self._room < 0:
            raise _too_long()
        return deep_copy(default)

    def _step(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise _too_long()


def _too_long() -> RequestEntityTooLarge:
    return RequestEntityTooLarge("etcdserver: request is too large")
