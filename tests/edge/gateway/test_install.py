"""A cluster has the Gateway API's kinds, and what somebody else installed of it stays theirs."""

from __future__ import annotations

import asyncio
from random import Random

from sampan.api.resources import CUSTOM_RESOURCE_DEFINITIONS, NODES, Resource
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.edge.gateway import names
from sampan.edge.gateway.definitions import BUNDLE_VERSION, definitions
from sampan.edge.gateway.install import INSTALLED_KEY, install, install_class, install_when_ready
from sampan.server.app import Server
from sampan.server.config import ServerConfig

GROUP = "gateway.networking.k8s.io"


async def test_all_kinds_are_served_after_the_first_ready_node_and_a_second_start_changes_nothing() -> None:
    async with Server(ServerConfig(listen=False, random=Random(1))) as server:
        client = Client(server.local_transport())
        installing = asyncio.ensure_future(install_when_ready(client, with_class=True))
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
        await client.create(NODES, node)
        ready = {"type": "Ready", "status": "True"}
        await client.patch(NODES, "n", {"status": {"conditions": [ready]}}, subresource="status")
        await installing
        found = await client.list(CUSTOM_RESOURCE_DEFINITIONS)
        assert {each["spec"]["names"]["kind"] for each in found["items"]} >= {
            "GatewayClass", "Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "ReferenceGrant", "BackendTLSPolicy",
        }  # fmt: skip
        await install(client)
        again = await client.list(CUSTOM_RESOURCE_DEFINITIONS)
        assert {each["metadata"]["generation"] for each in again["items"]} == {1}
        found_class = await client.get(names.GATEWAY_CLASSES, "sampan")
        assert found_class["spec"]["controllerName"] == "sampan.io/gateway-controller"
        told = {each["type"]: each["status"] for each in found_class["status"]["conditions"]}
        assert told == {"Accepted": "True"}  # though the edge is nowhere before there is a Gateway
        await install_class(client)
        assert await client.get(names.GATEWAY_CLASSES, "sampan") == found_class
        spec = {"gatewayClassName": "x", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}
        gateway = {"apiVersion": f"{GROUP}/v1", "kind": "Gateway", "metadata": {"name": "g"}, "spec": spec}
        made = await client.create(names.GATEWAYS, gateway | {"status": {"conditions": []}}, namespace="default")
        waiting = [(each["type"], each["status"], each["reason"]) for each in made["status"]["conditions"]]
        assert waiting == [("Accepted", "Unknown", "Pending"), ("Programmed", "Unknown", "Pending")]
        assert await client.get(names.GATEWAYS, "g", "default") == made
        route = {"apiVersion": f"{GROUP}/v1", "kind": "HTTPRoute", "metadata": {"name": "r"}, "spec": {}}
        made = await client.create(Resource(GROUP, "v1", "httproutes", "HTTPRoute", True), route, namespace="default")
        assert made["spec"]["rules"] == [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]


async def test_a_definition_that_is_there_already_is_left_alone() -> None:
    async with Server(ServerConfig(listen=False, random=Random(1))) as server:
        client = Client(server.local_transport())
        theirs = next(each for each in definitions() if each["spec"]["names"]["kind"] == "HTTPRoute")
        theirs["metadata"]["annotations"][f"{GROUP}/bundle-version"] = "v1.1.0"
        theirs["spec"]["versions"] = theirs["spec"]["versions"][:1]
        whole = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", **theirs}
        await client.create(CUSTOM_RESOURCE_DEFINITIONS, whole)
        await install(client)
        now = await client.get(CUSTOM_RESOURCE_DEFINITIONS, f"httproutes.{GROUP}")
        assert [each["name"] for each in now["spec"]["versions"]] == ["v1"]
        assert now["metadata"]["annotations"][f"{GROUP}/bundle-version"] == "v1.1.0"


async def applied(client: Client, kind: str, release: str, *, ours: bool) -> None:
    """As ``kubectl apply --server-side`` does, or as this did in another release."""
    definition = next(each for each in definitions() if each["spec"]["names"]["kind"] == kind)
    definition["metadata"]["annotations"][f"{GROUP}/bundle-version"] = release
    if ours:
        definition["metadata"]["annotations"][INSTALLED_KEY] = release
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = release
    whole = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", **definition}
    path = CUSTOM_RESOURCE_DEFINITIONS.path(None, definition["metadata"]["name"])
    await client.transport.call(Call("PATCH", path, {"fieldManager": "kubectl"}, whole, "application/apply-patch+yaml"))


async def test_an_older_release_of_our_own_is_brought_forward_and_kubectl_applies_another_without_conflict() -> None:
    async with Server(ServerConfig(listen=False, random=Random(1))) as server:
        client = Client(server.local_transport())

        async def said(plural: str) -> tuple[str, str, bool]:
            found = await client.get(CUSTOM_RESOURCE_DEFINITIONS, f"{plural}.{GROUP}")
            notes = found["metadata"]["annotations"]
            prose = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"]
            return notes[f"{GROUP}/bundle-version"], prose, INSTALLED_KEY in notes

        await applied(client, "HTTPRoute", "v1.2.0", ours=True)
        await install(client)
        release, prose, ours = await said("httproutes")
        assert (release, ours) == (BUNDLE_VERSION, True)
        assert prose != "v1.2.0"
        await applied(client, "HTTPRoute", "v1.9.0", ours=False)
        await install(client)
        assert await said("httproutes") == ("v1.9.0", "v1.9.0", False)  # theirs from then on
