"""Maintenance and Cluster: what there is to say of one store in one process, and its snapshot.

A snapshot is the entries of the store alone (``sampan.store.archive``), with the hash that etcd puts behind its own:
tools can check it, ``archive.verify`` reads it; ``sampan restore`` refuses it, for it has no cluster's settings, and so
does etcd's own, for it is not a database of etcd.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

from sampan.api.clock import Clock, format_time
from sampan.store.archive.format import ArchiveWriter
from sampan.store.archive.sources import Snapshot
from sampan.store.endpoint.keys import KeyRange
from sampan.store.endpoint.ranges import Ranges
from sampan.store.endpoint.refusals import unserved
from sampan.store.etcd.pb import etcd_pb2 as pb

#: what clients go by when they ask what a server can do: every call of this release that is served acts as in it
_LIKE = "3.5.21"
#: etcd's clients take a snapshot's last 32 bytes for its hash where the rest is a multiple of this
_SECTOR_BYTES = 512
_PIECE_BYTES = 64 * 1024
_MADE = ".snapshot-"


def version(own: str) -> str:
    return f"{_LIKE}-sampan.{own}"


async def hash_of(ranges: Ranges, revision: int) -> int:
    """Of the keys, revisions and values of a revision; two stores with the same state have the same."""
    value = 0
    async for entry in ranges.entries(KeyRange(b"\0", b""), revision):
        value = zlib.crc32(f"{entry.key}\0{entry.created}\0{entry.revision}\0".encode(), value)
        value = zlib.crc32(entry.value, value)
    return value


def store_bytes(directory: Path | None) -> int:
    if directory is None:
        return 0
    return sum(path.stat().st_size for path in directory.glob("state.db*"))


def sweep(directory: Path | None) -> None:
    """What a process that was killed has left of a snapshot, which may be as large as the store. The store is open
    here, so nobody else makes one."""
    for left in directory.glob(f"{_MADE}*") if directory is not None else ():
        shutil.rmtree(left, ignore_errors=True)


async def snapshot(directory: Path | None, clock: Clock) -> AsyncIterator[pb.SnapshotResponse]:
    """Raises Refusal, StoreError, OSError. It is made beside the store first, and removed at the end."""
    if directory is None:
        raise unserved("a store in memory has no snapshots")
    with tempfile.TemporaryDirectory(prefix=_MADE, dir=directory) as made:
        path = Path(made) / "backup"
        await asyncio.to_thread(_write, directory, path, format_time(clock.now()))
        size = path.stat().st_size
        padding = -size % _SECTOR_BYTES
        digest = hashlib.sha256()
        remaining = size + padding + digest.digest_size
        with path.open("rb") as file:
            while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                if len(piece) < _PIECE_BYTES or file.tell() == size:
                    piece += bytes(padding)
                digest.update(piece)
                remaining -= len(piece)
                yield pb.SnapshotResponse(remaining_bytes=remaining, blob=piece)
        yield pb.SnapshotResponse(remaining_bytes=0, blob=digest.digest())


def _write(directory: Path, path: Path, taken: str) -> None:
    with Snapshot(directory) as snapshot:
        extent = snapshot.extent
        manifest = {
            "taken": taken,
            "store": {
                "kind": extent.kind,
                "identity": extent.identity,
                "revision": extent.revision,
                "oldest": extent.oldest,
                "oldestMs": extent.oldest_ms,
            },
        }
        with ArchiveWriter(path, manifest) as archive:
            for record in snapshot.records():
                archive.add(record)
