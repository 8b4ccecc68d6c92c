"""CronJobs in a whole cluster, in virtual time: what upstream requires of them, minute by minute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sampan.api.resources import CRON_JOBS, EVENTS, JOBS, PODS
from sampan.client.client import Client
from sampan.client.timeline import VirtualTimeline
from sampan.node.simulated import Behaviour
from sampan.testing import virtual
from sampan.testing.cluster import Cluster

pytestmark = pytest.mark.timeout(120)

Obj = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)


def cron_job(schedule: str = "* * * * *", image: str = "example.com/a:1", **spec: Any) -> Obj:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}
    template = {"spec": {"template": {"spec": pod}}}
    return {
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "namespace": "default"},
        "spec": {"schedule": schedule, "jobTemplate": template, **spec},
    }  # fmt: skip


class World:
    def __init__(self, client: Client, timeline: VirtualTimeline) -> None:
        self.client, self.timeline = client, timeline
        self.base = START

    async def until(self, minutes: float) -> None:
        await asyncio.sleep((self.base + timedelta(minutes=minutes) - self.timeline.now()).total_seconds())

    async def jobs(self) -> list[Obj]:
        found: list[Obj] = (await self.client.list(JOBS, "default"))["items"]
        return [each for each in found if not each["metadata"].get("deletionTimestamp")]

    async def minutes(self) -> list[float]:
        """For which minutes Jobs are there."""
        base = self.base.timestamp() / 60
        return [int(each["metadata"]["name"].split("-")[1]) - base for each in await self.jobs()]

    async def active(self) -> list[str]:
        found = await self.client.get(CRON_JOBS, "c", "default")
        return [each["name"] for each in found.get("status", {}).get("active", ())]

    async def reasons(self) -> set[str]:
        return {each["reason"] for each in (await self.client.list(EVENTS, "default"))["items"]}


def live(directory: Path, body: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        timeline = VirtualTimeline(START)
        async with Cluster(directory, nodes=1, clock=timeline, seed=1, listen=False) as cluster:
            images = cluster.runtimes["node-0"].behaviours
            images["example.com/short:1"] = Behaviour(run_seconds=20)
            images["example.com/broken:1"] = Behaviour(run_seconds=5, exit_code=1)
            world = World(cluster.client, timeline)
            world.base = timeline.now().replace(second=0, microsecond=0) + timedelta(minutes=1)
            await world.until(0.1)
            await body(world)

    virtual.run(whole())


def test_allow_runs_several_at_once(tmp_path: Path) -> None:
    """[sig-apps] CronJob should schedule multiple jobs concurrently"""

    async def body(world: World) -> None:
        await world.client.create(CRON_JOBS, cron_job(concurrencyPolicy="Allow"))
        await world.until(2.2)
        assert await world.minutes() == [1, 2]
        assert len(await world.active()) == 2
        await world.client.delete(CRON_JOBS, "c", "default")
        await world.until(4)
        assert await world.jobs() == []

    live(tmp_path, body)


def test_a_suspended_one_makes_no_jobs(tmp_path: Path) -> None:
    """CronJob should not schedule jobs when suspended [Slow]"""

    async def body(world: World) -> None:
        await world.client.create(CRON_JOBS, cron_job(suspend=True))
        await world.until(5.5)
        assert await world.jobs() == [] and await world.active() == []
        await world.client.patch(CRON_JOBS, "c", {"spec": {"suspend": False}}, "default")
        await world.until(6.1)
        assert await world.minutes() == [5, 6]

    live(tmp_path, body)


def test_forbid_makes_no_second_job(tmp_path: Path) -> None:
    """CronJob should not schedule new jobs when ForbidConcurrent [Slow]"""

    async def body(world: World) -> None:
        await world.client.create(CRON_JOBS, cron_job(concurrencyPolicy="Forbid"))
        await world.until(4.5)
        assert await world.minutes() == [1]
        assert len(await world.active()) == 1
        assert "JobAlreadyActive" in await world.reasons()

    live(tmp_path, body)


def test_replace_ends_the_running_job(tmp_path: Path) -> None:
    """[sig-apps] CronJob should replace jobs when ReplaceConcurrent"""

    async def body(world: World) -> None:
        await world.client.create(CRON_JOBS, cron_job(concurrencyPolicy="Replace"))
        await world.until(1.2)
        [first] = await world.jobs()
        await world.until(2.2)
        [second] = await world.jobs()
        assert second["metadata"]["uid"] != first["metadata"]["uid"]
        assert await world.active() == [second["metadata"]["name"]]
        assert "SuccessfulDelete" in await world.reasons()

    live(tmp_path, body)


def test_a_finished_job_is_noted_and_goes_in_its_time(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        made = cron_job(image="example.com/short:1")
        made["spec"]["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] = 90
        made["spec"]["timeZone"] = "Asia/Kolkata"  # half an hour aside
        made["spec"]["schedule"] = f"{(world.base + timedelta(minutes=31)).minute} * * * *"
        await world.client.create(CRON_JOBS, made)
        await world.until(1.1)
        [job] = await world.jobs()
        shown = job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
        assert shown == (world.base + timedelta(hours=5, minutes=31)).isoformat()[:19] + "+05:30"
        await world.until(1.6)
        status = (await world.client.get(CRON_JOBS, "c", "default"))["status"]
        assert "active" not in status and "lastSuccessfulTime" in status
        assert "SawCompletedJob" in await world.reasons()
        await world.until(2.7)
        assert len(await world.jobs()) == 1
        await world.until(3.1)
        assert await world.jobs() == [] and (await world.client.list(PODS, "default"))["items"] == []

    live(tmp_path, body)


def test_history_keeps_so_many_jobs_of_each_sort(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        made = cron_job(image="example.com/short:1", successfulJobsHistoryLimit=2)
        await world.client.create(CRON_JOBS, made)
        await world.until(6.8)
        assert await world.minutes() == [5, 6]
        template = cron_job(image="example.com/broken:1")["spec"]["jobTemplate"]
        template["spec"]["backoffLimit"] = 0
        await world.client.patch(CRON_JOBS, "c", {"spec": {"jobTemplate": template}}, "default")
        await world.until(10.8)
        assert await world.minutes() == [5, 6, 10]
        # What belonged to the Jobs went with them.
        assert len((await world.client.list(PODS, "default"))["items"]) == 3

    live(tmp_path, body)
