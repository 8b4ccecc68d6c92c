"""Custom resources whose versions a webhook converts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
V1, V2 = (f"/apis/example.com/{version}/namespaces/default/boats" for version in ("v1", "v2"))
FIELDS = {"v1": {"hostPort": {"type": "string"}}, "v2": {"host": {"type": "string"}, "port": {"type": "string"}}}
SELECTED = {"v1": [".hostPort"], "v2": [".host", ".port"]}


def version(name: str, *, storage: bool) -> dict[str, Any]:
    schema = {"type": "object", "properties": FIELDS[name]}
    fields = [{"jsonPath": path} for path in SELECTED[name]]
    return {
        "name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": schema},
        "selectableFields": fields,
    }  # fmt: skip


def definition(client: dict[str, Any], storage: str = "v1", reviews: tuple[str, ...] = ("v1", "v1beta1")) -> Any:
    webhook = {"clientConfig": client, "conversionReviewVersions": list(reviews)}
    names = {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"}
    return {
        "metadata": {"name": "boats.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": names,
            "versions": [version(name, storage=name == storage) for name in ("v1", "v2")],
            "conversion": {"strategy": "Webhook", "webhook": webhook},
        },
    }  # fmt: skip


def convert(obj: Any, wanted: str) -> Any:
    new = {**obj, "apiVersion": wanted}
    if wanted == "example.com/v2" and "hostPort" in obj:
        new["host"], _, new["port"] = new.pop("hostPort").partition(":")
    elif wanted == "example.com/v1" and "host" in obj:
        new["hostPort"] = f"{new.pop('host')}:{new.pop('port')}"
    return new


def converting(body: Any, **response: Any) -> Any:
    request = body["request"]
    converted = [convert(obj, request["desiredAPIVersion"]) for obj in request["objects"]]
    answer = {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": converted, **response}
    return {"kind": "ConversionReview", "apiVersion": body["apiVersion"], "response": answer}


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110  # a thread may have to do its work
            await asyncio.sleep(0.002)


async def define(api: Any, crd: Any) -> None:
    made = await api("POST", CRDS, crd)
    assert made.status == 201, made.obj

    async def established() -> bool:
        found = (await api("GET", f"{CRDS}/boats.example.com")).obj
        conditions = (found.get("status") or {}).get("conditions") or ()
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)

    await until(established)


async def store_as(api: Any, storage: str) -> None:
    versions = [version(name, storage=name == storage) for name in ("v1", "v2")]
    patch = {"spec": {"versions": versions}}
    assert (await api("PATCH", f"{CRDS}/boats.example.com", patch, content_type="application/merge-patch+json")).status

    async def stored() -> bool:
        kinds = api.server.surface.kinds
        return bool(kinds.storage(kinds.by_gvk("example.com", "v1", "Boat")).version == storage)

    await until(stored)


async def test_an_object_of_v1_is_read_as_v2(api: Any, serve: Any) -> None:
    """[sig-api-machinery] CustomResourceConversionWebhook [Privileged:ClusterAdmin] should be able to convert from CR
    v1 to CR v2 [Conformance]"""
    hook = await serve(converting)
    await define(api, definition(hook.by_url("/convert")))
    assert (await api("POST", V1, {"metadata": {"name": "a"}, "hostPort": "sea:1"})).status == 201
    assert hook.asked == []  # it is stored as it came
    read = (await api("GET", f"{V2}/a")).obj
    assert (read["apiVersion"], read["host"], read["port"]) == ("example.com/v2", "sea", "1")
    assert hook.asked[0][0] == "/convert?timeout=30s"
    review = hook.asked[0][2]
    assert (review["apiVersion"], review["request"]["desiredAPIVersion"]) == (
        "apiextensions.k8s.io/v1",
        "example.com/v2",
    )


async def test_what_is_written_as_v2_is_stored_as_v1(api: Any, serve: Any) -> None:
    hook = await serve(converting)
    await define(api, definition(hook.by_url()))
    made = await api("POST", V2, {"metadata": {"name": "a"}, "host": "sea", "port": "1"})
    assert (made.status, made.obj["host"]) == (201, "sea")
    stored = (await api.server.store.get("/registry/example.com/boats/default/a")).value
    assert b'"apiVersion":"example.com/v1"' in stored and b'"hostPort":"sea:1"' in stored
    patch = {"port": "2"}
    changed = await api("PATCH", f"{V2}/a", patch, content_type="application/merge-patch+json")
    assert (changed.obj["port"], changed.obj["metadata"]["generation"]) == ("2", 2)
    assert (await api("GET", f"{V1}/a")).obj["hostPort"] == "sea:2"


async def test_a_list_of_what_was_stored_in_two_versions_is_of_one(api: Any, serve: Any) -> None:
    """[sig-api-machinery] CustomResourceConversionWebhook [Privileged:ClusterAdmin] should be able to convert a non
    homogeneous list of CRs [Conformance]"""
    hook = await serve(converting)
    await define(api, definition(hook.by_url()))
    await api("POST", V1, {"metadata": {"name": "a"}, "hostPort": "sea:1"})
    await store_as(api, "v2")
    await api("POST", V2, {"metadata": {"name": "b"}, "host": "bay", "port": "2"})
    hook.asked.clear()
    for url, shown in ((V2, [("sea", "1"), ("bay", "2")]), (V1, ["sea:1", "bay:2"])):
        listed = (await api("GET", url)).obj
        found = [item.get("hostPort") or (item["host"], item["port"]) for item in listed["items"]]
        assert (listed["kind"], found) == ("BoatList", shown)
    assert [len(body["request"]["objects"]) for _, _, body in hook.asked] == [1, 1]  # only what is not of it already
    removed = await api("DELETE", f"{V2}/a")
    assert removed.status == 200
    assert [item["metadata"]["name"] for item in (await api("GET", V1)).obj["items"]] == ["b"]


async def test_many_objects_are_one_question(api: Any, serve: Any) -> None:
    hook = await serve(converting)
    await define(api, definition(hook.by_url()))
    for number in range(20):
        await api("POST", V1, {"metadata": {"name": f"a{number}"}, "hostPort": f"sea:{number}"})
    assert len((await api("GET", V2)).obj["items"]) == 20
    assert [len(body["request"]["objects"]) for _, _, body in hook.asked] == [20]


async def test_fields_are_selected_in_the_version_that_is_asked(api: Any, serve: Any) -> None:
    """[sig-api-machinery] CustomResourceFieldSelectors [Privileged:ClusterAdmin] CustomResourceFieldSelectors MUST list
    and watch custom resources matching the field selector [Conformance]"""
    hook = await serve(converting)
    await define(api, definition(hook.by_url()))
    await api("POST", V1, {"metadata": {"name": "a"}, "hostPort": "sea:1"})
    await api("POST", V2, {"metadata": {"name": "b"}, "host": "bay", "port": "1"})

    async def names(url: str, selector: str) -> list[str]:
        listed = (await api("GET", f"{url}?fieldSelector={selector}")).obj
        return [item["metadata"]["name"] for item in listed["items"]]

    assert await names(V1, "hostPort=sea:1") == ["a"]
    assert await names(V2, "host=sea,port=1") == ["a"]
    assert await names(V2, "port=1") == ["a", "b"]
    assert await names(V2, "host!=sea") == ["b"]
    refused = await api("GET", f"{V1}?fieldSelector=host=sea")
    assert (refused.status, refused.reason) == (400, "BadRequest")
    await api("DELETE", f"{V2}?fieldSelector=host=bay")
    assert await names(V2, "port=1") == ["a"]


async def test_a_watch_by_fields_sees_what_comes_into_the_selection_and_what_leaves_it(api: Any, serve: Any) -> None:
    hook = await serve(converting)
    await define(api, definition(hook.by_url()))
    await api("POST", V1, {"metadata": {"name": "other"}, "hostPort": "bay:1"})
    watch = api.watch(f"{V2}?watch=1&fieldSelector=host=sea")
    await api("POST", V1, {"metadata": {"name": "a"}, "hostPort": "sea:1"})
    seen = await anext(watch)
    assert (seen["type"], seen["object"]["port"], seen["object"]["apiVersion"]) == ("ADDED", "1", "example.com/v2")
    for host in ("sea:2", "bay:2", "sea:3"):
        patch = {"hostPort": host}
        await api("PATCH", f"{V1}/a", patch, content_type="application/merge-patch+json")
    found = [(event["type"], event["object"]["port"]) for event in [await anext(watch) for _ in range(3)]]
    assert found == [("MODIFIED", "2"), ("DELETED", "2"), ("ADDED", "3")]
    await api("DELETE", f"{V1}/a")
    assert (await anext(watch))["type"] == "DELETED"
    await watch.aclose()


async def test_labels_and_annotations_may_be_changed_and_nothing_else_of_metadata(api: Any, serve: Any) -> None:
    def relabelling(body: Any) -> Any:
        answer = converting(body)
        for obj in answer["response"]["convertedObjects"]:
            obj["metadata"] = {**obj["metadata"], "labels": {"new": "yes"}, "finalizers": ["mine"], "generation": 99}
        return answer

    hook = await serve(relabelling)
    await define(api, definition(hook.by_url()))
    await api("POST", V1, {"metadata": {"name": "a", "annotations": {"a": "b"}}, "hostPort": "sea:1"})
    meta = (await api("GET", f"{V2}/a")).obj["metadata"]
    assert (meta["labels"], meta["generation"], meta["annotations"]) == ({"new": "yes"}, 1, {"a": "b"})
    assert "finalizers" not in meta


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"uid": "other"}, "expected response.uid="),
        ({"result": {"status": "Failure", "message": "no wind"}}, "failed: no wind"),
        ({"result": {"status": "Failure"}}, "response.result.status was 'Failure', not 'Success'"),
        ({"convertedObjects": []}, "returned 0 objects, expected 1"),
        ({"convertedObjects": [7]}, "invalid converted object at index 0"),
        ({"convertedObjects": [{"apiVersion": "example.com/v1", "kind": "Boat"}]}, "invalid groupVersion (expected ex"),
        ({"convertedObjects": [{"apiVersion": "example.com/v2", "kind": "Ship"}]}, "invalid kind (expected Boat, rec"),
        ({"convertedObjects": [{"apiVersion": "example.com/v2", "kind": "Boat"}]}, "missing metadata in converted obj"),
        (
            {"convertedObjects": [{"apiVersion": "example.com/v2", "kind": "Boat", "metadata": {"name": "b"}}]},
            "must have the same name: a != b",
        ),
    ],
)
async def test_a_wrong_answer_is_the_error_of_the_request(api: Any, serve: Any, change: Any, text: str) -> None:
    hook = await serve(lambda body: converting(body, **change))
    await define(api, definition(hook.by_url()))
    await api("POST", V1, {"metadata": {"name": "a"}, "hostPort": "sea:1"})
    answer = await api("GET", f"{V2}/a")
    assert answer.status == 500
    assert answer.message.startswith("conversion webhook for example.com/v1, Kind=Boat ") and text in answer.message
    assert (await api("GET", f"{V1}/a")).status == 200


async def test_a_webhook_that_is_gone_hinders_neither_other_versions_nor_the_end(
    api: Any, serve: Any, pki: Any
) -> None:
    hook = await serve(converting, context=pki.server("elsewhere.example.com"))
    await define(api, definition(hook.by_url()))
    await api("POST", V1, {"metadata": {"name": "a"}, "hostPort": "sea:1"})
    refused = await api("GET", V2)
    assert refused.status == 500 and 'failed: Post "https://127.0.0.1:' in refused.message
    events = [event async for event in api.watch(f"{V2}?watch=1")]
    assert [event["type"] for event in events] == ["ERROR"]
    assert (await api("GET", V1)).obj["items"]
    await api("DELETE", f"{CRDS}/boats.example.com")

    async def gone() -> bool:
        return bool((await api("GET", f"{CRDS}/boats.example.com")).status == 404)

    await until(gone)
    assert not (await api.server.store.range("/registry/example.com/")).entries
