"""Finished Jobs go when their time to live has passed, and no sooner."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan.api.clock import format_time
from sampan.api.resources import JOBS
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.client.timeline import VirtualTimeline
from sampan.controllers.context import Context, ControllersConfig
from sampan.controllers.ttlafterfinished.controller import TtlAfterFinishedController, seconds_left
from sampan.testing import virtual

Obj = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)


def job(ttl: int | None, ended: str = "Complete", status: str = "True", **meta: Any) -> Obj:
    condition = {"type": ended, "status": status, "lastTransitionTime": format_time(START)}
    spec = {} if ttl is None else {"ttlSecondsAfterFinished": ttl}
    return {
        "metadata": {"name": "j", "namespace": "default", **meta},
        "spec": spec,
        "status": {"conditions": [condition]},
    }


@pytest.mark.parametrize(
    ("made", "left"),
    [
        (job(30), 20),
        (job(30, "Failed"), 20),
        (job(0), -10),
        (job(None), None),
        (job(30, status="False"), None),
        (job(30, "Suspended"), None),
        (job(30, "SuccessCriteriaMet"), None),
        (job(30, deletionTimestamp="2026-01-01T00:00:00Z"), None),
    ],
)
def test_the_time_left_counts_from_the_end(made: Obj, left: float | None) -> None:
    assert seconds_left(made, START + timedelta(seconds=10)) == left


def test_a_job_without_the_time_of_its_end_stays() -> None:
    made = job(0)
    del made["status"]["conditions"][0]["lastTransitionTime"]
    assert seconds_left(made, START) is None


async def _live(api: Any, run_with: Any, body: Any) -> None:
    client, rng = Client(api), random.Random(1)
    informers = InformerFactory(client, random=rng)
    context = Context(informers, lambda name: client, VirtualTimeline(START), rng, ControllersConfig())
    controller = TtlAfterFinishedController(context)
    async with run_with(context, controller):
        await body(controller)


def test_a_finished_job_goes_at_its_time_and_what_it_owns_before_it(make_api: Any, run_with: Any) -> None:
    api, asked = make_api(), []

    async def body(controller: TtlAfterFinishedController) -> None:
        plain = controller._client.delete

        async def delete(*args: Any, **more: Any) -> Obj:
            asked.append((more["propagation"], more["uid"]))
            return await plain(*args, **more)

        controller._client.delete = delete
        made = api.add(JOBS, {**job(100), "status": {}})
        await asyncio.sleep(10)
        api.change(JOBS, "default", "j", lambda obj: obj.update(status=job(100)["status"]))
        await asyncio.sleep(89)
        assert api.all(JOBS) and asked == []
        await asyncio.sleep(2)
        assert asked == [("Foreground", made["metadata"]["uid"])]
        assert not [each for each in api.all(JOBS) if "deletionTimestamp" not in each["metadata"]]

    virtual.run(_live(api, run_with, body))


def test_a_longer_life_given_meanwhile_counts(make_api: Any, run_with: Any) -> None:
    api = make_api()

    async def body(controller: TtlAfterFinishedController) -> None:
        api.add(JOBS, job(100))
        await asyncio.sleep(50)
        api.change(JOBS, "default", "j", lambda obj: obj["spec"].update(ttlSecondsAfterFinished=200))
        await asyncio.sleep(149)
        assert len(api.all(JOBS)) == 1
        await asyncio.sleep(2)
        assert not [each for each in api.all(JOBS) if "deletionTimestamp" not in each["metadata"]]

    virtual.run(_live(api, run_with, body))


def test_the_server_is_asked_before_a_job_goes(make_api: Any, run_with: Any) -> None:
    """What the informer does not know yet counts: the job lives longer, or has finished anew."""
    api = make_api(in_process=False)

    async def body(controller: TtlAfterFinishedController) -> None:
        api.add(JOBS, job(100))
        await asyncio.sleep(50)
        api.deaf = True
        api.change(JOBS, "default", "j", lambda obj: obj["spec"].update(ttlSecondsAfterFinished=200))
        await asyncio.sleep(100)
        assert len(api.all(JOBS)) == 1

    virtual.run(_live(api, run_with, body))
