"""Controllers that look after every resource follow custom ones while they come and go."""

import asyncio
from typing import Any

import pytest

from sampan.api.resources import API_SERVICES, CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, SECRETS, Resource
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.served import ServedResources, read_discovery
from sampan.controllers.garbagecollector.controller import GarbageCollector
from sampan.controllers.namespace.deletion import NamespaceDeletionController
from sampan.testing import virtual

pytestmark = pytest.mark.timeout(60)

BOATS = Resource("example.com", "v1", "boats", "Boat", True)
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


def listed(*resources: Resource, verbs: list[str] = VERBS, **version: Any) -> list[dict[str, Any]]:
    """Aggregated discovery of these, all of one group and version."""
    found = [
        {
            "resource": resource.plural,
            "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "verbs": verbs,
        }
        for resource in resources
    ]
    served = {"version": resources[0].version, "resources": found, **version}
    return [{"metadata": {"name": resources[0].group}, "versions": [served]}]


def boat(name: str, *owners: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "ownerReferences": list(owners)}}


def owner(obj: dict[str, Any]) -> dict[str, Any]:
    meta = obj["metadata"]
    return {"apiVersion": "example.com/v1", "kind": "Boat", "name": meta["name"], "uid": meta["uid"]}


def test_built_in_kinds_and_what_cannot_be_followed_are_left_out() -> None:
    items = [*listed(BOATS), *listed(NAMESPACES), *listed(Resource("a.io", "v1", "reviews", "Review", False), verbs=[])]
    assert list(read_discovery({"items": items}).resources.values()) == [BOATS]


def test_the_preferred_version_is_followed_and_stale_ones_are_named() -> None:
    versions = [
        {"version": "v2", "resources": listed(BOATS)[0]["versions"][0]["resources"]},
        {"version": "v1", "resources": listed(BOATS)[0]["versions"][0]["resources"], "freshness": "Stale"},
    ]
    found = read_discovery({"items": [{"metadata": {"name": "example.com"}, "versions": versions}]})
    assert found.resources["example.com", "Boat"].version == "v2"
    assert found.stale == ("example.com/v1",)


async def test_an_answer_that_comes_late_does_not_take_the_place_of_a_newer_one() -> None:
    answers: list[asyncio.Future[Any]] = [asyncio.get_running_loop().create_future() for _ in range(2)]
    left = iter(answers)

    class Slow:
        async def call(self, call: Any) -> Any:
            return await next(left)

    removed: list[Resource] = []
    served = ServedResources(Client(Slow()), lambda resource: None, removed.append)
    asked = [asyncio.create_task(served.refresh()) for _ in range(2)]
    await asyncio.sleep(0)
    answers[1].set_result({"items": listed(BOATS)})  # to whoever asked second
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answers[0].set_result({"items": []})
    await asyncio.gather(*asked)
    assert served.find("example.com", "Boat") == BOATS
    assert removed == []


async def test_a_custom_resource_is_collected_with_its_owner(api, context, running, wait) -> None:
    api.discovery = listed(BOATS)
    ship = api.add(BOATS, boat("ship"))
    api.add(BOATS, boat("tender", owner(ship)))
    api.add(SECRETS, {"metadata": {"name": "s", "namespace": "default", "ownerReferences": [owner(ship)]}})
    async with running(GarbageCollector(context)):
        await wait.quiet(api)
        assert len(api.all(BOATS)) == 2
        await Client(api).delete(BOATS, "ship", "default")
        await wait.until(lambda: not api.all(BOATS) and not api.all(SECRETS))


async def test_what_waited_for_an_unknown_kind_is_looked_at_when_it_is_served(api, context, running, wait) -> None:
    ghost = {"apiVersion": "example.com/v1", "kind": "Boat", "name": "ghost", "uid": "ghost"}
    api.add(SECRETS, {"metadata": {"name": "s", "namespace": "default", "ownerReferences": [ghost]}})
    collector = GarbageCollector(context)
    async with running(collector):
        await wait.quiet(api)
        assert len(api.all(SECRETS)) == 1  # nobody can tell
        api.discovery = listed(BOATS)
        await collector._served.refresh()
        await wait.until(lambda: not api.all(SECRETS))


async def test_a_kind_that_is_served_no_longer_is_followed_no_longer(api, context, running, wait) -> None:
    api.discovery = listed(BOATS)
    ship = api.add(BOATS, boat("ship"))
    api.add(SECRETS, {"metadata": {"name": "s", "namespace": "default", "ownerReferences": [owner(ship)]}})
    collector = GarbageCollector(context)
    async with running(collector):
        await wait.quiet(api)
        before = context.informers.informer(BOATS)
        api.remove(BOATS, "default", "ship")
        api.discovery = []
        await collector._served.refresh()
        await wait.until(lambda: not api.all(SECRETS))
        assert context.informers.informer(BOATS) is not before


def ending() -> dict[str, Any]:
    metadata = {"name": "default", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["hold"]}
    return {"metadata": metadata, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}


async def test_a_namespace_that_ends_takes_custom_resources_along(api, context, running, wait) -> None:
    api.discovery = listed(BOATS)
    api.add(NAMESPACES, ending())
    api.add(BOATS, boat("ship"))
    async with running(NamespaceDeletionController(context)):
        await wait.until(lambda: not api.get(NAMESPACES, "", "default")["spec"]["finalizers"])
    assert not api.all(BOATS)


async def test_a_namespace_does_not_end_before_it_is_known_what_may_be_in_it(api, context, running, wait) -> None:
    api.discovery = listed(BOATS, freshness="Stale")
    api.add(NAMESPACES, ending())
    async with running(NamespaceDeletionController(context)):

        def told() -> bool:
            found = api.get(NAMESPACES, "", "default")["status"].get("conditions") or ()
            rows = {one["type"]: (one["status"], one["reason"], one["message"]) for one in found}
            return rows.get("NamespaceDeletionDiscoveryFailure") == (
                "True",
                "DiscoveryFailed",
                "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: "
                "example.com/v1: stale GroupVersion discovery: example.com/v1",
            )

        await wait.until(told)
        assert api.get(NAMESPACES, "", "default")["spec"]["finalizers"] == ["kubernetes"]


class Counted:
    """A transport that counts the questions about what is served: its only calls here."""

    def __init__(self, api: Any) -> None:
        self.cache_view = api.cache_view
        self._call, self.questions = api.call, 0

    async def call(self, call: Any) -> Any:
        self.questions += 1
        return await self._call(call)


@pytest.mark.parametrize("service", [None, {"name": "metrics", "namespace": "kube-system"}])
def test_a_server_of_this_process_is_asked_only_while_there_may_be_news(make_api: Any, service: Any) -> None:
    async def scene() -> None:
        api = make_api()
        transport = Counted(api)
        api.add(API_SERVICES, {"metadata": {"name": "v1.example.com"}, "spec": {"service": service}})
        added: list[Resource] = []
        running = asyncio.create_task(ServedResources(Client(transport), added.append, lambda resource: None).run())
        await asyncio.sleep(3600)
        before = transport.questions
        await asyncio.sleep(3600)
        assert transport.questions - before == (
            0 if service is None else 120
        )  # what is served elsewhere changes unseen
        api.add(CUSTOM_RESOURCE_DEFINITIONS, {"metadata": {"name": "boats.example.com"}, "spec": {}})
        await asyncio.sleep(5)
        api.discovery = listed(BOATS)  # a moment later
        await asyncio.sleep(1)
        assert added == [BOATS]
        await tasks.cancel_and_wait(running)
        assert not any(api.listeners.values())

    virtual.run(scene())


def test_a_server_elsewhere_is_asked_each_half_minute(make_api: Any) -> None:
    async def scene() -> None:
        transport = Counted(make_api(in_process=False))
        served = ServedResources(Client(transport), lambda resource: None, lambda resource: None)
        running = asyncio.create_task(served.run())
        await asyncio.sleep(3599)
        assert transport.questions == 120
        await tasks.cancel_and_wait(running)

    virtual.run(scene())
