"""The functions that every expression has (cel-spec, Standard Definitions).

Operators are declared here for the checker; ``calls`` has what they do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sampan.cel.costs import matching, searching, slow, traversal
from sampan.cel.errors import EvaluationError
from sampan.cel.functions import Function, Library, Overload, function, member, plain
from sampan.cel.numbers import parse_double, parse_integer, show_double
from sampan.cel.operators import integer, timestamp, unsigned
from sampan.cel.patterns import BadPattern, compiled
from sampan.cel.times import PARTS, parse_duration, parse_timestamp, part_of, show_duration, show_timestamp
from sampan.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    map_of,
    optional_of,
    param,
    type_of,
)
from sampan.cel.values import Duration, TypeValue, UInt, type_name

_A: Final = param("A")
_B: Final = param("B")
_LIST: Final = list_of(_A)
_MAP: Final = map_of(_A, _B)


def _operator(*args: Any) -> Any:
    raise AssertionError("operators are compiled by calls.operator")


def _declare(name: str, *signatures: tuple[str, tuple[Type, ...], Type]) -> Function:
    return Function(name, tuple(Overload(id_, args, result, _operator) for id_, args, result in signatures))


def _numeric(verb: str, *kinds: Type) -> tuple[tuple[str, tuple[Type, ...], Type], ...]:
    return tuple((f"{verb}_{kind}", (kind, kind), kind) for kind in kinds)


def _ordered(name: str, verb: str) -> Function:
    same = (BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION)
    mixed = ((INT, UINT), (INT, DOUBLE), (UINT, INT), (UINT, DOUBLE), (DOUBLE, INT), (DOUBLE, UINT))
    return _declare(
        name,
        *((f"{verb}_{kind}", (kind, kind), BOOL) for kind in same),
        *((f"{verb}_{one}_{other}", (one, other), BOOL) for one, other in mixed),
    )


OPERATORS: Final[Library] = (
    _declare("_?_:_", ("conditional", (BOOL, _A, _A), _A)),
    _declare("!_", ("logical_not", (BOOL,), BOOL)),
    _declare("-_", ("negate_int", (INT,), INT), ("negate_double", (DOUBLE,), DOUBLE)),
    _declare(
        "_+_",
        *_numeric("add", BYTES, DOUBLE, INT, STRING, UINT),
        ("add_list", (_LIST, _LIST), _LIST),
        ("add_duration", (DURATION, DURATION), DURATION),
        ("add_duration_timestamp", (DURATION, TIMESTAMP), TIMESTAMP),
        ("add_timestamp_duration", (TIMESTAMP, DURATION), TIMESTAMP),
    ),
    _declare(
        "_-_",
        *_numeric("subtract", DOUBLE, INT, UINT),
        ("subtract_duration", (DURATION, DURATION), DURATION),
        ("subtract_timestamp_duration", (TIMESTAMP, DURATION), TIMESTAMP),
        ("subtract_timestamp", (TIMESTAMP, TIMESTAMP), DURATION),
    ),
    _declare("_*_", *_numeric("multiply", DOUBLE, INT, UINT)),
    _declare("_/_", *_numeric("divide", DOUBLE, INT, UINT)),
    _declare("_%_", *_numeric("modulo", INT, UINT)),
    _declare("_==_", ("equals", (_A, _A), BOOL)),
    _declare("_!=_", ("not_equals", (_A, _A), BOOL)),
    _ordered("_<_", "less"),
    _ordered("_<=_", "less_equals"),
    _ordered("_>_", "greater"),
    _ordered("_>=_", "greater_equals"),
    _declare("@in", ("in_list", (_A, _LIST), BOOL), ("in_map", (_A, _MAP), BOOL)),
    _declare(
        "_[_]",
        ("index_list", (_LIST, INT), _A),
        ("index_map", (_MAP, _A), _B),
        ("optional_list_index_int", (optional_of(_LIST), INT), optional_of(_A)),
        ("optional_map_index_value", (optional_of(_MAP), _A), optional_of(_B)),
    ),
    _declare(
        "_[?_]",
        ("list_optindex_optional_int", (_LIST, INT), optional_of(_A)),
        ("optional_list_optindex_optional_int", (optional_of(_LIST), INT), optional_of(_A)),
        ("map_optindex_optional_value", (_MAP, _A), optional_of(_B)),
        ("optional_map_optindex_optional_value", (optional_of(_MAP), _A), optional_of(_B)),
    ),
)


# Conversions


def _conversion_fault(value: Any, target: str) -> EvaluationError:
    return EvaluationError(f"type conversion error from '{type_name(value)}' to '{target}'")


def _parsed(parse: Callable[[str], Any], target: str) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError:
            raise _conversion_fault(text, target) from None

    return convert


def _whole(value: float) -> int:
    if value != value or value in (float("inf"), float("-inf")):
        raise EvaluationError("integer overflow")
    return int(value)


def _double_to_int(value: float) -> int:
    whole = _whole(value)
    if not -(2**63) < whole < 2**63:  # cel-go leaves out the ends, which doubles cannot tell from what is beyond
        raise EvaluationError("integer overflow")
    return whole


def _double_to_uint(value: float) -> UInt:
    if value != value or value in (float("inf"), float("-inf")):
        raise EvaluationError("unsigned integer overflow")
    return unsigned(int(value))


def _bytes_to_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None


_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def _text_to_bool(text: str) -> bool:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise _conversion_fault(text, "bool")


def _same(value: Any) -> Any:
    return value


_CONVERSIONS: Final[Library] = (
    function(
        "int",
        plain("int64_to_int64", [INT], INT, _same),
        plain("uint64_to_int64", [UINT], INT, lambda value: integer(int(value))),
        plain("double_to_int64", [DOUBLE], INT, _double_to_int),
        plain("string_to_int64", [STRING], INT, _parsed(lambda text: integer(parse_integer(text)), "int")),
        plain("timestamp_to_int64", [TIMESTAMP], INT, lambda value: value.ns // 10**9),
        plain("duration_to_int64", [DURATION], INT, lambda value: value.ns),
    ),
    function(
        "uint",
        plain("uint64_to_uint64", [UINT], UINT, _same),
        plain("int64_to_uint64", [INT], UINT, unsigned),
        plain("double_to_uint64", [DOUBLE], UINT, _double_to_uint),
        plain("string_to_uint64", [STRING], UINT, _parsed(lambda text: unsigned(parse_integer(text)), "uint")),
    ),
    function(
        "double",
        plain("double_to_double", [DOUBLE], DOUBLE, _same),
        plain("int64_to_double", [INT], DOUBLE, float),
        plain("uint64_to_double", [UINT], DOUBLE, float),
        plain("string_to_double", [STRING], DOUBLE, _parsed(parse_double, "double")),
    ),
    function(
        "bool", plain("bool_to_bool", [BOOL], BOOL, _same), plain("string_to_bool", [STRING], BOOL, _text_to_bool)
    ),
    function(
        "string",
        plain("string_to_string", [STRING], STRING, _same),
        plain("bool_to_string", [BOOL], STRING, lambda value: "true" if value else "false"),
        plain("int64_to_string", [INT], STRING, str),
        plain("uint64_to_string", [UINT], STRING, lambda value: str(int(value))),
        plain("double_to_string", [DOUBLE], STRING, show_double, slow()),
        plain("bytes_to_string", [BYTES], STRING, _bytes_to_text, traversal()),
        plain("timestamp_to_string", [TIMESTAMP], STRING, show_timestamp, slow()),
        plain("duration_to_string", [DURATION], STRING, show_duration, slow()),
    ),
    function(
        "bytes",
        plain("bytes_to_bytes", [BYTES], BYTES, _same),
        plain("string_to_bytes", [STRING], BYTES, lambda text: text.encode(errors="surrogatepass"), traversal()),
    ),
    function(
        "timestamp",
        plain("timestamp_to_timestamp", [TIMESTAMP], TIMESTAMP, _same),
        plain("int64_to_timestamp", [INT], TIMESTAMP, lambda value: timestamp(value * 10**9)),
        plain(
            "string_to_timestamp", [STRING], TIMESTAMP, _parsed(parse_timestamp, "google.protobuf.Timestamp"), slow()
        ),
    ),
    function(
        "duration",
        plain("duration_to_duration", [DURATION], DURATION, _same),
        plain("int64_to_duration", [INT], DURATION, Duration),
        plain("string_to_duration", [STRING], DURATION, _parsed(parse_duration, "google.protobuf.Duration"), slow()),
    ),
    function("dyn", plain("to_dyn", [_A], DYN, _same)),
    function("type", plain("type", [_A], type_of(_A), lambda value: TypeValue(type_name(value)))),
)


# Texts, sizes, time


def _matches(text: str, pattern: str) -> bool:
    try:
        return compiled(pattern).search(text) is not None
    except BadPattern as error:
        raise EvaluationError(str(error)) from None


def _member_or_plain(name: str, id_: str, kind: Type) -> tuple[Overload, Overload]:
    return plain(f"{name}_{id_}", [kind], INT, len), member(f"{id_}_{name}", [kind], INT, len)


def _durations(unit: int) -> Callable[[Duration], int]:
    return lambda value: value.ns // unit if value.ns >= 0 else -(-value.ns // unit)


_DURATION_PARTS: Final = {
    "getHours": 3600 * 10**9, "getMinutes": 60 * 10**9, "getSeconds": 10**9, "getMilliseconds": 10**6,
}  # fmt: skip


def _time_function(name: str) -> Function:
    get = part_of(PARTS[name])
    overloads = [
        member(f"timestamp_{name}", [TIMESTAMP], INT, get, slow()),
        member(f"timestamp_{name}_with_tz", [TIMESTAMP, STRING], INT, get, slow()),
    ]
    if name in _DURATION_PARTS:
        overloads.append(member(f"duration_{name}", [DURATION], INT, _durations(_DURATION_PARTS[name])))
    return Function(name, tuple(overloads))


_TEXTS: Final[Library] = (
    function(
        "size",
        *_member_or_plain("size", "string", STRING),
        *_member_or_plain("size", "bytes", BYTES),
        *_member_or_plain("size", "list", _LIST),
        *_member_or_plain("size", "map", _MAP),
    ),
    function("contains", member("contains_string", [STRING, STRING], BOOL, lambda text, part: part in text, searching)),
    function("startsWith", member("starts_with_string", [STRING, STRING], BOOL, str.startswith, traversal(1))),
    function("endsWith", member("ends_with_string", [STRING, STRING], BOOL, str.endswith, traversal(1))),
    function(
        "matches",
        plain("matches", [STRING, STRING], BOOL, _matches, matching),
        member("matches_string", [STRING, STRING], BOOL, _matches, matching),
    ),
    *map(_time_function, PARTS),
)

STANDARD: Final[Library] = (*OPERATORS, *_CONVERSIONS, *_TEXTS)
