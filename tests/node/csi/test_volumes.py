"""What a driver is asked for a pod's volumes, and what people are told when it does not do it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from csi_faults import DRIVER, FaultyDriver, RealMount, until

from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from sampan.api.storage.attachments import unique_name
from sampan.api.types import Obj
from sampan.node.volumes.csi import requests
from sampan.node.volumes.errors import VolumeError
from sampan.node.volumes.mount import LinuxMounter

Bench = Any  # the fixture of conftest.py


def claim(name: str, **more: Any) -> Obj:
    return {"name": "data", "persistentVolumeClaim": {"claimName": name, **more}}


def inline(driver: str = DRIVER, **more: Any) -> Obj:
    return {"name": "data", "csi": {"driver": driver, **more}}


async def test_a_claims_volume_is_staged_once_and_published_for_each_pod_and_nothing_is_left(bench: Bench) -> None:
    driver = FaultyDriver()
    await bench.register(driver)
    await bench.add_csi_driver(attachRequired=True)
    await bench.add_secret("login", password="hunter2")
    secret = {"name": "login", "namespace": "ns"}
    await bench.add_volume(
        "a", modes=["ReadWriteOnce"], mountOptions=["noatime"],
        csi={"fsType": "ext4", "volumeAttributes": {"pool": "p"}, "nodeStageSecretRef": secret},
    )  # fmt: skip
    pods = [await bench.pod(name, claim("a")) for name in ("one", "two")]
    mounting = asyncio.create_task(bench.mount(pods[0]))
    name = unique_name(DRIVER, "h-a")
    await until(lambda: name in bench.csi.in_use.names())
    assert not driver.said("NodeStageVolume"), "it is not attached yet"
    await bench.attach("a", device="/dev/sdq")
    paths = [(await mounting)["data"], (await bench.mount(pods[1]))["data"]]
    await bench.mount(pods[0])  # as before each container starts

    (staged,) = driver.said("NodeStageVolume")
    assert staged.volume_id == "h-a"
    assert dict(staged.publish_context) == {"device": "/dev/sdq"}
    assert dict(staged.secrets) == {"password": "hunter2"}
    assert dict(staged.volume_context) == {"pool": "p"}
    mount = staged.volume_capability.mount
    assert (mount.fs_type, list(mount.mount_flags)) == ("ext4", ["noatime"])
    assert staged.volume_capability.access_mode.mode == 7
    assert staged.staging_target_path.startswith(f"{bench.root}/plugins/kubernetes.io/csi/{DRIVER}/")
    assert staged.staging_target_path.endswith("/globalmount")
    published = driver.said("NodePublishVolume")
    assert [request.target_path for request in published] == [str(path) for path in paths]
    assert {request.staging_target_path for request in published} == {staged.staging_target_path}
    assert not published[0].readonly

    await bench.unmount(pods[0])
    assert driver.staged
    await bench.unmount(pods[1])
    assert (driver.staged, driver.published, driver.violations) == ({}, {}, [])
    assert (bench.left(), bench.csi.in_use.names()) == ([], [])


async def test_a_restarted_agent_takes_away_what_the_one_before_began(bench: Bench) -> None:
    driver = FaultyDriver()
    await bench.register(driver)
    await bench.add_csi_driver(attachRequired=True)
    await bench.add_volume("a")
    await bench.attach("a")
    pod = await bench.pod("one", claim("a"))
    driver.fault = lambda method: "lost" if method == "NodePublishVolume" else ""
    with pytest.raises(
        VolumeError, match=r'MountVolume\.SetUp failed for volume "data" : rpc error: code = Unavailable'
    ):
        await bench.mount(pod)
    driver.fault = lambda method: ""
    await bench.restart(registering=False)  # no driver is back yet, however fast the machine
    await until(lambda: bench.csi.in_use.names() == [unique_name(DRIVER, "h-a")])
    with pytest.raises(VolumeError, match=f"driver name {DRIVER} not found in the list of registered CSI drivers"):
        await bench.unmount(pod)
    bench.begin_registering()

    async def is_gone() -> bool:
        return await bench.volumes.cleanup_orphans(set()) == [pod["metadata"]["uid"]]

    await until(is_gone)  # once the driver has registered again
    assert (driver.staged, driver.published, driver.violations, bench.left()) == ({}, {}, [], [])


async def test_a_volume_of_the_pod_alone_gets_its_names_and_tokens(bench: Bench) -> None:
    driver = FaultyDriver()
    await bench.register(driver)
    requested = [{"audience": "vault", "expirationSeconds": 3600}]
    await bench.add_csi_driver(
        attachRequired=False, podInfoOnMount=True, volumeLifecycleModes=["Ephemeral"], tokenRequests=requested,
        requiresRepublish=True,
    )  # fmt: skip
    pod = await bench.pod("one", inline(readOnly=True, volumeAttributes={"k": "v"}))
    path = (await bench.mount(pod))["data"]
    (request,) = driver.said("NodePublishVolume")
    assert request.target_path == str(path)
    assert request.readonly
    assert request.volume_id == requests.inline_handle(pod["metadata"]["uid"], "data")
    context = dict(request.volume_context)
    tokens = orjson.loads(context.pop("csi.storage.k8s.io/serviceAccount.tokens"))
    assert set(tokens) == {"vault"}
    assert set(tokens["vault"]) == {"token", "expirationTimestamp"}
    assert context == {
        "k": "v",
        "csi.storage.k8s.io/pod.name": "one",
        "csi.storage.k8s.io/pod.namespace": "ns",
        "csi.storage.k8s.io/pod.uid": pod["metadata"]["uid"],
        "csi.storage.k8s.io/serviceAccount.name": "builder",
        "csi.storage.k8s.io/ephemeral": "true",
    }
    await bench.mount(pod)
    assert len(driver.said("NodePublishVolume")) == 2, "requiresRepublish"
    await bench.unmount(pod)
    assert not driver.said("NodeStageVolume")
    assert (driver.published, bench.left()) == ({}, [])


async def test_what_is_missing_is_said_in_the_kubelets_words(bench: Bench) -> None:
    await bench.add_volume("a", driver="gone.example.com")
    await bench.add_csi_driver("both.example.com", volumeLifecycleModes=["Persistent", "Ephemeral"])
    await bench.add_csi_driver("claims.example.com")
    missing = "driver name {} not found in the list of registered CSI drivers"
    words = {
        "claimed": (
            claim("a"),
            'MountVolume.MountDevice failed for volume "data" : kubernetes.io/csi: attacher.MountDevice failed to '
            "create newCsiDriverClient: " + missing.format("gone.example.com"),
        ),
        "inline": (
            inline("both.example.com"),
            'MountVolume.SetUp failed for volume "data" : kubernetes.io/csi: mounter.SetUpAt failed to get CSI '
            "client: " + missing.format("both.example.com"),
        ),
        "other-mode": (
            inline("claims.example.com"),
            'MountVolume.SetUp failed for volume "data" : volume mode "Ephemeral" not supported by driver '
            'claims.example.com (only supports ["Persistent"])',
        ),
    }
    for name, (volume, expected) in words.items():
        pod = await bench.pod(name, volume)
        with pytest.raises(VolumeError) as caught:
            await bench.mount(pod)
        assert str(caught.value) == expected


async def test_a_driver_that_hangs_holds_up_no_other(bench: Bench) -> None:
    hung, well = FaultyDriver(name="a.example.com"), FaultyDriver(name="b.example.com")
    hung.fault = lambda method: "hung" if method == "NodeStageVolume" else ""
    for driver in (hung, well):
        await bench.register(driver)
        await bench.add_csi_driver(driver.name, attachRequired=False)
        await bench.add_volume(driver.name[0], driver=driver.name)
    stuck = [asyncio.create_task(bench.mount(await bench.pod(f"s{number}", claim("a")))) for number in range(20)]
    await until(lambda: hung.said("NodeStageVolume"))
    pod = await bench.pod("well", claim("b"), {"name": "s", "emptyDir": {}})
    await bench.mount(pod)
    await bench.unmount(pod)
    assert (well.staged, well.published) == ({}, {})
    assert not any(task.done() for task in stuck)
    assert len(hung.said("NodeStageVolume")) == 1, "one is asked, the others wait for it"
    for task in stuck:
        task.cancel()
    await asyncio.wait(stuck)


async def test_a_volume_grows_under_its_pod_and_its_claim_says_so(bench: Bench) -> None:
    driver = FaultyDriver()
    await bench.register(driver)
    await bench.add_csi_driver(attachRequired=False)
    await bench.add_volume("a")
    pod = await bench.pod("one", claim("a"))
    path = (await bench.mount(pod))["data"]
    assert not driver.said("NodeExpandVolume")
    await bench.admin.patch(PERSISTENT_VOLUMES, "pv-a", {"spec": {"capacity": {"storage": "2Gi"}}})
    pending = {"type": "FileSystemResizePending", "status": "True"}
    await bench.admin.patch(
        PERSISTENT_VOLUME_CLAIMS, "a", {"status": {"conditions": [pending]}}, "ns", subresource="status"
    )
    await bench.mount(pod)
    await bench.mount(pod)
    (request,) = driver.said("NodeExpandVolume")
    assert (request.volume_path, request.capacity_range.required_bytes) == (str(path), 2 << 30)
    status = (await bench.admin.get(PERSISTENT_VOLUME_CLAIMS, "a", "ns"))["status"]
    assert status["capacity"] == {"storage": "2Gi"}
    assert not status.get("conditions")
    text = 'MountVolume.NodeExpandVolume succeeded for volume "pv-a" n1'
    assert bench.events.seen == [(name, "Normal", "FileSystemResizeSuccessful", text) for name in ("one", "a")]
    assert not driver.violations


async def test_a_volume_that_cannot_grow_keeps_no_pod_from_running(bench: Bench) -> None:
    driver = FaultyDriver()
    await bench.register(driver)
    await bench.add_csi_driver(attachRequired=False)
    await bench.add_volume("a")
    await bench.admin.patch(PERSISTENT_VOLUMES, "pv-a", {"spec": {"capacity": {"storage": "2Gi"}}})
    driver.fault = lambda method: "refused" if method == "NodeExpandVolume" else ""
    assert await bench.mount(await bench.pod("one", claim("a")))
    assert {(kind, reason) for _, kind, reason, _ in bench.events.seen} == {("Warning", "FileSystemResizeFailed")}
    assert "the disk is on fire" in bench.events.seen[0][3]


@pytest.mark.parametrize(
    ("policy", "fs_type", "modes", "applied"),
    [
        ("None", "ext4", ["ReadWriteOnce"], False),
        ("File", "", ["ReadWriteMany"], True),
        ("ReadWriteOnceWithFSType", "ext4", ["ReadWriteOnce"], True),
        ("ReadWriteOnceWithFSType", "ext4", ["ReadWriteOncePod"], True),
        ("ReadWriteOnceWithFSType", "", ["ReadWriteOnce"], False),
        ("ReadWriteOnceWithFSType", "ext4", ["ReadWriteMany"], False),
        ("ReadWriteOnceWithFSType", "ext4", None, True),
    ],
)
def test_the_pods_group_gets_the_files_by_the_drivers_policy(
    policy: str, fs_type: str, modes: list[str] | None, applied: bool
) -> None:
    assert requests.applies_group(policy, fs_type=fs_type, modes=modes) is applied


@pytest.mark.parametrize(
    ("mode", "plain", "telling"),
    [("ReadWriteOnce", 1, 7), ("ReadWriteOncePod", 1, 6), ("ReadOnlyMany", 3, 3), ("ReadWriteMany", 5, 5)],
)
def test_access_modes_are_the_interfaces(mode: str, plain: int, telling: int) -> None:
    assert (requests.access_mode([mode], False), requests.access_mode([mode], True)) == (plain, telling)


async def test_a_driver_that_mounts_for_a_group_is_given_the_group(bench: Bench) -> None:
    driver = FaultyDriver(("VOLUME_MOUNT_GROUP",))
    await bench.register(driver)
    await bench.add_csi_driver(attachRequired=False)
    await bench.add_volume("a")
    await bench.mount(await bench.pod("one", claim("a", readOnly=True), securityContext={"fsGroup": 4711}))
    (request,) = driver.said("NodePublishVolume")
    assert request.volume_capability.mount.volume_mount_group == "4711"
    assert (request.staging_target_path, request.readonly) == ("", True), "it has nothing to stage"
    assert not driver.said("NodeStageVolume")


class Devices:
    """Where a raw volume is published there is a file that is the device."""

    def stage(self, path: Path, volume: str) -> None: ...

    def publish(self, path: Path, staged: Path | None) -> None:
        path.touch()

    def take_off(self, path: Path) -> None:
        if path.is_file():
            path.unlink()


async def test_a_raw_volume_is_a_device_for_the_pod(bench: Bench) -> None:
    driver = FaultyDriver(mount=Devices())
    await bench.register(driver)
    await bench.add_csi_driver(attachRequired=False)
    await bench.add_volume("a", volumeMode="Block")
    pod = await bench.pod("one", claim("a"), securityContext={"fsGroup": 4711})
    mounted = (await bench.volumes.mount_pod(pod))["data"]
    (staged,), (published,) = driver.said("NodeStageVolume"), driver.said("NodePublishVolume")
    assert staged.volume_capability.HasField("block") and published.volume_capability.HasField("block")
    devices = bench.root / "plugins/kubernetes.io/csi/volumeDevices"
    assert Path(staged.staging_target_path).is_relative_to(devices / "staging")
    assert published.target_path == str(mounted.host_path)
    assert mounted.block
    assert mounted.host_path.is_relative_to(devices / "publish")
    await bench.restart()
    await until(lambda: bench.csi.plugin._drivers.all())
    await bench.unmount(pod)
    assert (driver.staged, driver.published, driver.violations, bench.left()) == ({}, {}, [], [])
    assert not list((devices / "publish").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_real_mounts_are_made_once_and_taken_off_whatever_is_lost(bench: Bench) -> None:
    try:
        probe = bench.root / "probe"
        probe.mkdir()
        LinuxMounter().mount_tmpfs(probe, 4096)
    except PermissionError:
        pytest.skip("this sandbox may not mount")
    LinuxMounter().unmount(probe)
    lost = {"NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"}
    driver = FaultyDriver(mount=RealMount())
    driver.fault = lambda method: "lost" if method in lost and not lost.discard(method) else ""  # type: ignore[func-returns-value]
    await bench.register(driver)
    await bench.add_csi_driver(attachRequired=False)
    await bench.add_volume("a", csi={"fsType": "ext4"})
    pods = [await bench.pod(name, claim("a"), securityContext={"fsGroup": 4711}) for name in ("one", "two")]
    for _ in range(2):
        with pytest.raises(VolumeError, match="the answer is lost"):
            await bench.mount(pods[0])
    path = (await bench.mount(pods[0]))["data"]
    (path / "file").write_text("data")
    await bench.restart()
    await until(lambda: bench.csi.plugin._drivers.all())
    other = (await bench.mount(pods[1]))["data"]
    assert (await bench.mount(pods[0]))["data"] == path
    assert (other / "file").read_text() == "data"
    assert path.stat().st_gid == 4711
    assert len(LinuxMounter().mounts_below(bench.root)) == 3, "the volume, and once for each pod"
    for pod in pods:
        while True:
            try:
                await bench.unmount(pod)
                break
            except VolumeError as error:
                assert "the answer is lost" in str(error)
    assert LinuxMounter().mounts_below(bench.root) == []
    assert (bench.left(), driver.violations) == ([], [])


async def test_a_driver_that_hangs_keeps_no_other_volume_from_being_renewed(bench: Bench) -> None:
    driver = FaultyDriver()
    await bench.register(driver)
    await bench.add_csi_driver(attachRequired=False, volumeLifecycleModes=["Ephemeral"], requiresRepublish=True)
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    plain = await bench.pod("plain", {"name": "data", "downwardAPI": {"items": [labels]}})
    hangs = await bench.pod("hangs", inline())
    paths = {pod["metadata"]["name"]: (await bench.mount(pod))["data"] for pod in (plain, hangs)}
    driver.fault = lambda method: "hung"
    for pod in (hangs, plain):
        bench.volumes.pod_changed({**pod, "metadata": {**pod["metadata"], "labels": {"new": "yes"}}})
    await until(lambda: (paths["plain"] / "labels").read_text() == 'new="yes"')
    await until(lambda: len(driver.said("NodePublishVolume")) == 2)


async def test_a_claim_that_two_volumes_of_a_pod_name_is_published_once(bench: Bench) -> None:
    """A driver refuses the second time for ReadWriteOncePod."""
    driver = FaultyDriver()
    await bench.register(driver)
    await bench.add_csi_driver(attachRequired=False)
    await bench.add_volume("a", modes=["ReadWriteOncePod"])
    await bench.add_volume("b")
    names = [claim("a", readOnly=True), {**claim("a"), "name": "again"}, {**claim("b"), "name": "other"}]
    pod = await bench.pod("one", *names)
    for _ in range(2):
        mounted = await bench.volumes.mount_pod(pod)
    assert mounted["data"].host_path == mounted["again"].host_path != mounted["other"].host_path
    assert [mounted[name].read_only for name in ("data", "again", "other")] == [True, False, False]
    assert [(each.volume_id, each.readonly) for each in driver.said("NodePublishVolume")] == [
        ("h-a", False),
        ("h-b", False),
    ]
    await bench.unmount(pod)
    assert (driver.staged, driver.published, driver.violations, bench.left()) == ({}, {}, [], [])
