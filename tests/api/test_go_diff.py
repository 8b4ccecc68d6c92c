"""What changed in a struct, as refusals show it: a unified diff without the names of files, within bounds."""

from __future__ import annotations

import difflib
import json
from random import Random
from typing import Any

from sampan.api import go_diff


def test_a_diff_has_three_lines_around_a_change_and_no_heading() -> None:
    old: dict[str, Any] = {"A": 1, "B": 2, "C": 3, "D": None, "E": ["x"], "F": 6}
    assert go_diff.diff(old, {**old, "E": []}) == (
        '@@ -3,8 +3,6 @@\n  "B": 2,\n  "C": 3,\n  "D": null,\n- "E": [\n-  "x"\n- ],\n+ "E": [],\n  "F": 6\n }\n'
    )


def test_what_is_the_same_or_too_long_to_be_compared_shows_nothing() -> None:
    assert go_diff.diff({"A": 1}, {"A": 1}) == ""
    assert go_diff.diff({"A": ["x"]}, {"A": ["x"] * 5000}) == ""


def test_a_diff_is_that_of_the_whole_texts() -> None:
    random = Random(3)
    for size in (1, 3, 20, 150, 300):
        old = {f"{number}": random.randrange(50) for number in range(size)}
        new = {**old, **{f"{random.randrange(size + 2)}": "<" for _ in range(5)}}
        before, after = (json.dumps(each, indent=1).replace("<", "\\u003c").splitlines() for each in (old, new))
        wanted = [*difflib.unified_diff(before, after, lineterm="")][2:]
        assert go_diff.diff(old, new) == "".join(f"{line}\n" for line in wanted)


def test_texts_that_repeat_themselves_are_not_compared_for_long(monkeypatch: Any) -> None:
    looked_at = 0
    look = difflib.SequenceMatcher.find_longest_match

    def counted(self: Any, alo: int, ahi: int, blo: int, bhi: int) -> Any:
        nonlocal looked_at
        looked_at += ahi - alo
        return look(self, alo, ahi, blo, bhi)

    monkeypatch.setattr(difflib.SequenceMatcher, "find_longest_match", counted)
    old = [number % 100 for number in range(1900)]
    assert go_diff.diff(old, old[::-1]) == ""
    assert looked_at < 20_000
