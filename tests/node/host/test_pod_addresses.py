"""Addresses of simulated pods."""

from __future__ import annotations

import pytest

from sampan.node.pod_addresses import AddressesExhausted, PodAddresses


def test_each_sandbox_has_its_own_until_the_range_is_used_up() -> None:
    addresses = PodAddresses("10.0.0.0/29")
    assert [addresses.take(str(number)) for number in range(5)] == [f"10.0.0.{last}" for last in range(2, 7)]
    with pytest.raises(AddressesExhausted):
        addresses.take("one more")


def test_an_address_that_was_given_back_is_the_last_to_be_taken_again() -> None:
    addresses = PodAddresses("10.0.0.0/29")
    addresses.take("a")
    addresses.give_back("a")
    addresses.give_back("a")
    assert [addresses.take(name) for name in "bcdef"] == [f"10.0.0.{last}" for last in (3, 4, 5, 6, 2)]
