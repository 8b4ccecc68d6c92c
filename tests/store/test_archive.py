"""Backups of a store: what is in them, what is taken for one, and what a store made of one is."""

import asyncio
import contextlib
import gzip
import hashlib
import io
import os
import random
import sqlite3
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api.clock import FixedClock
from sampan.store.archive.building import build
from sampan.store.archive.format import Archive, ArchiveWriter, verify
from sampan.store.archive.partial import new_partial
from sampan.store.archive.records import ArchiveError, Extent, Record
from sampan.store.archive.sources import Snapshot, current_records
from sampan.store.protocol import Compacted, EntryDamaged
from sampan.store.sqlite import SqliteStore, StoreForeign, StoreMissing

CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "store", clock=CLOCK)
    for n in range(20):
        await opened.commit(f"/k{n:02}", 0, b"%d" % n)
    await opened.commit("/k00", None, b"changed")
    await opened.commit("/k01", None, None)
    await opened.commit("/k02", None, b"ends", ttl_seconds=3600)
    yield opened
    await opened.close()


def archive_of(directory: Path, path: Path, *, history: bool = True) -> Archive:
    with Snapshot(directory, history=history) as snapshot:
        extent = snapshot.extent
        manifest = {
            "store": {
                "kind": "sqlite",
                "identity": extent.identity,
                "revision": extent.revision,
                "oldest": extent.oldest,
                "oldestMs": extent.oldest_ms,
            }
        }
        with ArchiveWriter(path, manifest, overwrite=True) as archive:
            for record in snapshot.records():
                archive.add(record)
            archive.add_file("pki/ca.crt", b"certificate")
    return verify(path)


async def state(store: Any) -> list[tuple[str, bytes, int, int]]:
    return [(entry.key, entry.value, entry.revision, entry.created) for entry in (await store.range("/")).entries]


@pytest.mark.parametrize("history", [True, False])
async def test_a_store_made_of_a_backup_of_one_in_use_is_the_same_and_counts_on(
    source: SqliteStore, tmp_path: Path, history: bool
) -> None:
    archive = archive_of(tmp_path / "store", tmp_path / "b", history=history)
    assert archive.extent.revision == source.revision == 23
    build(tmp_path / "new", archive.read_records(), archive.extent)
    new = await SqliteStore.open(tmp_path / "new", clock=CLOCK, create=False)
    try:
        assert await state(new) == await state(source)
        assert await new.commit("/more", 0, b"") == 24
        if history:
            assert (await new.range("/", revision=20)).entries == (await source.range("/", revision=20)).entries
            assert list(await new.changes("/", 19, 23, 100)) == list(await source.changes("/", 19, 23, 100))
        else:
            with pytest.raises(Compacted):
                await new.range("/", revision=22)
        CLOCK.set(datetime(2026, 1, 1, 2, tzinfo=UTC))
        await new.expire()
        assert await new.get("/k02") is None, "times to live go on"
    finally:
        CLOCK.set(datetime(2026, 1, 1, tzinfo=UTC))
        await new.close()


async def test_a_backup_sees_one_revision_whatever_is_written_meanwhile(source: SqliteStore, tmp_path: Path) -> None:
    with Snapshot(tmp_path / "store", history=False) as snapshot:
        await source.commit("/later", 0, b"")
        await source.commit("/k05", None, None)
        await source.compact(source.revision)
        keys = [record.key for record in snapshot.records()]
    assert "/later" not in keys
    assert "/k05" in keys
    assert len(keys) == snapshot.extent.records == 19


async def test_a_backup_of_a_store_that_nobody_has_open(source: SqliteStore, tmp_path: Path) -> None:
    await source.close()
    assert archive_of(tmp_path / "store", tmp_path / "b").records == 23


async def test_a_store_may_count_on_from_far_above(source: SqliteStore, tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "store", tmp_path / "b")
    build(tmp_path / "new", archive.read_records(), replace(archive.extent, revision=1000, oldest=1000))
    new = await SqliteStore.open(tmp_path / "new", clock=CLOCK, create=False)
    try:
        assert await state(new) == await state(source)
        with pytest.raises(Compacted):
            await new.changes("/", 23, 1000, 10)
        assert await new.commit("/more", 0, b"") == 1001
    finally:
        await new.close()


async def test_damaged_entries_are_named_and_no_file_is_left(source: SqliteStore, tmp_path: Path) -> None:
    await source.close()
    with sqlite3.connect(tmp_path / "store" / "state.db") as database:
        database.execute("UPDATE log SET value = x'00' WHERE revision = 5")
    database.close()
    with pytest.raises(EntryDamaged, match="/k04"):
        archive_of(tmp_path / "store", tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_what_is_no_store_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        Snapshot(tmp_path)
    sqlite3.connect(tmp_path / "state.db").execute("CREATE TABLE t (a)").connection.close()
    with pytest.raises(StoreForeign, match="is not a Sampan store"):
        Snapshot(tmp_path)


def written(path: Path, records: int = 3) -> Path:
    store = {"kind": "sqlite", "identity": "i", "revision": 9, "oldest": 0, "oldestMs": 0}
    with ArchiveWriter(path, {"store": store}) as archive:
        for n in range(1, records + 1):
            archive.add(Record(n, f"/k{n}\n", n, 0, 1, None, b"value\n\0"))
        archive.add_file("pki/ca.crt", b"certificate")
    return path


def test_records_and_files_come_back_as_they_were(tmp_path: Path) -> None:
    archive = verify(written(tmp_path / "b"))
    assert [record.key for record in archive.read_records()] == ["/k1\n", "/k2\n", "/k3\n"]
    assert next(archive.read_records()).value == b"value\n\0"
    assert dict(archive.read_files()) == {"pki/ca.crt": b"certificate"}
    assert archive.extent == Extent(9, 0, 0, "i", "sqlite", 3)


def test_only_who_owns_it_can_read_a_backup(tmp_path: Path) -> None:
    assert written(tmp_path / "b").stat().st_mode & 0o777 == 0o600


def test_a_file_cut_off_anywhere_is_no_backup(tmp_path: Path) -> None:
    whole = written(tmp_path / "b").read_bytes()
    cut = tmp_path / "cut"
    for length in range(0, len(whole) - 12, 7):  # of the last bytes the reader needs none: they end the compression
        cut.write_bytes(whole[:length])
        try:
            archive = verify(cut)
        except ArchiveError:
            continue
        assert archive.records == 3
        assert length > len(whole) * 0.8, "only what comes after the hashes may be missing"


def test_one_changed_byte_is_found(tmp_path: Path) -> None:
    plain = gzip.decompress(written(tmp_path / "b").read_bytes())
    at = plain.index(b"value")
    (tmp_path / "b").write_bytes(gzip.compress(plain[:at] + b"V" + plain[at + 1 :]))
    with pytest.raises(ArchiveError, match="hash of store/000001"):
        verify(tmp_path / "b")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "pki//etc/passwd", "pki/./x", "pki/", "."])
def test_a_file_from_elsewhere_writes_nowhere(tmp_path: Path, name: str) -> None:
    path = tmp_path / "b"
    store = {"kind": "sqlite", "identity": "i", "revision": 9, "oldest": 0, "oldestMs": 0}
    with ArchiveWriter(path, {"store": store}) as archive:
        archive.add_file(name, b"")
    with pytest.raises(ArchiveError, match="has a member named"):
        verify(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "not a whole backup", id="empty"),
        pytest.param(b"text", "not a whole backup", id="text"),
        pytest.param(gzip.compress(b"text", mtime=0), "not a whole backup", id="gzip"),
        pytest.param(bytes(16) + b"\xed\xda\x0c\xed" + bytes(4096), "is a snapshot of etcd", id="etcd"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "b"
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=words):
        verify(path)


def test_a_tar_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b"
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("hello"), io.BytesIO())
    with pytest.raises(ArchiveError, match="is not a backup of Sampan"):
        verify(path)


def test_who_is_interrupted_leaves_what_was_there(tmp_path: Path) -> None:
    before = written(tmp_path / "b").read_bytes()
    manifest = {"store": {}}
    with pytest.raises(KeyboardInterrupt), ArchiveWriter(tmp_path / "b", manifest, overwrite=True):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b").read_bytes() == before
    with pytest.raises(FileExistsError):
        ArchiveWriter(tmp_path / "b", manifest)


async def test_any_store_gives_its_state_at_a_revision_in_pages(source: SqliteStore) -> None:
    await asyncio.gather(*(source.commit(f"/n{n:04}", 0, b"") for n in range(1200)))
    at = source.revision
    await source.commit("/n0000", None, None)
    records = [record async for record in current_records(source, at)]
    assert len(records) == 1219
    assert [record.key for record in records] == sorted(record.key for record in records)


def test_two_backups_under_one_name_are_each_whole(tmp_path: Path) -> None:
    manifest = {"store": {"kind": "sqlite", "identity": "i", "revision": 9, "oldest": 0, "oldestMs": 0}}
    path = tmp_path / "b"
    with ArchiveWriter(path, manifest) as slow:
        slow.add_file("first", os.urandom(300_000))
        with ArchiveWriter(path, manifest) as fast:
            fast.add_file("second", b"")
        assert verify(path).files == ("second",)
        slow.add_file("third", os.urandom(300_000))
        assert verify(path).files == ("second",), "what is written beside it is not in it"
    assert verify(path).files == ("first", "third")
    assert [each.name for each in tmp_path.iterdir()] == ["b"]


def test_nothing_that_lies_there_is_filled_with_secrets(tmp_path: Path) -> None:
    """A directory may be open to all: whoever guesses the name of what is written gets none of it."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".b.partial").symlink_to(victim)
    (tmp_path / ".b.x.partial").symlink_to(victim)
    written(tmp_path / "b")
    assert victim.read_text() == "mine"


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path: Path) -> None:
    descriptor, left = new_partial(tmp_path / "b")
    written(tmp_path / "b")
    assert left.exists(), "its writer lives"
    os.close(descriptor)
    (tmp_path / "b").unlink()
    written(tmp_path / "b")
    assert [each.name for each in tmp_path.iterdir()] == ["b"]


RECORD = [1, "/k", 1, 0, 5, None, 1]


@pytest.mark.parametrize(
    ("store", "record", "value", "words"),
    [
        pytest.param({}, [1, "/k", 1, 0, 5, None, 9], b"v", "cannot be read", id="longer than the file"),
        pytest.param({}, [1, "/k", 1, 0, 5, None, -2], b"", "cannot be read", id="length"),
        pytest.param({}, [1, "/k", 1, 0, 5, "soon", 1], b"v", "cannot be read", id="end"),
        pytest.param({}, [1, "/k", 1, "none", 5, None, 1], b"v", "cannot be read", id="previous"),
        pytest.param({}, [2**63, "/k", 1, 0, 5, None, 1], b"v", "cannot be read", id="revision"),
        pytest.param({}, 5, b"v", "cannot be read", id="number"),
        pytest.param({"revision": 2**63}, RECORD, b"v", "which no store has", id="store too far"),
        pytest.param({"revision": -1}, RECORD, b"v", "which no store has", id="store before"),
        pytest.param({"revision": 0}, RECORD, b"v", "ends before", id="record after its end"),
    ],
)
def test_records_that_no_store_has_are_refused(
    tmp_path: Path, store: dict[str, int], record: Any, value: bytes, words: str
) -> None:
    data = orjson.dumps(record) + b"\n" + value + b"\n"
    with pytest.raises(ArchiveError, match=words):
        verify(made(tmp_path / "b", [("store/000001", data)], store=store))


def test_hashes_that_are_none_are_refused(tmp_path: Path) -> None:
    for sums in (b"nothing", b"\xff  manifest.json\n"):
        with pytest.raises(ArchiveError, match="hashes cannot be read"):
            verify(made(tmp_path / "b", [], sums=sums))


def test_a_member_is_there_once(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="has two members"):
        verify(made(tmp_path / "b", [("files/a", b"1"), ("files/a", b"2")]))


def test_bytes_changed_anywhere_are_never_more_than_refused(tmp_path: Path) -> None:
    plain = gzip.decompress(written(tmp_path / "b").read_bytes())
    chosen = random.Random(7)
    for _ in range(300):
        changed = bytearray(plain)
        for _ in range(chosen.choice((1, 3))):
            changed[chosen.randrange(len(plain) // 2)] = chosen.choice(b"\0\xff/0x9")
        (tmp_path / "c").write_bytes(gzip.compress(bytes(changed), 1))
        with contextlib.suppress(ArchiveError):
            verify(tmp_path / "c")


def made(
    path: Path, members: list[tuple[str, bytes]], *, store: dict[str, int] | None = None, sums: bytes | None = None
) -> Path:
    """As a stranger may make one."""
    told = {"kind": "sqlite", "identity": "i", "revision": 9, "oldest": 0, "oldestMs": 0, **(store or {})}
    manifest = orjson.dumps({"format": "sampan-backup/1", "store": told})
    whole = [("manifest.json", manifest), *members]
    right = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in whole).encode()
    with tarfile.open(path, "w:gz") as tar:
        for name, data in [*whole, ("SHA256SUMS", right if sums is None else sums)]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path
