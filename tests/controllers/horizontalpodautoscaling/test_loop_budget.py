"""A look at a target of thousands of pods, in a namespace of more, leaves the event loop its turns.

Between two of its turns the processor time of the loop's own thread is measured: what other programs do does not count.
"""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import UTC, datetime
from typing import Any

from sampan.client.keys import ObjectKey
from sampan.client.timeline import VirtualTimeline
from sampan.controllers.horizontalpodautoscaling.metrics import MetricsReader

#: 10 ms is what is wanted; this runs on slow machines too. Looked at in one piece, it is sixty
LONGEST_SECONDS = 0.025
PODS = 1500


def test_a_large_target_does_not_hold_the_loop(live: Any) -> None:
    async def body(world: Any) -> None:
        world.target(PODS)
        for number in range(PODS):
            world.pod(f"web-{number}", f"{50_000_000 + number}n", of=str(number % 7))
        world.autoscaler(maxReplicas=10 * PODS)
        steps = []

        async def beat() -> None:
            before = time.thread_time()
            while True:
                await asyncio.sleep(0)
                now = time.thread_time()
                steps.append(now - before)
                before = now

        async with world.controller() as controller:
            await world.at(1)
            assert world.conditions()["ScalingActive"][0] == "True"
            answer = await controller._reader.pod_metrics("default", "app=web")

            async def known(namespace: str, selector: str) -> list[Any]:
                return answer  # what it takes to make it is the fake's

            controller._reader.pod_metrics = known
            gc.collect()
            gc.disable()
            beating = asyncio.ensure_future(beat())
            await controller.sync(ObjectKey("default", "web"))
            beating.cancel()
            gc.enable()
        assert len(steps) > PODS / 250
        assert max(steps) < LONGEST_SECONDS

    live(body)


def test_many_series_of_an_external_metric_leave_the_loop_its_turns() -> None:
    """A hundred thousand, read in one piece, are two seconds."""

    class Answering:
        async def raw(self, method: str, path: str, query: dict[str, str]) -> Any:
            return {"items": [{"value": f"{number}m"} for number in range(1000)]}

    async def turns() -> int:
        reader: Any = MetricsReader(Answering(), VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC)))  # type: ignore[arg-type]
        reading = asyncio.ensure_future(reader.external("queue", "default", ""))
        turns = 0
        while not reading.done():
            turns += 1
            await asyncio.sleep(0)
        assert await reading == list(range(1000))
        return turns

    assert asyncio.run(turns()) >= 10
