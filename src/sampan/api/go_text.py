"""Text as Go has it: strings of any bytes, and values as ``fmt`` prints them. Used where upstream's words hold such."""

from __future__ import annotations

import codecs
from typing import Any, Final

import orjson

_FOR_HTML: Final = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}
#: What is no UTF-8 becomes U+FFFD, once for each byte (Python's own ``replace`` joins some of them).
_HANDLER: Final = "sampan.go"


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error(_HANDLER, _replace)


def decode(text: bytes) -> str:
    """UTF-8, with what is none of it replaced."""
    return text.decode("utf-8", _HANDLER)


def show(value: Any) -> str:
    """``%v``: ``map[image:q ports:[80]]``, keys in order, ``<nil>`` for null."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{show(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(show, value))}]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _number(value) if isinstance(value, float) else str(value)


def json(value: Any) -> str:
    """A JSON text as Go's encoder writes it: keys in order, and nothing in it that HTML would read."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return text.translate(_FOR_HTML)


def type_name(value: Any) -> str:
    """The type of a decoded JSON value."""
    if value is None:
        return "%!s(<nil>)"
    names = {dict: "map[string]interface {}", list: "[]interface {}", bool: "bool", int: "int64", float: "float64"}
    return names.get(type(value), "string")


def _number(value: float) -> str:
    """A float64 with ``%v``: the shortest form, with an exponent from 1e21 on and below 1e-4."""
    text = repr(value)
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    mantissa, mark, exponent = text.partition("e")
    if not mark:
        return text
    return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].rjust(2, '0')}"
