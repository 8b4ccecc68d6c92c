"""A ``Runtime`` in memory: nothing runs, but everything takes its time and can be made to fail or exit.

Used for hollow nodes (thousands in one process), what-if, and the tests of the node agent. Passes the same contract
suite as containerd. Delays run on the event loop's clock; times of day come from the injected ``Clock``.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import field, fields, replace
from datetime import datetime
from itertools import count

from sampan.api.clock import Clock, Random, SystemRandom
from sampan.client.signal import Signal
from sampan.node import runtime
from sampan.node.pod_addresses import AddressesExhausted, PodAddresses
from sampan.node.simulated_behaviour import Behaviour, SimulatedDelays, annotated, plan_life, seconds_of
from sampan.node.simulated_programs import NoPrograms, Programs, Streams
from sampan.records import dataclass

__all__ = ["Behaviour", "SimulatedDelays", "SimulatedRuntime"]

_NO_NETWORK = "cni plugin not initialized"

ExecHandler = Callable[[runtime.Container, Sequence[str]], runtime.ExecResult]


_CRASHING = Behaviour(failure_rate=1.0)
#: environments of containers that were made before: those of one template have the same
_environments: dict[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]] = {}
_MOST_ENVIRONMENTS = 64


@dataclass(slots=True)
class _Entry:
    container: runtime.Container
    config: runtime.ContainerConfig
    behaviour: Behaviour | None = None
    stop_signal: str = ""
    ended: Signal = field(default_factory=Signal)


def _shared(environment: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The same, one copy for all containers of the process that have it."""
    found = _environments.get(environment)
    if found is None:
        if len(_environments) >= _MOST_ENVIRONMENTS:
            _environments.clear()
        found = _environments[environment] = environment
    return found


class SimulatedRuntime:
    """Invariants: a container's sandbox exists; a running container's sandbox is ready or was killed; ids are never
    reused.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        delays: SimulatedDelays | None = None,
        pod_cidr: str = "10.88.0.0/16",
        random: Random | None = None,
        name: str = "",
    ) -> None:
        """``pod_cidr`` "": the pod network is not ready until ``set_pod_cidr``. ``name``: runtimes of different names
        give different ids."""
        self._clock = clock
        self._random = random or SystemRandom()
        self._name = f"{name}/" if name else ""
        self._addresses = PodAddresses(pod_cidr) if pod_cidr else None
        self.delays = delays or SimulatedDelays()
        self.behaviours: dict[str, Behaviour] = {}
        #: Of images that have none.
        self.default_behaviour = Behaviour()
        self._crashing = False
        #: nanoseconds of processor that ended containers used
        self._used_before = 0
        #: Images a pull finds, by name; None: every name is found.
        self.registry: set[str] | None = None
        #: Images that the registry gives only to these users, by name: user name to password.
        self.private: dict[str, dict[str, str]] = {}
        #: Images whose pull is under way.
        self.pulling: list[str] = []
        #: Errors to raise, by method name, consumed front to back.
        self.failures: dict[str, list[runtime.RuntimeCallError]] = {}
        #: What it says it can do: by default nothing that a runtime may lack, as containerd 1.6.
        self.supported = runtime.Features()
        self.exec_handler: ExecHandler = lambda container, command: runtime.ExecResult(b"", b"", 0)
        #: What exec, attach and port-forward reach; by default nothing.
        self.programs: Programs = NoPrograms()
        #: What containers use, by id; by default nothing.
        self.usage: dict[str, runtime.ContainerStats] = {}
        self._numbers = count(1)
        self._sandboxes: dict[str, runtime.Sandbox] = {}
        self._killed: set[str] = set()
        self._containers: dict[str, _Entry] = {}
        self._images: dict[str, runtime.Image] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._listeners: list[asyncio.Queue[runtime.RuntimeEvent]] = []

    # Steering, for tests and simulations.

    def set_pod_cidr(self, pod_cidr: str) -> None:
        """The range of later pods' addresses, as a network plugin is told it when the node has got one."""
        if self._addresses is None or self._addresses.pod_cidr != pod_cidr:
            self._addresses = PodAddresses(pod_cidr)

    def add_image(self, name: str, size_bytes: int = 1 << 20) -> str:
        """``name`` as if pulled; returns its id."""
        return self._add_image(name, size_bytes).id

    def place(self, sandbox: runtime.Sandbox, *containers: runtime.Container) -> None:
        """As if they had been made before: what an agent that starts finds."""
        self._sandboxes[sandbox.id] = sandbox
        for container in containers:
            config = runtime.ContainerConfig(name=container.name, attempt=container.attempt, image=container.image)
            self._containers[container.id] = _Entry(replace(container, sandbox_id=sandbox.id), config)

    def exit_container(self, container_id: str, exit_code: int = 0, reason: str = "") -> None:
        """The container's process ends by itself."""
        entry = self._containers[container_id]
        if entry.container.state != "running":
            return
        self._cancel_timer(container_id)
        self._used_before += _usage(entry, self._clock.now()).cpu_nanoseconds
        entry.container = replace(
            entry.container,
            state="exited",
            exit_code=exit_code,
            finished_at=self._clock.now(),
            reason=reason or ("Completed" if exit_code == 0 else "Error"),
        )
        entry.ended.set()
        self._announce(runtime.RuntimeEvent("exit", container_id))

    def set_crashing(self, crashing: bool) -> None:
        """While it is so, containers that run end, and others soon after their start, whatever they are."""
        if crashing and not self._crashing:
            for entry in list(self._containers.values()):
                self.exit_container(entry.container.id, 1)
        self._crashing = crashing

    def history_of(self, container_id: str) -> list[tuple[datetime, str]]:
        """What there is to say of a container's life, in the place of a log. Raises RuntimeNotFound."""
        item = self._entry(container_id).container
        told = []
        if item.started_at is not None:
            told.append(
                (item.started_at, f"{item.name} of image {item.image} started; nothing runs in it, for it is simulated")
            )
        if item.finished_at is not None:
            told.append((item.finished_at, f"{item.name} ended with exit code {item.exit_code}"))
        return told

    def kill_sandbox(self, sandbox_id: str) -> None:
        """The sandbox's own process dies; its containers run on, as they do in pid namespaces of their own."""
        self._sandboxes[sandbox_id] = replace(self._sandboxes[sandbox_id], ready=False, ips=())
        self._killed.add(sandbox_id)
        self._announce(runtime.RuntimeEvent("exit", sandbox_id))

    def config_of(self, container_id: str) -> runtime.ContainerConfig:
        return self._containers[container_id].config

    def stop_signal_of(self, container_id: str) -> str:
        """The signal that the last stop asked for."""
        return self._containers[container_id].stop_signal

    def check_invariants(self) -> None:
        for entry in self._containers.values():
            sandbox = self._sandboxes[entry.container.sandbox_id]
            lives = sandbox.ready or sandbox.id in self._killed
            assert entry.container.state != "running" or lives, entry.container
        taken = [address for sandbox in self._sandboxes.values() for address in sandbox.ips]
        assert len(taken) == len(set(taken)), taken

    # Runtime.

    async def run_sandbox(self, config: runtime.SandboxConfig, runtime_handler: str = "") -> str:
        await self._step("run_sandbox", seconds_of(self.delays.run_sandbox, self._random))
        for other in self._sandboxes.values():
            if (other.uid, other.attempt) == (config.uid, config.attempt):
                raise runtime.RuntimeCallError(f"failed to reserve sandbox name: {other.id} has it")
        sandbox_id = _hash(f"{self._name}sandbox-{next(self._numbers)}")
        sandbox = runtime.Sandbox(
            id=sandbox_id,
            name=config.name,
            uid=config.uid,
            namespace=config.namespace,
            attempt=config.attempt,
            ready=True,
            created_at=self._clock.now(),
            labels=config.labels,
            annotations=config.annotations,
            handler=runtime_handler,
            ips=() if config.namespaces.network == "node" else (self._take_address(sandbox_id),),
        )
        self._sandboxes[sandbox.id] = sandbox
        return sandbox.id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._step("stop_sandbox")
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None:
            return
        for entry in list(self._containers.values()):
            if entry.container.sandbox_id == sandbox_id:
                self.exit_container(entry.container.id, 137)
        self._sandboxes[sandbox_id] = replace(sandbox, ready=False, ips=())
        if self._addresses is not None:
            self._addresses.give_back(sandbox_id)
        if sandbox.ready:
            self._announce(runtime.RuntimeEvent("exit", sandbox_id))

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self.stop_sandbox(sandbox_id)
        for entry in list(self._containers.values()):
            if entry.container.sandbox_id == sandbox_id:
                await self.remove_container(entry.container.id)
        self._sandboxes.pop(sandbox_id, None)
        self._killed.discard(sandbox_id)

    async def sandbox_status(self, sandbox_id: str) -> runtime.Sandbox:
        await self._step("sandbox_status")
        if sandbox_id not in self._sandboxes:
            raise runtime.RuntimeNotFound(f"an error occurred when try to find sandbox: {sandbox_id} not found")
        return self._sandboxes[sandbox_id]

    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> list[runtime.Sandbox]:
        await self._step("list_sandboxes")
        return [replace(item, ips=()) for item in self._sandboxes.values() if _matches(item.labels, labels)]

    async def create_container(
        self, sandbox_id: str, config: runtime.ContainerConfig, sandbox: runtime.SandboxConfig
    ) -> str:
        await self._step("create_container", seconds_of(self.delays.create_container, self._random))
        if sandbox_id not in self._sandboxes:
            raise runtime.RuntimeNotFound(f"failed to find sandbox id {sandbox_id}: not found")
        image = self._find_image(config.image)
        if image is None:
            raise runtime.RuntimeCallError(f'failed to resolve image "{config.image}": not found')
        for other in self._containers.values():
            if (other.container.sandbox_id, other.container.name, other.container.attempt) == (
                sandbox_id, config.name, config.attempt,
            ):  # fmt: skip
                raise runtime.RuntimeCallError(f"failed to reserve container name: {other.container.id} has it")
        container = runtime.Container(
            id=_hash(f"{self._name}container-{next(self._numbers)}"),
            name=config.name,
            attempt=config.attempt,
            state="created",
            created_at=self._clock.now(),
            image=image.tags[0],
            image_ref=image.id,
            labels=config.labels,
            annotations=config.annotations,
            sandbox_id=sandbox_id,
            log_path=f"{sandbox.log_directory}/{config.log_path}",
        )
        self._containers[container.id] = _Entry(container, replace(config, env=_shared(config.env)))
        return container.id

    async def start_container(self, container_id: str) -> None:
        entry = self._entry(container_id)
        behaviour = entry.behaviour = self._behaviour(entry)
        wanted = self.delays.start_container if behaviour.start_seconds is None else behaviour.start_seconds
        await self._step("start_container", seconds_of(wanted, self._random))
        entry = self._entry(container_id)
        if entry.container.state != "created":
            raise runtime.RuntimeCallError(f"container {container_id} is in {entry.container.state} state")
        if not self._sandboxes[entry.container.sandbox_id].ready:
            raise runtime.RuntimeCallError(f'sandbox container "{entry.container.sandbox_id}" is not running')
        entry.container = replace(entry.container, state="running", started_at=self._clock.now())
        life = plan_life(behaviour, self._random)
        if life.seconds is not None:
            self._timers[container_id] = asyncio.get_running_loop().call_later(
                life.seconds, self.exit_container, container_id, life.exit_code
            )

    async def stop_container(self, container_id: str, timeout_seconds: int, signal: str = "") -> None:
        await self._step("stop_container")
        entry = self._containers.get(container_id)
        if entry is None or entry.container.state != "running":
            return
        entry.stop_signal = signal
        if timeout_seconds > 0 and self._behaviour(entry).ignores_term:
            try:
                async with asyncio.timeout(timeout_seconds):
                    await entry.ended.wait()
                    return
            except TimeoutError:
                pass  # the grace period is over: kill
            self.exit_container(container_id, 137)
        else:
            self.exit_container(container_id, 143 if timeout_seconds > 0 else 137)

    async def remove_container(self, container_id: str) -> None:
        await self._step("remove_container")
        if container_id in self._containers:
            self.exit_container(container_id, 137)
            del self._containers[container_id]

    async def container_status(self, container_id: str) -> runtime.Container:
        await self._step("container_status")
        return replace(self._entry(container_id).container, sandbox_id="")

    async def list_containers(self, labels: Mapping[str, str] | None = None) -> list[runtime.Container]:
        await self._step("list_containers")
        return [
            replace(entry.container, started_at=None, finished_at=None, exit_code=0, reason="")
            for entry in self._containers.values()
            if _matches(entry.container.labels, labels)
        ]

    async def update_resources(self, container_id: str, resources: runtime.Resources) -> None:
        await self._step("update_resources")
        entry = self._entry(container_id)
        # As runtimes do: what is not set stays as it is.
        given = {field.name: getattr(resources, field.name) for field in fields(resources)}
        merged = replace(entry.config.resources, **{name: value for name, value in given.items() if value})
        entry.config = replace(entry.config, resources=merged)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: int) -> runtime.ExecResult:
        await self._step("exec_sync")
        entry = self._entry(container_id)
        if entry.container.state != "running":
            raise runtime.RuntimeCallError(f"container is in {entry.container.state} state")
        return self.exec_handler(entry.container, command)

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> runtime.Command:
        return self.programs.exec(container_id, command, Streams(tty=tty, stdin=stdin, stdout=stdout, stderr=stderr))

    async def attach(self, container_id: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> runtime.Command:
        return self.programs.attach(container_id, Streams(tty=tty, stdin=stdin, stdout=stdout, stderr=stderr))

    async def connect_port(self, sandbox_id: str, port: int) -> socket.socket:
        return await self.programs.connect(sandbox_id, port)

    async def reopen_log(self, container_id: str) -> None:
        self._entry(container_id)

    async def list_stats(self) -> list[runtime.ContainerStats]:
        return [stats for _, stats in self.running()]

    def running(self) -> list[tuple[runtime.Container, runtime.ContainerStats]]:
        """What runs now, and what each has used."""
        now = self._clock.now()
        return [
            (entry.container, self.usage.get(entry.container.id) or _usage(entry, now))
            for entry in self._containers.values()
            if entry.container.state == "running"
        ]

    def used(self) -> tuple[int, int]:
        """By all containers that there were: nanoseconds of processor, which never get less, and bytes of memory."""
        now = self._clock.now()
        present = [_usage(entry, now) for entry in self._containers.values() if entry.container.state == "running"]
        cpu = sum(each.cpu_nanoseconds for each in present)
        return self._used_before + cpu, sum(each.memory_usage_bytes for each in present)

    async def events(self) -> AsyncIterator[runtime.RuntimeEvent]:
        queue: asyncio.Queue[runtime.RuntimeEvent] = asyncio.Queue()
        queue.put_nowait(runtime.RuntimeEvent("lost"))
        self._listeners.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.remove(queue)

    async def pull_image(self, reference: str, auth: runtime.RegistryAuth | None = None) -> str:
        self.pulling.append(reference)
        try:
            await self._step("pull_image", seconds_of(self.delays.pull_image, self._random))
        finally:
            self.pulling.remove(reference)
        users = self.private.get(reference)
        if users is not None and (auth is None or users.get(auth.username) != auth.password):
            raise runtime.RuntimeCallError(
                f'rpc error: code = Unknown desc = failed to pull and unpack image "{reference}": '
                "unexpected status: 401 Unauthorized"
            )
        if self.registry is not None and reference not in self.registry:
            raise runtime.RuntimeNotFound(
                f'rpc error: code = NotFound desc = failed to pull and unpack image "{reference}": not found'
            )
        return self._add_image(reference, 1 << 20).id

    async def image_status(self, reference: str) -> runtime.Image | None:
        await self._step("image_status")
        return self._find_image(reference)

    async def list_images(self) -> list[runtime.Image]:
        return list(self._images.values())

    async def remove_image(self, reference: str) -> None:
        image = self._find_image(reference)
        if image is not None:
            del self._images[image.id]

    async def image_filesystem(self) -> tuple[str, int]:
        return "", sum(image.size_bytes for image in self._images.values())

    async def version(self) -> runtime.Version:
        return runtime.Version("simulated", "1.0.0")

    async def conditions(self) -> list[runtime.RuntimeCondition]:
        network = runtime.RuntimeCondition("NetworkReady", True)
        if self._addresses is None:
            message = f"Network plugin returns error: {_NO_NETWORK}"
            network = runtime.RuntimeCondition("NetworkReady", False, "NetworkPluginNotReady", message)
        return [runtime.RuntimeCondition("RuntimeReady", True), network]

    async def features(self) -> runtime.Features:
        await self._step("features")
        return self.supported

    async def close(self) -> None:
        for container_id in list(self._timers):
            self._cancel_timer(container_id)

    # Inside.

    def _take_address(self, sandbox_id: str) -> str:
        try:
            if self._addresses is None:
                raise AddressesExhausted(_NO_NETWORK)
            return self._addresses.take(sandbox_id)
        except AddressesExhausted as error:
            raise runtime.RuntimeCallError(f"failed to setup network for sandbox: {error}") from error

    async def _step(self, name: str, seconds: float = 0.0) -> None:
        await asyncio.sleep(seconds + self.delays.every_step)
        pending = self.failures.get(name)
        if pending:
            raise pending.pop(0)

    def _entry(self, container_id: str) -> _Entry:
        try:
            return self._containers[container_id]
        except KeyError:
            raise runtime.RuntimeNotFound(
                f'rpc error: code = NotFound desc = container "{container_id}": not found'
            ) from None

    def _behaviour(self, entry: _Entry) -> Behaviour:
        """As it is at this moment; a container that runs keeps to what its start found."""
        if self._crashing:
            return _CRASHING
        found = self.behaviours.get(entry.container.image, self.default_behaviour)
        sandbox = self._sandboxes.get(entry.container.sandbox_id)
        return found if sandbox is None else annotated(found, sandbox.annotations)

    def _cancel_timer(self, container_id: str) -> None:
        timer = self._timers.pop(container_id, None)
        if timer is not None:
            timer.cancel()

    def _announce(self, event: runtime.RuntimeEvent) -> None:
        for queue in self._listeners:
            queue.put_nowait(event)

    def _add_image(self, name: str, size_bytes: int) -> runtime.Image:
        digest = f"sha256:{_hash(name)}"
        uid = self.behaviours.get(name, self.default_behaviour).uid
        image = runtime.Image(digest, (name,), (f"{name.partition(':')[0]}@{digest}",), size_bytes, uid)
        self._images[digest] = image
        return image

    def _find_image(self, reference: str) -> runtime.Image | None:
        for image in self._images.values():
            if reference == image.id or reference in image.tags or reference in image.digests:
                return image
        return None


def _usage(entry: _Entry, now: datetime) -> runtime.ContainerStats:
    """Of a running container, as steady as its behaviour says."""
    item, behaviour = entry.container, entry.behaviour
    cores, memory = (behaviour.cpu_cores, behaviour.memory_bytes) if behaviour is not None else (0.0, 0)
    seconds = (now - item.started_at).total_seconds() if item.started_at is not None else 0.0
    return runtime.ContainerStats(item.id, item.labels, now, int(cores * seconds * 1e9), memory, memory, memory, 0)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _matches(labels: Mapping[str, str], wanted: Mapping[str, str] | None) -> bool:
    return all(labels.get(key) == value for key, value in (wanted or {}).items())
