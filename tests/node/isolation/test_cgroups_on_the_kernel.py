"""Cgroups as the kernel has them: it keeps one while a process of it is there, and nothing may be left behind.

Version 1 is the machine's own; version 2 is mounted for the test, without controllers where version 1 has them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.node.cgroups import manager as managing
from sampan.node.cgroups.manager import CgroupManager, remove_all
from sampan.node.cgroups.tree import CgroupTree

ROOT = f"/sampan-kernel-test-{os.getpid()}"
MACHINE = Path("/sys/fs/cgroup")


def pod(uid: str, millicores: int = 0) -> Any:
    resources = {"requests": {"cpu": f"{millicores}m"}} if millicores else {}
    containers = [{"name": "main", "resources": resources}]
    return {"metadata": {"name": uid, "namespace": "d", "uid": uid}, "spec": {"containers": containers}}


def writable(mount: Path) -> bool:
    try:
        (mount / f"{ROOT.lstrip('/')}-probe").mkdir()
        (mount / f"{ROOT.lstrip('/')}-probe").rmdir()
    except OSError:
        return False
    return True


@pytest.fixture(params=["version 1", "version 2"])
def mount(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where cgroups are mounted."""
    if request.param == "version 1":
        if (MACHINE / "cgroup.controllers").exists() or not writable(MACHINE / "cpu"):
            pytest.skip("needs cgroup v1, and the right to make cgroups")
        yield MACHINE
        remove_all(ROOT, MACHINE)
        return
    place = tmp_path / "cgroup2"
    place.mkdir()
    if subprocess.run(["mount", "-t", "cgroup2", "none", place], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount cgroup v2")
    try:
        if not writable(place):
            pytest.skip("needs the right to make cgroups")
        yield place
        remove_all(ROOT, place)
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
async def sleepers() -> AsyncIterator[list[asyncio.subprocess.Process]]:
    started: list[asyncio.subprocess.Process] = []
    yield started
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def linger(sleepers: list[asyncio.subprocess.Process], mount: Path, path: str) -> asyncio.subprocess.Process:
    """A process in the cgroup, and in one below it, that does not hear SIGTERM."""
    program = shutil.which("sleep") or "sleep"
    process = await asyncio.create_subprocess_exec("env", "--ignore-signal=TERM", program, "1000")
    sleepers.append(process)
    hierarchies = [mount] if (mount / "cgroup.controllers").exists() else [mount / "cpu", mount / "memory"]
    for base in hierarchies:
        inner = base / path.lstrip("/") / "container"
        inner.mkdir(exist_ok=True)
        (inner / "cgroup.procs").write_text(str(process.pid))
    return process


def left(mount: Path) -> set[str]:
    """Every pod's cgroup that is there, in any hierarchy."""
    tree = CgroupTree(mount)
    below = (tree.children(place) for place in (ROOT, f"{ROOT}/burstable", f"{ROOT}/besteffort"))
    return {name for names in below for name in names if name.startswith("pod")}


class SlowToDie(CgroupTree):
    """Processes go only when they were killed for the n-th time: what the kernel does while it clears them away."""

    kills_needed = 3

    def _kill(self, path: str) -> None:
        self.kills_needed -= 1
        if self.kills_needed <= 0:
            super()._kill(path)


async def test_a_pods_cgroup_goes_with_the_processes_that_linger_in_it(mount: Path, sleepers: Any) -> None:
    manager = CgroupManager(ROOT, mount)
    process = await linger(sleepers, mount, await manager.create(pod("a")))
    await manager.remove(pod("a"))
    assert await process.wait() == -9
    assert left(mount) == set()


async def test_a_cgroup_that_is_busy_is_tried_again(mount: Path, sleepers: Any) -> None:
    manager = CgroupManager(ROOT, mount)
    manager._tree = SlowToDie(mount)
    await linger(sleepers, mount, await manager.create(pod("a")))
    await manager.remove(pod("a"))
    assert left(mount) == set()


async def test_what_stays_busy_goes_with_a_later_sweep_though_its_pod_is_still_known(
    mount: Path, sleepers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managing, "RETRY_SECONDS", (0.0,))
    manager = CgroupManager(ROOT, mount)
    manager._tree = SlowToDie(mount)
    process = await linger(sleepers, mount, await manager.create(pod("a")))
    await manager.remove(pod("a"))
    assert left(mount) == {"poda"}
    await manager.sweep([], lambda: ["a"])
    await process.wait()
    await manager.sweep([], lambda: ["a"])
    assert left(mount) == set()


async def test_what_an_agent_before_left_is_swept_and_pods_that_are_known_stay(mount: Path, sleepers: Any) -> None:
    before = CgroupManager(ROOT, mount)
    orphans = [await before.create(pod("old")), await before.create(pod("older", 100))]
    process = await linger(sleepers, mount, orphans[1])
    manager = CgroupManager(ROOT, mount)
    kept = await manager.create(pod("new", 100))
    await manager.sweep([pod("new", 100)], lambda: ["new"])
    await process.wait()
    await manager.sweep([pod("new", 100)], lambda: ["new"])
    assert left(mount) == {"podnew"}
    assert manager.path(pod("new", 100)) == kept


async def test_a_pod_that_comes_while_the_sweep_looks_is_not_swept(mount: Path) -> None:
    manager = CgroupManager(ROOT, mount)
    await manager.create(pod("old"))
    known: set[str] = set()

    async def arrive() -> None:
        known.add("new")
        await manager.create(pod("new"))

    await asyncio.gather(manager.sweep([], lambda: known), arrive(), manager.sweep([], lambda: known))
    assert left(mount) == {"podnew"}


async def test_pods_by_the_hundred_come_and_go_without_a_trace(mount: Path) -> None:
    manager = CgroupManager(ROOT, mount)
    for _ in range(2):
        pods = [pod(f"p{number}", number % 2) for number in range(20)]
        await asyncio.gather(*(manager.create(each) for each in pods))
        await asyncio.gather(*(manager.remove(each) for each in pods))
    assert left(mount) == set()


async def test_the_tiers_weights_follow_their_pods(mount: Path) -> None:
    if not (mount / "cpu").is_dir():
        pytest.skip("the processor is version 1's on this machine")
    tiers = mount / "cpu" / ROOT.lstrip("/")

    def shares(tier: str) -> int:
        return int((tiers / tier / "cpu.shares").read_text())

    manager = CgroupManager(ROOT, mount)
    await manager.create(pod("a", 500))
    assert (shares("burstable"), shares("besteffort")) == (512, 2)
    await manager.create(pod("b", 1500))
    await manager.create(pod("c"))
    assert shares("burstable") == 2048
    again = CgroupManager(ROOT, mount)
    await again.sweep([pod("a", 500), pod("b", 1500), pod("c")], lambda: ["a", "b", "c"])
    await again.remove(pod("b", 1500))
    assert (shares("burstable"), shares("besteffort")) == (512, 2)
    await again.remove(pod("a", 500))
    assert shares("burstable") == 2


async def test_the_root_goes_when_nothing_is_in_it(mount: Path) -> None:
    manager = CgroupManager(ROOT, mount)
    await manager.create(pod("a"))
    assert remove_all(ROOT, mount)
    hierarchies = [mount, *(path for path in mount.iterdir() if path.is_dir())]
    assert [path for path in hierarchies if (path / ROOT.lstrip("/")).exists()] == []
    assert remove_all("", mount) and remove_all("/", mount)


async def test_a_pod_that_forks_without_end_gets_as_many_processes_as_the_node_allows(mount: Path) -> None:
    """[sig-node] podPidsLimit: a PID bomb hits its own limit, and the node goes on."""
    if not (mount / "pids").is_dir():
        pytest.skip("needs the pids controller")
    manager = CgroupManager(ROOT, mount, pids_limit=4)
    path = await manager.create(pod("bomb"))
    forks = "i=0; while [ $i -lt 50 ]; do sleep 60 & i=$((i+1)); done"  # were it not for the limit
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", f"echo $$ > {mount}/pids{path}/cgroup.procs; {forks}", stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        assert b"fork" in (await process.stderr.readline()).lower()
        assert manager.pod_processes(pod("bomb")) <= 4
    finally:
        await manager.remove(pod("bomb"))
        await process.communicate()
