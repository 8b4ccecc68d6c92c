"""The shell of work-queue controllers: what one key's fault costs, and whom."""

import asyncio
import itertools
from contextlib import asynccontextmanager

import pytest

from sampan.api.errors import Invalid
from sampan.api.resources import PODS
from sampan.client.client import Client
from sampan.client.controller import Controller, observe
from sampan.client.informer import Informer


@asynccontextmanager
async def running(*works):
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.mark.logs_errors("test: no keys of default/a")
async def test_a_state_without_keys_hides_neither_the_other_state_nor_later_changes(api, client, caplog):
    informer = Informer(client, PODS)
    synced, wanted = [], asyncio.Event()

    async def sync(key):
        synced.append(key)
        if {"old", "later"} <= set(synced):
            wanted.set()

    controller = Controller("test", sync)
    controller.watch(informer, lambda obj: [obj["metadata"]["labels"]["app"]])
    async with running(informer.run(), controller.run()):
        await informer.synced()
        api.add(PODS, {"metadata": {"name": "a", "namespace": "default", "labels": {"app": "old"}}})
        await informer.wait_for(api.revision)
        while not synced:  # noqa: ASYNC110  # the controller runs on this loop: this lets it work
            await asyncio.sleep(0)
        synced.clear()
        api.change(PODS, "default", "a", lambda obj: obj["metadata"].update(labels={}))
        api.add(PODS, {"metadata": {"name": "b", "namespace": "default", "labels": {"app": "later"}}})
        await asyncio.wait_for(wanted.wait(), 20)
    assert "test: no keys of default/a" in caplog.text


@pytest.mark.logs_errors("sync of hangs gave up")
def test_a_sync_that_hangs_costs_its_key_its_turn_and_is_tried_again(virtual, caplog):
    async def scenario():
        turns, again = [], asyncio.Event()

        async def sync(key):
            turns.append(key)
            if turns.count("hangs") == 2:
                again.set()
            elif key == "hangs":
                await asyncio.Event().wait()

        controller = Controller("test", sync, workers=1, sync_seconds=300)
        async with running(controller.run()):
            controller.enqueue("hangs")
            controller.enqueue("behind it")
            await again.wait()
        assert turns == ["hangs", "behind it", "hangs"]
        assert asyncio.get_running_loop().time() >= 300

    virtual(scenario())
    assert "test: sync of hangs gave up" in caplog.text


async def test_a_write_that_was_seen_before_it_was_answered_waits_for_nothing(api, client):
    informer = Informer(client, PODS)
    async with running(informer.run()):
        await informer.synced()
        written = await client.create(PODS, {"metadata": {"name": "a", "namespace": "default"}})
        await informer.wait_for(api.revision)
        with pytest.raises(StopIteration):
            observe(informer, written).send(None)
        gone = {"kind": "Status", "details": {"name": "a", "uid": "of another one"}}
        with pytest.raises(StopIteration):
            observe(informer, gone, "default").send(None)


def test_waiting_for_an_informer_is_not_hanging(virtual, remote_api):
    async def scenario():
        informer = Informer(Client(remote_api), PODS)
        turns, done = [], asyncio.Event()

        async def sync(key):
            turns.append(key)
            written = {"metadata": {"name": "a", "namespace": "default", "resourceVersion": "1"}}
            await asyncio.gather(observe(informer, written), observe(informer, written))
            done.set()

        controller = Controller("test", sync, sync_seconds=300)
        async with running(controller.run()):
            controller.enqueue("key")
            await asyncio.sleep(1000)
            assert turns == ["key"] and not done.is_set()
            remote_api.add(PODS, {"metadata": {"name": "a", "namespace": "default"}})
            async with running(informer.run()):
                await done.wait()
        assert turns == ["key"]

    virtual(scenario())


async def test_an_informer_that_begins_anew_costs_neither_a_key_nor_a_worker(api, client):
    informer, turns, seen = Informer(client, PODS), [], asyncio.Event()
    api.add(PODS, {"metadata": {"name": "a", "namespace": "default"}})

    async def sync(key):
        turns.append(key)
        await informer.wait_until(lambda: informer.get("default", "b") is not None)
        seen.set()

    controller = Controller("test", sync, workers=1, informers=[informer])
    async with running(controller.run()):
        async with running(informer.run()):
            await informer.synced()
            controller.enqueue("key")
            while not turns:  # noqa: ASYNC110  # the controller runs on this loop: this lets it work
                await asyncio.sleep(0)
        async with running(informer.run()):
            api.add(PODS, {"metadata": {"name": "b", "namespace": "default"}})
            await asyncio.wait_for(seen.wait(), 20)
    assert turns == ["key", "key"]


def test_what_is_refused_as_invalid_is_tried_again_ever_more_rarely(virtual):
    """A policy that refuses pods may be deleted, and nothing tells the owners of the pods."""

    async def scenario():
        loop, turns, done = asyncio.get_running_loop(), [], asyncio.Event()

        async def sync(key):
            turns.append(loop.time())
            if len(turns) < 12:
                raise Invalid("a policy says no")
            done.set()

        controller = Controller("test", sync)
        async with running(controller.run()):
            controller.enqueue("key")
            await done.wait()
        pauses = [later - earlier for earlier, later in itertools.pairwise(turns)]
        assert min(pauses) >= 1 and max(pauses) > 4 and sum(pauses) < 60

    virtual(scenario())
