"""The driver's directory through crashes and copies, and work that outlives whoever asked for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sampan.csi.driver import copying
from sampan.csi.driver.devices import parse_mount
from sampan.csi.driver.files import DamagedRecord, Files, Record
from sampan.csi.driver.jobs import Jobs


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.open()
    return made


def test_what_a_crash_left_half_made_is_swept_away(files: Files, holds: Any) -> None:
    files.make("volumes", Record("whole", "whole"), 4096)
    files.make("volumes", Record("going", "going"), 4096)
    (files.root / "volumes/going").rename(files.root / "volumes/.going-going")
    half = files.root / "volumes/.making-half"
    half.mkdir()
    (half / "disk").touch()
    assert [each.record.id for each in files.all("volumes")] == ["whole"]
    files.open()
    assert holds(files.root) == ["volumes/whole/disk", "volumes/whole/record.json"]


def test_what_fails_while_it_is_made_is_not_there(files: Files, holds: Any) -> None:
    def fill(disk: Path) -> None:
        disk.write_bytes(b"x")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        files.make("volumes", Record("a", "a"), 4096, fill)
    assert not holds(files.root) and files.find("volumes", "a") is None


def test_a_damaged_record_is_said_and_not_guessed(files: Files) -> None:
    files.make("volumes", Record("a", "a"), 4096)
    (files.root / "volumes/a/record.json").write_text("{")
    with pytest.raises(DamagedRecord, match="damaged"):
        files.find("volumes", "a")


def test_holes_stay_holes_in_a_copy(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    with source.open("wb") as file:
        file.write(b"head")
        file.seek(64 << 20)
        file.write(b"middle")
        file.truncate(256 << 20)
    copying.copy(source, target, 30)
    assert target.stat().st_size == 256 << 20
    assert target.stat().st_blocks * 512 < 1 << 20
    with target.open("rb") as file:
        assert file.read(4) == b"head"
        file.seek(64 << 20)
        assert file.read(6) == b"middle"


def test_a_copy_has_its_time(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"x" * 4096)
    with pytest.raises(copying.TooSlow, match="0 MiB were copied in -1 seconds"):
        copying.copy(source, tmp_path / "b", -1)


async def test_who_gives_up_and_asks_again_finds_the_work_going_on() -> None:
    jobs, go, begun = Jobs(), asyncio.Event(), 0

    async def work() -> int:
        nonlocal begun
        begun += 1
        await go.wait()
        return begun

    impatient = asyncio.ensure_future(jobs.join("v", "copy", work))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    again = asyncio.ensure_future(jobs.join("v", "copy", work))
    other = asyncio.ensure_future(jobs.join("v", "another", work))
    await asyncio.sleep(0)
    assert begun == 1
    go.set()
    assert await again == 1
    assert await other == 2


def test_a_line_of_mountinfo_is_read_with_its_escapes() -> None:
    line = "36 35 7:3 / /var/lib/a\\040b rw,noatime master:1 - ext4 /dev/loop3 ro,errors=continue\n"
    mount = parse_mount(line)
    assert mount is not None
    assert (mount.device, mount.root, str(mount.target), mount.read_only) == ("7:3", "/", "/var/lib/a b", False)
    assert parse_mount("nonsense\n") is None
