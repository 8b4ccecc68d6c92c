"""Days as labels and ConfigMaps have them: only Go's ``2006-01-02``."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sampan.api.clock import parse_day


def test_a_day_is_read_as_its_beginning_in_utc() -> None:
    assert parse_day("2024-02-29") == datetime(2024, 2, 29, tzinfo=UTC)


_NO_DAYS = (
    "", "2024-2-29", "2023-02-29", "20240229", "2024-W09-4", "2024-02-29T00", "２０２４-02-29", "0000-01-01",
)  # fmt: skip


@pytest.mark.parametrize("text", _NO_DAYS)
def test_what_go_would_not_take_for_a_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"day|year"):
        parse_day(text)
