"""Expressions that select devices: ``device.driver == 'd.io' && device.attributes['d.io'].model == 'x'``.

Source: dynamic-resource-allocation ``cel/compile.go`` (v1.37). Pure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from sampan.api.expressions.environment import environment
from sampan.api.expressions.limits import PER_CALL
from sampan.api.expressions.quantity import QUANTITY
from sampan.cel.environment import Environment
from sampan.cel.errors import CompileError
from sampan.cel.types import BOOL, DYN, STRING, FieldType, Type, map_of, object_type

#: attributes and capacities of a device together
_MOST: Final = 32


def _by_domain(value: Type) -> Type:
    return map_of(STRING, map_of(STRING, value, max_size=_MOST), max_size=_MOST)


_FIELDS: Final = {
    "driver": STRING, "attributes": _by_domain(DYN), "capacity": _by_domain(QUANTITY), "allowMultipleAllocations": BOOL,
}  # fmt: skip
_DEVICE: Final = object_type("kubernetes.DRADevice", lambda: {name: FieldType(t, name) for name, t in _FIELDS.items()})


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return environment({"device": _DEVICE})


@lru_cache(maxsize=256)
def fault(expression: str) -> str:
    """What is wrong with a selector; "": nothing."""
    try:
        program = _environment().compile(expression)
    except CompileError as error:
        return f"compilation failed: {error}"
    if program.result != BOOL and not program.result.is_dyn:
        return f"must evaluate to bool or the unknown type, not {program.result}"
    return TOO_COSTLY if program.estimated_cost().most > PER_CALL else ""


#: as a fault: the expression is one, and may take too long
TOO_COSTLY: Final = "too complex, exceeds cost limit"
