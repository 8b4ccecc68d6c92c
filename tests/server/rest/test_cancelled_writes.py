"""A request that ends early does not undo what its commit made true."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytestmark = pytest.mark.every_store

SERVICES = "/api/v1/namespaces/default/services"
SPEC = {"clusterIP": "10.96.0.77", "ports": [{"port": 80}]}


@pytest.fixture
def slow_store(api: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """(the commit of a Service has happened, its caller may go on)."""
    store = api.server.store
    commit, happened, going_on = store.commit, asyncio.Event(), asyncio.Event()

    async def slow(key: str, expected: int | None, value: bytes | None, **options: Any) -> int:
        revision: int = await commit(key, expected, value, **options)
        if key.startswith("/registry/core/services/"):
            happened.set()
            await going_on.wait()
        return revision

    monkeypatch.setattr(store, "commit", slow)
    return happened, going_on


async def give_up_on(write: Any, happened: asyncio.Event, going_on: asyncio.Event) -> None:
    request = asyncio.ensure_future(write)
    await happened.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    going_on.set()


async def test_an_address_stays_taken_when_its_creator_goes_away(api: Any, slow_store: Any) -> None:
    await give_up_on(api("POST", SERVICES, {"metadata": {"name": "a"}, "spec": SPEC}), *slow_store)
    await asyncio.wait([task for task in asyncio.all_tasks() if task.get_name() == "write"])
    assert (await api("GET", f"{SERVICES}/a")).status == 200
    assert (await api("POST", SERVICES, {"metadata": {"name": "b"}, "spec": SPEC})).status == 422


async def test_an_address_is_free_again_when_its_deleter_goes_away(api: Any, slow_store: Any) -> None:
    happened, going_on = slow_store
    going_on.set()
    await api("POST", SERVICES, {"metadata": {"name": "a"}, "spec": SPEC})
    going_on.clear()
    happened.clear()
    await give_up_on(api("DELETE", f"{SERVICES}/a"), happened, going_on)
    await asyncio.wait([task for task in asyncio.all_tasks() if task.get_name() == "write"])
    assert (await api("POST", SERVICES, {"metadata": {"name": "b"}, "spec": SPEC})).status == 201
