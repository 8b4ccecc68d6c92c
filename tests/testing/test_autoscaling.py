"""An autoscaler in a whole cluster, in virtual time: it follows a load that its pods share; new pods it trusts late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.api.nodes.usage import Looks, NodeUsage, Point
from sampan.api.pods import status
from sampan.api.resources import DEPLOYMENTS, EVENTS, HORIZONTAL_POD_AUTOSCALERS, PODS
from sampan.client.client import Client
from sampan.client.timeline import VirtualTimeline
from sampan.testing import virtual
from sampan.testing.cluster import Cluster

pytestmark = pytest.mark.timeout(120)

Obj = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    def __init__(self, cluster: Cluster, timeline: VirtualTimeline) -> None:
        self.client: Client = cluster.client
        self.load_millicores = 0
        #: what each new pod uses besides, for so many seconds
        self.start_up_millicores, self.start_up_seconds = 0, 60.0
        self._timeline, self._pods = timeline, cluster.server.local_transport().cache_view(PODS)
        cluster.server.scraper.attach("node-0", self._looks)

    def _looks(self) -> Looks:
        """Each pod's use was steady for the last ten seconds."""
        now = self._timeline.now().timestamp()
        assert self._pods is not None
        running = [pod for pod in self._pods.objects() if status.phase(pod) == "Running" and status.is_active(pod)]
        ready = [pod for pod in running if status.is_ready(pod)]
        last, earlier = {}, {}
        for pod in running:
            used = self.load_millicores // len(ready) if pod in ready else 0
            since = status.started(pod)
            if since is not None and now - since.timestamp() < self.start_up_seconds:
                used += self.start_up_millicores
            name = (pod["metadata"]["namespace"], pod["metadata"]["name"])
            last[name] = {"c": Point(now, used * 10 * 1_000_000, 1 << 20)}
            earlier[name] = {"c": Point(now - 10, 0, 1 << 20)}
        return Looks(NodeUsage(Point(now, 0, 0), last), NodeUsage(Point(now - 10, 0, 0), earlier))

    async def after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def deployment(self, replicas: int) -> None:
        labels = {"app": "web"}
        container = {"name": "c", "image": "any", "resources": {"requests": {"cpu": "100m"}}}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        await self.client.create(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}, "default")

    async def autoscaler(self, **spec: Any) -> None:
        target = {"type": "Utilization", "averageUtilization": 50}
        whole = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 10,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}], **spec,
        }  # fmt: skip
        await self.client.create(HORIZONTAL_POD_AUTOSCALERS, {"metadata": {"name": "web"}, "spec": whole}, "default")

    async def replicas(self) -> int:
        return int((await self.client.get(DEPLOYMENTS, "web", "default"))["spec"]["replicas"])

    async def conditions(self) -> dict[str, tuple[str, str]]:
        found = await self.client.get(HORIZONTAL_POD_AUTOSCALERS, "web", "default")
        return {each["type"]: (each["status"], each["reason"]) for each in found["status"]["conditions"]}

    async def sizes(self) -> list[str]:
        events = (await self.client.list(EVENTS, "default"))["items"]
        return [each["message"] for each in events if each["reason"] == "SuccessfulRescale"]


def live(directory: Path, body: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        timeline = VirtualTimeline(START)
        async with Cluster(directory, clock=timeline, seed=1, listen=False) as cluster:
            await body(World(cluster, timeline))

    virtual.run(whole())


def test_replicas_follow_a_load_that_the_pods_share(tmp_path: Path) -> None:
    """[sig-autoscaling] [Feature:HPA] Horizontal pod autoscaling (scale resource: CPU): up with the load at once, down
    after five minutes of less."""

    async def body(world: World) -> None:
        await world.deployment(1)
        await world.after(30)  # what it uses is believed
        world.load_millicores = 240
        await world.autoscaler()
        await world.after(1)
        assert await world.replicas() == 4  # 240 % at 50 % would be 5, but no more than four at a time
        await world.after(60)
        assert await world.replicas() == 5  # 240 shared by four is 60 %
        await world.after(120)
        assert await world.replicas() == 5
        world.load_millicores = 60
        await world.after(290)
        assert await world.replicas() == 5
        assert (await world.conditions())["AbleToScale"] == ("True", "ScaleDownStabilized")
        await world.after(30)
        assert await world.replicas() == 2
        reasons = [message.partition("; ")[2] for message in await world.sizes()]
        assert reasons == ["reason: cpu resource utilization (percentage of request) above target"] * 2 + [
            "reason: All metrics below target"
        ]

    live(tmp_path, body)


def test_what_new_pods_use_to_start_is_believed_only_when_it_lasts(tmp_path: Path) -> None:
    """A pod's use counts once a whole window of it lies after the moment at which it became ready."""

    async def body(world: World) -> None:
        world.start_up_millicores, world.start_up_seconds = 400, 10.0
        await world.autoscaler()
        await world.after(10)
        await world.deployment(2)
        await world.after(6)  # looked at 15 s after the autoscaler came, 5 s after the pods
        assert (await world.conditions())["ScalingActive"] == ("False", "FailedGetResourceMetric")
        told = [each["message"] for each in (await world.client.list(EVENTS, "default"))["items"]]
        assert (
            "failed to get cpu utilization: did not receive metrics for targeted pods (pods might be unready)" in told
        )
        await world.after(600)
        assert (await world.conditions())["ScalingActive"] == ("True", "ValidMetricFound")
        assert not any("above target" in message for message in await world.sizes())

    live(tmp_path, body)
