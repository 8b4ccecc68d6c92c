"""The driver's directory: volumes and snapshots as files, each with a record beside it.

    <root>/{volumes,snapshots}/<id>/{disk,record.json}

A thing is there, whole, or it is not: it is made in a directory of another name, written through to the disk, and
renamed; it goes the same way back. What a crash left half-made is swept away at the next start. All functions block:
they belong into threads. The driver's own locks keep two calls from one id.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from sampan.csi.server import Refusal
from sampan.records import dataclass

log = logging.getLogger(__name__)

Kind = Literal["volumes", "snapshots"]
Fill = Callable[[Path], None]

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MAKING, _GOING = ".making-", ".going-"
_DISK, _RECORD = "disk", "record.json"
RAW: Final = "raw"
#: records are small; a larger file is none of ours
_LONGEST_RECORD_BYTES: Final = 64 << 10
#: what files are rounded up to: the page of all file systems that are mounted from them
BLOCK_BYTES: Final = 4096


class DamagedRecord(Refusal):
    """Nobody can say what it recorded: calls about it fail."""


@dataclass(frozen=True, slots=True)
class Record:
    """``source``: of a snapshot the volume that it was taken of; of a volume what it was made of, ``kind/id`` or "".
    ``filesystem``: what the disk holds; "": it has not been formatted; RAW: what pods wrote to it as a device.
    ``made_ns``: since 1970. ``attributes``: what its class of attributes says, as ``attributes`` reads it."""

    id: str
    name: str
    source: str = ""
    filesystem: str = ""
    made_ns: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    record: Record
    disk: Path
    size_bytes: int
    used_bytes: int


class Files:
    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self) -> None:
        """Makes the directories, and sweeps what a crash left. Raises OSError."""
        for kind in ("volumes", "snapshots"):
            directory = self.root / kind
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in directory.iterdir():
                if path.name.startswith((_MAKING, _GOING)):
                    shutil.rmtree(path)
                    continue
                try:
                    self.find(kind, path.name)
                except DamagedRecord as error:
                    log.warning("%s: %s", path, error)

    @staticmethod
    def id_of(name: str) -> str:
        """The same for the same name: that is what makes creation repeatable."""
        if _PLAIN.fullmatch(name):
            return name
        return f"h-{hashlib.sha256(name.encode()).hexdigest()[:40]}"

    def find(self, kind: Kind, id_: str) -> Found | None:
        """Raises DamagedRecord, OSError."""
        if not _PLAIN.fullmatch(id_):
            return None
        directory = self.root / kind / id_
        try:
            with (directory / _RECORD).open("rb") as file:
                record = _read(file.read(_LONGEST_RECORD_BYTES))
            status = (directory / _DISK).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Found(record, directory / _DISK, status.st_size, status.st_blocks * 512)

    def all(self, kind: Kind) -> Iterator[Found]:
        """In the order of their ids; without those that cannot be read, which cost nobody else anything."""
        for path in sorted((self.root / kind).iterdir()):
            try:
                found = None if path.name.startswith(".") else self.find(kind, path.name)
            except DamagedRecord:
                continue
            if found is not None:
                yield found

    def make(self, kind: Kind, record: Record, size_bytes: int, fill: Fill | None = None) -> Found:
        """``fill`` writes what the new disk begins with; it is at least ``size_bytes`` long in the end."""
        place = self.root / kind
        making = place / f"{_MAKING}{record.id}"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        try:
            disk = making / _DISK
            disk.touch(mode=0o600)
            if fill is not None:
                fill(disk)
            if disk.stat().st_size < size_bytes:
                os.truncate(disk, size_bytes)
            _sync(disk)
            _write(making / _RECORD, record)
            _sync(making)
            making.rename(place / record.id)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        _sync(place)
        found = self.find(kind, record.id)
        assert found is not None, "it was made a moment ago"
        return found

    def remove(self, kind: Kind, id_: str) -> None:
        """What is not there is gone already."""
        if not _PLAIN.fullmatch(id_):
            return
        place = self.root / kind
        going = place / f"{_GOING}{id_}"
        shutil.rmtree(going, ignore_errors=True)
        try:
            (place / id_).rename(going)
        except FileNotFoundError:
            return
        _sync(place)
        shutil.rmtree(going)

    def grow(self, found: Found, size_bytes: int) -> None:
        os.truncate(found.disk, size_bytes)
        _sync(found.disk)

    def note_filesystem(self, found: Found, filesystem: str) -> None:
        """From now on the disk is not formatted any more."""
        _rewrite(found, replace(found.record, filesystem=filesystem))

    def note_attributes(self, found: Found, attributes: Mapping[str, str]) -> None:
        _rewrite(found, replace(found.record, attributes=dict(attributes)))

    def available_bytes(self) -> int:
        """What new volumes may have: the free room, less what is promised to those that are there."""
        status = os.statvfs(self.root)
        promised = sum(max(each.size_bytes - each.used_bytes, 0) for each in self.all("volumes"))
        return max(status.f_bavail * status.f_frsize - promised, 0)


def takes_direct_io(path: Path) -> bool:
    """Whether its file system can read past the page cache."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def rounded(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def _read(data: bytes) -> Record:
    """Raises DamagedRecord."""
    try:
        value: Any = orjson.loads(data)
        return Record(**value)
    except (ValueError, TypeError) as error:
        raise DamagedRecord("INTERNAL", "a record of the driver is damaged, and what it is of is left alone") from error


def _rewrite(found: Found, record: Record) -> None:
    directory = found.disk.parent
    _write(directory / f"{_RECORD}.new", record)
    (directory / f"{_RECORD}.new").replace(directory / _RECORD)
    _sync(directory)


def _write(path: Path, record: Record) -> None:
    told = {name: getattr(record, name) for name in ("id", "name", "source", "filesystem", "made_ns")}
    if record.attributes:  # a driver of before reads the record of a volume that has none
        told["attributes"] = dict(record.attributes)
    text = orjson.dumps(told)
    with path.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
