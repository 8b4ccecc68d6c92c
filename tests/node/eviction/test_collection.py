"""Which images go, and when: nearly full, too old, or at once; what ended goes with its logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.client.timeline import VirtualTimeline
from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.host import Disk
from sampan.node.host_memory import MemoryHost, hollow_machine
from sampan.node.images.collect import Collector, Seen, enough, excess_bytes, plan_images
from sampan.node.images.manager import ImageManager
from sampan.node.simulated import SimulatedRuntime

LONG_AGO = float("-inf")


def image(name: str, tags: tuple[str, ...] = (), *, pinned: bool = False, size: int = 100) -> runtime.Image:
    return runtime.Image(name, tags, (), size, pinned=pinned)


def test_the_longest_unused_goes_first_and_never_what_is_used() -> None:
    kept = [image("p", pinned=True), image("q", ("sampan.local/pause:1",))]
    images = [image("a"), image("b"), image("used"), *kept, image("c", ("me/pause-menu:1",))]
    seen = {each.id: Seen(0, used) for each, used in zip(images, (2, 1, 0, 0, 0, 3), strict=True)}
    order = plan_images(images, {"used"}, seen, 1000, 120)
    assert [item.id for item in order] == ["b", "a", "c"]
    assert [item.id for item in enough(order, 50)] == ["b"]
    assert [item.id for item in enough(order, 101)] == ["b", "a"]
    assert enough(order, 0) == []


def test_what_came_within_the_minimum_age_stays() -> None:
    images = [image("new"), image("old"), image("first")]
    seen = {"new": Seen(881, 881), "old": Seen(880, 880), "first": Seen(LONG_AGO, LONG_AGO)}
    assert [item.id for item in plan_images(images, (), seen, 1000, 120)] == ["first", "old"]


@pytest.mark.parametrize(
    ("free", "excess"), [(16, 0), (15, 5), (10, 10), (0, 20)], ids=["below the mark", "at the mark", "above", "full"]
)
def test_collection_begins_at_the_high_mark_and_frees_down_to_the_low_one(free: int, excess: int) -> None:
    assert excess_bytes(100, free, NodeConfig(node_name="n", addresses=())) == excess


class Images(SimulatedRuntime):
    """``sizes``: the images that there are."""

    def __init__(self) -> None:
        super().__init__(VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC)))
        self.sizes: dict[str, int] = {}
        self.stubborn: set[str] = set()

    async def list_images(self) -> list[runtime.Image]:
        return [image(name, size=size) for name, size in self.sizes.items()]

    async def remove_image(self, reference: str) -> None:
        if reference in self.stubborn:
            raise runtime.RuntimeCallError("it is busy")
        del self.sizes[reference]


class Node:
    def __init__(self) -> None:
        self.runtime = Images()
        self.host = MemoryHost(hollow_machine("n"))
        self.told: list[tuple[str, str, str]] = []
        self.ended: set[str] = set()
        self.doubted: set[str] = set()
        self.fill(50)

    def fill(self, percent: int) -> None:
        self.host.present_disk = Disk(total_bytes=1000, free_bytes=1000 - 10 * percent)

    def start(self, **settings: Any) -> Collector:
        config = replace(NodeConfig(node_name="n", addresses=(), log_dir=Path("/logs")), **settings)
        return Collector(
            config, self.runtime, ImageManager(self.runtime), self.host, lambda *event: self.told.append(event),
            ended=lambda: self.ended, removed=self.doubted.update,
        )  # fmt: skip


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node()
    yield made
    await made.runtime.close()


async def test_below_the_high_mark_nothing_goes_however_old(node: Node) -> None:
    collector = node.start()
    node.runtime.sizes = {"a": 100}
    node.fill(84)
    await collector.collect()
    assert node.runtime.sizes == {"a": 100}


async def test_a_stubborn_image_does_not_keep_the_others_and_what_is_missing_is_told(node: Node) -> None:
    collector = node.start()
    node.runtime.sizes, node.runtime.stubborn = {"a": 100, "b": 50}, {"a"}
    node.fill(95)
    await collector.collect()
    assert node.runtime.sizes == {"a": 100}
    wanted = "Attempted to free 150 bytes, but only found 50 bytes eligible to free."
    message = f"Failed to garbage collect required amount of images. {wanted}"
    assert node.told == [("Warning", "FreeDiskSpaceFailed", message)]
    await collector.collect()
    assert [reason for _, reason, _ in node.told][-1] == "ImageGCFailed"  # only once it has failed twice


async def test_an_image_that_came_just_now_is_left_for_two_minutes(node: Node) -> None:
    collector = node.start()
    await collector.collect()
    node.runtime.sizes = {"new": 1000}
    node.fill(95)
    await collector.collect()
    await asyncio.sleep(119)
    await collector.collect()
    assert node.runtime.sizes == {"new": 1000}
    await asyncio.sleep(1)
    await collector.collect()
    assert node.runtime.sizes == {}


async def test_what_nobody_used_for_the_maximum_age_goes_from_an_empty_disk(node: Node) -> None:
    collector = node.start(image_maximum_age_seconds=3600)
    await collector.collect()
    node.runtime.sizes = {"a": 100}
    await collector.collect()
    await asyncio.sleep(3599)
    await collector.collect()
    assert node.runtime.sizes
    await asyncio.sleep(1)
    await collector.collect()
    assert not node.runtime.sizes


async def test_a_node_short_of_disk_gives_up_containers_that_ended_and_then_their_images(node: Node) -> None:
    collector = node.start()
    labels = {
        runtime.POD_UID_LABEL: "u1", runtime.POD_NAMESPACE_LABEL: "d", runtime.POD_NAME_LABEL: "p",
        runtime.CONTAINER_NAME_LABEL: "main",
    }  # fmt: skip
    started = datetime(2026, 1, 1, tzinfo=UTC)
    made = runtime.Container(
        id="c1", name="main", attempt=0, state="exited", created_at=started, image_ref="a", labels=labels,
        sandbox_id="s1",
    )  # fmt: skip
    node.runtime.place(
        runtime.Sandbox("s1", "p", "u1", "d", 0, False, started), made, replace(made, id="c2", state="running")
    )
    node.runtime.sizes = {"a": 100, "b": 100}
    log = Path("/logs/d_p_u1/main/0.log")
    await node.host.write(log, b"x", 0o644)
    await collector.reclaim()
    assert {each.id for each in await node.runtime.list_containers()} == {"c1", "c2"}  # the pod has not ended
    assert node.runtime.sizes == {"a": 100}
    node.ended = {"u1"}
    await collector.reclaim()
    assert {each.id for each in await node.runtime.list_containers()} == {"c2"}
    assert node.doubted == {"u1"}
    assert log not in node.host.paths()
