"""Processes of an instance that nobody watches over any more: a supervisor was killed, or its /run was wiped.

Used by ``up`` before it starts and by ``down`` after it stopped. Known by their command line, which names the instance;
containers are not touched: their shims belong to the next containerd.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from sampan.cluster.instance import Instance

LOOK_SECONDS = 0.02


async def end(instance: Instance) -> None:
    """Ends what is left of an instance. A supervisor goes first: it would start the others again."""
    for pid in supervisor_pids(instance):
        await _end_tree(pid)
    marks = (str(instance.state / "containerd.toml"), f"--name\0{instance.name}\0--state-root\0{instance.state_root}\0")
    await _end(lambda command: any(mark in command for mark in marks))


def supervisor_pids(instance: Instance) -> list[int]:
    """Looked for among the processes: a pid in a file may be stale, and another program's by now."""
    mark = f"sampan.cluster.supervisor\0{instance.name}\0{instance.state_root}\0"
    return [pid for pid, command in _processes() if mark in command]


async def end_shims(instance: Instance) -> None:
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
