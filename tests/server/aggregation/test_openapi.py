"""OpenAPI of API servers behind this one: beside everything else, and never able to say anything of it."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from tests.server.aggregation.conftest import APISERVICES, GROUP, NAME, ROOT, Front, Sample, openapi_v2, started, until

from sampan.server.aggregation.fragments import Fragment, Unusable, fragment_of
from sampan.server.aggregation.remotes import Remote
from sampan.server.config import ServerConfig
from sampan.server.discovery.openapi import PROTOBUF_V2
from sampan.server.openapi import gnostic
from sampan.server.openapi.files import V2_JSON, choose_v2
from sampan.server.openapi.splicing import merge_json_v2

REMOTE = Remote(NAME, GROUP, "v1alpha1", "wardle", "api", 443)
OWN: Any = {"swagger": "2.0", "info": {"title": "t", "version": "v"}, "paths": {"/api/": {}}, "definitions": {"a": {}}}
FLUNDER = f"com.example.wardle.v1alpha1.Flunder_{NAME}"


class Documents:
    """``discovery.openapi.OpenApi`` of a server that has next to nothing."""

    async def v2(self, accept: str) -> tuple[bytes, str, str]:
        if choose_v2(accept)[0] == V2_JSON:
            return orjson.dumps(OWN), "application/json", '"own"'
        return gnostic.encode(OWN), "application/x", '"own"'

    async def v3_index(self) -> dict[str, str]:
        return {"api/v1": "1"}

    async def v3(self, group_version: str) -> tuple[bytes, str, str] | None:
        return (b"{}", "application/json", "1") if group_version == "api/v1" else None


@pytest.fixture
async def front(config_of: Callable[..., ServerConfig], sample: Sample) -> AsyncIterator[Front]:
    async with started(config_of(), sample, openapi=Documents()) as made:
        yield made


async def v2(front: Front) -> Any:
    status, found = await front.json("GET", "/openapi/v2")
    assert status == 200
    return found


async def until_merged(front: Front) -> Any:
    return await until(lambda: v2(front), lambda found: len(found["paths"]) > 1)


async def test_v2_is_one_document_of_all(front: Front, bundle: str) -> None:
    await front.register(caBundle=bundle)
    found = await until_merged(front)
    assert set(found["paths"]) == {"/api/", f"{ROOT}/namespaces/{{namespace}}/flunders"}
    assert found["info"] == OWN["info"]
    assert found["definitions"]["a"] == {}
    meta = found["definitions"][FLUNDER]["properties"]["metadata"]["$ref"].removeprefix("#/definitions/")
    assert found["definitions"][meta]["description"] == "as the sample has it"
    async with front.request("GET", "/openapi/v2", headers={"Accept": PROTOBUF_V2}) as response:
        body = await response.read()
        etag = response.headers["ETag"]
    own = gnostic.encode(OWN)
    assert body.startswith(own)
    assert f"{ROOT}/namespaces/{{namespace}}/flunders".encode() in body[len(own) :]
    async with front.request("GET", "/openapi/v2", headers={"If-None-Match": etag}) as response:
        assert response.status == 304


async def test_v2_loses_what_is_no_longer_registered(front: Front, bundle: str) -> None:
    await front.register(caBundle=bundle)
    await until_merged(front)
    await front.call("DELETE", f"{APISERVICES}/{NAME}")
    assert await v2(front) == OWN


async def test_v3_is_listed_and_served_from_there(front: Front, bundle: str, sample: Sample) -> None:
    await front.register(caBundle=bundle)
    _, index = await until(lambda: front.json("GET", "/openapi/v3"), lambda found: ROOT[1:] in found[1]["paths"])
    url = index["paths"][ROOT[1:]]["serverRelativeURL"]
    assert url == f"/openapi/v3{ROOT}?hash=ABC"
    async with front.request("GET", url) as response:
        assert await response.json() == {"openapi": "3.0.0", "paths": {f"{ROOT}/flunders": {}}}
        assert response.headers["Cache-Control"].startswith("public, immutable")
    await sample.stop()
    # A connection that was kept may be tried once more.
    status, refusal = await until(lambda: front.json("GET", url), lambda answer: answer[0] != 200)
    assert (status, refusal["reason"]) == (503, "ServiceUnavailable")
    assert (await front.json("GET", "/openapi/v3/api/v1"))[0] == 200


@pytest.mark.parametrize(
    "body",
    [b"\xff", b"[]", b'{"paths":[],"definitions":7}', b'{"paths":{' + b'"x":{},' * 900_000 + b'"y":{}}}', b"[" * 5000],
    ids=["bytes", "list", "shapes", "huge", "deep"],
)
async def test_nonsense_instead_of_openapi_leaves_everything_else_as_it_is(
    front: Front, bundle: str, sample: Sample, body: bytes
) -> None:
    async def nonsense(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    sample.instead["/openapi"] = nonsense
    await front.register(caBundle=bundle)
    await until(lambda: v2(front), lambda found: bool(sample.asked("/openapi/v2")))
    assert await v2(front) == OWN
    assert (await front.json("GET", "/openapi/v3"))[1]["paths"].keys() == {"api/v1"}


# -- what is taken of a document ---------------------------------------------------------------------------------------


def taken(document: Any) -> Any:
    found = fragment_of(orjson.dumps(document), REMOTE)
    return orjson.loads(b'{"paths":{' + found.paths + b'},"definitions":{' + found.definitions + b"}}")


def test_only_what_the_group_version_leads_to_is_taken() -> None:
    document = openapi_v2()
    document["paths"]["/api/v1/pods"] = {"get": {"description": "not theirs to say"}}
    document["definitions"]["io.k8s.api.core.v1.Pod"] = {"type": "string"}
    found = taken(document)
    assert list(found["paths"]) == [f"{ROOT}/namespaces/{{namespace}}/flunders"]
    assert list(found["definitions"]) == [FLUNDER, f"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta_{NAME}"]


def test_shared_parameters_are_written_out() -> None:
    document = openapi_v2()
    pretty = {"name": "pretty", "in": "query", "type": "string"}
    document["parameters"] = {"pretty-1": pretty}
    operation = {"parameters": [{"$ref": "#/parameters/pretty-1"}], "responses": {}}
    document["paths"] = {ROOT: {"get": operation, "parameters": [{"$ref": "#/parameters/pretty-1"}]}}
    (item,) = taken(document)["paths"].values()
    assert item["parameters"] == item["get"]["parameters"] == [pretty]


def test_definitions_that_go_in_circles_come_to_an_end() -> None:
    document = openapi_v2()
    circle = {"properties": {"again": {"$ref": "#/definitions/loop"}, "gone": {"$ref": "#/definitions/nowhere"}}}
    document["definitions"]["com.example.wardle.v1alpha1.Flunder"] = {"$ref": "#/definitions/loop"}
    document["definitions"]["loop"] = circle
    assert f"loop_{NAME}" in taken(document)["definitions"]


def test_a_document_that_says_nothing_of_it_adds_nothing() -> None:
    assert fragment_of(b'{"swagger":"2.0","paths":{"/x":{}}}', REMOTE) == Fragment()


@pytest.mark.parametrize(
    "definition",
    [
        {"description": "x" * (2 << 20)},
        {"nobody knows": 1},
        {"properties": 7},
        {"type": {"a": 1}},
    ],
    ids=["huge", "unknown", "shape", "type"],
)
def test_a_definition_that_cannot_be_is_refused_with_the_document(definition: Any) -> None:
    document = openapi_v2()
    document["definitions"]["com.example.wardle.v1alpha1.Flunder"] = definition
    with pytest.raises(Unusable):
        fragment_of(orjson.dumps(document), REMOTE)


def test_nesting_beyond_reason_is_refused() -> None:
    document = openapi_v2()
    document["definitions"]["com.example.wardle.v1alpha1.Flunder"] = "nested"
    nested = b'{"properties":{"a":' * 400 + b"{}" + b"}}" * 400
    with pytest.raises(Unusable, match="too deeply"):
        fragment_of(orjson.dumps(document).replace(b'"nested"', nested), REMOTE)


def test_a_long_parameter_that_many_paths_share_is_not_written_out_for_each() -> None:
    document = openapi_v2()
    document["parameters"] = {"long": {"name": "p", "in": "query", "type": "string", "description": "x" * 100_000}}
    shared = {"parameters": [{"$ref": "#/parameters/long"}]}
    document["paths"] |= {f"{ROOT}/flunders/{number}": shared for number in range(1000)}
    body = orjson.dumps(document)
    tracemalloc.start()
    try:
        with pytest.raises(Unusable, match="says more than 1048576 bytes"):
            fragment_of(body, REMOTE)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 32 << 20


def test_a_path_that_looks_like_the_place_for_definitions_is_none() -> None:
    merged = merge_json_v2(orjson.dumps(OWN), [(b'"/x":{"definitions":{}}', b'"b":{"paths":{}}')])
    assert orjson.loads(merged) == {
        **OWN,
        "paths": {"/x": {"definitions": {}}, "/api/": {}},
        "definitions": {"b": {"paths": {}}, "a": {}},
    }
