"""``/stats/summary`` shows the disks of the node, and what pods have on them, as they were measured last."""

from __future__ import annotations

from datetime import UTC, datetime

from sampan.node.api.machine import MachineUsage
from sampan.node.api.stats import Sample, render_summary
from sampan.node.eviction.meter import FileSystem, Measured, Readings
from sampan.node.eviction.usage import ContainerUsage, DiskUsage, PodUsage
from sampan.node.runtime import CONTAINER_NAME_LABEL, POD_UID_LABEL, ContainerStats
from sampan.node.volumes.usage import Measurement, VolumeUsage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = {POD_UID_LABEL: "u1", CONTAINER_NAME_LABEL: "main"}
SAMPLE = Sample(NOW, MachineUsage(0, 0, 0, 0), (ContainerStats("c", LABELS, NOW, 0, 0, 0, 0, 7),), {})


def test_disks_and_processes_of_the_node_are_shown() -> None:
    disk, images = FileSystem(1000, 400, 50, 20), FileSystem(9000, 8000)
    readings = Readings(node_fs=disk, image_fs=images, tasks=3, task_limit=100)
    node = render_summary(SAMPLE, "n", {}, Measured(readings))["node"]
    time = "2026-01-01T00:00:00Z"
    assert node["fs"] == {
        "time": time, "availableBytes": 400, "capacityBytes": 1000, "usedBytes": 600,
        "inodesFree": 20, "inodes": 50, "inodesUsed": 30,
    }  # fmt: skip
    shown = {"time": time, "availableBytes": 8000, "capacityBytes": 9000, "usedBytes": 1000}
    assert node["runtime"] == {"imageFs": shown, "containerFs": shown}
    assert node["rlimit"] == {"time": time, "maxpid": 100, "curproc": 3}


def test_a_pod_that_was_measured_shows_logs_volumes_and_their_sum() -> None:
    usage = PodUsage(
        {"main": ContainerUsage(0, DiskUsage(7, 1), DiskUsage(5, 2))}, {"v": DiskUsage(30, 3)}, DiskUsage(1, 1), 4
    )
    measured = Measured(Readings(node_fs=FileSystem(1000, 400, 50, 20)), {"u1": usage})
    pod = render_summary(SAMPLE, "n", {}, measured)["pods"][0]
    assert (pod["ephemeral-storage"]["usedBytes"], pod["ephemeral-storage"]["inodesUsed"]) == (43, 7)
    assert pod["volume"] == [
        {
            "time": "2026-01-01T00:00:00Z", "name": "v", "usedBytes": 30, "inodesUsed": 3,
            "availableBytes": 400, "capacityBytes": 1000, "inodes": 50, "inodesFree": 20,
        }
    ]  # fmt: skip
    assert pod["containers"][0]["logs"]["usedBytes"] == 5
    assert pod["process_stats"] == {"process_count": 4}


def test_what_was_not_measured_is_not_made_up() -> None:
    summary = render_summary(SAMPLE, "n", {})
    assert not {"fs", "runtime", "rlimit"} & set(summary["node"])
    assert "volume" not in summary["pods"][0]
    assert summary["pods"][0]["ephemeral-storage"]["usedBytes"] == 7


def test_volumes_of_claims_are_shown_among_the_others_with_their_claim_and_their_health() -> None:
    usage = PodUsage({}, {"v": DiskUsage(30, 3)}, DiskUsage(1, 1), 4)
    claimed = {"u1": {"data": Measurement("ns", "c", VolumeUsage(1000, 600, 400, 50, 20, 30, abnormal=True))}}
    pod = render_summary(SAMPLE, "n", {}, Measured(pods={"u1": usage}), claimed)["pods"][0]
    data, own = pod["volume"]
    assert (own["name"], own["usedBytes"], "pvcRef" in own) == ("v", 30, False)
    assert data == {
        "time": "2026-01-01T00:00:00Z", "name": "data", "pvcRef": {"name": "c", "namespace": "ns"},
        "availableBytes": 600, "capacityBytes": 1000, "usedBytes": 400,
        "inodesFree": 20, "inodes": 50, "inodesUsed": 30, "volumeHealthStats": {"abnormal": True},
    }  # fmt: skip
