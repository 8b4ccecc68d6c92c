"""Quantities are exact, canonical and rounded as upstream does."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api import quantity


@pytest.mark.parametrize(
    ("text", "canonical", "value", "millis"),
    [
        ("0", "0", 0, 0),
        ("100m", "100m", 1, 100),
        ("0.5", "500m", 1, 500),
        ("1.5Gi", "1536Mi", 1610612736, 1610612736000),
        ("1024Mi", "1Gi", 1 << 30, (1 << 30) * 1000),
        ("1.1Mi", "1153433600m", 1153434, 1153433600),
        ("1e3", "1e3", 1000, 1000000),
        ("1000k", "1M", 1000000, 1000000000),
        ("1E", "1E", 10**18, 10**21),
        ("1Ki", "1Ki", 1024, 1024000),
        ("512", "512", 512, 512000),
        ("+5", "5", 5, 5000),
        ("-1500m", "-1500m", -2, -1500),
        ("1n", "1n", 1, 1),
        ("0.0000000001", "1n", 1, 1),
        ("9Ei", "9223372036854775807", 2**63 - 1, (2**63 - 1) * 1000),
    ],
)
def test_canonical_form_and_rounding(text: str, canonical: str, value: int, millis: int) -> None:
    assert quantity.canonical(text) == canonical
    assert quantity.value(text) == value
    assert quantity.millis(text) == millis


@pytest.mark.parametrize("text", ["", "a", "1kk", "1.2.3", "Gi", "1 Gi", "1e", "--1", "1e99999999", ".", "1ki"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match the regular expression"):
        quantity.parse(text)


@given(st.integers(-(10**15), 10**15), st.sampled_from(["n", "u", "m", "", "k", "M", "Ki", "Mi"]))
def test_the_canonical_form_keeps_the_value(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    once = quantity.canonical(text)
    assert quantity.parse(once) == quantity.parse(text)
    assert quantity.canonical(once) == once


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_sums_and_order_are_those_of_the_numbers(left: int, right: int) -> None:
    a, b = f"{left}m", f"{right}m"
    assert quantity.parse(quantity.add(a, b)) == Fraction(left + right, 1000)
    assert quantity.parse(quantity.subtract(a, b)) == Fraction(left - right, 1000)
    assert quantity.compare(a, b) == (left > right) - (left < right)


def test_a_number_of_thousands_of_digits_is_no_quantity() -> None:
    for text in ("1" * 5000, "0." + "1" * 5000, "1" * 5000 + "Ki"):
        with pytest.raises(ValueError, match="quantities must match"):
            quantity.canonical(text)
