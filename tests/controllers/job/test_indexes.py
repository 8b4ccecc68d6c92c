"""Sets of indexes, written as the API writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.controllers.job.indexes import Indexes

NUMBERS = st.sets(st.integers(0, 40))


@pytest.mark.parametrize(
    ("numbers", "written"),
    [((), ""), ((3,), "3"), ((3, 4), "3,4"), ((3, 4, 5), "3-5"), ((0, 2, 3, 4, 7, 9, 10), "0,2-4,7,9,10")],
)
def test_they_are_written_as_ranges(numbers: tuple[int, ...], written: str) -> None:
    assert str(Indexes.of(numbers)) == written


@given(NUMBERS, NUMBERS)
def test_they_are_sets(left: set[int], right: set[int]) -> None:
    one, other = Indexes.of(left), Indexes.of(right)
    assert Indexes.parse(str(one), 100) == one
    assert len(one | other) == len(left | right)
    assert one.common(other) == len(left & right)
    assert [number for number in range(45) if number in one] == sorted(left)
    assert list(one.missing(30)) == [number for number in range(30) if number not in left]


@pytest.mark.parametrize("written", ["x", "3-x", "5-2", "-", ",", "7-", "٣", "9" * 5000])
def test_what_is_damaged_or_beyond_counts_for_nothing(written: str) -> None:
    assert len(Indexes.parse(written, 100)) in (0, 1)
    assert str(Indexes.parse("0-3,8,9-200", 10)) == "0-3,8,9"


@pytest.mark.timeout(30)
def test_many_ranges_against_many_cost_their_sum_and_not_their_product() -> None:
    even, odd = Indexes.of(range(0, 100_000, 2)), Indexes.of(range(1, 100_000, 2))
    assert (even.common(odd), even.common(even)) == (0, 50_000)
    assert sum(number in even for number in range(50_000, 100_000)) == 25_000
