"""Our own CSI driver in pods: a claim's data through growth, snapshot, restore and clone, and nothing left."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_harness import DEMO_IMAGE, Cluster, Kubectl, eventually

EXAMPLE = Path(__file__).parents[2] / "examples" / "csi-loopfile"
DRIVER = "loopfile.csi.sampan.io"


def _loops() -> bool:
    programs = ("losetup", "mkfs.ext4", "resize2fs", "e2fsck")
    if not all(map(shutil.which, programs)):
        return False
    return subprocess.run(["losetup", "--find"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _loops(), reason="needs loop devices and e2fsprogs")


def data_of(cluster: Cluster) -> Path:
    return Path("/var/lib/sampan") / cluster.name / "kubelet" / "plugins" / DRIVER / "data"


def staged(cluster: Cluster) -> str:
    """Below it the node mounts the driver's volumes; other clusters of the machine have their own."""
    return f"/var/lib/sampan/{cluster.name}/kubelet/plugins/kubernetes.io/csi/{DRIVER}/"


@pytest.fixture
def driver(cluster: Cluster, kubectl: Kubectl) -> Iterator[Kubectl]:
    cluster.sampan("csi", "image", "--name", cluster.name)
    manifest = cluster.sampan("csi", "manifest").stdout
    there = Kubectl(kubectl.program, cluster, "csi-loopfile")
    try:
        there("apply", "-f", "-", stdin=manifest)
        there("rollout", "status", "daemonset/csi-loopfile", "--timeout=120s")
        eventually(lambda: there.json("get", "csistoragecapacities")["items"])
        yield kubectl
    finally:
        for kind in ("pod", "volumesnapshot", "pvc"):
            kubectl.run("delete", kind, "--all", "--timeout=60s", check=False)
        eventually(lambda: not volumes(kubectl))
        there.run("delete", "-f", "-", "--timeout=60s", stdin=manifest, check=False, timeout=150)
        cluster.sampan("image", "rm", "localhost/sampan-csi:latest", "--name", cluster.name, check=False)


def volumes(kubectl: Kubectl) -> list[Any]:
    found = kubectl.json("get", "persistentvolumes")["items"]
    return [each for each in found if each["spec"].get("csi", {}).get("driver") == DRIVER]


def read_ahead_kib(cluster: Cluster, volume: str) -> int:
    """Of the device that a volume is on."""
    asked = [
        "losetup",
        "--noheadings",
        "--output",
        "NAME",
        "--associated",
        str(data_of(cluster) / "volumes" / volume / "disk"),
    ]
    [device] = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    return int((Path("/sys/block") / Path(device).name / "queue/read_ahead_kb").read_text())


def test_data_lives_through_growth_snapshot_restore_and_clone_and_leaves_nothing(
    driver: Kubectl, cluster: Cluster
) -> None:
    """ST2, ST3; [sig-storage] a CSI driver in pods: provisioning, block mode, expansion, snapshot, restore, clone"""

    def run(pod: str, command: str) -> str:
        return driver("exec", pod, "--", "sh", "-c", command).strip()

    def apply(name: str, size: str = "32Mi") -> None:
        text = (EXAMPLE / name).read_text().replace("localhost/csi-demo:1", DEMO_IMAGE).replace("32Mi", size)
        driver("apply", "-f", "-", stdin=text)

    def blocks() -> int:
        return int(run("writer", "df -P /data | tail -1").split()[1])

    apply("app.yaml")
    driver("wait", "--for=condition=Ready", "pod/writer", "--timeout=120s")
    assert run("writer", "cat /data/file; stat -c %g /data").split() == ["before", "2000"]
    run("writer", "echo block | dd of=/dev/raw conv=fsync 2>/dev/null")
    small = blocks()

    driver("patch", "pvc", "data", "-p", '{"spec":{"resources":{"requests":{"storage":"64Mi"}}}}')
    apply("attributes.yaml")
    driver("patch", "pvc", "data", "-p", '{"spec":{"volumeAttributesClassName":"scanned"}}')
    eventually(lambda: driver.json("get", "pvc", "data")["status"].get("currentVolumeAttributesClassName") == "scanned")
    assert read_ahead_kib(cluster, driver.json("get", "pvc", "data")["spec"]["volumeName"]) == 1024
    driver("delete", "volumeattributesclass", "scanned", "--wait=false")
    apply("copies.yaml")
    driver("wait", "--for=condition=Ready", "pod/reader", "--timeout=120s")
    assert driver.json("get", "volumesnapshot", "moment")["status"]["readyToUse"] is True
    run("writer", "echo after > /data/file")
    assert run("reader", "cat /restored/file /cloned/file").split() == ["before", "before"]

    # Where the driver may not grow what is mounted, it grows when the node mounts it the next time.
    driver("delete", "pod", "--all")
    eventually(lambda: staged(cluster) not in Path("/proc/self/mountinfo").read_text())
    apply("app.yaml", size="64Mi")
    driver("wait", "--for=condition=Ready", "pod/writer", "--timeout=120s")
    assert run("writer", "cat /data/file; head -c 5 /dev/raw").split() == ["after", "block"]
    assert blocks() > 1.5 * small
    eventually(lambda: driver.json("get", "pvc", "data")["status"]["capacity"]["storage"] == "64Mi")

    assert driver.json("get", "volumeattributesclass", "scanned")["metadata"]["deletionTimestamp"], "a claim has it"
    driver("delete", "pod", "--all")
    driver("delete", "volumesnapshot", "--all", "--timeout=60s")
    driver("delete", "pvc", "--all", "--timeout=60s")
    eventually(lambda: not volumes(driver))
    eventually(lambda: not driver.json("get", "volumeattributesclasses")["items"])
    assert not [path for path in data_of(cluster).rglob("*") if path.is_file()]
    assert staged(cluster) not in Path("/proc/self/mountinfo").read_text()
