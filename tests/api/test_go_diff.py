"""What changed in a struct, as refusals show it: a unified diff without the names of files, within bounds."""

from __future__ import annotations

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
