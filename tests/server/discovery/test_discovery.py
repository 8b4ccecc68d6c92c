"""Discovery, version, health and OpenAPI hand-off."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from sampan.api.clock import FixedClock
from sampan.api.errors import MethodNotAllowed, NotAcceptable, NotFound
from sampan.api.registry import registry
from sampan.server.discovery.handlers import DiscoveryHandlers
from sampan.server.discovery.openapi import OpenApiHandlers
from sampan.server.discovery.router import NonResourceHandlers
from sampan.server.health import Health
from sampan.server.metrics import Metrics
from sampan.server.request import Request, RequestInfo, Response
from sampan.server.surface import Surface
from sampan.server.tokens import OpenIdDocuments
from sampan.store.memory import MemoryStore

SURFACE = Surface.build(registry(), MemoryStore(clock=FixedClock(datetime(2026, 11, 21, tzinfo=UTC))))
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


def request(path: str, accept: str = "", method: str = "GET", **query: str) -> Request:
    headers = {"accept": accept} if accept else {}
    made = Request(method, path, query, headers)
    made.surface = SURFACE
    return made


class Documents:
    async def v2(self, accept: str) -> tuple[bytes, str, str]:
        return b"two", "application/json", '"e"'

    async def v3_index(self) -> Mapping[str, str]:
        return {"apis/apps/v1": "H"}

    async def v3(self, group_version: str) -> tuple[bytes, str, str] | None:
        return (b"three", "application/json", "H") if group_version == "apis/apps/v1" else None


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def handlers(health: Health) -> NonResourceHandlers:
    discovery = DiscoveryHandlers(lambda: "192.0.2.1:6443")
    openid = OpenIdDocuments("https://i", "https://i/jwks", [])
    return NonResourceHandlers(discovery, health, Metrics(), openid, OpenApiHandlers(Documents()))


def document(response: Response) -> Any:
    assert isinstance(response.body, bytes)
    return orjson.loads(response.body)


async def test_a_group_version_lists_resources_and_subresources(handlers: NonResourceHandlers) -> None:
    listed = document(await handlers.handle(request("/apis/apps/v1")))
    by_name = {resource["name"]: resource for resource in listed["resources"]}
    deployments = by_name["deployments"]
    assert (deployments["singularName"], deployments["shortNames"]) == ("deployment", ["deploy"])
    assert deployments["storageVersionHash"]
    scale = by_name["deployments/scale"]
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")


async def test_reviews_have_no_storage(handlers: NonResourceHandlers) -> None:
    listed = document(await handlers.handle(request("/apis/authentication.k8s.io/v1")))
    review = next(resource for resource in listed["resources"] if resource["name"] == "tokenreviews")
    assert (review["verbs"], "storageVersionHash" in review) == (["create"], False)


async def test_the_aggregated_form_is_negotiated_and_cached(handlers: NonResourceHandlers) -> None:
    response = await handlers.handle(request("/apis", AGGREGATED))
    assert response.content_type == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    assert response.headers["Vary"] == "Accept"
    found = document(response)
    assert found["kind"] == "APIGroupDiscoveryList"
    apps = next(item for item in found["items"] if item["metadata"]["name"] == "apps")
    deployment = next(r for r in apps["versions"][0]["resources"] if r["resource"] == "deployments")
    assert deployment["scope"] == "Namespaced"
    assert {sub["subresource"] for sub in deployment["subresources"]} == {"scale", "status"}
    again = request("/apis", AGGREGATED)
    again.headers = {**again.headers, "if-none-match": response.headers["ETag"]}
    assert (await handlers.handle(again)).status == 304


async def test_only_core_is_below_api(handlers: NonResourceHandlers) -> None:
    found = document(await handlers.handle(request("/api", AGGREGATED)))
    assert [item["versions"][0]["version"] for item in found["items"]] == ["v1"]
    assert document(await handlers.handle(request("/api")))["versions"] == ["v1"]
    names = [group["name"] for group in document(await handlers.handle(request("/apis")))["groups"]]
    assert "apps" in names
    assert "" not in names


async def test_protobuf_with_a_fallback_gets_json_and_alone_is_refused(handlers: NonResourceHandlers) -> None:
    protobuf = "application/vnd.kubernetes.protobuf"
    assert document(await handlers.handle(request("/api/v1", f"{protobuf},*/*")))["kind"] == "APIResourceList"
    with pytest.raises(NotAcceptable):
        await handlers.handle(request("/api/v1", protobuf))


@pytest.mark.parametrize("path", ["/apis/none", "/apis/apps/v9", "/nope", "/healthz/nope", "/api/v1/x/y"])
async def test_unknown_paths_are_not_found(handlers: NonResourceHandlers, path: str) -> None:
    with pytest.raises(NotFound):
        await handlers.handle(request(path))


async def test_other_methods_are_not_allowed(handlers: NonResourceHandlers) -> None:
    with pytest.raises(MethodNotAllowed):
        await handlers.handle(request("/version", method="POST"))


async def test_the_version_is_ours_to_state(handlers: NonResourceHandlers) -> None:
    found = document(await handlers.handle(request("/version")))
    assert (found["major"], found["minor"], found["gitVersion"]) == ("1", "37", "v1.37.0")


async def test_the_root_lists_paths(handlers: NonResourceHandlers) -> None:
    paths = document(await handlers.handle(request("/")))["paths"]
    assert {"/api/v1", "/apis/apps", "/apis/apps/v1", "/livez/ping", "/metrics", "/version"} <= set(paths)


async def test_health_reports_each_check(handlers: NonResourceHandlers, health: Health) -> None:
    fault: list[str] = []
    health.add("store", lambda: fault[0] if fault else None)
    assert (await handlers.handle(request("/readyz"))).body == b"ok"
    fault.append("disk full")
    response = await handlers.handle(request("/readyz"))
    assert response.status == 500
    assert b"[-]store failed: reason withheld" in bytes(response.body)  # type: ignore[arg-type]  # health answers in bytes
    assert (await handlers.handle(request("/readyz", exclude="store"))).status == 200
    assert (await handlers.handle(request("/livez/ping"))).body == b"ok"
    verbose = await handlers.handle(request("/healthz", verbose="", exclude="store"))
    assert verbose.body == b"[+]ping ok\n[+]store excluded: ok\nhealthz check passed\n"


async def test_nobody_is_ready_before_every_step_of_the_start_is_done(
    handlers: NonResourceHandlers, health: Health
) -> None:
    health.add_store()
    health.add_steps("informer-sync", "poststarthook/one")
    health.finish("informer-sync")
    waits = await handlers.handle(request("/readyz"))
    assert (waits.status, waits.body) == (
        500,
        b"[+]ping ok\n[+]etcd ok\n[+]informer-sync ok\n[-]poststarthook/one failed: reason withheld\n"
        b"[+]shutdown ok\nreadyz check failed\n",
    )
    assert (await handlers.handle(request("/readyz/poststarthook/one"))).status == 500
    assert (await handlers.handle(request("/livez"))).status == 200
    health.finish("poststarthook/one")
    assert (await handlers.handle(request("/readyz"))).body == b"ok"
    health.add_store(fault="the disk is full")
    for probe in ("healthz", "livez", "readyz"):
        assert (await handlers.handle(request(f"/{probe}/etcd"))).status == 500


async def test_shutting_down_is_not_ready_but_alive(handlers: NonResourceHandlers, health: Health) -> None:
    health.shutting_down = True
    assert (await handlers.handle(request("/readyz"))).status == 500
    assert (await handlers.handle(request("/livez"))).status == 200


async def test_openapi_v3_redirects_an_old_hash(handlers: NonResourceHandlers) -> None:
    index = document(await handlers.handle(request("/openapi/v3")))
    assert index["paths"] == {"apis/apps/v1": {"serverRelativeURL": "/openapi/v3/apis/apps/v1?hash=H"}}
    old = await handlers.handle(request("/openapi/v3/apis/apps/v1", hash="old"))
    assert (old.status, old.headers["Location"]) == (301, "/openapi/v3/apis/apps/v1?hash=H")
    right = await handlers.handle(request("/openapi/v3/apis/apps/v1", hash="H"))
    assert "immutable" in right.headers["Cache-Control"]


async def test_metrics_count_by_resource_and_stay_bounded(handlers: NonResourceHandlers) -> None:
    metrics = Metrics()
    kind = registry().by_resource("", "v1", "pods")
    info = RequestInfo(True, "list", "/api/v1/pods", "", "v1", "pods", kind=kind)
    metrics.observe(info, 200, 0.01)
    for index in range(3):
        metrics.observe(RequestInfo(True, f"verb{index}", "/x", resource=f"r{index}"), 404, 0.01)
    response = await metrics.handle(request("/metrics"))
    assert response is not None
    text = bytes(response.body).decode()  # type: ignore[arg-type]  # metrics answer in bytes
    assert 'apiserver_request_total{code="200",group="",resource="pods",scope="cluster",subresource=""' in text
    assert 'verb="OTHER"' in text
    assert "r1" not in text
