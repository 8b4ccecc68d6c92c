import pytest

from sampan.api.errors import NotFound
from sampan.api.resources import CONFIG_MAPS, EVENTS, NODES, PODS, REPLICA_SETS, SECRETS
from sampan.client.client import Client
from sampan.controllers.garbagecollector.controller import GarbageCollector
from sampan.controllers.garbagecollector.pods import plan_finished

pytestmark = pytest.mark.timeout(60)  # about a hundred informers each


@pytest.fixture
def client(api):
    return Client(api)


def owned(name, owner, kind="ReplicaSet", namespace="default", block=True, **extra):
    reference = {"apiVersion": "apps/v1" if kind == "ReplicaSet" else "v1", "kind": kind, "blockOwnerDeletion": block}
    reference |= {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
    return {"metadata": {"name": name, "namespace": namespace, "ownerReferences": [reference]}, **extra}


def add_set(api, name="rs"):
    return api.add(REPLICA_SETS, {"metadata": {"name": name, "namespace": "default"}, "spec": {}})


async def test_dependents_go_after_their_owner(api, context, running, wait, client):
    owner = add_set(api)
    child = api.add(PODS, owned("p", owner))
    api.add(CONFIG_MAPS, owned("grandchild", child, "Pod"))
    async with running(GarbageCollector(context)):
        await wait.quiet(api)
        assert len(api.all(CONFIG_MAPS)) == 1
        await client.delete(REPLICA_SETS, "rs", "default")
        await wait.quiet(api)
    assert api.all(PODS) == []
    assert api.all(CONFIG_MAPS) == []


async def test_owner_that_never_was_is_found_at_the_start(api, context, running, wait):
    ghost = {"metadata": {"name": "ghost", "uid": "ghost"}}
    api.add(SECRETS, owned("s", ghost))
    async with running(GarbageCollector(context)):
        await wait.quiet(api)
    assert api.all(SECRETS) == []


async def test_same_name_with_another_uid_is_not_the_owner(api, context, running, wait):
    add_set(api)
    api.add(SECRETS, owned("s", {"metadata": {"name": "rs", "uid": "old"}}))
    async with running(GarbageCollector(context)):
        await wait.quiet(api)
    assert api.all(SECRETS) == []


async def test_foreground_waits_for_blocking_dependents(api, context, running, wait, client):
    owner = add_set(api)
    api.add(PODS, owned("p", owner, spec={"nodeName": "n"}))
    async with running(GarbageCollector(context)):
        await client.delete(REPLICA_SETS, "rs", "default", propagation="Foreground")
        await wait.quiet(api)
        assert "deletionTimestamp" in api.get(PODS, "default", "p")["metadata"]
        assert api.get(REPLICA_SETS, "default", "rs") is not None
        api.remove(PODS, "default", "p")
        await wait.quiet(api)
    assert api.all(REPLICA_SETS) == []


async def test_orphan_keeps_dependents_without_their_reference(api, context, running, wait, client):
    owner = add_set(api)
    api.add(PODS, owned("p", owner))
    async with running(GarbageCollector(context)):
        await client.delete(REPLICA_SETS, "rs", "default", propagation="Orphan")
        await wait.quiet(api)
    assert api.all(REPLICA_SETS) == []
    assert not api.get(PODS, "default", "p")["metadata"].get("ownerReferences")


async def test_second_owner_keeps_the_object(api, context, running, wait, client):
    first, second = add_set(api, "one"), add_set(api, "two")
    child = owned("p", first)
    child["metadata"]["ownerReferences"] += owned("x", second)["metadata"]["ownerReferences"]
    api.add(PODS, child)
    async with running(GarbageCollector(context)):
        await client.delete(REPLICA_SETS, "one", "default")
        await wait.quiet(api)
    assert [ref["name"] for ref in api.get(PODS, "default", "p")["metadata"]["ownerReferences"]] == ["two"]


async def test_owner_in_another_namespace_is_reported(api, context, running, wait):
    owner = add_set(api)
    async with running(GarbageCollector(context)):
        api.add(SECRETS, owned("s", owner, namespace="other"))
        await wait.quiet(api)
    assert api.all(SECRETS) == []
    assert [event["reason"] for event in api.all(EVENTS)] == ["OwnerRefInvalidNamespace"]


async def test_cluster_scoped_object_with_namespaced_owner_stays(api, context, running, wait):
    owner = add_set(api)
    node = owned("n", owner)
    del node["metadata"]["namespace"]
    async with running(GarbageCollector(context)):
        api.add(NODES, node)
        api.remove(REPLICA_SETS, "default", "rs")
        await wait.quiet(api)
    assert len(api.all(NODES)) == 1


async def test_what_a_kind_owns_that_was_turned_off_stays(api, context, running, wait, monkeypatch):
    """``--runtime-config=apps/v1=false``: that nobody answers for ReplicaSets does not say that there are none."""
    served = api.call

    async def call(call):
        if "replicasets" in call.path:
            raise NotFound("the server could not find the requested resource")
        return await served(call)

    monkeypatch.setattr(api, "call", call)
    api.add(SECRETS, owned("stays", {"metadata": {"name": "rs", "uid": "rs"}}))
    api.add(SECRETS, owned("goes", {"metadata": {"name": "p", "uid": "p"}}, "Pod"))
    async with running(GarbageCollector(context)):
        await wait.quiet(api)
    assert [each["metadata"]["name"] for each in api.all(SECRETS)] == ["stays"]


async def test_unknown_owner_kind_stays(api, context, running, wait):
    child = owned("s", {"metadata": {"name": "x", "uid": "x"}})
    child["metadata"]["ownerReferences"][0]["kind"] = "Widget"
    api.add(SECRETS, child)
    async with running(GarbageCollector(context)):
        await wait.quiet(api)
    assert len(api.all(SECRETS)) == 1


def test_oldest_finished_pods_go_above_the_threshold():
    pods = [{"metadata": {"name": str(n), "creationTimestamp": f"2026-01-0{n}T00:00:00Z"}} for n in (3, 1, 2)]
    assert [pod["metadata"]["name"] for pod in plan_finished(pods, 1)] == ["1", "2"]
    assert plan_finished(pods, 0) == []
