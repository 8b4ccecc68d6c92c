"""Gateways through an API server: what is served follows the objects, and each object is told."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from edge_identity import edge_client
from edge_lab import ADDRESS, Answer, ask
from tests.edge.gateway import pem

from sampan.api.clock import SystemClock
from sampan.api.resources import CUSTOM_RESOURCE_DEFINITIONS, ENDPOINT_SLICES, NODES, SECRETS, SERVICES, Resource
from sampan.client import reflector
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.edge.config import EdgeConfig
from sampan.edge.edge import Edge
from sampan.edge.gateway import names
from sampan.edge.gateway.install import install
from sampan.edge.gateway.observed import Observed
from sampan.edge.gateway.plan import Plan
from sampan.edge.gateway.source import GatewaySource
from sampan.edge.merging import merge
from sampan.edge.model import Listener, Owner, Route, VirtualHost
from sampan.edge.source import Board, Served
from sampan.keeping.ending import Place, inside
from sampan.testing.api import Api, api_server

Obj = dict[str, Any]


@pytest.fixture(autouse=True)
def ask_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not served is asked for again at once, and not after half a minute."""
    monkeypatch.setattr(reflector, "_FAILURES_OF_THE_ABSENT", 0)


@dataclass
class Cluster:
    client: Client
    source: GatewaySource
    board: Board

    async def make(self, resource: Resource, name: str, namespace: str = "default", **fields: Any) -> Obj:
        meta = {"name": name} | ({"namespace": namespace} if resource.namespaced else {})
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, **fields}
        made: Obj = await self.client.create(resource, obj, namespace=namespace if resource.namespaced else None)
        return made

    async def service(self, name: str, port: int = 3000) -> None:
        await self.make(SERVICES, name, spec={"ports": [{"port": 80}]})
        await self.make(
            ENDPOINT_SLICES,
            name,
            addressType="IPv4",
            ports=[{"name": "", "port": port}],
            endpoints=[{"addresses": ["10.9.9.9"]}],
            metadata={"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        )

    async def web(self) -> None:
        """A Gateway with a route to a Service."""
        await self.make(names.GATEWAY_CLASSES, "sampan", spec={"controllerName": names.CONTROLLER})
        await self.service("web")
        await self.make(
            names.GATEWAYS,
            "edge",
            spec={"gatewayClassName": "sampan", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
        )
        await self.make(
            names.HTTP_ROUTES,
            "web",
            spec={"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]},
        )

    async def serve(self, served: Served | None = None) -> list[Any]:
        found = list(await self.source.listeners())
        await self.source.served(served or Served())
        return found

    async def until(self, holds: Callable[[], Any]) -> None:
        """Serves after each change, until it holds."""
        async with asyncio.timeout(20):
            while True:
                await self.serve()
                if await holds():
                    return
                await self.board.news()
                self.board.take()

    async def quiet(self) -> None:
        """Returns when serving again writes nothing."""
        async with asyncio.timeout(20):
            before: list[str] = []
            while (now := await self._versions()) != before:
                before = now
                await self.serve()
                await asyncio.sleep(0.02)  # until what was written has come back

    async def _versions(self) -> list[str]:
        objects = [
            await self.client.get(names.GATEWAY_CLASSES, "sampan"),
            await self.client.get(names.GATEWAYS, "edge", "default"),
            await self.client.get(names.HTTP_ROUTES, "web", "default"),
        ]
        return [each["metadata"]["resourceVersion"] for each in objects]

    async def told(self, resource: Resource, name: str) -> dict[str, tuple[str, str]]:
        obj = await self.client.get(resource, name, "default" if resource.namespaced else None)
        holder = obj.get("status") or {}
        if resource in (names.HTTP_ROUTES, names.GRPC_ROUTES, names.TLS_ROUTES):
            holder = (holder.get("parents") or [{}])[0]
        return {each["type"]: (each["status"], each["reason"]) for each in holder.get("conditions") or []}


def config(folder: Path) -> EdgeConfig:
    return EdgeConfig(folder / "edge", folder / "run", folder / "log", "test", "node", ADDRESS)


@contextlib.asynccontextmanager
async def cluster(api: Api, folder: Path) -> AsyncIterator[Cluster]:
    shared = InformerFactory(api.client)
    source = GatewaySource(await edge_client(api), shared, config(folder), SystemClock())
    board = Board()
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(shared.run()), group.create_task(source.run(board))]
        while not board.has_said(source.name):
            await board.news()
            board.take()
        yield Cluster(api.client, source, board)
        for task in running:
            task.cancel()


async def test_objects_are_told_and_a_write_of_ours_is_no_news(tmp_path: Path) -> None:
    async with api_server() as api:
        await install(api.client)
        async with cluster(api, tmp_path) as here:
            await here.web()

            async def accepted() -> bool:
                told = await here.told(names.HTTP_ROUTES, "web")
                return told.get("ResolvedRefs") == ("True", "ResolvedRefs")

            await here.until(accepted)
            assert (await here.told(names.GATEWAY_CLASSES, "sampan"))["Accepted"] == ("True", "Accepted")
            assert (await here.told(names.GATEWAYS, "edge"))["Programmed"] == ("True", "Programmed")
            (found,) = await here.serve()
            (route,) = found.hosts[0].routes
            assert [(each.address, each.port) for each in route.backends[0].backend.endpoints] == [("10.9.9.9", 3000)]
            await here.quiet()
            missing = Served(missing="HAProxy is not installed")
            await here.serve(missing)
            assert (await here.told(names.GATEWAYS, "edge"))["Programmed"] == ("False", "NoResources")


async def test_of_several_nodes_the_first_that_is_ready_writes_statuses(tmp_path: Path) -> None:
    async with api_server() as api:
        await install(api.client)
        for name, address in (("first", "127.0.0.2"), ("this", ADDRESS)):
            await api.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
            status = {"addresses": [{"type": "InternalIP", "address": address}]}
            status |= {"conditions": [{"type": "Ready", "status": "True"}]} if name == "first" else {}
            await api.client.patch(NODES, name, {"status": status}, subresource="status")
        async with cluster(api, tmp_path) as here:
            await here.web()

            async def served() -> bool:
                return bool(await here.serve())

            await here.until(served)
            told = await here.told(names.GATEWAYS, "edge")
            assert told.get("Programmed", ("Unknown", ""))[0] == "Unknown"


@pytest.mark.parametrize("where", (ADDRESS, ""), ids=("one address", "all"))  # alike in every process of a run
async def test_a_port_that_ingresses_have_by_another_protocol_is_told(tmp_path: Path, where: str) -> None:
    async with api_server() as api:
        await install(api.client)
        async with cluster(api, tmp_path) as here:
            await here.web()

            async def served() -> bool:
                return bool(await here.serve())

            await here.until(served)
            gateways = [dataclasses.replace(each, address=where) for each in await here.serve()]
            route = Route("ingress", Owner("networking.k8s.io/v1", "Ingress", "default", "web"))
            theirs = Listener("ingress", 80, "https", hosts=(VirtualHost("", (route,)),))
            _, problems = merge([theirs, *gateways])
            await here.serve(Served({each.owner: [each.text] for each in problems}))
            told = (await api.client.get(names.GATEWAYS, "edge", "default"))["status"]["listeners"]
            assert [each["conditions"][0]["reason"] for each in told] == ["PortUnavailable"]


async def test_endpoints_that_move_are_told_without_the_rest(tmp_path: Path) -> None:
    async with api_server() as api:
        await install(api.client)
        async with cluster(api, tmp_path) as here:
            await here.web()

            async def served() -> bool:
                found = await here.serve()
                return bool(found and found[0].hosts and found[0].hosts[0].routes[0].backends[0].backend)

            await here.until(served)
            await here.quiet()
            here.board.take()
            slices = await api.client.get(ENDPOINT_SLICES, "web", "default")
            slices["endpoints"] = [{"addresses": ["10.9.9.8"]}]
            await api.client.update(ENDPOINT_SLICES, slices)
            moves: dict[str, Any] = {}
            async with asyncio.timeout(10):
                while not moves:
                    await here.board.news()
                    _, moves = here.board.take()
            assert {name: [each.address for each in found] for name, found in moves.items()} == {
                "gateway/default/web:80/http": ["10.9.9.8"]
            }


async def test_definitions_may_come_later_and_go_and_secrets_are_read_by_name(tmp_path: Path) -> None:
    async with api_server() as api, cluster(api, tmp_path) as here:
        assert await here.serve() == []
        await install(api.client)
        await here.make(names.GATEWAY_CLASSES, "sampan", spec={"controllerName": names.CONTROLLER})
        tls = {"certificateRefs": [{"name": "pair"}]}
        await here.make(
            names.GATEWAYS,
            "edge",
            spec={
                "gatewayClassName": "sampan",
                "listeners": [{"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls}],
            },
        )

        async def refused() -> bool:
            told = await here.told(names.GATEWAYS, "edge")
            return told.get("Programmed") == ("False", "Invalid")

        async def programmed() -> bool:
            return (await here.told(names.GATEWAYS, "edge")).get("Programmed") == ("True", "Programmed")

        await here.until(refused)
        secret = pem.secret("pair", "default", *pem.pair())
        await here.make(SECRETS, "pair", type=secret["type"], data=secret["data"])
        await here.until(programmed)
        await api.client.delete(CUSTOM_RESOURCE_DEFINITIONS, f"gateways.{names.GROUP}")

        async def empty() -> bool:
            return not await here.serve()

        await here.until(empty)


async def _moved(here: Cluster, address: str) -> dict[str, Any]:
    """What the board is told of an endpoint's move."""
    here.board.take()
    slices = await here.client.get(ENDPOINT_SLICES, "web", "default")
    slices["endpoints"] = [{"addresses": [address]}]
    await here.client.update(ENDPOINT_SLICES, slices)
    moves: dict[str, Any] = {}
    async with asyncio.timeout(10):
        while not moves:
            await here.board.news()
            _, moves = here.board.take()
    return moves


async def _backend_found(here: Cluster) -> bool:
    found = await here.serve()
    return bool(found and found[0].hosts and found[0].hosts[0].routes[0].backends)


async def test_endpoints_are_followed_though_who_serves_them_was_started_again(tmp_path: Path) -> None:
    async with api_server() as api:
        await install(api.client)
        async with cluster(api, tmp_path) as here:
            await here.web()
            with inside(Place("serving", None)):
                await here.until(lambda: _backend_found(here))
            assert list(await _moved(here, "10.9.9.8")) == ["gateway/default/web:80/http"]


async def test_a_service_is_followed_as_long_as_one_route_leads_there(tmp_path: Path) -> None:
    async with api_server() as api:
        await install(api.client)
        async with cluster(api, tmp_path) as here:
            await here.web()
            web = await api.client.get(names.HTTP_ROUTES, "web", "default")
            await here.make(names.HTTP_ROUTES, "again", spec=web["spec"])
            await here.until(lambda: _backend_found(here))
            following = here.source._following
            assert following is not None
            routes = following._informers["HTTPRoute"]
            await routes.wait_until(lambda: len(routes.list()) == 2)
            await api.client.delete(names.HTTP_ROUTES, "again", "default")
            await routes.wait_until(lambda: len(routes.list()) == 1)
            assert list(await _moved(here, "10.9.9.8")) == ["gateway/default/web:80/http"]
            await api.client.delete(names.HTTP_ROUTES, "web", "default")
            await routes.wait_until(lambda: not routes.list())
            assert following._services == {}


async def test_a_status_that_met_a_change_of_labels_is_written_again(tmp_path: Path) -> None:
    async with api_server() as api:
        await install(api.client)
        async with cluster(api, tmp_path) as here:
            await here.web()

            async def programmed() -> bool:
                return (await here.told(names.GATEWAYS, "edge")).get("Programmed") == ("True", "Programmed")

            await here.until(programmed)
            await here.quiet()
            await here.source.listeners()
            here.board.take()
            following = here.source._following
            assert following is not None
            labels = {"metadata": {"labels": {"a": "b"}}}
            made = await api.client.patch(names.GATEWAYS, "edge", labels, "default")
            await following._informers["Gateway"].wait_for(int(made["metadata"]["resourceVersion"]))
            assert not here.board.take()[0]  # of no matter to a plan
            await here.source.served(Served(missing="it is away"))
            assert await programmed()
            assert here.board.take()[0]
            await here.serve(Served(missing="it is away"))
            assert (await here.told(names.GATEWAYS, "edge"))["Programmed"] == ("False", "NoResources")


async def test_endpoints_that_move_while_a_plan_is_made_are_planned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api_server() as api:
        await install(api.client)
        async with cluster(api, tmp_path) as here:
            await here.web()
            planned = here.source._planned
            seen: list[str] = []

            async def slow(observed: Observed) -> Plan:
                made = await planned(observed)
                if observed.slices.get(("default", "web")) and not seen:
                    seen.append("moves")
                    slices = await api.client.get(ENDPOINT_SLICES, "web", "default")
                    slices["endpoints"] = [{"addresses": ["10.9.9.8"]}]
                    here.board.take()
                    changed = await api.client.update(ENDPOINT_SLICES, slices)
                    informer = here.source._shared.informer(ENDPOINT_SLICES)
                    await informer.wait_for(int(changed["metadata"]["resourceVersion"]))
                return made

            monkeypatch.setattr(here.source, "_planned", slow)
            async with asyncio.timeout(10):
                while not seen:
                    await here.source.listeners()
                    if not seen:
                        await here.board.news()
                        here.board.take()
                await here.board.news()
            assert here.board.take()[0]


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")
async def test_a_request_goes_through_gateway_and_route(tmp_path: Path) -> None:
    async with api_server() as api:
        await install(api.client)
        address = {"type": "InternalIP", "address": ADDRESS}
        await api.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}})
        await api.client.patch(NODES, "node", {"status": {"addresses": [address]}}, subresource="status")
        shared = InformerFactory(api.client)
        source = GatewaySource(await edge_client(api), shared, config(tmp_path), SystemClock())
        edge = Edge(config(tmp_path), [source], SystemClock(), ends_with=lambda: True)
        here = Cluster(api.client, source, Board())
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(shared.run()), group.create_task(edge.run())]
            await here.make(names.GATEWAY_CLASSES, "sampan", spec={"controllerName": names.CONTROLLER})
            listeners = [{"name": "http", "port": 18090, "protocol": "HTTP"}]
            spec = {"gatewayClassName": "sampan", "listeners": listeners, "addresses": [{"value": ADDRESS}]}
            await here.make(names.GATEWAYS, "edge", spec=spec)
            moved = {"type": "RequestRedirect", "requestRedirect": {"hostname": "new.example", "scheme": "https"}}
            await here.make(
                names.HTTP_ROUTES, "web", spec={"parentRefs": [{"name": "edge"}], "rules": [{"filters": [moved]}]}
            )
            answer = await _answered("old.example", 18090)
            assert (answer.status, answer.headers["location"]) == (302, "https://new.example/")
            for task in running:
                task.cancel()


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")
async def test_a_port_of_another_program_is_told_with_the_listener_and_others_are_served(tmp_path: Path) -> None:
    async with api_server() as api:
        await install(api.client)
        address = {"type": "InternalIP", "address": ADDRESS}
        await api.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}})
        await api.client.patch(NODES, "node", {"status": {"addresses": [address]}}, subresource="status")
        shared = InformerFactory(api.client)
        source = GatewaySource(await edge_client(api), shared, config(tmp_path), SystemClock())
        edge = Edge(config(tmp_path), [source], SystemClock(), ends_with=lambda: True)
        here = Cluster(api.client, source, Board())
        other = await asyncio.start_server(lambda reader, writer: None, ADDRESS, 18091)
        async with other, asyncio.TaskGroup() as group:
            running = [group.create_task(shared.run()), group.create_task(edge.run())]
            await here.make(names.GATEWAY_CLASSES, "sampan", spec={"controllerName": names.CONTROLLER})
            listeners = [{"name": f"p{port}", "port": port, "protocol": "HTTP"} for port in (18091, 18092)]
            spec = {"gatewayClassName": "sampan", "listeners": listeners, "addresses": [{"value": ADDRESS}]}
            await here.make(names.GATEWAYS, "edge", spec=spec)
            async with asyncio.timeout(30):
                while True:
                    if (await here.told(names.GATEWAYS, "edge")).get("Accepted") == ("True", "ListenersNotValid"):
                        break
                    await asyncio.sleep(0.05)
            told = (await api.client.get(names.GATEWAYS, "edge", "default"))["status"]["listeners"]
            accepted = {each["name"]: each["conditions"][0]["reason"] for each in told}
            assert accepted == {"p18091": "PortUnavailable", "p18092": "Accepted"}
            for task in running:
                task.cancel()


async def _answered(host: str, port: int) -> Answer:
    """By the route: there is none for a moment."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                answer = await ask(host, "/", port=port)
                if answer.status != 404:
                    return answer
            await asyncio.sleep(0.05)
