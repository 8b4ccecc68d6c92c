"""Lists in portions: whatever comes, goes and changes, they are the whole list, and what did not change is not made."""

from __future__ import annotations

import asyncio
import random
from typing import Any, SupportsIndex

import pytest

from sampan.records import dataclass
from sampan.server import listforms
from sampan.server.portions import Portion, parts

PORTION_BYTES = 5_000


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    revision: int
    value: bytes | None = b"x"


def listed(state: dict[str, int]) -> list[Entry]:
    return [Entry(key, state[key]) for key in sorted(state)]


def piece(entries: list[Entry]) -> bytes:
    return b",".join(b"%s@%d" % (entry.key.encode(), entry.revision) for entry in entries)


def made(entries: list[Entry], before: list[Portion]) -> tuple[list[Portion], int]:
    """The portions, and of how many entries bytes were made."""
    found, worked, at = [], 0, 0
    for part in parts(entries, before, PORTION_BYTES):
        assert part.start == at < part.end
        at = part.end
        if part.kept is not None:
            found.append(part.kept)
            continue
        some = entries[part.start : part.end]
        worked += len(some)
        found.append(Portion(some[0].key, part.revisions, piece(some)))
    assert at == len(entries)
    return found, worked


@pytest.mark.parametrize("seed", range(5))
def test_portions_are_the_whole_list_after_any_changes(seed: int) -> None:
    chance, revision = random.Random(seed), 0
    state: dict[str, int] = {}
    before: list[Portion] = []
    for _ in range(150):
        for _ in range(chance.choice([0, 1, 1, 2, 30])):
            revision += 1
            key = f"k{chance.randrange(200):03}"
            if key in state and chance.random() < 0.4:
                del state[key]
            else:
                state[key] = revision
        entries = listed(state)
        before, _ = made(entries, before)
        assert b",".join(portion.piece for portion in before) == piece(entries)
        assert all(len(portion.revisions) <= 2 * PORTION_BYTES // 1000 for portion in before)


def test_one_change_makes_one_portion_anew() -> None:
    state = {f"k{number:04}": number + 1 for number in range(1000)}
    before, worked = made(listed(state), [])
    assert (worked, len(before)) == (1000, 200)
    for key, revision in (("k0500", 2000), ("k0500+", 2001), ("k0000", 2002), ("a", 2003), ("k0999", 2004)):
        state[key] = revision
        before, worked = made(listed(state), before)
        assert worked <= 11
    for key in ("k0500", "a", "k0999", "k0001"):
        del state[key]
        before, worked = made(listed(state), before)
        assert worked <= 11
    _, worked = made(listed(state), before)
    assert worked == 0


def test_a_list_that_is_empty_has_none() -> None:
    before, _ = made(listed({"a": 1}), [])
    assert made([], before) == ([], 0)


class Seen(list[Entry]):
    """How many entries were looked at."""

    looks = 0

    def __getitem__(self, at: SupportsIndex | slice) -> Any:
        found = super().__getitem__(at)
        self.looks += len(found) if isinstance(found, list) else 1
        return found


def test_of_a_long_list_no_more_is_looked_at_than_the_next_portion_needs() -> None:
    entries = Seen(listed({f"k{number:05}": number + 1 for number in range(5000)}))
    whole, _ = made(entries, [])
    for before in ([], whole, whole[:1]):
        entries.looks = 0
        next(parts(entries, before, PORTION_BYTES))
        assert entries.looks < 50


async def test_others_get_their_turns_while_a_list_that_stays_is_looked_at() -> None:
    entries = listed({f"k{number:05}": number + 1 for number in range(30_000)})
    before, _ = made(entries, [])
    had = 0

    async def count() -> None:
        nonlocal had
        while True:
            await asyncio.sleep(0)
            had += 1

    async with asyncio.TaskGroup() as group:
        counting = group.create_task(count())
        view: Any = None  # nothing is made
        found = await listforms.portions(listforms.JSON, view, entries, before, pytest.fail)
        counting.cancel()
    assert [id(portion) for portion in found] == [id(portion) for portion in before]
    assert had >= 10
