"""How much of a device a claim may take, where several share it. Spec: resource/validation (v1.37)."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

from sampan.api import errors, quantity
from sampan.api.groups.resource import naming
from sampan.api.types import Obj
from sampan.api.validation.common import Errors

_MOST_VALUES = 10


def exclusive(capacity: Obj, path: str) -> Errors:
    if capacity.get("requestPolicy") is None:
        return []
    return [errors.forbidden(f"{path}.requestPolicy", "allowMultipleAllocations must be true")]


def shared(capacity: Obj, path: str) -> Errors:
    policy, where = capacity.get("requestPolicy"), f"{path}.requestPolicy"
    if policy is None:
        return []
    values, span = policy.get("validValues") or [], policy.get("validRange")
    if values and span is not None:
        text = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        return [errors.forbidden(where, text)]
    if not values and span is None:
        return []
    key, judge = ("validValues", _values) if values else ("validRange", _range)
    if policy.get("default") is None:
        return [errors.required(f"{where}.default", f"required when {key} is defined")]
    return judge(policy["default"], capacity.get("value") or "0", policy[key], f"{where}.{key}")


def _shown(amount: Any) -> str:
    return quantity.canonical(amount)


def _less(one: Any, other: Any) -> bool:
    return quantity.parse(one) < quantity.parse(other)


def _values(default: Any, whole: Any, values: Any, path: str) -> Errors:
    found = [
        errors.invalid(f"{path}[{index + 1}]", _shown(after), "values must be sorted in ascending order")
        for index, (before, after) in enumerate(pairwise(values))
        if _less(after, before)
    ]

    def within(value: Any, at: str) -> Errors:
        text = f"option is larger than capacity value: {_shown(whole)}"
        return [errors.invalid(at, _shown(value), text)] if _less(whole, value) else []

    found += naming.each(values, _MOST_VALUES, path, within, lambda value: str(_whole(value)))
    if not any(quantity.parse(value) == quantity.parse(default) for value in values):
        text = "default value is not valid according to the requestPolicy"
        found.append(errors.invalid(path, _shown(default), text))
    return found


def _range(default: Any, whole: Any, span: Any, path: str) -> Errors:
    low, high, step = span.get("min"), span.get("max"), span.get("step")
    if low is None:
        return [errors.required(f"{path}.min", "required when validRange is defined")]
    found: Errors = []

    def check(fault: bool, key: str, value: Any, text: str, other: Any) -> None:
        if fault:
            found.append(errors.invalid(f"{path}.{key}", _shown(value), f"{text}: {_shown(other)}"))

    check(_less(whole, low), "min", low, "min is larger than capacity value", whole)
    check(_less(default, low), "min", default, "default is less than min", low)
    if high is not None:
        check(_less(high, low), "max", low, "min is larger than max", high)
        check(_less(whole, high), "max", high, "max is larger than capacity value", whole)
        check(_less(high, default), "max", default, "default is more than max", high)
    if step is not None:
        one = quantity.parse(low) + quantity.parse(step)
        if one > quantity.parse(whole):
            text = f"one step {_sum(one)} is larger than capacity value: {_shown(whole)}"
            found.append(errors.invalid(f"{path}.step", _shown(step), text))
        for value in (default, *([high] if high is not None else [])):
            found += _on_step(value, low, step, f"{path}.step")
    return found


def _sum(amount: Fraction) -> str:
    return str(int(amount)) if amount.denominator == 1 else str(float(amount))


def _on_step(value: Any, low: Any, step: Any, path: str) -> Errors:
    """In whole units, rounded up; upstream divides by a step of zero, and here nothing is on it."""
    size = _whole(step)
    if size and (_whole(value) - _whole(low)) % size == 0:
        return []
    text = f"value is not a multiple of a given step ({_shown(step)}) from ({_shown(low)})"
    return [errors.invalid(path, _shown(value), text)]


def _whole(amount: Any) -> int:
    return -int(-quantity.parse(amount) // 1)
