"""Which type can stand for which, and what the open ones thereby become.

The rules are cel-go's: dyn goes with all, null with everything that may be absent, all else has to be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sampan.cel.types import DYN, ERROR, Type

_NULLABLE: Final = frozenset({"object", "opaque", "timestamp", "duration", "optional_type", "null"})


class Bindings:
    """What open types are so far. ``fits`` keeps what it learns only if all fits."""

    def __init__(self) -> None:
        self._bound: dict[str, Type] = {}
        #: the names in ``_bound``, in the order in which they were bound
        self._trail: list[str] = []
        self._count = 0

    def fresh(self) -> Type:
        self._count += 1
        return Type("param", f"_var{self._count - 1}")

    def fits(self, expected: Sequence[Type], actual: Sequence[Type]) -> bool:
        """Whether values of the actual types can go where the expected ones are wanted, side by side."""
        if len(expected) != len(actual):
            return False
        before = len(self._trail)
        if all(self._fits(one, other) for one, other in zip(expected, actual, strict=True)):
            return True
        for name in self._trail[before:]:
            del self._bound[name]
        del self._trail[before:]
        return False

    def resolve(self, kind: Type, *, open_as_dyn: bool = False) -> Type:
        """With what is known put in for open types."""
        kind = self._follow(kind)
        if kind.kind == "param":
            return DYN if open_as_dyn else kind
        if not kind.parameters:
            return kind
        parameters = tuple(self.resolve(one, open_as_dyn=open_as_dyn) for one in kind.parameters)
        if parameters == kind.parameters:
            return kind
        return Type(kind.kind, kind.name, parameters, max_size=kind.max_size)

    def _follow(self, kind: Type) -> Type:
        while kind.kind == "param" and kind.name in self._bound:
            kind = self._bound[kind.name]
        return kind

    def _fits(self, expected: Type, actual: Type) -> bool:
        expected, actual = self._follow(expected), self._follow(actual)
        if expected is actual:
            return True
        if actual.kind == "param":
            return self._bind(actual, expected)
        if expected.kind == "param":
            return self._bind(expected, actual)
        if expected.is_dyn or actual.is_dyn:
            return True
        if expected.kind == "null" or actual.kind == "null":
            other = actual if expected.kind == "null" else expected
            return other.kind in _NULLABLE
        if expected.kind != actual.kind or expected.name != actual.name:
            return False
        if expected.kind == "type":
            return True
        return len(expected.parameters) == len(actual.parameters) and all(
            self._fits(one, other) for one, other in zip(expected.parameters, actual.parameters, strict=True)
        )

    def _bind(self, variable: Type, kind: Type) -> bool:
        """An open type becomes ``kind``, unless it is part of it."""
        if kind.kind == "param" and kind.name == variable.name:
            return True
        if self._occurs(variable, kind):
            return False
        self._bound[variable.name] = kind
        self._trail.append(variable.name)
        return True

    def _occurs(self, variable: Type, kind: Type) -> bool:
        kind = self._follow(kind)
        if kind.kind == "param":
            return kind.name == variable.name
        return any(self._occurs(variable, one) for one in kind.parameters)


def instantiate(kinds: Sequence[Type], bindings: Bindings) -> list[Type]:
    """The types of a signature with open types of their own in place of its parameters."""
    fresh: dict[str, Type] = {}

    def renew(kind: Type) -> Type:
        if kind.kind == "param":
            if kind.name not in fresh:
                fresh[kind.name] = bindings.fresh()
            return fresh[kind.name]
        if not kind.parameters:
            return kind
        return Type(kind.kind, kind.name, tuple(map(renew, kind.parameters)))

    return [renew(kind) for kind in kinds]


def general(one: Type, other: Type) -> Type:
    """The more general of two types that fit each other."""
    return one if _is_as_general(one, other) else other


def _is_as_general(one: Type, other: Type) -> bool:
    if one.is_dyn or one.kind == "param" or one is ERROR:
        return True
    if one.kind != other.kind or len(one.parameters) != len(other.parameters):
        return other.kind == "null"
    return all(map(_is_as_general, one.parameters, other.parameters))
