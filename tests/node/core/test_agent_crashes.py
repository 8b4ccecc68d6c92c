"""The whole agent, killed at every call that it makes to the runtime, before the call's work and after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sampan.node.simulated import Behaviour

SIDECAR = {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}
HOOKS = {"postStart": {"sleep": {"seconds": 1}}, "preStop": {"sleep": {"seconds": 1}}}
#: More than the agent makes in the life below.
MORE_THAN_ENOUGH = 400
#: Calls that change something; between two of them a crash makes no difference.
CHANGES = {
    "run_sandbox", "create_container", "start_container", "stop_container", "remove_container", "stop_sandbox",
    "remove_sandbox",
}  # fmt: skip


class Breaking:
    """A runtime that never answers one of the calls that change it."""

    def __init__(self, source: Any, crash_at: int, *, after: bool) -> None:
        self._source = source
        self._crash_at = crash_at
        self._after = after
        self.count = 0
        self.crashed = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self._source, name)
        return self._counted(name, method) if name in CHANGES else method

    def _counted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            if self.count != self._crash_at:
                return await method(*arguments, **named)
            if self._after:
                await method(*arguments, **named)
            self.crashed.set()
            return await asyncio.get_running_loop().create_future()

        return call


async def live(world: Any, crash_at: int, *, after: bool) -> int:
    """A pod's life from its start to its end, with one crash; gives the number of calls."""
    world.source = Breaking(world.runtime, crash_at, after=after)
    world.runtime.behaviours["docker.io/library/init:1"] = Behaviour(run_seconds=1)
    world.runtime.behaviours["docker.io/library/short:1"] = Behaviour(run_seconds=20, exit_code=1)
    await world.start()
    watch = asyncio.create_task(watch_over(world))
    crash = asyncio.create_task(restart_when_crashed(world))
    try:
        path = world.api.add_pod(
            "web",
            terminationGracePeriodSeconds=10,
            initContainers=[{"name": "one", "image": "init:1"}, SIDECAR],
            containers=[{"name": "main", "image": "demo:1", "lifecycle": HOOKS}, {"name": "short", "image": "short:1"}],
        )
        await world.api.until(lambda: world.api.status(path)["phase"] == "Running", 300)
        await world.api.until(lambda: world.api.status(path)["containerStatuses"][1]["restartCount"] >= 2, 600)
        assert world.api.status(path)["containerStatuses"][0]["restartCount"] <= 1, "but for the crash it runs on"
        world.api.delete(path)
        await world.api.until(lambda: path not in world.api.objects, 600)
        await world.api.until(lambda: not world.agent.pods(), 600)
        await asyncio.sleep(200)  # the relist clears what a forced end left
        assert not await world.runtime.list_sandboxes() and not await world.runtime.list_containers()
    finally:
        watch.cancel()
        crash.cancel()
        await asyncio.gather(watch, crash, return_exceptions=True)
        await world.stop()
        await world.runtime.close()
    assert not watch.done() or watch.cancelled() or watch.exception() is None, watch.exception()
    count: int = world.source.count
    return count


async def restart_when_crashed(world: Any) -> None:
    await world.source.crashed.wait()
    await world.stop()
    await world.start()


async def watch_over(world: Any) -> None:
    """No container runs twice, in any sandbox, and no count of restarts goes back."""
    counts: dict[str, int] = {}
    while True:
        world.runtime.check_invariants()
        running = [item.name for item in await world.runtime.list_containers() if item.state == "running"]
        assert len(running) == len(set(running)), running
        for path, pod in world.api.objects.items():
            if "/pods/" in path:
                for item in (pod.get("status") or {}).get("containerStatuses") or ():
                    assert item["restartCount"] >= counts.get(item["name"], 0)
                    counts[item["name"]] = item["restartCount"]
        await asyncio.sleep(0.25)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("part", range(4))
async def test_an_agent_that_dies_at_any_call_is_followed_by_one_that_finishes_what_it_began(
    new_world: Any, part: int, after: bool
) -> None:
    for crash_at in range(1 + part, MORE_THAN_ENOUGH, 4):
        world = new_world()
        count = await live(world, crash_at, after=after)
        if not world.source.crashed.is_set():
            assert count > 12, "a life is made of more than that"
            return
    raise AssertionError("the life never ended")
