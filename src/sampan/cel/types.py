"""Types of the language.

Two types are equal if they read the same. Beside that a type may carry what only hints: the most elements a value can
have (for estimates of cost), and how data become values of it (``bind``; None: they are already). Objects have named
fields, built on first use, for types may refer to themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sampan.records import dataclass

Bind = Callable[[Any], Any]


class Type:
    """``kind``: int, list, map, object, opaque, param (a type to be found out) …; ``name``: of objects and the like."""

    __slots__ = ("_build", "_fields", "bind", "kind", "max_size", "name", "parameters", "weight")

    def __init__(
        self,
        kind: str,
        name: str = "",
        parameters: tuple[Type, ...] = (),
        *,
        fields: Callable[[], Mapping[str, FieldType]] | None = None,
        max_size: int | None = None,
        bind: Bind | None = None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.parameters = parameters
        #: how many types it is made of
        self.weight: int = 1 + sum(one.weight for one in parameters)
        self.max_size = max_size
        self.bind = bind
        self._build = fields
        self._fields: Mapping[str, FieldType] | None = None

    @property
    def fields(self) -> Mapping[str, FieldType]:
        """Of an object: its fields as expressions name them."""
        if self._fields is None:
            self._fields = self._build() if self._build is not None else {}
        return self._fields

    @property
    def is_dyn(self) -> bool:
        return self.kind == "dyn" or self.kind == "error"

    def sized(self, max_size: int | None, bind: Bind | None = None) -> Type:
        """The same type with hints."""
        return Type(
            self.kind, self.name, self.parameters, fields=self._build, max_size=max_size, bind=bind or self.bind
        )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Type):
            return NotImplemented
        return self.kind == other.kind and self.name == other.name and self.parameters == other.parameters

    def __hash__(self) -> int:
        return hash((self.kind, self.name, self.parameters))

    def __str__(self) -> str:
        if self.kind == "error":
            return "!error!"
        shown = self.name or self.kind
        if not self.parameters:
            return shown
        return f"{shown}({', '.join(map(str, self.parameters))})"

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class FieldType:
    """A field of an object. ``key``: its name in the data, where the language has to spell it otherwise."""

    type: Type
    key: str


DYN: Final = Type("dyn")
ERROR: Final = Type("error")
NULL: Final = Type("null")
BOOL: Final = Type("bool")
INT: Final = Type("int")
UINT: Final = Type("uint")
DOUBLE: Final = Type("double")
STRING: Final = Type("string")
BYTES: Final = Type("bytes")
TIMESTAMP: Final = Type("timestamp")
DURATION: Final = Type("duration")

#: Types whose values all have the size 1.
SCALARS: Final = frozenset({"bool", "int", "uint", "double", "timestamp", "duration"})


#: A type of more parts counts as dyn: a few letters can ask for one of any size.
_MAX_WEIGHT: Final = 500


def bounded(kind: Type) -> Type:
    return DYN if kind.weight > _MAX_WEIGHT else kind


class TypeNames:
    """Types by the names under which expressions make or compare them. ``resolve``: of names that are not listed."""

    def __init__(self, known: Mapping[str, Type], resolve: Callable[[str], Type | None] | None = None) -> None:
        self.known = known
        self.resolve = resolve

    def find(self, name: str) -> Type | None:
        found = self.known.get(name)
        return self.resolve(name) if found is None and self.resolve is not None else found


def list_of(item: Type, *, max_size: int | None = None, bind: Bind | None = None) -> Type:
    return Type("list", "", (item,), max_size=max_size, bind=bind)


def map_of(key: Type, value: Type, *, max_size: int | None = None, bind: Bind | None = None) -> Type:
    return Type("map", "", (key, value), max_size=max_size, bind=bind)


def type_of(target: Type) -> Type:
    return Type("type", "", (target,))


def optional_of(item: Type) -> Type:
    return Type("optional_type", "", (item,))


def param(name: str) -> Type:
    return Type("param", name)


def opaque(name: str) -> Type:
    """A type known by its name alone: what can be done with its values is said by functions."""
    return Type("opaque", name)


def object_type(name: str, fields: Callable[[], Mapping[str, FieldType]], *, bind: Bind | None = None) -> Type:
    return Type("object", name, fields=fields, bind=bind)
