"""Commands in containers by containerd's task service, with pipes of our own to the shim.

CRI's streaming server is not used for them: through it a command that does not read its input never ends once 192 KiB
lie unread, its connections stay for as long as the container lives, and the end of the input reaches WebSocket clients'
commands not at all. Here the agent holds the pipes, so it knows what was read, what has ended, and who has gone.
Used by ``client.CriRuntime``; runtimes without a task service raise RuntimeNotImplemented.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from google.protobuf import empty_pb2

from sampan.client.tasks import cancel_and_wait, detach
from sampan.node import runtime
from sampan.node.cri import rpc
from sampan.node.cri.fifo import FifoReader, FifoWriter, LateFifoWriter
from sampan.node.cri.pb import tasks_pb2 as pb

log = logging.getLogger(__name__)

_TASKS = "/containerd.services.tasks.v1.Tasks/"
_CONTAINERS = "/containerd.services.containers.v1.Containers/"
_METADATA = (("containerd-namespace", "k8s.io"),)
_PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"
_TERM = "TERM=xterm"
#: how long an exit is asked for again while containerd restarts; the command itself goes on in the shim
_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 2.0, 5.0, 5.0, 10.0)


class TaskService:
    """``folder`` holds the pipes: a folder of its own for each command, removed with it."""

    def __init__(self, channel: rpc.Channel, folder: Path) -> None:
        self._channel = channel
        self._own_folder = folder / str(os.getpid())
        self._cleared = False
        self._leftovers: set[asyncio.Task[None]] = set()

    async def call(self, method: str, request: Any, response_type: Any, timeout_seconds: float | None = 30) -> Any:
        return await self._channel.call(_TASKS + method, request, response_type, timeout_seconds, _METADATA)

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> TaskCommand:
        """Starts the command. Raises RuntimeCallError (not startable: its text is the OCI runtime's), OSError."""
        spec = await self._process_spec(container_id, command, tty=tty)
        exec_id = uuid.uuid4().hex
        self._clear_once()
        folder = self._own_folder / exec_id
        pipes = _make_pipes(folder, stdin=stdin, stdout=stdout, stderr=stderr and not tty)
        request = pb.ExecProcessRequest(container_id=container_id, exec_id=exec_id, terminal=tty)
        for name, path in pipes.items():
            setattr(request, name, str(path))
        request.spec.type_url, request.spec.value = _PROCESS_TYPE, orjson.dumps(spec)
        try:
            outputs = {name: FifoReader(path) for name, path in pipes.items() if name != "stdin"}
            input_pipe = LateFifoWriter(pipes["stdin"]) if stdin else None
            try:
                await self.call("Exec", request, empty_pb2.Empty)
                await self._start(container_id, exec_id)
            except BaseException:
                for end in (*outputs.values(), input_pipe):
                    if end is not None:
                        end.close()
                raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # both sides hold what they need
        return TaskCommand(self, container_id, exec_id, outputs, input_pipe, tty=tty)

    async def _start(self, container_id: str, exec_id: str) -> None:
        request = pb.StartRequest(container_id=container_id, exec_id=exec_id)
        try:
            await self.call("Start", request, pb.StartResponse, 120)
        except runtime.RuntimeCallError as error:
            await self.delete(container_id, exec_id)
            text = str(error).partition(" desc = ")[2] or str(error)
            raise type(error)(f'failed to exec in container: failed to start exec "{exec_id}": {text}') from error
        except BaseException:  # cancelled: the command may run, and is let go
            self.finish_later(container_id, exec_id, end_input=True)
            raise

    def _clear_once(self) -> None:
        """Pipes of agents that were killed go with the first command of the next."""
        if self._cleared:
            return
        self._cleared = True
        for folder in self._own_folder.parent.glob("[0-9]*"):
            if not Path("/proc", folder.name).exists():
                shutil.rmtree(folder, ignore_errors=True)

    async def _process_spec(self, container_id: str, command: Sequence[str], *, tty: bool) -> dict[str, Any]:
        """The container's own process with another command line, as CRI's exec does it."""
        answer = await self._channel.call(
            _CONTAINERS + "Get",
            pb.GetContainerRequest(id=container_id),
            pb.GetContainerResponse,
            30,
            _METADATA,
        )
        process: dict[str, Any] = orjson.loads(answer.container.spec.value)["process"]
        process["args"], process["terminal"] = list(command), tty
        process.pop("commandLine", None)
        if tty:
            process["env"] = [*(entry for entry in process.get("env") or () if not entry.startswith("TERM=")), _TERM]
        return process

    async def stdin_of(self, container_id: str) -> FifoWriter | None:
        """A writing end of the container's own input; None when it has none that is open."""
        answer = await self.call("Get", pb.GetRequest(container_id=container_id), pb.GetResponse)
        if not answer.process.stdin:
            return None
        try:
            return FifoWriter(Path(answer.process.stdin))
        except OSError:
            return None

    async def resize(self, container_id: str, exec_id: str, width: int, height: int) -> None:
        request = pb.ResizePtyRequest(container_id=container_id, exec_id=exec_id, width=width, height=height)
        try:
            await self.call("ResizePty", request, empty_pb2.Empty)
        except runtime.RuntimeCallError as error:
            log.debug("resizing the terminal of %s: %s", container_id, error)

    async def end(self, container_id: str, signal: int, timeout_seconds: float) -> None:
        """Sends a signal to the container's first process and waits until it has ended, or the time is up."""
        request = pb.KillRequest(container_id=container_id, signal=signal)
        await self.call("Kill", request, empty_pb2.Empty)
        try:
            # Our own clock: containerd's word for a deadline of the call is that of any fault.
            async with asyncio.timeout(timeout_seconds):
                await self.call("Wait", pb.WaitRequest(container_id=container_id), pb.WaitResponse, None)
        except TimeoutError:
            return

    async def exit_code(self, container_id: str, exec_id: str) -> int:
        """Waits for the end of a process, across restarts of containerd. Raises RuntimeCallError."""
        request = pb.WaitRequest(container_id=container_id, exec_id=exec_id)
        for seconds in (*_RETRY_SECONDS, None):
            try:
                return int((await self.call("Wait", request, pb.WaitResponse, None)).exit_status)
            except runtime.RuntimeUnavailable:
                if seconds is None:
                    raise
                await asyncio.sleep(seconds)
        raise AssertionError("unreachable")

    def finish_later(self, container_id: str, exec_id: str, *, end_input: bool) -> None:
        """Forgets a command in the shim once it has ended by itself; nobody waits for it."""

        async def finish() -> None:
            try:
                if end_input:
                    await self.close_stdin(container_id, exec_id)
                await self.exit_code(container_id, exec_id)
            except runtime.RuntimeCallError as error:
                log.debug("command %s of container %s: %s", exec_id, container_id, error)
            await self.delete(container_id, exec_id)

        task = detach(finish(), f"end of command {exec_id}")
        self._leftovers.add(task)
        task.add_done_callback(self._leftovers.discard)

    async def close_stdin(self, container_id: str, exec_id: str) -> None:
        """The shim's own writing end: until it is closed the command's input has no end."""
        request = pb.CloseIORequest(container_id=container_id, exec_id=exec_id, stdin=True)
        try:
            await self.call("CloseIO", request, empty_pb2.Empty)
        except runtime.RuntimeCallError as error:
            log.debug("closing the input of command %s: %s", exec_id, error)

    async def delete(self, container_id: str, exec_id: str) -> None:
        request = pb.DeleteProcessRequest(container_id=container_id, exec_id=exec_id)
        try:
            await self.call("DeleteProcess", request, pb.DeleteResponse)
        except runtime.RuntimeCallError as error:
            log.debug("forgetting command %s of container %s: %s", exec_id, container_id, error)

    async def close(self) -> None:
        await cancel_and_wait(*self._leftovers)


def _make_pipes(folder: Path, *, stdin: bool, stdout: bool, stderr: bool) -> dict[str, Path]:
    folder.mkdir(mode=0o700, parents=True)
    wanted = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    pipes = {name: folder / name for name, is_wanted in wanted.items() if is_wanted}
    for path in pipes.values():
        os.mkfifo(path, 0o600)
    return pipes


class TaskCommand:
    """Implements ``runtime.Command``. ``close`` it in the end, whether or not it has ended."""

    def __init__(
        self,
        service: TaskService,
        container_id: str,
        exec_id: str,
        outputs: dict[str, FifoReader],
        stdin: LateFifoWriter | None,
        *,
        tty: bool,
    ) -> None:
        self._service, self._container_id, self._exec_id = service, container_id, exec_id
        self._outputs, self._stdin, self._tty = outputs, stdin, tty
        self._ended = False

    async def read(self, stream: runtime.OutputStream) -> bytes:
        output = self._outputs.get(stream)
        return await output.read() if output is not None else b""

    async def write(self, data: bytes) -> None:
        if self._stdin is None:
            raise BrokenPipeError
        await self._stdin.write(data)

    async def close_stdin(self) -> None:
        if self._tty or self._stdin is None:
            return  # a terminal's input has no end; its program is told by the client's keys
        try:
            await self._stdin.opened()  # the shim waits for both ends: it sees an end only of what it has seen begin
        finally:
            self._stdin.close()
            await self._service.close_stdin(self._container_id, self._exec_id)

    async def resize(self, width: int, height: int) -> None:
        await self._service.resize(self._container_id, self._exec_id, width, height)

    async def wait(self) -> int:
        code = await self._service.exit_code(self._container_id, self._exec_id)
        self._ended = True
        return code

    async def close(self) -> None:
        for end in (*self._outputs.values(), self._stdin):
            if end is not None:
                end.close()
        self._service.finish_later(self._container_id, self._exec_id, end_input=not self._ended)
