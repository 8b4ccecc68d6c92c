"""Room in the file that deletes and compaction leave goes back to the disk."""

import asyncio
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sampan.api.clock import FixedClock
from sampan.store.sqlite import SqliteStore, StoreLocked
from sampan.store.sqlite.shrinking import Room, vacuum

CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
MIB = 1024 * 1024


async def grown(directory: Path) -> SqliteStore:
    """A store whose file has some 40 MiB of nothing."""
    store = await SqliteStore.open(directory, clock=CLOCK)
    value = bytes(MIB // 4)
    await asyncio.gather(*(store.commit(f"/big{n}", 0, value) for n in range(160)))
    await store.commit("/small", 0, b"kept")
    await asyncio.gather(*(store.commit(f"/big{n}", None, None) for n in range(160)))
    await store.compact(store.revision)
    return store


async def test_a_file_shrinks_after_compaction_while_it_is_written_to(tmp_path: Path) -> None:
    store = await grown(tmp_path / "store")
    path = tmp_path / "store" / "state.db"
    try:
        assert path.stat().st_size > 36 * MIB

        async with asyncio.timeout(60):
            while path.stat().st_size > 20 * MIB:
                store.check_retention()
                await store.commit("/small", None, b"kept")
        assert (await store.get("/small")).value == b"kept"  # type: ignore[union-attr]
        assert await store.problems() == []
    finally:
        await store.close()


def test_what_is_free_goes_in_bounded_steps_from_a_quarter_of_the_file_to_an_eighth() -> None:
    assert Room(100_000, 24_999).pages_to_release(begun=False) == 0
    assert Room(100_000, 25_001).pages_to_release(begun=False) == 1
    assert Room(100_000, 25_001).pages_to_release(begun=True) == 256
    assert Room(100_000, 12_500).pages_to_release(begun=True) == 0
    assert Room(4096, 4096).pages_to_release(begun=False) == 0, "of a small file all may stay free"


async def test_a_file_of_an_older_version_shrinks_by_command_and_by_itself_from_then_on(tmp_path: Path) -> None:
    store = await grown(tmp_path / "store")
    with pytest.raises(StoreLocked):
        vacuum(tmp_path / "store")
    await store.close()
    path = tmp_path / "store" / "state.db"
    older = sqlite3.connect(path)
    older.execute("PRAGMA auto_vacuum = NONE")
    older.execute("VACUUM")
    assert older.execute("PRAGMA auto_vacuum").fetchone()[0] == 0
    older.close()
    vacuum(tmp_path / "store")
    assert path.stat().st_size < MIB
    later = sqlite3.connect(path)
    assert later.execute("PRAGMA auto_vacuum").fetchone()[0] == 2
    later.close()
    store = await SqliteStore.open(tmp_path / "store", clock=CLOCK, create=False)
    try:
        assert (await store.get("/small")).value == b"kept"  # type: ignore[union-attr]
        assert await store.problems() == []
    finally:
        await store.close()
