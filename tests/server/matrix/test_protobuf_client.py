"""A client that speaks nothing but protobuf, as Go's typed clients do with that content type.

What it is sent is read by Google's protobuf library, from descriptors built of the field numbers.
"""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import yaml

from sampan.api import protobuf
from sampan.api.protobuf.numbers import META, message_of
from sampan.api.resources import CONFIG_MAPS

PROTOBUF = "application/vnd.kubernetes.protobuf"
NS = "/api/v1/namespaces/default"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PARTIAL = f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v="
PARTIAL_LIST = f"{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v="
TABLE = f"{PROTOBUF};as=Table;g=meta.k8s.io;v=v1"


def _google() -> Any:
    path = Path(__file__).parents[2] / "protobuf/google_reader.py"
    spec = importlib.util.spec_from_file_location("google_reader", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


google = _google()


def name_of(api_version: str, kind: str) -> str:
    return message_of(api_version, kind) or META + kind


class Client:
    """Sends and takes protobuf only. ``accept``: the Accept header, where it is another one."""

    def __init__(self, api: Any) -> None:
        self.api = api

    async def __call__(self, method: str, url: str, obj: Any = None, accept: str = PROTOBUF) -> tuple[int, Any]:
        body = None if obj is None else protobuf.encode_object(obj)
        request = self.api.request(method, url, body, content_type=PROTOBUF, accept=accept)
        response = await self.api.server.handler(request)
        assert response.content_type == PROTOBUF
        return response.status, google.read_body(response.body, name_of)

    async def watch(self, url: str, accept: str = PROTOBUF) -> AsyncGenerator[tuple[str, Any], None]:
        async with aclosing(self.api.stream(url, accept=accept)) as chunks:
            async for chunk in chunks:
                for event in google.read_events(chunk, name_of):
                    yield event


@pytest.fixture
def client(api: Any) -> Client:
    return Client(api)


def config_map(name: str, **data: str) -> Any:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "labels": {"n": name}}, "data": data}


async def test_an_object_is_created_read_changed_and_deleted(client: Client) -> None:
    status, made = await client("POST", f"{NS}/configmaps", config_map("a", k="v"))
    assert (status, made["kind"], made["data"]) == (201, "ConfigMap", {"k": "v"})
    assert await client("GET", f"{NS}/configmaps/a") == (200, made)
    status, changed = await client("PUT", f"{NS}/configmaps/a", {**made, "data": {"k": "w"}})
    assert (status, changed["data"], changed["metadata"]["uid"]) == (200, {"k": "w"}, made["metadata"]["uid"])
    status, gone = await client("DELETE", f"{NS}/configmaps/a")
    assert (status, gone["kind"], gone["status"], gone["details"]["name"]) == (200, "Status", "Success", "a")


async def test_a_refusal_is_a_status_in_protobuf(client: Client) -> None:
    status, refused = await client("GET", f"{NS}/configmaps/none")
    assert (status, refused["kind"], refused["reason"], refused["code"]) == (404, "Status", "NotFound", 404)
    assert refused["details"]["kind"] == "configmaps"
    bad = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "Bad"}, "spec": {"containers": []}}
    status, refused = await client("POST", f"{NS}/pods", bad)
    causes = {cause["field"]: cause["reason"] for cause in refused["details"]["causes"]}
    assert status == 422
    assert causes["metadata.name"] == "FieldValueInvalid"
    assert causes["spec.containers"] == "FieldValueRequired"


async def test_a_client_of_old_reads_and_writes_versions_that_are_gone(client: Client) -> None:
    url = "/apis/policy/v1beta1/namespaces/default/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}
    budget = {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"}, "spec": spec}
    status, made = await client("POST", url, budget)
    assert (status, made["apiVersion"], made["spec"]) == (201, "policy/v1beta1", spec)
    status, listed = await client("GET", url)
    assert (status, listed["apiVersion"], listed["kind"]) == (200, "policy/v1beta1", "PodDisruptionBudgetList")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a"]
    status, today = await client("GET", url.replace("v1beta1", "v1") + "/a")
    assert (status, today["apiVersion"], today["spec"]) == (200, "policy/v1", spec)


async def test_a_list_is_read_in_chunks(client: Client) -> None:
    names = [f"c{number}" for number in range(5)]
    for name in names:
        await client("POST", f"{NS}/configmaps", config_map(name))
    status, whole = await client("GET", f"{NS}/configmaps")
    assert (status, whole["kind"], [item["metadata"]["name"] for item in whole["items"]]) == (
        200, "ConfigMapList", names,
    )  # fmt: skip
    assert all("kind" not in item for item in whole["items"])
    _, first = await client("GET", f"{NS}/configmaps?limit=2")
    assert first["metadata"]["remainingItemCount"] == 3
    _, rest = await client("GET", f"{NS}/configmaps?limit=9&continue={first['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in first["items"] + rest["items"]] == names
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_list_and_a_watch_make_an_informer(client: Client, api: Any) -> None:
    await client("POST", f"{NS}/configmaps", config_map("a"))
    _, listed = await client("GET", f"{NS}/configmaps?resourceVersion=0")
    version = listed["metadata"]["resourceVersion"]
    url = f"{NS}/configmaps?watch=1&allowWatchBookmarks=true&resourceVersion={version}"
    async with aclosing(client.watch(url)) as events:
        await client("POST", f"{NS}/configmaps", config_map("b", k="v"))
        kind, added = await anext(events)
        assert (kind, added["kind"], added["apiVersion"], added["data"]) == ("ADDED", "ConfigMap", "v1", {"k": "v"})
        await client("PUT", f"{NS}/configmaps/b", {**added, "data": {}})
        kind, changed = await anext(events)
        assert (kind, "data" in changed) == ("MODIFIED", False)
        await client("DELETE", f"{NS}/configmaps/b")
        kind, gone = await anext(events)
        assert (kind, gone["metadata"]["name"]) == ("DELETED", "b")
    assert api.stream_type == f"{PROTOBUF};stream=watch"


async def test_a_streamed_list_ends_with_its_bookmark(client: Client) -> None:
    await client("POST", f"{NS}/configmaps", config_map("a"))
    url = f"{NS}/configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with aclosing(client.watch(url)) as events:
        kind, added = await anext(events)
        assert (kind, added["metadata"]["name"]) == ("ADDED", "a")
        kind, mark = await anext(events)
        assert (kind, mark["kind"]) == ("BOOKMARK", "ConfigMap")
        assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_what_ends_a_watch_is_a_status_in_protobuf(client: Client, api: Any) -> None:
    for name in "abc":
        await client("POST", f"{NS}/configmaps", config_map(name))
    cache = api.server.surface.by_resource(CONFIG_MAPS).storage.cache
    cache._ring.clear()
    cache._ring_floor = api.server.store.revision
    await api.server.store.compact(api.server.store.revision)
    async with aclosing(client.watch(f"{NS}/configmaps?watch=1&resourceVersion=1")) as events:
        kind, status = await anext(events)
    assert (kind, status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_metadata_alone_is_listed_and_watched(client: Client, version: str) -> None:
    await client("POST", f"{NS}/configmaps", config_map("a", k="v"))
    status, one = await client("GET", f"{NS}/configmaps/a", accept=PARTIAL + version)
    assert (status, one["kind"], one["apiVersion"]) == (200, "PartialObjectMetadata", f"meta.k8s.io/{version}")
    assert (one["metadata"]["name"], "data" in one) == ("a", False)
    async with aclosing(client.watch(f"{NS}/configmaps?watch=1", accept=PARTIAL + version)) as events:
        assert await anext(events) == ("ADDED", one)


async def test_a_list_of_metadata_alone(client: Client) -> None:
    await client("POST", f"{NS}/configmaps", config_map("a", k="v"))
    _, found = await client("GET", f"{NS}/configmaps", accept=PARTIAL_LIST + "v1")
    assert (found["kind"], [item["metadata"]["name"] for item in found["items"]]) == (
        "PartialObjectMetadataList",
        ["a"],
    )


async def test_every_version_of_a_kind_has_its_own_form(client: Client) -> None:
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}},
    }
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3, "metrics": [metric]}
    obj = {"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2", "metadata": {"name": "h"}, "spec": spec}
    url = "/apis/autoscaling/v{}/namespaces/default/horizontalpodautoscalers"
    assert (await client("POST", url.format(2), obj))[0] == 201
    status, old = await client("GET", url.format(1) + "/h")
    assert (status, old["apiVersion"], old["spec"]["targetCPUUtilizationPercentage"]) == (200, "autoscaling/v1", 5)
    _, listed = await client("GET", url.format(1))
    assert listed["items"][0]["spec"] == old["spec"]


async def test_subresources_and_reviews_answer_in_it(client: Client) -> None:
    pods = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": pods}
    made = {"kind": "ReplicaSet", "apiVersion": "apps/v1", "metadata": {"name": "r"}, "spec": spec}
    url = "/apis/apps/v1/namespaces/default/replicasets"
    assert (await client("POST", url, made))[0] == 201
    status, scale = await client("GET", f"{url}/r/scale")
    assert (status, scale["kind"], scale["spec"], scale["status"]["selector"]) == (200, "Scale", {"replicas": 2}, "a=b")
    review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
    status, told = await client("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    assert (status, told["status"]["userInfo"]["username"]) == (201, "system:anonymous")


async def test_a_table_has_no_protobuf_form(client: Client, api: Any) -> None:
    """[sig-api-machinery] Servers with support for Table transformation should return a 406 for a backend which does
    not implement metadata [Conformance]"""
    answer = await api("GET", f"{NS}/configmaps", accept=TABLE)
    accepted = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    assert (answer.status, answer.message) == (406, f"only the following media types are accepted: {accepted}")
    answer = await api("GET", f"{NS}/configmaps", accept=f"{TABLE},{PROTOBUF}")
    assert (answer.status, answer.obj["kind"]) == (200, "ConfigMapList")


async def test_a_watch_in_yaml_is_refused(api: Any) -> None:
    answer = await api("GET", f"{NS}/configmaps?watch=1", accept="application/yaml")
    streams = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
    assert answer.status == 406
    assert yaml.safe_load(answer.obj)["message"] == f"only the following media types are accepted: {streams}"


@pytest.mark.parametrize("accept", [f"{PROTOBUF},application/json", f"{PROTOBUF}, */*"])
async def test_a_custom_resource_is_json_to_who_takes_that_too(api: Any, client: Client, accept: str) -> None:
    await make_custom(api)
    answer = await api("GET", "/apis/example.com/v1/namespaces/default/things/t", accept=accept)
    assert (answer.status, answer.headers["Content-Type"], answer.obj["kind"]) == (200, "application/json", "Thing")


async def test_a_custom_resource_has_no_protobuf_form_but_its_metadata_has(api: Any, client: Client) -> None:
    await make_custom(api)
    url = "/apis/example.com/v1/namespaces/default/things"
    for one in (url, f"{url}/t"):
        status, refused = await client("GET", one)
        assert (status, refused["reason"]) == (406, "NotAcceptable")
    status, one = await client("GET", f"{url}/t", accept=PARTIAL + "v1")
    assert (status, one["metadata"]["name"]) == (200, "t")
    status, found = await client("GET", url, accept=PARTIAL_LIST + "v1")
    assert [item["metadata"]["name"] for item in found["items"]] == ["t"]


async def make_custom(api: Any) -> None:
    names = {"plural": "things", "kind": "Thing"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    made = await api("POST", CRDS, {"metadata": {"name": "things.example.com"}, "spec": spec})
    assert made.status == 201, made.obj
    async with aclosing(api.watch(f"{CRDS}?watch=1&fieldSelector=metadata.name%3Dthings.example.com")) as events:
        async for event in events:
            conditions = event["object"].get("status", {}).get("conditions") or []
            if any(each["type"] == "Established" and each["status"] == "True" for each in conditions):
                break
    obj = {"kind": "Thing", "apiVersion": "example.com/v1", "metadata": {"name": "t"}}
    assert (await api("POST", "/apis/example.com/v1/namespaces/default/things", obj)).status == 201
