"""Calls as closures: operators by the types of their values, functions by the overload that takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sampan.cel import operators
from sampan.cel.costs import CALL
from sampan.cel.equality import equal
from sampan.cel.errors import no_such_overload
from sampan.cel.functions import Overload
from sampan.cel.nodes import Call, ListLiteral, Literal
from sampan.cel.running import Run
from sampan.cel.types import SCALARS, Type
from sampan.cel.values import (
    Duration,
    Fields,
    Opaque,
    Optional,
    Timestamp,
    TypeValue,
    UInt,
    key_of,
    size_of,
)

Evaluate = Callable[[Run], Any]

#: Operators that cost the same whatever their operands are.
_FIXED: Final = frozenset({"_-_", "_*_", "_/_", "_%_", "!_", "-_"})
#: Operators that do so if the types of their operands are known, and are none that have a size.
_COMPARISONS: Final = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})

_ARITHMETIC: Final = {
    "_-_": operators.subtract, "_*_": operators.multiply, "_/_": operators.divide, "_%_": operators.modulo,
}  # fmt: skip
_ORDER: Final = {
    "_<_": operators.less, "_<=_": operators.less_equal, "_>_": operators.greater, "_>=_": operators.greater_equal,
}  # fmt: skip


def fixed_cost(node: Call) -> int:
    """What the operator costs in any case, charged with its operands; 0: ``operator`` charges."""
    scalars = all(arg.type.kind in SCALARS for arg in node.args)
    return int(node.function in _FIXED or (scalars and node.function in _COMPARISONS))


def operator(node: Call, operands: Sequence[Evaluate]) -> Evaluate | None:
    """None: the call is of a function."""
    name = node.function
    if name in _ARITHMETIC:
        return _arithmetic(_ARITHMETIC[name], *operands)
    if name in _ORDER:
        return (_arithmetic if fixed_cost(node) else _order)(_ORDER[name], *operands)
    if name == "_+_":
        left, right = operands
        return lambda run: operators.add(left(run), right(run), run)
    if name in ("_==_", "_!=_"):
        wanted = name == "_==_"
        return _same(*operands, wanted=wanted) if fixed_cost(node) else _equality(*operands, wanted=wanted)
    if name == "@in":
        constant = _texts(node)
        return _in_texts(operands[0], constant) if constant else _in(*operands)
    if name == "!_":
        return _not(operands[0])
    if name == "-_":
        operand = operands[0]
        return lambda run: operators.negate(operand(run))
    return None


def _arithmetic(compute: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda run: compute(left(run), right(run))


def _order(compare: Callable[[Any, Any], bool], left: Evaluate, right: Evaluate) -> Evaluate:
    def ordered(run: Run) -> bool:
        one, other = left(run), right(run)
        if type(one) is int:
            run.left -= 1  # whatever repeats it looks whether that was too much
        else:
            run.charge(_smaller(one, other))
        return compare(one, other)

    return ordered


def _equality(left: Evaluate, right: Evaluate, *, wanted: bool) -> Evaluate:
    def equality(run: Run) -> bool:
        one, other = left(run), right(run)
        run.charge(_smaller(one, other))
        return equal(one, other, run) is wanted

    return equality


def _same(left: Evaluate, right: Evaluate, *, wanted: bool) -> Evaluate:
    """Equality of scalars."""

    def same(run: Run) -> bool:
        one, other = left(run), right(run)
        return (one == other if type(one) is type(other) else equal(one, other, run)) is wanted

    return same


def _smaller(one: Any, other: Any) -> int:
    """What it costs to go through the smaller of two values."""
    kind = type(one)
    if kind is int or kind is bool or kind is float:
        return 1
    size, other_size = size_of(one), size_of(other)
    return -(-(size if size < other_size else other_size) // 10)


def _not(operand: Evaluate) -> Evaluate:
    def negation(run: Run) -> bool:
        value = operand(run)
        if value is True:
            return False
        if value is False:
            return True
        raise no_such_overload()

    return negation


def _in(left: Evaluate, right: Evaluate) -> Evaluate:
    def contained(run: Run) -> bool:
        value, container = left(run), right(run)
        if isinstance(container, list):
            run.charge(len(container))
            for item in container:  # noqa: SIM110 (a generator would take a frame more)
                if equal(item, value, run):
                    return True
            return False
        run.charge(1)
        if type(container) is dict:
            try:
                return key_of(value) in container
            except TypeError:  # lists and maps are no keys
                return False
        if isinstance(container, Fields) and isinstance(value, str):
            return container.has(value)
        raise no_such_overload()

    return contained


def _texts(node: Call) -> frozenset[str]:
    """The texts of ``x in ['a', 'b']``; none, if it is anything else."""
    among = node.args[1]
    if not isinstance(among, ListLiteral) or among.optional:
        return frozenset()
    values = [item.value for item in among.items if isinstance(item, Literal) and isinstance(item.value, str)]
    return frozenset(values) if len(values) == len(among.items) else frozenset()


def _in_texts(left: Evaluate, texts: frozenset[str]) -> Evaluate:
    cost = len(texts)

    def contained(run: Run) -> bool:
        run.charge(cost)
        value = left(run)
        return type(value) is str and value in texts

    return contained


def dispatch(overloads: Sequence[Overload], operands: Sequence[Evaluate]) -> Evaluate:
    """A call of the first overload that takes the values."""
    accepting = [(tuple(map(_accepts, one.args)), one.run, one.cost) for one in overloads]
    if len(accepting) == 1 and len(operands) == 1:
        return _unary(accepting[0][0][0], *accepting[0][1:], operands[0])

    def call(run: Run) -> Any:
        args = [operand(run) for operand in operands]
        for accepts, compute, cost in accepting:
            if all(accept(arg) for accept, arg in zip(accepts, args, strict=True)):
                run.charge(CALL if cost is None else CALL + cost(args))
                return compute(*args)
        raise no_such_overload()

    return call


def _unary(
    accept: Callable[[Any], bool],
    compute: Callable[..., Any],
    cost: Callable[[Sequence[Any]], int] | None,
    operand: Evaluate,
) -> Evaluate:
    def call(run: Run) -> Any:
        value = operand(run)
        if not accept(value):
            raise no_such_overload()
        run.charge(CALL if cost is None else CALL + cost((value,)))
        return compute(value)

    return call


_CLASSES: Final[dict[str, type | tuple[type, ...]]] = {
    "null": type(None),
    "bool": bool,
    "uint": UInt,
    "double": float,
    "string": str,
    "bytes": bytes,
    "list": list,
    "timestamp": Timestamp,
    "duration": Duration,
    "optional_type": Optional,
    "type": TypeValue,
    "map": (dict, Fields),
}


def _accepts(kind: Type) -> Callable[[Any], bool]:
    """Whether a value is of the type; what is in containers is not looked at."""
    if kind.is_dyn or kind.kind == "param":
        return lambda value: True
    if kind.kind == "int":
        return lambda value: type(value) is int
    if kind.kind == "opaque":
        return lambda value: isinstance(value, Opaque) and value.type == kind
    wanted = _CLASSES.get(kind.kind, (dict, Fields))
    return lambda value: isinstance(value, wanted)
