"""Where bodies end, however they arrive."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.server.http.bodies import Body, ChunkedFraming, LengthFraming, TooManyChunks
from sampan.server.http.heads import CHUNKED, Head, Refused
from sampan.server.http.limits import Limits


class Nobody:
    def body_begun(self) -> None:
        return

    def body_wanted(self) -> None:
        raise AssertionError("everything has arrived")

    def body_taken(self) -> None:
        return


def body(length: int, **limits: int) -> Body:
    head = Head()
    head.length = length
    return Body(head, Nobody(), Limits(**limits))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(ends)]


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
EXTENSIONS = st.sampled_from([b"", b";a", b" ;a=b", b';a="b c"'])
TRAILERS = st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nC: d\r\n"])
CUTS = st.lists(st.integers(min_value=0), max_size=12)
BEHIND = st.binary(max_size=20)


@given(CHUNKS, EXTENSIONS, TRAILERS, CUTS, BEHIND)
def test_chunks_are_the_same_however_they_are_cut(
    chunks: list[bytes], extension: bytes, trailer: bytes, places: list[int], behind: bytes
) -> None:
    sent = b"".join(b"%X%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    sent += b"000%s\r\n%s\r\n" % (extension, trailer) + behind
    framing, out, rest = ChunkedFraming(1000), [], None
    for part in cut(sent, places):
        if rest is not None:
            rest += part
            continue
        rest = framing.decode(part, out)
    assert b"".join(out) == b"".join(chunks)
    assert (rest or b"") == behind


@given(st.binary(max_size=60), CUTS, BEHIND)
def test_a_known_length_is_the_same_however_it_is_cut(data: bytes, places: list[int], behind: bytes) -> None:
    framing, out, rest = LengthFraming(len(data)), [], None
    for part in cut(data + behind, places):
        rest = framing.decode(part, out) if rest is None else rest + part
    assert b"".join(out) == data
    assert (rest or b"") == behind


@given(st.binary(max_size=80), CUTS)
def test_garbage_is_refused_or_waited_for_and_never_more(garbage: bytes, places: list[int]) -> None:
    framing, out = ChunkedFraming(1000), []
    try:
        for part in cut(garbage, places):
            if framing.decode(part, out) is not None:
                return
    except Refused as refused:
        assert refused.status == 400


def test_many_chunks_are_decoded_in_turns() -> None:
    framing, out = ChunkedFraming(10), []
    data = b"1\r\na\r\n" * 25 + b"0\r\n\r\nbehind"
    turns = 0
    while True:
        try:
            rest = framing.decode(data, out)
            break
        except TooManyChunks as more:
            data = more.rest
            turns += 1
    assert (b"".join(out), rest, turns) == (b"a" * 25, b"behind", 2)


def test_trailers_are_bounded() -> None:
    framing = ChunkedFraming(10)
    with pytest.raises(Refused):
        framing.decode(b"0\r\n" + b"A: b\r\n" * 2000 + b"\r\n", [])


async def test_a_body_is_read_whole_or_in_pieces() -> None:
    whole = body(6)
    assert whole.feed(b"abc") == b""
    assert whole.feed(b"defGET /") == b"GET /"
    assert await whole.read() == b"abcdef"
    pieces = body(CHUNKED)
    pieces.feed(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
    assert [piece async for piece in pieces.iterate()] == [b"abc"]


async def test_what_nobody_wants_is_not_kept() -> None:
    unwanted = body(6)
    unwanted.feed(b"abc")
    unwanted.discard()
    unwanted.feed(b"def")
    assert (unwanted.kept, unwanted.complete) == (0, True)
