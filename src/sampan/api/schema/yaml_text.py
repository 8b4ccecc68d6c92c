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

from sampan.api.errors import BadRequest
from sampan.api.schema import paths
from sampan.api.schema.json_text import MAX_DEPTH, too_deep
from sampan.api.schema.paths import MAX_STRICT_ERRORS

#: Values and characters that aliases may add to a document. Upstream allows a ratio; this holds for every manifest and
#: stops bombs at once.
MAX_ALIASED_VALUES: Final = 100_000
MAX_ALIASED_CHARACTERS: Final = 3 * 1024 * 1024

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
_MAX_DIGITS = 400
_NUMBER_START = frozenset("+-.0123456789")

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null"))


def parse_yaml(body: bytes) -> tuple[Any, list[str]]:
    """The first document as a JSON value, and paths of keys given twice (the last wins). Raises BadRequest."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise _bad(_broken_utf8(body, error)) from None
    try:
        reader = _Reader(yaml.parse(body, Loader=yaml.CSafeLoader))
        return reader.document(), list(reader.duplicates)
    except yaml.YAMLError as error:
        raise _bad(_fault(error)) from None


def _broken_utf8(body: bytes, error: UnicodeDecodeError) -> str:
    if error.end == len(body) and error.reason == "unexpected end of data":
        return "incomplete UTF-8 octet sequence"
    leading = error.reason == "invalid start byte"
    return f"invalid {'leading' if leading else 'trailing'} UTF-8 octet"


def _fault(error: yaml.YAMLError) -> str:
    """As go-yaml puts it: ``line 2: did not find expected key``. Lines count from nought but for scanner errors."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return "control characters are not allowed"
    mark = error.context_mark if error.context_mark is not None and error.context_mark.line else error.problem_mark
    line = mark.line if mark is not None else 0
    if line and isinstance(error, yaml.scanner.ScannerError):
        line += 1
    return f"{f'line {line}: ' if line else ''}{error.problem or 'unknown problem parsing YAML content'}"


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
    if len(plain) > _MAX_DIGITS:  # beyond any float; Go keeps the text
        return text
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
        raise _bad(f"cannot decode !!str `{event.value}` as a !!{tag.removeprefix(_TAG)}")
    return value


def _key(value: Any) -> str:
    """A mapping's key as JSON needs it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    kind = "map" if isinstance(value, dict) else "slice" if isinstance(value, list) else "nil"
    raise _bad(f"unsupported map key of type: {kind}")


def _copy(value: Any, depth: int) -> Any:
    """A copy to stand ``depth`` deep. Raises BadRequest when it ends too deep there."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return value
    if depth > MAX_DEPTH:
        raise too_deep()
    if kind is dict:
        return {key: _copy(item, depth + 1) for key, item in value.items()}
    return [_copy(item, depth + 1) for item in value]


class _Reader:
    """Builds values from events. Recursion is bounded by MAX_DEPTH."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self.events = events
        #: Value, size and length of each anchor.
        self.anchors: dict[str, tuple[Any, int, int]] = {}
        #: Where the present value stands: keys and indexes.
        self.path: list[str | int] = []
        #: Values and characters so far, those that aliases stood for included; and only those.
        self.values = self.characters = 0
        self.aliased_values = self.aliased_characters = 0
        self.duplicates: dict[str, None] = {}

    def document(self) -> Any:
        for event in self.events:
            if isinstance(event, yaml.NodeEvent):
                return self.value(event, 1)
        return None

    def value(self, event: yaml.Event, depth: int) -> Any:
        values, characters = self.values, self.characters
        self.values += 1
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event.anchor, depth)
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
            self.characters += len(event.value)
        else:
            assert isinstance(event, yaml.CollectionStartEvent)
            if depth > MAX_DEPTH:
                raise too_deep()
            value = self.collection(event, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, self.values - values, self.characters - characters)
        return value

    def collection(self, event: yaml.CollectionStartEvent, depth: int) -> Any:
        wanted = _TAG + ("seq" if isinstance(event, yaml.SequenceStartEvent) else "map")
        if event.tag not in (None, "!", wanted):
            raise _bad(f"unsupported tag {event.tag}")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(depth)
        items: list[Any] = []
        for item in self.events:
            if isinstance(item, yaml.SequenceEndEvent):
                break
            self.path.append(len(items))
            items.append(self.value(item, depth + 1))
            self.path.pop()
        return items

    def mapping(self, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[Any] = []
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            is_merge = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]
            key = "<<" if is_merge else _key(self.value(event, depth + 1))
            self.path.append(key)
            value = self.value(next(self.events), depth + 1)
            if is_merge:
                merged.append(value)
            else:
                if key in result and len(self.duplicates) < MAX_STRICT_ERRORS:
                    self.duplicates[paths.join(self.path)] = None
                result[key] = value
            self.path.pop()
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

    def alias(self, anchor: str | None, depth: int) -> Any:
        if anchor is None or anchor not in self.anchors:
            raise _bad(f"unknown anchor '{anchor}' referenced")
        value, size, length = self.anchors[anchor]
        self.values += size
        self.characters += length
        self.aliased_values += size
        self.aliased_characters += length
        if self.aliased_values > MAX_ALIASED_VALUES or self.aliased_characters > MAX_ALIASED_CHARACTERS:
            raise BadRequest("document contains excessive aliasing")
        return _copy(value, depth)
