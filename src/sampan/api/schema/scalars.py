"""Leaf types: what JSON value each takes, how the API writes it, and upstream's words when it does not fit.

Called by the nodes of this package only. Two forms of each type: ``clean`` answers fast whether a value is already
exactly as the API would write it; ``convert`` is for the values that are not: it returns the canonical value or
raises Mismatch. Error texts are those of Go's decoders (sigs.k8s.io/json, apimachinery ``Time``, ``Quantity``,
``IntOrString``), because clients and people match on them.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sampan.api import go_text, quantity
from sampan.records import dataclass

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
#: A float64 holds every integer up to here.
_EXACT = 2**53
#: A whole float64 is written without exponent below this (Go: below 1e21; orjson writes no longer integers).
_EXPONENT_FROM = 2.0**63
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:[.,](\d+))?(Z|[+-]\d{2}:\d{2})", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*")
_TIME_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_LAYOUT_STEPS = (
    (r"\d{4}", "2006"), ("-", "-"), (r"\d{2}", "01"), ("-", "-"), (r"\d{2}", "02"), ("T", "T"), (r"\d{2}", "15"),
    (":", ":"), (r"\d{2}", "04"), (":", ":"), (r"\d{2}", "05"),
)  # fmt: skip


#: Longer than any time or quantity that means something.
_MEMOISED_LENGTH = 48


class Mismatch(Exception):
    """A value does not fit its type. ``at_field``: the text still lacks the field, which the node adds."""

    def __init__(self, text: str, *, at_field: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.at_field = at_field


def describe(value: Any) -> str:
    """The JSON type as Go's decoder names it in errors."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "null"


def _wrong(value: Any) -> Mismatch:
    return Mismatch(f"cannot unmarshal {describe(value)}", at_field=True)


def _wrong_number(value: float) -> Mismatch:
    return Mismatch(f"cannot unmarshal number {go_text.show(value)}", at_field=True)


# --- string, bool, numbers


def _string(value: Any) -> Any:
    raise _wrong(value)


def _bool(value: Any) -> Any:
    raise _wrong(value)


def clean_int32(value: Any) -> bool:
    return type(value) is int and INT32_MIN <= value <= INT32_MAX


def clean_int64(value: Any) -> bool:
    return type(value) is int and INT64_MIN <= value <= INT64_MAX


def _integer(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise _wrong_number(value)
    raise _wrong(value)


def clean_number(value: Any) -> bool:
    """Go writes a float64 without fraction as an integer."""
    if type(value) is float:
        return not value.is_integer() or abs(value) >= _EXPONENT_FROM
    return type(value) is int and -_EXACT <= value <= _EXACT


def _number(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
        return int(number) if number.is_integer() and abs(number) < _EXPONENT_FROM else number
    raise _wrong(value)


# --- bytes


def _is_base64(text: str) -> bool:
    """Not memoised: these are Secrets."""
    try:
        binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return False
    return len(text) % 4 == 0


def clean_bytes(value: Any) -> bool:
    return type(value) is str and _is_base64(value)


def _base64_error_offset(text: str) -> int:
    """Where Go's decoder would stop: the first foreign byte, or the start of the incomplete group of four."""
    raw = text.encode()
    match = _BASE64.match(text)
    assert match is not None
    good = match.end()
    if good < len(text) and (text[good] != "=" or good % 4 < 2):
        return good
    if good < len(text):  # right padding so far: too little or too much of it
        needed = 4 - good % 4
        padding = len(text[good:]) - len(text[good:].lstrip("="))
        return len(raw) if padding < needed else good + needed
    return good - good % 4


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        raise _wrong(value)
    joined = value.replace("\n", "").replace("\r", "")  # Go's decoder skips line breaks
    try:
        decoded = binascii.a2b_base64(joined.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Mismatch(f"illegal base64 data at input byte {_base64_error_offset(joined)}") from None
    return binascii.b2a_base64(decoded, newline=False).decode()


# --- time


def _time_error(text: str, layout: str) -> Mismatch:
    rest, element = text, "Z07:00"
    for pattern, name in _LAYOUT_STEPS:
        match = re.match(pattern, rest, re.ASCII)
        if match is None:
            element = name
            break
        rest = rest[match.end() :]
    else:
        if layout == _MICRO_LAYOUT and not re.match(r"\.\d{6}(?!\d)", rest):
            element = ".000000"
        elif match := re.match(r"(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})(.+)", rest, re.ASCII | re.DOTALL):
            return Mismatch(f'parsing time "{text}": extra text: "{match[1]}"')
    return Mismatch(f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{element}"')


def _out_of_range(error: str) -> str:
    """Which part datetime complained of; it says "day is out of range for month"."""
    return next((part for part in ("day", "month", "hour", "minute", "second") if error.startswith(part)), "day")


def _parse_time(text: str, layout: str) -> datetime:
    match = _TIME.fullmatch(text)
    if match is None or (layout == _MICRO_LAYOUT and len(match[2] or "") != 6):
        raise _time_error(text, layout)
    fraction = (match[2] or "")[:6].ljust(6, "0")
    zone = "+00:00" if match[3] == "Z" else match[3]
    try:
        return datetime.fromisoformat(f"{match[1]}.{fraction}{zone}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        part = _out_of_range(str(error))
        raise Mismatch(f'parsing time "{text}": {part} out of range') from None


def _memoised(canonical: Callable[[str], str]) -> Callable[[str], str]:
    """Remembers short texts only: a cache of texts of any length would hold megabytes that clients sent."""
    remembered = lru_cache(maxsize=4096)(canonical)
    return lambda text: remembered(text) if len(text) <= _MEMOISED_LENGTH else canonical(text)


@_memoised
def _canonical_time(text: str) -> str:
    return _parse_time(text, _TIME_LAYOUT).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


@_memoised
def _canonical_micro_time(text: str) -> str:
    return _parse_time(text, _MICRO_LAYOUT).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _own_text(canonical: Callable[[str], str]) -> Callable[[Any], bool]:
    """A ``clean`` for a type whose canonical text is known: the value is its own canonical form."""

    def clean(value: Any) -> bool:
        if type(value) is not str:
            return False
        try:
            return canonical(value) == value
        except (Mismatch, ValueError):
            return False

    return clean


def _time_converter(canonical: Callable[[str], str]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            raise Mismatch(f"json: cannot unmarshal {describe(value)} into Go value of type string")
        return canonical(value)

    return convert


# --- quantity, int-or-string


@_memoised
def _canonical_quantity(text: str) -> str:
    return quantity.canonical(text)


def _quantity(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise Mismatch(quantity.FORMAT_ERROR)
    text = value.strip() if isinstance(value, str) else value
    try:
        if isinstance(text, bool) or not isinstance(text, str | int | float):
            raise Mismatch(quantity.FORMAT_ERROR)
        return quantity.canonical(text)
    except ValueError as error:
        raise Mismatch(str(error)) from None


def clean_int_or_string(value: Any) -> bool:
    return type(value) is str or clean_int32(value)


def _int_or_string(value: Any) -> Any:
    shown = f" {go_text.show(value)}" if isinstance(value, int | float) and not isinstance(value, bool) else ""
    raise Mismatch(f"json: cannot unmarshal {describe(value)}{shown} into Go value of type int32")


@dataclass(frozen=True, slots=True)
class ScalarType:
    """One leaf type. ``exact``: a Python type whose instances are all clean (checked without a call). ``zero``: what
    Go makes of a null element of a list or map."""

    name: str
    go_type: str
    clean: Callable[[Any], bool]
    convert: Callable[[Any], Any]
    zero: Any
    exact: type | None = None


STRING = ScalarType("string", "string", lambda value: type(value) is str, _string, "", str)
BOOL = ScalarType("bool", "bool", lambda value: type(value) is bool, _bool, False, bool)
INT32 = ScalarType("int32", "int32", clean_int32, _integer, 0)
INT64 = ScalarType("int64", "int64", clean_int64, _integer, 0)
NUMBER = ScalarType("number", "float64", clean_number, _number, 0)
BYTES = ScalarType("bytes", "[]uint8", clean_bytes, _bytes, "")
TIME = ScalarType("time", "v1.Time", _own_text(_canonical_time), _time_converter(_canonical_time), None)
MICRO_TIME = ScalarType(
    "microtime", "v1.MicroTime", _own_text(_canonical_micro_time), _time_converter(_canonical_micro_time), None
)
QUANTITY = ScalarType("quantity", "resource.Quantity", _own_text(_canonical_quantity), _quantity, "0")
INT_OR_STRING = ScalarType("int-or-string", "intstr.IntOrString", clean_int_or_string, _int_or_string, 0)
