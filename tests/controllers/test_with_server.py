"""All controllers against the real API server in one process, each with its own RBAC role."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from sampan.api.clock import SystemClock
from sampan.api.errors import Forbidden, NotFound
from sampan.api.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from sampan.client.client import Client
from sampan.controllers.context import ControllersConfig
from sampan.controllers.manager import run_controllers
from sampan.server.app import Server
from sampan.server.config import ServerConfig

pytestmark = pytest.mark.timeout(120)  # a whole control plane starts


@asynccontextmanager
async def cluster(*, openapi=False):
    async with Server(ServerConfig(listen=False, openapi=openapi)) as server:
        admin = Client(server.local_transport())

        def account(name):
            return Client(server.local_transport(f"system:serviceaccount:kube-system:{name}"))

        started = asyncio.Event()
        config = ControllersConfig(root_ca_pem="PEM")
        work = asyncio.ensure_future(
            run_controllers(
                admin,
                clock=SystemClock(),
                random=random.Random(1),
                config=config,
                client_for=account,
                started=started,
            )
        )
        await started.wait()
        try:
            yield admin
        finally:
            work.cancel()
            await asyncio.wait([work])


async def until(condition):
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110  # the server runs on this loop: this lets it work
            await asyncio.sleep(0)


def web(image="v1"):
    container = {"name": "c", "image": image, "ports": [{"name": "http", "containerPort": 80}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    }


async def play_node(admin):
    """What scheduler and node agent would do, once over all pods."""
    for pod in (await admin.list(PODS, "default"))["items"]:
        name = pod["metadata"]["name"]
        if "deletionTimestamp" in pod["metadata"]:
            await admin.delete(PODS, name, "default", grace_period_seconds=0)
            continue
        if not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": "n1"}
            body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
            await admin.create(PODS, body, "default", name=name, subresource="binding")
        if pod["status"].get("phase") != "Running":
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            status = {
                "phase": "Running",
                "podIP": "10.244.0.9",
                "podIPs": [{"ip": "10.244.0.9"}],
                "conditions": [ready],
            }
            await admin.patch(PODS, name, {"status": status}, "default", subresource="status")


async def rolled_out(admin):
    await play_node(admin)
    found = await admin.get(DEPLOYMENTS, "web", "default")
    progress = [c for c in found.get("status", {}).get("conditions", ()) if c["type"] == "Progressing"]
    seen = found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]
    return seen and bool(progress) and progress[0]["reason"] == "NewReplicaSetAvailable"


async def test_a_deployment_lives_rolls_serves_and_goes():
    async with cluster() as admin:
        await admin.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}
        meta = {"name": "svc", "namespace": "default"}
        await admin.create(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        await admin.create(DEPLOYMENTS, web())
        await until(lambda: rolled_out(admin))
        patch = {"spec": {"template": web("v2")["spec"]["template"]}}
        await admin.patch(DEPLOYMENTS, "web", patch, "default")
        await until(lambda: rolled_out(admin))
        pods = (await admin.list(PODS, "default"))["items"]
        assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {"v2"}
        slices = (await admin.list(ENDPOINT_SLICES, "default", label_selector="kubernetes.io/service-name=svc"))[
            "items"
        ]
        assert sum(len(each["endpoints"]) for each in slices) == 3
        assert (await admin.get(NODES, "n1"))["spec"]["podCIDR"] == "10.244.0.0/24"
        await admin.delete(DEPLOYMENTS, "web", "default", propagation="Foreground")

        async def gone():
            await play_node(admin)
            return not any([(await admin.list(r, "default"))["items"] for r in (DEPLOYMENTS, REPLICA_SETS, PODS)])

        await until(gone)


async def test_a_quota_is_counted_by_a_controller_with_its_own_rights():
    async with cluster() as admin:
        meta = {"name": "q", "namespace": "default"}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"secrets": "1"}}}
        await admin.create(RESOURCE_QUOTAS, quota)

        async def counts(used):
            status = (await admin.get(RESOURCE_QUOTAS, "q", "default")).get("status", {})
            return status == {"hard": {"secrets": "1"}, "used": {"secrets": used}}

        await until(lambda: counts("0"))
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}}
        await admin.create(SECRETS, secret)
        assert await counts("1")
        with pytest.raises(Forbidden, match="exceeded quota: q, requested: secrets=1, used: secrets=1, limited"):
            await admin.create(SECRETS, {**secret, "metadata": {"name": "t", "namespace": "default"}})
        await admin.delete(SECRETS, "s", "default")
        await until(lambda: counts("0"))


async def test_a_namespace_is_furnished_and_removed_with_its_contents():
    async with cluster() as admin:
        await admin.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})

        async def furnished():
            accounts = (await admin.list(SERVICE_ACCOUNTS, "team"))["items"]
            return accounts and (await admin.list(CONFIG_MAPS, "team"))["items"]

        await until(furnished)
        await admin.delete(NAMESPACES, "team")

        async def gone():
            try:
                await admin.get(NAMESPACES, "team")
            except NotFound:
                return True
            return False

        await until(gone)
        assert (await admin.list(CONFIG_MAPS, "team"))["items"] == []


BOATS = Resource("example.com", "v1", "boats", "Boat", True)
BOAT_DEFINITION = {
    "metadata": {"name": "boats.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "boats", "kind": "Boat"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


async def with_boats(admin):
    """The definition is there, and its resource is served."""
    await admin.create(CUSTOM_RESOURCE_DEFINITIONS, BOAT_DEFINITION)

    async def served():
        try:
            await admin.list(BOATS, "default")
        except NotFound:
            return False
        return True

    await until(served)


async def test_custom_resources_own_and_are_owned_like_any_object():
    async with cluster() as admin:
        await with_boats(admin)
        ship = await admin.create(BOATS, {"metadata": {"name": "ship", "namespace": "default"}})
        owner = {"apiVersion": "example.com/v1", "kind": "Boat", "name": "ship", "uid": ship["metadata"]["uid"]}
        meta = {"namespace": "default", "ownerReferences": [{**owner, "blockOwnerDeletion": True}]}
        await admin.create(BOATS, {"metadata": {**meta, "name": "tender"}})
        await admin.create(CONFIG_MAPS, {"metadata": {**meta, "name": "log"}})
        await admin.delete(BOATS, "ship", "default", propagation="Foreground")

        async def gone():
            boats = (await admin.list(BOATS, "default"))["items"]
            maps = (await admin.list(CONFIG_MAPS, "default"))["items"]
            return not boats and "log" not in {found["metadata"]["name"] for found in maps}

        await until(gone)


async def test_a_namespace_ends_with_the_custom_resources_in_it():
    async with cluster() as admin:
        await with_boats(admin)
        await admin.create(NAMESPACES, {"metadata": {"name": "harbour"}})
        for number in range(5):
            await admin.create(BOATS, {"metadata": {"name": f"b{number}", "namespace": "harbour"}})
        await admin.delete(NAMESPACES, "harbour")

        async def gone():
            try:
                await admin.get(NAMESPACES, "harbour")
            except NotFound:
                return True
            return False

        await until(gone)
        assert (await admin.list(BOATS))["items"] == []


async def test_a_definition_goes_with_what_its_objects_own():
    async with cluster() as admin:
        await with_boats(admin)

        async def own(name):
            ship = await admin.create(BOATS, {"metadata": {"name": name, "namespace": "default"}})
            owner = {"apiVersion": "example.com/v1", "kind": "Boat", "name": name, "uid": ship["metadata"]["uid"]}
            meta = {"name": name, "namespace": "default", "ownerReferences": [owner]}
            await admin.create(CONFIG_MAPS, {"metadata": meta})

        async def gone():
            found = (await admin.list(CONFIG_MAPS, "default"))["items"]
            return not {"first", "second"} & {one["metadata"]["name"] for one in found}

        await own("first")
        await admin.delete(BOATS, "first", "default")
        await until(gone)  # from now on they are followed
        await own("second")
        await admin.delete(CUSTOM_RESOURCE_DEFINITIONS, "boats.example.com")
        await until(gone)


POLICIES = Resource(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False
)


async def test_a_policy_is_checked_against_types_of_built_in_kinds_and_custom_resources():
    rules = [
        {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["*"], "resources": [plural]}
        for group, plural in (("apps", "deployments"), ("example.com", "boats"))
    ]
    expressions = ["object.spec.replicas > 1", "object.metadata.name != ''"]
    spec = {
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": each} for each in expressions],
    }
    async with cluster(openapi=True) as admin:
        await with_boats(admin)
        await admin.create(POLICIES, {"metadata": {"name": "p"}, "spec": spec})

        async def checked():
            return (await admin.get(POLICIES, "p")).get("status", {}).get("observedGeneration") == 1

        await until(checked)
        warnings = (await admin.get(POLICIES, "p"))["status"]["typeChecking"]["expressionWarnings"]
    assert [each["fieldRef"] for each in warnings] == ["spec.validations[0].expression"]
    assert warnings[0]["warning"].startswith("example.com/v1, Kind=Boat: ERROR: <input>:1:7: undefined field 'spec'")
