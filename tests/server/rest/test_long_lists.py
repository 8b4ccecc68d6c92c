"""Lists of thousands, lists with damaged entries, and what is kept of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

import orjson
import pytest

from sampan.api.resources import CONFIG_MAPS
from sampan.client.client import Client
from sampan.server import listforms
from sampan.server.request import Request

CMS = "/api/v1/namespaces/default/configmaps"
PREFIX = "/registry/core/configmaps/default/"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
PROTOBUF = "application/vnd.kubernetes.protobuf"
T = TypeVar("T")


async def fill(api: Any, count: int, value_bytes: int = 10) -> None:
    """Straight into the store, which is quick."""
    for number in range(count):
        name = f"n{number:04}"
        meta = {"name": name, "namespace": "default", "uid": name, "labels": {"n": str(number % 2)}}
        value = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": meta, "data": {"k": "x" * value_bytes}}
        await api.server.store.commit(PREFIX + name, 0, orjson.dumps(value))


async def damage(api: Any, name: str) -> None:
    await api.server.store.commit(PREFIX + name, 0, b"\xff\xfe")


def names(answer: Any) -> list[str]:
    return [item["metadata"]["name"] for item in answer.obj["items"]]


async def turns_of(work: Awaitable[T]) -> tuple[T, int]:
    """The result, and how many turns of the loop others had meanwhile."""
    had = 0

    async def count() -> None:
        nonlocal had
        while True:
            await asyncio.sleep(0)
            had += 1

    counting = asyncio.ensure_future(count())
    result = await work
    counting.cancel()
    return result, had


def the_cache(api: Any) -> Any:
    return api.server.surface.by_resource(CONFIG_MAPS).storage.cache


# -- damaged entries ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "accept", ["application/json", TABLE, "application/yaml", "application/json;pretty=1", PROTOBUF]
)
async def test_older_pages_leave_out_what_is_damaged_and_say_so(api: Any, accept: str) -> None:
    await fill(api, 3)
    await damage(api, "n0001x")
    first = await api("GET", f"{CMS}?limit=1")
    token, version = (first.obj["metadata"][name] for name in ("continue", "resourceVersion"))
    await api("POST", CMS, {"metadata": {"name": "later"}})
    exact = f"{CMS}?resourceVersion={version}&resourceVersionMatch=Exact"
    for url in (f"{CMS}?limit=5&continue={token}", exact, f"{exact}&labelSelector=n!%3D7", f"{exact}&limit=4"):
        answer = await api("GET", url, accept=accept)
        assert answer.status == 200
        assert answer.warnings == ["left out, for its stored value is damaged: core/configmaps/default/n0001x"]
        assert "n0002" in str(answer.obj)
        assert "later" not in str(answer.obj)
    assert names(await api("GET", f"{exact}&labelSelector=n%3D0")) == ["n0000", "n0002"]


async def test_an_entry_that_was_damaged_only_then_is_left_out_of_the_list_of_then(api: Any) -> None:
    await fill(api, 1)
    value = (await api.server.store.get(PREFIX + "n0000")).value
    damaged = await api.server.store.commit(PREFIX + "n0000", None, value[:-1])  # begins well
    await api.server.store.commit(PREFIX + "n0000", None, value)
    exact = await api("GET", f"{CMS}?resourceVersion={damaged}&resourceVersionMatch=Exact")
    assert (exact.status, exact.obj["items"], len(exact.warnings)) == (200, [], 1)


@pytest.mark.logs_errors("its stored value is damaged")
async def test_components_get_lists_without_what_is_damaged(api: Any) -> None:
    await fill(api, 2)
    await damage(api, "n0000x")
    found = await Client(api.server.local_transport()).list(CONFIG_MAPS)
    assert [item["metadata"]["name"] for item in found["items"]] == ["n0000", "n0001"]


# -- the loop goes on --------------------------------------------------------------------------------------------


async def test_the_loop_goes_on_while_a_long_list_is_made(api: Any) -> None:
    await fill(api, 700, 10_000)
    exact = f"?resourceVersion={api.server.store.revision}&resourceVersionMatch=Exact"
    answer, had = await turns_of(api("GET", CMS))
    assert (len(answer.obj["items"]), had >= 3) == (700, True)
    await api("POST", CMS, {"metadata": {"name": "later"}})
    answer, had = await turns_of(api("GET", CMS + exact))
    assert (len(answer.obj["items"]), had >= 10) == (700, True)
    found, had = await turns_of(Client(api.server.local_transport()).list(CONFIG_MAPS))
    assert (len(found["items"]), had >= 10) == (701, True)


async def test_the_loop_goes_on_while_a_long_list_is_encoded(api: Any) -> None:
    await fill(api, 700, 3000)
    request = api.request("GET", CMS, accept=PROTOBUF)
    answer, had = await turns_of(api.server.handler(request))
    assert (answer.body.count(b"\x12\x07default") + answer.body.count(b"\x1a\x07default"), had >= 10) == (700, True)


async def test_a_list_in_protobuf_is_kept_until_something_in_it_changes(api: Any) -> None:
    await fill(api, 3)
    as_json = await api("GET", CMS)
    first, again = [await api.server.handler(api.request("GET", CMS, accept=PROTOBUF)) for _ in range(2)]
    assert first.body is again.body
    assert names(await api("GET", CMS, accept=PROTOBUF)) == names(as_json)
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "elsewhere"}})
    later = await api("GET", CMS, accept=PROTOBUF)
    assert later.obj["metadata"]["resourceVersion"] == str(api.server.store.revision)
    assert later.obj["items"] == (await api("GET", CMS, accept=PROTOBUF)).obj["items"]
    await api("DELETE", f"{CMS}/n0001")
    assert names(await api("GET", CMS, accept=PROTOBUF)) == ["n0000", "n0002"]
    assert names(await api("GET", CMS)) == ["n0000", "n0002"]


async def test_what_changes_while_a_list_is_made_is_not_in_it(api: Any) -> None:
    await fill(api, 700, 10_000)
    request = asyncio.ensure_future(api("GET", CMS))
    answers = [request, asyncio.ensure_future(api("GET", f"{CMS}?labelSelector=n%3D0"))]
    revision = api.server.store.revision
    for _ in range(2):
        await asyncio.sleep(0)
    await api("DELETE", f"{CMS}/n0698")
    for answer, count in zip([await each for each in answers], (700, 350), strict=True):
        assert (len(answer.obj["items"]), answer.obj["metadata"]) == (count, {"resourceVersion": str(revision)})
    assert len((await api("GET", CMS)).obj["items"]) == 699


async def test_a_selector_that_finds_little_looks_in_turns(api: Any) -> None:
    await fill(api, 4500)
    for query in ("labelSelector=n%3D7", "labelSelector=n%3D7&limit=1", "fieldSelector=metadata.name%3D%3Dn4499"):
        _, had = await turns_of(api("GET", f"/api/v1/configmaps?{query}"))
        assert had >= 2, query
    assert names(await api("GET", "/api/v1/configmaps?fieldSelector=metadata.name%3Dn4499&limit=1")) == ["n4499"]


async def test_a_page_takes_only_its_own_entries_out_of_the_cache(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(api, 2500)
    cache = the_cache(api)
    taken: list[int] = []
    entries = cache.entries

    def counted(*args: Any, **kwargs: Any) -> Any:
        found = entries(*args, **kwargs)
        taken.append(len(found))
        return found

    monkeypatch.setattr(cache, "entries", counted)
    first = await api("GET", f"{CMS}?limit=10")
    assert (taken, first.obj["metadata"]["remainingItemCount"]) == ([11], 2490)
    second = await api("GET", f"{CMS}?limit=10&continue={first.obj['metadata']['continue']}")
    assert (taken, second.obj["metadata"]["remainingItemCount"]) == ([11, 11], 2480)
    assert names(second)[0] == "n0010"
    assert len(names(await api("GET", f"{CMS}?limit=10&labelSelector=n%3D1"))) == 10
    assert sum(taken[2:]) == 1000


@pytest.mark.parametrize("limit", [1, 499, 500, 501, 1250, 5000])
async def test_pages_of_a_selector_have_every_object_once(api: Any, limit: int) -> None:
    await fill(api, 2500)
    found: list[str] = []
    url = f"{CMS}?limit={limit}&labelSelector=n%3D1"
    token = ""
    for _ in range(3):
        answer = await api("GET", url + token)
        found += names(answer)
        if "continue" not in answer.obj["metadata"]:
            break
        token = f"&continue={answer.obj['metadata']['continue']}"
    assert found == [f"n{number:04}" for number in range(1, 2500, 2)][: len(found)]
    assert len(found) == min(3 * limit, 1250)


# -- what is kept ------------------------------------------------------------------------------------------------


async def body(api: Any, url: str = CMS) -> bytes:
    response = await api.server.handler(api.request("GET", url))
    assert isinstance(response.body, bytes)
    return response.body


async def test_a_list_that_is_repeated_is_the_same_bytes(api: Any) -> None:
    await fill(api, 30, 10_000)
    first = await body(api)
    assert await body(api) is first
    await api("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
    second = await body(api)
    assert second is not first
    assert orjson.loads(second)["metadata"] == {"resourceVersion": str(api.server.store.revision)}
    assert orjson.loads(second)["items"] == orjson.loads(first)["items"]


@pytest.mark.parametrize("accept", ["application/json", PROTOBUF])
async def test_after_a_change_only_what_is_near_it_is_made_anew(
    api: Any, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(api, 600, 1000)
    form = listforms.PROTOBUF if accept == PROTOBUF else listforms.JSON
    worked: list[int] = []
    piece = form.piece

    async def counted(view: Any, entries: Sequence[Any], warn: Any) -> bytes:
        worked.append(len(entries))
        return await piece(view, entries, warn)

    monkeypatch.setattr(form, "piece", counted)
    assert len(names(await api("GET", CMS, accept=accept))) == sum(worked) == 600
    changes = [("DELETE", f"{CMS}/n0300", None), ("POST", CMS, {"metadata": {"name": "n0300x"}})]
    for method, url, sent in (
        *changes,
        ("PUT", f"{CMS}/n0599", {"metadata": {"name": "n0599"}, "data": {"changed": "yes"}}),
    ):
        worked.clear()
        assert (await api(method, url, sent)).status in (200, 201)
        answer = await api("GET", CMS, accept=accept)
        assert 0 < sum(worked) < 200
        expected = await api("GET", f"{CMS}?limit=1000", accept="application/json")
        assert names(answer) == names(expected)
        if accept != PROTOBUF:
            assert answer.obj["items"] == expected.obj["items"]


async def test_long_selectors_are_not_kept_and_others_count_with_their_question(api: Any) -> None:
    await fill(api, 1)
    lists = api.server._lists
    before = lists.kept_bytes
    for number in range(20):
        values = ",".join(f"v{number}-{value}" for value in range(1000))
        assert (await api("GET", f"{CMS}?labelSelector=x+in+({values})")).status == 200
    assert lists.kept_bytes == before
    await api("GET", f"{CMS}?labelSelector=x+in+({values[:1500]})")
    assert lists.kept_bytes - before > 20 * 1500


async def test_lists_that_nobody_asks_for_are_forgotten(api: Any) -> None:
    await fill(api, 30, 10_000)
    lists = api.server._lists
    await body(api)
    lists.forget_unused()
    await body(api)
    lists.forget_unused()
    assert lists.kept_bytes > 300_000
    lists.forget_unused()
    assert lists.kept_bytes == 0


class Template:
    """What the transport keeps of a head that comes again."""

    plan: Any = None


def read_now(api: Any, url: str, template: Template | None = None) -> Any:
    request: Request = api.request("GET", url)
    request.template = template or Template()
    return api.server._pipeline.answer_now(request)


async def test_plans_of_long_selectors_are_not_kept(api: Any) -> None:
    await fill(api, 1)
    for count, planned in ((50, True), (200, False)):
        values = ",".join(f"v{value}" for value in range(count))
        template = Template()
        read_now(api, f"{CMS}?labelSelector=x+in+({values})", template)
        assert (template.plan.selection is not None) is planned


async def test_a_read_at_once_counts_with_the_time_that_it_took(api: Any) -> None:
    await fill(api, 1)
    await body(api)

    def seconds() -> float:
        served = api.server.metrics._served._latencies.items()
        return sum(found.seconds for labels, found in served if (labels[0], labels[3]) == ("LIST", "configmaps"))

    before = seconds()
    assert read_now(api, CMS).status == 200
    assert seconds() > before
