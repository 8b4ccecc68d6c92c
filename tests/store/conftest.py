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

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FixedClock) -> AsyncIterator[Any]:
    opened: MemoryStore | SqliteStore
    if request.param == "memory":
        opened = MemoryStore(clock=clock, watch_limit=50)
    else:
        opened = await SqliteStore.open(tmp_path / "store", clock=clock, watch_limit=50)
    yield opened
    await opened.close()
