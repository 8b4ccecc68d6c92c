"""What API servers behind this one serve is listed with everything else, and harms nothing else.

Conformance: "Aggregated Discovery Interface", "Aggregated Discovery Endpoint Accept Headers" and
"aggregator-supports-the-sample-apiserver" (its group among the others).
"""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from tests.server.aggregation.conftest import (
    APISERVICES,
    GROUP,
    NAME,
    ROOT,
    VERSION,
    Front,
    Sample,
    aggregated,
    api_service,
    resource_list,
    until,
)

from sampan.api.enablement import standard
from sampan.server.aggregation import documents

V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def version_of(front: Front, group: str = GROUP) -> Any:
    """The first version of a group in aggregated discovery; None: it is not listed."""
    status, found = await front.json("GET", "/apis", headers={"Accept": V2})
    assert status == 200
    (entry,) = [item for item in found["items"] if item["metadata"]["name"] == group] or [None]
    return entry["versions"][0] if entry else None


async def until_fresh(front: Front, freshness: str = "Current") -> Any:
    return await until(lambda: version_of(front), lambda found: found is not None and found["freshness"] == freshness)


async def test_its_resources_are_in_aggregated_discovery(front: Front, bundle: str) -> None:
    """Aggregated Discovery Interface."""
    await front.register(caBundle=bundle)
    version = await until_fresh(front)
    (resource,) = version["resources"]
    assert version["version"] == VERSION
    assert (resource["resource"], resource["scope"], resource["verbs"]) == ("flunders", "Namespaced", ["get", "list"])
    assert resource["responseKind"] == {"group": GROUP, "version": VERSION, "kind": "Flunder"}


async def test_one_that_knows_only_the_older_form_is_read_too(front: Front, bundle: str, sample: Sample) -> None:
    """The sample of the conformance test is built against 1.17."""

    async def unknown(request: web.Request) -> web.StreamResponse:
        if request.path == "/apis":
            return web.Response(status=406)
        return await sample.usual(request)

    sample.instead["/apis"] = unknown
    await front.register(caBundle=bundle)
    (resource,) = (await until_fresh(front))["resources"]
    assert resource["shortNames"] == ["fl"]
    assert [sub["subresource"] for sub in resource["subresources"]] == ["status"]


async def test_its_group_is_in_the_older_lists(front: Front, bundle: str) -> None:
    await front.register(caBundle=bundle)
    await front.until_said("Passed")
    _, groups = await front.json("GET", "/apis")
    preferred = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
    wanted = {"name": GROUP, "versions": [preferred], "preferredVersion": preferred}
    assert wanted in groups["groups"]
    assert await front.json("GET", f"/apis/{GROUP}") == (200, {"kind": "APIGroup", "apiVersion": "v1", **wanted})
    assert await front.json("GET", ROOT) == (200, resource_list())


async def test_priorities_give_the_order(front: Front, bundle: str) -> None:
    for name, priority in (("v1.low.io", 1), ("v1.high.io", 20000), ("v1.middle.io", 17460)):
        await front.call("POST", APISERVICES, api_service(name, groupPriorityMinimum=priority, caBundle=bundle))
    _, groups = await front.json("GET", "/apis")
    found = [group["name"] for group in groups["groups"]]
    assert found.index("high.io") <= 1
    assert found[found.index("middle.io") - 1] == "autoscaling"
    assert found[-1] == "low.io"


async def test_an_etag_spares_what_has_not_changed(front: Front, bundle: str) -> None:
    await front.register(caBundle=bundle)
    await until_fresh(front)
    async with front.request("GET", "/apis", headers={"Accept": V2}) as response:
        etag = response.headers["ETag"]
    async with front.request("GET", "/apis", headers={"Accept": V2, "If-None-Match": etag}) as response:
        assert response.status == 304
    await front.call("DELETE", f"{APISERVICES}/{NAME}")
    async with front.request("GET", "/apis", headers={"Accept": V2, "If-None-Match": etag}) as response:
        assert response.status == 200


# -- faults ------------------------------------------------------------------------------------------------------------


async def test_a_dead_group_is_stale_and_everything_else_is_whole(front: Front, bundle: str, sample: Sample) -> None:
    await sample.stop()
    await front.register(caBundle=bundle)
    await front.until_said("FailedDiscoveryCheck")
    assert await version_of(front) == {"version": VERSION, "resources": [], "freshness": "Stale"}
    for group, versions in standard().groups().items():
        if group:
            assert (await version_of(front, group))["freshness"] == "Current"
            assert (await front.json("GET", f"/apis/{group}/{versions[0]}"))[0] == 200
    assert await front.text("GET", ROOT) == (503, "service unavailable\n")


async def test_a_group_that_dies_keeps_its_resources_and_is_stale(front: Front, bundle: str, sample: Sample) -> None:
    await front.register(caBundle=bundle)
    await until_fresh(front)
    await front.call("DELETE", "/api/v1/namespaces/wardle/services/api")
    stale = await until_fresh(front, "Stale")
    assert [resource["resource"] for resource in stale["resources"]] == ["flunders"]


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"kind":"APIGroupDiscoveryList","items":7}',
        b'{"kind":"APIGroupDiscoveryList","items":[{"metadata":[],"versions":{"a":1}}]}',
        b"[" * 100_000,
        b'{"kind":"APIGroupDiscoveryList","items":[' + b"{}," * 900_000 + b"{}]}",
    ],
    ids=["bytes", "list", "null", "number", "shapes", "deep", "huge"],
)
async def test_nonsense_instead_of_discovery_harms_nothing(
    front: Front, bundle: str, sample: Sample, body: bytes
) -> None:
    async def nonsense(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    sample.instead["/apis"] = nonsense
    await front.register(caBundle=bundle)
    await front.until_said("Passed")
    await until(lambda: version_of(front), lambda found: found is not None and bool(sample.asked("/apis")))
    assert await version_of(front) == {"version": VERSION, "resources": [], "freshness": "Stale"}
    assert (await version_of(front, "apps"))["freshness"] == "Current"


def test_what_is_not_of_its_type_is_left_out() -> None:
    document = aggregated()
    (item,) = document["items"]
    good = item["versions"][0]["resources"][0]
    item["versions"][0]["resources"] = [7, {"resource": 1}, {**good, "verbs": ["get", 3], "shortNames": "x"}]
    (found,) = documents.from_aggregated(document, GROUP, VERSION) or ()
    assert found["verbs"] == ["get"]
    assert "shortNames" not in found


def test_a_list_has_a_bound() -> None:
    document = resource_list()
    document["resources"] = [{**document["resources"][0], "name": f"r{number}"} for number in range(3000)]
    assert len(documents.from_list(document, GROUP, VERSION)) == documents.MOST_RESOURCES
