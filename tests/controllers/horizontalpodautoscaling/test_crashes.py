"""The controller is killed again and again, wherever it is: no target is stranded, none leaves its bounds."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from sampan.api.resources import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS

Obj = dict[str, Any]
NAMES = [f"web-{number}" for number in range(8)]


def queue(name: str) -> Obj:
    target = {"type": "AverageValue", "averageValue": "10"}
    return {"type": "External", "external": {"metric": {"name": name}, "target": target}}


@pytest.mark.parametrize("seed", range(3))
def test_the_end_is_exact_however_often_it_is_killed(live: Any, seed: int) -> None:
    """60 lives, each ended after some writes; what is measured, and the bounds, change meanwhile."""
    chance = random.Random(seed)

    async def body(world: Any) -> None:
        world.metrics.external = {}
        bounds = {}
        for number, name in enumerate(NAMES):
            bounds[name] = (number % 2, 10)
            world.target(2, name)
            reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
            at_once = {"selectPolicy": "Max", "stabilizationWindowSeconds": 0}
            policy = {"type": "Percent", "value": 100, "periodSeconds": 15}
            more = {"type": "Pods", "value": 100, "periodSeconds": 15}
            behavior = {"scaleUp": {**at_once, "policies": [more]}, "scaleDown": {**at_once, "policies": [policy]}}
            spec = {"scaleTargetRef": reference, "minReplicas": number % 2, "metrics": [queue(name)]}
            world.autoscaler(name, **spec, maxReplicas=10, behavior=behavior)
            world.metrics.external[name] = [({}, "20")]
        loads: dict[str, int] = {}

        def settle() -> None:
            """The Deployments' own controller: what is wanted is there."""
            for each in world.api.all(DEPLOYMENTS):
                wanted = each["spec"]["replicas"]

                def follow(obj: Obj, wanted: int = wanted) -> None:
                    obj["status"]["replicas"] = wanted

                world.api.change(DEPLOYMENTS, "default", each["metadata"]["name"], follow)

        def within() -> None:
            for each in world.api.all(DEPLOYMENTS):
                least, most = bounds[each["metadata"]["name"]]
                assert least <= each["spec"]["replicas"] <= most

        world.selector = "app=none"
        for _ in range(60):
            name = chance.choice(NAMES)
            loads[name] = chance.choice((0, 0, 5, 25, 61, 500))
            world.metrics.external[name] = [({}, str(loads[name]))]
            limit = len(world.api.log) + chance.randint(1, 6)
            async with world.controller():
                for _ in range(40):
                    if len(world.api.log) >= limit:
                        break
                    await asyncio.sleep(chance.choice((0.0, 0.0, 0.0, 16.0)))
            within()
            settle()
        async with world.controller():
            for _ in range(4):
                await asyncio.sleep(31)
                settle()
        for name in NAMES:
            least, most = bounds[name]
            wanted = max(least, min(most, -(-loads.get(name, 20) // 10)))
            found = world.api.get(DEPLOYMENTS, "default", name)["spec"]["replicas"]
            assert found == wanted, (name, loads.get(name), found)
            status = world.api.get(HORIZONTAL_POD_AUTOSCALERS, "default", name)["status"]
            assert (status["currentReplicas"], status["desiredReplicas"]) == (wanted, wanted)
            at_zero = {each["type"]: each["status"] for each in status["conditions"]}.get("ScaledToZero")
            assert wanted or at_zero == "True"

    live(body)
