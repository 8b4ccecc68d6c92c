"""Reading logs: the CRI format, tails, filters, following across rotation, and what is refused."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.clock import FixedClock
from sampan.node.logs.inotify import DirectoryWatches
from sampan.node.logs.lines import fixed_time, parse_line
from sampan.node.logs.reader import Ending, LogOptions, read_log
from sampan.node.logs.rotation import LogRotator, runtime_logs
from sampan.node.logs.segments import last_lines, open_segment
from sampan.node.safepath import UnsafePath


def line(text: str, second: int = 0, stream: str = "stdout", tag: str = "F") -> str:
    return f"2026-03-01T12:00:{second:02}.5Z {stream} {tag} {text}\n"


async def read(path: Path, **options: Any) -> str:
    chunks = read_log(path, LogOptions(**options), Ending(True), DirectoryWatches())
    return b"".join([chunk async for chunk in chunks]).decode()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_text("".join(line(f"l{n}", n, "stderr" if n % 2 else "stdout") for n in range(6)))
    return path


def test_lines_that_are_not_of_the_format_are_no_lines() -> None:
    assert parse_line(b"garbage") is None
    assert parse_line(b"2026-03-01T12:00:00Z stdlog F x") is None
    parsed = parse_line(b"2026-03-01T12:00:00Z stdout P:x a  b ")
    assert parsed is not None
    assert (parsed.partial, parsed.text) == (True, b"a  b ")


def test_times_are_shown_with_nine_digits() -> None:
    assert fixed_time(b"2026-03-01T12:00:00.5+01:00") == b"2026-03-01T12:00:00.500000000+01:00"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "l0 l1 l2 l3 l4 l5"),
        ({"tail_lines": 2}, "l4 l5"),
        ({"tail_lines": 0}, ""),
        ({"tail_lines": 99}, "l0 l1 l2 l3 l4 l5"),
        ({"stream": "Stderr"}, "l1 l3 l5"),
        ({"since": datetime(2026, 3, 1, 12, 0, 4, tzinfo=UTC)}, "l4 l5"),
        ({"limit_bytes": 4}, "l0 l"),
    ],
)
async def test_options_select_lines(log: Path, options: dict[str, Any], expected: str) -> None:
    assert " ".join((await read(log, **options)).split("\n")).strip() == expected


async def test_parts_are_joined_and_stamped_once(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text(line("ab", tag="P") + line("cd") + line("unfinished").rstrip("\n"))
    assert await read(path, timestamps=True) == (
        "2026-03-01T12:00:00.500000000Z abcd\n2026-03-01T12:00:00.500000000Z unfinished\n"
    )


async def test_rotated_files_are_part_of_the_log(log: Path) -> None:
    with gzip.open(f"{log}.20260301-100000.gz", "wt") as file:
        file.write(line("old0") + line("old1"))
    Path(f"{log}.20260301-110000").write_text(line("mid0"))
    assert (await read(log)).split()[:4] == ["old0", "old1", "mid0", "l0"]
    assert (await read(log, tail_lines=8)).split()[:3] == ["old1", "mid0", "l0"]
    assert (await read(log, tail_lines=7)).split()[:2] == ["mid0", "l0"]


@given(texts=st.lists(st.integers(0, 90_000), max_size=6), count=st.integers(0, 8), closed=st.booleans())
def test_tail_begins_where_the_last_lines_do(
    tmp_path_factory: pytest.TempPathFactory, texts: list[int], count: int, closed: bool
) -> None:
    path = tmp_path_factory.mktemp("tail") / "0.log"
    lines = [b"x" * length + b"\n" for length in texts]
    if lines and not closed:
        lines[-1] = lines[-1].rstrip(b"\n") or b"y"
    path.write_bytes(b"".join(lines))
    with open_segment(path.parent, path.name) as file:
        _, offset = last_lines(path.parent, [], file, count)
        file.seek(offset)
        assert file.read() == b"".join(lines[max(0, len(lines) - count) :] if count else [])


async def test_follower_sees_rotation_and_ends_with_the_container(log: Path) -> None:
    ending, watches, got = Ending(), DirectoryWatches(), bytearray()
    rotator = LogRotator(
        lambda container_id: _reopen(log), FixedClock(datetime(2026, 3, 1, 12, tzinfo=UTC)), max_bytes=1
    )

    async def follow() -> None:
        async for chunk in read_log(log, LogOptions(follow=True, tail_lines=1), ending, watches):
            got.extend(chunk)
            seen.set()

    seen = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(follow())
        await seen.wait()
        assert await rotator.rotate_if_large("c", log)
        seen.clear()
        with log.open("a") as file:
            file.write(line("after"))
        await seen.wait()
        with log.open("a") as file:
            file.write(line("last words"))
        ending.end()
    assert got.decode().split("\n") == ["l5", "after", "last words", ""]
    assert watches._fd == -1


async def _reopen(path: Path) -> None:
    path.touch()


async def test_rotation_keeps_five_files_and_compresses_older_ones(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    clock = FixedClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
    rotator = LogRotator(lambda container_id: _reopen(path), clock, max_bytes=1)
    for minute in range(8):
        clock.set(datetime(2026, 3, 1, 12, minute, tzinfo=UTC))
        path.write_text(line(f"m{minute}"))
        await rotator.rotate_if_large("c", path)
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == [
        "0.log",
        "0.log.20260301-120400.gz",
        "0.log.20260301-120500.gz",
        "0.log.20260301-120600.gz",
        "0.log.20260301-120700",
    ]
    assert (await read(path)).split() == ["m4", "m5", "m6", "m7"]


async def test_failed_reopen_puts_the_log_back(log: Path) -> None:
    async def fail(container_id: str) -> None:
        raise OSError("no")

    rotator = LogRotator(fail, FixedClock(datetime(2026, 3, 1, tzinfo=UTC)), max_bytes=1)
    with pytest.raises(OSError, match="no"):
        await rotator.rotate_if_large("c", log)
    assert log.exists()


async def test_symlink_in_place_of_the_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.log").symlink_to("/etc/passwd")
    with pytest.raises(UnsafePath):
        await read(tmp_path / "0.log")


async def test_running_logs_are_found_by_labels(tmp_path: Path) -> None:
    labels = {
        "io.kubernetes.pod.uid": "u1",
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "ns",
        "io.kubernetes.container.name": "c",
    }
    found = [SimpleNamespace(id=f"id{n}", state=state, labels=labels, attempt=n) for n, state in enumerate(STATES)]

    async def list_containers() -> list[Any]:
        return found

    running = runtime_logs(SimpleNamespace(list_containers=list_containers), tmp_path)  # type: ignore[arg-type] # one call
    assert list(await running()) == [("id1", tmp_path / "ns_web_u1/c/1.log")]


STATES = ("exited", "running")
