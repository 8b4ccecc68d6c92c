"""What a store held, revision by revision: the truth that every answer is checked against.

A request is between two revisions: the store's when it began and when it was answered. Everything acknowledged before
it is in the first, so an answer that was true at some moment between the two is neither of the past nor of the future,
and a client that asks one thing after another never sees an object grow younger.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

Obj = dict[str, Any]


@dataclass(frozen=True)
class State:
    """What a key held from ``revision`` on: ``obj`` None: nothing."""

    revision: int
    obj: Obj | None


class History:
    def __init__(self) -> None:
        self._states: dict[str, list[State]] = defaultdict(list)
        #: of every change: its key, what was there and what is
        self.changes: dict[int, tuple[str, Obj | None, Obj | None]] = {}

    @classmethod
    async def of(cls, store: Any, since: int = 0) -> History:
        history = cls()
        for change in await store.changes("", since or store.oldest, store.revision, 1_000_000):
            obj = None
            if change.entry is not None:
                obj = orjson.loads(change.entry.value)
                if "metadata" in obj:
                    obj["metadata"]["resourceVersion"] = str(change.revision)
            states = history._states[change.key]
            history.changes[change.revision] = (change.key, states[-1].obj if states else None, obj)
            states.append(State(change.revision, obj))
        return history

    def at(self, key: str, revision: int) -> State:
        states = self._states.get(key, [])
        found = bisect_right(states, revision, key=lambda state: state.revision)
        return states[found - 1] if found else State(0, None)

    def during(self, key: str, first: int, last: int) -> list[State]:
        """All that the key held at some moment of a request."""
        later = [state for state in self._states.get(key, []) if first < state.revision <= last]
        return [self.at(key, first), *later]

    def under(self, prefix: str, revision: int, wanted: Callable[[Obj], bool] = lambda obj: True) -> list[Obj]:
        """The objects that a list at the revision has, in order."""
        found = [self.at(key, revision).obj for key in sorted(self._states) if key.startswith(prefix)]
        return [obj for obj in found if obj is not None and wanted(obj)]

    # What a request was told; ``first`` and ``last`` are its two revisions

    def check_seen(self, key: str, obj: Obj, first: int, last: int) -> None:
        assert obj in [state.obj for state in self.during(key, first, last)], (key, obj, first, last)

    def check_missing(self, key: str, first: int, last: int) -> None:
        assert any(state.obj is None for state in self.during(key, first, last)), (key, first, last)

    def check_present(self, key: str, first: int, last: int) -> None:
        assert any(state.obj is not None for state in self.during(key, first, last)), (key, first, last)

    def check_moved(self, key: str, pinned: str, first: int, last: int) -> None:
        """It was not at the resourceVersion that the client pinned."""
        states = self.during(key, first, last)
        assert any(state.obj is not None and str(state.revision) != pinned for state in states), (key, pinned, states)

    def check_written(
        self, key: str, answer: Obj, first: int, last: int, derives: Callable[[Obj | None, Obj], bool]
    ) -> int:
        """``derives(before, after)``: that is what the request wanted. The revision of its change; 0: there was nothing
        to change, or the write took the last finalizer away."""
        revision = int(answer["metadata"]["resourceVersion"])
        if first < revision <= last:
            changed, before, after = self.changes[revision]
            if (changed, after) == (key, answer) and derives(before, answer):
                return revision
        before = next(state for state in self.during(key, first, last) if state.revision == revision).obj
        assert before is not None and derives(before, answer), (key, before, answer)
        if before != answer:
            after = next(state for state in self._states[key] if state.revision > revision)
            assert after.obj is None and after.revision <= last, (key, before, answer, after)
            assert before["metadata"]["deletionTimestamp"] and not answer["metadata"].get("finalizers")
        return 0
