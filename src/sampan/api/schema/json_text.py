"""JSON bodies to values, with duplicate keys found and depth limited; broken text is mended or told as Go does it.

orjson parses but silently keeps the last of two equal keys, while upstream warns of them by default, so every body is
checked. Two proofs settle almost all of them: writing the value again gives the same bytes (typed Go clients send
nothing that is not canonical), or a count of keys (see ``_has_no_duplicates``). Only the others are read a second time
(``duplicate_keys``). Pure functions, which may run in a thread: bodies of megabytes that were made to be slow take some
tenths of a second.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from sampan.api import go_text
from sampan.api.errors import BadRequest
from sampan.api.schema import json_faults
from sampan.api.schema.duplicate_keys import find_duplicates

#: Containers within containers. Upstream allows 10000; here it is what orjson writes (254) less the four that answers
#: put around an object (a Table's rows). Whatever is accepted can be served.
MAX_DEPTH: Final = 250

_FAULT: Final = "couldn't get version/kind; json parse error"
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def parse_json(body: bytes, fault: str = _FAULT) -> tuple[Any, list[str]]:
    """The value and the paths of keys given twice (the last wins; at most 100 are told). Broken UTF-8 and halves of
    surrogate pairs become U+FFFD. Raises BadRequest for what is not one JSON value, NaN included, and for nesting
    deeper than MAX_DEPTH. ``fault`` opens the message about broken text."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        body = _mended(body)
        value = _loads(body, fault)
    if _is_canonical(value, body):
        return value, []
    keys = _count_keys(value)
    if keys == 0 or _has_no_duplicates(body, keys):
        return value, []
    return value, find_duplicates(body)


def json_fault(text: bytes) -> str | None:
    """What is wrong with a text that should be JSON, in Go's words; None: nothing."""
    try:
        orjson.loads(_mended(text))
    except orjson.JSONDecodeError as error:
        return json_faults.describe(error)
    return None


def _loads(body: bytes, fault: str) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if str(error).startswith("depth limit"):  # orjson's own is 1024
            raise too_deep() from None
        text = json_faults.describe(error)
    raise BadRequest(f"{fault}: {text}")


def too_deep() -> BadRequest:
    return BadRequest("exceeded max depth")


def _mended(body: bytes) -> bytes:
    """The text as Go's decoder takes it: U+FFFD for each byte that is not UTF-8, and for each half of a surrogate
    pair that is alone."""
    try:
        body.decode()
    except UnicodeDecodeError:
        body = go_text.decode(body).encode()
    if rb"\u" not in body:
        return body
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match[1] else match[0], body)


def _is_canonical(value: Any, body: bytes) -> bool:
    """True is a proof that nothing was lost in parsing, and that the value is not too deep."""
    try:
        written = orjson.dumps([[[[value]]]])
    except orjson.JSONEncodeError:
        return False
    end = -1 if body.endswith(b"\n") else None
    return written[4:-4] == body[:end]


def check_depth(value: Any) -> None:
    """Raises BadRequest when ``value`` is nested too deep."""
    try:
        orjson.dumps([[[[value]]]])
    except orjson.JSONEncodeError:
        _count_keys(value)


def _count_keys(value: Any, depth: int = 1) -> int:
    """Keys of all objects in ``value``. Raises BadRequest when it is nested too deep."""
    is_object = type(value) is dict
    if not is_object and type(value) is not list:
        return 0
    if depth > MAX_DEPTH:
        raise too_deep()
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
