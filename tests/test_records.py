"""``sampan.records.dataclass`` is the standard library's to everybody who uses one."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any, ClassVar

import pytest

from sampan import records


def frozen(make: Callable[..., Any]) -> Any:
    @make(frozen=True, slots=True)
    class Value:
        number: int
        text: str = "a"
        items: list[int] = field(default_factory=list, compare=False)
        hidden: int = field(default=3, repr=False)
        made: int = field(init=False, compare=False, default=7)
        shared: ClassVar[int] = 1

    return Value


def changeable(make: Callable[..., Any]) -> Any:
    @make(slots=True)
    class Value:
        number: int
        items: list[int] = field(default_factory=list)
        double: int = field(init=False)

        def __post_init__(self) -> None:
            self.double = 2 * self.number

    return Value


def by_identity(make: Callable[..., Any]) -> Any:
    @make(slots=True, eq=False, kw_only=True)
    class Value:
        text: str = "b"
        number: int

    return Value


def empty(make: Callable[..., Any]) -> Any:
    @make(frozen=True)
    class Value:
        pass

    return Value


KINDS = (frozen, changeable, by_identity, empty)
CALLS: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    ((), {}),
    ((1,), {}),
    ((1, "x"), {}),
    ((1, "x", [1]), {"hidden": 4}),
    ((), {"number": 2}),
    ((), {"number": 2, "text": "y"}),
    ((1,), {"number": 2}),
    ((), {"other": 2}),
)


def told(value: Any) -> list[Any]:
    """What everybody sees of a value but where it lies in memory."""
    by_value = dataclasses.fields(value) and type(value).__eq__ is not object.__eq__
    return [
        repr(value).rpartition("<locals>")[2],
        dataclasses.asdict(value),
        hash(value) if by_value and type(value).__hash__ else "no hash of its fields",
        value == copy.copy(value),
        value.__match_args__,
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_a_value_is_what_the_standard_library_makes(kind: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    def attempt(make: Callable[..., Any]) -> Any:
        try:
            return told(kind(make)(*args, **kwargs))
        except TypeError:
            return TypeError

    assert attempt(records.dataclass) == attempt(dataclasses.dataclass)


def test_a_frozen_value_refuses_to_change_in_the_standard_library_s_words() -> None:
    def words(make: Callable[..., Any]) -> list[str]:
        value, found = frozen(make)(1), []
        for change in (lambda: setattr(value, "number", 2), lambda: delattr(value, "number")):
            with pytest.raises(FrozenInstanceError) as refused:
                change()
            found.append(str(refused.value))
        return found

    assert words(records.dataclass) == words(dataclasses.dataclass)


def test_values_of_different_classes_are_never_equal() -> None:
    assert frozen(records.dataclass)(1) != frozen(records.dataclass)(1)


def test_a_replaced_field_leaves_the_others() -> None:
    value = frozen(records.dataclass)(1, "x", [2], 5)
    other = dataclasses.replace(value, number=9)
    assert (other.number, other.text, other.items, other.hidden, value.number) == (9, "x", [2], 5, 1)


def test_every_value_gets_a_list_of_its_own() -> None:
    make = changeable(records.dataclass)
    assert make(1).items is not make(1).items


def test_own_methods_win() -> None:
    @records.dataclass(frozen=True, slots=True)
    class Value:
        number: int

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 5

    assert (repr(Value(1)), Value(1) == 3, hash(Value(1))) == ("own", True, 5)


def test_what_is_rare_is_the_standard_library_s_own() -> None:
    @records.dataclass(frozen=True, slots=True, order=True)
    class Value:
        number: int

    assert sorted([Value(2), Value(1)]) == [Value(1), Value(2)]


@records.dataclass(frozen=True, slots=True)
class Sent:
    number: int
    text: str = "a"


@records.dataclass(slots=True)
class Base:
    number: int


@records.dataclass(slots=True)
class Derived(Base):
    text: str = "d"


def test_a_frozen_value_travels_between_processes() -> None:
    assert pickle.loads(pickle.dumps(Sent(1, "b"))) == Sent(1, "b")


def test_a_class_inherits_the_fields_of_another() -> None:
    assert (repr(Derived(1)), Derived(1, "x") == Derived(1, "x"), repr(Base(2))) == (
        "Derived(number=1, text='d')",
        True,
        "Base(number=2)",
    )
