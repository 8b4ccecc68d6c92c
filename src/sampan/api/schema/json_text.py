"""JSON bodies to values, with duplicate keys found and depth limited.

orjson parses but silently keeps the last of two equal keys, while upstream warns of them by default, so every body is
checked; a count of keys proves almost all bodies clean (see ``_has_no_duplicates``), and only the others are parsed a
second time by the slow parser of the standard library, which shows all pairs.
"""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from sampan.api.errors import BadRequest

#: Containers within containers. Upstream allows 10000; objects are walked by recursive Python functions, whose stack
#: is 1000.
MAX_DEPTH: Final = 400


def parse_json(body: bytes) -> tuple[Any, list[str]]:
    """The value and the paths of keys given twice (the last wins). Raises BadRequest for what is not one JSON value in
    UTF-8, NaN included, and for nesting deeper than MAX_DEPTH."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if str(error).startswith("depth limit"):  # orjson's own is 1024
            raise BadRequest("exceeded max depth") from None
        raise BadRequest(f"couldn't get version/kind; json parse error: {error}") from None
    keys = _count_keys(value)
    if keys == 0 or _has_no_duplicates(body, keys):
        return value, []
    return value, _find_duplicates(body)


def _count_keys(value: Any, depth: int = 1) -> int:
    """Keys of all objects in ``value``. Raises BadRequest when it is nested too deep."""
    is_object = type(value) is dict
    if not is_object and type(value) is not list:
        return 0
    if depth > MAX_DEPTH:
        raise BadRequest("exceeded max depth")
    keys = len(value) if is_object else 0
    for item in value.values() if is_object else value:
        if type(item) is dict or type(item) is list:
            keys += _count_keys(item, depth + 1)
    return keys


def _has_no_duplicates(body: bytes, keys: int) -> bool:
    """True is a proof; False means "look closer".

    Every key of the text ends in ``":`` when no white space stands before a colon, so there are at most as many keys
    as that pattern occurs. If it occurs exactly as often as the parsed value has keys, none was merged into another.
    Escaped quotes (a manifest inside an annotation is full of them) are taken out, unless the backslash may itself be
    escaped.
    """
    colons = body.count(b'":')
    if colons != keys:
        if rb'\\":' in body:
            return False
        colons -= body.count(rb"\":")
    space_before_colon = b" :" in body or b"\n:" in body or b"\t:" in body or b"\r:" in body
    return colons == keys and not space_before_colon


class _Pairs(list[tuple[str, Any]]):
    """An object as the text has it."""


def _find_duplicates(body: bytes) -> list[str]:
    root = json.loads(body, object_pairs_hook=_Pairs)
    found: dict[str, None] = {}
    _walk(root, "", found)
    return list(found)


def _walk(value: Any, path: str, found: dict[str, None]) -> None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, item in value:
            below = f"{path}.{key}" if path else key
            if key in seen:
                found[below] = None
            seen.add(key)
            _walk(item, below, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _walk(item, f"{path}[{index}]", found)
