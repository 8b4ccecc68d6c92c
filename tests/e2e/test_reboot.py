"""A machine's reboot: nothing is left in memory, and one command, or the unit of `up --boot`, brings all of it back."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_harness import Cluster, Kubectl, build_demo_image, eventually, files_on_loop_devices, own_name, up
from e2e_manifests import IMAGE, web

from sampan.cluster import boot, processes
from sampan.cluster.instance import Instance, load

NAME = own_name("reb", os.getpid())
MNT_DETACH = 2

KEEPER = f"""
apiVersion: v1
kind: Pod
metadata: {{name: keeper}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
    - name: first
      image: {IMAGE}
      imagePullPolicy: IfNotPresent
      command: [sh, -c, "echo start >> /disk/starts; echo start >> /host/starts; echo start >> /memory/starts;
        echo start >> /claimed/starts; echo start >> /sized/starts; head -c 6 /dev/xvda >> /claimed/raw;
        echo start | dd of=/dev/xvda conv=notrunc,fsync; sync"]
      volumeMounts: &mounts
        - {{name: disk, mountPath: /disk}}
        - {{name: memory, mountPath: /memory}}
        - {{name: host, mountPath: /host}}
        - {{name: settings, mountPath: /settings}}
        - {{name: claimed, mountPath: /claimed}}
        - {{name: sized, mountPath: /sized}}
      volumeDevices: &devices
        - {{name: raw, devicePath: /dev/xvda}}
  containers:
    - name: main
      image: {IMAGE}
      imagePullPolicy: IfNotPresent
      command: [sleep, "3600"]
      volumeMounts: *mounts
      volumeDevices: *devices
  volumes:
    - {{name: disk, emptyDir: {{}}}}
    - {{name: memory, emptyDir: {{medium: Memory}}}}
    - {{name: host, hostPath: {{path: HOST, type: DirectoryOrCreate}}}}
    - {{name: settings, configMap: {{name: settings}}}}
    - {{name: claimed, persistentVolumeClaim: {{claimName: claimed}}}}
    - {{name: sized, persistentVolumeClaim: {{claimName: sized}}}}
    - {{name: raw, persistentVolumeClaim: {{claimName: raw}}}}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{name: sized}}
provisioner: sampan.io/local-path
volumeBindingMode: WaitForFirstConsumer
parameters: {{backing: file}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: claimed}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 8Mi}}}}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: sized}}
spec: {{accessModes: [ReadWriteOnce], storageClassName: sized, resources: {{requests: {{storage: 8Mi}}}}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: raw}}
spec: {{accessModes: [ReadWriteOnce], volumeMode: Block, resources: {{requests: {{storage: 8Mi}}}}}}
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("needs root: containers, cgroups and nftables")
    cluster = Cluster(tmp_path / "kubeconfig", tmp_path, NAME)
    yield cluster
    inodes = _disks(load(NAME))
    cluster.sampan("down", "--name", NAME, "--purge")
    # Another mount namespace may hold a device for a moment longer.
    eventually(lambda: not inodes & set(_on_loop_devices().values()))


def _disks(instance: Instance) -> set[int]:
    """The inodes of the volumes' files."""
    return {disk.stat().st_ino for disk in instance.kubelet_root.glob("local-path/*/disk")}


def _on_loop_devices() -> dict[str, int]:
    """Devices of this machine with their files' inodes: how the kernel names a file depends on its mount."""
    listed = subprocess.run(
        ["losetup", "--list", "--noheadings", "--raw", "--output", "NAME,BACK-INO"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2}


def reboot(instance: Instance) -> None:
    """What a reboot takes: every process with its containers, mounts, /run, interfaces, namespaces, rules, cgroups."""
    while doomed := _everything(instance):
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    libc = ctypes.CDLL(None, use_errno=True)
    disks = _disks(instance)
    for place in _mounts(instance):
        libc.umount2(os.fsencode(place), MNT_DETACH)
    for device, inode in _on_loop_devices().items():
        if inode in disks:
            _quietly("losetup", "--detach", device)
    shutil.rmtree(instance.run)
    _quietly("ip", "link", "delete", instance.bridge)
    _quietly("nft", "delete", "table", "inet", f"sampan-{NAME}")
    for top in Path("/sys/fs/cgroup").glob(f"**/sampan-{NAME}"):
        for directory in sorted((path for path in top.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts)):
            with contextlib.suppress(OSError):
                directory.rmdir()


def _everything(instance: Instance) -> set[int]:
    there = list(processes.running())
    ours = [
        process for process in there
        if processes.is_supervisor(process, instance) or processes.is_program(process, instance)
        or processes.is_shim(process, instance)
    ]  # fmt: skip
    return {process.pid for process in ours} | {
        child.pid for process in ours for child in processes.below(process.pid, there, lambda _: False)
    }


def _mounts(instance: Instance) -> list[str]:
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    roots = (str(instance.state) + "/", str(instance.run) + "/")
    return sorted((place for place in places if place.startswith(roots)), key=len, reverse=True)


def _quietly(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=False)


def restarts(kubectl: Kubectl, name: str) -> int:
    return int(kubectl.json("get", "pod", name)["status"]["containerStatuses"][0]["restartCount"])


@pytest.mark.parametrize("how", ["up", "unit"])
def test_after_a_reboot_everything_is_back_under_its_old_name(made: Cluster, tmp_path: Path, how: str) -> None:
    up(made)
    build_demo_image(made)
    instance = load(NAME)
    kubectl = Kubectl(Path(shutil.which("kubectl") or "kubectl"), made, "default")
    kubectl("create", "configmap", "settings", "--from-literal=a=1")
    kubectl("apply", "-f", "-", stdin=KEEPER.replace("HOST", str(tmp_path / "host")))
    kubectl("apply", "-f", "-", stdin=web(replicas=2))
    kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    kubectl("wait", "pod/keeper", "--for=condition=Ready", "--timeout=90s")
    before = pods(kubectl)

    reboot(instance)
    assert made.sampan("status", "--name", NAME, check=False).returncode == 1
    unit = None
    if how == "up":
        made.sampan("up", "--name", NAME, "--timeout", "90")
    else:
        # As systemd does: what the unit says, with little in the environment.
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        unit = subprocess.Popen(boot.command(instance), env=environment, start_new_session=True)
    try:
        eventually(lambda: made.sampan("status", "--name", NAME, check=False).returncode == 0)
        eventually(lambda: all(restarts(kubectl, name) >= 1 for name in before))
        kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=90s")
        assert pods(kubectl) == before  # the same pods, by name and uid
        # What upstream keeps for a pod that is still wanted, and what lay in memory and went with it.
        lines = {place: starts(kubectl, place) for place in ("disk", "host", "memory", "claimed", "sized")}
        assert lines == {"disk": 2, "host": 2, "memory": 1, "claimed": 2, "sized": 2}
        assert kubectl("exec", "keeper", "--", "tail", "-c", "6", "/claimed/raw") == "start\n"
        # Nothing is mounted twice, and no volume is on two devices.
        points = [point for point in _mounts(instance) if "/kubelet/" in point]
        assert sorted(points) == sorted(set(points))
        ours = [each for each in files_on_loop_devices() if each.startswith(str(instance.state))]
        assert len(ours) == len(set(ours)) == 2
        assert kubectl("exec", "keeper", "--", "cat", "/settings/a") == "1"
        eventually(
            lambda: "web-" in kubectl.run("exec", "keeper", "--", "wget", "-qO-", "http://web/", check=False).stdout
        )
        assert addresses_are_distinct(kubectl)
    finally:
        if unit is not None:
            made.sampan("down", "--name", NAME)
            assert unit.wait(timeout=60) == 0  # so that systemd does not start it again


def pods(kubectl: Kubectl) -> dict[str, str]:
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in kubectl.json("get", "pods")["items"]}


def starts(kubectl: Kubectl, place: str) -> int:
    return len(kubectl("exec", "keeper", "--", "cat", f"/{place}/starts").splitlines())


def addresses_are_distinct(kubectl: Kubectl) -> bool:
    given = [item["status"]["podIP"] for item in json.loads(kubectl("get", "pods", "-o", "json"))["items"]]
    return len(set(given)) == len(given)
