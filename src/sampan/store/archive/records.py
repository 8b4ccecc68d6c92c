"""What a backup holds of a store: its state at one revision, told as commits, and where its history begins."""

from __future__ import annotations

from typing import NamedTuple

from sampan.records import dataclass
from sampan.store.protocol import StoreError


class ArchiveError(StoreError):
    """The file is no backup, is incomplete or was changed. Nothing was done with it."""


class Record(NamedTuple):
    """One commit. ``value`` None: a delete. ``previous``: the revision it replaced, 0: none or unknown; ``at_ms``: its
    moment, 0: unknown; ``expires_ms``: when the entry is to end, None: never."""

    revision: int
    key: str
    created: int
    previous: int
    at_ms: int
    expires_ms: int | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Extent:
    """``revision`` is that of the backup, ``oldest`` the oldest that can be read of it: the same without history."""

    revision: int
    oldest: int
    oldest_ms: int
    identity: str = ""
    kind: str = "sqlite"
    #: how many records there are to come, about; for progress
    records: int = 0
