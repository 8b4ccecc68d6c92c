"""``sampan up``: from nothing, or from a stopped instance, to a node that is Ready.

Called by the CLI. Reports each step to a ``Progress``; undoes what it started when it fails or is interrupted. Nothing
here runs on after it returns: the supervisor does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypedDict

import orjson

from sampan.api.clock import Clock, parse_time
from sampan.cluster import (
    choosing,
    containerd,
    images,
    kubeconfigs,
    kubernetesdir,
    leftovers,
    locks,
    logfiles,
    machine,
    pki,
    preflight,
    probe,
    processes,
    registry_program,
    supervisor,
)
from sampan.cluster import instance as instances
from sampan.cluster.choosing import Given
from sampan.cluster.errors import ClusterError
from sampan.cluster.etcd import member as etcd_member
from sampan.cluster.instance import Instance
from sampan.cluster.nodesettings import NodeSettings

#: Between two looks at something that is about to be there.
LOOK_SECONDS = 0.04
#: A child that was started again this often while coming up will not come up.
RESTARTS_TO_GIVE_UP = 3
#: Added to how long a start may take: a busy machine registers some fifteen a second.
SECONDS_A_SIMULATED_NODE = 0.1


class Progress(Protocol):
    """Told of each step; what it does with that is its own affair."""

    def step(self, text: str) -> None:
        """A step begins; the one before it is done."""
        ...

    def warn(self, text: str) -> None: ...


def complete(instance: Instance) -> Instance:
    """Fills in what the machine decides: node name (once) and address (every time). Raises ClusterError."""
    node = instance.node
    if node.given_address:
        given = replace(node, address=node.given_address)
        given.validate(instance.cluster)
        for address in given.addresses:
            machine.check_own(address)
    node = replace(
        node,
        name=node.name or machine.node_name(),
        address=_address(node, instance.cluster.families),
    )
    completed = replace(instance, node=node.with_shutdown())
    completed.validate()
    if not node.simulate and not node.simulated_count:
        return completed
    from sampan.cluster import simulation  # late: it loads the node agent

    return simulation.complete(completed)


def _address(node: NodeSettings, families: Sequence[int]) -> str:
    """One of each family of the cluster, in its order; what was not given is looked for. Raises ClusterError."""
    given = {6 if ":" in text else 4: text for text in node.given_address.split(",") if text}
    if unused := [text for version, text in given.items() if version not in families]:
        raise ClusterError(
            f"--node-address {unused[0]} is of a family that the cluster does not have",
            fix="leave it out, or make a cluster with --ip-family dual",
        )
    try:
        return ",".join(given.get(version) or machine.node_address(version) for version in families)
    except ClusterError:
        if node.runs_containers:
            raise
        return ""  # a machine without a network can still simulate one


def settle(instance: Instance, given: Given, *, running: bool = False) -> Instance:
    """What an instance is to be, made anew or there already; saves nothing. Raises ClusterError."""
    there = choosing.machine_now(instance)
    if instance.exists():
        kept = instances.load(instance.name, state_root=instance.state_root, run_root=instance.run_root)
        _refuse_another_kind(kept, given)
        return complete(choosing.change(kept, given, there, running=running))
    if given.options.get("--simulate") and not given.with_node:
        instance = replace(instance, node=replace(instance.node, roles=("control-plane",)))
    if given.cluster(instance.cluster).manages_etcd:
        instance = replace(instance, node=replace(instance.node, roles=(*instance.node.roles, "etcd")))
    return complete(choosing.choose(instance, given, there))


def _refuse_another_kind(kept: Instance, given: Given) -> None:
    """Whether an instance runs containers is decided when it is made. Raises ClusterError."""
    anew = "or make another cluster with --name"
    if kept.node.runs_containers:
        if given.options.get("--simulate") and not given.with_node:
            raise ClusterError(f"cluster {kept.name!r} runs containers on this machine", fix=f"add --with-node, {anew}")
    elif given.with_node:
        raise ClusterError(
            f"cluster {kept.name!r} was made to simulate alone, without this machine's node",
            fix=f"leave --with-node out, {anew}",
        )


def check_machine(instance: Instance, progress: Progress) -> None:
    """Raises ClusterError with all problems at once; warns of those that the cluster can live with."""
    progress.step("Checking this machine")
    # Programs that a killed supervisor left hold their ports by right.
    left = any(processes.is_program(process, instance) for process in processes.running())
    problems = preflight.check(instance, running=left)
    fatal = [problem for problem in problems if problem.fatal]
    if fatal:
        raise ClusterError(
            "this machine is not ready:\n" + "\n".join(f"  - {problem.what}" for problem in fatal),
            fix="\n".join(problem.fix for problem in fatal),
        )
    for problem in problems:
        progress.warn(f"{problem.what} ({problem.fix})")
    if ignored := instance.node.ignored_kubelet_settings:
        progress.warn(f"{instance.node.kubelet_config}: nothing acts on {', '.join(ignored)}")
    for warning in instance.cluster.ignored_scheduler_settings:
        progress.warn(f"{instance.cluster.scheduler_config}: {warning}")


def prepare(instance: Instance, clock: Clock, progress: Progress) -> None:
    """Writes everything the processes read. Raises ClusterError."""
    progress.step("Certificates and settings")
    with writing(instance):
        instance.save()
        instance.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        instance.logs.mkdir(parents=True, exist_ok=True, mode=0o750)
        kubernetesdir.link_pki(instance)
        if instance.node.runs_control_plane:
            pki.ensure(instance, clock)
        else:
            pki.check_given(instance)
        kubeconfigs.write_all(instance)
        if instance.node.runs_containers:
            containerd.write_config(instance)
        if instance.node.runs_etcd:
            etcd_member.write_config(instance)


@contextlib.contextmanager
def writing(instance: Instance) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ClusterError(
            f"cannot write {error.filename or instance.state}: {error.strerror}",
            fix=f"make room on, or the right to, the file system of {instance.state_root}",
        ) from error


async def up(
    instance: Instance, given: Given, clock: Clock, progress: Progress, *, timeout_seconds: float
) -> tuple[Instance, bool]:
    """Starts an instance, known by its name, and returns when its nodes are Ready. Raises ClusterError.

    Gives the instance with all its settings, and whether it was started; False: it ran already.
    """
    machine.complete_path()
    if os.geteuid() != 0 and (wanted := settle(instance, given)).node.runs_containers:
        check_machine(wanted, progress)  # raises, naming whatever else is missing too
    async with locks.changing(instance, progress):
        if supervisor.is_running(instance):
            return settle(instance, given, running=True), False
        await leftovers.end_supervisors(instance)
        # What a killed supervisor left running is the cluster still, and is adopted: its settings stay.
        # Two new clusters at once must not choose the same.
        async with locks.choosing(instance, progress):
            instance = settle(instance, given, running=leftovers.has_programs(instance))
            make_ready(instance, clock, progress)
        await start(instance, progress, timeout_seconds)
    return instance, True


def make_ready(instance: Instance, clock: Clock, progress: Progress) -> None:
    """Everything but the start: the machine is checked, settings, certificates and configurations are on disk."""
    check_machine(instance, progress)
    prepare(instance, clock, progress)


async def start(instance: Instance, progress: Progress, timeout_seconds: float) -> None:
    """Starts the processes; stops them again when they do not come up in time, or when cancelled."""
    timeout_seconds += instance.node.simulated_count * SECONDS_A_SIMULATED_NODE
    process = start_supervisor(instance)
    contained = instance.node.runs_containers
    try:
        async with asyncio.timeout(timeout_seconds):
            progress.step(f"Starting {_started(instance)}")
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(_watch_children(instance, process), name="children")
                pause = group.create_task(_prepare_images(instance), name="images") if contained else None
                await _until(lambda: asyncio.to_thread(probe.is_ready, instance))
                progress.step(f"API server answers; waiting for {_awaited(instance)}")
                if pause is not None:
                    await pause
                    await _until(lambda: asyncio.to_thread(node_is_ready, instance, process.pid))
                if instance.node.simulated_count:
                    # A look at many nodes is not for nothing.
                    pause_seconds = max(LOOK_SECONDS, instance.node.simulated_count / 2000)
                    await _until(lambda: asyncio.to_thread(_simulated_are_ready, instance, process.pid), pause_seconds)
                watch.cancel()
    except TimeoutError:
        _, message = probe.node_condition(instance) if contained else (False, _simulated_words(instance))
        await _undo(process)
        raise ClusterError(
            f"the cluster did not come up within {timeout_seconds:.0f} s: {message}",
            fix=_fix_for_late(instance, message),
        ) from None
    except BaseExceptionGroup as group_error:
        await _undo(process)
        raise _first(group_error) from None
    except asyncio.CancelledError:
        await _undo(process)
        raise


def node_is_ready(instance: Instance, supervisor_pid: int) -> bool:
    """Whether the node agent that runs below this supervisor has said so: what an earlier one said is of before. One
    that was adopted said it before this supervisor began, and need not say it again for minutes."""
    node = process_status(instance, of=supervisor_pid).get("node")
    if node is None or node["pid"] is None:
        return False
    started = node["startedAt"]
    return probe.node_condition(instance, parse_time(started) if started else None)[0]


def supervisor_arguments(instance: Instance) -> list[str]:
    return ["-m", "sampan.cluster.supervisor", instance.name, str(instance.state_root), str(instance.run_root)]


def start_supervisor(instance: Instance) -> subprocess.Popen[bytes]:
    """Starts the supervisor in a session of its own, so that it outlives this program and its terminal."""
    log = logfiles.open_log(instance.logs / "supervisor.log")
    try:
        return subprocess.Popen(
            [sys.executable, *supervisor_arguments(instance)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(log)


async def _prepare_images(instance: Instance) -> None:
    await _until(lambda: asyncio.to_thread(probe.is_listening, instance.containerd_socket))
    await images.ensure_pause(instance)


async def _watch_children(instance: Instance, process: subprocess.Popen[bytes]) -> None:
    """Raises ClusterError when the supervisor is gone or a child keeps ending; else runs until cancelled."""
    while True:
        await asyncio.sleep(0.2)
        if process.poll() is not None:
            raise ClusterError(
                f"the supervisor ended:\n{tail(instance, 'supervisor')}", fix=f"look into {instance.logs}"
            )
        for name, child in process_status(instance, of=process.pid).items():
            if name != registry_program.NAME and child["restarts"] >= RESTARTS_TO_GIVE_UP:  # no cluster needs it
                raise ClusterError(
                    f"{name} keeps ending ({child['lastExit']}); the end of its log:\n{tail(instance, name)}",
                    fix=f"the whole log is {instance.logs / name}.log",
                )


class ChildStatus(TypedDict):
    """One process in the supervisor's status file."""

    pid: int | None
    restarts: int
    startedAt: str | None
    lastExit: str


def process_status(instance: Instance, *, of: int | None = None) -> dict[str, ChildStatus]:
    """What the supervisor last wrote of its children; empty before it did. ``of``: only if that process wrote it."""
    try:
        status = orjson.loads(instance.status_file.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    if of is not None and status["supervisor"] != of:
        return {}
    processes: dict[str, ChildStatus] = status["processes"]
    return processes


def tail(instance: Instance, name: str, lines: int = 8) -> str:
    path = instance.logs / f"{name}.log"
    if not path.exists():
        return "  (no log)"
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 16384))
        last = log.read().decode(errors="replace").splitlines()[-lines:]
    return "\n".join(f"  | {line}" for line in last)


def _fix_for_late(instance: Instance, message: str) -> str:
    if instance.node.cni_conf_dir and "cni" in message.lower():
        where = f"{instance.node.cni_conf_dir} (--cni-conf-dir)"
        why = instance.logs / "containerd.log"
        return f"look at the first *.conf or *.conflist of {where}: it is missing or cannot be read; {why} says more"
    return f"read the logs in {instance.logs}, or give it longer with --timeout"


async def _until(there: Callable[[], Awaitable[bool]], pause_seconds: float = LOOK_SECONDS) -> None:
    while not await there():  # noqa: ASYNC110 (what is waited for is another process)
        await asyncio.sleep(pause_seconds)


def _started(instance: Instance) -> str:
    if not instance.node.runs_containers:
        return "the server"
    return "containerd, server and node" if instance.node.runs_control_plane else "containerd and node"


def _awaited(instance: Instance) -> str:
    simulated = f"{instance.node.simulated_count} simulated nodes" if instance.node.simulated_count else ""
    if instance.node.runs_containers:
        return f"the node and {simulated}" if simulated else "the node"
    return simulated or "nothing more"


def _simulated_are_ready(instance: Instance, supervisor_pid: int) -> bool:
    """As ``node_is_ready``: what the nodes of an earlier server process said is of before."""
    server = process_status(instance, of=supervisor_pid).get("server")
    if server is None or server["pid"] is None:
        return False
    since = parse_time(server["startedAt"]) if server["startedAt"] else None
    return probe.simulated_nodes_ready(instance, since) >= instance.node.simulated_count


def _simulated_words(instance: Instance) -> str:
    ready = probe.simulated_nodes_ready(instance)
    return f"{ready} of {instance.node.simulated_count} simulated nodes are Ready"


async def _undo(process: subprocess.Popen[bytes]) -> None:
    """Ends the supervisor that this call started, and with it its children."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The ClusterError among the reasons, if any; else the first reason."""
    flat: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions)
        else:
            flat.append(error)
    return next((error for error in flat if isinstance(error, ClusterError)), flat[0])
