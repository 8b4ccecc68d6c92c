"""Where entries stand in etcd whose keys do not begin with what the prefix stands for, as an API server's ranges."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime

import pytest

from sampan.api.clock import FixedClock
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.settings import EtcdSettings
from sampan.store.etcd.store import EtcdStore
from sampan.store.protocol import Change

_prefixes = (f"/laid{n}" for n in itertools.count())


@pytest.mark.parametrize("key", ["/registry/core/pods/a/b", "/ranges/servicenodeports/30080", "/r", "/registr"])
def test_every_key_comes_back_and_lies_where_followers_look(key: str) -> None:
    layout = Layout("/mine", "/registry")
    where = layout.of(key)
    assert layout.key(where) == key
    assert layout.follow <= where < layout.follow_end
    directory = key[: key.rfind("/", 1) + 1]
    if directory:
        start, end = layout.range_of(directory)
        assert start <= where < end
        assert layout.range_of(directory, key)[0] > where


def test_no_entry_stands_where_the_store_keeps_its_notes() -> None:
    layout = Layout("/mine", "/registry")
    notes = (layout.bump, layout.time, layout.end_of("/registry/a"), layout.end_of("/ranges/a"))
    assert [layout.key(where) for where in notes] == [None] * 4


async def test_ranges_of_an_api_server_are_listed_and_told(etcd_endpoint: str) -> None:
    settings = EtcdSettings(endpoints=(etcd_endpoint,), prefix=next(_prefixes), strip="/registry")
    store = await EtcdStore.open(settings, clock=FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))
    told: asyncio.Queue[Change] = asyncio.Queue()
    store.add_listener("/ranges/", told.put_nowait)
    try:
        await store.commit("/ranges/servicenodeports/30080", 0, b"{}")
        await store.commit("/registry/core/pods/a/b", 0, b"{}")
        found = await store.range("/ranges/servicenodeports/")
        assert [entry.key for entry in found.entries] == ["/ranges/servicenodeports/30080"]
        assert [entry.key for entry in (await store.range("/registry/")).entries] == ["/registry/core/pods/a/b"]
        assert (await told.get()).key == "/ranges/servicenodeports/30080"
    finally:
        await store.close()
