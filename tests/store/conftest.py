"""Every test that takes ``store`` runs on each implementation: the contract of ``sampan.store.protocol``."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.store.archive.etcdside import EtcdSide
from sampan.store.etcd.client import Client
from sampan.store.etcd.history import RING_BYTES
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.settings import EtcdSettings
from sampan.store.etcd.store import EtcdStore
from sampan.store.memory import MemoryStore
from sampan.store.sqlite import SqliteStore
from sampan.testing.yielding import YieldingStore

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START)


_prefixes = (f"/test{n}" for n in itertools.count())


#: What lives in this process, which a cache is tried on; and what keeps the contract besides. The first of etcd's
#: counts from far above etcd's own revisions, as one that was moved there does; other tests have none that was.
HERE = ("memory", "sqlite", "yielding")
ELSEWHERE = ("etcd", "etcd-history")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = any("store" in marker.args[0] for marker in metafunc.definition.iter_markers("parametrize"))
    if "store" in metafunc.fixturenames and not chosen:
        stores = HERE + ELSEWHERE if metafunc.definition.get_closest_marker("every_store") else HERE
        past = any(word in metafunc.definition.name for word in ("history", "changes", "compaction", "note"))
        stores = stores if past else tuple(store for store in stores if store != "etcd-history")
        metafunc.parametrize("store", stores, indirect=True)


async def claim(settings: EtcdSettings, revision: int) -> None:
    """Has a store there count on from this revision, as a move into an empty etcd does."""
    client = Client(settings)
    side = EtcdSide(client, Layout(settings.prefix, settings.strip))
    await side.read_offset()
    await side.claim(b"{}", None, revision)
    await side.remove_marker()
    await client.close()


@pytest.fixture
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FixedClock) -> AsyncIterator[Any]:
    opened: MemoryStore | SqliteStore | EtcdStore
    if request.param == "memory":
        opened = MemoryStore(clock=clock)
    elif request.param == "yielding":
        opened = YieldingStore(7, clock=clock)
    elif request.param.startswith("etcd"):
        settings = EtcdSettings(endpoints=(request.getfixturevalue("etcd_endpoint"),), prefix=next(_prefixes))
        # Without a ring, history comes out of etcd.
        kept = 0 if request.param == "etcd-history" else RING_BYTES
        if request.param == "etcd":
            await claim(settings, 7_000_000_000)
        opened = await EtcdStore.open(settings, clock=clock, ring_bytes=kept)
    else:
        opened = await SqliteStore.open(tmp_path / "store", clock=clock)
    yield opened
    await opened.close()
