"""Volumes that are images: which image a pod gets, and that it keeps it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sampan.node import runtime
from sampan.node.images.credentials import PullSecrets
from sampan.node.images.manager import ImageError
from sampan.node.images.snapshots import SnapshotError
from sampan.node.volumes.errors import ImageVolumeError, VolumeError
from sampan.node.volumes.image import ImageVolumePlugin
from sampan.node.volumes.manager import VolumeManager
from sampan.node.volumes.plugins import BUILT_IN

VOLUME = {"name": "data", "image": {"reference": "r.example/files:1", "pullPolicy": "Always"}}


class Images:
    """One image, which is another whenever somebody says so."""

    def __init__(self) -> None:
        self.id = "sha256:one"
        self.asked: list[tuple[Any, PullSecrets]] = []
        self.held: dict[str, str] = {}
        self.fault: ImageError | None = None

    async def ensure(self, pod: Any, container: Any, report: Any, secrets: PullSecrets) -> runtime.Image:
        self.asked.append((container, secrets))
        report("Normal", "Pulled", "it is here")
        if self.fault is not None:
            raise self.fault
        return runtime.Image(self.id, (), (), 1)

    def hold(self, pod_uid: str, image_id: str) -> None:
        self.held[pod_uid] = image_id

    def let_go(self, pod_uid: str) -> None:
        self.held.pop(pod_uid, None)


class Mounts:
    """Files instead of mounts."""

    def __init__(self) -> None:
        self.views: dict[str, Path] = {}
        self.broken = False

    def mount(self, key: str, image_id: str, target: Path) -> None:
        if self.broken:
            raise SnapshotError("no space left on device")
        (target / "which").write_text(image_id)
        self.views[key] = target

    def forget(self, key: str) -> None:
        if target := self.views.pop(key, None):
            shutil.rmtree(target)
            target.mkdir()


class Node:
    def __init__(self, world: Any) -> None:
        self.world, self.images, self.mounts = world, Images(), Mounts()
        self.told: list[tuple[str, ...]] = []
        self.restart()

    def restart(self) -> None:
        """Another agent on the same disk."""
        plugin = ImageVolumePlugin(
            self.world.root, self.images, self.mounts, lambda pod, *words: self.told.append(words)
        )
        self.manager = VolumeManager(
            self.world.root, self.world.source, self.world.tokens, self.world.clock, mounter=self.world.mounter,
            plugins={**BUILT_IN, "image": plugin},
        )  # fmt: skip

    async def mount(self, uid: str, **spec: Any) -> str:
        """What the pod's volume is."""
        meta = {"name": uid, "namespace": "ns", "uid": uid}
        pod = {"metadata": meta, "spec": {"containers": [{"name": "c"}], "volumes": [VOLUME], **spec}}
        mounted = (await self.manager.mount_pod(pod))["data"]
        assert mounted.read_only
        return (Path(self.world.mounter.binds[mounted.host_path]) / "which").read_text()


@pytest.fixture
def node(world: Any) -> Node:
    return Node(world)


async def test_an_image_is_had_by_the_volumes_policy_with_the_pods_secrets(node: Node) -> None:
    node.world.add_secret("key")
    assert await node.mount("one", imagePullSecrets=[{"name": "key"}, {"name": "lost"}]) == "sha256:one"
    [(container, secrets)] = node.images.asked
    assert container == {"image": "r.example/files:1", "imagePullPolicy": "Always"}
    assert [each["metadata"]["name"] for each in secrets.found] == ["key"]
    assert node.told[0][:2] == ("Warning", "FailedToRetrieveImagePullSecret")
    assert node.told[1] == ("Normal", "Pulled", "it is here")


async def test_a_pod_keeps_its_image_and_the_next_one_gets_what_the_tag_is_then(node: Node) -> None:
    assert await node.mount("one") == "sha256:one"
    node.images.id = "sha256:two"
    assert await node.mount("one") == "sha256:one"
    assert await node.mount("next") == "sha256:two"
    node.restart()
    assert await node.mount("one") == "sha256:one"
    assert len(node.images.asked) == 2


async def test_pods_share_a_mount_which_goes_with_the_last(node: Node) -> None:
    await node.mount("one")
    await node.mount("two")
    assert len(node.mounts.views) == 1
    assert set(node.images.held) == {"one", "two"}
    await node.manager.unmount_pod("one")
    assert len(node.mounts.views) == 1
    await node.manager.unmount_pod("two")
    assert not node.mounts.views
    assert not node.images.held


async def test_an_image_that_cannot_be_had_is_what_the_containers_wait_for(node: Node) -> None:
    node.images.fault = ImageError("ErrImagePull", "not found", 1.0)
    with pytest.raises(ImageVolumeError, match="not found") as caught:
        await node.mount("one")
    assert (caught.value.reason, caught.value.retry_after_seconds) == ("ErrImagePull", 1.0)


async def test_an_image_that_cannot_be_mounted_is_told_with_its_volume(node: Node) -> None:
    node.mounts.broken = True
    words = 'MountVolume.SetUp failed for volume "data" : image cannot be mounted: no space left on device'
    with pytest.raises(VolumeError, match=words):
        await node.mount("one")
