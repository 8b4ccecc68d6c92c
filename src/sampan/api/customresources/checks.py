"""Single constraints on a value, compiled to closures: text, numbers, enums. Words of kube-openapi's ``validate``.

A ``Check`` takes the value and where it stands, and gives what is wrong or None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from sampan.api import errors, go_text
from sampan.api.customresources import formats, patterns
from sampan.api.customresources.places import Place, name
from sampan.api.errors import FieldError

Check = Callable[[Any, Place], FieldError | None]


def known_format(name: str, types: tuple[str, ...]) -> str:
    """The format where it means something for values of these types; unknown ones are not there."""
    kind = types[0] if len(types) == 1 else ""
    if kind in ("", "string"):
        return name if formats.normalised(name) in formats.KNOWN else ""
    if kind == "integer":
        return name if name in ("int32", "int64") else ""
    return name if kind == "number" and name in ("float", "double") else ""


# --- enum


def key_of(value: Any) -> Any:
    """The same for values that are the same JSON; ``1`` and ``1.0`` are, ``1`` and ``true`` are not."""
    kind = type(value)
    if kind is str or value is None:
        return value
    if kind is bool:
        return ("bool", value)
    if kind is int or kind is float:
        return ("number", value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def enumerated(values: list[Any] | None) -> tuple[frozenset[Any] | None, tuple[str, ...]]:
    if not values:
        return None, ()
    texts = tuple(value if isinstance(value, str) else orjson.dumps(value).decode() for value in values)
    return frozenset(map(key_of, values)), texts


# --- texts


def of_texts(raw: Mapping[str, Any]) -> tuple[Check, ...]:
    """In the order they are looked at; the first that fails is told."""
    return tuple(_of_texts(raw))


def _of_texts(raw: Mapping[str, Any]) -> Iterator[Check]:
    if (most := raw.get("maxLength")) is not None:
        yield _max_length(most)
    if (least := raw.get("minLength")) is not None:
        yield _min_length(least)
    if pattern := raw.get("pattern"):
        yield _matches(pattern)


def _max_length(most: int) -> Check:
    return lambda text, place: errors.too_long(name(place), most) if len(text) > most else None


def _min_length(least: int) -> Check:
    def check(text: str, place: Place) -> FieldError | None:
        if len(text) >= least:
            return None
        where = name(place)
        return errors.invalid(where, text, f"{where} in body should be at least {least} chars long")

    return check


def _matches(pattern: str) -> Check:
    def check(text: str, place: Place) -> FieldError | None:
        try:
            if patterns.found(pattern, text):
                return None
            shown = pattern
        except patterns.Unusable as unusable:
            shown = f"{pattern}, but {unusable}"
        where = name(place)
        return errors.invalid(where, text, f"{where} in body should match '{shown}'")

    return check


# --- numbers


def of_numbers(raw: Mapping[str, Any]) -> tuple[Check, ...]:
    return tuple(_of_numbers(raw))


def _of_numbers(raw: Mapping[str, Any]) -> Iterator[Check]:
    if (factor := raw.get("multipleOf")) is not None:
        yield _multiple_of(factor)
    if (most := raw.get("maximum")) is not None:
        yield _bound(most, below=True, exclusive=bool(raw.get("exclusiveMaximum")))
    if (least := raw.get("minimum")) is not None:
        yield _bound(least, below=False, exclusive=bool(raw.get("exclusiveMinimum")))


def _multiple_of(factor: float) -> Check:
    def check(value: float, place: Place) -> FieldError | None:
        if factor >= 0 and _is_multiple(value, factor):
            return None
        where, shown = name(place), go_text.show(factor)
        if factor < 0:
            return errors.invalid(where, value, f"factor MultipleOf declared for {where} must be positive: {shown}")
        return errors.invalid(where, value, f"{where} in body should be a multiple of {shown}")

    return check


def _is_multiple(value: float, factor: float) -> bool:
    if factor == 0:
        return value == 0
    if isinstance(value, int) and isinstance(factor, int):
        return value % factor == 0
    quotient = value / factor if factor >= 1 else (1 / factor) * value
    return math.isfinite(quotient) and math.isclose(quotient, round(quotient), rel_tol=1e-9, abs_tol=1e-9)


def _bound(limit: float, *, below: bool, exclusive: bool) -> Check:
    relation = ("less than" if below else "greater than") + ("" if exclusive else " or equal to")
    #: Against an integer upstream compares the integer part of the limit.
    whole = math.trunc(limit) if math.isfinite(limit) else limit

    def check(value: float, place: Place) -> FieldError | None:
        bound = whole if isinstance(value, int) else limit
        beyond = value > bound if below else value < bound
        if not (beyond or (exclusive and value == bound)):
            return None
        where = name(place)
        return errors.invalid(where, value, f"{where} in body should be {relation} {go_text.show(bound)}")

    return check
