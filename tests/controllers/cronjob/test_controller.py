"""The CronJob controller over the API, in virtual time: timers, policies, crashes, what it tells."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan.api.clock import format_time
from sampan.api.errors import ApiError, Conflict, Forbidden, Invalid
from sampan.api.resources import CRON_JOBS, EVENTS, JOBS
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.client.timeline import VirtualTimeline
from sampan.controllers.context import Context, ControllersConfig
from sampan.controllers.cronjob.controller import CronJobController
from sampan.testing import virtual

Obj = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)


def cron_job(schedule: str = "*/10 * * * *", **spec: Any) -> Obj:
    template = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}}
    limits = {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1}
    wanted = {"schedule": schedule, "concurrencyPolicy": "Allow", "suspend": False, **limits, **spec}
    return {
        "metadata": {"name": "c", "namespace": "default", "uid": "cron"},
        "spec": {**wanted, "jobTemplate": template},
    }


class World:
    """The API and the time; ``controller()`` runs one."""

    def __init__(self, api: Any, run_with: Any) -> None:
        self.api, self._run_with = api, run_with
        self.timeline = VirtualTimeline(START)
        api.now = format_time(START)

    @asynccontextmanager
    async def controller(self) -> AsyncIterator[CronJobController]:
        client, rng = Client(self.api), random.Random(1)
        informers = InformerFactory(client, random=rng)
        context = Context(informers, lambda name: client, self.timeline, rng, ControllersConfig())
        made = CronJobController(context)
        async with self._run_with(context, made):
            yield made

    async def until(self, minutes: float) -> None:
        await asyncio.sleep((START + timedelta(minutes=minutes) - self.timeline.now()).total_seconds())

    def jobs(self) -> dict[float, Obj]:
        """By the minute that they stand for."""
        made = self.api.all(JOBS)
        return {int(each["metadata"]["name"].split("-")[1]) - START.timestamp() / 60: each for each in made}

    def finish(self, minute: float, outcome: str = "Complete") -> None:
        now = format_time(self.timeline.now())
        status: Obj = {"conditions": [{"type": outcome, "status": "True", "lastTransitionTime": now}]}
        if outcome == "Complete":
            status["completionTime"] = now
        name = self.jobs()[minute]["metadata"]["name"]
        self.api.change(JOBS, "default", name, lambda obj: obj.update(status=status))

    def status(self) -> Obj:
        found = self.api.get(CRON_JOBS, "default", "c").get("status", {})
        return {**found, "active": [each["name"] for each in found.get("active", ())]}

    def told(self) -> list[tuple[str, str]]:
        return [(each["reason"], each["message"]) for each in self.api.all(EVENTS)]

    def change(self, **spec: Any) -> None:
        self.api.change(CRON_JOBS, "default", "c", lambda obj: obj["spec"].update(spec))


Live = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def live(make_api: Any, run_with: Any) -> Live:
    def run(body: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            await body(World(make_api(), run_with))

        virtual.run(whole())

    return run


def test_jobs_come_at_their_times_and_their_ends_are_noted(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job())
        async with world.controller():
            await world.until(9.99)
            assert world.jobs() == {}
            await world.until(10.01)
            assert list(world.jobs()) == [10]
            name = world.jobs()[10]["metadata"]["name"]
            assert world.status() == {"active": [name], "lastScheduleTime": "2026-01-01T00:10:00Z"}
            reference = world.api.get(CRON_JOBS, "default", "c")["status"]["active"][0]
            assert reference == {
                "apiVersion": "batch/v1", "kind": "Job", "name": name, "namespace": "default",
                "uid": world.jobs()[10]["metadata"]["uid"], "resourceVersion": reference["resourceVersion"],
            }  # fmt: skip
            await world.until(12)
            world.finish(10)
            await world.until(13)
            assert world.status() == {
                "active": [], "lastScheduleTime": "2026-01-01T00:10:00Z", "lastSuccessfulTime": "2026-01-01T00:12:00Z",
            }  # fmt: skip
            assert world.told() == [
                ("SuccessfulCreate", f"Created job {name}"),
                ("SawCompletedJob", f"Saw completed job: {name}, condition: Complete"),
            ]
            assert {each["source"]["component"] for each in world.api.all(EVENTS)} == {"cronjob-controller"}
            await world.until(60.5)
            assert list(world.jobs()) == [10, 20, 30, 40, 50, 60]

    live(body)


def test_nothing_polls_between_two_times(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job("0 0 1 * *"))
        async with world.controller() as controller:
            await world.until(1)
            seen = []
            plain = controller.sync
            controller._controller._sync = lambda key: seen.append(key) or plain(key)
            await world.until(30 * 24 * 60)
            assert seen == []
            await world.until(31 * 24 * 60 + 1)
            assert list(world.jobs()) == [31 * 24 * 60]

    live(body)


def test_what_a_job_counts_while_it_runs_concerns_no_cron_job(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job())
        async with world.controller() as controller:
            seen = []
            plain = controller.sync
            controller._controller._sync = lambda key: seen.append(key) or plain(key)
            await world.until(11)
            assert len(seen) == 2  # made, and due; neither the Job nor the status that it wrote is news
            name = world.jobs()[10]["metadata"]["name"]
            for active in range(50):
                world.api.change(JOBS, "default", name, lambda obj, n=active: obj.update(status={"active": n}))
                await asyncio.sleep(0.1)
            assert len(seen) == 2
            world.finish(10)
            await world.until(12)
            assert len(seen) == 3
            world.api.remove(JOBS, "default", name)
            await world.until(13)
            assert len(seen) == 3

    live(body)


def test_replace_deletes_the_running_job_in_the_background_and_starts_the_next(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job(concurrencyPolicy="Replace"))
        async with world.controller():
            await world.until(21)
            assert list(world.jobs()) == [20]
            assert len(world.status()["active"]) == 1
            deleted = [message for reason, message in world.told() if reason == "SuccessfulDelete"]
            assert deleted == [f"Deleted job c-{int(START.timestamp()) // 60 + 10}"]

    live(body)


def test_forbid_starts_again_after_the_running_job_has_ended(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job(concurrencyPolicy="Forbid"))
        async with world.controller():
            await world.until(33)
            assert list(world.jobs()) == [10]
            assert "JobAlreadyActive" in dict(world.told())
            world.finish(10, "Failed")
            # Its end is an event of its own: the newest missed time starts at once.
            await world.until(34)
            assert list(world.jobs()) == [10, 30]

    live(body)


def test_suspending_keeps_what_runs_and_resuming_starts_what_was_missed(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job())
        async with world.controller():
            await world.until(11)
            world.change(suspend=True)
            await world.until(35)
            assert list(world.jobs()) == [10] and len(world.status()["active"]) == 1
            world.change(suspend=False)
            await world.until(36)
            assert list(world.jobs()) == [10, 30]

    live(body)


def test_a_new_schedule_starts_nothing_of_the_time_before_it(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job("0 12 * * *"))
        async with world.controller():
            await world.until(65)
            world.change(schedule="0 * * * *")
            await world.until(66)
            assert list(world.jobs()) == []
            await world.until(121)
            assert list(world.jobs()) == [120]
            world.change(schedule="61 * * * *")
            await world.until(122)
            assert ("UnParseableCronJobSchedule", "unparseable schedule for cronjob: 61 * * * *") in world.told()

    live(body)


def test_a_sooner_schedule_and_another_zone_move_the_next_time(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job("0 12 * * *"))
        async with world.controller():
            await world.until(5)
            world.change(timeZone="Asia/Tokyo")  # noon is three o'clock
            await world.until(181)
            assert list(world.jobs()) == [180]

    live(body)


def test_history_beyond_the_limits_goes_with_what_belongs_to_it(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job(successfulJobsHistoryLimit=2, failedJobsHistoryLimit=0))
        propagation: list[Any] = []
        async with world.controller() as controller:
            plain = controller._client.delete

            async def delete(*args: Any, **more: Any) -> Obj:
                propagation.append((more["propagation"], bool(more["uid"])))
                return await plain(*args, **more)

            controller._client.delete = delete
            for minute in (10, 20, 30, 40):
                await world.until(minute + 1)
                world.finish(minute, "Failed" if minute == 40 else "Complete")
            await world.until(42)
            assert list(world.jobs()) == [20, 30]
            assert propagation == [("Background", True)] * 2

    live(body)


def test_a_crash_after_the_create_neither_starts_it_twice_nor_forgets_it(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job(concurrencyPolicy="Forbid"))
        world.api.fail_next += [("PUT", "cronjobs", Conflict("somebody was quicker"))] * 9
        async with world.controller():
            await world.until(10.002)  # the Job is there, and the status could not be written yet
        assert world.status()["active"] == [] and list(world.jobs()) == [10]
        world.api.fail_next.clear()
        async with world.controller():
            await world.until(25)
        assert list(world.jobs()) == [10]
        assert len(world.status()["active"]) == 1
        assert "UnexpectedJob" not in dict(world.told())

    live(body)


def test_a_name_that_somebody_took_costs_only_that_time(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job())
        taken = f"c-{int(START.timestamp()) // 60 + 10}"
        world.api.add(JOBS, {"metadata": {"name": taken, "namespace": "default", "uid": "theirs"}})
        async with world.controller():
            await world.until(21)
            assert list(world.jobs()) == [10, 20]
            assert len(world.status()["active"]) == 1

    live(body)


@pytest.mark.parametrize(("error", "again"), [(Forbidden("exceeded quota"), True), (Invalid("a hook says no"), False)])
def test_a_refused_job_is_told_of_and_tried_again_when_that_can_help(live: Live, error: ApiError, again: bool) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job())
        world.api.fail_next.append(("POST", "jobs", error))
        async with world.controller():
            await world.until(11)
            assert list(world.jobs()) == ([10] if again else [])
            assert ("FailedCreate", f"Error creating job: {error.message}") in world.told()
            await world.until(21)
            assert 20 in world.jobs()

    live(body)


def test_a_job_that_somebody_deleted_is_missed_and_lets_the_next_one_start(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job(concurrencyPolicy="Forbid"))
        async with world.controller():
            await world.until(11)
            name = world.jobs()[10]["metadata"]["name"]
            world.api.remove(JOBS, "default", name)
            await world.until(12)
            assert ("MissingJob", f"Active job went missing: {name}") in world.told()
            assert world.status()["active"] == []
            await world.until(21)
            assert list(world.jobs()) == [20]

    live(body)


def test_a_status_that_somebody_filled_is_emptied_by_and_by(live: Live) -> None:
    async def body(world: World) -> None:
        made = cron_job(suspend=True)
        listed = [{"name": f"j{n}", "namespace": "default", "uid": f"u{n}"} for n in range(167)]
        made["status"] = {"active": [{}, {"uid": "only"}, {"name": "../cronjobs/c", "uid": "x"}, *listed]}
        world.api.add(CRON_JOBS, made)
        async with world.controller():
            await asyncio.sleep(0.5)
            assert len(world.status()["active"]) == 120
            await asyncio.sleep(4)
            assert world.status()["active"] == []

    live(body)


def test_a_controller_that_was_away_starts_the_newest_time_only(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job())
        await world.until(47)
        async with world.controller():
            await world.until(48)
            assert list(world.jobs()) == [40]

    live(body)


def test_each_hour_of_a_week_makes_its_job_and_three_are_kept(live: Live) -> None:
    async def body(world: World) -> None:
        world.api.add(CRON_JOBS, cron_job("0 * * * *"))
        made = []

        def wrote(method: str, plural: str, name: str) -> None:
            if (method, plural) == ("POST", "jobs"):
                made.append(name)
                asyncio.get_running_loop().call_later(60, finish, name)

        def finish(name: str) -> None:
            world.finish(int(name.split("-")[1]) - START.timestamp() / 60)

        world.api.on_write = wrote
        hours = 7 * 24
        async with world.controller():
            await world.until(hours * 60 + 5)
        assert len(made) == len(set(made)) == hours
        assert len(world.jobs()) == 3
        assert world.status()["active"] == []

    live(body)
