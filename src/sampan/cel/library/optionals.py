"""Functions of values that may be missing (cel-go OptionalTypes)."""

from __future__ import annotations

from typing import Any, Final

from sampan.cel.errors import EvaluationError
from sampan.cel.functions import Library, function, member, plain
from sampan.cel.types import BOOL, Type, list_of, optional_of, param
from sampan.cel.values import NONE, Duration, Optional, Timestamp

_V: Final = param("V")
_OPTIONAL: Final = optional_of(_V)


def _of_non_zero(value: Any) -> Optional:
    zero = value is None or value == Duration(0) or (not isinstance(value, Timestamp | Duration) and not value)
    return NONE if zero else Optional(value)


def _value(optional: Optional) -> Any:
    if not optional.present:
        raise EvaluationError("optional.none() dereference")
    return optional.value


def _unwrapped(items: list[Any]) -> list[Any]:
    return [item.value for item in items if isinstance(item, Optional) and item.present]


def _first(items: list[Any]) -> Optional:
    return Optional(items[0]) if items else NONE


def _last(items: list[Any]) -> Optional:
    return Optional(items[-1]) if items else NONE


_LIST: Final[list[Type]] = [list_of(_V)]
_LIST_OF_OPTIONALS: Final[list[Type]] = [list_of(_OPTIONAL)]

LIBRARY: Final[Library] = (
    function("optional.of", plain("optional_of", [_V], _OPTIONAL, Optional)),
    function("optional.ofNonZeroValue", plain("optional_ofNonZeroValue", [_V], _OPTIONAL, _of_non_zero)),
    function("optional.none", plain("optional_none", [], _OPTIONAL, lambda: NONE)),
    function("optional.unwrap", plain("optional_unwrap", _LIST_OF_OPTIONALS, list_of(_V), _unwrapped)),
    function("unwrapOpt", member("optional_unwrapOpt", _LIST_OF_OPTIONALS, list_of(_V), _unwrapped)),
    function("value", member("optional_value", [_OPTIONAL], _V, _value)),
    function("hasValue", member("optional_hasValue", [_OPTIONAL], BOOL, lambda optional: optional.present)),
    function(
        "or",
        member("optional_or_optional", [_OPTIONAL, _OPTIONAL], _OPTIONAL, lambda one, two: one if one.present else two),
    ),
    function(
        "orValue",
        member("optional_orValue_value", [_OPTIONAL, _V], _V, lambda one, value: one.value if one.present else value),
    ),
    function("first", member("list_first", _LIST, _OPTIONAL, _first)),
    function("last", member("list_last", _LIST, _OPTIONAL, _last)),
)
