"""Estimates of single calls: what cel-go and Kubernetes' libraries expect of each, by the sizes of the operands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sampan.cel.types import Type
from sampan.records import dataclass

MOST: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the most of something; nothing is more than ``MOST``."""

    least: int
    most: int

    def __add__(self, other: Range) -> Range:
        return Range(min(MOST, self.least + other.least), min(MOST, self.most + other.most))

    def __mul__(self, other: Range) -> Range:
        return Range(min(MOST, self.least * other.least), min(MOST, self.most * other.most))

    def __or__(self, other: Range) -> Range:
        """What covers both."""
        return Range(min(self.least, other.least), max(self.most, other.most))


def fixed(value: int) -> Range:
    return Range(value, value)


UNKNOWN: Final = Range(0, MOST)


def scaled(size: Range, tenths: int = 1) -> Range:
    """What it costs to go through something of the size: a tenth for each."""
    return Range(_part(size.least * tenths, 10), _part(size.most * tenths, 10))


def _part(value: int, parts: int) -> int:
    return min(MOST, -(-value // parts))


@dataclass(frozen=True, slots=True)
class Operand:
    """``item``: of what is in a container; ``literal``: what the operand is, if the expression says it."""

    type: Type
    size: Range | None
    item: Operand | None = None
    literal: Any = None

    @property
    def known(self) -> Range:
        return self.size or UNKNOWN


@dataclass(frozen=True, slots=True)
class CallEstimate:
    cost: Range
    size: Range | None = None


Target = Operand | None
Args = Sequence[Operand]
Estimator = Callable[[str, Target, Args], CallEstimate]

_NOMINAL: Final = CallEstimate(fixed(1))

#: What folds cost: the accumulator made and the result read; and each turn beside its step.
FOLD_START: Final = {
    "all": 1, "exists": 1, "existsOne": 2, "filter": 11, "map": 11, "transformList": 11, "transformMap": 31,
    "transformMapEntry": 31,
}  # fmt: skip
FOLD_TURN: Final = {
    "all": 3, "exists": 4, "existsOne": 2, "filter": 13, "map": 12, "transformList": 12, "transformMap": 3,
    "transformMapEntry": 2,
}  # fmt: skip


def of_call(function: str, overload: str, target: Target, args: Args) -> CallEstimate:
    """By the function's name, as Kubernetes estimates; else by the overload, as cel-go does."""
    estimator = _BY_FUNCTION.get(function)
    found = estimator(overload, target, args) if estimator is not None else None
    if found is not None:
        return found
    by_overload = _BY_OVERLOAD.get(overload)
    return by_overload(overload, target, args) if by_overload is not None else _NOMINAL


def _nominal(overload: str, target: Target, args: Args) -> CallEstimate:
    return _NOMINAL


def _check(overload: str, target: Target, args: Args) -> CallEstimate:
    return CallEstimate(fixed(350_000))


def _selector(overload: str, target: Target, args: Args) -> CallEstimate:
    return CallEstimate(selector_cost(args[0].known))


def selector_cost(length: Range) -> Range:
    """To parse a selector: its text, and a map and a list for each requirement of at least eight characters."""
    requirements = Range(_part(length.least, 8), _part(length.most, 8))
    return fixed(10) + scaled(length) + requirements * fixed(40)


def _elements(overload: str, target: Target, args: Args) -> CallEstimate | None:
    if target is None:
        return None
    if target.item is None:  # the text of indexOf
        return CallEstimate(scaled(target.known))
    each = fixed(1)
    if target.item.type.kind in ("string", "bytes"):
        each += scaled(target.item.known)
    return CallEstimate(target.known * each)


def _argument(overload: str, target: Target, args: Args) -> CallEstimate | None:
    """Goes through its one argument, and gives something as large."""
    return CallEstimate(scaled(args[0].known), args[0].known) if len(args) == 1 else None


def _target(overload: str, target: Target, args: Args) -> CallEstimate | None:
    return CallEstimate(scaled(target.known), target.known) if target is not None else None


def _replace(overload: str, target: Target, args: Args) -> CallEstimate | None:
    if target is None or len(args) < 2:
        return None
    text, old, new = target.known, args[0].known, args[1].known
    most = _replaced(text.most, old.least, new.most, longer=new.most > old.least)
    least = _replaced(text.least, old.most, new.least, longer=old.most > new.least)
    return CallEstimate(scaled(text, 2), Range(least, most))


def _replaced(text: int, old: int, new: int, *, longer: bool) -> int:
    """The size of a text after replacements of that size; an empty one comes between all characters."""
    if old == 0:
        return min(MOST, min(MOST, text + 1) * new + text)
    return min(MOST, -(-text // old) * new) if longer else text


def _split(overload: str, target: Target, args: Args) -> CallEstimate | None:
    if target is None:
        return None
    most = target.known.most
    if len(args) > 1 and type(args[1].literal) is int:
        most = args[1].literal % 2**64
    return CallEstimate(scaled(target.known, 2), Range(0, most))


def _join(overload: str, target: Target, args: Args) -> CallEstimate | None:
    if target is None:
        return None
    count = target.known
    size = count * target.item.known if target.item is not None else fixed(0)
    if args:
        size += args[0].known * Range(max(0, count.least - 1), max(0, count.most - 1))
    return CallEstimate(scaled(size), size)


def _find(overload: str, target: Target, args: Args) -> CallEstimate | None:
    if target is None or not args:
        return None
    return CallEstimate(_pattern(target.known, args[0].known), Range(0, target.known.most))


def _pattern(text: Range, pattern: Range) -> Range:
    return scaled(text + fixed(1)) * Range(_part(pattern.least, 4), _part(pattern.most, 4))


def _parsed(overload: str, target: Target, args: Args) -> CallEstimate | None:
    """Kubernetes charges for reading its texts only in calls of members; a plain call falls back on 1."""
    return CallEstimate(scaled(args[0].known)) if target is not None and args else None


def _ip(overload: str, target: Target, args: Args) -> CallEstimate | None:
    return _NOMINAL if target is not None and not args else _parsed(overload, target, args)


def _contains_ip(overload: str, target: Target, args: Args) -> CallEstimate:
    cost = scaled(Range(8, 32))
    return CallEstimate(cost + scaled(args[0].known) if overload.endswith("string") else cost)


def _contains_cidr(overload: str, target: Target, args: Args) -> CallEstimate:
    cost = scaled(Range(8, 32)) + scaled(Range(4, 16)) + fixed(1)
    return CallEstimate(cost + scaled(args[0].known) if overload.endswith("string") else cost)


#: The longest pattern behind a named format.
MAX_FORMAT_PATTERN: Final = 128


def _validate(overload: str, target: Target, args: Args) -> CallEstimate:
    cost = scaled(args[0].known)
    return CallEstimate(cost * fixed(MAX_FORMAT_PATTERN // 4))


def _equals(overload: str, target: Target, args: Args) -> CallEstimate | None:
    one, other = args
    if one.type.kind == "opaque" and one.type == other.type:
        if one.type.name.endswith("NamedFormat"):
            return CallEstimate(scaled(Range(1, 64)))
        return _NOMINAL
    return None


def _bytes(overload: str, target: Target, args: Args) -> CallEstimate:
    size = args[0].known
    return CallEstimate(scaled(size), Range(size.least, min(MOST, size.most * 4)))


def _text(overload: str, target: Target, args: Args) -> CallEstimate:
    size = args[0].known
    return CallEstimate(scaled(size), Range(size.least // 4, size.most))


def _quote(overload: str, target: Target, args: Args) -> CallEstimate:
    size = args[0].known
    return CallEstimate(scaled(size), Range(size.least + 2, min(MOST, size.most * 2 + 2)))


def _format(overload: str, target: Target, args: Args) -> CallEstimate:
    return CallEstimate(scaled(target.known)) if target is not None else _NOMINAL


def _affix(overload: str, target: Target, args: Args) -> CallEstimate:
    return CallEstimate(scaled(args[0].known))


def _in_list(overload: str, target: Target, args: Args) -> CallEstimate:
    return CallEstimate(args[1].known)


def _matches(overload: str, target: Target, args: Args) -> CallEstimate:
    return CallEstimate(_pattern(target.known, args[0].known)) if target is not None else _NOMINAL


def _contains(overload: str, target: Target, args: Args) -> CallEstimate:
    return CallEstimate(scaled(target.known) * scaled(args[0].known)) if target is not None else _NOMINAL


def _add(overload: str, target: Target, args: Args) -> CallEstimate:
    size = args[0].known + args[1].known
    return CallEstimate(fixed(1) if overload == "add_list" else scaled(size), size)


def _compare(overload: str, target: Target, args: Args) -> CallEstimate:
    most = min(args[0].known.most, args[1].known.most)
    return CallEstimate(scaled(Range(1 if most else 0, most)))


def _each(names: str, estimator: Callable[..., CallEstimate | None]) -> dict[str, Any]:
    return dict.fromkeys(names.split(), estimator)


_BY_FUNCTION: Final[dict[str, Callable[[str, Target, Args], CallEstimate | None]]] = {
    "check": _check,
    **_each("serviceAccount path group resource subresource namespace name allowed reason error errored", _nominal),
    **_each("fieldSelector labelSelector", _selector),
    **_each("isSorted sum max min indexOf lastIndexOf", _elements),
    **_each("url jsonpatch.escapeKey", _argument),
    **_each("lowerAscii upperAscii substring trim", _target),
    "replace": _replace,
    "split": _split,
    "join": _join,
    **_each("find findAll", _find),
    **_each("cidr isIP isCIDR quantity isQuantity semver isSemver", _parsed),
    "ip": _ip,
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    **_each("masked prefixLength family isUnspecified isLoopback isLinkLocalMulticast isLinkLocalUnicast", _nominal),
    **_each("isGlobalUnicast format.named sign asInteger isInteger asApproximateFloat isGreaterThan", _nominal),
    **_each("isLessThan compareTo add sub major minor patch", _nominal),
    **_each("getScheme getHostname getHost getPort getEscapedPath getQuery", _nominal),
    "validate": _validate,
    "_==_": _equals,
}

_COMPARED: Final = " ".join(f"{verb}_{kind}" for verb in ("less", "less_equals", "greater", "greater_equals")
                            for kind in ("string", "bytes"))  # fmt: skip

_BY_OVERLOAD: Final[dict[str, Estimator]] = {
    "string_to_bytes": _bytes,
    "bytes_to_string": _text,
    "strings_quote": _quote,
    "string_format": _format,
    **_each("starts_with_string ends_with_string", _affix),
    "in_list": _in_list,
    "matches_string": _matches,
    "contains_string": _contains,
    **_each("add_string add_bytes add_list", _add),
    **_each(f"equals not_equals {_COMPARED}", _compare),
}
