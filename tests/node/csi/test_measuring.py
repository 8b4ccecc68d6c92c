"""What claims' volumes take of their disks, as their drivers say, and how they are."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from csi_faults import NODE_CAPABILITIES, FaultyDriver, until

from sampan.api.types import Obj
from sampan.node.api.stats import render_volume_metrics
from sampan.node.volumes.local import LocalPlugin
from sampan.node.volumes.manager import ClaimedVolume
from sampan.node.volumes.measuring import VolumeMeasuring
from sampan.node.volumes.usage import FileSystems, Measurement, Unmeasured, VolumeUsage

Bench = Any  # the fixture of conftest.py
CAPABILITIES = (*NODE_CAPABILITIES, "GET_VOLUME_STATS", "VOLUME_CONDITION")


def claim(name: str, **more: Any) -> Obj:
    return {"name": "data", "persistentVolumeClaim": {"claimName": name, **more}}


async def looked(bench: Bench, *, health: bool = False) -> VolumeMeasuring:
    measuring = VolumeMeasuring(bench.volumes, bench.events, health=health)
    await asyncio.gather(*measuring.look())
    return measuring


async def mounted(bench: Bench, driver: FaultyDriver) -> str:
    """The pod's uid."""
    await bench.register(driver)
    await bench.add_csi_driver(attachRequired=False)
    await bench.add_volume("a")
    pod = await bench.pod("one", claim("a"))
    await bench.mount(pod)
    return str(pod["metadata"]["uid"])


async def test_a_driver_says_what_its_volumes_have(bench: Bench) -> None:
    """[sig-storage] kubelet metrics of volumes in use: kubelet_volume_stats_*"""
    driver = FaultyDriver(CAPABILITIES)
    uid = await mounted(bench, driver)
    found = (await looked(bench)).latest()
    usage = VolumeUsage(1000, 600, 400, 50, 20, 30)
    assert found == {uid: {"data": Measurement("ns", "a", usage)}}
    lines = render_volume_metrics({**found, "another pod of the claim": found[uid]}).splitlines()
    labels = '{namespace="ns",persistentvolumeclaim="a"}'
    assert [line for line in lines if line[0] != "#"] == [
        f"kubelet_volume_stats_{name}{labels} {value}"
        for name, value in (
            ("capacity_bytes", 1000),
            ("available_bytes", 600),
            ("used_bytes", 400),
            ("inodes", 50),
            ("inodes_free", 20),
            ("inodes_used", 30),
        )
    ]
    assert not driver.violations


async def test_a_driver_that_says_nothing_is_not_asked(bench: Bench) -> None:
    driver = FaultyDriver()
    await mounted(bench, driver)
    assert (await looked(bench)).latest() == {}
    assert not driver.said("NodeGetVolumeStats")


@pytest.mark.parametrize(("ailment", "abnormal"), [("the disk is on fire", True), ("", False)])
async def test_an_abnormal_volume_is_told_of_where_it_is_asked_for(bench: Bench, ailment: str, abnormal: bool) -> None:
    driver = FaultyDriver(CAPABILITIES)
    driver.ailment = ailment
    uid = await mounted(bench, driver)
    silent = await looked(bench)
    assert silent.latest()[uid]["data"].usage.abnormal is None, "the gate is off by default"
    found = (await looked(bench, health=True)).latest()
    assert found[uid]["data"].usage.abnormal is abnormal
    line = f'kubelet_volume_stats_health_status_abnormal{{namespace="ns",persistentvolumeclaim="a"}} {int(abnormal)}'
    assert line in render_volume_metrics(found).splitlines()
    words = ("one", "Warning", "VolumeConditionAbnormal", "Volume data: the disk is on fire")
    assert [each for each in bench.events.seen if each[2] == words[2]] == ([words] if abnormal else [])


async def test_a_driver_that_does_not_answer_is_asked_once_and_keeps_no_other_waiting(bench: Bench) -> None:
    slow, quick = FaultyDriver(CAPABILITIES), FaultyDriver(CAPABILITIES, name="other.example.com")
    slow.fault = lambda method: "hung" if method == "NodeGetVolumeStats" else ""
    await mounted(bench, slow)
    await bench.register(quick)
    await bench.add_csi_driver("other.example.com", attachRequired=False)
    await bench.add_volume("b", driver="other.example.com")
    pod = await bench.pod("two", claim("b"))
    measuring = VolumeMeasuring(bench.volumes, bench.events, health=False)
    running = asyncio.create_task(measuring.run())
    await until(lambda: slow.said("NodeGetVolumeStats"))
    await bench.mount(pod)
    uid = pod["metadata"]["uid"]
    await until(lambda: uid in measuring.latest())
    measuring.look()
    assert len(slow.said("NodeGetVolumeStats")) == 1
    await bench.unmount(pod)
    measuring.look()
    assert measuring.latest() == {}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


class Hanging:
    """Claims of file systems, of which one does not answer until it is let go."""

    def __init__(self, directory: Path, *, patience_seconds: float) -> None:
        self.claims_news, self.freed, self.looks = asyncio.Event(), threading.Event(), list[Path]()
        self.files = FileSystems(self._look, patience_seconds=patience_seconds)
        self._volumes = [
            ClaimedVolume(
                pod={"metadata": {"uid": name, "namespace": "ns", "name": name}},
                name="data", claim=name, plugin=LocalPlugin(), data={}, path=directory / name, block=False,
            )
            for name in ("hung", "quick")
        ]  # fmt: skip

    def _look(self, path: Path) -> VolumeUsage:
        self.looks.append(path)
        if path.name == "hung":
            self.freed.wait()
        return VolumeUsage(1000)

    def claimed(self) -> list[ClaimedVolume]:
        return self._volumes

    async def measure(self, volume: ClaimedVolume) -> VolumeUsage | None:
        return await self.files.look(volume.path)


async def test_a_file_system_that_hangs_keeps_no_other_volume_of_its_type_from_being_measured(
    bench: Bench, tmp_path: Path
) -> None:
    volumes = Hanging(tmp_path, patience_seconds=0.5)
    measuring = VolumeMeasuring(volumes, bench.events, health=False)

    async def seen(name: str) -> bool:
        await asyncio.gather(*measuring.look())
        return name in measuring.latest()

    try:
        await until(lambda: seen("quick"))
        assert "hung" not in measuring.latest()
        assert volumes.looks.count(tmp_path / "hung") == 1, "nobody looks there again meanwhile"
    finally:
        volumes.freed.set()
    await until(lambda: seen("hung"))


async def test_a_file_system_that_is_not_there_is_told_by_its_path(tmp_path: Path) -> None:
    files = FileSystems()
    for _ in range(2):
        with pytest.raises(Unmeasured, match=f"^{tmp_path}/gone: No such file or directory$"):
            await files.look(tmp_path / "gone")
    assert (await files.look(tmp_path)).capacity_bytes > 0


async def test_a_machine_without_a_thread_to_spare_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    files = FileSystems()
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", start)
        with pytest.raises(Unmeasured, match=f"^look at {tmp_path}: can't start new thread$"):
            await files.look(tmp_path)
    assert (await files.look(tmp_path)).capacity_bytes > 0


async def test_an_error_leaves_the_numbers_of_before(bench: Bench) -> None:
    driver = FaultyDriver(CAPABILITIES)
    await mounted(bench, driver)
    measuring = await looked(bench)
    before = measuring.latest()
    driver.fault = lambda method: "refused"
    await asyncio.gather(*measuring.look())
    assert measuring.latest() == before != {}
