"""What is taken back from pods that are gone: never from one that has come meanwhile, and beside everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from sampan.client import tasks
from sampan.node import runtime
from sampan.node.host_memory import MemoryHost, hollow_machine
from sampan.node.pods.state import PodState
from sampan.node.runtimewatch import RuntimeWatch


class Surroundings:
    """A runtime with nothing in it, volumes, and whatever pods had besides."""

    def __init__(self, config: Any) -> None:
        self.workers: dict[str, Any] = {}
        self.looking: set[str] = set()
        self.fails = False
        self.rounds, self._wanted, self._done = 0, 0, asyncio.Event()
        self.took_back: list[set[str]] = []
        self.hung = asyncio.Event()
        self.hung.set()
        # It stands in for the runtime, its volumes and its workers.
        self.watch = RuntimeWatch(
            replace(config, relist_seconds=0.0), self, MemoryHost(hollow_machine("n1")), self, self.workers,
            claims=list, judged=lambda: self.looking, ended=lambda container_id: None, cleanup=self.cleanup,
        )  # type: ignore[arg-type]  # fmt: skip

    async def list_sandboxes(self) -> list[Any]:
        self.rounds += 1
        if self.rounds >= self._wanted:
            self._done.set()
        if self.fails:
            raise runtime.RuntimeUnavailable("away")
        return []

    async def list_containers(self) -> list[Any]:
        return []

    async def cleanup_orphans(self, known: Collection[str]) -> None:
        # Volumes take their time, and a pod comes meanwhile.
        self.workers.setdefault("new", Worker())

    async def cleanup(self, known: Callable[[], Collection[str]]) -> None:
        self.took_back.append(set(known()))
        await self.hung.wait()

    async def rounds_done(self, number: int) -> None:
        self._wanted = number
        self._done.clear()
        await self._done.wait()


class Worker:
    def __init__(self) -> None:
        self.state = PodState()


async def relist(world: Surroundings, rounds: int) -> None:
    async with asyncio.TaskGroup() as group:
        world.watch.group = group
        running = tasks.spawn_apart(group, world.watch.relist_forever(), "relist")
        await world.rounds_done(rounds)
        world.hung.set()
        await tasks.cancel_and_wait(running)


async def test_a_pod_that_comes_while_others_are_cleared_keeps_what_it_has(new_world: Any) -> None:
    world = Surroundings(new_world().config)
    world.looking = {"judged"}
    world.watch.cleaning.add("running on")
    await relist(world, 8)
    assert world.took_back[0] == {"new", "judged", "running on"}


async def test_a_driver_that_hangs_does_not_hold_up_the_lists(new_world: Any) -> None:
    world = Surroundings(new_world().config)
    world.hung.clear()
    await relist(world, 20)
    assert len(world.took_back) == 1


async def test_of_a_runtime_that_says_nothing_nothing_is_concluded(new_world: Any) -> None:
    world = Surroundings(new_world().config)
    world.fails = True
    await relist(world, 8)
    assert world.took_back == [] and world.workers == {}
