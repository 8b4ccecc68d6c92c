"""Conditions, and how they become part of a status: a time changes only with the status that it is of. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sampan.api.reading import parts, text
from sampan.api.types import Obj
from sampan.records import dataclass

#: of a message; the API takes 32,768 characters
_LONGEST = 2048


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: bool
    reason: str
    message: str = ""


def merged(old: object, wanted: Iterable[Condition], generation: int, now: str, *, others: bool = True) -> list[Obj]:
    """``old``: the list that is there. ``others``: conditions of types that nobody asks for are somebody else's and
    stay; else they go."""
    there = {text(each, "type"): each for each in parts({"old": old}, "old")}
    found: list[Obj] = []
    mine = {each.type: each for each in wanted}
    for each in mine.values():
        before = there.get(each.type, {})
        status = "True" if each.status else "False"
        same = text(before, "status") == status and bool(text(before, "lastTransitionTime"))
        found.append(
            {
                "lastTransitionTime": text(before, "lastTransitionTime") if same else now,
                "message": each.message[:_LONGEST],
                "observedGeneration": generation,
                "reason": each.reason,
                "status": status,
                "type": each.type,
            }
        )
    if others:
        found += [each for kind, each in there.items() if kind not in mine]
    return found
