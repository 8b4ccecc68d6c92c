"""Macros: calls that are looked at before they are checked, for they bind variables or ask whether something is there.

The comprehensions of the language, those with two variables (cel-go ext.TwoVarComprehensions), optMap and optFlatMap.
"""

from __future__ import annotations

from typing import Final

from sampan.cel.nodes import Bind, Call, Fold, Ident, Node, OptionalMap, Select
from sampan.cel.source import Source

#: Name and number of arguments of the comprehensions, with how many of the arguments are variables.
_FOLDS: Final = {
    ("all", 2): 1, ("exists", 2): 1, ("exists_one", 2): 1, ("existsOne", 2): 1, ("filter", 2): 1,
    ("map", 2): 1, ("map", 3): 1,
    ("all", 3): 2, ("exists", 3): 2, ("existsOne", 3): 2, ("exists_one", 3): 2,
    ("transformList", 3): 2, ("transformList", 4): 2, ("transformMap", 3): 2, ("transformMap", 4): 2,
    ("transformMapEntry", 3): 2, ("transformMapEntry", 4): 2,
}  # fmt: skip


def expand(call: Call, source: Source) -> Node | None:
    """What the macro makes of the call; None: it is none."""
    if call.target is None:
        return _has(call, source) if call.function == "has" and len(call.args) == 1 else None
    variables = _FOLDS.get((call.function, len(call.args)))
    if variables is not None:
        return _fold(call, call.target, variables, source)
    if call.function in ("optMap", "optFlatMap") and len(call.args) == 2:
        name = _variable(call.args[0], f"{call.function}() variable name must be a simple identifier", source)
        return OptionalMap(call.target, name, call.args[1], call.function == "optFlatMap", at=call.at)
    if call.function == "bind" and len(call.args) == 3 and isinstance(call.target, Ident) and call.target.name == "cel":
        name = _variable(call.args[0], "cel.bind() variable names must be simple identifiers", source)
        return Bind(name, call.args[1], call.args[2], at=call.at)
    return None


def _has(call: Call, source: Source) -> Node:
    arg = call.args[0]
    if not isinstance(arg, Select) or arg.test or arg.optional:
        source.fault(arg.at, "invalid argument to has() macro")
        return arg
    return Select(arg.operand, arg.field, test=True, at=call.at)


def _fold(call: Call, target: Node, count: int, source: Source) -> Node:
    names = [_variable(arg, "argument must be a simple name", source) for arg in call.args[:count]]
    if len(set(names)) < len(names) and all(names):
        source.fault(call.args[1].at, f"duplicate iteration variable: {names[1]}")
    kind = "existsOne" if call.function == "exists_one" else call.function
    rest = call.args[count:]
    return Fold(kind, target, names, rest[-1], rest[0] if len(rest) == 2 else None, at=call.at)


def _variable(arg: Node, fault: str, source: Source) -> str:
    if not isinstance(arg, Ident) or arg.name.startswith("."):
        source.fault(arg.at, fault)
        return ""
    if arg.name in ("__result__", "@result"):
        source.fault(arg.at, "iteration variable overwrites accumulator variable")
    return arg.name
