"""Where a value stands in an object: a chain of steps, made text only when an error names it."""

from __future__ import annotations

from typing import TypeAlias

#: Field names and map keys are str, indexes int. None is the object itself.
Place: TypeAlias = "tuple[Place, str | int] | None"

#: What upstream's ``field.Path`` says of no path at all.
NO_PATH = "<nil>"


def name(place: Place) -> str:
    """As OpenAPI validation has it: ``spec.list[0].key``."""
    text = ""
    while place is not None:
        place, step = place
        piece = f"[{step}]" if isinstance(step, int) else f".{step}"
        text = piece + text
    return text.removeprefix(".")
