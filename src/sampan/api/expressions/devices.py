"""Expressions that select devices: ``device.driver == 'd.io' && device.attributes['d.io'].model == 'x'``.

Source: dynamic-resource-allocation ``cel/compile.go`` (v1.37). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from sampan.api import quantity
from sampan.api.expressions.environment import environment
from sampan.api.expressions.limits import PER_CALL
from sampan.api.expressions.quantity import QUANTITY, Quantity
from sampan.api.reading import part
from sampan.api.types import Obj
from sampan.cel.environment import Environment, Program
from sampan.cel.errors import CelError, CompileError
from sampan.cel.library.semver import parse_semver
from sampan.cel.running import Budget
from sampan.cel.types import BOOL, DYN, STRING, FieldType, Type, map_of, object_type
from sampan.cel.values import Fields

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


class Unclear(Exception):
    """A selector that cannot be evaluated for a device: it lacks what is asked for, or that takes too long."""


class _Domains(Fields):
    """Attributes or capacities by their domain; one that a device does not know has none of them."""

    __slots__ = ("_known",)

    def __init__(self, known: Mapping[str, Obj]) -> None:
        self._known = known

    def field(self, name: str) -> Any:
        return self._known.get(name, {})

    def has(self, name: str) -> bool:
        return name in self._known

    def names(self) -> Iterable[str]:
        return self._known

    def element(self, name: str) -> tuple[Any]:
        return (self.field(name),)


def bound(driver: str, device: Obj) -> Any:
    """A device of a ResourceSlice as selectors see it."""
    return {
        "driver": driver,
        "attributes": _Domains(_sorted(driver, part(device, "attributes"), _attribute)),
        "capacity": _Domains(_sorted(driver, part(device, "capacity"), _capacity)),
        "allowMultipleAllocations": device.get("allowMultipleAllocations") is True,
    }


def _sorted(driver: str, values: Obj, read: Callable[[Obj], Any]) -> dict[str, Obj]:
    """What has no domain of its own is of the driver's."""
    found: dict[str, Obj] = {}
    for key, value in values.items():
        domain, slash, name = key.partition("/")
        found.setdefault(domain if slash else driver, {})[name if slash else key] = read(value)
    return found


def _attribute(value: Obj) -> Any:
    version = value.get("version")
    if version is not None:
        return parse_semver(str(version))
    return next((value[kind] for kind in ("string", "int", "bool") if value.get(kind) is not None), None)


def _capacity(value: Obj) -> Quantity:
    return Quantity(quantity.parse(str(value.get("value", "0"))))


@lru_cache(maxsize=256)
def _program(expression: str) -> Program:
    return _environment().compile(expression)


def selects(expression: str, device: Any) -> bool:
    """Whether a selector takes a device (of ``bound``). Raises Unclear."""
    try:
        return _program(expression).evaluate({"device": device}, Budget(PER_CALL)) is True
    except CelError as error:
        raise Unclear(str(error)) from error


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
