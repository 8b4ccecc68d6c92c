"""``up`` and ``down`` of one instance wait for each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sampan.cluster import locks
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance


class Told:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(ClusterSettings(name="one"), tmp_path / "state", tmp_path / "run")


async def test_the_second_waits_and_says_so(instance: Instance) -> None:
    told, order = Told(), []

    async def second() -> None:
        async with locks.changing(instance, told):
            order.append("second")

    async with locks.changing(instance, Told()):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)
        order.append("first")
    await waiting
    assert order == ["first", "second"]
    assert told.steps == ["Waiting for another sampan command on this cluster"]


async def test_a_lock_that_a_purge_took_away_is_made_anew(instance: Instance) -> None:
    async def second() -> None:
        async with locks.changing(instance, Told()):
            assert instance.change_lock_file.exists()

    async with locks.changing(instance, Told()):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)
        instance.change_lock_file.unlink()
    await waiting


async def test_other_instances_do_not_wait(instance: Instance) -> None:
    other = Instance(ClusterSettings(name="two"), instance.state_root, instance.run_root)
    async with locks.changing(instance, Told()), locks.changing(other, Told()):
        pass


async def test_without_the_right_to_it_is_said(instance: Instance) -> None:
    instance.run_root.write_text("not a directory")
    with pytest.raises(ClusterError) as refused:
        async with locks.changing(instance, Told()):
            pass
    assert "cannot write" in refused.value.message
