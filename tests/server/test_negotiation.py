"""What a client accepts: from whom nobody knows, too, so that its cost is bounded."""

from __future__ import annotations

import tracemalloc

import pytest

from sampan.api.errors import NotAcceptable
from sampan.server.negotiation import Media, negotiate, parse_accept

LONG = 64 * 1024


def test_of_a_header_of_thousands_of_clauses_few_are_read() -> None:
    assert len(parse_accept("a," * (LONG // 2))) <= 64
    assert len(parse_accept("a;b=" + "c" * LONG)[0].params[0][1]) <= 2048
    with pytest.raises(NotAcceptable):
        negotiate("a," * (LONG // 2), frozenset())


def test_long_headers_of_strangers_are_not_remembered_whole() -> None:
    tracemalloc.start()
    try:
        for number in range(300):
            clauses = f"text/x{number}," * 100
            negotiate("application/json," + clauses + "a" * (LONG - len(clauses)), frozenset())
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 300 * LONG / 2


def test_what_a_client_means_stands_at_the_beginning() -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json," + "text/plain," * 10_000
    assert negotiate(accept, frozenset({"Table"})) == Media("json", "Table")


def test_a_version_without_a_form_makes_no_form_of_its_own() -> None:
    """Else what watchers of one form share would be made and kept once for each version that somebody thinks of."""
    assert {negotiate(f"application/json;v=v{number}", frozenset()) for number in range(5)} == {Media()}
