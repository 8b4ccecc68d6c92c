"""What one server was told, the others know: nobody is refused for what a server has not heard of yet, and a server
that hears of nothing any more says so and answers nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api.errors import Forbidden, NotFound
from sampan.api.resources import CONFIG_MAPS
from sampan.client.timeline import VirtualTimeline
from sampan.server.progress import INTERVAL_SECONDS, LOST_SECONDS
from sampan.testing import virtual

from .several_servers import Member, several

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BOATS = "/apis/example.com/v1/namespaces/default/boats"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def living(body: Callable[[list[Member]], Coroutine[Any, Any, None]], count: int = 2, **config: Any) -> None:
    async def run() -> None:
        clock = VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC))
        async with several(count, clock=clock, **config) as members:
            await asyncio.sleep(1)
            await body(members)

    virtual.run(run())


def definition() -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"name": "boats.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "boats", "kind": "Boat"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }  # fmt: skip


async def established(member: Member) -> None:
    while True:
        found = await member("GET", f"{CRDS}/boats.example.com")
        conditions = {each["type"]: each["status"] for each in (found.get("status") or {}).get("conditions") or ()}
        if conditions.get("Established") == "True":
            return
        await asyncio.sleep(0.001)


def boat(name: str) -> dict[str, Any]:
    return {"kind": "Boat", "apiVersion": "example.com/v1", "metadata": {"name": name}}


def test_a_definition_made_at_one_server_is_served_by_all_when_it_says_established() -> None:
    async def body(members: list[Member]) -> None:
        first, second = members
        second.way.hold()
        await first("POST", CRDS, definition())
        await established(first)
        making = asyncio.ensure_future(second("POST", BOATS, boat("b")))
        looking = asyncio.ensure_future(second("GET", "/apis/example.com/v1"))
        await asyncio.sleep(0.1)
        assert not making.done() and not looking.done()
        second.way.release()
        assert (await making)["metadata"]["name"] == "b"
        assert [each["name"] for each in (await looking)["resources"]] == ["boats"]
        assert (await first("GET", f"{BOATS}/b"))["metadata"]["name"] == "b"

    living(body)


def test_a_definition_that_was_deleted_at_one_server_ends_at_all() -> None:
    async def body(members: list[Member]) -> None:
        first, second = members
        await first("POST", CRDS, definition())
        await established(first)
        await second("POST", BOATS, boat("b"))
        await first("DELETE", f"{CRDS}/boats.example.com")
        async with asyncio.timeout(10):
            for member in members:
                while True:
                    try:
                        await member("GET", BOATS)
                    except NotFound:
                        break
                    await asyncio.sleep(0.01)
        with pytest.raises(NotFound):
            await second("GET", f"{CRDS}/boats.example.com")

    living(body)


def test_definitions_made_at_two_servers_at_once_are_served_by_both() -> None:
    async def body(members: list[Member]) -> None:
        other = definition()
        other["metadata"]["name"] = "ships.example.com"
        other["spec"]["names"] = {"plural": "ships", "kind": "Ship"}
        await asyncio.gather(members[0]("POST", CRDS, definition()), members[1]("POST", CRDS, other))
        await established(members[0])
        for member in members:
            while len((await member("GET", "/apis/example.com/v1"))["resources"]) < 2:  # noqa: ASYNC110  # of the API
                await asyncio.sleep(0.01)

    living(body)


def test_a_right_that_was_just_given_at_one_server_holds_at_the_others() -> None:
    async def body(members: list[Member]) -> None:
        first, second = members
        with pytest.raises(Forbidden):
            await second("GET", CONFIGMAPS, user="alice")
        second.way.hold()
        await first("POST", f"{RBAC}/namespaces/default/rolebindings", binding())
        asked = asyncio.ensure_future(second("GET", CONFIGMAPS, user="alice"))
        await asyncio.sleep(0.1)
        assert not asked.done()
        second.way.release()
        assert "items" in await asked

    living(body)


def binding() -> dict[str, Any]:
    return {
        "kind": "RoleBinding", "apiVersion": f"{RBAC.removeprefix('/apis/')}", "metadata": {"name": "alice"},
        "subjects": [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"},
    }  # fmt: skip


def test_a_right_that_was_taken_away_at_one_server_ends_at_the_others_once_they_are_told() -> None:
    async def body(members: list[Member]) -> None:
        first, second = members
        await first("POST", f"{RBAC}/namespaces/default/rolebindings", binding())
        await second("GET", CONFIGMAPS, user="alice")
        await first("DELETE", f"{RBAC}/namespaces/default/rolebindings/alice")
        await asyncio.sleep(0.1)
        with pytest.raises(Forbidden):
            await second("GET", CONFIGMAPS, user="alice")

    living(body)


def test_those_who_are_refused_at_the_same_time_cost_the_store_two_questions() -> None:
    async def body(members: list[Member]) -> None:
        member = members[0]
        before = member.way.syncs
        refused = await asyncio.gather(
            *(member("GET", CONFIGMAPS, user=f"user{n}") for n in range(100)), return_exceptions=True
        )
        assert all(isinstance(each, Forbidden) for each in refused)
        assert member.way.syncs - before <= 2

    living(body, count=1)


def test_strangers_cost_the_store_nothing(api_of: Any) -> None:
    async def body(members: list[Member]) -> None:
        api, before = api_of(members[0].server, None), members[0].way.syncs
        for path in (CONFIGMAPS, "/apis/nothing.example.com/v1/things", "/apis"):
            assert (await api("GET", path)).status == 403
        assert members[0].way.syncs == before

    living(body, count=1)


def test_a_resource_in_which_nothing_happens_makes_progress() -> None:
    async def body(members: list[Member]) -> None:
        view = members[1].server.local_transport().cache_view(CONFIG_MAPS)
        assert view is not None
        for n in range(20):
            made = await members[0]("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": f"s{n}"}})
        await asyncio.sleep(2 * INTERVAL_SECONDS)
        assert view.revision() >= int(made["metadata"]["resourceVersion"])

    living(body)


@pytest.mark.logs_errors("the store has not been heard of")
def test_a_server_that_lost_its_store_answers_nobody_and_ends_its_watches(api_of: Any, certificate_of: Any) -> None:
    certificate = certificate_of("admin", "system:masters")

    async def body(members: list[Member]) -> None:
        member = members[0]
        api = api_of(member.server, None, certificate)
        assert (await api("GET", "/readyz")).status == 200
        ended = asyncio.Event()

        async def watch() -> None:
            async for _ in api.watch(f"{CONFIGMAPS}?watch=1&resourceVersion=0"):
                pass
            ended.set()

        watching = asyncio.ensure_future(watch())
        await asyncio.sleep(0.1)
        member.way.cut = True
        await asyncio.sleep(LOST_SECONDS - 2)
        assert (await api("GET", f"{CONFIGMAPS}?resourceVersion=0")).status == 200 and not ended.is_set()
        await asyncio.sleep(2 + 2 * INTERVAL_SECONDS)
        answer = await api("GET", f"{CONFIGMAPS}?resourceVersion=0")
        assert answer.status == 503 and "has not been heard of for" in answer.message
        assert ended.is_set()
        assert (await api("GET", "/readyz")).status == 500 and (await api("GET", "/livez")).status == 200
        assert (await api("GET", "/readyz/etcd")).status == 500
        member.way.cut = False
        await asyncio.sleep(2 * INTERVAL_SECONDS)
        assert (await api("GET", CONFIGMAPS)).status == 200 and (await api("GET", "/readyz")).status == 200
        await watching

    living(body, count=1)


@pytest.mark.parametrize("gone", [False, True])
def test_nothing_is_made_in_a_namespace_that_ended_while_webhooks_were_asked(
    gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(members: list[Member]) -> None:
        first, second = members
        await first("POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
        await second("GET", "/api/v1/namespaces/ns")
        chain = type(second.server._context.admission)
        validate = chain.validate

        async def slow(self: Any, write: Any) -> None:
            await validate(self, write)
            if write.name == "late":
                monkeypatch.undo()
                await first("DELETE", "/api/v1/namespaces/ns")
                empty = {"metadata": {"name": "ns"}, "spec": {"finalizers": []}}
                if gone:
                    await first("PUT", "/api/v1/namespaces/ns/finalize", empty)
                await second("GET", "/api/v1/namespaces")

        monkeypatch.setattr(chain, "validate", slow)
        with pytest.raises(NotFound if gone else Forbidden):
            await second("POST", "/api/v1/namespaces/ns/configmaps", {"metadata": {"name": "late"}})

    living(body)


def test_nothing_is_made_in_a_namespace_that_ended_at_another_server() -> None:
    async def body(members: list[Member]) -> None:
        first, second = members
        await first("POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
        await second("GET", "/api/v1/namespaces/ns")
        second.way.hold()
        place = "/api/v1/namespaces/ns/configmaps"
        relabelled = {"metadata": {"labels": {"a": "b"}}}
        await first("PATCH", "/api/v1/namespaces/ns", relabelled, content_type="application/merge-patch+json")
        assert (await second("POST", place, {"metadata": {"name": "a"}}))["metadata"]["name"] == "a"
        await first("DELETE", "/api/v1/namespaces/ns")
        with pytest.raises(Forbidden, match="because it is being terminated"):
            await second("POST", place, {"metadata": {"name": "b"}})
        await first("PUT", "/api/v1/namespaces/ns/finalize", {"metadata": {"name": "ns"}, "spec": {"finalizers": []}})
        with pytest.raises(NotFound, match='namespaces "ns" not found'):
            await second("POST", place, {"metadata": {"name": "c"}})
        second.way.release()

    living(body)
