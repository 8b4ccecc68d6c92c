"""Images that are built here, and images nobody uses."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from datetime import UTC, datetime

from sampan.api.clock import FixedClock
from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.host import Disk
from sampan.node.host_memory import MemoryHost, hollow_machine
from sampan.node.images.build import File, ImageConfig, build_image
from sampan.node.images.collect import collect_forever, plan_collection
from sampan.node.images.manager import ImageManager
from sampan.node.simulated import SimulatedRuntime


def test_an_image_is_the_same_every_time_and_names_its_layers() -> None:
    def build() -> bytes:
        files = {"bin/sh": File(b"#!", 0o755), "etc/x": File(link="y")}
        return build_image("a.example/b:1", [files], ImageConfig(entrypoint=["/bin/sh"]), "amd64")

    assert build() == build()
    with tarfile.open(fileobj=io.BytesIO(build())) as tar:
        index = json.loads(tar.extractfile("index.json").read())  # type: ignore[union-attr]  # a regular file
        digest = index["manifests"][0]["digest"].removeprefix("sha256:")
        manifest = json.loads(tar.extractfile(f"blobs/sha256/{digest}").read())  # type: ignore[union-attr]
        layer = tar.extractfile(f"blobs/sha256/{manifest['layers'][0]['digest'].removeprefix('sha256:')}")
        assert layer is not None
        with tarfile.open(fileobj=io.BytesIO(layer.read())) as inner:
            assert inner.getnames() == ["bin", "bin/sh", "etc", "etc/x"]
            assert inner.getmember("bin/sh").mode == 0o755
            assert inner.getmember("etc/x").linkname == "y"
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "a.example/b:1"


def test_collection_takes_the_longest_unused_first_and_never_what_is_used() -> None:
    def image(name: str, tags: tuple[str, ...] = (), pinned: bool = False) -> runtime.Image:
        return runtime.Image(name, tags, (), 100, pinned=pinned)

    kept = [image("p", pinned=True), image("q", ("sampan.local/pause:1",))]
    images = [image("a"), image("b"), image("used"), *kept, image("c", ("me/pause-menu:1",))]
    used = {"a": 2.0, "b": 1.0, "c": 3.0, "used": 0.0}
    assert [item.id for item in plan_collection(images, frozenset({"used"}), used, 50)] == ["b"]
    assert [item.id for item in plan_collection(images, frozenset({"used"}), used, 500)] == ["b", "a", "c"]
    assert plan_collection(images, frozenset(), used, 0) == []


async def test_an_image_that_cannot_be_removed_does_not_keep_the_others() -> None:
    removed: list[str] = []

    class Stubborn(SimulatedRuntime):
        async def remove_image(self, image_id: str) -> None:
            if image_id == "a":
                raise runtime.RuntimeCallError("it is busy")
            removed.append(image_id)
            all_tried.set()

        async def list_images(self) -> list[runtime.Image]:
            return [runtime.Image(name, (), (), 1 << 40) for name in ("a", "b")]

    all_tried = asyncio.Event()
    source = Stubborn(FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))
    host = MemoryHost(hollow_machine("n"))
    config = NodeConfig(
        node_name="n", addresses=(), image_gc_period_seconds=0.01, image_gc_high_percent=0, image_gc_low_percent=0
    )
    host.disk = lambda path="": Disk(total_bytes=4 << 40, free_bytes=0)  # type: ignore[method-assign]
    task = asyncio.create_task(collect_forever(config, source, ImageManager(source), host))
    try:
        async with asyncio.timeout(10):
            await all_tried.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert removed[0] == "b"
