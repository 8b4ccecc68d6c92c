"""Which API server a client asks first, and what it makes of one that is not there."""

from __future__ import annotations

from collections import Counter

import pytest

from sampan.client.servers import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, MOST, Servers

A, B, C = "https://a:6443", "https://b:6443", "https://c:6443"


def test_one_that_was_not_there_comes_last_until_its_pause_is_over() -> None:
    servers = Servers([A, B, C])
    servers.failed(A, 10.0)
    assert servers.order(10.0) == (B, C, A)
    assert servers.order(10.0 + FIRST_PAUSE_SECONDS) == (A, B, C)


def test_the_pause_grows_to_a_limit_and_begins_anew_after_an_answer() -> None:
    servers, now = Servers([A, B]), 0.0
    for _ in range(12):
        servers.failed(A, now)
        assert servers.order(now) == (B, A)
        now += LONGEST_PAUSE_SECONDS
        assert servers.order(now) == (A, B)
    servers.answered(A)
    servers.failed(A, now)
    assert servers.order(now + FIRST_PAUSE_SECONDS) == (A, B)


def test_what_fails_at_the_same_time_is_one_failure() -> None:
    servers = Servers([A, B])
    for _ in range(100):
        servers.failed(A, 5.0)
    assert servers.order(5.0 + FIRST_PAUSE_SECONDS) == (A, B)


def test_when_none_is_there_the_one_that_failed_first_is_asked_first() -> None:
    servers = Servers([A, B, C])
    for moment, url in enumerate((B, C, A)):
        servers.failed(url, moment / 10)
    assert servers.order(0.3) == (B, C, A)


def test_the_near_one_is_first_and_stays_whatever_the_list_says() -> None:
    servers = Servers([A, B], near=C, place="node")
    assert servers.urls[0] == C
    assert servers.update([B])
    assert servers.urls == (C, B)


def test_an_empty_list_changes_nothing_and_none_at_all_is_refused() -> None:
    servers = Servers([A])
    assert not servers.update([])
    assert servers.urls == (A,)
    with pytest.raises(ValueError, match="no API server"):
        Servers([])


def test_the_same_list_in_another_order_is_no_change_where_the_place_decides() -> None:
    servers = Servers([A, B, C], place="node-1")
    assert not servers.update([C, B + "/", A])
    assert servers.update([A, B])


def test_many_clients_spread_and_a_server_that_goes_moves_only_its_own() -> None:
    names = [f"node-{number}" for number in range(300)]
    before = {name: Servers([A, B, C], place=name).urls[0] for name in names}
    assert min(Counter(before.values()).values()) > 60
    after = {name: Servers([A, B], place=name).urls[0] for name in names}
    assert all(after[name] == url for name, url in before.items() if url != C)


def test_a_list_is_bounded() -> None:
    assert len(Servers(f"https://host{number}" for number in range(1000))) == MOST
