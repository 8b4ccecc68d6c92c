"""``dataclass`` as the standard library has it, made in a twentieth of the time.

The standard library writes and compiles up to seven functions for each class while its module is imported, which was a
third of what a server needs to start. Here comparing, hashing and printing are the same few functions for all classes,
and ``__init__`` is compiled when the first object is made. Everything else (fields, slots, ``replace``, matching) is
the standard library's, and so is the whole class where something rare is asked for. What mypy finds is not checked
again: the order of fields with defaults, and frozen classes among others. InitVar is not known here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from reprlib import recursive_repr
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True, kw_only=False, **rare):
        def decorate(cls):
            return _make(cls, frozen, slots, eq, kw_only, rare)

        return decorate if cls is None else decorate(cls)


_MISSING = dataclasses.MISSING


def _make(cls: type, frozen: bool, slots: bool, eq: bool, kw_only: bool, rare: dict[str, Any]) -> type:
    if rare:
        standard: Callable[[type], type] = dataclasses.dataclass(
            frozen=frozen, slots=slots, eq=eq, kw_only=kw_only, **rare
        )
        return standard(cls)
    own = set(cls.__dict__)
    given_hash = cls.__dict__.get("__hash__") is not None
    if cls.__doc__ is None:
        cls.__doc__ = cls.__name__  # else the standard library works a signature out
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)(cls)
    names = tuple(field.name for field in dataclasses.fields(made))
    methods: dict[str, Any] = {"__init__": _late_init(made, frozen), "__repr__": _REPR}
    if eq:
        compared = tuple(field.name for field in dataclasses.fields(made) if field.compare)
        hashed = tuple(
            field.name for field in dataclasses.fields(made) if (field.compare if field.hash is None else field.hash)
        )
        methods["__eq__"] = _eq(compared)
        if not given_hash:
            made.__hash__ = _hash(hashed) if frozen else None
    if frozen:
        methods |= {"__setattr__": _refuse_to_set(made, names), "__delattr__": _refuse_to_delete(made, names)}
        if slots:
            methods |= {"__getstate__": _state, "__setstate__": _set_state}
    for name, method in methods.items():
        if name not in own:
            setattr(made, name, method)
    result: type = made
    return result


def _late_init(cls: Any, frozen: bool) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        init = _init(cls, frozen)
        if cls.__dict__["__init__"] is __init__:
            cls.__init__ = init
        init(self, *args, **kwargs)

    return __init__


def _init(cls: Any, frozen: bool) -> Any:
    """The ``__init__`` that the standard library would write."""
    known: dict[str, Any] = {"_missing": _MISSING}
    arguments: list[str] = []
    keywords: list[str] = []
    body: list[str] = []
    for field in dataclasses.fields(cls):
        name, value = field.name, field.name
        if field.default_factory is not _MISSING:
            known[f"_new_{name}"] = field.default_factory
            value = f"_new_{name}() if {name} is _missing else {name}" if field.init else f"_new_{name}()"
        elif field.default is not _MISSING:
            known[f"_default_{name}"] = field.default
            value = name if field.init else f"_default_{name}"
        elif not field.init:
            continue
        if field.init:
            default = "_missing" if field.default_factory is not _MISSING else f"_default_{name}"
            argument = name if field.default is field.default_factory is _MISSING else f"{name}={default}"
            (keywords if field.kw_only else arguments).append(argument)
        if frozen:
            known[f"_set_{name}"] = _setter(cls, name)
        body.append(f"_set_{name}(self, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ", ".join(["self", *arguments, *(["*", *keywords] if keywords else [])])
    text = f"def __init__({parameters}):\n  " + "\n  ".join(body or ["pass"])
    made: dict[str, Any] = {}
    exec(text, known, made)
    init = made["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _setter(cls: Any, name: str) -> Callable[[Any, Any], None]:
    """Past ``__setattr__``, which refuses; straight into the slot where there is one."""
    slot = next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)
    if isinstance(slot, MemberDescriptorType):
        return slot.__set__
    return lambda self, value: object.__setattr__(self, name, value)


@recursive_repr()
def _REPR(self: Any) -> str:  # noqa: N802
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _values_of(names: tuple[str, ...]) -> Callable[[Any], Any]:
    """All of them, as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    if not names:
        return lambda self: ()
    get = attrgetter(*names)
    return lambda self: (get(self),)


def _eq(names: tuple[str, ...]) -> Callable[[Any, Any], Any]:
    values = _values_of(names)

    def __eq__(self: Any, other: Any) -> Any:  # noqa: N807
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _hash(names: tuple[str, ...]) -> Callable[[Any], int]:
    values = _values_of(names)

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(values(self))

    return __hash__


def _refuse_to_set(cls: Any, names: tuple[str, ...]) -> Callable[[Any, str, Any], None]:
    def __setattr__(self: Any, name: str, value: Any) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    return __setattr__


def _refuse_to_delete(cls: Any, names: tuple[str, ...]) -> Callable[[Any, str], None]:
    def __delattr__(self: Any, name: str) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return __delattr__


def _state(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
