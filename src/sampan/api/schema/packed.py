"""Schemas of custom resources at rest: their text, compressed, opened a level at a time.

A cluster holds hundreds of definitions with thousands of lines each, of which few are in use, and of those a few fields
only. So what is kept of a schema that nobody has asked for is its text without prose; what is opened holds the parts
below again as text. Used by ``structural`` (nodes) and ``sampan.api.customresources`` (values).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

Raw = Mapping[str, Any]

#: What is written for people.
PROSE: Final = frozenset(("description", "title", "example", "externalDocs"))
#: Keywords whose value is one schema, a list of them, or schemas by name.
SINGLE: Final = ("items", "additionalProperties", "not")
LISTED: Final = ("allOf", "anyOf", "oneOf")

#: Shorter texts are kept as they are.
_COMPRESSED_BYTES: Final = 512


class Packed:
    """A schema: its text, or once it was opened its keywords."""

    __slots__ = ("_opened", "_text", "small", "traits")

    def __init__(self, text: bytes) -> None:
        """``text``: without prose."""
        #: Likely to be found more than once: whoever makes something of it may keep it for all.
        self.small = len(text) <= _COMPRESSED_BYTES
        # orjson's bytes keep the buffer they were written to: what is kept is a copy.
        self._text: bytes | None = bytes(memoryview(text)) if self.small else zlib.compress(text, 1)
        self._opened: dict[str, Any] | None = None
        #: Which of ``_TRAITS`` the text mentions: what may be in it, without opening it.
        self.traits = frozenset(trait for trait, mark in _TRAITS if mark in text)

    def open(self) -> Mapping[str, Any]:
        """Its keywords, with a ``Packed`` in the place of each schema below. They are shared: read-only."""
        text = self._text  # read first: another thread puts what it opened in its place, in this order
        opened = self._opened
        if opened is None:
            assert text is not None
            opened = _each_below(orjson.loads(text if self.small else zlib.decompress(text)), _packed)
            self._opened = opened
            self._text = None
        return opened

    def whole(self) -> dict[str, Any]:
        """All of it, down to the leaves."""
        return _each_below(dict(self.open()), lambda part: part.whole())


#: A property of the same name makes a part look as if it had more than it has, never less.
_TRAITS: Final = (
    ("default", b'"default"'),
    ("rules", b'"x-kubernetes-validations"'),
    ("embedded", b'"x-kubernetes-embedded-resource"'),
    ("lists", b'"x-kubernetes-list-type"'),
    ("pattern", b'"pattern"'),
)


def pack(schema: Raw) -> Packed:
    return Packed(bare_text(schema))


def bare_text(schema: Raw) -> bytes:
    return orjson.dumps(without_prose(schema))


def without_prose(schema: Raw) -> dict[str, Any]:
    """A copy down to each schema below; values of other keywords are shared."""
    bare = {key: value for key, value in schema.items() if key not in PROSE}
    return _each_below(bare, without_prose)


def _each_below(schema: dict[str, Any], make: Callable[[Any], Any]) -> dict[str, Any]:
    """Puts what ``make`` gives in the place of each schema right below, in place."""
    properties = schema.get("properties")
    if properties:
        schema["properties"] = {name: make(part) for name, part in properties.items()}
    for key in SINGLE:
        if isinstance(schema.get(key), dict | Packed):
            schema[key] = make(schema[key])
    for key in LISTED:
        if schema.get(key):
            schema[key] = [make(part) for part in schema[key]]
    return schema


def _packed(part: Raw) -> Packed:
    text = orjson.dumps(part)
    return _shared(text) if len(text) <= _COMPRESSED_BYTES else Packed(text)


@lru_cache(maxsize=4096)
def _shared(text: bytes) -> Packed:
    """Most leaves are alike."""
    return Packed(text)
