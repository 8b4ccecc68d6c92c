"""Lists in portions: whatever comes, goes and changes, they are the whole list, and what did not change is not made."""

from __future__ import annotations

import random

import pytest

from sampan.records import dataclass
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
