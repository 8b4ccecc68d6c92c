"""Processes of an instance that nobody watches over any more: a supervisor was killed, or its /run was wiped.

Used by ``up`` before it starts (supervisors alone: containers go on, their shims belong to the next containerd) and by
``down`` after it stopped. ``processes`` says which they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Callable

from sampan.cluster import processes
from sampan.cluster.instance import Instance
from sampan.cluster.processes import Process
from sampan.node.cgroups.tree import CgroupTree

LOOK_SECONDS = 0.02
#: How long a killed process may take to be gone: one that the kernel holds (a dead disk) is left to it.
GONE_SECONDS = 2.0


async def end(instance: Instance) -> None:
    """Ends what is left of an instance. Supervisors go first: they would start the others again."""
    await end_supervisors(instance)
    await _end(
        lambda process: processes.is_program(process, instance), lambda process: processes.is_shim(process, instance)
    )


async def end_supervisors(instance: Instance) -> None:
    """Ends supervisors that have lost their lock (a wiped /run). Their programs stay: the next one adopts them."""

    def keeps_running(process: Process) -> bool:
        return processes.is_shim(process, instance) or processes.is_program(process, instance)

    await _end(lambda process: processes.is_supervisor(process, instance), keeps_running)


def has_programs(instance: Instance) -> bool:
    return any(processes.is_program(process, instance) for process in processes.running())


def supervisors(instance: Instance) -> list[Process]:
    """Looked for among the processes: a pid in a file may be stale, and another program's by now."""
    return [process for process in processes.running() if processes.is_supervisor(process, instance)]


async def end_shims(instance: Instance) -> None:
    """Shims of this instance's containerd and the containers below them."""
    await _end(lambda process: processes.is_shim(process, instance), lambda _: False)


async def end_containers(instance: Instance, tree: CgroupTree | None = None) -> None:
    """What runs in its pods though the shims are gone, killed as well: by then the pods' cgroup is all that tells."""
    tree, spared = tree or CgroupTree(), {os.getpid(), *processes.ancestors(os.getpid())}

    def living() -> set[int]:
        return {pid for pid in tree.processes(instance.cgroup) - spared if processes.look(pid) is not None}

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GONE_SECONDS):
            # Again and again: one that was ended may have started another before.
            while there := await asyncio.to_thread(living):
                await _end(lambda process: process.pid in there, lambda _: False)


async def _end(is_ours: Callable[[Process], bool], leave: Callable[[Process], bool]) -> None:
    """Kills processes and what they started, and waits until they are gone. Never this command or who called it."""
    there = list(processes.running())
    victims: dict[int, Process] = {}
    for process in filter(is_ours, there):
        victims[process.pid] = process
        victims |= {child.pid: child for child in processes.below(process.pid, there, leave)}
    for spared in (os.getpid(), *processes.ancestors(os.getpid())):
        victims.pop(spared, None)
    for victim in victims.values():
        kill(victim)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GONE_SECONDS):
            while any(_is_there(victim) for victim in victims.values()):  # noqa: ASYNC110 (other processes)
                await asyncio.sleep(LOOK_SECONDS)


def kill(victim: Process, number: signal.Signals = signal.SIGKILL) -> None:
    """Sends a signal to this very process: one that has its number by now gets none."""
    with contextlib.suppress(ProcessLookupError):
        try:
            held = os.pidfd_open(victim.pid)
        except OSError as error:
            if error.errno == errno.ESRCH:
                return
            if _is_there(victim):  # a kernel without pidfds (before 5.3)
                os.kill(victim.pid, number)
            return
        try:
            if _is_there(victim):  # looked at while its number is held
                signal.pidfd_send_signal(held, number)
        finally:
            os.close(held)


def _is_there(victim: Process) -> bool:
    now = processes.look(victim.pid)
    return now is not None and now.started == victim.started
