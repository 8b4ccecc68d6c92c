"""Stored values of former versions are written once more in today's form, whoever else writes meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from sampan.api.clock import FixedClock
from sampan.api.registry import registry
from sampan.server.storedversions import Rewritten, rewrite
from sampan.server.surface import Surface
from sampan.store.memory import MemoryStore
from sampan.store.protocol import Entry

FORMER = {
    "kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2beta2",
    "metadata": {"name": "a", "namespace": "default", "uid": "1"},
    "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 3},
}  # fmt: skip
HPA = "/registry/autoscaling/horizontalpodautoscalers/default/"
MAPS = "/registry/core/configmaps/default/"


def told(looked: int, written: int) -> None:
    """Progress, of which nothing is asked here."""


async def store_with(**values: Any) -> tuple[MemoryStore, Surface]:
    store = MemoryStore(clock=FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))
    for key, value in values.items():
        prefix = HPA if key.startswith("hpa") else MAPS
        await store.commit(prefix + key, 0, value if isinstance(value, bytes) else orjson.dumps(value))
    return store, Surface.build(registry(), store)


async def read(store: MemoryStore, key: str) -> dict[str, Any]:
    entry = await store.get(key)
    assert entry is not None
    found: dict[str, Any] = orjson.loads(entry.value)
    return found


async def test_a_value_of_a_former_version_is_written_in_todays_and_a_second_time_nothing_is() -> None:
    # One of before values said their version, one of a former version, one that is as it would be written today.
    old = {"metadata": {"name": "m", "namespace": "default", "uid": "2"}, "data": {"a": "b"}}
    today = {"kind": "ConfigMap", "apiVersion": "v1", **old}
    store, surface = await store_with(hpa=FORMER, old=old, today=today)
    assert await rewrite(store, surface.storages(), told) == Rewritten(3, 2)
    assert (await read(store, HPA + "hpa"))["apiVersion"] == "autoscaling/v2"
    assert (await read(store, HPA + "hpa"))["spec"]["maxReplicas"] == 3
    assert await read(store, MAPS + "old") == today
    before = store.revision
    assert await rewrite(store, surface.storages(), told) == Rewritten(3, 0)
    assert store.revision == before


async def test_what_nobody_can_read_stays_and_is_named() -> None:
    store, surface = await store_with(broken=b"{", strange={"kind": "ConfigMap", "apiVersion": "v9", "metadata": {}})
    done = await rewrite(store, surface.storages(), told)
    assert done.rewritten == 0
    assert [line.split(":")[0] for line in done.left] == [MAPS + "broken", MAPS + "strange"]
    entry = await store.get(MAPS + "broken")
    assert entry is not None
    assert entry.value == b"{"


class Racing(MemoryStore):
    """Somebody else writes each key between the look and the write."""

    async def commit(self, key: str, expected: int | None, value: bytes | None, **how: Any) -> Any:
        if value is not None and expected:
            await super().commit(key, expected, orjson.dumps({**orjson.loads(value), "data": {"theirs": "1"}}))
        return await super().commit(key, expected, value, **how)


async def test_what_somebody_writes_meanwhile_stays_his() -> None:
    store = Racing(clock=FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))
    old = {"metadata": {"name": "m", "namespace": "default", "uid": "2"}, "data": {"a": "b"}}
    await store.commit(MAPS + "m", 0, orjson.dumps(old))
    done = await rewrite(store, Surface.build(registry(), store).storages(), told)
    assert done.rewritten == 0
    assert (await read(store, MAPS + "m"))["data"] == {"theirs": "1"}
    assert isinstance(await store.get(MAPS + "m"), Entry)
