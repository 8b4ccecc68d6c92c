"""Keeps the processes of one instance running: containerd, the server, DNS, the node agent.

``sampan up`` starts it detached; it ends with SIGTERM (``sampan down``), stopping its children in order. A child that
ends by itself is started again, at once the first time and more slowly when it keeps ending. The supervisor imports
nothing heavy: it is the one process that must always be there. It decides nothing about the cluster.

Concurrency: one asyncio loop, one task a child. ``status.json`` is rewritten on every change.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import orjson

from sampan.api.clock import SystemClock, format_time
from sampan.api.faults import cause, fault
from sampan.cluster import containerd
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import RUN_ROOT, STATE_ROOT, Instance, load

#: Delay before the n-th start in a row; a child that ran for ``STEADY_SECONDS`` starts over at the first.
RESTART_DELAYS_SECONDS = (0.0, 0.2, 1.0, 2.0, 5.0)
STEADY_SECONDS = 10.0
FINISH_SECONDS = 20.0
LOG_LIMIT_BYTES = 16 * 1024 * 1024
PR_SET_PDEATHSIG = 1
#: For the Python children, where memory and time at the start count.
LEAN_ENVIRONMENT: Mapping[str, str] = {
    # One pool of free memory for all threads, given back to the system when much of it lies free.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    # NumPy's linear algebra, which nobody here uses, would start a thread a core with a stack and buffers each.
    "OPENBLAS_NUM_THREADS": "1",
    # Every peer of theirs is vouched for by the instance's own CA; aiohttp would read the machine's when imported.
    "SSL_CERT_FILE": "/dev/null",
    "SSL_CERT_DIR": "/dev/null",
}


@dataclass(frozen=True, slots=True)
class Program:
    """A child to keep running. Stopped in reverse order of starting, each within ``stop_seconds``."""

    name: str
    argv: tuple[str, ...]
    stop_seconds: float = 10.0
    #: run to its end after the child has stopped, when the whole instance stops
    after: tuple[str, ...] = ()
    #: added to the supervisor's own environment
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Child:
    """What is known of one child. ``pid`` None: not running just now."""

    program: Program
    pid: int | None = None
    restarts: int = 0
    started_at: datetime | None = None
    last_exit: str = ""
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)


def programs(instance: Instance) -> list[Program]:
    """The children of an instance, by the roles of this machine, in starting order."""
    python = (sys.executable, "-X", "frozen_modules=on", "-m")
    where = ("--name", instance.name, "--state-root", str(instance.state_root), "--run-root", str(instance.run_root))
    of_roles = [
        ("node", Program("containerd", containerd.command(instance))),
        (
            "control-plane",
            Program("server", (*python, "sampan.cluster.control_plane", *where), environment=LEAN_ENVIRONMENT),
        ),
        ("node", Program("dns", (*python, "sampan.cluster.dns_process", *where), environment=LEAN_ENVIRONMENT)),
        (
            "node",
            Program(
                "node",
                (*python, "sampan.cluster.node_process", *where),
                after=(*python, "sampan.cluster.stop_pods", *where),
                environment=LEAN_ENVIRONMENT,
            ),
        ),
    ]
    return [program for role, program in of_roles if role in instance.node.roles]


class Supervisor:
    def __init__(self, instance: Instance, children: Sequence[Program]) -> None:
        self.instance = instance
        self.children = [Child(program) for program in children]
        self._clock = SystemClock()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Returns when told to stop and all children are gone."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._write_status()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._keep(child), name=child.program.name) for child in self.children]
            await self._stopping.wait()
            for task, child in reversed(list(zip(tasks, self.children, strict=True))):
                await self._stop(child)
                task.cancel()
        self._write_status()

    async def _keep(self, child: Child) -> None:
        """Runs one child for ever."""
        loop = asyncio.get_running_loop()
        quick_ends = 0
        while not self._stopping.is_set():
            began = loop.time()
            try:
                process = await self._start(child)
                child.last_exit = describe_exit(await process.wait())
            except OSError as error:  # its program is gone, no memory, no room for its log
                child.last_exit = f"cannot be started: {fault(error, 'exec')}"
            child.pid, child.process = None, None
            if self._stopping.is_set():
                return
            child.restarts += 1
            self._write_status()
            ran_seconds = loop.time() - began
            delay = restart_delay_seconds(quick_ends, ran_seconds)
            quick_ends = 0 if ran_seconds > STEADY_SECONDS else quick_ends + 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def _start(self, child: Child) -> asyncio.subprocess.Process:
        log = open_log(self.instance.logs / f"{child.program.name}.log")
        try:
            child.process = await asyncio.create_subprocess_exec(
                *child.program.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, **child.program.environment},
                # A group of its own: Ctrl-C on a terminal is the supervisor's business alone.
                process_group=0,
                preexec_fn=_end_with_parent(),
            )
        finally:
            os.close(log)
        child.pid = child.process.pid
        child.started_at = self._clock.now()
        self._write_status()
        return child.process

    async def _stop(self, child: Child) -> None:
        if child.process is not None:
            await self._end(child.process, child.program.stop_seconds)
        if child.program.after:
            await self._finish(child)

    async def _end(self, process: asyncio.subprocess.Process, stop_seconds: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(stop_seconds):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _finish(self, child: Child) -> None:
        """Runs what belongs after a child's end."""
        try:
            log = open_log(self.instance.logs / f"{child.program.name}.log")
        except OSError:  # no room for its words is no reason to leave it undone
            log = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            finishing = await asyncio.create_subprocess_exec(
                *child.program.after, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        except OSError as error:
            child.last_exit = f"what comes after it cannot be started: {fault(error, 'exec')}"
            return
        finally:
            os.close(log)
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await finishing.wait()
        except TimeoutError:
            finishing.kill()
            await finishing.wait()

    def _write_status(self) -> None:
        status = {
            "supervisor": os.getpid(),
            "stopping": self._stopping.is_set(),
            "processes": {
                child.program.name: {
                    "pid": child.pid,
                    "restarts": child.restarts,
                    "startedAt": format_time(child.started_at) if child.started_at else None,
                    "lastExit": child.last_exit,
                }
                for child in self.children
            },
        }
        temporary = self.instance.status_file.with_suffix(".tmp")
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_bytes(orjson.dumps(status))
            temporary.rename(self.instance.status_file)
        except OSError as error:  # the children matter more than what is told of them
            sys.stderr.write(f"cannot write {self.instance.status_file}: {cause(error)}\n")


def restart_delay_seconds(quick_ends: int, ran_seconds: float) -> float:
    """How long to wait with the next start, after ``quick_ends`` ends in a row that came soon."""
    if ran_seconds > STEADY_SECONDS:
        return RESTART_DELAYS_SECONDS[0]
    return RESTART_DELAYS_SECONDS[min(quick_ends, len(RESTART_DELAYS_SECONDS) - 1)]


def describe_exit(code: int) -> str:
    """A child's end in words; negative: the signal that ended it."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def open_log(path: Path) -> int:
    """A file descriptor that appends; a log that grew large is put aside first (one old one is kept)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.rename(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)


def _end_with_parent() -> Callable[[], None]:
    """For a child, before exec: SIGTERM when the supervisor dies, however it dies, so that none is left unwatched."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def arrange() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return arrange


def hold_lock(instance: Instance) -> int:
    """Takes the instance's lock for the life of this process. Raises ClusterError when another supervisor runs."""
    instance.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(instance.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ClusterError(f"cluster {instance.name!r} is already running") from None
    return descriptor


def is_running(instance: Instance) -> bool:
    """Whether a supervisor holds the lock."""
    try:
        descriptor = os.open(instance.lock_file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise ClusterError(f"cannot read {instance.lock_file}: {error.strerror}", fix="run as root (sudo)") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def main(arguments: Sequence[str]) -> int:
    name, state_root, run_root = arguments
    try:
        instance = load(name, state_root=Path(state_root), run_root=Path(run_root))
        hold_lock(instance)
    except ClusterError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    asyncio.run(Supervisor(instance, programs(instance)).run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["default", str(STATE_ROOT), str(RUN_ROOT)]))
