"""The SQLite store when the machine fails: kill -9, disk full, disk errors, bit flips, wrong directories."""

import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
import zlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.store.cache import WatchCache
from sampan.store.protocol import EntryDamaged, RevisionConflict, StoreError, StoreUnavailable
from sampan.store.sqlite import Retention, SqliteStore, StoreCorrupt, StoreForeign, StoreLocked, StoreMissing
from sampan.store.sqlite.database import Database
from sampan.store.sqlite.rows import DiskFailed, DiskFull

CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))

# Writes forever and prints "revision key" once a commit is acknowledged.
WRITER = """
import asyncio, os, sys
from pathlib import Path
from sampan.api.clock import SystemClock
from sampan.store.sqlite import SqliteStore

async def one(store, n):
    revision = 0
    while True:
        revision = await store.commit(f"/k{n}", revision, os.urandom(50))
        os.write(1, b"%d /k%d\\n" % (revision, n))

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]), clock=SystemClock())
    await asyncio.gather(*(one(store, n) for n in range(8)), compact(store))

async def compact(store):
    while True:
        await asyncio.sleep(0.005)
        await store.compact(max(0, store.revision - 20))

asyncio.run(main())
"""

# The schema of files that were written before times to live.
FIRST_VERSION = """
CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL,
    previous INTEGER NOT NULL, at_ms INTEGER NOT NULL, crc INTEGER NOT NULL, value BLOB);
CREATE INDEX log_key ON log (key, revision, created);
CREATE TABLE current (key TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
PRAGMA application_id = 0x53414D50;
PRAGMA user_version = 1;
INSERT INTO meta VALUES ('revision', 0), ('compact', 0), ('compact_ms', 0), ('identity', 'an-old-store');
"""


async def open_store(path: Path, **more: Any) -> SqliteStore:
    return await SqliteStore.open(path / "s", clock=CLOCK, **more)


@pytest.mark.timeout(120)
async def test_no_acknowledged_write_is_lost_by_kill_9(tmp_path: Path) -> None:
    for _ in range(3):
        await asyncio.to_thread(kill_while_writing, tmp_path / "s")
        acknowledged: dict[str, int] = {}
        for line in (tmp_path / "acks").read_text().splitlines():
            revision, key = line.split()
            acknowledged[key] = max(int(revision), acknowledged.get(key, 0))
        store = await open_store(tmp_path, create=False)
        for key, revision in acknowledged.items():
            entry = await store.get(key)
            assert entry is not None
            assert entry.revision >= revision
        assert store.revision >= max(acknowledged.values())
        assert await store.problems() == []
        next_revision = store.revision + 1
        assert await store.commit("/after", None, b"x") == next_revision
        # The next round's writers create their keys.
        for key in sorted(acknowledged):
            await store.commit(key, None, None)
        await store.close()


def kill_while_writing(path: Path) -> None:
    acks = path.parent / "acks"
    with acks.open("wb") as out:
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=out)
        try:
            while acks.stat().st_size < 4000:
                assert child.poll() is None, "the writer must not end by itself"
                os.sched_yield()
        finally:
            child.kill()
            child.wait()


async def test_a_full_disk_fails_all_writers_and_leaves_memory_as_the_disk(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.commit("/a", 0, b"1")
    store._database.limit_pages(20)
    told: list[int] = []
    store.add_listener("/", lambda change: told.append(change.revision))
    results = await asyncio.gather(
        store.commit("/a", 1, b"x" * 200_000),
        store.commit("/a", 2, b"on top of it"),
        store.commit("/a", None, None),
        return_exceptions=True,
    )
    assert all(isinstance(result, StoreUnavailable) for result in results)
    entry = await store.get("/a")
    assert entry is not None
    assert (entry.value, store.revision, told, store._pending) == (b"1", 1, [], {})
    revision = await store.commit("/a", 1, b"small")
    assert told == [revision], "it recovers alone when there is room"
    await store.close()
    again = await open_store(tmp_path)
    assert (again.revision, len((await again.range("/")).entries)) == (revision, 1)
    await again.close()


async def test_on_a_full_disk_deletes_still_work_and_writes_return_with_the_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(tmp_path)
    for key in ("/a", "/b"):
        await store.commit(key, 0, b"1")
    directory = store._directory
    reserve = directory.path / "reserve"
    assert reserve.stat().st_size > 0
    room = False
    write = store._database.write

    def full(rows: Any) -> None:
        if not room and reserve.exists():
            raise DiskFull("full")
        write(rows)

    monkeypatch.setattr(store._database, "write", full)
    monkeypatch.setattr(directory, "has_room", lambda free_bytes: room)
    with pytest.raises(StoreUnavailable):
        await store.commit("/c", 0, b"1")
    put, delete, after = await asyncio.gather(
        store.commit("/c", 0, b"1"), store.commit("/a", 1, None), store.commit("/c", None, None), return_exceptions=True
    )
    assert isinstance(put, StoreUnavailable)
    assert isinstance(after, StoreUnavailable | RevisionConflict)
    assert delete == store.revision
    room = True
    await store.commit("/c", 0, b"1")
    await store.close()


async def test_compaction_gives_room_where_there_is_none_left(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    value = bytes(1000)
    for _ in range(6):
        await asyncio.gather(*(store.commit(f"/k{n}", None, value) for n in range(100)))
    used = store._history._value("PRAGMA page_count")
    store._database.limit_pages(used)
    with pytest.raises(StoreUnavailable):
        await store.commit("/large", 0, bytes(200_000))
    await store.compact(400)
    assert store.oldest >= 400
    assert await store.commit("/large", 0, bytes(200_000)) == store.revision
    await store.close()


async def test_writes_that_do_not_depend_on_a_failed_one_survive_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(tmp_path)
    write, failing = store._database.write, [True]

    def once(rows: Any) -> None:
        if failing.pop() if failing else False:
            raise DiskFull("full")
        write(rows)

    monkeypatch.setattr(store._database, "write", once)
    first = asyncio.ensure_future(store.commit("/a", 0, b"1"))
    await asyncio.gather(first, return_exceptions=True)
    assert isinstance(first.exception(), StoreUnavailable)
    assert await store.commit("/a", 0, b"2") == store.revision
    await store.close()


@pytest.mark.logs_errors("the store stops: disk I/O error")
async def test_a_disk_error_is_fail_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fatal: list[StoreError] = []
    store = await open_store(tmp_path, on_fatal=fatal.append)
    await store.commit("/a", 0, b"1")
    calls: list[Any] = []

    def broken(rows: Any) -> None:
        calls.append(rows)
        raise DiskFailed("disk I/O error")

    monkeypatch.setattr(store._database, "write", broken)
    results = await asyncio.gather(*(store.commit(f"/{n}", 0, b"x") for n in range(5)), return_exceptions=True)
    assert all(isinstance(result, StoreUnavailable) for result in results)
    with pytest.raises(StoreUnavailable, match="no more writes"):
        await store.commit("/b", 0, b"1")
    assert (len(fatal), len(calls)) == (1, 1)
    monkeypatch.setattr(store._database, "checkpoint", lambda: pytest.fail("a failed disk is not synced again"))
    assert (await store.range("/")).revision == 1
    await store.close()


async def test_a_reserve_that_cannot_be_given_back_on_a_full_disk_leaves_no_writer_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fatal: list[StoreError] = []
    store = await open_store(tmp_path, on_fatal=fatal.append)
    await store.commit("/a", 0, b"1")
    store._database.limit_pages(store._history._value("PRAGMA page_count") + 1)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    async with asyncio.timeout(2):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", read_only)
            patched.setattr(os, "statvfs", read_only)
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    await store.commit("/b", 0, bytes(200_000))
            assert await store.commit("/a", 1, None) == store.revision
        assert await store.commit("/b", 0, b"small") == store.revision
        await store.close()
    assert fatal == []


@pytest.mark.parametrize("step", ["write", "compact", "bring_forward", "checkpoint", "free_bytes"])
@pytest.mark.logs_errors("the store stops: the write failed", "the store's writer failed")
async def test_an_error_that_nobody_foresaw_in_the_writer_stops_the_store_and_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fatal: asyncio.Queue[StoreError] = asyncio.Queue()
    store = await open_store(tmp_path, on_fatal=fatal.put_nowait)
    await store.commit("/a", 0, b"1")
    await store.commit("/a", 1, b"2")

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(store._database, step, broken)
    store._writer._full = step == "free_bytes"
    if step in ("bring_forward", "checkpoint"):
        store._writer._unindexed = store._writer._log_bytes = 1 << 30
    async with asyncio.timeout(2):
        with suppress(StoreUnavailable):
            await (store.compact(1) if step == "compact" else store.commit("/b", 0, b"1"))
        assert isinstance(await fatal.get(), DiskFailed)
        with pytest.raises(StoreUnavailable, match="no more writes"):
            await store.commit("/c", 0, b"1")
        await store.close()
    assert fatal.empty()


@pytest.mark.logs_errors("the store stops: disk I/O error")
async def test_what_waits_behind_a_failed_write_no_longer_touches_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(tmp_path)
    await store.commit("/a", 0, b"1")
    await store.commit("/a", 1, b"2")
    touched: list[object] = []

    def broken(rows: Any) -> None:
        raise DiskFailed("disk I/O error")

    monkeypatch.setattr(store._database, "write", broken)
    monkeypatch.setattr(store._database, "compact", lambda *span: touched.append(span))
    results = await asyncio.gather(store.commit("/b", 0, b"1"), store.compact(1), return_exceptions=True)
    assert [isinstance(result, StoreUnavailable) for result in results] == [True, True]
    assert (touched, store.oldest) == ([], 0)
    await store.close()


async def test_a_cancelled_caller_does_not_unmake_its_commit(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    gone = asyncio.ensure_future(store.commit("/a", 0, b"1"))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(RevisionConflict):
        await store.commit("/a", 0, b"2")
    await store.close()


async def test_a_flipped_bit_harms_only_its_own_key(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    for key in ("/a", "/b", "/c"):
        await store.commit(key, 0, b"value of " + key.encode())
    await store.close()
    file = tmp_path / "s" / "state.db"
    content = file.read_bytes()
    assert content.count(b"value of /b") == 1
    file.write_bytes(content.replace(b"value of /b", b"value of /B"))
    store = await open_store(tmp_path)
    values = {entry.key: entry for entry in (await store.range("/")).entries}
    assert values["/a"].value == b"value of /a"
    with pytest.raises(EntryDamaged, match="/b"):
        _ = values["/b"].value
    assert any("/b" in problem for problem in await store.problems())
    await store.commit("/b", values["/b"].revision, None)
    assert await store.get("/b") is None
    await store.close()


async def test_the_revision_is_never_lowered_by_deletes_compaction_and_restart(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.commit("/a", 0, b"1")
    await store.commit("/a", 1, None)
    await store.compact(2)
    await store.close()
    store = await open_store(tmp_path)
    assert (store.revision, store.oldest) == (2, 2)
    await store.raise_revision(1000)
    await store.close()
    store = await open_store(tmp_path)
    assert await store.commit("/a", 0, b"1") == 1001
    await store.close()


async def test_a_failed_compaction_changes_no_bookkeeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await open_store(tmp_path)
    for _ in range(3):
        await store.commit("/a", None, b"1")

    def broken(oldest: int, until: int) -> None:
        raise DiskFull("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(store._database, "compact", broken)
        with pytest.raises(StoreUnavailable):
            await store.compact(2)
    assert store.oldest == 0
    assert (await store.range("/", revision=1)).entries[0].revision == 1
    await store.compact(2)
    assert store.oldest == 2
    await store.close()


async def test_history_older_than_the_retention_time_goes(tmp_path: Path) -> None:
    clock = FixedClock(CLOCK.now())
    store = await SqliteStore.open(tmp_path / "s", clock=clock, retention=Retention(seconds=60))
    for _ in range(4):
        await store.commit("/a", None, b"1")
        clock.set(clock.now() + timedelta(seconds=30))
    await check_retention(store)
    assert store.oldest == 3
    assert [entry.revision for entry in (await store.range("/", revision=3)).entries] == [3]
    await store.close()


async def test_history_goes_eighth_by_eighth_while_the_file_is_too_big(tmp_path: Path) -> None:
    store = await open_store(tmp_path, retention=Retention(size_bytes=100_000))
    await asyncio.gather(*(store.commit("/a", None, b"x" * 5000) for _ in range(80)))
    await check_retention(store)
    assert store.oldest == 10
    await store.close()


async def check_retention(store: SqliteStore) -> None:
    store.check_retention()
    # The reader has one thread, so this answer comes after the check's; the compaction behind the check's request.
    await store.get("/a", revision=store.revision)
    await asyncio.sleep(0)
    await store.compact(store.oldest)


async def test_an_empty_store_is_never_created_where_one_was(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match="does not exist"):
        await open_store(tmp_path, create=False)
    assert not (tmp_path / "s").exists()
    await (await open_store(tmp_path)).close()
    (tmp_path / "s" / "state.db").unlink()
    with pytest.raises(StoreMissing, match="is gone"):
        await open_store(tmp_path)


async def test_files_that_are_no_store_of_ours_are_refused_and_left_alone(tmp_path: Path) -> None:
    directory = tmp_path / "s"
    directory.mkdir()
    file = directory / "state.db"
    file.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreCorrupt):
        await open_store(tmp_path)
    assert file.read_bytes().startswith(b"not a database")
    file.unlink()
    (directory / "store.id").unlink()
    other = sqlite3.connect(file)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreForeign):
        await open_store(tmp_path)


async def test_a_directory_that_cannot_be_used_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a file")
    with pytest.raises(StoreUnavailable, match="cannot use the store directory"):
        await open_store(tmp_path)


async def test_a_store_is_open_only_once(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    with pytest.raises(StoreLocked):
        await open_store(tmp_path)
    await store.close()
    await (await open_store(tmp_path)).close()


@pytest.mark.parametrize("left", [["store.id"], ["store.id", "state.db"], ["state.db"], ["header"]])
async def test_a_first_start_that_died_before_the_schema_can_start_again(tmp_path: Path, left: list[str]) -> None:
    (tmp_path / "s").mkdir()
    for name in left:
        (tmp_path / "s" / name).touch()
    if left == ["header"]:
        half = sqlite3.connect(tmp_path / "s" / "state.db")
        half.execute("PRAGMA journal_mode = WAL")
        half.close()
    store = await open_store(tmp_path)
    assert len(store.identity) == 36
    assert store.revision == 0
    await store.close()


async def test_times_to_live_go_on_after_a_restart(tmp_path: Path) -> None:
    clock = FixedClock(CLOCK.now())
    store = await SqliteStore.open(tmp_path / "s", clock=clock)
    await store.commit("/during", 0, b"1", ttl_seconds=60)
    await store.commit("/after", 0, b"1", ttl_seconds=100)
    await store.commit("/cleared", 0, b"1", ttl_seconds=60)
    await store.commit("/cleared", None, b"2")
    await store.close()
    clock.set(clock.now() + timedelta(seconds=70))
    store = await SqliteStore.open(tmp_path / "s", clock=clock)
    await store.expire()
    assert [entry.key for entry in (await store.range("/")).entries] == ["/after", "/cleared"]
    clock.set(clock.now() + timedelta(seconds=70))
    await store.expire()
    assert [entry.key for entry in (await store.range("/")).entries] == ["/cleared"]
    assert store.revision == 6
    await store.close()


async def test_an_end_that_meets_a_full_disk_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FixedClock(CLOCK.now())
    store = await SqliteStore.open(tmp_path / "s", clock=clock)
    await store.commit("/a", 0, b"1", ttl_seconds=1)
    clock.set(clock.now() + timedelta(seconds=1))

    def full(rows: Any) -> None:
        raise DiskFull("full")

    with monkeypatch.context() as patched:
        patched.setattr(store._database, "write", full)
        await store.expire()
        assert await store.get("/a") is not None
    clock.set(clock.now() + timedelta(seconds=5))
    await store.expire()
    assert await store.get("/a") is None
    await store.close()


def write_old_file(file: Path, rows: list[tuple[int, str, int, int, bytes | None]]) -> None:
    file.parent.mkdir()
    old = sqlite3.connect(file, isolation_level=None)
    old.execute("PRAGMA journal_mode = WAL")
    old.executescript(FIRST_VERSION)
    old.execute("BEGIN")
    for revision, key, created, previous, value in rows:
        crc = zlib.crc32(value, zlib.crc32(key.encode())) if value is not None else 0
        old.execute("INSERT INTO log VALUES (?, ?, ?, ?, 7, ?, ?)", (revision, key, created, previous, crc, value))
        old.execute("INSERT OR REPLACE INTO current VALUES (?, ?)", (key, revision))
    old.execute("COMMIT")
    old.close()


def damage_a_leaf(file: Path, name: str) -> None:
    """The first leaf page of a table or index with more than one, read from the interior page that is its root."""
    with sqlite3.connect(file) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    database.close()
    content = bytearray(file.read_bytes())
    start = (root - 1) * size
    assert content[start] in (2, 5), "an interior page"
    cell = start + int.from_bytes(content[start + 12 : start + 14], "big")
    leaf = int.from_bytes(content[cell : cell + 4], "big")
    content[(leaf - 1) * size : leaf * size] = b"\xff" * size
    file.write_bytes(content)


async def test_files_of_older_versions_are_opened_and_read(tmp_path: Path) -> None:
    rows = [(1, "/a", 1, 0, b"1"), (2, "/b", 2, 0, b"2"), (3, "/a", 1, 1, b"3"), (4, "/b", 0, 2, None)]
    write_old_file(tmp_path / "s" / "state.db", rows)
    for _ in range(2):
        store = await open_store(tmp_path)
        entry = (await store.range("/")).entries[0]
        assert (entry.key, entry.value, entry.revision, entry.created) == ("/a", b"3", 3, 1)
        assert [(e.key, e.value) for e in (await store.range("/", revision=2)).entries] == [("/a", b"1"), ("/b", b"2")]
        assert [c.revision for c in await store.changes("/b", 0, 4, 10)] == [2, 4]
        await store.commit("/t", None, b"x", ttl_seconds=5)
        assert await store.problems() == []
        await store.close()
    store = await open_store(tmp_path)
    await store.compact(4)
    assert [(e.key, e.value) for e in (await store.range("/", revision=4)).entries] == [("/a", b"3")]
    await store.close()


@pytest.mark.parametrize("damaged", ["log_key", "current"])
async def test_an_old_file_whose_index_is_damaged_is_opened_without_loss(tmp_path: Path, damaged: str) -> None:
    file = tmp_path / "s" / "state.db"
    write_old_file(file, [(n, f"/registry/a/key-{n:04}", n, 0, b"%d" % n) for n in range(1, 601)])
    damage_a_leaf(file, damaged)
    for _ in range(2):
        store = await open_store(tmp_path)
        assert [entry.value for entry in (await store.range("/")).entries] == [b"%d" % n for n in range(1, 601)]
        assert len((await store.range("/", revision=300)).entries) == 300
        await store.commit("/registry/a/key-0001", None, b"1")
        await store.close()


async def test_a_damaged_index_of_keys_is_made_anew_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "s" / "state.db"
    store = await open_store(tmp_path)
    await asyncio.gather(*(store.commit(f"/registry/a/key-{n:04}", 0, b"%d" % n) for n in range(600)))
    await store.commit("/registry/a/key-0599", None, None)
    await store.commit("/t", 0, b"t", ttl_seconds=60)
    await store.close()
    damage_a_leaf(file, "keys")
    for _ in range(2):
        store = await open_store(tmp_path)
        entries = (await store.range("/registry/")).entries
        assert [entry.value for entry in entries] == [b"%d" % n for n in range(599)]
        assert len((await store.range("/", revision=300)).entries) == 300
        assert len(store._expiries) == 1
        await store.commit("/registry/a/key-0001", None, b"1")
        await store.close()


async def test_a_store_of_another_directory_is_refused_as_it_was_found(tmp_path: Path) -> None:
    file = tmp_path / "s" / "state.db"
    write_old_file(file, [(1, "/a", 1, 0, b"1")])
    (file.parent / "store.id").write_text("another-store")
    before = file.read_bytes()
    with pytest.raises(StoreForeign, match="an-old-store"):
        await open_store(tmp_path)
    assert file.read_bytes() == before


async def test_batches_of_any_size_and_form_are_written_whole(tmp_path: Path) -> None:
    clock = FixedClock(CLOCK.now())
    store = await SqliteStore.open(tmp_path / "s", clock=clock)
    written: dict[str, bytes] = {}
    for round_, (count, size) in enumerate([(1, 5), (32, 50), (33, 50), (200, 0), (3, 400_000), (40, 9_000)]):
        for n in range(count):
            written[f'/{round_}/k{n}-é"\\'] = os.urandom(size)
        batch = [key for key in written if key.startswith(f"/{round_}/")]
        await asyncio.gather(*(store.commit(key, 0, written[key], ttl_seconds=100 + len(key)) for key in batch))
        gone = batch[::3]
        await asyncio.gather(*(store.commit(key, None, None) for key in gone))
        for key in gone:
            del written[key]
    revision = store.revision
    await store.close()
    store = await SqliteStore.open(tmp_path / "s", clock=clock)
    assert {entry.key: entry.value for entry in (await store.range("/")).entries} == written
    assert {entry.key: entry.value for entry in (await store.range("/", revision=revision)).entries} == written
    assert await store.problems() == []
    clock.set(clock.now() + timedelta(seconds=200))
    await store.expire()
    assert (await store.range("/")).entries == []
    await store.close()


# In a process of its own: what the other tests gave back and what they keep would be counted too.
KEEPING = """
import os, sys
from pathlib import Path
from sampan.store.sqlite.database import Database
from sampan.store.sqlite.rows import Row

def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

revision = 0

def batch(count, size):
    global revision
    first, revision = revision, revision + count
    return [Row(first + n, "/k", 1, 0, 0, 0, bytes(size), None) for n in range(1, count + 1)]

database = Database(Path(sys.argv[1]), "id", new=True)
database.write(batch(1, 100_000))
before = resident_bytes()
for count in range(1, 33):
    database.write(batch(count, 40_000))
database.write(batch(1, 10_000_000))
database.checkpoint()
print(resident_bytes() - before)
database.close()
"""


def test_what_was_written_does_not_stay_in_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KEEPING, str(tmp_path / "db")]
    kept = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert kept < 12_000_000


async def test_a_page_of_changes_has_a_limit_of_bytes_and_misses_none(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    for n in range(6):
        await store.commit(f"/k{n % 2}", None, bytes(1_500_000 if n < 4 else 10))
    seen: list[list[int]] = []
    while page := await store.changes("/", seen[-1][-1] if seen else 0, store.revision, 500):
        seen.append([change.revision for change in page])
        assert len(page) == 1 or sum(len(change.entry.value) for change in page if change.entry) <= 4 << 20
    assert [revision for page in seen for revision in page] == [1, 2, 3, 4, 5, 6]
    assert len(seen) > 1
    cache = WatchCache(store, "/", lambda obj: ({}, {}), lambda value, revision: {"rv": revision})
    await cache.start()
    watch, told = cache.watch(from_revision=1), []
    while not watch.caught_up:
        told += [event.revision for event in await anext(watch)]
    assert told == [2, 3, 4, 5, 6]
    await store.close()


async def test_of_an_older_state_only_what_has_changed_since_is_read_from_disk(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    for n in range(20):
        await store.commit(f"/k{n:02}", 0, b"1")
    await store.commit("/k03", None, b"2")
    page = await store.range("/", revision=20, limit=5)
    now = [await store.get(entry.key) for entry in page.entries]
    assert [entry is current for entry, current in zip(page.entries, now, strict=True)] == [True] * 3 + [False, True]
    assert (page.entries[3].value, page.remaining) == (b"1", 15)
    await store.close()


async def test_what_the_index_of_keys_does_not_know_yet_is_found_after_a_crash(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.commit("/a", 0, b"1")
    await store._do(store._database.bring_forward)
    await store.commit("/a", None, b"2")
    await store.commit("/b", 0, b"3", ttl_seconds=60)
    await store.commit("/a", None, None)
    (tmp_path / "copy").mkdir()
    for file in (tmp_path / "s").iterdir():  # as the disk is now, without the end that closing makes
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    again = await SqliteStore.open(tmp_path / "copy", clock=CLOCK)
    assert [(e.key, e.value, e.created) for e in (await again.range("/")).entries] == [("/b", b"3", 3)]
    page = await again.range("/", revision=3, limit=1)
    assert ([(e.key, e.value) for e in page.entries], page.remaining) == ([("/a", b"2")], 1)
    assert (await again.get("/a", revision=1)) is not None
    assert len(again._expiries) == 1
    await again.close()
    await store.close()


def test_reads_of_the_history_never_write(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", "id", new=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        database.history._reader.execute("DELETE FROM log")
    database.close()


async def test_secrets_in_the_file_are_the_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(mode=0o755)
    store = await open_store(tmp_path)
    await store.commit("/a", 0, b"secret")
    modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "s").iterdir()}
    assert set(modes.values()) == {0}, modes
    await store.close()
