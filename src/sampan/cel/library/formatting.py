"""``text.format(list)``: what the verbs of a format make of values (cel-go ext/formatting.go)."""

from __future__ import annotations

import re
from typing import Any, Final

from sampan.cel.errors import EvaluationError
from sampan.cel.numbers import show_double
from sampan.cel.running import MAX_CHARACTERS
from sampan.cel.times import show_duration, show_timestamp
from sampan.cel.values import Duration, Timestamp, TypeValue, UInt, from_key, type_name

_VERB: Final = re.compile(r"%(?:\.(\d+))?(.?)", re.DOTALL | re.ASCII)
#: Digits after the point that may be asked for.
_MAX_PRECISION: Final = 100
_DEFAULT_PRECISION: Final = 6


def format_text(text: str, values: list[Any]) -> str:
    """Raises EvaluationError."""
    parts: list[str] = []
    at, used, size = 0, 0, 0
    while (percent := text.find("%", at)) >= 0:
        parts.append(text[at:percent])
        match = _VERB.match(text, percent)
        verb = match.group(2) if match is not None else ""
        if match is None or not verb:
            raise EvaluationError("unexpected end of string")
        at = match.end()
        if verb == "%" and match.group(1) is None:
            parts.append("%")
            continue
        if used >= len(values):
            raise EvaluationError(f"index {used} out of range")
        shown = _shown(verb, match.group(1), values[used])
        used += 1
        size += len(shown)
        if size + len(text) > MAX_CHARACTERS:
            raise EvaluationError("text is too long")
        parts.append(shown)
    parts.append(text[at:])
    return "".join(parts)


def _shown(verb: str, digits: str | None, value: Any) -> str:
    precision = _DEFAULT_PRECISION if digits is None else int(digits[:4])
    if precision > _MAX_PRECISION:
        raise EvaluationError(f"precision too large: {digits}")
    if verb == "s":
        return _text(value)
    if verb == "d":
        return _decimal(value)
    if verb in "fe":
        return _floating(verb, precision, value)
    if verb == "b":
        return _binary(value)
    if verb in "xX":
        return _hexadecimal(verb, value)
    if verb == "o":
        return format(_whole(value, "octal"), "o")
    raise EvaluationError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')


def _refused(what: str, value: Any) -> EvaluationError:
    name = {"google.protobuf.Timestamp": "timestamp", "google.protobuf.Duration": "duration"}.get(
        type_name(value), type_name(value)
    )
    return EvaluationError(f"error during formatting: {what}, was given {name}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return {"+Inf": "Infinity", "-Inf": "-Infinity"}.get(show_double(value), show_double(value))
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Timestamp):
        return show_timestamp(value)
    if isinstance(value, Duration):
        return show_duration(value)
    if isinstance(value, TypeValue):
        return value.name
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        entries = sorted((_text(from_key(key)), _text(item)) for key, item in value.items())
        return "{" + ", ".join(f"{key}: {item}" for key, item in entries) + "}"
    kinds = "strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
    raise _refused(f"string clause can only be used on {kinds}", value)


def _decimal(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused("decimal clause can only be used on integers", value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return _text(value)
        raise _refused("decimal clause can only be used on integers", value)
    return str(int(value))


def _floating(verb: str, precision: int, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        what = "fixed-point" if verb == "f" else "scientific"
        raise _refused(f"{what} clause can only be used on doubles", value)
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        return _text(number)
    return format(number, f".{precision}{verb}")


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refused(f"{what} clause can only be used on integers", value)
    return int(value)


def _binary(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if not isinstance(value, int):
        raise _refused("only integers and bools can be formatted as binary", value)
    return format(int(value), "b")


def _hexadecimal(verb: str, value: Any) -> str:
    if isinstance(value, str):
        shown = value.encode().hex()
    elif isinstance(value, bytes):
        shown = value.hex()
    elif isinstance(value, int | UInt) and not isinstance(value, bool):
        shown = format(int(value), "x")
    else:
        raise _refused("only integers, byte buffers, and strings can be formatted as hex", value)
    return shown.upper() if verb == "X" else shown
