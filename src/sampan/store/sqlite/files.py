"""The directory of a store: who it belongs to, who has it open, and room kept for deletes on a full disk.

Used by ``store`` at open and close and by ``writer``. The rule it enforces: where a store was, an empty one is never
created, and two processes never open the same one.
"""

from __future__ import annotations

import fcntl
import logging
import os
import uuid
from pathlib import Path

from sampan.store.protocol import StoreUnavailable

log = logging.getLogger(__name__)

DATABASE = "state.db"
_MARKER = "store.id"
_RESERVE = "reserve"
#: More than the write-ahead log between two checkpoints: moving that into the file is what first needs the room.
_RESERVE_BYTES = 8 * 1024 * 1024
_HEADROOM_BYTES = 4 * 1024 * 1024


class StoreMissing(StoreUnavailable):
    """The store that should be here is gone, or there is none and none was to be created."""


class StoreForeign(StoreUnavailable):
    """The file is not a store of this program, or not the one that belongs to this directory."""


class StoreCorrupt(StoreUnavailable):
    """The file is damaged as a whole: restore a backup."""


class StoreLocked(StoreUnavailable):
    """Another process has this store open."""


class StoreDirectory:
    """An open, locked directory. ``identity`` is written once, to the marker and to the database."""

    def __init__(self, path: Path, *, create: bool) -> None:
        self.path = path
        self.database = path / DATABASE
        try:
            if create:
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._prepare(create)
        except OSError as error:
            raise StoreMissing(f"cannot use the store directory {path}: {error.strerror or error}") from error
        try:
            self.make_reserve()
        except BaseException:
            self.close()
            raise

    def _prepare(self, create: bool) -> None:
        if not self.path.is_dir():
            raise StoreMissing(f"the store directory {self.path} does not exist")
        marker = self.path / _MARKER
        present = self.database.exists()
        # An empty marker is of a first start that died before there was a database.
        if marker.exists() and marker.stat().st_size and not present:
            raise StoreMissing(f"{self.database} is gone; restore it, or remove {marker} to start with an empty store")
        if not present and not create:
            raise StoreMissing(f"there is no store in {self.path}")
        self._lock = os.open(marker, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise StoreLocked(f"the store in {self.path} is open in another process") from error
        self.new = not present
        marked = os.read(self._lock, 64).decode("ascii", "replace").strip()
        self._marked = bool(marked)
        self.identity = marked or str(uuid.uuid4())

    def check(self, identity: str) -> None:
        """Whether a database that says this of itself belongs here."""
        if self._marked and identity != self.identity:
            raise StoreForeign(f"{self.database} belongs to another store directory ({identity})")

    def confirm(self, identity: str) -> None:
        """Writes the marker once the database is there."""
        self.check(identity)
        os.pwrite(self._lock, identity.encode(), 0)
        os.fsync(self._lock)

    def abandon(self) -> None:
        """After a first start that failed: leaves no marker, so that the next one may create the store."""
        if self.new:
            (self.path / _MARKER).unlink(missing_ok=True)

    def make_reserve(self) -> bool:
        """Takes the room that a full disk gives back for deletes and compaction. False: there is no room."""
        try:
            fd = os.open(self.path / _RESERVE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            os.posix_fallocate(fd, 0, _RESERVE_BYTES)
        except OSError:
            self.free_reserve()
            return False
        finally:
            os.close(fd)
        return True

    def has_room(self, free_bytes: int) -> bool:
        """Whether, the reserve given back, there is room for it and some more. ``free_bytes``: in the file."""
        try:
            disk = os.statvfs(self.path)
        except OSError:
            return False  # then the writes go on being refused, and deletes go on
        return disk.f_bavail * disk.f_frsize + free_bytes >= _RESERVE_BYTES + _HEADROOM_BYTES

    def free_reserve(self) -> None:
        try:
            (self.path / _RESERVE).unlink(missing_ok=True)
        except OSError as error:
            log.warning("the room kept for a full disk cannot be given back: %s", error.strerror)

    def close(self) -> None:
        os.close(self._lock)  # gives the lock back
