"""Comprehensions as loops. Each turn charges what a turn of cel-go's fold would cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from sampan.cel.access import map_key
from sampan.cel.errors import CostExceeded, EvaluationError, no_such_overload
from sampan.cel.running import Run
from sampan.cel.values import Fields, from_key
from sampan.records import dataclass

Evaluate = Callable[[Run], Any]

#: What is paid once: the accumulator that is made, and the result that is read.
BASE: Final = {
    "all": 1, "exists": 1, "existsOne": 2, "map": 11, "filter": 11, "transformList": 11, "transformMap": 31,
    "transformMapEntry": 31,
}  # fmt: skip
#: What a turn costs beside its step: what is asked of the accumulator, and what is added to it.
_ALL, _EXISTS, _SKIPPED, _COUNTED, _ADDED, _INSERTED = 3, 4, 1, 2, 12, 3


@dataclass(frozen=True, slots=True)
class Loop:
    """``pair``: two variables in slots side by side, index (or key) and value."""

    over: Evaluate
    slot: int
    pair: bool
    step: Evaluate
    step_cost: int
    condition: Evaluate | None
    condition_cost: int

    def turns(self, run: Run) -> Iterable[Any]:
        """What the first variable is bound to, turn by turn; the loop binds it, the second is bound here."""
        value = self.over(run)
        return self._pairs(value, run) if self.pair else _single(value)

    def _pairs(self, value: Any, run: Run) -> Iterator[Any]:
        slots, second = run.slots, self.slot + 1
        for key, item in _pairs(value):
            slots[second] = item
            yield key


def _single(value: Any) -> Iterable[Any]:
    if isinstance(value, list):
        return value
    if type(value) is dict:
        return map(from_key, value)
    if isinstance(value, Fields):
        return value.names()
    raise no_such_overload()


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, list):
        return enumerate(value)
    if type(value) is dict:
        return ((from_key(key), item) for key, item in value.items())
    if isinstance(value, Fields):
        return ((name, value.field(name)) for name in value.names())
    raise no_such_overload()


def fold(kind: str, loop: Loop) -> Evaluate:
    return _FOLDS[kind](loop)


def _all(loop: Loop) -> Evaluate:
    return _deciding(loop, decides=False, turn=_ALL)


def _exists(loop: Loop) -> Evaluate:
    return _deciding(loop, decides=True, turn=_EXISTS)


def _deciding(loop: Loop, *, decides: bool, turn: int) -> Evaluate:
    """The first turn that decides does so, whatever failed before it."""
    step, cost, other = loop.step, loop.step_cost + turn, not decides

    def deciding(run: Run) -> bool:
        failure: EvaluationError | None = None
        slots, slot = run.slots, loop.slot
        for slots[slot] in loop.turns(run):
            run.left -= cost
            if run.left < 0:
                raise CostExceeded
            try:
                value = step(run)
            except EvaluationError as error:
                failure = failure or error
                continue
            if value is decides:
                return not other
            if value is not other:
                failure = failure or no_such_overload()
        if failure is not None:
            raise failure
        return other

    return deciding


def _holds(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise no_such_overload()


def _exists_one(loop: Loop) -> Evaluate:
    step, cost = loop.step, loop.step_cost + _SKIPPED

    def exists_one(run: Run) -> bool:
        count, slots, slot = 0, run.slots, loop.slot
        for slots[slot] in loop.turns(run):
            run.charge(cost)
            if _holds(step(run)):
                run.charge(_COUNTED - _SKIPPED)
                count += 1
        return count == 1

    return exists_one


def _filter(loop: Loop) -> Evaluate:
    step, cost = loop.step, loop.step_cost + _SKIPPED

    def filtered(run: Run) -> list[Any]:
        kept, slots, slot = [], run.slots, loop.slot
        for item in loop.turns(run):
            slots[slot] = item
            run.charge(cost)
            if _holds(step(run)):
                run.charge(_ADDED)
                kept.append(item)
        return kept

    return filtered


def _wanted(loop: Loop, run: Run) -> bool:
    if loop.condition is None:
        return True
    run.charge(loop.condition_cost)
    if _holds(loop.condition(run)):
        return True
    run.charge(_SKIPPED)
    return False


def _map(loop: Loop) -> Evaluate:
    step, cost = loop.step, loop.step_cost + _ADDED

    def mapped(run: Run) -> list[Any]:
        made, slots, slot = [], run.slots, loop.slot
        for slots[slot] in loop.turns(run):
            if _wanted(loop, run):
                run.charge(cost)
                made.append(step(run))
        return made

    return mapped


def _transform_map(loop: Loop) -> Evaluate:
    step, cost = loop.step, loop.step_cost + _INSERTED

    def transformed(run: Run) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        slots, slot = run.slots, loop.slot
        for key in loop.turns(run):
            slots[slot] = key
            if _wanted(loop, run):
                run.charge(cost)
                _insert(made, key, step(run))
        return made

    return transformed


def _transform_entries(loop: Loop) -> Evaluate:
    step, cost = loop.step, loop.step_cost + _INSERTED

    def transformed(run: Run) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        slots, slot = run.slots, loop.slot
        for slots[slot] in loop.turns(run):
            if not _wanted(loop, run):
                continue
            run.charge(cost)
            entries = step(run)
            if type(entries) is not dict:
                raise no_such_overload()
            run.charge(len(entries))
            for key, value in entries.items():
                _insert(made, from_key(key), value)
        return made

    return transformed


def _insert(made: dict[Any, Any], key: Any, value: Any) -> None:
    kept = map_key(key)
    if kept in made:
        raise EvaluationError(f"insert failed: key {key} already exists")
    made[kept] = value


_FOLDS: Final[dict[str, Callable[[Loop], Evaluate]]] = {
    "all": _all,
    "exists": _exists,
    "existsOne": _exists_one,
    "filter": _filter,
    "map": _map,
    "transformList": _map,
    "transformMap": _transform_map,
    "transformMapEntry": _transform_entries,
}
