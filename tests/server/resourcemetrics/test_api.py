"""``metrics.k8s.io`` as metrics-server has it, from looks at nodes of this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.api.errors import Forbidden, MethodNotAllowed, NotFound
from sampan.api.nodes.usage import Looks, NodeUsage, Point
from sampan.api.resources import API_SERVICES, CLUSTER_ROLES, NAMESPACES, NODES, PODS
from sampan.api.transport import Call
from sampan.testing.api import Api, api_server

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECONDS = NOW.timestamp()
ROOT = "/apis/metrics.k8s.io/v1beta1"
BOTH = pytest.mark.parametrize("version", ["v1", "v1beta1"])


def used(cpu_nanoseconds: int, memory: int, window: float = 10.0) -> tuple[Point, Point]:
    """(later, earlier)"""
    return Point(SECONDS - 1, cpu_nanoseconds, memory), Point(SECONDS - 1 - window, 0, 0)


def looks(node: tuple[Point, Point], **pods: dict[str, tuple[Point, Point]]) -> Looks:
    """``pods``: of the namespace ns, by name."""

    def of(index: int) -> NodeUsage:
        found = {("ns", name): {c: both[index] for c, both in pod.items()} for name, pod in pods.items()}
        return NodeUsage(node[index], found)

    return Looks(of(0), of(1))


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Two nodes; on the first, ``web`` with two containers and ``new``, of which nothing is known yet."""
    async with api_server(clock=FixedClock(NOW)) as made:
        await post(made, NAMESPACES.path(), {"metadata": {"name": "ns"}})
        for name, zone in (("one", "a"), ("two", "b")):
            await post(made, NODES.path(), {"metadata": {"name": name, "labels": {"zone": zone}}})
        for name, node, phase in (
            ("web", "one", "Running"),
            ("new", "one", "Running"),
            ("done", "one", "Succeeded"),
            ("api", "two", "Running"),
        ):
            await add_pod(made, name, node, phase)
        web = {"side": used(1_234_567_890, 12345 * 1024), "app": used(5_000_000_000, 100_000)}
        done = {"app": used(1, 1)}
        made.server.scraper.attach("one", lambda: looks(used(20_000_000_000, 1 << 30), web=web, done=done))
        theirs = {"app": used(10_000_000, 64 << 20, 15.063)}
        # The second node tells of a pod that is not its own.
        made.server.scraper.attach("two", lambda: looks(used(10, 3000), api=theirs, web=theirs, new=theirs))
        await until(lambda: made.server.scraper._wanted())
        yield made


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def post(api: Api, path: str, body: Any) -> Any:
    return await api.client.transport.call(Call("POST", path, body=body))


async def add_pod(api: Api, name: str, node: str, phase: str) -> None:
    labels = {"app": name, "tier": "front" if name == "web" else "back"}
    spec = {"nodeName": node, "containers": [{"name": "app", "image": "i"}]}
    pod = await post(api, PODS.path("ns"), {"metadata": {"name": name, "labels": labels}, "spec": spec})
    pod["status"] |= {"phase": phase}
    await api.client.transport.call(Call("PUT", PODS.path("ns", name, subresource="status"), body=pod))


async def get(api: Api, path: str, *, accept: str = "application/json", **query: str) -> Any:
    return await api.client.transport.call(Call("GET", path, query=query, accept=accept))


def names(found: Any) -> list[str]:
    return [item["metadata"]["name"] for item in found["items"]]


@BOTH
async def test_nodes_are_listed_with_their_use(api: Api, version: str) -> None:
    found = await get(api, f"/apis/metrics.k8s.io/{version}/nodes")
    assert (found["kind"], found["apiVersion"], found["metadata"]) == (
        "NodeMetricsList",
        f"metrics.k8s.io/{version}",
        {},
    )
    assert found["items"] == [
        {
            "metadata": {"name": "one", "creationTimestamp": "2026-03-01T12:00:00Z", "labels": {"zone": "a"}},
            "timestamp": "2026-03-01T11:59:59Z",
            "window": "10s",
            "usage": {"cpu": "2", "memory": "1Gi"},
        },
        {
            "metadata": {"name": "two", "creationTimestamp": "2026-03-01T12:00:00Z", "labels": {"zone": "b"}},
            "timestamp": "2026-03-01T11:59:59Z",
            "window": "10s",
            "usage": {"cpu": "1n", "memory": "3000"},
        },
    ]


@BOTH
async def test_a_pod_is_shown_with_its_containers(api: Api, version: str) -> None:
    found = await get(api, f"/apis/metrics.k8s.io/{version}/namespaces/ns/pods/web")
    assert found == {
        "kind": "PodMetrics",
        "apiVersion": f"metrics.k8s.io/{version}",
        "metadata": {
            "name": "web",
            "namespace": "ns",
            "creationTimestamp": "2026-03-01T12:00:00Z",
            "labels": {"app": "web", "tier": "front"},
        },
        "timestamp": "2026-03-01T11:59:59Z",
        "window": "10s",
        "containers": [
            {"name": "app", "usage": {"cpu": "500m", "memory": "100000"}},
            {"name": "side", "usage": {"cpu": "123456789n", "memory": "12345Ki"}},
        ],
    }


async def test_pods_that_do_not_run_or_are_not_known_yet_are_left_out(api: Api) -> None:
    """And what a node says of another node's pods does not count."""
    assert names(await get(api, f"{ROOT}/pods")) == ["api", "web"]
    assert names(await get(api, f"{ROOT}/namespaces/ns/pods")) == ["api", "web"]
    assert names(await get(api, f"{ROOT}/namespaces/other/pods")) == []
    assert (await get(api, f"{ROOT}/namespaces/ns/pods/web"))["containers"][0]["usage"]["cpu"] == "500m"


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("pods", {"labelSelector": "tier=back"}, ["api"]),
        ("pods", {"labelSelector": "tier in (front,back),app!=api"}, ["web"]),
        ("pods", {"fieldSelector": "metadata.name=web"}, ["web"]),
        ("namespaces/ns/pods", {"fieldSelector": "metadata.name=web"}, ["web"]),
        ("namespaces/ns/pods", {"fieldSelector": "metadata.name=web", "labelSelector": "app=api"}, []),
        ("pods", {"fieldSelector": "metadata.namespace=other"}, []),
        ("nodes", {"labelSelector": "zone=b"}, ["two"]),
        ("nodes", {"fieldSelector": "metadata.name=one"}, ["one"]),
    ],
)
async def test_selectors_choose(api: Api, path: str, query: dict[str, str], expected: list[str]) -> None:
    assert names(await get(api, f"{ROOT}/{path}", **query)) == expected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("namespaces/ns/pods/none", 'pods "none" not found'),
        ("namespaces/ns/pods/new", 'podmetrics.metrics.k8s.io "ns/new" not found'),
        ("namespaces/ns/pods/done", 'podmetrics.metrics.k8s.io "ns/done" not found'),
        ("nodes/none", 'nodes "none" not found'),
        ("namespaces/ns/nodes", "the server could not find the requested resource"),
        ("pods/web", "the server could not find the requested resource"),
        ("namespaces/ns/pods/web/status", "the server could not find the requested resource"),
        ("services", "the server could not find the requested resource"),
    ],
)
async def test_what_is_not_there_is_said_as_metrics_server_says_it(api: Api, path: str, message: str) -> None:
    with pytest.raises(NotFound) as error:
        await get(api, f"{ROOT}/{path}")
    assert error.value.message == message


async def test_a_node_of_which_nothing_is_known_is_not_found(api: Api) -> None:
    await post(api, NODES.path(), {"metadata": {"name": "three"}})
    with pytest.raises(NotFound) as error:
        await get(api, f"{ROOT}/nodes/three")
    assert error.value.message == 'nodemetrics.metrics.k8s.io "three" not found'


@pytest.mark.parametrize(("method", "path"), [("DELETE", "nodes/one"), ("POST", "nodes"), ("GET", "nodes?watch=1")])
async def test_nothing_is_written_or_watched(api: Api, method: str, path: str) -> None:
    path, _, query = path.partition("?")
    with pytest.raises(MethodNotAllowed):
        await api.client.transport.call(Call(method, f"{ROOT}/{path}", query={"watch": "1"} if query else {}, body={}))


async def test_discovery_names_both_versions_the_newer_first(api: Api) -> None:
    group = await get(api, "/apis/metrics.k8s.io")
    assert [each["version"] for each in group["versions"]] == ["v1", "v1beta1"]
    listed = await get(api, ROOT)
    assert [(each["name"], each["kind"], each["namespaced"], each["verbs"]) for each in listed["resources"]] == [
        ("nodes", "NodeMetrics", False, ["get", "list"]),
        ("pods", "PodMetrics", True, ["get", "list"]),
    ]
    groups = (await get(api, "/apis"))["groups"]
    assert groups[-1]["name"] == "metrics.k8s.io"


async def test_who_may_look_at_pods_may_look_at_what_they_use(api: Api) -> None:
    role = await api.client.get(CLUSTER_ROLES, "system:aggregated-metrics-reader")
    assert role["rules"] == [
        {"apiGroups": ["metrics.k8s.io"], "resources": ["nodes", "pods"], "verbs": ["get", "list", "watch"]}
    ]
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ann"}
    ref = {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": "view"}
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/ns/rolebindings"
    await post(api, path, {"metadata": {"name": "ann"}, "subjects": [subject], "roleRef": ref})
    ann = api.client_for("ann")
    found = await ann.transport.call(Call("GET", f"{ROOT}/namespaces/ns/pods"))
    assert names(found) == ["api", "web"]
    with pytest.raises(Forbidden) as error:
        await ann.transport.call(Call("GET", f"{ROOT}/nodes"))
    assert error.value.message == (
        'nodes.metrics.k8s.io is forbidden: User "ann" cannot list resource "nodes" in API group "metrics.k8s.io" '
        "at the cluster scope"
    )


async def test_without_its_api_service_the_group_is_gone(api: Api) -> None:
    await api.client.delete(API_SERVICES, "v1.metrics.k8s.io")
    await api.client.delete(API_SERVICES, "v1beta1.metrics.k8s.io")
    with pytest.raises(NotFound):
        await get(api, f"{ROOT}/nodes")
    assert "metrics.k8s.io" not in [group["name"] for group in (await get(api, "/apis"))["groups"]]
    assert not api.server.scraper._wanted()


async def test_somebody_elses_metrics_server_wins(api: Api) -> None:
    """Of the other version too: numbers of two kinds under one name would help nobody."""
    name = "v1beta1.metrics.k8s.io"
    found = await api.client.get(API_SERVICES, name)
    found["spec"] |= {"service": {"namespace": "kube-system", "name": "metrics-server"}, "insecureSkipTLSVerify": True}
    await api.client.transport.call(Call("PUT", API_SERVICES.path(name=name), body=found))
    versions = [each["version"] for each in (await get(api, "/apis/metrics.k8s.io"))["versions"]]
    assert versions == ["v1beta1"]
    with pytest.raises(NotFound):
        await get(api, "/apis/metrics.k8s.io/v1/nodes")
    assert not api.server.scraper._wanted()
    await api.client.delete(API_SERVICES, name)
    assert names(await get(api, "/apis/metrics.k8s.io/v1/nodes")) == ["one", "two"]


async def test_a_list_gives_the_loop_its_turns_and_decodes_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.server.resourcemetrics.api._MADE_AT_ONCE", 1)
    monkeypatch.setattr("sampan.store.cache.CachedEntry.object", lambda entry: pytest.fail("it was decoded"))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    assert names(await get(api, f"{ROOT}/pods")) == ["api", "web"]
    counting.cancel()
    assert turns == 4  # pods
