"""Every test that takes ``store`` runs on each implementation: the contract of ``sampan.store.protocol``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.store.memory import MemoryStore
from sampan.store.sqlite import SqliteStore
from sampan.testing.yielding import YieldingStore

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START)


@pytest.fixture(params=["memory", "sqlite", "yielding"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FixedClock) -> AsyncIterator[Any]:
    opened: MemoryStore | SqliteStore
    if request.param == "memory":
        opened = MemoryStore(clock=clock)
    elif request.param == "yielding":
        opened = YieldingStore(7, clock=clock)
    else:
        opened = await SqliteStore.open(tmp_path / "store", clock=clock)
    yield opened
    await opened.close()
