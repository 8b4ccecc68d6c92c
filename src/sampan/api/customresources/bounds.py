"""How much is told of what is wrong with one object: values repeat in faults, and a schema multiplies faults."""

from __future__ import annotations

from typing import Final

from sampan.api.errors import FieldError

MOST_FAULTS: Final = 1000
MOST_CHARACTERS: Final = 16 * 1024 * 1024


class EnoughError(Exception):
    """No more is told."""


class Told:
    """Faults in order, up to the bounds."""

    __slots__ = ("_room", "found")

    def __init__(self) -> None:
        self.found: list[FieldError] = []
        self._room = MOST_CHARACTERS

    def add(self, fault: FieldError) -> None:
        """Raises EnoughError."""
        self.found.append(fault)
        self._room -= length(fault)
        if self._room < 0 or len(self.found) >= MOST_FAULTS:
            raise EnoughError


def length(fault: FieldError) -> int:
    return len(fault.field) + len(fault.detail)
