"""How archives go to containerd's tool: as they come, with their faults, and no longer than somebody waits."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.node.images import ctr
from sampan.node.images.archives import ArchiveError
from sampan.node.images.ctr import CtrError, Listed

IMPORTED = "unpacking docker.io/library/app:1 (sha256:abc)...done"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Says its process id and what it was sent."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program = tmp_path / "ctr"
    program.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\ncat >{tmp_path}/sent\necho '{IMPORTED}'\n")
    program.chmod(0o755)
    return tmp_path


async def test_an_archive_is_sent_piece_by_piece_and_its_images_are_told(tool: Path) -> None:
    assert await ctr.import_archive("/socket", iter([b"one", b"two" * 500_000])) == [
        Listed("docker.io/library/app:1", "sha256:abc")
    ]
    assert (tool / "sent").read_bytes() == b"one" + b"two" * 500_000


async def test_what_is_wrong_with_an_archive_is_told_and_the_tool_is_ended(tool: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one"
        raise ArchiveError("it is damaged")

    with pytest.raises(ArchiveError, match="it is damaged"):
        await ctr.import_archive("/socket", pieces())


async def test_what_the_tool_says_last_is_why_it_failed(tool: Path) -> None:
    (tool / "ctr").write_text("#!/bin/sh\necho first >&2\necho 'ctr: no such thing' >&2\nexit 1\n")
    with pytest.raises(CtrError, match=r"^no such thing$"):
        await ctr.import_archive("/socket", [b"x" * 5_000_000])


async def test_an_import_whose_archive_never_comes_ends_when_nobody_waits(tool: Path) -> None:
    reading, released = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def pieces() -> Iterator[bytes]:
        yield b"one"
        loop.call_soon_threadsafe(reading.set)
        released.wait(60)

    importing = asyncio.create_task(ctr.import_archive("/socket", pieces()))
    await asyncio.wait_for(reading.wait(), 30)
    importing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await importing
    pid = (tool / "pid").read_text() if (tool / "pid").exists() else ""
    if pid.strip():  # on a busy machine it may have been ended before it could say
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
    released.set()
