"""``sampan down``: stops an instance; with ``purge`` removes everything it ever put on this machine.

State stays for the next ``up`` unless purged. Purging works on a broken instance too: every step looks for what is
there and is content when nothing is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import orjson

from sampan.cluster import kubeconfigs, podnetwork, supervisor
from sampan.cluster.instance import Instance
from sampan.cluster.mounts import unmount_below
from sampan.cluster.up import LOOK_SECONDS, Progress

STOP_SECONDS = 40


async def down(instance: Instance, progress: Progress) -> bool:
    """Stops pods, node, server and containerd, in this order. False: it was not running."""
    was_running = supervisor.is_running(instance)
    if was_running:
        progress.step("Stopping pods and processes")
        await _stop_supervisor(instance)
    await _end_leftovers(instance)
    return was_running


async def purge(instance: Instance, progress: Progress) -> None:
    """Removes processes, mounts, interfaces, rules, cgroups, files and the kubeconfig context. Idempotent."""
    await down(instance, progress)
    progress.step("Removing everything of this cluster")
    await _end_shims(instance)
    await podnetwork.teardown(instance)
    for place in (instance.run, instance.state):
        unmount_below(place)
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=False, onerror=_ignore_missing)
    _remove_cgroups(instance)
    kubeconfigs.remove(instance)
    # The CNI library keeps its results there, whatever the instance; the last one takes the directories along.
    for parent in (instance.run_root, instance.state_root, Path("/var/lib/cni/results"), Path("/var/lib/cni")):
        with contextlib.suppress(OSError):
            parent.rmdir()


async def _stop_supervisor(instance: Instance) -> None:
    pid = _supervisor_pid(instance)
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            while supervisor.is_running(instance):  # noqa: ASYNC110 (another process)
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _supervisor_pid(instance: Instance) -> int | None:
    try:
        pid: int = orjson.loads(instance.status_file.read_bytes())["supervisor"]
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return pid


async def _end_leftovers(instance: Instance) -> None:
    """Children that outlived a supervisor that was killed: known by their command line, which names the instance."""
    marks = (str(instance.state / "containerd.toml"), f"--name\0{instance.name}\0--state-root\0{instance.state_root}")
    await _end(lambda command: any(mark in command for mark in marks))


async def _end_shims(instance: Instance) -> None:
    """Shims (and through them, containers) of this instance's containerd."""
    await _end(lambda command: "containerd-shim" in command and str(instance.containerd_socket) in command)


async def _end(is_ours: Callable[[str], bool]) -> None:
    pids = [pid for pid, command in _processes() if is_ours(command)]
    for pid in pids:
        await _end_tree(pid)


async def _end_tree(pid: int) -> None:
    """Kills a process and its children, and waits until they are gone."""
    victims = [pid, *_descendants(pid)]
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    for _ in range(100):
        if not any(Path(f"/proc/{victim}").exists() and not _is_zombie(victim) for victim in victims):
            return
        await asyncio.sleep(LOOK_SECONDS)


def _processes() -> list[tuple[int, str]]:
    """Pid and command line (NUL-separated) of every process but this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            pid = int(path.name)
            if pid != os.getpid():
                found.append((pid, (path / "cmdline").read_bytes().decode(errors="replace")))
    return found


def _descendants(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").glob("*"):
            children += [int(child) for child in (task / "children").read_text().split()]
    return children + [below for child in children for below in _descendants(child)]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _remove_cgroups(instance: Instance) -> None:
    """Deepest first: a cgroup with children cannot be removed."""
    for root in [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")]:
        top = root / instance.cgroup.lstrip("/")
        if not top.is_dir():
            continue
        for directory in sorted((path for path in top.rglob("*") if path.is_dir()), key=lambda p: -len(p.parts)):
            with contextlib.suppress(OSError):
                directory.rmdir()
        with contextlib.suppress(OSError):
            top.rmdir()


def _ignore_missing(function: object, path: str, error: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]
