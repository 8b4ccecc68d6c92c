"""The HorizontalPodAutoscaler controller against the real API server, with the rights of its own role."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api.clock import format_time
from sampan.api.errors import NotFound
from sampan.api.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    PODS,
    SERVICE_ACCOUNTS,
    Resource,
)
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.client.timeline import VirtualTimeline
from sampan.controllers.context import Context, ControllersConfig
from sampan.controllers.horizontalpodautoscaling.controller import HorizontalPodAutoscalerController
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.testing import virtual

Obj = dict[str, Any]
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
ACCOUNT = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
V1 = Resource("autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True)
THINGS = Resource("x.io", "v1", "things", "Thing", True)


class Measuring:
    """A transport whose metrics API says what the test wants; all else is the server's."""

    def __init__(self, inner: Any, timeline: VirtualTimeline) -> None:
        self._inner, self._timeline = inner, timeline
        self.usage: dict[str, str] | None = None

    def _other(self, path: str) -> Any:
        """Custom and external metrics, of which there is one of each."""
        if path == "/apis/custom.metrics.k8s.io":
            return {"versions": [{"version": "v1beta2"}]}
        now = format_time(self._timeline.now())
        names = ("a", "b") if "/pods/*/" in path else ("main",)
        return {"items": [{"describedObject": {"name": name}, "timestamp": now, "value": "30"} for name in names]}

    async def call(self, call: Call) -> Any:
        if call.path.startswith(("/apis/custom.metrics.k8s.io", "/apis/external.metrics.k8s.io")) and self.usage:
            await asyncio.sleep(0)
            return self._other(call.path)
        if not call.path.startswith("/apis/metrics.k8s.io/") or self.usage is None:
            return await self._inner.call(call)
        await asyncio.sleep(0)
        now = format_time(self._timeline.now())
        return {"items": [
            {"metadata": {"name": name, "namespace": "default"}, "timestamp": now, "window": "15s",
             "containers": [{"name": "c", "usage": {"cpu": used}}]}
            for name, used in self.usage.items()
        ]}  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Life:
    def __init__(self, client: Client, metrics: Measuring, timeline: VirtualTimeline) -> None:
        self.client, self.metrics, self._timeline = client, metrics, timeline

    async def at(self, seconds: float) -> None:
        await asyncio.sleep(seconds - (self._timeline.now() - START).total_seconds())

    async def autoscaler(self, kind: str = "Deployment", api_version: str = "apps/v1") -> None:
        reference = {"apiVersion": api_version, "kind": kind, "name": "web"}
        target = {"type": "Utilization", "averageUtilization": 50}
        metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        spec = {"scaleTargetRef": reference, "maxReplicas": 8, "metrics": metrics}
        await self.client.create(HORIZONTAL_POD_AUTOSCALERS, {"metadata": {"name": "web"}, "spec": spec}, "default")

    async def pod(self, name: str) -> None:
        container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}}
        spec = {"containers": [container], "nodeName": "n"}
        made = await self.client.create(
            PODS, {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec}, "default"
        )
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T11:00:00Z"}
        made["status"] |= {"phase": "Running", "startTime": "2026-01-01T11:00:00Z", "conditions": [ready]}
        await self.client.update_status(PODS, made)

    async def deployment(self, replicas: int) -> None:
        labels = {"app": "web"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        await self.client.create(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}, "default")

    async def told(self) -> list[tuple[str, str]]:
        return [(each["reason"], each["message"]) for each in (await self.client.list(EVENTS, "default"))["items"]]


@asynccontextmanager
async def living() -> AsyncIterator[Life]:
    timeline = VirtualTimeline(START)
    async with Server(ServerConfig(listen=False, openapi=False, clock=timeline)) as server:
        metrics = Measuring(server.local_transport(ACCOUNT), timeline)
        client, rng = Client(server.local_transport()), random.Random(1)
        informers = InformerFactory(client, random=rng)
        context = Context(informers, lambda name: Client(metrics), timeline, rng, ControllersConfig())  # type: ignore[arg-type]
        controller = HorizontalPodAutoscalerController(context)
        work = [asyncio.ensure_future(informers.run()), asyncio.ensure_future(controller.run())]
        await informers.synced()
        await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
        try:
            yield Life(client, metrics, timeline)
        finally:
            for task in work:
                task.cancel()
            await asyncio.wait(work)


def run(body: Callable[[Life], Any]) -> None:
    async def whole() -> None:
        async with living() as life:
            await body(life)

    virtual.run(whole())


def test_its_role_suffices_to_scale_a_deployment_and_to_say_so() -> None:
    async def body(life: Life) -> None:
        await life.deployment(2)
        for name in ("a", "b"):
            await life.pod(name)
        life.metrics.usage = {"a": "100m", "b": "100m"}
        await life.autoscaler()
        await life.at(1)
        assert (await life.client.get(DEPLOYMENTS, "web", "default"))["spec"]["replicas"] == 4
        found = await life.client.get(HORIZONTAL_POD_AUTOSCALERS, "web", "default")
        assert found["metadata"]["generation"] == found["status"]["observedGeneration"] == 1
        assert {each["observedGeneration"] for each in found["status"]["conditions"]} == {1}
        assert await life.told() == [
            ("SuccessfulRescale", "New size: 4; reason: cpu resource utilization (percentage of request) above target")
        ]
        old = await life.client.get(V1, "web", "default")
        assert old["status"]["currentCPUUtilizationPercentage"] == 100
        assert '"ValidMetricFound"' in old["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/conditions"]
        managers = {each["manager"]: each.get("subresource") for each in found["metadata"]["managedFields"]}
        assert managers["kube-controller-manager"] == "status"
        patch = {"spec": {"maxReplicas": 3}}
        changed = await life.client.patch(HORIZONTAL_POD_AUTOSCALERS, "web", patch, "default")
        assert changed["metadata"]["generation"] == 2
        await life.at(2)
        found = await life.client.get(HORIZONTAL_POD_AUTOSCALERS, "web", "default")
        assert (found["status"]["desiredReplicas"], found["status"]["observedGeneration"]) == (3, 2)

    run(body)


def test_what_nobody_measures_is_told_in_upstreams_words_and_every_version_can_be_read() -> None:
    async def body(life: Life) -> None:
        await life.deployment(1)
        await life.autoscaler()
        await life.at(1)
        unable = (
            "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource "
            "metrics API"
        )
        found = await life.client.get(HORIZONTAL_POD_AUTOSCALERS, "web", "default")
        message = found["status"]["conditions"][1]["message"]
        assert message == f"the HPA was unable to compute the replica count: {unable}"
        assert found["status"]["currentMetrics"] == [{"type": ""}]
        assert ("FailedGetResourceMetric", unable) in await life.told()
        for version in ("v1", "v2beta1", "v2beta2"):
            old = Resource("autoscaling", version, V1.plural, V1.kind, True)
            assert (await life.client.get(old, "web", "default"))["status"]["currentReplicas"] == 1

    run(body)


def test_apis_that_nobody_serves_are_told_in_the_words_of_upstreams_client() -> None:
    async def body(life: Life) -> None:
        await life.deployment(1)
        await life.autoscaler()
        target = {"type": "AverageValue", "averageValue": "1"}
        metrics = [
            {"type": "External", "external": {"metric": {"name": "queue"}, "target": target}},
            {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": target}},
        ]
        await life.client.patch(HORIZONTAL_POD_AUTOSCALERS, "web", {"spec": {"metrics": metrics}}, "default")
        await life.at(1)
        told = dict(await life.told())
        assert told["FailedGetExternalMetric"] == (
            "unable to get external metric default/queue/nil: unable to fetch metrics from external metrics API: "
            "the server could not find the requested resource (get queue.external.metrics.k8s.io)"
        )
        assert told["FailedGetPodsMetric"] == (
            "unable to get metric rps: unable to fetch metrics from custom metrics API: "
            "no custom metrics API (custom.metrics.k8s.io) registered"
        )

    run(body)


def test_a_target_that_is_not_there_is_told_as_the_server_says_it() -> None:
    async def body(life: Life) -> None:
        await life.autoscaler()
        await life.at(1)
        assert await life.told() == [("FailedGetScale", 'deployments.apps "web" not found')]

    run(body)


def test_a_daemon_set_has_no_scale() -> None:
    async def body(life: Life) -> None:
        await life.autoscaler("DaemonSet")
        await life.at(1)
        assert await life.told() == [("FailedGetScale", "the server could not find the requested resource")]

    run(body)


def test_a_custom_resource_with_a_scale_is_found_by_discovery_and_scaled() -> None:
    """[sig-autoscaling] CustomResourceDefinition: scale targetRef to a CR."""
    whole = {"type": "integer"}
    schema = {"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"size": whole}},
        "status": {"type": "object", "properties": {"size": whole, "selector": {"type": "string"}}},
    }}  # fmt: skip
    scale = {
        "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.selector",
    }  # fmt: skip
    version = {
        "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": scale},
    }  # fmt: skip
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    definition = {
        "metadata": {"name": "things.x.io"},
        "spec": {"group": "x.io", "scope": "Namespaced", "names": names, "versions": [version]},
    }

    async def body(life: Life) -> None:
        await life.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        made = None
        while made is None:
            try:
                made = await life.client.create(THINGS, {
                    "apiVersion": "x.io/v1", "kind": "Thing", "metadata": {"name": "web"}, "spec": {"size": 1},
                }, "default")  # fmt: skip
            except NotFound:
                await asyncio.sleep(0.1)
        await life.client.update_status(THINGS, {**made, "status": {"size": 1, "selector": "app=web"}})
        await life.pod("a")
        life.metrics.usage = {"a": "150m"}
        await life.autoscaler("Thing", "x.io/v1")
        await life.at(30)
        assert (await life.client.get(THINGS, "web", "default"))["spec"]["size"] == 3

    run(body)


@pytest.mark.parametrize("version", ["v2beta1", "v2beta2"])
def test_manifests_of_removed_versions_are_scaled_as_those_of_today(version: str) -> None:
    async def body(life: Life) -> None:
        await life.deployment(2)
        for name in ("a", "b"):
            await life.pod(name)
        life.metrics.usage = {"a": "100m", "b": "100m"}
        target = {"target": {"type": "Utilization", "averageUtilization": 50}}
        source = {"name": "cpu", **({"targetAverageUtilization": 50} if version == "v2beta1" else target)}
        spec = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 8,
            "metrics": [{"type": "Resource", "resource": source}],
        }  # fmt: skip
        old = Resource("autoscaling", version, V1.plural, V1.kind, True)
        await life.client.create(old, {"metadata": {"name": "web"}, "spec": spec}, "default")
        await life.at(1)
        assert (await life.client.get(DEPLOYMENTS, "web", "default"))["spec"]["replicas"] == 4

    run(body)


_MANIFESTS: dict[str, Obj] = {
    "Resource": {"resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "60m"}}},
    "Pods": {"pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "18"}}},
    "Object": {"object": {
        "metric": {"name": "m"}, "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "main"},
        "target": {"type": "Value", "value": "18"},
    }},
    "External": {"external": {"metric": {"name": "m"}, "target": {"type": "Value", "value": "18"}}},
}  # fmt: skip


@pytest.mark.parametrize("version", ["v2beta2", "v2"])
@pytest.mark.parametrize("source", sorted(_MANIFESTS))
def test_one_manifest_of_each_source_gives_the_same_count_in_v2beta2_and_v2(source: str, version: str) -> None:
    """30 at 18 (and 100 at 60) is 1.67 of two pods."""

    async def body(life: Life) -> None:
        await life.deployment(2)
        for name in ("a", "b"):
            await life.pod(name)
        life.metrics.usage = {"a": "100m", "b": "100m"}
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        spec = {"scaleTargetRef": reference, "maxReplicas": 8, "metrics": [{"type": source, **_MANIFESTS[source]}]}
        where = Resource("autoscaling", version, V1.plural, V1.kind, True)
        await life.client.create(where, {"metadata": {"name": "web"}, "spec": spec}, "default")
        await life.at(1)
        assert (await life.client.get(DEPLOYMENTS, "web", "default"))["spec"]["replicas"] == 4
        shown = (await life.client.get(where, "web", "default"))["status"]["currentMetrics"]
        assert [each["type"] for each in shown] == [source]

    run(body)
