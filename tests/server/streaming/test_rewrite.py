"""Links in proxied HTML: which are led back through the proxy, cut anywhere, and what hostile documents cost."""

from __future__ import annotations

import gzip
import random
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.server.streaming.rewrite import MAX_TAG_BYTES, PIECE_BYTES, Inflater, LinkRewriter, rewrite_link

PREFIX = "/api/v1/namespaces/ns/pods/p/proxy"
HOSTS = frozenset({"10.0.0.9:80", "10.0.0.9", "api:6443"})


def rewritten(document: bytes, step: int = 1 << 20) -> bytes:
    rewriter = LinkRewriter(PREFIX, HOSTS)
    pieces = [rewriter.feed(document[cut : cut + step]) for cut in range(0, len(document), step)]
    return b"".join([*pieces, rewriter.finish()])


@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        ("/a/b?c=d#e", f"{PREFIX}/a/b?c=d#e"),
        ("/", f"{PREFIX}/"),
        ("http://10.0.0.9:80/x", f"{PREFIX}/x"),
        ("https://API:6443", f"{PREFIX}/"),
        ("//10.0.0.9/x", f"{PREFIX}/x"),
        ("relative/x", "relative/x"),
        ("?q", "?q"),
        ("http://elsewhere.example/x", "http://elsewhere.example/x"),
        ("//elsewhere.example/x", "//elsewhere.example/x"),
        ("mailto:a@b", "mailto:a@b"),
        (f"{PREFIX}/x", f"{PREFIX}/x"),
    ],
)
def test_only_links_into_the_backend_are_led_through_the_proxy(link: str, wanted: str) -> None:
    assert rewrite_link(link, PREFIX, HOSTS) == wanted


P = PREFIX.encode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'<a href="/x">/x</a>', b'<a href="%s/x">/x</a>' % P),
        (b"<A class=c HREF = '/x' >", b"<A class=c HREF = '%s/x' >" % P),
        (b"<img src=/i.png alt=/x>", b"<img src=%s/i.png alt=/x>" % P),
        (b'<form method="post" action="/f">', b'<form method="post" action="%s/f">' % P),
        (b'<div href="/x">', b'<div href="/x">'),
        (b'<a title="<>" href="/x">', b'<a title="<>" href="%s/x">' % P),
        (b'<a title="href=\'/y\'" href="/x">', b'<a title="href=\'/y\'" href="%s/x">' % P),
        (b'<!-- <a href="/x"> --><a href="/y">', b'<!-- <a href="/x"> --><a href="%s/y">' % P),
        (
            b'<script src="/s.js">w(\'<a href="/x">\')</script><a href="/y">',
            b'<script src="%s/s.js">w(\'<a href="/x">\')</script><a href="%s/y">' % (P, P),
        ),
        (b'<a href="/unfinished', b'<a href="/unfinished'),
        (b'1 < 2 <a href="/x">', b'1 < 2 <a href="%s/x">' % P),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 7, 1 << 20])
def test_html_is_rewritten_wherever_it_is_cut(before: bytes, after: bytes, step: int) -> None:
    assert rewritten(before, step) == after


@given(
    st.lists(
        st.sampled_from([b"<", b"a ", b"href=", b'"', b"'", b"/x", b">", b"<!--", b"-->", b"<script>", b"</", b" "])
    )
)
def test_any_document_gives_the_same_wherever_it_is_cut(parts: list[bytes]) -> None:
    document = b"".join(parts)
    assert rewritten(document, 1) == rewritten(document)


@pytest.mark.parametrize(
    "unit",
    [b"<", b'<a href="', b"<a =", b"<a a", b"<a = \"'", b" =", b"<!-", b"<script>", b"a", b"<a x='", b"<a href=/>"],
)
def test_hostile_markup_takes_linear_time_and_little_memory(unit: bytes) -> None:
    document = b"<a " + unit * (4 * MAX_TAG_BYTES // len(unit))
    rewriter = LinkRewriter(PREFIX, HOSTS)
    worst, out = 0.0, 0
    for start in range(0, len(document), PIECE_BYTES):
        began = time.process_time()
        out += len(rewriter.feed(document[start : start + PIECE_BYTES]))
        worst = max(worst, time.process_time() - began)
        assert len(rewriter._held) <= MAX_TAG_BYTES + PIECE_BYTES
    assert out + len(rewriter.finish()) >= len(document)
    assert worst < 0.1  # a quadratic scan of one held tag would take seconds


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw"])
def test_compressed_documents_come_out_in_bounded_pieces(encoding: str) -> None:
    plain = random.Random(1).randbytes(1000) * 5000
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(plain, 1),
        "deflate": zlib.compress(plain, 1),
        "raw": raw.compress(plain) + raw.flush(),
    }[encoding]
    inflater = Inflater("gzip" if encoding == "gzip" else "deflate")
    pieces = [piece for cut in range(0, len(packed), 1000) for piece in inflater.feed(packed[cut : cut + 1000])]
    assert b"".join(pieces) == plain
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert inflater.ended


def test_data_that_is_not_compressed_is_an_error() -> None:
    with pytest.raises(ValueError, match="broken compressed data"):
        list(Inflater("gzip").feed(b"<html>"))
