"""Concurrent writers, readers and watchers of a store, and everything that they saw."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from linearizability_checker import FOREVER, Operation, check

from sampan.store.protocol import Change, OutcomeUnknown, RevisionConflict, StoreUnavailable

KEYS = ("/k/a", "/k/b", "/k/c")


@dataclass
class Recorder:
    """``acknowledged``: the key and value of each write that was told to be done, by revision."""

    history: list[Operation] = field(default_factory=list)
    acknowledged: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    unknown: int = 0
    _values: int = 0

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def new_value(self) -> str:
        self._values += 1
        return f"v{self._values}"


async def work(recorder: Recorder, store: Callable[[], Any], rng: random.Random, stop: asyncio.Event) -> None:
    """One client: reads and writes at random, each write on what it read last."""
    known: dict[str, tuple[int, str | None]] = dict.fromkeys(KEYS, (0, None))
    while not stop.is_set():
        key = rng.choice(KEYS)
        if rng.random() < 0.45:
            found = await _read(recorder, store(), key)
            known[key] = found if found is not None else known[key]
        else:
            known[key] = await _write(recorder, store(), key, known[key], rng)
        await asyncio.sleep(rng.random() * 0.02)


async def _read(recorder: Recorder, store: Any, key: str) -> tuple[int, str | None] | None:
    began = recorder.now()
    try:
        entry = await store.get(key)
    except StoreUnavailable:
        return None
    value = entry.value.decode() if entry is not None else None
    recorder.history.append(Operation(key, "read", value, began, recorder.now()))
    return (entry.revision if entry is not None else 0), value


async def _write(
    recorder: Recorder, store: Any, key: str, known: tuple[int, str | None], rng: random.Random
) -> tuple[int, str | None]:
    revision, there = known
    blind = rng.random() < 0.15
    value = None if there is not None and not blind and rng.random() < 0.15 else recorder.new_value()
    began = recorder.now()
    done, ended, made = True, FOREVER, 0
    try:
        made = await store.commit(key, None if blind else revision, value.encode() if value is not None else None)
        ended = recorder.now()
    except RevisionConflict:
        done, ended = False, recorder.now()
    except OutcomeUnknown:
        recorder.unknown += 1
    except StoreUnavailable:
        return known  # it was refused: nothing of it is visible
    recorder.history.append(Operation(key, "write", value, began, ended, there, blind, done))
    if made:
        assert made not in recorder.acknowledged, f"two writes were told revision {made}"
        recorder.acknowledged[made] = (key, value)
        return (made if value is not None else 0), value
    return known


@dataclass
class Watcher:
    """Follows a store's listeners, and keeps the state that they give, as a cache does."""

    store: Any
    seen: list[Change] = field(default_factory=list)
    state: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store.add_listener("/", self._tell)

    def _tell(self, change: Change) -> None:
        self.seen.append(change)
        if change.entry is None:
            self.state.pop(change.key, None)
        else:
            self.state[change.key] = change.entry.value.decode()

    async def read(self, recorder: Recorder, rng: random.Random, stop: asyncio.Event) -> None:
        """Asks what it has kept, once it knows what anybody has written before."""
        while not stop.is_set():
            key, began = rng.choice(KEYS), recorder.now()
            try:
                await self.store.sync()
            except StoreUnavailable:
                continue
            recorder.history.append(Operation(key, "read", self.state.get(key), began, recorder.now()))
            await asyncio.sleep(rng.random() * 0.05)


def judge(recorder: Recorder, history: Sequence[Change], watchers: Sequence[Watcher]) -> None:
    """``history``: every change of the store, from its own history. Raises AssertionError."""
    revisions = [change.revision for change in history]
    assert revisions == sorted(set(revisions)), "history has a revision twice, or out of order"
    values = [change.entry.value for change in history if change.entry is not None]
    assert len(values) == len(set(values)), "a write was carried out twice"
    by_revision = {change.revision: _shown(change) for change in history}
    for revision, (key, value) in recorder.acknowledged.items():
        assert by_revision.get(revision) == (key, value), f"the acknowledged write {value} at {revision} is lost"
    wanted = [(change.revision, *_shown(change)) for change in history]
    for watcher in watchers:
        seen = [(change.revision, *_shown(change)) for change in watcher.seen]
        assert seen == wanted, "a watcher missed something, or was told something twice"
        for change in watcher.seen:
            assert change.entry is not None or change.previous is not None, "a deletion without what was deleted"
    check(recorder.history)


def _shown(change: Change) -> tuple[str, str | None]:
    return change.key, change.entry.value.decode() if change.entry is not None else None
