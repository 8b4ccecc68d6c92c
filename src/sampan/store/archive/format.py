"""The file of a backup: a gzipped tar, which any machine can look into, with the hash of each member at its end.

``manifest.json`` comes first; ``store/000001`` and so on have the records, ``files/`` what lies beside a store
(settings, certificates). ``SHA256SUMS`` is last, as ``sha256sum --check`` takes it: a file without it was never
finished. Written under another name and renamed when it is whole and on the disk. Member names are looked at, never
unpacked to: a file from elsewhere writes nowhere. What follows the end (the hash that ``etcdctl snapshot save`` keeps)
is left alone.

A record is a line of JSON, ``[revision, key, created, previous, at_ms, expires_ms, length]``, and so many bytes of
value with a line's end; ``length`` -1 is a delete.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO

import orjson

from sampan.records import dataclass
from sampan.store.archive.partial import new_partial
from sampan.store.archive.records import ArchiveError, Extent, Record

FORMAT = "sampan-backup/1"
MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
_STORE, _FILES = "store/", "files/"
#: a member of records is closed at this size; a single value may be larger
_MEMBER_BYTES = 4 * 1024 * 1024
#: more than this is no member of ours
_LARGEST_MEMBER = 256 * 1024 * 1024
#: of numbers in a backup: a store counts on for ever from here
_HIGHEST = 2**62
_COMPRESSION = 1  # of text this is a fifth of its size; higher levels take three times as long for a tenth less


class ArchiveWriter:
    """``with ArchiveWriter(path, manifest) as archive``: the file is there once the block has ended without an error,
    and what was there before under its name stays until then. Raises OSError."""

    def __init__(self, path: Path, manifest: dict[str, Any], *, overwrite: bool = False) -> None:
        if not overwrite and path.exists():
            raise FileExistsError(17, "there is a file already", str(path))
        self._path = path
        descriptor, self._partial = new_partial(path)
        self._file: BinaryIO = os.fdopen(descriptor, "wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w:gz", compresslevel=_COMPRESSION, format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._sums: list[str] = []
        self._chunk = io.BytesIO()
        self._members = 0
        self.records = 0
        self._add(MANIFEST, orjson.dumps({"format": FORMAT, **manifest}, option=orjson.OPT_INDENT_2))

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def add(self, record: Record) -> None:
        value = record.value
        head = orjson.dumps((*record[:6], -1 if value is None else len(value)))
        self._chunk.write(b"%b\n%b\n" % (head, value or b""))
        self.records += 1
        if self._chunk.tell() >= _MEMBER_BYTES:
            self._end_chunk()

    def add_file(self, name: str, data: bytes) -> None:
        """``name``: a relative path, of what is not the store's."""
        self._end_chunk()
        self._add(_FILES + name, data)

    def _end_chunk(self) -> None:
        if self._chunk.tell():
            self._members += 1
            self._add(f"{_STORE}{self._members:06}", self._chunk.getvalue())
            self._chunk = io.BytesIO()

    def _add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o600
        self._tar.addfile(member, io.BytesIO(data))
        self._sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")

    def _finish(self) -> None:
        self._end_chunk()
        self._add(SUMS, "".join(self._sums).encode())
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._partial.rename(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@dataclass(frozen=True, slots=True)
class Archive:
    """A backup whose hashes were found right. ``files`` are the names of what lies beside the store."""

    path: Path
    manifest: dict[str, Any]
    files: tuple[str, ...]
    #: of each member that holds records
    chunks: tuple[tuple[str, str], ...]
    records: int

    @property
    def extent(self) -> Extent:
        store = self.manifest["store"]
        return Extent(
            store["revision"], store["oldest"], store["oldestMs"], store["identity"], store["kind"], self.records
        )

    def read_records(self) -> Iterator[Record]:
        """In the order of their revisions. Raises ArchiveError: the file is another one by now."""
        hashes = dict(self.chunks)
        for name, data in _members(self.path):
            if name in hashes:
                if hashlib.sha256(data).hexdigest() != hashes[name]:
                    raise ArchiveError(f"{self.path} was changed while it was read")
                yield from _records(self.path, data)

    def read_files(self) -> Iterator[tuple[str, bytes]]:
        for name, data in _members(self.path):
            if name.removeprefix(_FILES) in self.files and name.startswith(_FILES):
                yield name.removeprefix(_FILES), data


def verify(path: Path, progress: Callable[[int], None] = lambda count: None) -> Archive:
    """Reads all of it and compares the hashes. Raises ArchiveError, which says what is wrong, and OSError."""
    manifest: dict[str, Any] | None = None
    found: dict[str, str] = {}
    sums: dict[str, str] | None = None
    files, chunks, records, last = [], [], 0, 0
    for name, data in _members(path):
        if manifest is None:
            manifest = _manifest(path, name, data)
        if name == SUMS:
            sums = _sums(path, data)
            break
        if name in found:
            raise ArchiveError(f"{path} has two members {name!r}")
        found[name] = hashlib.sha256(data).hexdigest()
        if name.startswith(_FILES):
            files.append(_checked_name(path, name.removeprefix(_FILES)))
        elif name.startswith(_STORE):
            chunks.append((name, found[name]))
            for record in _records(path, data):
                if record.revision <= last:
                    raise ArchiveError(f"{path} has revision {record.revision} after {last}")
                last = record.revision
                records += 1
            progress(records)
    if manifest is None or sums is None:
        raise ArchiveError(f"{path} is not a whole backup: it ends before its hashes")
    if wrong := sorted(name for name in sums.keys() | found.keys() if sums.get(name) != found.get(name)):
        raise ArchiveError(f"{path} is damaged: the hash of {wrong[0]} is not the one that was written")
    if last > manifest["store"]["revision"]:
        raise ArchiveError(f"{path} has revision {last}, and says of itself that it ends before")
    return Archive(path, manifest, tuple(files), tuple(chunks), records)


def _sums(path: Path, data: bytes) -> dict[str, str]:
    try:
        return {name: digest for digest, name in (line.split("  ", 1) for line in data.decode().splitlines())}
    except ValueError as error:
        raise ArchiveError(f"{path} is damaged: its hashes cannot be read") from error


def _manifest(path: Path, name: str, data: bytes) -> dict[str, Any]:
    try:
        manifest = orjson.loads(data) if name == MANIFEST else None
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict) or not str(manifest.get("format", "")).startswith("sampan-backup/"):
        raise ArchiveError(f"{path} is not a backup of Sampan")
    if manifest["format"] != FORMAT:
        raise ArchiveError(f"{path} has the format {manifest['format']} of a newer version; this one reads {FORMAT}")
    store = manifest.get("store")
    kinds = {"revision": int, "oldest": int, "oldestMs": int, "identity": str, "kind": str}
    if not isinstance(store, dict) or any(type(store.get(key)) is not kind for key, kind in kinds.items()):
        raise ArchiveError(f"{path} does not say which revisions it holds")
    if not 0 <= store["oldest"] <= store["revision"] <= _HIGHEST or not 0 <= store["oldestMs"] <= _HIGHEST:
        raise ArchiveError(f"{path} holds revisions {store['oldest']} to {store['revision']}, which no store has")
    return manifest


def _checked_name(path: Path, name: str) -> str:
    parts = PurePosixPath(name)
    # Spelt as it is written here: behind `pki//` or `pki/./` another reader would see an absolute path.
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or str(parts) != name or "\0" in name:
        raise ArchiveError(f"{path} has a member named {name!r}")
    return name


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """The regular members in their order, up to the hashes. Raises ArchiveError."""
    with path.open("rb") as file:
        start = file.read(20)
        # bbolt's magic number, in its first page behind a header of 16 bytes
        if start[16:20] == b"\xed\xda\x0c\xed":
            raise ArchiveError(
                f"{path} is a snapshot of etcd, not a backup of Sampan: restore it with `etcdutl snapshot restore`, "
                "then `sampan store migrate` moves it"
            )
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r|gz") as tar:
                for member in tar:
                    source = tar.extractfile(member) if member.isreg() else None
                    if source is None or member.size > _LARGEST_MEMBER:
                        raise ArchiveError(f"{path} has a member {member.name!r} that no backup has")
                    data = source.read()
                    if len(data) != member.size:
                        raise ArchiveError(f"{path} is not a whole backup: it ends inside {member.name}")
                    yield member.name, data
                    if member.name == SUMS:
                        return
        except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError) as error:
            raise ArchiveError(f"{path} is not a whole backup: {error}") from error


def _records(path: Path, data: bytes) -> Iterator[Record]:
    at = 0
    try:
        while at < len(data):
            end = data.index(b"\n", at)
            *head, length = orjson.loads(data[at:end])
            at = end + 1
            if not -1 <= length < len(data) - at:
                raise ValueError("its value is not all there")
            value = data[at : at + length] if length >= 0 else None
            at += max(length, 0) + 1
            record = Record._make((*head, value))
            if not _is_sound(record):
                raise ValueError("it has no revision, no key, or other numbers than a store has")
            yield record
    except (ValueError, TypeError) as error:
        raise ArchiveError(f"{path} has a record that cannot be read: {error}") from error


def _is_sound(record: Record) -> bool:
    numbers = (record.revision, record.created, record.previous, record.at_ms, record.expires_ms or 0)
    return (
        type(record.key) is str
        and bool(record.key)
        and all(type(number) is int and 0 <= number <= _HIGHEST for number in numbers)
        and (record.expires_ms is None or type(record.expires_ms) is int)
    )
