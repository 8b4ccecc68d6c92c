"""Where something stands in a definition: ``spec.validation.openAPIV3Schema.properties[spec].anyOf[0]``.

Chains of pieces, made text only when an error names them. Also the paths that rules and selectable fields write
(``.spec.template['x']``), resolved against a schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

Schema = Mapping[str, Any]


class Path(NamedTuple):
    """``piece`` with its punctuation: ``.items``, ``[name]``."""

    parent: Path | None
    piece: str

    def child(self, name: str) -> Path:
        return Path(self, f".{name}")

    def key(self, name: str | int) -> Path:
        return Path(self, f"[{name}]")

    def __str__(self) -> str:
        pieces = []
        path: Path | None = self
        while path is not None:
            pieces.append(path.piece)
            path = path.parent
        return "".join(reversed(pieces)).removeprefix(".")


_ESCAPES: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"
}  # fmt: skip
_TOKEN: Final = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]]+", re.DOTALL)

Step: TypeAlias = "tuple[str, bool]"


class BadPathError(ValueError):
    """What is wrong with the path, in upstream's words."""


class FieldPath(NamedTuple):
    """``steps``: name, and whether it names a field (else a key of a map). ``schema``: of what it leads to."""

    steps: tuple[Step, ...]
    schema: Schema

    def __str__(self) -> str:
        return "".join(f".{name}" if field else f"[{name}]" for name, field in self.steps).removeprefix(".")


def resolve(text: str, schema: Schema, *, brackets: bool = True) -> FieldPath:
    """The field that ``text`` names below ``schema``. ``brackets``: ``['key']`` may be used. Raises BadPathError."""
    steps: list[Step] = []
    tokens = iter(_TOKEN.findall(text))
    for token in tokens:
        if token == "[":
            if not brackets:
                raise BadPathError("array notation is not allowed")
            name = _quoted(_next(tokens))
            schema = _step(name, schema, steps)
            closing = _next(tokens)
            if closing != "]":
                raise BadPathError(f"expected ] but got {closing}")
        elif token == ".":
            schema = _step(_next(tokens), schema, steps)
        else:
            raise BadPathError(f"expected [ or . but got: {token}")
    return FieldPath(tuple(steps), schema)


def _next(tokens: Iterator[str]) -> str:
    token = next(tokens, None)
    if token is None:
        raise BadPathError("unexpected end of JSON path")
    return token


def _quoted(token: str) -> str:
    if len(token) < 2 or token[0] != "'" or token[-1] != "'":
        raise BadPathError(f"expected single quoted string but got {token}")

    def unescape(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise BadPathError(f"invalid string literal: invalid escape char {match[0]}")
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.)", unescape, token[1:-1], flags=re.DOTALL)


def _step(name: str, schema: Schema, steps: list[Step]) -> Schema:
    below: Any
    if properties := schema.get("properties"):
        below = properties.get(name)
        steps.append((name, True))
    else:
        below = schema.get("additionalProperties")
        steps.append((name, False))
    if not isinstance(below, Mapping):
        raise BadPathError("does not refer to a valid field")
    return below
