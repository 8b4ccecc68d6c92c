"""Is there an order of all operations, each at one moment between its call and its answer, that explains every answer?

Wing and Gong's search with Lowe's memory of what was tried (the set of operations that have taken effect, and the
state). Each key is a register with compare-and-swap, and is checked by itself: a history is linearizable if the history
of each key is. Whatever is written is written once, so a value names the write; None: the key is absent.

An operation whose answer never came may take effect at any later moment, or not at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

FOREVER = float("inf")
_MOST_STEPS = 3_000_000


@dataclass(frozen=True)
class Operation:
    """``read``: ``value`` was found. ``write``: ``value`` was written where ``expected`` was, whatever was there if
    ``blind``; ``done`` False: it was refused, for something else was there. ``ended`` FOREVER: nobody knows."""

    key: str
    kind: Literal["read", "write"]
    value: str | None
    began: float
    ended: float
    expected: str | None = None
    blind: bool = False
    done: bool = True


class NotLinearizable(AssertionError):
    pass


def check(history: Iterable[Operation]) -> None:
    """Raises NotLinearizable, with the operations of the key that cannot be explained."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        by_key[operation.key].append(operation)
    for key, operations in by_key.items():
        if not _explain(sorted(operations, key=lambda each: each.began)):
            shown = "\n".join(_show(each) for each in sorted(operations, key=lambda each: each.began))
            raise NotLinearizable(f"no order explains what was seen of {key}:\n{shown}")


def step(state: str | None, operation: Operation) -> tuple[bool, str | None]:
    """Whether the operation could have had its answer in this state, and the state after it."""
    if operation.kind == "read":
        return operation.value == state, state
    matches = operation.blind or operation.expected == state
    if operation.value is None and state is None:
        matches = False  # what is absent cannot be deleted
    if operation.ended == FOREVER:
        return matches, operation.value  # one that would be refused may as well not have happened
    if not operation.done:
        return not matches, state
    return matches, operation.value


def _explain(operations: Sequence[Operation]) -> bool:
    """A stack of choices; an operation may be next if none that is still to come ended before it began."""
    count = len(operations)
    required = sum(1 << at for at, each in enumerate(operations) if each.ended != FOREVER)
    tried: set[tuple[int, str | None]] = set()
    stack: list[tuple[int, str | None]] = [(0, None)]
    steps = 0
    while stack:
        taken, state = stack.pop()
        if taken & required == required:
            return True
        if (taken, state) in tried:
            continue
        tried.add((taken, state))
        bound = FOREVER  # the first end among those that have not taken effect
        at = (~taken & (taken + 1)).bit_length() - 1  # the first of them
        choices: list[tuple[int, str | None]] = []
        while at < count and operations[at].began <= bound:
            if not taken >> at & 1:
                operation = operations[at]
                bound = min(bound, operation.ended)
                fits, after = step(state, operation)
                if fits:
                    choices.append((taken | 1 << at, after))
                steps += 1
            at += 1
        if steps > _MOST_STEPS:
            raise RuntimeError("the history is too long to be judged")
        stack.extend(reversed(choices))
    return False


def _show(each: Operation) -> str:
    end = "?" if each.ended == FOREVER else f"{each.ended:.4f}"
    what = f"{each.expected} -> {each.value}" if each.kind == "write" else str(each.value)
    return f"  {each.began:.4f}..{end} {each.kind} {what}{'' if each.done else ' refused'}"
