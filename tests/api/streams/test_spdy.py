"""SPDY framing: the dictionary is the protocol's, frames survive any cut, broken ones are refused."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.streams import spdy


def test_the_dictionary_is_the_one_of_the_specification() -> None:
    assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_streams_are_opened_with_their_headers() -> None:
    sender, receiver = spdy.Codec(), spdy.Codec()
    wire = sender.syn_stream(1, {"streamType": "error"}) + sender.syn_stream(3, {"streamtype": "stdout"}, fin=True)
    first, second = receiver.feed(wire)
    assert (first.kind, first.stream_id, first.headers, first.fin) == (1, 1, {"streamtype": "error"}, False)
    assert (second.stream_id, second.headers, second.fin) == (3, {"streamtype": "stdout"}, True)


@given(st.binary(max_size=300), st.integers(1, 40))
def test_frames_survive_any_cut(payload: bytes, step: int) -> None:
    sender, receiver = spdy.Codec(), spdy.Codec()
    wire = sender.syn_reply(5, {}) + spdy.data_frame(5, payload) + spdy.ping_frame(7) + spdy.rst_frame(5, 3)
    frames = [f for cut in range(0, len(wire), step) for f in receiver.feed(wire[cut : cut + step])]
    others = [frame for frame in frames if frame.kind != spdy.DATA]
    assert [frame.kind for frame in others] == [spdy.SYN_REPLY, spdy.PING, spdy.RST_STREAM]
    assert (others[1].value, others[2].value) == (7, 3)
    assert b"".join(frame.data for frame in frames) == payload


def test_only_the_last_piece_of_a_data_frame_ends_the_stream() -> None:
    codec, wire = spdy.Codec(), spdy.data_frame(1, b"abcd", fin=True)
    pieces = [*codec.feed(wire[:10]), *codec.feed(wire[10:])]
    assert [(piece.data, piece.fin) for piece in pieces] == [(b"ab", False), (b"cd", True)]


def test_a_data_frame_of_any_size_is_held_nowhere() -> None:
    codec = spdy.Codec()
    head = b"\0\0\0\1\0\xff\xff\xff"
    assert sum(len(frame.data) for frame in codec.feed(head + b"x" * 65536)) == 65536
    assert len(codec._buffer) == 0


def test_goaway_is_understood() -> None:
    (frame,) = spdy.Codec().feed(spdy.goaway_frame(9, 2))
    assert (frame.kind, frame.stream_id, frame.value) == (spdy.GOAWAY, 9, 2)


@pytest.mark.parametrize(
    "wire",
    [
        b"\x80\x02\x00\x01\x00\x00\x00\x00",
        b"\x80\x03\x00\x06\x00\x00\x00\x01\x00",
        b"\x80\x03\x00\x02\x00\x00\x00\x08\0\0\0\x01oops",
        b"\x80\x03\x00\x01\x00\x02\x00\x00",  # 128 KiB of headers
        spdy.Codec().syn_reply(1, {f"h{number}": "" for number in range(100)}),
        spdy.Codec().syn_reply(1, {"bomb": "x" * 1_000_000}),
    ],
)
def test_broken_frames_are_refused(wire: bytes) -> None:
    with pytest.raises(spdy.SpdyError):
        list(spdy.Codec().feed(wire))
