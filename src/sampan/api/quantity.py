"""Quantities of resources: ``500m``, ``1.5Gi``, ``2e3`` (apimachinery ``api/resource``), exactly.

Used by defaults, validation, quota, the scheduler and the node. Values are ``Fraction``s; there is no floating point
anywhere. Upstream keeps at most nano precision and rounds what is finer up, away from zero; so does this.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Literal

Format = Literal["DecimalSI", "BinarySI", "DecimalExponent"]

FORMAT_ERROR = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

_PATTERN = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(|[numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)", re.ASCII)

_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIXES = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIXES = {power: suffix for suffix, power in _BINARY.items()}

_NANO = Fraction(1, 10**9)
#: Upstream caps values here, so that they fit an int64 in every unit it uses.
_MAX = Fraction(2**63 - 1)


#: Texts that are remembered, and texts that are read at all: no quantity has so many digits.
_MEMOISED_LENGTH = 48
_MAX_LENGTH = 1000


def _round_up(value: Fraction, unit: Fraction) -> Fraction:
    """To a multiple of ``unit``, away from zero."""
    steps = value / unit
    if steps.denominator == 1:
        return value
    whole = -(-abs(steps.numerator) // steps.denominator)
    return (whole if value > 0 else -whole) * unit


def parse_with_format(text: str) -> tuple[Fraction, Format]:
    """The exact value and the notation it was written in. Raises ValueError with upstream's text."""
    return _remembered(text) if len(text) <= _MEMOISED_LENGTH else _parse(text)


def _parse(text: str) -> tuple[Fraction, Format]:
    match = _PATTERN.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None:
        raise ValueError(FORMAT_ERROR)
    sign, number, suffix = match.groups()
    value = Fraction(number)
    kind: Format = "DecimalSI"
    if suffix in _BINARY:
        value *= 2 ** _BINARY[suffix]
        kind = "BinarySI"
    elif suffix in _DECIMAL:
        value *= Fraction(10) ** _DECIMAL[suffix]
    else:
        exponent = int(suffix[1:])
        if abs(exponent) > 1000:  # no such quantity exists; do not build a number of a million digits
            raise ValueError(FORMAT_ERROR)
        value *= Fraction(10) ** exponent
        kind = "DecimalExponent"
    value = min(_round_up(value, _NANO), _MAX)
    return (-value if sign == "-" else value), kind


_remembered = lru_cache(maxsize=4096)(_parse)


def parse(quantity: str | int | float) -> Fraction:
    """The exact value. Numbers are taken as JSON would show them. Raises ValueError."""
    if isinstance(quantity, int):
        return Fraction(quantity)
    return parse_with_format(str(quantity))[0]


def value(quantity: str | int | float) -> int:
    """Whole units, rounded up (``Quantity.Value``): bytes of memory, pods."""
    return int(_round_up(parse(quantity), Fraction(1)))


def millis(quantity: str | int | float) -> int:
    """Thousandths, rounded up (``Quantity.MilliValue``): millicores."""
    return int(_round_up(parse(quantity), Fraction(1, 1000)) * 1000)


def format_quantity(amount: Fraction | int, kind: Format = "DecimalSI") -> str:
    """The canonical text: no fraction, the largest suffix that keeps the value exact.

    ``BinarySI`` falls back to ``DecimalSI`` for values below 1024 and for those that are not whole, as upstream.
    """
    amount = _round_up(Fraction(amount), _NANO)
    if amount == 0:
        return "0"
    if kind == "BinarySI" and abs(amount) >= 1024 and amount.denominator == 1:
        return _format_binary(amount.numerator)
    exponent = -9
    scaled = int(amount * 10**9)
    while scaled % 1000 == 0 and exponent < 18:
        scaled //= 1000
        exponent += 3
    if kind == "DecimalExponent":
        return f"{scaled}e{exponent}" if exponent else str(scaled)
    return f"{scaled}{_DECIMAL_SUFFIXES[exponent]}"


def _format_binary(whole: int) -> str:
    power = 0
    while whole % 1024 == 0 and power < 60:
        whole //= 1024
        power += 10
    return f"{whole}{_BINARY_SUFFIXES.get(power, '')}"


def canonical(quantity: str | int | float) -> str:
    """The form in which the API stores and shows it: ``0.5`` is ``500m``, ``1024Mi`` is ``1Gi``."""
    if isinstance(quantity, int):
        return format_quantity(quantity)
    text = str(quantity)
    return _canonical_of(text) if len(text) <= _MEMOISED_LENGTH else _canonical(text)


def _canonical(text: str) -> str:
    return format_quantity(*parse_with_format(text))


_canonical_of = lru_cache(maxsize=4096)(_canonical)


def add(left: str | int, right: str | int) -> str:
    """The sum in the notation of ``left`` (of ``right``, when ``left`` is zero)."""
    left_value, left_kind = parse_with_format(str(left))
    right_value, right_kind = parse_with_format(str(right))
    return format_quantity(left_value + right_value, left_kind if left_value else right_kind)


def subtract(left: str | int, right: str | int) -> str:
    left_value, left_kind = parse_with_format(str(left))
    right_value, right_kind = parse_with_format(str(right))
    return format_quantity(left_value - right_value, left_kind if left_value else right_kind)


def compare(left: str | int, right: str | int) -> int:
    """-1, 0 or 1."""
    a, b = parse(left), parse(right)
    return (a > b) - (a < b)
