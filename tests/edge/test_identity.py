"""The edge of one node against an API server, as itself: it reads what it serves, and no other Secret."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from edge_identity import edge_client
from ingress_world import NGINX, Obj, ingress, path, rule, service

from sampan.api.errors import Forbidden, NotFound
from sampan.api.resources import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, INGRESSES, SECRETS, Resource
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.edge.gateway import names
from sampan.edge.gateway.install import install
from sampan.edge.ingress.reading import Look, read
from sampan.edge.secrets import Secrets
from sampan.testing.api import Api, api_server


@contextlib.asynccontextmanager
async def cluster() -> AsyncIterator[tuple[Api, Client]]:
    async with api_server() as api:
        edge = await edge_client(api)
        for name in ("shown", "other"):
            await make(api, SECRETS, name, data={"key": "eA=="})
        yield api, edge


async def make(api: Api, resource: Resource, name: str, namespace: str = "default", **fields: Any) -> Obj:
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, **fields}
    obj["metadata"] = {**fields.get("metadata", {}), "name": name}
    made: Obj = await api.client.create(resource, obj, namespace=namespace if resource.namespaced else None)
    return made


async def refused(asked: Awaitable[object]) -> str:
    with pytest.raises(Forbidden) as caught:
        await asked
    return caught.value.message


async def until_served(write: Callable[[], Awaitable[Obj]]) -> Obj:
    """A definition is served a moment after it was made."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await write()
            except NotFound:
                await asyncio.sleep(0.02)


async def until_gone(read: Callable[[], Awaitable[Obj]]) -> None:
    async with asyncio.timeout(20):
        with contextlib.suppress(NotFound):
            while True:
                await read()
                await asyncio.sleep(0.02)


async def short_name(api: Api, name: str) -> Obj:
    """What discovery says once Gateways have it. Raises NotFound before."""
    found: Obj = await api.client.transport.call(Call("GET", f"/apis/{names.GROUP}/v1"))
    if not any(name in (each.get("shortNames") or ()) for each in found["resources"]):
        raise NotFound("not yet")
    return found


def named(client: Client, name: str, resource: Resource = SECRETS) -> Awaitable[Obj]:
    return client.list(resource, "default", field_selector=f"metadata.name={name}")


async def test_the_edge_reads_the_secret_of_an_ingress_and_is_refused_every_other() -> None:
    async with cluster() as (api, edge):
        spec = {"tls": [{"secretName": "shown"}], "rules": [rule("a.io", path("/", "web"))]}
        assert "no Ingress, Gateway" in await refused(edge.get(SECRETS, "shown", "default"))
        await make(api, INGRESSES, "web", spec=spec)
        assert (await edge.get(SECRETS, "shown", "default"))["data"] == {"key": "eA=="}
        (found,) = (await named(edge, "shown"))["items"]
        revision = found["metadata"]["resourceVersion"]
        async with edge.watch(
            SECRETS, "default", resource_version=revision, field_selector="metadata.name=shown"
        ) as events:
            await api.client.patch(SECRETS, "shown", {"data": {"key": "eQ=="}}, "default")
            async for event in events:
                assert event.object["data"] == {"key": "eQ=="}
                break
        for asked in (
            edge.get(SECRETS, "other", "default"),
            named(edge, "other"),
            edge.list(SECRETS, "default"),
            edge.list(SECRETS),
            edge.list(CONFIG_MAPS),
            edge.list(SECRETS, field_selector="metadata.name=shown"),
            edge.patch(SECRETS, "shown", {"data": {}}, "default"),
        ):
            await refused(asked)
        await api.client.delete(INGRESSES, "web", "default")
        await refused(edge.get(SECRETS, "shown", "default"))


async def test_the_edge_cannot_make_an_ingress_refer_to_a_secret_by_writing_its_status() -> None:
    async with cluster() as (api, edge):
        made = await make(api, INGRESSES, "web", spec={"rules": [rule("a.io", path("/", "web"))]})
        made["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        made = await edge.update_status(INGRESSES, made)
        made["metadata"]["annotations"] = {f"{NGINX}auth-secret": "other"}
        assert "may not change their annotations" in await refused(edge.update_status(INGRESSES, made))
        assert "no Ingress" in await refused(edge.get(SECRETS, "other", "default"))
        made["metadata"].pop("annotations")
        made["spec"]["tls"] = [{"secretName": "other"}]
        await edge.update_status(INGRESSES, made)
        await refused(edge.get(SECRETS, "other", "default"))


async def test_the_edge_follows_gateways_whose_definitions_come_and_go() -> None:
    async with cluster() as (api, edge):
        await refused(named(edge, "shown"))
        await install(api.client)
        tls = {"certificateRefs": [{"name": "shown"}]}
        spec = {"gatewayClassName": "x", "listeners": [{"name": "a", "port": 443, "protocol": "HTTPS", "tls": tls}]}
        made = await until_served(lambda: make(api, names.GATEWAYS, "edge", spec=spec))
        assert (await named(edge, "shown"))["items"]
        made["metadata"]["annotations"] = {"x": "y"}
        made["spec"]["listeners"][0]["tls"]["certificateRefs"][0]["name"] = "other"
        await edge.update_status(names.GATEWAYS, made)
        await refused(named(edge, "other"))
        definition = f"gateways.{names.GROUP}"
        await api.client.patch(CUSTOM_RESOURCE_DEFINITIONS, definition, {"spec": {"names": {"shortNames": ["door"]}}})
        await until_served(lambda: short_name(api, "door"))
        assert (await named(edge, "shown"))["items"]
        spec["listeners"][0]["tls"] = {"certificateRefs": [{"name": "other"}]}
        await make(api, names.GATEWAYS, "second", spec=spec)
        assert (await named(edge, "other"))["items"]
        await make(api, CONFIG_MAPS, "roots")
        await refused(named(edge, "roots", CONFIG_MAPS))
        validation = {"hostname": "a.io", "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "roots"}]}
        target = {"group": "", "kind": "Service", "name": "web"}
        policy = {"targetRefs": [target], "validation": validation}
        await until_served(lambda: make(api, names.BACKEND_TLS_POLICIES, "web", spec=policy))
        assert (await named(edge, "roots", CONFIG_MAPS))["items"]
        await api.client.delete(names.GATEWAYS, "edge", "default")
        await refused(named(edge, "shown"))
        await api.client.delete(CUSTOM_RESOURCE_DEFINITIONS, definition)
        await until_gone(lambda: api.client.list(names.GATEWAYS))
        await refused(named(edge, "other"))


async def test_secrets_are_followed_as_ingresses_refer_to_them() -> None:
    """A reference that was just made is not refused, so that nothing waits for a retry."""
    async with cluster() as (api, edge):
        own = InformerFactory(edge)
        changed = asyncio.Event()
        secrets = Secrets(edge, lambda *_: changed.set())

        def refer(_kind: str, obj: Obj, _previous: Obj | None) -> None:
            secrets.want([("default", each["secretName"]) for each in obj["spec"]["tls"]])

        own.informer(INGRESSES).add_handler(refer)
        async with asyncio.TaskGroup() as group:
            jobs = [group.create_task(own.run()), group.create_task(secrets.run())]
            await own.informer(INGRESSES).synced()
            spec = {"tls": [{"secretName": "shown"}], "rules": [rule("a.io", path("/", "web"))]}
            await make(api, INGRESSES, "web", spec=spec)
            async with asyncio.timeout(20):
                await changed.wait()
            for job in jobs:
                job.cancel()
        assert isinstance(secrets.get("default", "shown"), dict)


async def test_what_is_read_of_an_ingress_is_what_may_be_read() -> None:
    """The authorizer and the reader of Ingresses name the same Secrets."""
    annotations = {"auth-type": "basic", "auth-secret": "users", "proxy-ssl-secret": "default/client"}
    annotations |= {"backend-protocol": "HTTPS"}
    obj = ingress("web", rule("a.io", path("/", "web")), annotations=annotations, tls=[{"secretName": "shown"}])
    look = Look(lambda *_: service("web"), lambda *_: (), lambda *_: None)
    read(obj, look)
    assert look.secrets_asked == {("default", name) for name in ("users", "client", "shown")}
    async with cluster() as (api, edge):
        await api.client.create(INGRESSES, {**obj, "metadata": {**obj["metadata"], "uid": ""}})
        for namespace, name in look.secrets_asked:
            await edge.list(SECRETS, namespace, field_selector=f"metadata.name={name}")
