"""Logs are read as ``tail`` reads them, in pieces, whatever becomes of the file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from sampan.cluster import logs


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, -1])
@pytest.mark.parametrize("text", [b"", b"a", b"a\n", b"a\nb", b"a\nb\n", b"\n\n\n", b"a\n\nbcdef\ng\n", b"long" * 9])
@pytest.mark.parametrize("chunk", [1, 2, 3, 64])
def test_the_last_lines_are_what_splitting_all_of_it_gives(
    monkeypatch: pytest.MonkeyPatch, text: bytes, count: int, chunk: int
) -> None:
    monkeypatch.setattr(logs, "CHUNK_BYTES", chunk)
    lines = text.splitlines(keepends=True)
    wanted = lines if count < 0 else lines[len(lines) - min(count, len(lines)) :]
    assert b"".join(logs.last_lines(io.BytesIO(text), count)) == b"".join(wanted)


def test_no_piece_is_longer_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "CHUNK_BYTES", 8)
    assert all(len(piece) <= 8 for piece in logs.last_lines(io.BytesIO(b"x" * 100), -1))


def test_a_log_that_is_put_aside_is_read_to_its_end_and_the_new_one_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"one\n")
    followed = logs.Followed(path)
    assert b"".join(followed.begin(-1)) == b"one\n"
    assert b"".join(followed.more()) == b""
    with path.open("ab") as log:
        log.write(b"two\n")
    path.rename(tmp_path / "x.log.1")
    assert b"".join(followed.more()) == b"two\n"
    path.write_bytes(b"three\n")
    assert b"".join(followed.more()) == b"three\n"
    path.write_bytes(b"4\n")  # emptied in place
    assert b"".join(followed.more()) == b"4\n"
    followed.close()
