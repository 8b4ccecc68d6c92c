"""Random commands against a store and a naive model of it: state, conflicts, history, followers, restarts."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, stateful
from hypothesis import strategies as st

from sampan.api.clock import SystemClock
from sampan.store.memory import MemoryStore
from sampan.store.protocol import Change, Compacted, RevisionConflict
from sampan.store.sqlite import SqliteStore, writer

KEYS = st.sampled_from(["/p/a", "/p/a2", "/p/b", "/p/é", "/q/a"])
PREFIXES = st.sampled_from(["/", "/p/", "/p/a", "/q/", "/none/"])
State = dict[str, tuple[bytes, int, int]]


class StoreModel(stateful.RuleBasedStateMachine):
    """``states[r]`` is the whole state after revision r: the model keeps it all."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.states: list[State] = [{}]
        self.log: list[tuple[int, str, bytes | None]] = []
        self.oldest = 0
        self.followers: list[tuple[str, int, list[Change]]] = []
        self.store: Any = self.run(self.open())

    async def open(self) -> Any:
        return MemoryStore()

    def run(self, what: Any) -> Any:
        return self.loop.run_until_complete(what)

    @property
    def revision(self) -> int:
        return len(self.states) - 1

    @stateful.rule(key=KEYS, value=st.one_of(st.none(), st.binary(max_size=3)), guess=st.integers(-1, 12))
    def commit(self, key: str, value: bytes | None, guess: int) -> None:
        state = self.states[-1]
        _, at, created = state.get(key, (b"", 0, 0))
        expected = {-1: None, 0: 0}.get(guess, at if guess > 3 else guess)
        fails = (expected is not None and expected != at) or (value is None and not at)
        if fails:
            with pytest.raises(RevisionConflict):
                self.run(self.store.commit(key, expected, value))
            return
        revision = self.revision + 1
        assert self.run(self.store.commit(key, expected, value)) == revision
        after = dict(state)
        if value is None:
            del after[key]
        else:
            after[key] = (value, revision, created or revision)
        self.states.append(after)
        self.log.append((revision, key, value))

    @stateful.rule(prefix=PREFIXES, back=st.integers(0, 8), limit=st.integers(0, 3), after=st.none() | KEYS)
    def read(self, prefix: str, back: int, limit: int, after: str | None) -> None:
        revision = max(0, self.revision - back)
        if revision < self.oldest:
            with pytest.raises(Compacted):
                self.run(self.store.range(prefix, revision=revision))
            return
        found = self.run(self.store.range(prefix, limit=limit, after=after, revision=revision))
        keys = sorted(k for k in self.states[revision] if k.startswith(prefix) and (after is None or k > after))
        page = keys[:limit] if limit else keys
        assert [(e.key, e.value, e.revision, e.created) for e in found.entries] == [
            (key, *self.states[revision][key]) for key in page
        ]
        assert (found.remaining, found.revision) == (len(keys) - len(page), revision)

    @stateful.rule(back=st.integers(0, 5))
    def compact(self, back: int) -> None:
        revision = max(0, self.revision - back)
        self.run(self.store.compact(revision))
        self.oldest = max(self.oldest, revision)
        assert self.store.oldest == self.oldest

    @stateful.rule(prefix=PREFIXES, back=st.integers(0, 8), limit=st.integers(1, 4))
    def follow(self, prefix: str, back: int, limit: int) -> None:
        """From history, a page at a time, into what is told from now on."""
        after = max(0, self.revision - back)
        if after < self.oldest:
            with pytest.raises(Compacted):
                self.run(self.store.changes(prefix, after, self.revision, limit))
            return
        seen: list[Change] = []
        at = after
        while page := self.run(self.store.changes(prefix, at, self.revision, limit)):
            seen.extend(page)
            at = page[-1].revision
        self.store.add_listener(prefix, seen.append)
        self.followers.append((prefix, after, seen))

    @stateful.rule()
    def restart(self) -> None:
        self.check_followers()
        self.followers = []
        self.run(self.reopen())

    async def reopen(self) -> None:
        """The memory store cannot."""

    def check_followers(self) -> None:
        for prefix, after, seen in self.followers:
            expected = [item for item in self.log if item[0] > after and item[1].startswith(prefix)]
            assert [(c.revision, c.key, c.entry.value if c.entry else None) for c in seen] == expected
            for change in seen:
                before = self.states[change.revision - 1].get(change.key)
                held = change.previous
                assert before == ((held.value, held.revision, held.created) if held else None)

    @stateful.invariant()
    def bookkeeping_agrees(self) -> None:
        assert (self.store.revision, self.store.oldest) == (self.revision, self.oldest)

    def teardown(self) -> None:
        try:
            self.check_followers()
        finally:
            self.run(self.store.close())
            self.run(self.loop.shutdown_default_executor())
            self.loop.close()


class SqliteModel(StoreModel):
    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="sampan-test-"))
        self.patch = pytest.MonkeyPatch()
        # So that queries meet keys that the index knows, that only the tail of the log has, and both.
        self.patch.setattr(writer, "_UNINDEXED_ROWS", 5)
        super().__init__()

    async def open(self) -> Any:
        return await SqliteStore.open(self.directory, clock=SystemClock())

    async def reopen(self) -> None:
        await self.store.close()
        self.store = await self.open()

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.patch.undo()
            shutil.rmtree(self.directory)


_CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much]
TestMemory = pytest.mark.timeout(120)(StoreModel.TestCase)
TestMemory.settings = settings(max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=_CHECKS)
TestSqlite = pytest.mark.timeout(120)(SqliteModel.TestCase)
TestSqlite.settings = settings(max_examples=10, stateful_step_count=30, deadline=None, suppress_health_check=_CHECKS)
