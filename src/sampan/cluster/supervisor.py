"""Keeps the processes of one instance running: containerd, the server, DNS, the node agent.

``sampan up`` starts it detached; it ends with SIGTERM (``sampan down``), stopping its children in order. A child that
ends by itself, or gives no sign of life (``pulse``), is started again, at once the first time and more slowly when it
keeps ending. The supervisor imports nothing heavy: it is the one process that must always be there. It decides nothing
about the cluster.

When it dies its children live on; they start another one (``lifeline``), or ``sampan up`` or systemd does, and that one
adopts what it finds running.

Concurrency: one asyncio loop, one task a child, and one that looks at all of them and at their logs each second.
``status.json`` is rewritten on every change.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from sampan.api.clock import SystemClock, format_time, parse_time
from sampan.api.faults import cause, fault
from sampan.cluster import containerd, footprint, logfiles, pulse, registry_program, running
from sampan.cluster.errors import ClusterError
from sampan.cluster.etcd import member as etcd_member
from sampan.cluster.heartbeat import read_health
from sampan.cluster.instance import RUN_ROOT, STATE_ROOT, Instance, load
from sampan.cluster.logfiles import open_log
from sampan.cluster.pulse import Pulse
from sampan.cluster.running import Running, Started
from sampan.records import dataclass

#: Delay before the n-th start in a row; a child that ran for ``STEADY_SECONDS`` starts over at the first.
RESTART_DELAYS_SECONDS = (0.0, 0.2, 1.0, 2.0, 5.0)
STEADY_SECONDS = 10.0
FINISH_SECONDS = 20.0
#: What a program that hangs has to say where (``PYTHONFAULTHANDLER``), before it is killed.
LAST_WORDS_SECONDS = 0.5
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
    # One that hangs is ended by SIGABRT and says in its log where it was.
    "PYTHONFAULTHANDLER": "1",
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
    #: gives signs of life (``heartbeat``)
    beats: bool = False
    #: serves gRPC at this socket, and is asked for a sign of life there
    grpc_socket: Path | None = None


@dataclass(slots=True)
class Child:
    """What is known of one child. ``pid`` None: not running just now."""

    program: Program
    pid: int | None = None
    restarts: int = 0
    started_at: datetime | None = None
    last_exit: str = ""
    process: Running | None = field(default=None, repr=False)
    #: of its present life
    pulse: Pulse = field(default_factory=Pulse, repr=False)
    answers: int = 0
    #: why the supervisor ended its present life
    verdict: str = ""


def programs(instance: Instance) -> list[Program]:
    """The children of an instance, by the roles of this machine, in starting order."""
    python = (sys.executable, "-X", "frozen_modules=on", "-m")
    where = ("--name", instance.name, "--state-root", str(instance.state_root), "--run-root", str(instance.run_root))
    runtime = Program("containerd", containerd.command(instance), grpc_socket=instance.containerd_socket)
    server = Program(
        "server", (*python, "sampan.cluster.control_plane", *where), environment=LEAN_ENVIRONMENT, beats=True
    )
    dns = Program("dns", (*python, "sampan.cluster.dns_process", *where), environment=LEAN_ENVIRONMENT, beats=True)
    node = Program(
        "node",
        (*python, "sampan.cluster.node_process", *where),
        stop_seconds=(20.0 if instance.node.shutdown_seconds else 10.0) + instance.node.shutdown_seconds,
        after=(*python, "sampan.cluster.stop_pods", *where),
        environment=LEAN_ENVIRONMENT,
        beats=True,
    )
    etcd = Program(etcd_member.NAME, etcd_member.command(instance)) if instance.node.runs_etcd else None
    of_roles = [("etcd", each) for each in (etcd,) if each is not None]
    of_roles += [("node", runtime), ("control-plane", server), ("node", dns), ("node", node)]
    if registry_program.config_file(instance).exists():
        of_roles.append(("node", Program(registry_program.NAME, registry_program.command(instance))))
    return [program for role, program in of_roles if role in instance.node.roles]


class Supervisor:
    def __init__(
        self,
        instance: Instance,
        children: Sequence[Program],
        *,
        log_limit_bytes: int = logfiles.LOG_LIMIT_BYTES,
        reread: Callable[[Instance], Sequence[Program]] | None = None,
    ) -> None:
        """``reread``: asked for the children anew at SIGHUP; those that stay are left alone."""
        self._reread = reread
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._told = asyncio.Event()
        self._log_limit_bytes = log_limit_bytes
        self.instance = instance
        self.children = [Child(program) for program in children]
        self._clock = SystemClock()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Returns when told to stop and all children are gone."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._told.set)
        self._recall()
        self._write_status()
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look_forever(), name="look")
            for child in self.children:
                self._tasks[child.program.name] = group.create_task(self._keep(child), name=child.program.name)
            following = group.create_task(self._follow(group), name="follow")
            footprint.settle_later()
            await self._stopping.wait()
            self._write_status()  # from here on nobody starts another supervisor
            following.cancel()
            looking.cancel()
            for child in reversed(self.children):
                await self._stop(child)
                if keeping := self._tasks.pop(child.program.name, None):
                    keeping.cancel()
        self._write_status()

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """Starts and stops children as they come and go, each time it is told that they may be others."""
        while True:
            await self._told.wait()
            self._told.clear()
            if self._reread is None:
                continue
            wanted = {program.name: program for program in self._reread(self.instance)}
            for child in [child for child in self.children if child.program.name not in wanted]:
                keeping = self._tasks.pop(child.program.name)
                keeping.cancel()
                await asyncio.wait([keeping])
                # One that was just being started is not known to be its process yet.
                child.process = child.process or running.find(self.instance, child.program.argv)
                await self._stop(child)
                self.children.remove(child)
            had = {child.program.name for child in self.children}
            new = [Child(program) for name, program in wanted.items() if name not in had]
            self._recall(new)
            for child in new:
                self.children.append(child)
                self._tasks[child.program.name] = group.create_task(self._keep(child), name=child.program.name)
            self._write_status()

    def _recall(self, children: Sequence[Child] | None = None) -> None:
        """What a supervisor before this one left running, and what it knew of it."""
        known = read_status(self.instance)
        for child in self.children if children is None else children:
            found = running.find(self.instance, child.program.argv)
            if found is None:
                continue
            child.process, child.pid, child.pulse = found, found.pid, _pulse_of(child.program)
            before = known.get(child.program.name) or {}
            with contextlib.suppress(KeyError, ValueError, TypeError):  # what was written is damaged
                if before["pid"] == found.pid:
                    child.started_at = parse_time(before["startedAt"])
                    child.restarts, child.last_exit = int(before["restarts"]), str(before["lastExit"])

    async def _keep(self, child: Child) -> None:
        """Runs one child for ever."""
        loop = asyncio.get_running_loop()
        quick_ends = 0
        while not self._stopping.is_set():
            began = loop.time()
            try:
                process = child.process or await self._start(child)
                child.last_exit = await process.wait()
            except OSError as error:  # its program is gone, no memory, no room for its log
                child.last_exit = f"cannot be started: {fault(error, 'exec')}"
            if child.verdict:
                child.last_exit = f"{child.last_exit}: {child.verdict}"
            child.pid, child.process, child.verdict = None, None, ""
            if self._stopping.is_set():
                return
            child.restarts += 1
            self._write_status()
            ran_seconds = loop.time() - began
            delay = restart_delay_seconds(quick_ends, ran_seconds)
            quick_ends = 0 if ran_seconds > STEADY_SECONDS else quick_ends + 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def _start(self, child: Child) -> Running:
        log = open_log(self.instance.logs / f"{child.program.name}.log")
        try:
            process = await asyncio.create_subprocess_exec(
                *child.program.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, **child.program.environment},
                # A group of its own: Ctrl-C on a terminal is the supervisor's business alone.
                process_group=0,
            )
        finally:
            os.close(log)
        child.process = Started(process)
        child.pid = process.pid
        child.pulse = _pulse_of(child.program)
        child.answers = 0
        child.started_at = self._clock.now()
        self._write_status()
        return child.process

    async def _look_forever(self) -> None:
        loop = asyncio.get_running_loop()
        looks = 0
        async with asyncio.TaskGroup() as group:
            last = loop.time()
            while True:
                await asyncio.sleep(pulse.LOOK_SECONDS)
                now = loop.time()
                on_time, last = now - last <= pulse.LATE_SECONDS, now
                looks += 1
                for child in self.children:
                    if on_time and child.process is not None and not child.verdict:
                        self._look(child, child.process, group)
                    if looks % pulse.ASK_LOOKS == 0 and child.program.grpc_socket is not None:
                        group.create_task(self._ask(child, child.program.grpc_socket))
                await self._bound_logs()

    def _look(self, child: Child, process: Running, group: asyncio.TaskGroup) -> None:
        """Ends a child that does not live any more; ``_keep`` starts it again."""
        child.verdict = child.pulse.look(self._sign(child), stopped=pulse.is_stopped(process.pid))
        if child.verdict:
            sys.stderr.write(f"{child.program.name} is replaced: {child.verdict}\n")
            group.create_task(self._replace(process))

    def _sign(self, child: Child) -> object:
        """What changes while the child lives; None: it has given no sign yet."""
        if child.program.grpc_socket is not None:
            return child.answers or None
        if child.program.beats:
            health = read_health(self.instance, child.program.name)
            return health.beat_ns if health is not None and health.pid == child.pid else None
        return object()  # none is expected: every look is one

    @staticmethod
    async def _replace(process: Running) -> None:
        if not pulse.is_stopped(process.pid):
            process.send(signal.SIGABRT)
            await asyncio.sleep(LAST_WORDS_SECONDS)
        process.send(signal.SIGKILL)

    @staticmethod
    async def _ask(child: Child, socket: Path) -> None:
        process = child.process
        if await pulse.answers_http2(socket) and child.process is process:
            child.answers += 1

    async def _bound_logs(self) -> None:
        for name in ("supervisor", *(child.program.name for child in self.children)):
            path = self.instance.logs / f"{name}.log"
            if logfiles.is_large(path, self._log_limit_bytes):
                try:
                    await asyncio.to_thread(logfiles.bound_log, path, self._log_limit_bytes)
                except OSError as error:
                    sys.stderr.write(f"what {name} said before is lost: {fault(error, 'write')}\n")

    async def _stop(self, child: Child) -> None:
        if child.process is not None:
            await self._end(child.process, child.program.stop_seconds)
        if child.program.after:
            await self._finish(child)

    async def _end(self, process: Running, stop_seconds: float) -> None:
        process.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(stop_seconds):
                await process.wait()
        except TimeoutError:
            process.send(signal.SIGKILL)
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


def _pulse_of(program: Program) -> Pulse:
    """At the beginning of a life, or where a supervisor before this one left it."""
    return Pulse(pulse.UNANSWERED_LOOKS if program.grpc_socket else pulse.SILENT_LOOKS)


def restart_delay_seconds(quick_ends: int, ran_seconds: float) -> float:
    """How long to wait with the next start, after ``quick_ends`` ends in a row that came soon."""
    if ran_seconds > STEADY_SECONDS:
        return RESTART_DELAYS_SECONDS[0]
    return RESTART_DELAYS_SECONDS[min(quick_ends, len(RESTART_DELAYS_SECONDS) - 1)]


def read_status(instance: Instance) -> dict[str, dict[str, Any]]:
    """What a supervisor last wrote of its children, by name; empty when that cannot be read."""
    try:
        processes = orjson.loads(instance.status_file.read_bytes())["processes"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return processes if isinstance(processes, dict) else {}


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
    asyncio.run(Supervisor(instance, programs(instance), reread=programs).run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["default", str(STATE_ROOT), str(RUN_ROOT)]))
