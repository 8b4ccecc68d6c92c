"""Lists of resources with their amounts, as ``status.used`` has them: sums, differences, comparisons."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from sampan.api import quantity
from sampan.api.reading import part
from sampan.api.types import Obj

#: resource to quantity; every one parses
Amounts = Mapping[str, str]
NOTHING: Amounts = {}


def read(holder: Obj, key: str) -> dict[str, str]:
    """The list below ``key``; what is no quantity is left out."""
    found: dict[str, str] = {}
    for name, written in part(holder, key).items():
        if type(written) in (str, int):
            try:
                found[name] = quantity.canonical(written)
            except ValueError:
                continue
    return found


def add(left: Amounts, right: Amounts) -> dict[str, str]:
    total = dict(left)
    for name, amount in right.items():
        total[name] = quantity.add(total[name], amount) if name in total else amount
    return total


def subtract(left: Amounts, right: Amounts) -> dict[str, str]:
    """Never below nothing; what only ``right`` has is left out."""
    return {name: _without(amount, right[name]) if name in right else amount for name, amount in left.items()}


def _without(amount: str, less: str) -> str:
    left = quantity.subtract(amount, less)
    return "0" if left.startswith("-") else left


def mask(amounts: Amounts, names: Collection[str]) -> dict[str, str]:
    return {name: amount for name, amount in amounts.items() if name in names}


def without_zeros(amounts: Amounts) -> dict[str, str]:
    return {name: amount for name, amount in amounts.items() if quantity.parse(amount) != 0}


def negative(amounts: Amounts) -> list[str]:
    return sorted(name for name, amount in amounts.items() if quantity.parse(amount) < 0)


def exceeding(amounts: Amounts, limits: Amounts) -> list[str]:
    """The resources of which there is more than the limit."""
    over = (name for name, amount in amounts.items() if name in limits and quantity.compare(amount, limits[name]) > 0)
    return sorted(over)


def show(amounts: Amounts) -> str:
    """``pods=1,services=2``"""
    return ",".join(f"{name}={quantity.canonical(amounts[name])}" for name in sorted(amounts))


def show_names(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
