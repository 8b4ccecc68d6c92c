"""How archives go to containerd's tool: as they come, with their faults, and no longer than somebody waits."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
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


@pytest.fixture
def contents(tool: Path) -> Path:
    """The folder of what ``ctr content get`` knows, and of a line for each time that it is asked."""
    (tool / "ctr").write_text(f'#!/bin/sh\necho x >>{tool}/asked\nfor last; do :; done\nexec cat "{tool}/$last"\n')
    return tool


def index(*digests: str) -> str:
    return orjson.dumps({"manifests": [{"digest": digest} for digest in digests]}).decode()


async def test_the_ids_of_an_image_are_those_of_all_its_platforms(contents: Path) -> None:
    (contents / "sha256:0").write_text(index("sha256:1", "sha256:2", "sha256:3"))
    (contents / "sha256:1").write_text('{"config": {"digest": "sha256:c1"}}')
    (contents / "sha256:3").write_text('{"config": {"digest": "sha256:c3"}}')
    assert await ctr.image_ids("/socket", "sha256:0") == {"sha256:c1", "sha256:c3"}


@pytest.mark.parametrize(
    "content", ["", "[]", "[[", '{"manifests": 5}', '{"config": [], "manifests": [1, {}, {"digest": "--help"}]}']
)
async def test_what_is_no_manifest_is_told_in_words(contents: Path, content: str) -> None:
    (contents / "sha256:0").write_text(content)
    with pytest.raises(CtrError, match="is no image"):
        await ctr.image_ids("/socket", "sha256:0")


async def test_of_an_index_without_end_only_so_much_is_read(contents: Path) -> None:
    """An archive is whoever made it's: its manifest may be as long as its layers, and name itself."""
    (contents / "sha256:0").write_text(index("sha256:0", "sha256:b", "sha256:a", *["sha256:b"] * 10_000))
    (contents / "sha256:a").write_text('{"config": {"digest": "sha256:c"}}')
    with (contents / "sha256:b").open("wb") as large:
        large.truncate(1 << 40)
    assert await ctr.image_ids("/socket", "sha256:0") == {"sha256:c"}
    assert len((contents / "asked").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "line", ["two words:1 type sha256:ab 1.0 MiB linux -", "a:1", "", "a:1 type sha256:ab many MiB", "a:1 type -x 1 B"]
)
def test_a_name_that_is_none_hides_no_other_image(line: str) -> None:
    """An archive may name its images by any text, and the list shows it."""
    assert ctr.parse_line(line) is None
