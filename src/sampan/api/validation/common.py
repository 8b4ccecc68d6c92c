"""Checks of single values: numbers, enums, names, label selectors, percentages, immutability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan.api import errors, names, quantity
from sampan.api.errors import FieldError
from sampan.api.names import NameCheck
from sampan.api.types import Obj

Errors = list[FieldError]

NON_NEGATIVE = "must be greater than or equal to 0"
IMMUTABLE = "field is immutable"


def non_negative(value: int | None, path: str) -> Errors:
    return [errors.invalid(path, value, NON_NEGATIVE)] if value is not None and value < 0 else []


def positive(value: int | None, path: str) -> Errors:
    return [errors.invalid(path, value, "must be greater than 0")] if value is not None and value <= 0 else []


def in_range(value: int | None, low: int, high: int, path: str) -> Errors:
    if value is None or low <= value <= high:
        return []
    return [errors.invalid(path, value, f"must be between {low} and {high}, inclusive")]


def named(check: NameCheck, value: str, path: str) -> Errors:
    return [errors.invalid(path, value, text) for text in check(value)]


def needed(obj: Mapping[str, Any], path: str, *keys: str) -> Errors:
    """Required fields that are absent, or hold nothing."""
    return [errors.required(f"{path}.{key}") for key in keys if _hollow(obj.get(key))]


def _hollow(value: Any) -> bool:
    """Zero, or an object in which all is: what is written of a struct that nobody filled."""
    return all(map(_hollow, value.values())) if isinstance(value, dict) else not value


def missing(obj: Mapping[str, Any], *keys: str) -> Errors:
    """The same for fields of the object itself."""
    return [errors.required(key) for key in keys if _hollow(obj.get(key))]


def one_of(value: str | None, supported: Sequence[str], path: str, *, must: bool = False) -> Errors:
    """An enum. ``must``: an absent value is a fault too."""
    if not value:
        return [errors.required(path)] if must else []
    return [] if value in supported else [errors.not_supported(path, value, supported)]


def in_list(value: str | None, supported: Sequence[str], path: str) -> Errors:
    """An enum of which an empty value is a fault like any other; None: not told."""
    return [] if value is None or value in supported else [errors.not_supported(path, value, supported)]


def immutable_value(new: Any, old: Any, path: str) -> Errors:
    """As ``immutable``, where nothing and zero are different values."""
    return [] if new == old else [errors.invalid(path, new, IMMUTABLE)]


def immutable(new: Any, old: Any, path: str) -> Errors:
    return [] if (new or None) == (old or None) else [errors.invalid(path, new, IMMUTABLE)]


def port(value: int, path: str) -> Errors:
    return [errors.invalid(path, value, text) for text in names.port_number(value)]


def port_or_name(value: int | str | None, path: str) -> Errors:
    if isinstance(value, int):
        return port(value, path)
    return named(names.port_name, value or "", path)


def quantity_value(value: str | int, path: str) -> Errors:
    """A quantity that is not negative."""
    if quantity.parse(value) < 0:
        return [errors.invalid(path, quantity.canonical(value), NON_NEGATIVE)]
    return []


def int_or_percent(value: int | str | None, path: str) -> Errors:
    """Not negative, or a percentage (intstr)."""
    if isinstance(value, int):
        return non_negative(value, path)
    return named(names.percent, value or "", path)


#: The digits of an int64, and the sign.
_PERCENT_LENGTH = 20


def percent_of(value: int | str | None) -> int | None:
    """The number of ``"25%"``; None for anything else, and for a number that no int64 holds."""
    if not isinstance(value, str) or names.percent(value) or len(value) > _PERCENT_LENGTH:
        return None
    return int(value[:-1])


def not_more_than_100_percent(value: int | str | None, path: str) -> Errors:
    percent = percent_of(value)
    if percent is not None and percent > 100:
        return [errors.invalid(path, value, "must not be greater than 100%")]
    return []


def no_backsteps(value: str, path: str) -> Errors:
    return [errors.invalid(path, value, "must not contain '..'")] if ".." in value and ".." in value.split("/") else []


def non_absolute_descending(value: str, path: str) -> Errors:
    """A relative path that does not climb: subPath, items' paths."""
    found = [errors.invalid(path, value, "must be a relative path")] if value.startswith("/") else []
    return found + no_backsteps(value, path)


def local_path(value: str, path: str) -> Errors:
    """A path inside a volume: relative, does not climb, and does not clash with the writer's own ``..data``."""
    found = non_absolute_descending(value, path)
    if value.startswith("..") and not value.startswith("../"):
        found.append(errors.invalid(path, value, "must not start with '..'"))
    return found


def label_selector(selector: Obj | None, path: str, *, any_value: bool = False) -> Errors:
    """``any_value``: also values in expressions that no label has."""
    if selector is None:
        return []
    found: Errors = []
    for key, value in (selector.get("matchLabels") or {}).items():
        found += named(names.qualified_name, key, f"{path}.matchLabels")
        found += [errors.invalid(f"{path}.matchLabels", value, text) for text in names.label_value(value)]
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        found += _selector_expression(expression, f"{path}.matchExpressions[{index}]", any_value=any_value)
    return found


def _selector_expression(expression: Obj, path: str, *, any_value: bool) -> Errors:
    found: Errors = []
    values = expression.get("values") or []
    operator = expression.get("operator", "")
    if operator in ("In", "NotIn"):
        if not values:
            found.append(errors.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(errors.forbidden(f"{path}.values", text))
    else:
        found.append(errors.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    found += named(names.qualified_name, expression.get("key", ""), f"{path}.key")
    for index, value in enumerate(() if any_value else values):
        found += named(names.label_value, value, f"{path}.values[{index}]")
    return found


def selector_is_empty(selector: Obj | None) -> bool:
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def changed_paths(new: Any, old: Any, path: str) -> list[str]:
    """The deepest paths at which two values differ: what a refusal names."""
    if isinstance(new, dict) and isinstance(old, dict):
        found: list[str] = []
        for key in dict.fromkeys((*old, *new)):
            found += changed_paths(new.get(key), old.get(key), f"{path}.{key}")
        return found
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return [p for i, (a, b) in enumerate(zip(new, old, strict=True)) for p in changed_paths(a, b, f"{path}[{i}]")]
    return [] if new == old else [path]
