"""Answers of other name servers for as long as they are good, within a bound of bytes. Time is an argument."""

from __future__ import annotations

from collections import OrderedDict

from sampan.network.dns.relay import Relayed
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """An answer and how long it has been kept. ``stale``: it has ended, and nobody knows better."""

    answer: Relayed
    age_seconds: int = 0
    stale: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    begin: float
    end: float
    answer: Relayed


class Cache:
    """Invariant: what is held is at most ``max_entries`` and ``max_bytes``; those not used for longest go first."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self.bytes = 0
        self.hits = {"success": 0, "denial": 0}
        self.misses = 0
        self.kept = {"success": 0, "denial": 0}
        self.stale = 0

    def __len__(self) -> int:
        return len(self._entries)

    def has(self, key: bytes, now: float) -> bool:
        """Counts as nothing."""
        entry = self._entries.get(key)
        return entry is not None and entry.end > now

    def get(self, key: bytes, now: float) -> Found | None:
        entry = self._entries.get(key)
        if entry is None or entry.end <= now:
            self.misses += 1
            return None
        self.hits[_kind(entry.answer)] += 1
        self._entries.move_to_end(key)
        return Found(entry.answer, int(now - entry.begin))

    def get_stale(self, key: bytes, now: float, seconds: float) -> Found | None:
        """One that ended at most ``seconds`` ago."""
        entry = self._entries.get(key)
        if entry is None or entry.end + seconds <= now:
            return None
        self.stale += 1
        return Found(entry.answer, int(now - entry.begin), stale=True)

    def put(self, key: bytes, answer: Relayed, now: float, *, positive_seconds: int, negative_seconds: int) -> None:
        """Keeps it no longer than it may be kept: an answer by its smallest time to live, a denial by its SOA (RFC
        2308), without one not at all."""
        if not answer.decided or answer.cut:
            return
        if answer.negative:
            seconds = min(negative_seconds, answer.denial_seconds())
        else:
            seconds = answer.smallest_ttl(positive_seconds)
        if seconds <= 0:
            return
        self.forget(key)
        self._entries[key] = _Entry(now, now + seconds, answer)
        self.bytes += _size(key, answer)
        self.kept[_kind(answer)] += 1
        while len(self._entries) > self._max_entries or self.bytes > self._max_bytes:
            self.forget(next(iter(self._entries)))

    def forget(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= _size(key, entry.answer)
            self.kept[_kind(entry.answer)] -= 1

    def clear(self) -> None:
        self._entries.clear()
        self.bytes = 0
        self.kept = {"success": 0, "denial": 0}


def _kind(answer: Relayed) -> str:
    return "denial" if answer.negative else "success"


def _size(key: bytes, answer: Relayed) -> int:
    """In memory: places are objects of some 120 bytes each, the entry itself of about 600."""
    return len(key) + len(answer.packet) + 120 * len(answer.places) + 600
