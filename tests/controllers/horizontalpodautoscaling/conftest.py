"""A world for autoscalers: the fake API with Scales and metrics as the real ones answer them, in virtual time."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api import errors
from sampan.api.clock import format_time
from sampan.api.labels import parse
from sampan.api.resources import DEPLOYMENTS, EVENTS, HORIZONTAL_POD_AUTOSCALERS, PODS, Resource
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.client.timeline import VirtualTimeline
from sampan.controllers.context import Context, ControllersConfig
from sampan.controllers.horizontalpodautoscaling.controller import HorizontalPodAutoscalerController
from sampan.testing import virtual

Obj = dict[str, Any]
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
GENERIC = "the server could not find the requested resource"


class Metrics:
    """What the metrics APIs serve. ``None``: the API is not there."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        #: by pod: usage by container
        self.pods: dict[str, dict[str, Obj]] | None = {}
        #: by metric: value by pod
        self.custom_pods: dict[str, dict[str, str]] | None = None
        #: by path below the namespace: value
        self.custom: dict[str, str] = {}
        self.custom_versions = ["v1beta1", "v1beta2"]
        #: by metric: labels and value of each series
        self.external: dict[str, list[tuple[dict[str, str], str]]] | None = None
        self.asked: list[str] = []
        self.fails: errors.ApiError | None = None
        self.hangs = False

    async def answer(self, call: Call, labels_of: Callable[[str], dict[str, str]]) -> Any:
        self.asked.append(call.path)
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails is not None:
            raise self.fails
        group, rest = (
            call.path.removeprefix("/apis/").split("/", 1) if call.path.count("/") > 2 else (call.path[6:], "")
        )
        selector = parse(call.query.get("labelSelector", ""))
        if group == "metrics.k8s.io" and self.pods is not None:
            return {"kind": "PodMetricsList", "items": [
                {"metadata": {"name": name, "namespace": "default"}, "timestamp": self._now(), "window": "15s",
                 "containers": [{"name": each, "usage": usage} for each, usage in containers.items()]}
                for name, containers in self.pods.items() if selector.matches(labels_of(name))
            ]}  # fmt: skip
        if group == "custom.metrics.k8s.io" and self.custom_pods is not None:
            return self._custom(rest, selector, labels_of)
        if group == "external.metrics.k8s.io" and self.external is not None:
            series = self.external.get(rest.rpartition("/")[2])
            if series is None:
                raise errors.NotFound("the server could not find the metric x for ")
            return {"items": [{"value": value} for labels, value in series if selector.matches(labels)]}
        raise errors.NotFound(GENERIC)

    def _custom(self, rest: str, selector: Any, labels_of: Callable[[str], dict[str, str]]) -> Any:
        if not rest:
            return {"kind": "APIGroup", "versions": [{"version": version} for version in self.custom_versions]}
        where = rest.partition("/namespaces/default/")[2]
        assert self.custom_pods is not None
        if where.startswith("pods/*/"):
            found = self.custom_pods.get(where.rpartition("/")[2], {})
            chosen = {name: value for name, value in found.items() if selector.matches(labels_of(name))}
            return {"items": [
                {"describedObject": {"kind": "Pod", "name": name}, "timestamp": self._now(), "value": value}
                for name, value in chosen.items()
            ]}  # fmt: skip
        if where not in self.custom:
            raise errors.NotFound(f"the server could not find the metric {where}")
        return {"items": [{"describedObject": {}, "timestamp": self._now(), "value": self.custom[where]}]}


class World:
    def __init__(self, api: Any, run_with: Any, config: ControllersConfig) -> None:
        self.api, self._run_with, self.config = api, run_with, config
        self.timeline = VirtualTimeline(START)
        api.now = format_time(START)
        self.metrics = Metrics(lambda: format_time(self.timeline.now()))
        self._plain = api.call
        api.call = self.call
        self.scale_fails: list[errors.ApiError] = []
        self.selector = "app=web"

    async def call(self, call: Call) -> Any:
        if call.path.endswith("/scale"):
            await asyncio.sleep(0)
            return await self._scale(call)
        if ".metrics.k8s.io" in call.path or call.path.startswith("/apis/metrics.k8s.io"):
            await asyncio.sleep(0)
            return await self.metrics.answer(call, self._labels_of)
        return await self._plain(call)

    def _labels_of(self, pod: str) -> dict[str, str]:
        found = self.api.get(PODS, "default", pod)
        return {} if found is None else found["metadata"].get("labels", {})

    async def _scale(self, call: Call) -> Obj:
        """Of anything that has ``spec.replicas``."""
        path = call.path.removesuffix("/scale")
        obj = await self._plain(Call("GET", path))
        if call.method == "PUT":
            self.api.log.append(("PUT", "scale", call.body["metadata"]["name"]))
            if self.scale_fails:
                raise self.scale_fails.pop(0)
            if call.body["metadata"].get("resourceVersion") != obj["metadata"]["resourceVersion"]:
                raise errors.conflict("deployments.apps", "web")
            obj["spec"]["replicas"] = call.body["spec"].get("replicas", 0)
            obj = await self._plain(Call("PUT", path, body=obj))
        meta = {key: obj["metadata"][key] for key in ("name", "namespace", "resourceVersion")}
        status = {"replicas": obj.get("status", {}).get("replicas", 0), "selector": self.selector}
        replicas = obj["spec"].get("replicas", 0)
        return {"metadata": meta, "spec": {"replicas": replicas} if replicas else {}, "status": status}

    @asynccontextmanager
    async def controller(self) -> AsyncIterator[HorizontalPodAutoscalerController]:
        client, rng = Client(self.api), random.Random(1)
        informers = InformerFactory(client, random=rng)
        context = Context(informers, lambda name: client, self.timeline, rng, self.config)
        made = HorizontalPodAutoscalerController(context)
        async with self._run_with(context, made):
            yield made

    async def at(self, seconds: float) -> None:
        """Until so long after the start."""
        await asyncio.sleep(seconds - (self.timeline.now() - START).total_seconds())

    # -- what there is -------------------------------------------------------------------------------------------

    def target(self, replicas: int, name: str = "web", resource: Resource = DEPLOYMENTS) -> None:
        meta = {"name": name, "namespace": "default"}
        self.api.add(resource, {"metadata": meta, "spec": {"replicas": replicas}, "status": {"replicas": replicas}})

    def autoscaler(self, name: str = "web", *, metrics: list[Obj] | None = None, **spec: Any) -> None:
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        wanted = {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 20, **spec}
        wanted["metrics"] = [cpu(50)] if metrics is None else metrics
        meta = {"name": name, "namespace": "default", "generation": 1}
        self.api.add(HORIZONTAL_POD_AUTOSCALERS, {"metadata": meta, "spec": wanted})

    def pods(self, count: int, usage: str | None = "50m", **labels: str) -> None:
        """So many pods that have been ready for an hour, each with a request of 100m, and what they use."""
        for number in range(count):
            name = f"web-{number}"
            self.pod(name, usage, **labels)

    def pod(self, name: str, usage: str | None = "50m", request: str = "100m", **labels: str) -> None:
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T11:00:00Z"}
        status = {"phase": "Running", "startTime": "2026-01-01T11:00:00Z", "conditions": [ready]}
        container = {"name": "c", "resources": {"requests": {"cpu": request, "memory": "64Mi"}}}
        meta = {"name": name, "namespace": "default", "labels": {"app": "web", **labels}}
        if self.api.get(PODS, "default", name) is None:
            self.api.add(PODS, {"metadata": meta, "spec": {"containers": [container]}, "status": status})
        if usage is not None and self.metrics.pods is not None:
            self.metrics.pods[name] = {"c": {"cpu": usage, "memory": "32Mi"}}

    # -- what came of it -----------------------------------------------------------------------------------------

    def replicas(self, name: str = "web") -> int:
        return int(self.api.get(DEPLOYMENTS, "default", name)["spec"]["replicas"])

    def found(self, name: str = "web") -> Obj:
        return copy.deepcopy(self.api.get(HORIZONTAL_POD_AUTOSCALERS, "default", name).get("status", {}))

    def conditions(self, name: str = "web") -> dict[str, tuple[str, str, str]]:
        listed = self.found(name).get("conditions", ())
        return {each["type"]: (each["status"], each["reason"], each["message"]) for each in listed}

    def told(self) -> list[tuple[str, str, str]]:
        return [(each["type"], each["reason"], each["message"]) for each in self.api.all(EVENTS)]

    def change(self, name: str = "web", **spec: Any) -> None:
        def edit(obj: Obj) -> None:
            obj["spec"].update(spec)

        self.api.change(HORIZONTAL_POD_AUTOSCALERS, "default", name, edit)

    def set_replicas(self, replicas: int) -> None:
        def edit(obj: Obj) -> None:
            obj["spec"]["replicas"] = obj["status"]["replicas"] = replicas

        self.api.change(DEPLOYMENTS, "default", "web", edit)


def cpu(percent: int) -> Obj:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


Live = Callable[..., None]


@pytest.fixture
def live(make_api: Any, run_with: Any) -> Live:
    """Runs ``body(world)`` in virtual time."""

    def run(body: Callable[[World], Coroutine[Any, Any, None]], **config: Any) -> None:
        async def whole() -> None:
            await body(World(make_api(), run_with, ControllersConfig(**config)))

        virtual.run(whole())

    return run
