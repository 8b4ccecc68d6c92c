"""A server that serves more or less than by default: what clients, discovery, OpenAPI and controllers see of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sampan.api.clock import SystemClock
from sampan.api.errors import NotFound
from sampan.api.registry import registry
from sampan.api.resources import NAMESPACES
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.controllers.context import ControllersConfig
from sampan.controllers.manager import run_controllers
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.openapi import build
from sampan.server.openapi.custom import shared_definitions
from sampan.server.openapi.merged import shared_from

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
WORKLOADS = "scheduling.k8s.io/v1beta1=true"
GANGS = "GenericWorkload=true"
WORKLOAD = {
    "metadata": {"name": "w", "namespace": "default"},
    "spec": {"podGroupTemplates": [{"name": "g", "schedulingPolicy": {"basic": {}}}]},
}


@asynccontextmanager
async def serving(**options: str) -> AsyncIterator[Any]:
    config = ServerConfig(listen=False, openapi=False, random=random.Random(1), **options)  # type: ignore[arg-type]
    async with Server(config) as server:
        transport = server.local_transport()

        async def ask(method: str, path: str, obj: Any = None) -> Any:
            return await transport.call(Call(method, path, body=obj))

        ask.server = server  # type: ignore[attr-defined]
        yield ask


async def gone(client: Client, namespace: str, since: str) -> None:
    async with asyncio.timeout(30), client.watch(NAMESPACES, resource_version=since) as events:
        async for event in events:
            if (event.type, event.object["metadata"]["name"]) == ("DELETED", namespace):
                return


async def test_what_is_off_is_not_found_and_not_in_discovery() -> None:
    async with serving() as ask:
        with pytest.raises(NotFound):
            await ask("GET", "/apis/scheduling.k8s.io/v1beta1/workloads")
        groups = {group["name"] for group in (await ask("GET", "/apis"))["groups"]}
        assert "scheduling.k8s.io" in groups
        assert not groups & {"lifecycle.k8s.io", "internal.apiserver.k8s.io"}
        with pytest.raises(NotFound):
            await ask("GET", "/apis/lifecycle.k8s.io/v1alpha1")
        listed = await ask("GET", "/apis/apiregistration.k8s.io/v1/apiservices")
        assert "v1alpha1.lifecycle.k8s.io" not in {each["metadata"]["name"] for each in listed["items"]}


async def test_what_is_turned_on_is_served() -> None:
    async with serving(runtime_config=WORKLOADS, feature_gates=GANGS) as ask:
        path = "/apis/scheduling.k8s.io/v1beta1/namespaces/default/workloads"
        made = await ask("POST", path, WORKLOAD)
        assert made["kind"] == "Workload"
        resources = await ask("GET", "/apis/scheduling.k8s.io/v1beta1")
        assert "workloads" in {each["name"] for each in resources["resources"]}


async def test_the_field_of_a_gate_that_is_on_is_kept() -> None:
    pod = {
        "metadata": {"name": "p"},
        "spec": {
            "os": {"name": "linux"},
            "containers": [{"name": "c", "image": "i", "lifecycle": {"stopSignal": "SIGUSR1"}}],
        },
    }
    for gates, kept in (("", None), ("ContainerStopSignals=true", {"stopSignal": "SIGUSR1"})):
        async with serving(feature_gates=gates, disable_admission_plugins=("ServiceAccount",)) as ask:  # type: ignore[arg-type]
            made = await ask("POST", "/api/v1/namespaces/default/pods", pod)
            assert made["spec"]["containers"][0].get("lifecycle") == kept


LESS = sorted(
    {
        f"{kind.group}/v1=false"
        for kind in registry().kinds()
        if kind.version == "v1"
        and kind.group in ("apps", "batch", "autoscaling", "events.k8s.io", "storagemigration.k8s.io")
    }
)


@pytest.mark.parametrize("runtime_config", ["api/beta=false,api/alpha=false", *LESS, ",".join(LESS)])
async def test_a_server_without_what_it_can_do_without_starts(runtime_config: str) -> None:
    async with serving(runtime_config=runtime_config) as ask:
        assert (await ask("GET", "/api/v1/namespaces/default"))["status"] == {"phase": "Active"}


async def test_gates_of_kinds_can_be_turned_off() -> None:
    gates = "ClusterTrustBundle=false,ClusterTrustBundleProjection=false,PodCertificateRequest=false"
    async with serving(feature_gates=f"{gates},StorageVersionMigrator=false") as ask:
        resources = await ask("GET", "/apis/certificates.k8s.io/v1")
        assert {each["name"].partition("/")[0] for each in resources["resources"]} == {"certificatesigningrequests"}


@pytest.mark.parametrize(
    ("option", "text"), [("runtime_config", "nonsense/v1=true"), ("feature_gates", "Nonsense=true")]
)
async def test_a_server_does_not_start_with_what_it_does_not_understand(option: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"nonsense|Nonsense"):
        async with serving(**{option: text}):
            pass


async def test_a_gate_without_effect_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(feature_gates="CBORServingAndStorage=true"):
        assert "feature gates that change nothing here: CBORServingAndStorage" in caplog.text


async def test_the_gates_are_among_the_metrics() -> None:
    async with serving(feature_gates=GANGS) as ask:
        text = await ask("GET", "/metrics")
        text = text if isinstance(text, str) else bytes(text).decode()
        assert 'kubernetes_feature_enabled{name="GenericWorkload",stage="BETA"} 1.0' in text
        assert 'kubernetes_feature_enabled{name="ContainerStopSignals",stage="ALPHA"} 0.0' in text


def test_the_openapi_documents_are_of_what_is_served() -> None:
    names = {name for name, _ in build.documents("batch/v1=false")}
    assert "apis/apps/v1" in names
    assert not names & {"apis/batch/v1", "apis/lifecycle.k8s.io/v1alpha1"}
    names = {name for name, _ in build.documents("lifecycle.k8s.io/v1alpha1=true", "EvictionRequestAPI=true")}
    assert "apis/lifecycle.k8s.io/v1alpha1" in names


def test_custom_resources_find_what_they_share_with_built_in_kinds_where_apps_are_off() -> None:
    for runtime_config, name in (("", "apis/apps/v1"), ("apps/v1=false", "api/v1")):
        found = dict(build.documents(runtime_config))
        chosen = shared_from(dict.fromkeys(found, ""))
        assert chosen == name
        shared = shared_definitions(found[chosen])
        assert {f"{META}ObjectMeta", f"{META}DeleteOptions", "io.k8s.api.autoscaling.v1.Scale"} <= set(shared)


async def test_controllers_run_where_kinds_are_off_and_look_after_those_that_are_on() -> None:
    """All start though Jobs are not served; an object that is on by request goes with its namespace."""
    config = f"{WORKLOADS},batch/v1=false,api/beta=false"
    async with serving(runtime_config=config, feature_gates=GANGS) as ask:
        started = asyncio.Event()
        client = Client(ask.server.local_transport())
        work = asyncio.ensure_future(
            run_controllers(
                client, clock=SystemClock(), random=random.Random(1), config=ControllersConfig(), started=started
            )
        )
        try:
            await asyncio.wait_for(started.wait(), 30)
            made = await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
            path = "/apis/scheduling.k8s.io/v1beta1/namespaces/ns/workloads"
            await ask("POST", path, {**WORKLOAD, "metadata": {"name": "w"}})
            await ask("DELETE", "/api/v1/namespaces/ns")
            await gone(client, "ns", made["metadata"]["resourceVersion"])
            assert (await ask("GET", path.replace("namespaces/ns/", "")))["items"] == []
        finally:
            work.cancel()
            await asyncio.wait([work])
