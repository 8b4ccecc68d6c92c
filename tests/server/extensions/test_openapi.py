"""OpenAPI and discovery say what custom resources there are, a moment after they are there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import orjson
import pytest
from tests.customresources import sets

from sampan.api.clock import FixedClock
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.openapi.v2 import INFO

V1, V2 = "apis/example.com/v1", "apis/example.com/v2"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


@pytest.fixture
async def api(api_of: Any, clock: FixedClock, documents: Any) -> AsyncIterator[Any]:
    config = ServerConfig(
        listen=False, bootstrap=False, authorization_modes=("AlwaysAllow",), clock=clock, random=Random(1)
    )
    async with Server(config, openapi=documents) as server:
        yield api_of(server, clock)


async def published(sea: Any, name: str = V1) -> Any:
    """The schemas of a v3 document, as its index links to it."""
    index = (await sea("GET", "/openapi/v3")).obj["paths"]
    if name not in index:
        return None
    return (await sea("GET", index[name]["serverRelativeURL"])).obj["components"]["schemas"]


async def test_a_definition_is_published_in_a_document_of_its_own(sea: Any, crd: Any) -> None:
    """[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD with validation schema
    [Conformance]"""
    await sea.define(crd())
    schemas = await published(sea)
    boat = schemas["com.example.v1.Boat"]
    assert boat["properties"]["spec"]["properties"]["masts"] == {"type": "integer"}
    assert boat["properties"]["metadata"]["allOf"] == [{"$ref": f"#/components/schemas/{_META}ObjectMeta"}]
    assert boat["x-kubernetes-group-version-kind"] == [{"group": "example.com", "version": "v1", "kind": "Boat"}]
    assert schemas["com.example.v1.BoatList"]["required"] == ["items"]


async def test_a_document_refers_to_nothing_that_it_does_not_hold(sea: Any, crd: Any, crd_version: Any) -> None:
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    await sea.define(crd("boats", crd_version(subresources={"status": {}, "scale": paths})))
    body = (await sea("GET", f"/openapi/v3/{V1}")).obj
    text = orjson.dumps(body).decode()
    named = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert named <= body["components"]["schemas"].keys()
    assert {"com.example.v1.Boat", f"{_META}Patch", "io.k8s.api.autoscaling.v1.Scale"} <= named
    patch = body["paths"]["/apis/example.com/v1/namespaces/{namespace}/boats/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
    assert "/apis/example.com/v1/namespaces/{namespace}/boats/{name}/scale" in body["paths"]


async def test_a_version_that_is_served_no_longer_is_published_no_longer(sea: Any, crd: Any, crd_version: Any) -> None:
    """[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] removes definition from spec when one
    version gets changed to not be served [Conformance]"""
    await sea.define(crd("boats", crd_version("v1"), crd_version("v2", storage=False)))
    assert await published(sea, V1) and await published(sea, V2)
    kept, gone = crd_version("v1"), crd_version("v2", storage=False, served=False)
    await sea.change("boats.example.com", {"spec": {"versions": [kept, gone]}})

    async def unpublished() -> bool:
        return await published(sea, V2) is None

    await sea.eventually(unpublished)
    assert await published(sea, V1)


async def test_a_version_that_is_renamed_is_published_by_its_new_name(sea: Any, crd: Any, crd_version: Any) -> None:
    """[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] updates the published spec when one
    version gets renamed [Conformance]"""
    await sea.define(crd("boats", crd_version("v1"), crd_version("v2", storage=False)))
    await sea.change("boats.example.com", {"spec": {"versions": [crd_version("v1"), crd_version("v3", storage=False)]}})

    async def renamed() -> bool:
        return await published(sea, V2) is None and await published(sea, "apis/example.com/v3") is not None

    await sea.eventually(renamed)


async def test_kinds_and_groups_each_are_published(sea: Any, crd: Any) -> None:
    """[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of same group
    and version but different kinds [Conformance]; CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for
    multiple CRDs of different groups"""
    await sea.define(crd())
    await sea.define(crd("ships"))
    await sea.define(crd("cars", group="land.example.com"))
    assert {"com.example.v1.Boat", "com.example.v1.Ship"} <= (await published(sea)).keys()
    assert "com.example.land.v1.Car" in await published(sea, "apis/land.example.com/v1")


async def test_the_hash_changes_with_the_schema_and_not_with_the_status(sea: Any, crd: Any, crd_version: Any) -> None:
    await sea.define(crd())

    async def link() -> str:
        found: str = (await sea("GET", "/openapi/v3")).obj["paths"][V1]["serverRelativeURL"]
        return found

    before = await link()
    await sea.change("boats.example.com", {"metadata": {"labels": {"a": "b"}}})
    await sea.define(crd("cars", group="land.example.com"))
    assert await link() == before
    other = {"openAPIV3Schema": {"type": "object", "properties": {"cargo": {"type": "string"}}}}
    await sea.change("boats.example.com", {"spec": {"versions": [crd_version(schema=other)]}})

    async def changed() -> bool:
        return await link() != before

    await sea.eventually(changed)
    moved = await sea("GET", before)
    assert (moved.status, moved.headers["Location"]) == (301, await link())
    assert "cargo" in (await published(sea))["com.example.v1.Boat"]["properties"]


async def test_unknown_fields_that_are_kept_are_published_so(sea: Any, crd: Any, crd_version: Any) -> None:
    """[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD preserving unknown
    fields at the schema root [Conformance]; works for CRD preserving unknown fields in an embedded object
    [Conformance]; CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD without validation schema"""
    keep = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    embedded = {**keep, "x-kubernetes-embedded-resource": True}
    schema_ = {**keep, "properties": {"spec": {**keep, "properties": {"a": {"type": "string"}}}, "raw": embedded}}
    await sea.define(crd("boats", crd_version(schema={"openAPIV3Schema": schema_})))
    boat = (await published(sea))["com.example.v1.Boat"]
    assert boat["x-kubernetes-preserve-unknown-fields"] is True
    assert boat["properties"]["raw"]["required"] == ["apiVersion", "kind"]
    second = (await sea("GET", "/openapi/v2")).obj["definitions"]["com.example.v1.Boat"]
    # what v2 listed would be all that a client lets through
    assert set(second["properties"]) == {"apiVersion", "kind", "metadata"}


async def test_the_one_document_of_v2_holds_the_custom_kinds_too(sea: Any, crd: Any) -> None:
    before = await sea("GET", "/openapi/v2")
    await sea.define(crd())
    await sea.define(crd("ships"))
    after = await sea("GET", "/openapi/v2")
    assert before.headers["ETag"] != after.headers["ETag"]
    assert {"com.example.v1.Boat", "com.example.v1.ShipList"} <= after.obj["definitions"].keys()
    assert before.obj["definitions"].keys() < after.obj["definitions"].keys()
    assert "/apis/example.com/v1/boats" in after.obj["paths"]
    assert after.obj["info"] == INFO
    again = await sea("GET", "/openapi/v2", if_none_match=after.headers["ETag"])
    assert again.status == 304


async def test_the_protobuf_of_v2_is_the_same_document(sea: Any, crd: Any, documents: Any) -> None:
    await sea.define(crd())
    accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    request = sea.api.request("GET", "/openapi/v2", accept=accept)
    body = (await sea.api.server.handler(request)).body
    base, _, _ = await documents.v2(accept)
    assert body.startswith(base)
    more = body[len(base) :]
    assert b"com.example.v1.Boat" in more and b"/apis/example.com/v1/boats" in more
    assert {more[0] >> 3, more[0] & 7} == {8, 2}  # the field `paths`, which a reader merges with the one before


async def test_discovery_lists_custom_resources_and_its_etag_changes(sea: Any, crd: Any, crd_version: Any) -> None:
    """[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] should include custom resource
    definition resources in discovery documents [Conformance]; AggregatedDiscovery should support aggregated discovery
    interface for CRDs [Conformance]; AggregatedDiscovery should support raw aggregated discovery request for CRDs"""
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

    async def aggregated() -> Any:
        response = await sea.api.server.handler(sea.api.request("GET", "/apis", accept=accept))
        return response.headers["ETag"], orjson.loads(response.body)["items"]

    before, items = await aggregated()
    extensions = next(item for item in items if item["metadata"]["name"] == "apiextensions.k8s.io")
    assert extensions["versions"][0]["resources"][0]["resource"] == "customresourcedefinitions"
    versions = [crd_version("v1alpha1", storage=False), crd_version("v1"), crd_version("v2beta1", storage=False)]
    await sea.define(crd("boats", *versions, shortNames=["bt"], categories=["all", "fleet"]))
    after, items = await aggregated()
    assert after != before
    group = items[-1]
    assert group["metadata"]["name"] == "example.com"
    assert [one["version"] for one in group["versions"]] == ["v1", "v2beta1", "v1alpha1"]
    boats = group["versions"][0]["resources"][0]
    assert (boats["shortNames"], boats["categories"], boats["scope"]) == (["bt"], ["all", "fleet"], "Namespaced")
    listed = (await sea("GET", "/apis/example.com/v1")).obj["resources"][0]
    assert listed["storageVersionHash"]
    assert listed["verbs"] == ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]


async def test_many_who_ask_at_once_are_answered(sea: Any, crd: Any) -> None:
    await sea.define(crd())
    asked = [sea("GET", "/openapi/v2") for _ in range(10)] + [sea("GET", f"/openapi/v3/{V1}") for _ in range(10)]
    assert {answer.status for answer in await asyncio.gather(*asked)} == {200}


@pytest.mark.parametrize("name", sets.SETS)
async def test_what_operators_ship_is_established_and_published(sea: Any, name: str) -> None:
    documents = set()
    for definition in sets.SETS[name]():
        await sea.define(definition)
        spec = definition["spec"]
        documents |= {f"apis/{spec['group']}/{version['name']}" for version in spec["versions"] if version["served"]}
    index = (await sea("GET", "/openapi/v3")).obj["paths"]
    assert documents <= index.keys()
    for document in documents:
        body = (await sea("GET", f"/openapi/v3/{document}")).obj
        assert body["components"]["schemas"] and body["paths"]
    assert (await sea("GET", "/openapi/v2")).status == 200
