"""The checker itself: what is in order passes, and each way to be wrong is found."""

from __future__ import annotations

import random

import pytest
from linearizability_checker import FOREVER, NotLinearizable, Operation, check


def write(
    value: str | None,
    began: float,
    ended: float,
    *,
    expected: str | None = None,
    blind: bool = False,
    done: bool = True,
) -> Operation:
    return Operation("/k", "write", value, began, ended, expected, blind, done)


def read(value: str | None, began: float, ended: float) -> Operation:
    return Operation("/k", "read", value, began, ended)


RIGHT = {
    "one after the other": [write("a", 0, 1), read("a", 2, 3), write("b", 4, 5, expected="a"), read("b", 6, 7)],
    "a read beside a write": [write("a", 0, 1), write("b", 2, 5, expected="a"), read("a", 3, 4), read("b", 3, 6)],
    "an unknown write that happened": [write("a", 0, FOREVER), read("a", 1, 2)],
    "an unknown write that did not": [write("a", 0, FOREVER), read(None, 1, 2), write("b", 3, 4), read("b", 5, 6)],
    "an unknown write that happened late": [write("a", 0, FOREVER), read(None, 1, 2), read("a", 3, 4)],
    "a refusal": [write("a", 0, 1), write("b", 2, 3, done=False), read("a", 4, 5)],
    "one of two wins": [write("a", 0, 3), write("b", 1, 4, done=False), read("a", 5, 6)],
    "deleted and made again": [write("a", 0, 1), write(None, 2, 3, expected="a"), write("b", 4, 5), read("b", 6, 7)],
    "blind": [write("a", 0, 1), write("b", 2, 3, blind=True), read("b", 4, 5)],
}  # fmt: skip
WRONG = {
    "a lost write": [write("a", 0, 1), read(None, 2, 3)],
    "a stale read": [write("a", 0, 1), write("b", 2, 3, expected="a"), read("a", 4, 5)],
    "a read that goes back": [write("a", 0, 1), write("b", 2, 9, expected="a"), read("b", 3, 4), read("a", 5, 6)],
    "both of two win": [write("a", 0, 3), write("b", 1, 4)],
    "none of two wins": [write("a", 0, 3, done=False), write("b", 1, 4, done=False)],
    "a refusal without a reason": [write("a", 0, 1), write("b", 2, 3, expected="a", done=False)],
    "a value out of nothing": [read("a", 0, 1)],
    "an unknown write seen before it was sent": [read("a", 0, 1), write("a", 2, FOREVER)],
    "an unknown write that comes and goes": [write("a", 0, FOREVER), read("a", 1, 2), read(None, 3, 4)],
    "a deletion undone": [write("a", 0, 1), write(None, 2, 3, expected="a"), read("a", 4, 5)],
}


@pytest.mark.parametrize("name", sorted(RIGHT))
def test_what_is_in_order_passes(name: str) -> None:
    check(RIGHT[name])


@pytest.mark.parametrize("name", sorted(WRONG))
def test_what_is_not_is_found(name: str) -> None:
    with pytest.raises(NotLinearizable):
        check(WRONG[name])


@pytest.mark.parametrize("seed", range(20))
def test_histories_of_a_real_register_pass_and_one_false_answer_is_found(seed: int) -> None:
    history = _history(random.Random(seed))
    check(history)
    rng = random.Random(seed)
    at = rng.choice([at for at, each in enumerate(history) if each.kind == "read"])
    wrong = history[at]
    history[at] = Operation(wrong.key, "read", "never written", wrong.began, wrong.ended)
    with pytest.raises(NotLinearizable):
        check(history)


def _history(rng: random.Random) -> list[Operation]:
    """Six clients whose operations take effect at a moment of their own, in the order of these."""
    calls = []
    for client in range(6):
        now = rng.random()
        for number in range(20):
            began, effect, ended = sorted(now + rng.random() for _ in range(3))
            calls.append((effect, began, ended, f"{client}.{number}"))
            now = ended
    state: str | None = None
    history = []
    for effect, began, ended, value in sorted(calls):
        lost = rng.random() < 0.05
        if rng.random() < 0.5:
            history.append(read(state, began, ended))
            continue
        expected = state if rng.random() < 0.7 else "something else"
        done = expected == state
        if done and not (lost and rng.random() < 0.5):
            state = value
        history.append(write(value, began, FOREVER if lost else ended, expected=expected, done=done))
        assert effect <= ended
    return history
