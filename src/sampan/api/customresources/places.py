"""Where a value stands in an object: a chain of steps, made text only when an error names it."""

from __future__ import annotations

from typing import TypeAlias

#: Names of fields are str, keys of maps ``Key``, indexes int. None is the object itself.
Place: TypeAlias = "tuple[Place, str | int] | None"

#: What upstream's ``field.Path`` says of no path at all.
NO_PATH = "<nil>"


class Key(str):
    """Of a map, where errors put it in brackets."""

    __slots__ = ()


def name(place: Place) -> str:
    """``spec.list[0].field``; empty for the object itself."""
    text = ""
    while place is not None:
        place, step = place
        piece = f"[{step}]" if isinstance(step, int | Key) else f".{step}"
        text = piece + text
    return text.removeprefix(".")


def path(place: Place) -> str:
    """The same, as errors have it that upstream gives a path."""
    return name(place) or NO_PATH
