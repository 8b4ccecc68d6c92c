"""The node agent is killed at any effect on its pods' volumes: after the next start the mounts are those wanted, what
was written is there, and nothing else is left.

Real mounts, real SIGKILL (``volume_killing``). A point is a seed: it says in which order the pods' steps come,
before which effect the agent is killed, whether the machine reboots then, and whether the next one is killed as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import suite_samples
from volume_killing import CountedMounter, Effects, agent, has_loops, machine, may_mount

from sampan.api.types import Obj
from sampan.node.volumes.localpath import LocalVolumes
from sampan.node.volumes.loops import LinuxLoops
from sampan.node.volumes.manager import VolumeManager
from sampan.node.volumes.mount import LinuxMounter
from sampan.node.volumes.plugin import Context, Place, Prepared, VolumePlugin
from sampan.node.volumes.plugins import BUILT_IN
from sampan.node.volumes.records import Record

World = Any  # the fixture of conftest.py

POINTS, POINTS_A_TEST = suite_samples.of(120, 24), 4
#: every effect is gone through by all parts together
PARTS = 8
OURS = {"pv.kubernetes.io/provisioned-by": "sampan.io/local-path"}
DATA = "what a container wrote"


class DiskPlugin(VolumePlugin[Prepared]):
    """A disk of somebody else: attached and mounted once a node, bound into each pod, as drivers of CSI do."""

    name = "tests.sampan.io/disk"

    async def prepare(self, volume: Obj, context: Context) -> Prepared:
        device = volume["disk"]["device"]
        return Prepared(stage_id=Path(device).name, data={"device": device})

    def stage(self, prepared: Prepared, place: Place) -> None:
        assert place.staged is not None
        device = Path(prepared.data["device"])
        _attached(device).touch()
        _bind(device, place.staged, place)

    def publish(self, prepared: Prepared, place: Place) -> Path:
        assert place.staged is not None
        place.target.mkdir(parents=True, exist_ok=True)
        _bind(place.staged, place.target, place)
        return place.target

    def unstage(self, record: Record, place: Place) -> None:
        super().unstage(record, place)
        _attached(Path(record.data["device"])).unlink(missing_ok=True)


def _attached(device: Path) -> Path:
    return device.parent / f"{device.name}.attached"


def _bind(source: Path, target: Path, place: Place) -> None:
    if target in place.mounter.mounts_below(target):
        return
    descriptor = os.open(source, os.O_PATH)
    try:
        place.mounter.bind(descriptor, target)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Node:
    """A node's directories, and what its API says."""

    home: Path
    api: World

    @property
    def root(self) -> Path:
        return self.home / "kubelet"

    @property
    def local(self) -> Path:
        return self.home / "local"

    def manager(self, mounter: LinuxMounter, settings: str) -> VolumeManager:
        source = self.api.source
        source.config_maps["settings"] = {"data": {"a": settings}}
        source.secrets["hush"] = {"data": {"key": "aHVzaA=="}}
        for name in "abc":
            meta = {"name": f"data-{name}", "namespace": "ns", "uid": f"claim-{name}"}
            source.claims[meta["name"]] = {
                "metadata": meta, "spec": {"volumeName": f"pvc-{name}"}, "status": {"phase": "Bound"},
            }  # fmt: skip
            source.volumes[f"pvc-{name}"] = {
                "metadata": {"annotations": OURS},
                "spec": {"local": {"path": str(self.local / f"pvc-{name}")}, "claimRef": {"uid": meta["uid"]}},
            }
        source.claims["raw"] = {
            "metadata": {"name": "raw", "namespace": "ns", "uid": "claim-raw"},
            "spec": {"volumeName": "pvc-raw"}, "status": {"phase": "Bound"},
        }  # fmt: skip
        source.volumes["pvc-raw"] = {
            "metadata": {"annotations": {**OURS, "storage.sampan.io/backing": "file"}},
            "spec": {
                "local": {"path": str(self.local / "pvc-raw")}, "claimRef": {"uid": "claim-raw"},
                "volumeMode": "Block", "capacity": {"storage": "1Mi"},
            },
        }  # fmt: skip
        plugins = {**BUILT_IN, "disk": DiskPlugin()}
        return VolumeManager(self.root, source, self.api.tokens, self.api.clock, mounter=mounter, plugins=plugins)

    def pod(self, name: str) -> Obj:
        volumes: list[Obj] = [
            {"name": "scratch", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "hush", "secret": {"secretName": "hush"}},
            {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            {"name": "host", "hostPath": {"path": str(self.home / "host"), "type": "DirectoryOrCreate"}},
            {"name": "claim", "persistentVolumeClaim": {"claimName": f"data-{name}"}},
            {"name": "disk", "disk": {"device": str(self.home / "disks" / name)}},
            {"name": "shared", "disk": {"device": str(self.home / "disks" / "shared")}},
        ]
        mounts = [
            {"name": "settings", "mountPath": "/a", "subPath": "a"},
            {"name": "claim", "mountPath": "/db", "subPath": "db"},
            {"name": "hush", "mountPath": "/key", "subPath": "key"},
        ]
        if name == "b":  # small enough to be killed everywhere
            volumes = [each for each in volumes if each["name"] in ("hush", "claim", "disk", "shared")]
            mounts = mounts[1:]
            if has_loops():
                volumes.append({"name": "raw", "persistentVolumeClaim": {"claimName": "raw"}})
        containers = [{"name": "main", "volumeMounts": mounts}]
        meta = {"name": name, "namespace": "ns", "uid": f"uid-{name}"}
        return {"metadata": meta, "spec": {"containers": containers, "volumes": volumes}}


async def start(node: Node, manager: VolumeManager, name: str) -> dict[str, Path]:
    pod = node.pod(name)
    mounted = await manager.mount_pod(pod)
    await manager.container_mounts(pod, pod["spec"]["containers"][0], mounted)
    return {volume: each.host_path for volume, each in mounted.items()}


#: Of each pod what becomes of it, in order; orders of different pods mix. ``b`` is deleted, and its claim with it.
STEPS = {"a": ["start", "write", "change"], "b": ["start", "stop", "remove"], "c": ["start", "write"]}
WANTED = "ac"
WRITTEN_TO = ("scratch", "memory", "host", "claim", "disk", "shared")


def shuffled(rng: random.Random) -> list[tuple[str, str]]:
    names = [name for name, steps in STEPS.items() for _ in steps]
    rng.shuffle(names)
    left = {name: iter(steps) for name, steps in STEPS.items()}
    return [(name, next(left[name])) for name in names]


async def live(node: Node, mounter: LinuxMounter, steps: list[tuple[str, str]]) -> None:
    """A life of the agent, without its end."""
    manager, paths = node.manager(mounter, "old"), dict[str, dict[str, Path]]()
    for name, step in steps:
        if step == "start":
            paths[name] = await start(node, manager, name)
        elif step == "write":
            for volume in WRITTEN_TO:
                (paths[name][volume] / f"of-{name}").write_text(DATA)
                (node.home / f"written-{name}-{volume}").touch()
        elif step == "change":
            manager = node.manager(mounter, "new")
            await start(node, manager, name)
        elif step == "stop":
            await manager.unmount_pod(f"uid-{name}")
        else:
            await remove_claims(node, mounter)


async def remove_claims(node: Node, mounter: LinuxMounter) -> None:
    for name in ("pvc-b", "pvc-raw"):
        await LocalVolumes(node.local, mounter).remove(name)


async def recover(
    node: Node, mounter: LinuxMounter, wanted: str = WANTED, *, orphans_first: bool
) -> dict[str, dict[str, Path]]:
    """What an agent does after its start, until nothing is left to do."""
    manager, local = node.manager(mounter, "new"), LocalVolumes(node.local, mounter)
    await local.sweep()
    known = [f"uid-{name}" for name in wanted]
    if orphans_first:
        await manager.cleanup_orphans(known)
    paths = {name: await start(node, manager, name) for name in wanted}
    await manager.cleanup_orphans(known)
    if "b" not in wanted:
        await remove_claims(node, mounter)
    return paths


def table(node: Node) -> list[tuple[str, str, str]]:
    """The kernel's mounts of the node: point, type of file system, what of it is shown; as often as it is there."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        if point.startswith(f"{node.home}/"):
            shown = re.sub(r"/\.\.\d{4}_[\w.]+", "/..version", root.removeprefix(f"/{node.home.name}/"))
            found.append((point.removeprefix(str(node.home)), after.split()[0], shown))
    return sorted(found)


def devices(node: Node) -> list[tuple[str, str, str]]:
    """Files that are loop devices, each as often as it is one."""
    found = []
    for shown in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # somebody else's, which went
            disk = shown.read_text().strip()
            if disk.startswith(f"{node.home}/"):
                found.append((disk.removeprefix(str(node.home)), "loop", ""))
    return found


def files(node: Node) -> set[str]:
    """Names that matter: pods, staged volumes, local volumes and attachments."""
    directories = (node.root / "pods", node.root / "volumes", node.local, node.home / "disks")
    return {str(path.relative_to(node.home)) for each in directories if each.is_dir() for path in each.iterdir()}


class State:
    def __init__(self, node: Node) -> None:
        self.mounts, self.files = Counter(table(node) + devices(node)), files(node)


def check_same(found: State, wanted: State) -> None:
    assert (found.mounts - wanted.mounts, found.files - wanted.files) == (Counter(), set()), "left over"
    assert (wanted.mounts - found.mounts, wanted.files - found.files) == (Counter(), set()), "missing"


def recovered(node: Node, wanted: str = WANTED) -> State:
    """What it is like when nobody is killed."""
    asyncio.run(recover(node, LinuxMounter(), wanted, orphans_first=True))
    return State(node)


def made(home: Path, world: World) -> Node:
    node = Node(home, world)
    for name in ("shared", *STEPS):
        (home / "disks" / name).mkdir(parents=True)
    return node


def reboot(node: Node) -> None:
    mounter = LinuxMounter()
    for point in mounter.mounts_below(node.home):
        mounter.unmount(point)
    for mark in (node.home / "disks").glob("*.attached"):
        mark.unlink()
    detach(node)


def detach(node: Node) -> None:
    for disk, _, _ in devices(node):
        LinuxLoops().detach(node.home / disk.lstrip("/"))


def end(rng: random.Random, effects: int, mounts: int) -> Effects:
    """Before any effect, or just as often at one of those that come with a mount."""
    if rng.random() < 0.5:
        return Effects(rng.randint(1, effects))
    return Effects(rng.randint(1, 4), rng.randint(1, mounts))


def judge(node: Node, seed: int, whole: tuple[int, int], wanted: State) -> None:
    rng = random.Random(seed)
    steps, killed = shuffled(rng), end(rng, *whole)
    rebooted, again, orphans_first = rng.random() < 0.25, rng.random() < 0.4, rng.random() < 0.5
    agent(lambda mounter: asyncio.run(live(node, mounter, steps)), killed)
    if rebooted:
        reboot(node)
    if again:
        killed = end(rng, *(count // 2 for count in whole))
        agent(lambda mounter: asyncio.run(_recovered(node, mounter, orphans_first)), killed)
    paths = asyncio.run(recover(node, LinuxMounter(), orphans_first=orphans_first))
    check_same(State(node), wanted)
    for name, volume in ((name, volume) for name in WANTED for volume in WRITTEN_TO):
        if (node.home / f"written-{name}-{volume}").exists() and not (rebooted and volume == "memory"):
            assert (paths[name][volume] / f"of-{name}").read_text() == DATA, f"{name}: {volume} lost its data"
    for name in WANTED:
        assert (paths[name]["settings"] / "a").read_text() == "new"
        assert (paths[name]["hush"] / "key").read_text() == "hush"


async def _recovered(node: Node, mounter: CountedMounter, orphans_first: bool) -> None:
    await recover(node, mounter, orphans_first=orphans_first)


def judge_all(world: World, home: Path, seeds: range) -> None:
    steps = shuffled(random.Random(0))
    counted = made(home / "counted", world)
    whole = agent(lambda mounter: asyncio.run(live(counted, mounter, steps)), Effects())
    assert whole[0] > 100 and whole[1] > 20
    wanted = recovered(made(home / "clean", world))
    for seed in seeds:
        with naming(f"point {seed}", made(home / str(seed), world)) as node:
            judge(node, seed, whole, wanted)


#: of one pod, killed everywhere
SMALL = [("b", step) for step in STEPS["b"]]


def judge_small(world: World, home: Path, part: int) -> None:
    """Every effect whose number leaves ``part`` when it is divided by the number of parts."""
    counted, started = made(home / "counted", world), made(home / "started", world)
    effects, _ = agent(lambda mounter: asyncio.run(live(counted, mounter, SMALL)), Effects())
    of_start, _ = agent(lambda mounter: asyncio.run(live(started, mounter, SMALL[:1])), Effects())
    assert 20 < of_start < effects
    empty, of_b = recovered(made(home / "empty", world), ""), made(home / "kept", world)
    kept = recovered(of_b, "b")
    detach(of_b)
    detach(started)
    for last in range(1 + part, effects + 1, PARTS):
        with naming(f"effect {last}", made(home / str(last), world)) as node:
            wanted = "b" if last <= of_start and last % 4 < 2 else ""
            agent(lambda mounter, node=node: asyncio.run(live(node, mounter, SMALL)), Effects(last))
            asyncio.run(recover(node, LinuxMounter(), wanted, orphans_first=last % 8 < 4))
            check_same(State(node), kept if wanted else empty)


@contextlib.contextmanager
def naming(point: str, node: Node) -> Iterator[Node]:
    """Everything at error level is a fault here too: the processes' logs reach nobody else."""
    handler = Faults(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield node
    except Exception as error:
        raise AssertionError(f"{point}: {error}") from error
    finally:
        logging.getLogger().removeHandler(handler)
        detach(node)


class Faults(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise AssertionError(record.getMessage())


GROUPS = [range(first, first + POINTS_A_TEST) for first in range(0, POINTS, POINTS_A_TEST)]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("seeds", GROUPS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_whenever_the_agent_is_killed_the_next_one_has_the_mounts_that_are_wanted_and_all_data(
    world: World, seeds: range, tmp_path: Path
) -> None:
    """Issue 10, Must show 7"""
    if not may_mount(tmp_path):
        pytest.skip("this sandbox may not mount")
    machine(tmp_path, lambda: judge_all(world, tmp_path, seeds))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("part", range(PARTS))
def test_a_pod_that_comes_and_goes_may_be_cut_short_before_each_effect(world: World, part: int, tmp_path: Path) -> None:
    """Issue 10, Must show 7"""
    if not may_mount(tmp_path):
        pytest.skip("this sandbox may not mount")
    machine(tmp_path, lambda: judge_small(world, tmp_path, part))
