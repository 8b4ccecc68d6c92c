"""Lists of resources with their amounts, as ``status.used`` has them: sums, differences, comparisons.

Amounts are whole numbers of the smallest unit that a quantity has, so that nothing is lost and adding costs little.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from sampan.api import quantity
from sampan.api.reading import part
from sampan.api.types import Obj

_NANO: Final = 10**9


class Amount(NamedTuple):
    """``notation`` is how it is written again."""

    nanos: int
    notation: quantity.Format = "DecimalSI"


Amounts = Mapping[str, Amount]
NOTHING: Amounts = {}
ZERO: Final = Amount(0)
ONE: Final = Amount(_NANO)


def whole(number: int, notation: quantity.Format = "DecimalSI") -> Amount:
    return Amount(number * _NANO, notation)


@lru_cache(maxsize=4096)
def parse(written: str | int) -> Amount:
    """Raises ValueError."""
    value, notation = quantity.parse_with_format(str(written))
    return Amount(int(value * _NANO), notation)


def text(amount: Amount) -> str:
    return quantity.format_quantity(Fraction(amount.nanos, _NANO), amount.notation)


def read(holder: Obj, key: str) -> dict[str, Amount]:
    """The list below ``key``; what is no quantity is left out."""
    found: dict[str, Amount] = {}
    for name, written in part(holder, key).items():
        if type(written) in (str, int):
            try:
                found[name] = parse(written)
            except ValueError:
                continue
    return found


def write(amounts: Amounts) -> dict[str, str]:
    """As a status holds them, in the order of their names."""
    return {name: text(amounts[name]) for name in sorted(amounts)}


def add(left: Amounts, right: Amounts) -> dict[str, Amount]:
    """In the notation of ``left``, where that is anything."""
    total = dict(left)
    for name, amount in right.items():
        before = total.get(name)
        if before is None or not before.nanos:
            total[name] = amount
        else:
            total[name] = Amount(before.nanos + amount.nanos, before.notation)
    return total


def subtract(left: Amounts, right: Amounts) -> dict[str, Amount]:
    """Never below nothing; what only ``right`` has is left out."""
    return {
        name: Amount(max(0, amount.nanos - right[name].nanos), amount.notation) if name in right else amount
        for name, amount in left.items()
    }


def mask(amounts: Amounts, names: Collection[str]) -> dict[str, Amount]:
    return {name: amount for name, amount in amounts.items() if name in names}


def same(left: Amounts, right: Amounts) -> bool:
    """Whether they are of the same resources and sizes, however written."""
    return left.keys() == right.keys() and all(amount.nanos == right[name].nanos for name, amount in left.items())


def without_zeros(amounts: Amounts) -> dict[str, Amount]:
    return {name: amount for name, amount in amounts.items() if amount.nanos}


def negative(amounts: Amounts) -> list[str]:
    return sorted(name for name, amount in amounts.items() if amount.nanos < 0)


def exceeding(amounts: Amounts, limits: Amounts) -> list[str]:
    """The resources of which there is more than the limit."""
    return sorted(name for name, amount in amounts.items() if name in limits and amount.nanos > limits[name].nanos)


def show(amounts: Amounts) -> str:
    """``pods=1,services=2``"""
    return ",".join(f"{name}={written}" for name, written in write(amounts).items())


def show_names(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
