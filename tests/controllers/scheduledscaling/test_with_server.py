"""ScheduledScalers against the real API server, installed from the example's files, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from sampan.api.errors import Invalid, NotFound
from sampan.api.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    Resource,
)
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.client.timeline import VirtualTimeline
from sampan.controllers.context import Context, ControllersConfig
from sampan.controllers.scheduledscaling.controller import ScheduledScalerController
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.testing import virtual

Obj = dict[str, Any]
START = datetime(2026, 1, 5, 6, 48, tzinfo=UTC)  # a Monday, soon eight in the morning in Berlin
EXAMPLE = Path(__file__).parents[3] / "examples" / "scheduled-scaling"
SCALERS = Resource("autoscaling.sampan.io", "v1alpha1", "scheduledscalers", "ScheduledScaler", True)
_KINDS = {
    "CustomResourceDefinition": CUSTOM_RESOURCE_DEFINITIONS,
    "ClusterRole": Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False),
    "ClusterRoleBinding": Resource(
        "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False
    ),
}


class Life:
    def __init__(self, client: Client, timeline: VirtualTimeline) -> None:
        self.client, self._timeline = client, timeline

    async def until(self, hour: float) -> None:
        """So many hours after midnight in UTC."""
        midnight = START.replace(hour=0, minute=0)
        await asyncio.sleep((midnight + timedelta(hours=hour) - self._timeline.now()).total_seconds())

    async def install(self) -> None:
        for manifest in yaml.safe_load_all((EXAMPLE / "install.yaml").read_text()):
            await self.client.create(_KINDS[manifest["kind"]], manifest)

    async def scaler(self, **spec: Any) -> None:
        """The example's, as soon as its kind is served."""
        made = yaml.safe_load((EXAMPLE / "office-hours.yaml").read_text())
        made["spec"] |= spec
        for _ in range(100):
            try:
                await self.client.create(SCALERS, made, "default")
            except NotFound:
                await asyncio.sleep(0.1)
            else:
                return

    async def deployment(self) -> None:
        labels = {"app": "web"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
        await self.client.create(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}, "default")

    async def replicas(self) -> int:
        return int((await self.client.get(DEPLOYMENTS, "web", "default"))["spec"]["replicas"])

    async def found(self) -> Obj:
        status: Obj = (await self.client.get(SCALERS, "web-office-hours", "default"))["status"]
        return status

    async def told(self) -> list[tuple[str, str]]:
        return [(each["reason"], each["message"]) for each in (await self.client.list(EVENTS, "default"))["items"]]


@asynccontextmanager
async def living() -> AsyncIterator[Life]:
    timeline = VirtualTimeline(START)
    async with Server(ServerConfig(listen=False, openapi=False, clock=timeline)) as server:
        client, rng = Client(server.local_transport()), random.Random(1)
        informers = InformerFactory(client, random=rng)
        context = Context(
            informers,
            lambda name: Client(server.local_transport(f"system:serviceaccount:kube-system:{name}")),
            timeline,
            rng,
            ControllersConfig(),
        )
        controller = ScheduledScalerController(context)
        work = [asyncio.ensure_future(informers.run()), asyncio.ensure_future(controller.run())]
        try:
            yield Life(client, timeline)
        finally:
            for task in work:
                task.cancel()
            await asyncio.wait(work)


def run(body: Callable[[Life], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with living() as life:
            await body(life)

    virtual.run(whole())


def test_office_hours_of_berlin() -> None:
    async def body(life: Life) -> None:
        await life.deployment()
        await life.install()
        evening = {"name": "evening", "schedule": "15 8 * * mon-fri", "replicas": 1}
        await life.scaler(rules=[{"name": "morning", "schedule": "0 8 * * mon-fri", "replicas": 10}, evening])
        await life.until(6.99)
        assert await life.replicas() == 3
        found = await life.found()
        assert found["nextScheduleTime"] == "2026-01-05T07:00:00Z" and found["nextRule"] == "morning"
        assert "lastScheduleTime" not in found
        await life.until(7.01)
        assert await life.replicas() == 10
        assert await life.told() == [("SuccessfulRescale", "New size: 10; rule: morning")]
        found = await life.found()
        assert (found["lastScheduleTime"], found["lastRule"], found["replicas"]) == (
            "2026-01-05T07:00:00Z",
            "morning",
            10,
        )
        assert found["nextRule"] == "evening" and found["observedGeneration"] == 1
        [ready] = found["conditions"]
        assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "True", "Scheduled")
        await life.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 12}}, "default")
        await life.until(7.24)
        assert await life.replicas() == 12, "by hand, until the next rule"
        await life.until(7.26)
        assert await life.replicas() == 1

    run(body)


def test_a_changed_rule_counts_at_once_and_a_suspended_scaler_makes_up_for_it() -> None:
    async def body(life: Life) -> None:
        await life.deployment()
        await life.install()
        await life.scaler(suspend=True)
        await life.until(7.01)
        assert await life.replicas() == 3
        await life.client.patch(SCALERS, "web-office-hours", {"spec": {"suspend": False}}, "default")
        await life.until(7.02)
        assert await life.replicas() == 10
        rules = [{"name": "soon", "schedule": "3 8 * * *", "replicas": 5}]
        await life.client.patch(SCALERS, "web-office-hours", {"spec": {"rules": rules}}, "default")
        await life.until(7.06)
        assert await life.replicas() == 5

    run(body)


def test_of_an_autoscaler_the_minimum_is_set() -> None:
    async def body(life: Life) -> None:
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        spec = {"scaleTargetRef": reference, "minReplicas": 2, "maxReplicas": 20}
        await life.client.create(HORIZONTAL_POD_AUTOSCALERS, {"metadata": {"name": "web"}, "spec": spec}, "default")
        await life.install()
        await life.scaler(
            scaleTargetRef={**reference, "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
        )
        await life.until(7.01)
        found = await life.client.get(HORIZONTAL_POD_AUTOSCALERS, "web", "default")
        assert found["spec"]["minReplicas"] == 10
        assert await life.told() == [("SuccessfulRescale", "New size: 10; rule: morning")]

    run(body)


def test_a_target_that_is_missing_is_told_and_found_when_it_comes() -> None:
    async def body(life: Life) -> None:
        await life.install()
        await life.scaler()
        await life.until(7.01)
        [ready] = (await life.found())["conditions"]
        missing = 'deployments.apps "web" not found'
        assert (ready["status"], ready["reason"], ready["message"]) == ("False", "FailedGetScale", missing)
        assert ("FailedGetScale", missing) in await life.told()
        assert "lastScheduleTime" not in await life.found()
        await life.deployment()
        await life.until(7.02)
        assert await life.replicas() == 10
        assert (await life.found())["conditions"][0]["status"] == "True"

    run(body)


def test_what_the_definition_refuses_and_what_the_scaler_says_of_the_rest() -> None:
    async def body(life: Life) -> None:
        await life.deployment()
        await life.install()
        await life.scaler(timeZone="Moon/Sea")
        await life.until(6.82)
        [ready] = (await life.found())["conditions"]
        assert (ready["status"], ready["reason"]) == ("False", "InvalidTimeZone")
        for wrong in ({"rules": []}, {"rules": [{"name": "a", "schedule": "* * * * *", "replicas": -1}]}):
            with pytest.raises(Invalid):
                await life.client.patch(SCALERS, "web-office-hours", {"spec": wrong}, "default")
        rules = [{"name": "a", "schedule": "not one", "replicas": 1}]
        await life.client.patch(SCALERS, "web-office-hours", {"spec": {"rules": rules, "timeZone": "UTC"}}, "default")
        await life.until(6.83)
        [ready] = (await life.found())["conditions"]
        assert (ready["reason"], ready["message"]) == (
            "InvalidSchedule", "rule a: expected exactly 5 fields, found 2: [not one]",
        )  # fmt: skip

    run(body)


def test_without_the_definition_it_rests_and_when_it_goes_too() -> None:
    async def body(life: Life) -> None:
        await life.deployment()
        await life.until(6.81)
        await life.install()
        await life.scaler()
        await life.until(6.82)
        await life.client.delete(CUSTOM_RESOURCE_DEFINITIONS, "scheduledscalers.autoscaling.sampan.io")
        await life.until(7.01)
        assert await life.replicas() == 3

    run(body)
