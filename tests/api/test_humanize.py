"""Durations read as kubectl shows them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sampan.api import humanize

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"), (-1, "0s"), (0, "0s"), (0.9, "0s"), (119, "119s"), (120, "2m"), (123, "2m3s"),
        (9 * MINUTE + 59, "9m59s"), (10 * MINUTE + 5, "10m"), (179 * MINUTE, "179m"), (3 * HOUR, "3h"),
        (3 * HOUR + 5 * MINUTE, "3h5m"), (8 * HOUR + 5 * MINUTE, "8h"), (47 * HOUR, "47h"), (48 * HOUR, "2d"),
        (52 * HOUR, "2d4h"), (8 * DAY + HOUR, "8d"), (729 * DAY, "729d"), (730 * DAY, "2y"),
        (5 * 365 * DAY + 30 * DAY, "5y30d"), (8 * 365 * DAY + DAY, "8y"),
    ],
)  # fmt: skip
def test_human_duration(seconds: float, text: str) -> None:
    assert humanize.human_duration(seconds) == text


def test_no_time_is_unknown() -> None:
    assert humanize.since(None, datetime(2026, 1, 1, tzinfo=UTC)) == "<unknown>"
