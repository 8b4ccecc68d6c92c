"""A store that lives and dies with the process: for tests, simulation and what-if runs.

Durable at once, so ``commit`` never waits. Keeps its whole history unless told a limit or to compact.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter

from sampan.api.clock import Clock
from sampan.store.embedded import Commit, EmbeddedStore, check_commit, check_distinct, check_guard
from sampan.store.expiry import LOOK_AGAIN_SECONDS, check_ttl, end_of
from sampan.store.protocol import Change, Compacted, Entry, FutureRevision, Guard, Range, StoreUnavailable
from sampan.store.sortedmap import SortedMap

_A_DAY_SECONDS = 24 * 3600.0
_revision_of = attrgetter("revision")


class MemoryStore(EmbeddedStore):
    """``history_limit``: at most about so many changes are kept; None: all. ``clock`` is needed for ``revision_at``;
    without one, times to live run on the event loop's clock. ``steady``: the clock goes with the event loop's time, so
    that nobody can set it forward."""

    def __init__(self, *, clock: Clock | None = None, history_limit: int | None = None, steady: bool = False) -> None:
        look_again = _A_DAY_SECONDS if steady or clock is None else LOOK_AGAIN_SECONDS
        super().__init__(look_again_seconds=look_again)
        self._clock = clock
        self._history_limit = history_limit
        self._history: list[Change] = []
        #: Milliseconds since the epoch of each change in ``_history``, never falling.
        self._times: list[int] = []
        self._oldest_ms = 0
        self._closed = False

    async def commit(
        self,
        key: str,
        expected: int | None,
        value: bytes | None,
        *,
        ttl_seconds: float | None = None,
        note: object | None = None,
        guards: Sequence[Guard] = (),
    ) -> int:
        check_ttl(ttl_seconds)
        if self._closed:
            raise StoreUnavailable("the store is closed")
        for guard in guards:
            guarding = self._entries.get(guard.key)
            check_guard(key, guard, guarding.revision if guarding else 0)
        current = self._entries.get(key)
        check_commit(key, expected, value is None, current.revision if current else 0)
        revision = self._revision + 1
        if value is None:
            self._publish(key, revision, None, 0, note)
            return revision
        entry = Entry(key, value, revision, current.created if current else revision)
        self._publish(key, revision, entry, end_of(self._now_ms(), ttl_seconds) if ttl_seconds else 0, note)
        return revision

    async def commit_all(self, commits: Sequence[Commit]) -> list[int]:
        check_distinct(commits)
        for commit in commits:
            check_ttl(commit.ttl_seconds)
            current = self._entries.get(commit.key)
            check_commit(commit.key, commit.expected, commit.value is None, current.revision if current else 0)
        return [
            await MemoryStore.commit(self, each.key, each.expected, each.value, ttl_seconds=each.ttl_seconds)
            for each in commits
        ]

    async def compact(self, revision: int) -> None:
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)
        if revision > self._oldest:
            self._forget_until(revision)

    async def shrink(self) -> None:
        """There is nothing to give back: what it holds is its state and its history."""

    async def close(self) -> None:
        self._closed = True
        self._expiry_timer.close()

    def _now_ms(self) -> int:
        seconds = self._clock.now().timestamp() if self._clock else asyncio.get_running_loop().time()
        return int(seconds * 1000)

    async def revision_at(self, moment: datetime) -> int:
        wanted = int(moment.timestamp() * 1000)
        at = bisect_right(self._times, wanted)
        if at:
            return self._history[at - 1].revision
        if wanted < self._oldest_ms:
            raise Compacted(0, self._oldest)
        return self._oldest

    async def _entry_at(self, key: str, revision: int) -> Entry | None:
        for change in self._after(revision):
            if change.key == key:
                return change.previous
        return self._entries.get(key)

    async def _range_at(self, prefix: str, limit: int, after: str | None, revision: int) -> Range:
        entries = {entry.key: entry for entry in self._entries.values(prefix)}
        undone: dict[str, Entry | None] = {}
        for change in self._after(revision):
            if change.key.startswith(prefix):
                undone.setdefault(change.key, change.previous)
        for key, entry in undone.items():
            if entry is None:
                entries.pop(key, None)
            else:
                entries[key] = entry
        then = SortedMap(entries.items())
        page = then.values(prefix, after, limit)
        return Range(page, revision, then.count(prefix, after) - len(page))

    async def _read_changes(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Change]:
        found: list[Change] = []
        for change in self._after(after):
            if change.revision > until or len(found) == limit:
                break
            if change.key.startswith(prefix):
                found.append(change)
        return found

    def _record(self, change: Change) -> None:
        now = self._now_ms() if self._clock else 0
        self._times.append(max(now, self._times[-1] if self._times else 0))
        if change.note is not None:
            change = Change(change.key, change.revision, change.entry, change.previous)
        self._history.append(change)
        # Trimmed in steps of a quarter: cutting the head of a list moves the rest.
        if self._history_limit and len(self._history) > self._history_limit + self._history_limit // 4:
            self._forget_until(self._history[-self._history_limit].revision - 1)

    def _after(self, revision: int) -> Sequence[Change]:
        return self._history[bisect_right(self._history, revision, key=_revision_of) :]

    def _forget_until(self, revision: int) -> None:
        gone = bisect_right(self._history, revision, key=_revision_of)
        if gone:
            self._oldest_ms = self._times[gone - 1]
        del self._history[:gone], self._times[:gone]
        self._oldest = revision
