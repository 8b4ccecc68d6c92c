"""Heads as they are read, and remembered. What is refused is in tests/server/hostile/test_smuggling.py."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.server.http.heads import CHUNKED, Head, HeadMemo, HeadParser, Refused
from sampan.server.http.limits import Limits

NAMES = st.text("aä+%&= ;", min_size=1, max_size=4)


def parse(text: str) -> Head:
    return HeadParser(Limits()).parse(text.encode() + b"\r\n\r\n")


def test_a_head_is_taken_apart_and_nothing_in_it_is_changed() -> None:
    head = parse("GET //a/../%2e%2e/b%2fc?q=a%20b&q=c&e= HTTP/1.1\r\nHost: x\r\nAccept:  a, b\t\r\nX-ID:\r\nx-id: 2")
    assert (head.method, head.path, head.raw_query) == ("GET", "//a/../%2e%2e/b%2fc", "q=a%20b&q=c&e=")
    assert head.query == {"q": "a b", "e": ""}
    assert head.query_lists == {"q": ["a b", "c"], "e": [""]}
    assert head.headers == {"host": "x", "accept": "a, b", "x-id": ", 2"}
    assert head.header_lists == {"x-id": ["", "2"]}
    assert (head.length, head.keep_alive, head.is_http_1_0, head.expects_continue) == (0, True, False, False)


@pytest.mark.parametrize(
    ("lines", "keep_alive"),
    [
        ("GET / HTTP/1.1\r\nHost: x", True),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, Close", False),
        ("GET / HTTP/1.0", False),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive", True),
        ("GET / HTTP/1.7\r\nHost: x", True),
    ],
)
def test_what_becomes_of_the_connection(lines: str, keep_alive: bool) -> None:
    assert parse(lines).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("target", "path"),
    [("http://x/a/b?c", "/a/b"), ("https://x", "/"), ("*", "*"), ("/a#b", "/a#b"), ("/ä", "/ä")],
)
def test_forms_of_the_target(target: str, path: str) -> None:
    assert parse(f"OPTIONS {target} HTTP/1.1\r\nHost: x").path == path


def test_bodies_are_announced_by_length_or_in_chunks() -> None:
    assert parse("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 12").length == 12
    assert parse("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked").length == CHUNKED
    assert parse("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-Continue").expects_continue
    assert not parse("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nExpect: 100-continue").expects_continue


def test_header_bytes_that_are_no_text_spoil_their_own_line_only() -> None:
    head = HeadParser(Limits()).parse("GET / HTTP/1.1\r\nHost: x\r\nB: ä\r\n".encode() + b"A: \xff\r\n\r\n")
    assert (head.headers["a"], head.headers["b"]) == ("ÿ", "ä")


def test_more_than_one_credential_is_a_fault_and_so_are_too_many_parameters() -> None:
    assert parse("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b").fault is not None
    fault = parse(f"GET /?{'&'.join('a=b' for _ in range(1001))} HTTP/1.1\r\nHost: x").fault
    assert fault is not None
    assert fault.message == "invalid query: it has more than 1000 parameters"


@pytest.mark.parametrize(
    ("query", "lists"),
    [
        ("a=1&a=2&b", {"a": ["1", "2"], "b": [""]}),
        ("a=%3D%26%25+%2B", {"a": ["=&% +"]}),
        ("a=b=c&=d&&", {"a": ["b=c"], "": ["d"]}),
        ("%61=%C3%A4&b=ä", {"a": ["ä"], "b": ["ä"]}),
        ("a=%FF", {"a": ["\ufffd"]}),
        ("a=%&b=%1&c=%zz&d=%%20&e=1%", {}),
        ("a=1;b=2&c=3", {"c": ["3"]}),
        ("a=_%5F_=%3d", {"a": ["___=="]}),
        ("a=b%0Ac%0D%0A", {"a": ["b\nc\r\n"]}),
    ],
)
def test_queries_are_read_as_go_reads_them(query: str, lists: dict[str, list[str]]) -> None:
    head = parse(f"GET /?{query} HTTP/1.1\r\nHost: x")
    assert head.query_lists == lists
    assert head.query == {key: values[0] for key, values in lists.items()}


@settings(max_examples=40)
@given(st.lists(st.tuples(NAMES, st.text(max_size=12)), max_size=4).map(dict))
def test_whatever_is_escaped_comes_back(parameters: dict[str, str]) -> None:
    assert parse(f"GET /?{urlencode(parameters)} HTTP/1.1\r\nHost: x").query == parameters


def test_names_are_remembered_within_a_bound() -> None:
    parser = HeadParser(Limits())
    for number in range(3000):
        parser.parse(b"GET / HTTP/1.1\r\nHost: x\r\nX-%d: a\r\n\r\n" % number)
    assert len(parser._names) <= 1024
    assert parser.parse(b"GET / HTTP/1.1\r\nHost: x\r\nX-2999: a\r\n\r\n").headers["x-2999"] == "a"


def test_a_line_feed_is_missed_by_no_cut() -> None:
    """A CR at the end of one piece belongs to the LF at the start of the next."""
    parser = HeadParser(Limits())
    parser.check_partial(bytearray(b"GET / HTTP/1.1\r"), 0)
    parser.check_partial(bytearray(b"GET / HTTP/1.1\r\nHost: "), 15)
    with pytest.raises(Refused):
        parser.check_partial(bytearray(b"GET / HTTP/1.1\r\nHost: x\n"), 23)


def _raw(number: int) -> bytes:
    return b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number


def test_a_head_is_remembered_from_its_second_appearance_on() -> None:
    memo, head = HeadMemo(), Head()
    assert memo.get(_raw(1)) is None
    memo.add(_raw(1), head)
    assert memo.get(_raw(1)) is None
    memo.add(_raw(1), head)
    assert memo.get(_raw(1)) is head


def test_heads_with_a_fault_or_of_great_length_are_not_remembered() -> None:
    memo = HeadMemo()
    with_body = parse("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1")
    faulty = parse("FOO / HTTP/1.1\r\nHost: x")
    for raw, head in ((b"a", with_body), (b"b", faulty), (b"c" * 10_000, Head())):
        for _ in range(3):
            memo.add(raw, head)
        assert memo.get(raw) is (head if head is with_body else None)


def test_what_is_used_outlives_what_is_not_and_all_is_bounded() -> None:
    memo, used = HeadMemo(heads=10, all_bytes=10_000), Head()
    for _ in range(2):
        memo.add(_raw(0), used)
    for number in range(1, 200):
        for _ in range(2):
            memo.add(_raw(number), Head())
        assert memo.get(_raw(0)) is used
        assert len(memo) <= 20


def test_heads_are_bounded_in_bytes() -> None:
    memo = HeadMemo(heads=1000, all_bytes=10_000)
    for number in range(200):
        for _ in range(2):
            memo.add(b"%04d" % number * 250, Head())
    assert len(memo) <= 20


def test_heads_that_come_once_leave_nothing_but_a_hash() -> None:
    memo = HeadMemo(heads=10)
    for number in range(1000):
        memo.add(_raw(number), Head())
    assert len(memo) == 0
    assert len(memo._seen) <= 40
