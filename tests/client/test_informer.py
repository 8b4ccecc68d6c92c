"""Informers, over lists and watches and over a cache in the same process."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from sampan.api.errors import NotFound, ServiceUnavailable
from sampan.api.resources import API_SERVICES, NODES, PODS, Resource
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import Informer, InformerFactory
from sampan.keeping import Keeper, Patience


def pod(name, namespace="default", **labels):
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels}}


@asynccontextmanager
async def running(informer):
    task = asyncio.ensure_future(informer.run())
    try:
        await informer.synced()
        yield informer
    finally:
        task.cancel()
        await asyncio.wait([task])


def recorded(informer):
    seen = []
    informer.add_handler(lambda kind, obj, old: seen.append((kind, obj["metadata"]["name"], old is not None)))
    return seen


async def test_present_objects_are_replayed_then_changes_follow(api, client):
    api.add(PODS, pod("a"))
    informer = Informer(client, PODS)
    seen = recorded(informer)
    async with running(informer):
        api.add(PODS, pod("b"))
        api.change(PODS, "default", "a", lambda obj: obj.update(spec={"x": 1}))
        api.remove(PODS, "default", "b")
        await informer.wait_for(api.revision)
    assert seen == [("ADDED", "a", False), ("ADDED", "b", False), ("MODIFIED", "a", True), ("DELETED", "b", True)]


async def test_late_handler_gets_present_objects(api, client):
    api.add(PODS, pod("a"))
    async with running(Informer(client, PODS)) as informer:
        assert recorded(informer) == [("ADDED", "a", False)]


async def test_list_by_namespace_and_index(api, client):
    api.add(PODS, pod("a", app="x"))
    api.add(PODS, pod("b", "other", app="x"))
    async with running(Informer(client, PODS)) as informer:
        informer.add_index("app", lambda obj: [obj["metadata"]["labels"].get("app", "")])
        assert len(informer.by_index("app", "x")) == 2
        api.change(PODS, "default", "a", lambda obj: obj["metadata"].update(labels={"app": "y"}))
        await informer.wait_for(api.revision)
        assert [obj["metadata"]["name"] for obj in informer.by_index("app", "x")] == ["b"]
        assert [obj["metadata"]["name"] for obj in informer.list("default")] == ["a"]
        assert informer.get("other", "b")["metadata"]["name"] == "b"


async def test_an_index_that_holds_its_objects_shows_them_as_they_are_and_says_when_one_changed(api, client):
    def names():
        return [obj["metadata"]["name"] for obj in informer.by_index("app", "x")]

    api.add(PODS, pod("a", app="x"))
    informer = Informer(client, PODS)
    informer.add_index("app", lambda obj: [obj["metadata"]["labels"].get("app", "")], holds=True)
    async with running(informer):
        versions = [informer.version("app", "x"), informer.version("app", "none")]
        assert names() == ["a"]
        api.add(PODS, pod("b", app="y"))
        await informer.wait_for(api.revision)
        assert [informer.version("app", "x"), informer.version("app", "none")] == versions
        api.change(PODS, "default", "a", lambda obj: obj.update(spec={"x": 1}))
        await informer.wait_for(api.revision)
        assert informer.by_index("app", "x")[0]["spec"] == {"x": 1}
        versions.append(informer.version("app", "x"))
        api.remove(PODS, "default", "a")
        await informer.wait_for(api.revision)
        assert names() == []
        api.add(PODS, pod("a", app="x"))
        await informer.wait_for(api.revision)
        assert informer.version("app", "x") not in versions, "never the same for another content"


async def test_an_index_that_holds_its_objects_forgets_what_went_while_the_informer_was_down(api, client):
    api.add(PODS, pod("a", app="x"))
    informer = Informer(client, PODS)
    informer.add_index("app", lambda obj: [obj["metadata"]["labels"].get("app", "")], holds=True)
    async with running(informer):
        assert len(informer.by_index("app", "x")) == 1
    api.remove(PODS, "default", "a")
    api.add(PODS, pod("b", app="x"))
    async with running(informer):
        await informer.wait_until(lambda: [obj["metadata"]["name"] for obj in informer.by_index("app", "x")] == ["b"])


@pytest.mark.logs_errors("handler of pods failed on ADDED default/a")
async def test_failing_handler_does_not_stop_the_others(api, client, caplog):
    informer = Informer(client, PODS)
    informer.add_handler(lambda *change: 1 / 0)
    seen = recorded(informer)
    async with running(informer):
        api.add(PODS, pod("a"))
        await informer.wait_for(api.revision)
    assert seen == [("ADDED", "a", False)]
    assert "ZeroDivisionError" in caplog.text


async def test_ended_watch_continues_where_it_was(remote_api):
    informer = Informer(Client(remote_api), PODS)
    seen = recorded(informer)
    async with running(informer):
        remote_api.add(PODS, pod("a"))
        await informer.wait_for(remote_api.revision)
        remote_api.cut_watches()
        remote_api.fail_next.append(("WATCH", "pods", ServiceUnavailable("down")))
        remote_api.add(PODS, pod("b"))
        await informer.wait_for(remote_api.revision)
    assert seen == [("ADDED", "a", False), ("ADDED", "b", False)]


async def test_compacted_position_relists_and_tells_the_difference(remote_api):
    for name in ("kept", "gone", "again"):
        remote_api.add(PODS, pod(name))
    informer = Informer(Client(remote_api), PODS)
    async with running(informer):
        for _ in range(5):  # the first watch must be open before it is cut
            await asyncio.sleep(0)
        assert remote_api.streams
        seen = []
        informer.add_handler(lambda kind, obj, old: seen.append((kind, obj["metadata"]["name"])))
        seen.clear()
        remote_api.deaf = True
        remote_api.remove(PODS, "default", "gone")
        remote_api.remove(PODS, "default", "again")
        remote_api.add(PODS, pod("again"))
        remote_api.add(PODS, pod("new"))
        remote_api.deaf = False
        remote_api.compacted = remote_api.revision
        remote_api.cut_watches()
        await informer.wait_for(remote_api.revision)
    assert sorted(seen) == [("ADDED", "again"), ("ADDED", "new"), ("DELETED", "again"), ("DELETED", "gone")]


async def test_factory_memoises_and_starts_informers_asked_for_later(api, client):
    factory = InformerFactory(client)
    first = factory.informer(PODS)
    assert factory.informer(PODS) is first
    task = asyncio.ensure_future(factory.run())
    await factory.synced()
    await factory.informer(PODS, label_selector="app=x").synced()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# A bad object, or a bug that it meets, costs nobody else anything


@pytest.mark.logs_errors("an index of pods failed")
async def test_an_object_that_an_index_cannot_read_is_told_to_handlers_and_is_in_no_bucket(api, client, caplog):
    informer = Informer(client, PODS)
    informer.add_index("app", lambda obj: [obj["metadata"]["labels"]["app"]])
    seen = recorded(informer)
    async with running(informer):
        api.add(PODS, pod("good", app="x"))
        api.add(PODS, pod("bad"))
        api.change(PODS, "default", "good", lambda obj: obj["metadata"].update(labels={}))
        api.add(PODS, pod("later", app="x"))
        await informer.wait_for(api.revision)
        assert [obj["metadata"]["name"] for obj in informer.by_index("app", "x")] == ["later"]
    assert {name for _, name, _ in seen} == {"good", "bad", "later"}
    assert "an index of pods failed on default/bad" in caplog.text


@pytest.mark.logs_errors("the selectors of informer pods.v1 failed")
async def test_an_object_that_the_selectors_cannot_read_is_not_selected(client, api, caplog, monkeypatch):
    monkeypatch.setattr(
        "sampan.client.informer.build_predicate", lambda *selectors: lambda obj: obj["metadata"]["labels"]["app"] == "x"
    )
    informer = Informer(client, PODS)
    seen = recorded(informer)
    async with running(informer):
        api.add(PODS, pod("bad"))
        api.add(PODS, pod("good", app="x"))
        await informer.wait_for(api.revision)
        if informer._view is not None:  # a remote server selects by itself
            assert seen == [("ADDED", "good", False)]
            assert "the selectors of informer pods.v1 failed on default/bad" in caplog.text


async def test_what_a_waiter_asks_may_fail_for_that_waiter_alone(api, client):
    async with running(Informer(client, PODS)) as informer:
        failing = asyncio.ensure_future(informer.wait_until(lambda: bool(informer.list()) and 1 / 0))
        fine = asyncio.ensure_future(informer.wait_until(lambda: bool(informer.list())))
        await asyncio.sleep(0)
        api.add(PODS, pod("a"))
        await fine
        with pytest.raises(ZeroDivisionError):
            await failing


@pytest.mark.logs_errors("informer pods.v1 failed")
def test_a_failed_informer_runs_again_alone_and_who_waits_waits_on(remote_api, virtual, monkeypatch, caplog):
    async def scenario():
        client = Client(remote_api)
        factory = InformerFactory(client)
        informer, other = factory.informer(PODS), factory.informer(NODES)
        replace, failures = Informer.replace, []

        def fails_once(self, objects, revision):
            if self is informer and not failures:
                failures.append(1)
                raise RuntimeError("a bug")
            replace(self, objects, revision)

        monkeypatch.setattr(Informer, "replace", fails_once)
        running_factory = asyncio.ensure_future(factory.run())
        waiter = asyncio.ensure_future(informer.wait_until(lambda: bool(informer.list())))
        await other.synced()
        remote_api.add(PODS, pod("a"))
        await waiter
        assert failures == [1]
        running_factory.cancel()
        await asyncio.wait([running_factory])

    virtual(scenario())


@pytest.mark.logs_errors("component failed")
async def test_the_handlers_of_a_component_go_with_it(api, client):
    async with running(Informer(client, PODS)) as informer, Keeper(patience=Patience(first_seconds=0.0)) as keeper:
        lives, seen, steady = [], [], asyncio.Event()

        async def component():
            life = len(lives)
            lives.append(life)
            informer.add_handler(lambda kind, obj, old: seen.append((life, obj["metadata"]["name"])))
            if not life:
                raise RuntimeError("a bug")
            steady.set()
            await asyncio.Event().wait()

        keeper.keep("component", component)
        await steady.wait()
        api.add(PODS, pod("a"))
        await informer.wait_for(api.revision)
        assert seen == [(1, "a")]


async def test_what_the_server_does_not_serve_is_empty_and_nobody_waits_for_it(remote_api):
    """`--runtime-config` may turn a resource off; its informer asks again now and then."""
    remote_api.fail_next.append(("GET", "pods", NotFound("the server could not find the requested resource")))
    remote_api.add(PODS, pod("a"))
    informer = Informer(Client(remote_api), PODS)
    async with running(informer):
        await informer.synced()
        assert informer.list() == []


def test_a_server_in_this_process_is_watched_for_a_day_and_asked_for_no_bookmarks(virtual, new_fake_api) -> None:
    """What it has itself and no cache of for others, as custom resources; not what another API server has."""
    boats = Resource("example.com", "v1", "boats", "Boat", True)

    async def scene(near, service=None):
        api = new_fake_api(in_process=near)
        api.add(API_SERVICES, {"metadata": {"name": "v1.example.com"}, "spec": {"service": service}})
        asked, watch = [], api.watch
        api.watch = lambda call: asked.append(call) or watch(call)
        view = api.cache_view
        api.cache_view = lambda resource: None if resource == boats else view(resource)
        running = asyncio.create_task(Informer(Client(api), boats, random=random.Random(1)).run())
        await asyncio.sleep(1)
        await tasks.cancel_and_wait(running)
        (call,) = asked
        return call.query.get("allowWatchBookmarks"), int(call.query["timeoutSeconds"]) >= 24 * 3600

    assert virtual(scene(True)) == (None, True)
    assert virtual(scene(True, {"name": "s", "namespace": "default"})) == ("true", False)
    assert virtual(scene(False)) == ("true", False)
