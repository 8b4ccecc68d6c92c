"""The cloud's controllers against upstream's behaviour: nodes, their life, routes, load balancers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from sampan.api.clock import FixedClock
from sampan.api.resources import EVENTS, NODES, SERVICES
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.cloud.context import Context, Settings
from sampan.cloud.lifecycle import CloudNodeLifecycleController
from sampan.cloud.local import LocalProvider, WrongCloud, parse_cloud
from sampan.cloud.manager import run_cloud_controllers
from sampan.cloud.nodes import CloudNodeController
from sampan.cloud.provider import Balancer, CloudError, Machine, NodeRef, Route
from sampan.cloud.reading import FINALIZER, SHUTDOWN, UNINITIALIZED, addresses_of, balanced_nodes, has_taint
from sampan.cloud.remote import RemoteProvider
from sampan.cloud.routes import RouteController, plan_routes
from sampan.cloud.services import CloudServiceController
from sampan.server.app import Server
from sampan.server.config import ServerConfig

Obj = dict[str, Any]
CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


class Cloud:
    """A provider whose machines a test sets; ``fault``: what every call says instead."""

    name = "test"

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self.balancers: dict[str, tuple[str, ...]] = {}
        self.there: list[Route] = []
        self.fault = ""
        self.instances = self.load_balancers = self
        self.routes = RoutesOf(self)

    def check(self) -> None:
        if self.fault:
            raise CloudError(self.fault)

    async def machine(self, node: NodeRef) -> Machine | None:
        self.check()
        return self.machines.get(node.provider_id or f"test://{node.name}")

    async def ensure(self, name: str, service: Any, nodes: Any) -> Balancer:
        self.check()
        self.balancers[name] = tuple(node["metadata"]["name"] for node in nodes)
        return Balancer(("198.51.100.1",))

    async def delete(self, name: str, service: Any) -> None:
        self.check()
        self.balancers.pop(name, None)

    async def close(self) -> None:
        return


class RoutesOf:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def routes(self) -> list[Route]:
        return list(self._cloud.there)

    async def create(self, route: Route) -> None:
        self._cloud.check()
        self._cloud.there.append(route)

    async def delete(self, route: Route) -> None:
        self._cloud.there.remove(route)


def machine(name: str, **more: Any) -> Machine:
    told = {"instance_type": "small", "zone": "a", "region": "r", "addresses": (("InternalIP", "192.0.2.1"),)}
    return Machine(f"test://{name}", **{**told, **more})


def node(name: str, *, new: bool = False, ready: bool = True, **more: Any) -> Obj:
    taints = [{"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"}] if new else []
    return {
        "metadata": {"name": name, "uid": name, **more.pop("metadata", {})},
        "spec": {"taints": taints, "providerID": "" if new else f"test://{name}", **more},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "addresses": [{"type": "Hostname", "address": name}],
        },
    }


def service(name: str = "web", **spec: Any) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"u-{name}"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}], **spec},
        "status": {"loadBalancer": {}},
    }


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def context(api: Any, cloud: Cloud) -> Context:
    client = Client(api)
    settings = Settings(
        cluster_cidrs=("10.244.0.0/16",), node_monitor_seconds=0.01, route_seconds=0.01, node_status_seconds=0.01
    )
    return Context(InformerFactory(client), lambda name: client, CLOCK, cloud, settings)


def told(api: Any) -> list[tuple[str, str]]:
    return [(event["reason"], event["message"]) for event in api.all(EVENTS)]


async def eventually(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # what it waits for is told to nobody
            await asyncio.sleep(0)


async def test_a_new_node_becomes_one_of_the_cloud(api: Any, cloud: Cloud, context: Context, run_with: Any) -> None:
    cloud.machines["test://n1"] = machine("n1", labels={"rack": "7"})
    api.add(NODES, node("n1", new=True))
    async with run_with(context, CloudNodeController(context, cloud)):
        await eventually(lambda: not api.get(NODES, "", "n1")["spec"].get("taints"))
        await eventually(lambda: ("Synced", "Node synced successfully") in told(api))
    made = api.get(NODES, "", "n1")
    assert made["spec"]["providerID"] == "test://n1"
    assert made["metadata"]["labels"] == {
        "rack": "7",
        "node.kubernetes.io/instance-type": "small",
        "beta.kubernetes.io/instance-type": "small",
        "topology.kubernetes.io/zone": "a",
        "failure-domain.beta.kubernetes.io/zone": "a",
        "topology.kubernetes.io/region": "r",
        "failure-domain.beta.kubernetes.io/region": "r",
    }
    assert made["status"]["addresses"] == [
        {"type": "InternalIP", "address": "192.0.2.1"},
        {"type": "Hostname", "address": "n1"},
    ]


async def test_a_node_that_the_cloud_does_not_know_waits_and_other_taints_stay(
    api: Any, cloud: Cloud, context: Context, run_with: Any
) -> None:
    waiting = node("n1", new=True)
    waiting["spec"]["taints"].append({"key": "mine", "effect": "NoSchedule"})
    api.add(NODES, waiting)
    async with run_with(context, CloudNodeController(context, cloud)):
        await eventually(lambda: any(reason == "FailedToInitialize" for reason, _ in told(api)))
        assert len(api.get(NODES, "", "n1")["spec"]["taints"]) == 2
        cloud.machines["test://n1"] = machine("n1")
        await eventually(
            lambda: api.get(NODES, "", "n1")["spec"]["taints"] == [{"key": "mine", "effect": "NoSchedule"}]
        )


async def test_addresses_and_zones_follow_the_cloud(api: Any, cloud: Cloud, context: Context, run_with: Any) -> None:
    cloud.machines["test://n1"] = machine("n1")
    api.add(NODES, node("n1"))
    async with run_with(context, CloudNodeController(context, cloud)):
        cloud.machines["test://n1"] = machine("n1", zone="b", addresses=(("InternalIP", "192.0.2.9"),))
        await eventually(
            lambda: api.get(NODES, "", "n1")["metadata"].get("labels", {}).get("topology.kubernetes.io/zone") == "b"
        )
        await eventually(lambda: api.get(NODES, "", "n1")["status"]["addresses"][0]["address"] == "192.0.2.9")


def test_an_address_that_the_node_was_given_is_the_one_of_its_type() -> None:
    both = machine(
        "n1", addresses=(("ExternalIP", "203.0.113.1"), ("InternalIP", "192.0.2.1"), ("InternalIP", "192.0.2.2"))
    )
    annotated = node("n1", metadata={"annotations": {"alpha.kubernetes.io/provided-node-ip": "192.0.2.2"}})
    assert [each["address"] for each in addresses_of(annotated, both) or []] == ["192.0.2.2", "203.0.113.1", "n1"]
    elsewhere = node("n1", metadata={"annotations": {"alpha.kubernetes.io/provided-node-ip": "192.0.2.7"}})
    assert addresses_of(elsewhere, both) is None


async def test_nodes_of_machines_that_are_gone_are_deleted_and_of_those_that_are_off_tainted(
    api: Any, cloud: Cloud, context: Context, run_with: Any
) -> None:
    cloud.machines["test://off"] = machine("off", shutdown=True)
    for each in (node("gone", ready=False), node("off", ready=False), node("well")):
        api.add(NODES, each)
    async with run_with(context, CloudNodeLifecycleController(context, cloud)):
        await eventually(lambda: {each["metadata"]["name"] for each in api.all(NODES)} == {"off", "well"})
        await eventually(lambda: [t["key"] for t in api.get(NODES, "", "off")["spec"]["taints"]] == [SHUTDOWN])
        said = "Deleting node gone because it does not exist in the cloud provider"
        await eventually(lambda: ("DeletingNode", said) in told(api))

        def back(obj: Obj) -> None:
            obj["status"]["conditions"][0]["status"] = "True"

        api.change(NODES, "", "off", back)
        await eventually(lambda: not api.get(NODES, "", "off")["spec"].get("taints"))


async def test_a_cloud_that_does_not_answer_deletes_nothing(
    api: Any, cloud: Cloud, context: Context, run_with: Any
) -> None:
    api.add(NODES, node("n1", ready=False))
    cloud.fault = "no answer"
    controller = CloudNodeLifecycleController(context, cloud)
    async with run_with(context, controller):
        for _ in range(5):
            await controller.look()
    assert api.all(NODES)


def test_routes_are_made_and_foreign_ones_stay() -> None:
    there = [Route("1", "a", "10.244.0.0/24"), Route("2", "b", "10.244.9.0/24"), Route("3", "x", "172.16.0.0/24")]
    plan = plan_routes({"a": ["10.244.0.0/24"], "b": ["10.244.1.0/24"]}, there, ["10.244.0.0/16"])
    assert plan.create == (Route("", "b", "10.244.1.0/24"),)
    assert plan.delete == (there[1],)


async def test_a_node_is_told_whether_it_has_its_route(api: Any, cloud: Cloud, context: Context, run_with: Any) -> None:
    api.add(NODES, node("n1", podCIDR="10.244.1.0/24", podCIDRs=["10.244.1.0/24"]))

    def says(status: str, reason: str) -> bool:
        found = [c for c in api.get(NODES, "", "n1")["status"]["conditions"] if c["type"] == "NetworkUnavailable"]
        return [(c["status"], c["reason"]) for c in found] == [(status, reason)]

    cloud.fault = "quota"
    async with run_with(context, RouteController(context, cloud.routes)):
        await eventually(lambda: says("True", "NoRouteCreated"))
        failure = "Could not create route 10.244.1.0/24 for node n1: quota"
        await eventually(lambda: ("FailedToCreateRoute", failure) in told(api))
        cloud.fault = ""
        await eventually(lambda: says("False", "RouteCreated"))
        assert len(cloud.there) == 1
        api.remove(NODES, "", "n1")
        await eventually(lambda: not cloud.there)


async def test_a_node_with_one_of_its_two_routes_is_told_that_it_has_none(
    api: Any, context: Context, run_with: Any
) -> None:
    class NoIpv4:
        async def routes(self) -> list[Route]:
            return []

        async def create(self, route: Route) -> None:
            if ":" not in route.cidr:
                raise CloudError("quota")

        async def delete(self, route: Route) -> None:
            raise AssertionError

    api.add(NODES, node("n1", podCIDR="10.244.1.0/24", podCIDRs=["10.244.1.0/24", "fd00:1::/64"]))
    async with run_with(context, RouteController(context, NoIpv4())):
        await eventually(lambda: api.get(NODES, "", "n1")["status"]["conditions"][-1].get("reason") == "NoRouteCreated")


async def test_a_load_balancer_comes_follows_the_nodes_and_goes(
    api: Any, cloud: Cloud, context: Context, run_with: Any
) -> None:
    api.add(NODES, node("n1"))
    api.add(
        NODES, node("left-out", metadata={"labels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""}})
    )
    api.add(SERVICES, service())
    api.add(SERVICES, service("classed", loadBalancerClass="other.io/lb"))
    async with run_with(context, CloudServiceController(context, cloud)):
        await eventually(lambda: api.get(SERVICES, "default", "web")["status"]["loadBalancer"].get("ingress"))
        stored = api.get(SERVICES, "default", "web")
        assert stored["status"]["loadBalancer"]["ingress"] == [{"ip": "198.51.100.1", "ipMode": "VIP"}]
        assert stored["metadata"]["finalizers"] == [FINALIZER]
        assert cloud.balancers == {"auweb": ("n1",)}
        api.add(NODES, node("n2"))
        await eventually(lambda: cloud.balancers == {"auweb": ("n1", "n2")})

        def plain(obj: Obj) -> None:
            obj["spec"]["type"] = "ClusterIP"

        api.change(SERVICES, "default", "web", plain)
        await eventually(lambda: not api.get(SERVICES, "default", "web")["metadata"].get("finalizers"))
        assert not cloud.balancers
        assert not api.get(SERVICES, "default", "web")["status"]["loadBalancer"].get("ingress")
        reasons = {"EnsuringLoadBalancer", "EnsuredLoadBalancer", "UpdatedLoadBalancer", "DeletedLoadBalancer"}
        await eventually(lambda: reasons <= {reason for reason, _ in told(api)})
        assert not api.get(SERVICES, "default", "classed")["status"]["loadBalancer"]


async def test_what_the_cloud_refuses_is_told_and_the_finalizer_stays(
    api: Any, cloud: Cloud, context: Context, run_with: Any
) -> None:
    cloud.fault = "quota"
    api.add(SERVICES, service())
    async with run_with(context, CloudServiceController(context, cloud)):
        said = "Error syncing load balancer: failed to ensure load balancer: quota"
        await eventually(lambda: ("SyncLoadBalancerFailed", said) in told(api))
        assert api.get(SERVICES, "default", "web")["metadata"]["finalizers"] == [FINALIZER]


def test_balancers_send_to_nodes_that_are_ready_and_of_the_cloud() -> None:
    nodes = [node("a"), node("b", ready=False), node("c", new=True)]
    assert [each["metadata"]["name"] for each in balanced_nodes(nodes)] == ["a"]


# --- providers ------------------------------------------------------------------------------------------------------


def local(tmp_path: Path, **data: Any) -> LocalProvider:
    path = tmp_path / "cloud.yaml"
    path.write_text(yaml.safe_dump(data))
    return LocalProvider(path)


async def test_the_local_cloud_is_a_file(tmp_path: Path) -> None:
    listed = {"name": "n1", "zone": "a", "addresses": {"InternalIP": ["192.0.2.1"]}, "labels": {"rack": "7"}}
    provider = local(tmp_path, name="rack", region="r", machines=[listed])
    found = await provider.machine(NodeRef("n1"))
    assert found == Machine("rack://n1", "", "a", "r", (("InternalIP", "192.0.2.1"),), {"rack": "7"})
    assert await provider.machine(NodeRef("other", "rack://n1")) == found
    assert await provider.machine(NodeRef("n2")) is None
    assert provider.routes is None
    assert provider.load_balancers is None
    (tmp_path / "cloud.yaml").write_text("machines: [}")
    with pytest.raises(CloudError, match="cannot be read"):
        await provider.machine(NodeRef("n1"))


@pytest.mark.parametrize("written", ["", "name: rack\n", "name: rack\nmachines:\n"], ids=["empty", "head", "list"])
async def test_a_file_that_is_being_written_has_no_machine_that_is_gone(tmp_path: Path, written: str) -> None:
    provider = local(tmp_path, name="rack", machines=[{"name": "n1"}])
    (tmp_path / "cloud.yaml").write_text(written)
    with pytest.raises(CloudError, match="says nothing of machines"):
        await provider.machine(NodeRef("n1"))
    (tmp_path / "cloud.yaml").write_text("name: rack\nmachines: []\n")
    assert await provider.machine(NodeRef("n1")) is None


async def test_addresses_of_the_local_pool_are_each_given_once_and_kept(tmp_path: Path) -> None:
    pool = {"pool": "198.51.100.1-198.51.100.2"}
    balancers = local(tmp_path, loadBalancers=pool).load_balancers
    assert balancers is not None
    assert await balancers.ensure("a", service("a"), [node("n1")]) == Balancer(("198.51.100.1",))
    assert await balancers.ensure("b", service("b"), []) == Balancer(("198.51.100.2",))
    again = local(tmp_path, loadBalancers=pool).load_balancers
    assert again is not None
    assert await again.ensure("a", service("a"), []) == Balancer(("198.51.100.1",))
    with pytest.raises(CloudError, match="every address of the pool is taken"):
        await again.ensure("c", service("c"), [])
    with pytest.raises(CloudError, match="2 is taken"):
        await again.ensure("c", service("c", loadBalancerIP="198.51.100.2"), [])
    await again.delete("b", service("b"))
    assert await again.ensure("c", service("c", loadBalancerIP="198.51.100.2"), []) == Balancer(("198.51.100.2",))


async def test_routes_of_the_local_cloud_are_kept_beside_its_file(tmp_path: Path) -> None:
    routes = local(tmp_path, routes=True).routes
    assert routes is not None
    await routes.create(Route("", "n1", "10.244.1.0/24"))
    await routes.create(Route("", "n1", "10.244.1.0/24"))
    (route,) = await routes.routes()
    assert (route.node, route.cidr) == ("n1", "10.244.1.0/24")
    await routes.delete(route)
    assert not await routes.routes()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "the file is no map"),
        ({"machine": []}, "'machine' is not known"),
        ({"machines": [{}]}, "has neither name nor providerID"),
        ({"machines": [{"name": "a"}, {"name": "a"}]}, "there is a machine 'a' already"),
        ({"machines": [{"name": "a", "addresses": {"IP": "1"}}]}, "'IP' is none of"),
        ({"machines": [{"name": 7}]}, "name is no text"),
        ({"loadBalancers": {"pool": "x"}}, "loadBalancers.pool"),
    ],
)
def test_what_cannot_be_a_cloud_is_refused_by_name(data: object, words: str) -> None:
    with pytest.raises(WrongCloud, match=words):
        parse_cloud(data)


@asynccontextmanager
async def program(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def answering(*features: str, **answers: Any) -> tuple[web.Application, list[tuple[str, str, Any]]]:
    """A program that answers ``METHOD /path`` so; and what it was asked."""
    asked: list[tuple[str, str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/v1":
            return web.json_response({"name": "toy", "features": list(features)})
        asked.append((request.method, request.path, await request.json() if request.can_read_body else None))
        status, body = answers["answers"].get(f"{request.method} {request.path}", (200, {}))
        return web.json_response(body, status=status)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    return app, asked


def answering_two(then: Any) -> tuple[web.Application, list[str]]:
    """A cloud while the list holds its name, then ``then`` to all questions, and 404 to those of machines."""
    names = ["toy"]
    status, said = then if isinstance(then, tuple) else (200, then)

    async def answer(request: web.Request) -> web.Response:
        if request.path != "/v1":
            return web.json_response({"message": "no route"}, status=404)
        if names:
            return web.json_response({"name": names[0], "features": ["instances"]})
        return web.json_response(said, status=status)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    return app, names


async def test_any_program_can_be_a_cloud() -> None:
    told_machine = {"providerID": "toy://1", "zone": "a", "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}
    app, asked = answering(
        "instances",
        "routes",
        "loadBalancers",
        answers={
            "POST /v1/machine": (200, told_machine),
            "GET /v1/routes": (200, {"routes": [{"name": "r1", "node": "n1", "cidr": "10.244.1.0/24"}]}),
            "PUT /v1/loadbalancers/auweb": (200, {"hostnames": ["lb.example"]}),
        },
    )
    async with program(app) as url:
        provider = await RemoteProvider.open(url)
        assert provider.name == "toy"
        found = await provider.machine(NodeRef("n1"))
        assert found is not None
        assert (found.provider_id, found.zone, found.addresses) == ("toy://1", "a", (("InternalIP", "192.0.2.1"),))
        routes, balancers = provider.routes, provider.load_balancers
        assert routes is not None
        assert balancers is not None
        (route,) = await routes.routes()
        await routes.delete(route)
        assert await balancers.ensure("auweb", service(), [node("n1")]) == Balancer((), ("lb.example",))
        await balancers.delete("auweb", service())
        await provider.close()
    assert ("DELETE", "/v1/routes/r1", None) in asked
    made = next(body for method, path, body in asked if method == "PUT")
    assert made["service"]["ports"] == [{"port": 80, "protocol": "TCP", "nodePort": 30080}]
    assert made["nodes"][0]["providerID"] == "test://n1"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((500, {"error": "the disk is full"}), "the disk is full"),
        ((200, ["what"]), "is no JSON object"),
        ((200, {"zone": "a"}), "cannot be read"),
        ((200, {"providerID": "x", "addresses": [{"type": "IP", "address": "1"}]}), "address type 'IP'"),
    ],
    ids=["error", "list", "no-id", "address"],
)
async def test_a_program_that_answers_wrongly_is_told_so(answer: Any, words: str) -> None:
    app, _ = answering("instances", answers={"POST /v1/machine": answer})
    async with program(app) as url:
        provider = await RemoteProvider.open(url)
        with pytest.raises(CloudError, match=words):
            await provider.machine(NodeRef("n1"))
        await provider.close()


async def test_a_machine_is_gone_only_when_the_program_says_so() -> None:
    app, _ = answering("instances", answers={"POST /v1/machine": (404, {})})
    async with program(app) as url:
        provider = await RemoteProvider.open(url)
        assert await provider.machine(NodeRef("n1")) is None
        await provider.close()
    for beside in ({"features": [], "name": "other"}, (404, {"message": "no route"})):
        app, answers = answering_two(beside)
        async with program(app) as url:
            provider = await RemoteProvider.open(url)
            answers.clear()
            with pytest.raises(CloudError):  # a proxy's answer, while the cloud is away
                await provider.machine(NodeRef("n1"))
            await provider.close()
    page = web.Application()
    async with program(page) as url, aiohttp.ClientSession() as session:
        with pytest.raises(CloudError):  # 404 as a page: another server stands there
            await RemoteProvider(url, session).machine(NodeRef("n1"))
    with pytest.raises(CloudError, match="does not answer"):
        await RemoteProvider.open(url)


# --- the real API ---------------------------------------------------------------------------------------------------


async def test_on_the_real_api_a_node_is_initialised_routed_and_balanced_to(tmp_path: Path) -> None:
    """The whole program's work, with the file that the documentation shows."""
    data = yaml.safe_load((Path(__file__).parents[3] / "examples" / "cloud" / "machines.yaml").read_text())
    provider = local(tmp_path, **data)
    async with Server(ServerConfig(listen=False, openapi=False)) as server:
        admin = Client(server.local_transport())
        new = {"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"}
        spec = {"taints": [new], "podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]}
        await admin.create(NODES, {"metadata": {"name": "n1"}, "spec": spec})
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        await admin.patch(NODES, "n1", {"status": ready}, subresource="status")
        wanted = {"type": "LoadBalancer", "ports": [{"port": 80}]}
        await admin.create(SERVICES, {"metadata": {"name": "web", "namespace": "default"}, "spec": wanted})
        settings = Settings(cluster_cidrs=("10.244.0.0/16",), node_monitor_seconds=0.05, route_seconds=0.05)
        chance = random.Random(1)
        work = asyncio.ensure_future(run_cloud_controllers(admin, provider, settings, clock=CLOCK, random=chance))
        seen = InformerFactory(Client(server.local_transport()), random=chance)
        following = asyncio.ensure_future(seen.run())
        try:
            async with asyncio.timeout(40):
                nodes, services = seen.informer(NODES), seen.informer(SERVICES)
                await nodes.wait_until(lambda: _settled(nodes.get("", "n1")))
                await services.wait_until(
                    lambda: (
                        (services.get("default", "web") or {}).get("status", {}).get("loadBalancer", {}).get("ingress")
                    )
                )
                made = await admin.get(NODES, "n1")
                assert made["spec"]["providerID"] == "rack://n1"
                assert made["metadata"]["labels"]["topology.kubernetes.io/zone"] == "a"
                assert {"type": "ExternalIP", "address": "203.0.113.1"} in made["status"]["addresses"]
                service_now = await admin.get(SERVICES, "web", "default")
                assert service_now["status"]["loadBalancer"]["ingress"][0]["ip"] == "198.51.100.10"
                await admin.delete(SERVICES, "web", "default")
                await services.wait_until(lambda: services.get("default", "web") is None)
                assert provider.state()["balancers"] == {}
                (tmp_path / "cloud.yaml").write_text(yaml.safe_dump({**data, "machines": data["machines"][1:]}))
                off = {"conditions": [{"type": "Ready", "status": "Unknown"}]}
                await admin.patch(NODES, "n1", {"status": off}, subresource="status")
                await nodes.wait_until(lambda: nodes.get("", "n1") is None)
        finally:
            await tasks.cancel_and_wait(work, following)


def _settled(found: Obj | None) -> bool:
    """Initialised, and told of its route."""
    if found is None or has_taint(found, UNINITIALIZED):
        return False
    conditions = {each["type"]: each["status"] for each in found["status"].get("conditions") or []}
    return conditions.get("NetworkUnavailable") == "False"
