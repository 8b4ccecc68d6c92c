"""Durations as Go writes them."""

from datetime import datetime, timedelta

import pytest

from sampan.api import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15s", 15), ("5m", 300), ("1m30.5s", 90.5), ("1h0m0s", 3600), ("100ms", 0.1), ("0", 0), ("15.25s", 15.25)],
)
def test_what_a_duration_comes_to(text: str, seconds: float) -> None:
    assert durations.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "15", "s", "-1s", "1s ", "1x", "1.2.3s", "9" * 100 + "s", "1s1"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="time: invalid duration"):
        durations.parse(text)


@pytest.mark.parametrize("seconds", [2**63 - 1, -(2**63), 1e300, 10**11])
def test_a_span_is_no_longer_than_dates_are(seconds: float) -> None:
    assert datetime(1, 1, 1) + durations.span(abs(seconds)) < datetime.max
    assert datetime.max - durations.span(abs(seconds)) > datetime.min
    assert durations.span(seconds) == -durations.span(-seconds) != timedelta(0)


def test_other_spans_are_what_was_asked_for() -> None:
    assert [durations.span(each) for each in (0, 30, -1, 0.5)] == [timedelta(seconds=each) for each in (0, 30, -1, 0.5)]
