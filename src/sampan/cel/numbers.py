"""Numbers as Go writes and reads them."""

from __future__ import annotations

import re
from typing import Final

_DECIMAL: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,6})?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_SPECIAL: Final = re.compile(r"[+-]?(inf|infinity)|nan", re.IGNORECASE)
_MAX_TEXT: Final = 400
#: Go writes larger powers of ten with an exponent.
_PLAIN: Final = 6


def show_double(value: float) -> str:
    """strconv.FormatFloat(value, 'g', -1, 64)."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    digits, _, power = repr(value).partition("e")
    sign = "-" if digits.startswith("-") else ""
    whole, _, fraction = digits.lstrip("-").partition(".")
    fraction = "" if fraction == "0" else fraction
    significant = (whole + fraction).lstrip("0") or "0"
    exponent = int(power or 0) + (len(whole) - 1 if whole != "0" else len(fraction.lstrip("0")) - len(fraction) - 1)
    if value == 0:
        return sign + "0"
    significant = significant.rstrip("0") or "0"
    if -4 <= exponent < _PLAIN:
        return sign + _plain(significant, exponent)
    rest = f".{significant[1:]}" if len(significant) > 1 else ""
    return f"{sign}{significant[0]}{rest}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _plain(digits: str, exponent: int) -> str:
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    if len(digits) <= exponent + 1:
        return digits.ljust(exponent + 1, "0")
    return f"{digits[: exponent + 1]}.{digits[exponent + 1 :]}"


def parse_double(text: str) -> float:
    """Raises ValueError."""
    if len(text) > _MAX_TEXT or not (_DECIMAL.fullmatch(text) or _SPECIAL.fullmatch(text)):
        raise ValueError(text)
    value = float(text)
    if value in (float("inf"), float("-inf")) and not _SPECIAL.fullmatch(text):
        raise ValueError(text)
    return value


def parse_integer(text: str) -> int:
    """Raises ValueError."""
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)
