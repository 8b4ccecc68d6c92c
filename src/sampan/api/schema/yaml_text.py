"""YAML bodies to JSON values, as sigs.k8s.io/yaml reads them.

Built on libyaml's event stream, not on PyYAML's constructors: no tag can name a Python type, nesting and aliases are
limited while reading, duplicate keys are seen, and scalars follow Go's rules (``on`` and ``yes`` are booleans,
timestamps and sexagesimals stay strings, ``0x``, ``0o`` and leading-zero octals are integers). Only the first
document is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from sampan.api import objects
from sampan.api.errors import BadRequest
from sampan.api.schema.json_text import MAX_DEPTH

#: Values that aliases may add to a document. Upstream allows a ratio; this holds for every manifest and stops bombs
#: at once.
MAX_ALIASED_VALUES: Final = 100_000

_BOOLS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_NOT_JSON = frozenset(
    (".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF")
)
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
_OCTAL = re.compile(r"([-+]?)0o?([0-7]+)", re.ASCII)
_HEX = re.compile(r"([-+]?)0[xX]([0-9a-fA-F]+)", re.ASCII)
_BINARY = re.compile(r"([-+]?)0[bB]([01]+)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_RADIX = ((_DECIMAL, 10), (_OCTAL, 8), (_HEX, 16), (_BINARY, 2))
_NUMBER_START = frozenset("+-.0123456789")

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null"))


def parse_yaml(body: bytes) -> tuple[Any, list[str]]:
    """The first document as a JSON value, and paths of keys given twice (the last wins). Raises BadRequest."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"error converting YAML to JSON: yaml: {error}") from None
    try:
        reader = _Reader(yaml.parse(body, Loader=yaml.CSafeLoader))
        return reader.document(), list(reader.duplicates)
    except yaml.YAMLError as error:
        text = " ".join(str(error).split())
        raise BadRequest(f"error converting YAML to JSON: yaml: {text}") from None


def _bad(text: str) -> BadRequest:
    return BadRequest(f"error converting YAML to JSON: yaml: {text}")


def resolve(text: str) -> Any:
    """What a plain scalar means."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text in _NOT_JSON:
        raise _bad(f"{text} is not a JSON number")
    if text[0] not in _NUMBER_START:
        return text
    plain = text.replace("_", "")
    for pattern, base in _RADIX:
        match = pattern.fullmatch(plain)
        if match:
            return _fit(int(plain, 10) if base == 10 else int(match[1] + match[2], base))
    if _FLOAT.fullmatch(plain):
        number = float(plain)
        if not math.isfinite(number):
            return text
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return text


def _fit(number: int) -> int | float:
    """Go falls back on a float where no 64 bits hold it."""
    return number if -(2**63) <= number < 2**64 else float(number)


def _scalar(event: yaml.ScalarEvent) -> Any:
    tag = event.tag
    if tag is None or tag == "!":
        return resolve(event.value) if event.implicit[0] else event.value
    if tag not in _SCALAR_TAGS:
        raise _bad(f"unsupported tag {tag}")
    if tag == _TAG + "str":
        return event.value
    value = resolve(event.value)
    if tag == _TAG + "float" and isinstance(value, int) and not isinstance(value, bool):
        return value
    wanted = {"int": int, "float": float, "bool": bool, "null": type(None)}[tag.removeprefix(_TAG)]
    if type(value) is not wanted:
        raise _bad(f"cannot decode {event.value!r} as a !!{tag.removeprefix(_TAG)}")
    return value


def _key(value: Any) -> str:
    """A mapping's key as JSON needs it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise _bad(f"unsupported map key of type {type(value).__name__}")


def _size(value: Any) -> int:
    count, stack = 0, [value]
    while stack:
        item = stack.pop()
        count += 1
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return count


class _Reader:
    """Builds values from events. Recursion is bounded by MAX_DEPTH."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self.events = events
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.aliased = 0
        self.duplicates: dict[str, None] = {}

    def document(self) -> Any:
        for event in self.events:
            if isinstance(event, yaml.NodeEvent):
                return self.value(event, "", 1)
        return None

    def value(self, event: yaml.Event, path: str, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event.anchor)
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        else:
            assert isinstance(event, yaml.CollectionStartEvent)
            if depth > MAX_DEPTH:
                raise BadRequest("exceeded max depth")
            value = self.collection(event, path, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, _size(value))
        return value

    def collection(self, event: yaml.CollectionStartEvent, path: str, depth: int) -> Any:
        wanted = _TAG + ("seq" if isinstance(event, yaml.SequenceStartEvent) else "map")
        if event.tag not in (None, "!", wanted):
            raise _bad(f"unsupported tag {event.tag}")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(path, depth)
        items: list[Any] = []
        for item in self.events:
            if isinstance(item, yaml.SequenceEndEvent):
                break
            items.append(self.value(item, f"{path}[{len(items)}]", depth + 1))
        return items

    def mapping(self, path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[Any] = []
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            is_merge = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]
            key = "<<" if is_merge else _key(self.value(event, path, depth + 1))
            below = f"{path}.{key}" if path else key
            value = self.value(next(self.events), below, depth + 1)
            if is_merge:
                merged.append(value)
                continue
            if key in result:
                self.duplicates[below] = None
            result[key] = value
        for source in merged:
            self.merge(result, source)
        return result

    @staticmethod
    def merge(result: dict[str, Any], source: Any) -> None:
        for part in source if isinstance(source, list) else [source]:
            if not isinstance(part, dict):
                raise _bad("map merge requires map or sequence of maps as the value")
            for key, value in part.items():
                result.setdefault(key, value)

    def alias(self, anchor: str | None) -> Any:
        if anchor is None or anchor not in self.anchors:
            raise _bad(f"unknown anchor '{anchor}' referenced")
        value, size = self.anchors[anchor]
        self.aliased += size
        if self.aliased > MAX_ALIASED_VALUES:
            raise BadRequest("document contains excessive aliasing")
        return objects.deep_copy(value)
