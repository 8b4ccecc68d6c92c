"""The small controllers against the real API server, each with the rights of its role."""

import asyncio
import base64
import random

import pytest

from sampan.api.clock import SystemClock
from sampan.api.errors import NotFound
from sampan.api.resources import CONFIG_MAPS, NODES, SECRETS, SERVICE_CIDRS
from sampan.client.client import Client
from sampan.controllers.context import ControllersConfig
from sampan.controllers.manager import run_controllers
from sampan.server.app import Server
from sampan.server.config import ServerConfig

pytestmark = pytest.mark.timeout(60)  # a whole control plane starts


def token(identity, expiration=""):
    said = {"token-id": identity, "token-secret": "s", "usage-bootstrap-signing": "true", "expiration": expiration}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in said.items()}
    metadata = {"name": f"bootstrap-token-{identity}", "namespace": "kube-system"}
    return {"metadata": metadata, "type": "bootstrap.kubernetes.io/token", "data": data}


async def until(condition):
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110  # the server runs on this loop: this lets it work
            await asyncio.sleep(0)


async def test_ranges_nodes_and_tokens_are_looked_after_with_the_rights_of_their_roles():
    async with Server(ServerConfig(listen=False, openapi=False)) as server:
        admin = Client(server.local_transport())
        config = ControllersConfig(disabled=frozenset())
        work = asyncio.ensure_future(
            run_controllers(
                admin,
                clock=SystemClock(),
                random=random.Random(1),
                config=config,
                client_for=lambda name: Client(server.local_transport(f"system:serviceaccount:kube-system:{name}")),
            )
        )
        try:
            await admin.create(SERVICE_CIDRS, {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.99.0.0/24"]}})
            await admin.create(NODES, {"metadata": {"name": "n"}})
            info = {"metadata": {"name": "cluster-info", "namespace": "kube-public"}, "data": {"kubeconfig": "k"}}
            await admin.create(CONFIG_MAPS, info)
            await admin.create(SECRETS, token("aaaaaa"))
            await admin.create(SECRETS, token("bbbbbb", "2020-01-01T00:00:00Z"))

            async def ready():
                status = (await admin.get(SERVICE_CIDRS, "more")).get("status") or {}
                return [each["status"] for each in status.get("conditions") or ()] == ["True"]

            async def annotated():
                annotations = (await admin.get(NODES, "n"))["metadata"].get("annotations") or {}
                return annotations.get("node.alpha.kubernetes.io/ttl") == "0"

            async def signed():
                data = (await admin.get(CONFIG_MAPS, "cluster-info", "kube-public"))["data"]
                return set(data) == {"kubeconfig", "jws-kubeconfig-aaaaaa"}

            async def over():
                try:
                    await admin.get(SECRETS, "bootstrap-token-bbbbbb", "kube-system")
                except NotFound:
                    return True
                return False

            for wanted in (ready, annotated, signed, over):
                await until(wanted)
            guarded = await admin.get(SERVICE_CIDRS, "more")
            assert guarded["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]
            await admin.delete(SERVICE_CIDRS, "more")
            assert (await admin.get(SERVICE_CIDRS, "more"))["metadata"]["deletionTimestamp"], "guarded for ten seconds"
        finally:
            work.cancel()
            await asyncio.wait([work])
