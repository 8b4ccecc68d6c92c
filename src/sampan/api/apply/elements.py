"""Elements of field paths, as FieldsV1 writes them: ``f:name``, ``k:{"name":"c"}``, ``v:"x"``, ``i:0`` and ``.``.

An element is its text. Source: structured-merge-diff ``fieldpath`` (``serialize-pe.go``, ``element.go``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import orjson

#: The element that says of its set that what it stands below is a member, too.
SELF: Final = "."

#: how many elements' ranks and texts are kept, and how long they are at most: anybody may send any
_KEPT: Final = 4096
LONGEST_KEPT: Final = 256


def of_key(key: dict[str, Any]) -> str:
    """The element of a list item with this key."""
    return "k:" + orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()


def of_value(value: Any) -> str:
    """The element of a set's item."""
    return "v:" + orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def canonical(text: str) -> str | None:
    """The element as it is written here; None: of a kind that nobody knows, to be left out. Raises ValueError."""
    if text == SELF or text.startswith("f:"):
        return text
    return _kept_canonical(text) if len(text) <= LONGEST_KEPT else _canonical(text)


def _canonical(text: str) -> str | None:
    kind, colon, rest = text.partition(":")
    if not colon:
        raise ValueError("missing colon")
    if kind == "k":
        key = orjson.loads(rest)
        if not isinstance(key, dict):
            raise ValueError("a key is an object")
        return of_key(key)
    if kind == "v":
        return of_value(orjson.loads(rest))
    if kind == "i":
        return f"i:{int(rest)}"
    return None


_kept_canonical: Final = lru_cache(maxsize=_KEPT)(_canonical)


def rank(text: str) -> tuple[Any, ...]:
    """What elements of one set are sorted by."""
    return _kept_rank(text) if len(text) <= LONGEST_KEPT else _rank(text)


def _rank(text: str) -> tuple[Any, ...]:
    if text == SELF:
        return (0,)
    kind, rest = text[0], text[2:]
    if kind == "f":
        return (1, rest)
    if kind == "i":
        return (4, int(rest))
    value = orjson.loads(rest)
    if kind == "k":
        return (2, *((name, _value_rank(part)) for name, part in sorted(value.items())))
    return (3, _value_rank(value))


_kept_rank: Final = lru_cache(maxsize=_KEPT)(_rank)


def _value_rank(value: Any) -> tuple[Any, ...]:
    """Numbers, then texts, booleans, lists, objects, null (upstream ``value.Compare``)."""
    if isinstance(value, bool):
        return (2, value)
    if isinstance(value, int | float):
        return (0, value)
    if isinstance(value, str):
        return (1, value)
    if value is None:
        return (5, 0)
    return (3 if isinstance(value, list) else 4, orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def readable(text: str) -> str:
    """The element in a path of an error: ``.name``, ``[name="c"]``, ``[="x"]``, ``[0]``."""
    kind, rest = text[:2], text[2:]
    if kind == "f:":
        return f".{rest}"
    if kind == "i:":
        return f"[{rest}]"
    value = orjson.loads(rest)
    if kind == "k:":
        return "[" + ",".join(f"{name}={_readable_value(part)}" for name, part in sorted(value.items())) + "]"
    return f"[={_readable_value(value)}]"


def _readable_value(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
