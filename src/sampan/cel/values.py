"""Values as the engine holds them: plain data wherever Python has the type.

null, bool, int, double, string, bytes, list and map are None, bool, int, float, str, bytes, list and dict, so that JSON
needs no conversion; the rest is here. They are read-only. Python takes True for 1, in dicts too: keys that are bools
are kept as ``BoolKey``, and comparisons look at types first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sampan.cel.errors import no_such_key
from sampan.cel.types import Type
from sampan.records import dataclass

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1


class UInt(int):
    """An unsigned integer."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """Nanoseconds since 1970 in UTC."""

    ns: int


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    ns: int


@dataclass(frozen=True, slots=True)
class Optional:
    """A value that may be missing."""

    value: Any = None
    present: bool = True


NONE: Final = Optional(None, present=False)


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value: what ``type(x)`` gives."""

    name: str


@dataclass(frozen=True, slots=True)
class BoolKey:
    """A bool as the key of a map."""

    value: bool


class SetList(list[Any]):
    """A list whose order says nothing (``x-kubernetes-list-type: set``)."""

    __slots__ = ()


class MapList(list[Any]):
    """A list of objects told apart by ``keys`` (``x-kubernetes-list-type: map``)."""

    __slots__ = ("keys",)

    def __init__(self, items: Iterable[Any], keys: tuple[str, ...]) -> None:
        super().__init__(items)
        self.keys = keys

    def identity(self, item: Any) -> tuple[Any, ...]:
        return tuple(_hashable(item.get(key)) for key in self.keys) if isinstance(item, dict) else (id(item),)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else id(value)


class Opaque:
    """Base of values that only libraries know. They compare by ``==``; ``size_of`` counts for their cost."""

    __slots__ = ()
    type: Type

    def size_of(self) -> int:
        return 1


class Fields:
    """Base of objects whose fields are found out when they are asked for."""

    __slots__ = ()

    def field(self, name: str) -> Any:
        """Raises EvaluationError where there is none."""
        raise AssertionError("abstract")

    def has(self, name: str) -> bool:
        raise AssertionError("abstract")

    def names(self) -> Iterable[str]:
        raise AssertionError("abstract")

    def element(self, name: str) -> tuple[Any] | None:
        """``value[name]`` in a tuple; None: there is none."""
        return (self.field(name),) if self.has(name) else None


@dataclass(frozen=True, slots=True)
class Made(Fields):
    """An object that an expression has made of a type."""

    name: str
    content: dict[str, Any]

    def field(self, name: str) -> Any:
        if name not in self.content:
            raise no_such_key(name)
        return self.content[name]

    def has(self, name: str) -> bool:
        return name in self.content

    def names(self) -> Iterable[str]:
        return self.content


def key_of(value: Any) -> Any:
    """The value as the key of a dict."""
    return BoolKey(value) if value is True or value is False else value


def from_key(key: Any) -> Any:
    return key.value if type(key) is BoolKey else key


def type_name(value: Any) -> str:
    """The name of the value's type, as ``type()`` shows it."""
    name = _NAMES.get(type(value))
    if name is not None:
        return name
    if isinstance(value, list):
        return "list"
    if isinstance(value, Made):
        return value.name
    return str(value.type) if isinstance(value, Opaque) else "object"


_NAMES: Final[dict[type, str]] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    Optional: "optional_type",
    TypeValue: "type",
}


def size_of(value: Any) -> int:
    """What counts for costs: characters, bytes, elements; 1 for all else."""
    kind = type(value)
    if kind is str or kind is bytes or kind is list or kind is dict:
        return len(value)
    if isinstance(value, Opaque):
        return value.size_of()
    return len(value) if isinstance(value, list) else 1
