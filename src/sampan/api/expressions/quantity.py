"""Quantities in expressions: ``quantity("1Gi").isGreaterThan(quantity("500Mi"))``."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from sampan.api.quantity import parse
from sampan.cel.costs import slow, traversal
from sampan.cel.errors import EvaluationError
from sampan.cel.functions import Library, function, member, plain
from sampan.cel.types import BOOL, DOUBLE, INT, STRING, opaque
from sampan.cel.values import INT_MAX, INT_MIN, Opaque
from sampan.records import dataclass

QUANTITY: Final = opaque("kubernetes.Quantity")


@dataclass(frozen=True, slots=True)
class Quantity(Opaque):
    type = QUANTITY
    amount: Fraction

    def plus(self, other: Quantity | int) -> Quantity:
        return _bounded(self.amount + (other if isinstance(other, int) else other.amount))

    def minus(self, other: Quantity | int) -> Quantity:
        return _bounded(self.amount - (other if isinstance(other, int) else other.amount))


def _bounded(amount: Fraction) -> Quantity:
    """Sums of sums must not grow for ever; upstream's do not fit its arithmetic either."""
    if abs(amount) >= 2**200:
        raise EvaluationError("quantity overflow")
    return Quantity(amount)


def _parse(text: str) -> Quantity:
    try:
        return Quantity(parse(text))
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def _is_quantity(text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _is_integer(quantity: Quantity) -> bool:
    return quantity.amount.denominator == 1 and INT_MIN <= quantity.amount <= INT_MAX


def _as_integer(quantity: Quantity) -> int:
    if not _is_integer(quantity):
        raise EvaluationError("cannot convert value to integer")
    return int(quantity.amount)


def _sign(quantity: Quantity) -> int:
    return (quantity.amount > 0) - (quantity.amount < 0)


def _compare(one: Quantity, other: Quantity) -> int:
    return (one.amount > other.amount) - (one.amount < other.amount)


LIBRARY: Final[Library] = (
    function("quantity", plain("string_to_quantity", [STRING], QUANTITY, _parse, slow(traversal()))),
    function("isQuantity", plain("is_quantity_string", [STRING], BOOL, _is_quantity, slow(traversal()))),
    function(
        "sign",
        member("quantity_sign", [QUANTITY], INT, _sign),
        plain("quantity_sign", [QUANTITY], INT, _sign),
    ),
    function(
        "isGreaterThan",
        member("quantity_is_greater_than", [QUANTITY, QUANTITY], BOOL, lambda a, b: a.amount > b.amount),
    ),
    function(
        "isLessThan", member("quantity_is_less_than", [QUANTITY, QUANTITY], BOOL, lambda a, b: a.amount < b.amount)
    ),
    function("compareTo", member("quantity_compare_to", [QUANTITY, QUANTITY], INT, _compare)),
    function("asApproximateFloat", member("quantity_get_float", [QUANTITY], DOUBLE, lambda q: float(q.amount))),
    function("asInteger", member("quantity_get_int", [QUANTITY], INT, _as_integer)),
    function("isInteger", member("quantity_is_integer", [QUANTITY], BOOL, _is_integer)),
    function(
        "add",
        member("quantity_add", [QUANTITY, QUANTITY], QUANTITY, Quantity.plus),
        member("quantity_add_int", [QUANTITY, INT], QUANTITY, Quantity.plus),
    ),
    function(
        "sub",
        member("quantity_sub", [QUANTITY, QUANTITY], QUANTITY, Quantity.minus),
        member("quantity_sub_int", [QUANTITY, INT], QUANTITY, Quantity.minus),
    ),
)
