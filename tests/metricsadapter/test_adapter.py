"""The adapter between a real Prometheus and the real API server: registered, asked as HorizontalPodAutoscalers ask."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.metricsadapter.conftest import Exporter, PrometheusServer
from tests.server.http.pki import issue

from sampan.api.clock import SystemClock
from sampan.api.errors import ApiError, BadRequest, InternalError, MethodNotAllowed, NotFound
from sampan.api.resources import API_SERVICES, NAMESPACES, PODS
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.metricsadapter import certificate, registration
from sampan.metricsadapter.api import MetricsApi
from sampan.metricsadapter.main import AdapterConfig, _either, own_address, serve
from sampan.metricsadapter.prometheus import Prometheus, Unanswered
from sampan.metricsadapter.rules import read
from sampan.server.aggregation.services import Address, Unresolved
from sampan.server.app import Server
from sampan.server.config import ServerConfig

CUSTOM, EXTERNAL = "/apis/custom.metrics.k8s.io", "/apis/external.metrics.k8s.io/v1beta1"
RULES = read(
    {
        "rules": [
            {
                "seriesQuery": '{__name__=~"^app_.*",namespace!=""}',
                "resources": {"template": "<<.Resource>>", "overrides": {"node_name": {"resource": "node"}}},
                "name": {"matches": "^app_(.*)$"},
                "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
            },
            {
                "seriesQuery": "disk_used",
                "resources": {"overrides": {"node_name": {"resource": "node"}}},
                "metricsQuery": "<<.Series>>{<<.LabelMatchers>>}",
            },
        ],
        "externalRules": [
            {
                "seriesQuery": "queue_length",
                "resources": {"namespaced": False},
                "metricsQuery": "max(<<.Series>>{<<.LabelMatchers>>}) by (queue)",
            },
            {
                "seriesQuery": "queue_length",
                "name": {"as": "own_queue"},
                "metricsQuery": "<<.Series>>{<<.LabelMatchers>>}",
            },
            {"seriesQuery": "up", "name": {"as": "broken"}, "metricsQuery": "sum(", "resources": {"namespaced": False}},
            {"seriesQuery": "up", "name": {"as": "seven"}, "metricsQuery": "scalar(vector(7.5))"},
        ],
    }
)
EXPOSED = """\
app_requests{namespace="ns",pod="web-1",verb="GET"} 0.25
app_requests{namespace="ns",pod="web-1",verb="PUT"} 2
app_requests{namespace="ns",pod="web-2",verb="GET"} 1500
app_requests{namespace="ns",pod="other",verb="GET"} 9
app_requests{namespace="else",pod="web-1",verb="GET"} 77
disk_used{node_name="one"} 1e12
queue_length{queue="mail",namespace="ns"} 12
queue_length{queue="jobs",namespace="else"} 30
"""


class Places:
    """``Resolver``: the adapter's Service, wherever it listens."""

    def __init__(self) -> None:
        self.port = 0

    def resolve(self, namespace: str, name: str, port: int) -> Address:
        if (namespace, name) != (registration.NAMESPACE, registration.NAME):
            raise Unresolved("no such service")
        return Address("127.0.0.1", self.port)


@asynccontextmanager
async def adapted(folder: Path, prometheus: PrometheusServer, exporter: Exporter) -> AsyncIterator[Client]:
    """Everything runs; gives the cluster's administrator."""
    front = issue(folder, "front-ca")
    issue(folder, "front", front)
    places = Places()
    config = ServerConfig(
        bind_address="127.0.0.1",
        port=0,
        openapi=False,
        disable_admission_plugins=("ServiceAccount",),
        requestheader_client_ca=folder / "front-ca.crt",
        requestheader_allowed_names=("front",),
        proxy_client_cert=folder / "front.crt",
        proxy_client_key=folder / "front.key",
    )
    exporter.text = EXPOSED
    await prometheus.has("queue_length")
    stop, started = asyncio.Event(), asyncio.Event()
    async with Server(config, services=places) as server:
        admin = Client(server.local_transport())
        wanted = AdapterConfig(prometheus=prometheus.url, rules=RULES, address="192.0.2.10")
        running = asyncio.create_task(serve(wanted, admin, stop, started, SystemClock()))
        try:
            await until(lambda: started.is_set() or running.done())
            piece = await admin.raw(
                "GET", "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/" + registration.NAME
            )
            assert piece["endpoints"][0]["addresses"] == ["192.0.2.10"]
            places.port = piece["ports"][0]["port"]
            await answered(admin, f"{CUSTOM}/v1beta1", lambda found: len(found["resources"]) == 4)
            for other in (f"{CUSTOM}/v1beta2", EXTERNAL):  # each is an APIService of its own, found ready by itself
                await answered(admin, other, lambda found: True)
            yield admin
        finally:
            stop.set()
            await running


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def answered(client: Client, path: str, condition: Callable[[Any], object]) -> Any:
    async with asyncio.timeout(60):
        while True:
            try:
                found = await client.raw("GET", path)
                if condition(found):
                    return found
            except ApiError:
                pass  # it is not registered, or not ready yet
            await asyncio.sleep(0.05)


async def add_pod(client: Client, name: str, **labels: str) -> None:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    body = {"metadata": {"name": name, "labels": labels}, "spec": spec}
    await client.transport.call(Call("POST", PODS.path("ns"), body=body))


async def get(client: Client, path: str, **query: str) -> Any:
    return await client.transport.call(Call("GET", path, query))


def values(found: Any) -> dict[str, str]:
    return {item["describedObject"]["name"]: item["value"] for item in found["items"]}


async def test_metrics_come_through_the_api_server(
    tmp_path: Path, prometheus: PrometheusServer, exporter: Exporter
) -> None:
    async with adapted(tmp_path, prometheus, exporter) as admin:
        await admin.transport.call(Call("POST", NAMESPACES.path(), body={"metadata": {"name": "ns"}}))
        for name, app in (("web-1", "web"), ("web-2", "web"), ("other", "other"), ("silent", "web")):
            await add_pod(admin, name, app=app)

        group = await get(admin, CUSTOM)
        assert [each["version"] for each in group["versions"]] == ["v1beta2", "v1beta1"]
        listed = await get(admin, f"{CUSTOM}/v1beta1")
        assert [(each["name"], each["namespaced"]) for each in listed["resources"]] == [
            ("jobs.batch/requests", True),  # every series of Prometheus has a label of this name
            ("namespaces/requests", False),
            ("nodes/disk_used", False),
            ("pods/requests", True),
        ]

        # All pods that a selector takes, as an autoscaler asks for them.
        every = f"{CUSTOM}/v1beta2/namespaces/ns/pods/*/requests"
        found = await get(admin, every, labelSelector="app=web")
        assert values(found) == {"web-1": "2250m", "web-2": "1500"}
        assert (found["kind"], found["apiVersion"]) == ("MetricValueList", "custom.metrics.k8s.io/v1beta2")
        item = found["items"][0]
        assert item["describedObject"] == {"kind": "Pod", "namespace": "ns", "name": "web-1", "apiVersion": "/v1"}
        assert item["metric"] == {"name": "requests", "selector": None}
        assert values(await get(admin, every)) == {"web-1": "2250m", "web-2": "1500", "other": "9"}
        chosen = await get(admin, every, labelSelector="app=web", metricLabelSelector="verb=GET")
        assert values(chosen) == {"web-1": "250m", "web-2": "1500"}
        assert chosen["items"][0]["metric"]["selector"] == {"matchLabels": {"verb": "GET"}}
        assert (await get(admin, every, labelSelector="app=nobody"))["items"] == []

        # One object, a namespace, an object of the cluster, in the older version.
        one = await get(admin, f"{CUSTOM}/v1beta1/namespaces/ns/pods/web-2/requests")
        assert (one["items"][0]["metricName"], values(one)) == ("requests", {"web-2": "1500"})
        assert values(await get(admin, f"{CUSTOM}/v1beta1/namespaces/ns/metrics/requests")) == {"ns": "1511250m"}
        assert values(await get(admin, f"{CUSTOM}/v1beta1/nodes/one/disk_used")) == {"one": "1T"}

        for path, message in (
            ("namespaces/ns/pods/silent/requests", "the server could not find the metric requests for pods silent"),
            ("namespaces/ns/pods/web-1/none", "the server could not find the metric none for pods"),
            ("namespaces/ns/gadgets/a/requests", "the server could not find the metric requests for gadgets"),
        ):
            with pytest.raises(NotFound) as error:
                await get(admin, f"{CUSTOM}/v1beta1/{path}")
            assert error.value.message == message
        with pytest.raises(BadRequest):
            await get(admin, every, metricLabelSelector="a/b=c")
        with pytest.raises(MethodNotAllowed):
            await admin.raw("DELETE", f"{CUSTOM}/v1beta1/nodes/one/disk_used")

        # External metrics: of all namespaces where the rule says so, else of the one that is asked for.
        found = await get(admin, f"{EXTERNAL}/namespaces/ns/queue_length")
        assert found["kind"] == "ExternalMetricValueList"
        assert {item["metricLabels"]["queue"]: item["value"] for item in found["items"]} == {"mail": "12", "jobs": "30"}
        found = await get(admin, f"{EXTERNAL}/namespaces/ns/queue_length", labelSelector="queue=jobs")
        assert [item["value"] for item in found["items"]] == ["30"]
        found = await get(admin, f"{EXTERNAL}/namespaces/ns/own_queue")
        assert [item["metricLabels"]["queue"] for item in found["items"]] == ["mail"]
        assert [item["value"] for item in (await get(admin, f"{EXTERNAL}/namespaces/x/seven"))["items"]] == ["7500m"]
        with pytest.raises(InternalError) as failed:
            await get(admin, f"{EXTERNAL}/namespaces/ns/broken")
        assert failed.value.message == "Internal error occurred: unable to fetch metrics"
        with pytest.raises(NotFound):
            await get(admin, f"{EXTERNAL}/namespaces/ns/none")
    # The APIServices ended with it: nobody is told of metrics that nobody answers for.


async def test_it_takes_its_api_services_away_and_nobody_else_may_ask(
    tmp_path: Path, prometheus: PrometheusServer, exporter: Exporter
) -> None:
    async with adapted(tmp_path, prometheus, exporter) as admin:
        found = await admin.list(API_SERVICES, label_selector=f"app.kubernetes.io/name={registration.NAME}")
        assert [item["metadata"]["name"] for item in found["items"]] == [
            "v1beta1.custom.metrics.k8s.io",
            "v1beta1.external.metrics.k8s.io",
            "v1beta2.custom.metrics.k8s.io",
        ]
        port = (await admin.raw("GET", f"/api/v1/namespaces/kube-system/services/{registration.NAME}"))["spec"][
            "ports"
        ][0]
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.ClientError):
                await http.get(f"https://127.0.0.1:{port['targetPort']}/apis", ssl=False)
        stopped = await admin.list(API_SERVICES)
        assert len(stopped["items"]) > 3


async def test_one_that_ends_leaves_what_another_has_made_its_own(tmp_path: Path) -> None:
    """As when a new one is started before the old one is stopped."""
    config = ServerConfig(
        bind_address="127.0.0.1", port=0, openapi=False, disable_admission_plugins=("ServiceAccount",)
    )
    async with Server(config, services=Places()) as server:
        admin = Client(server.local_transport())
        old, new = (certificate.make(registration.HOST, SystemClock()).certificate for _ in range(2))
        await registration.register(admin, "192.0.2.10", 1234, old)
        await registration.register(admin, "192.0.2.11", 1234, new)
        for ends, left in ((old, 3), (new, 0)):
            await registration.unregister(admin, ends)
            found = await admin.list(API_SERVICES, label_selector=f"app.kubernetes.io/name={registration.NAME}")
            assert len(found["items"]) == left


async def test_what_cannot_be_registered_is_said_and_not_taken_for_done() -> None:
    async def fails() -> None:
        raise ValueError("no address")

    with pytest.raises(ValueError, match="no address"):
        await _either(fails(), asyncio.Event())


class Silent:
    """A client that answers nothing."""

    async def call(self, call: Call) -> Any:
        raise NotFound("nothing is here")


async def test_without_prometheus_nothing_is_known_and_nothing_breaks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    prometheus = Prometheus("http://127.0.0.1:1")
    api = MetricsApi(RULES, prometheus, Client(Silent()), SystemClock())  # type: ignore[arg-type]
    assert not await api.look()
    assert (await api.answer("GET", f"{CUSTOM}/v1beta1", {}))["resources"] == []
    assert "Prometheus does not tell the series of queue_length" in caplog.text
    with pytest.raises(NotFound):
        await api.answer("GET", f"{EXTERNAL}/namespaces/ns/queue_length", {})
    with pytest.raises(NotFound):
        await api.answer("GET", "/apis/apps/v1", {})
    with pytest.raises(Unanswered):
        await prometheus.query("up", 0)
    await prometheus.close()


def test_an_address_of_this_machine_is_found() -> None:
    assert own_address("https://127.0.0.1:6443").count(".") == 3
