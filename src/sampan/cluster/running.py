"""One running process of an instance, as the supervisor holds it: started by it, or found running and adopted.

A supervisor that was killed leaves its programs running; the next one must not start them again, nor can it wait for
them as for children of its own. Whoever has only ``Running`` sees no difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Protocol

from sampan.cluster import processes
from sampan.cluster.instance import Instance
from sampan.cluster.processes import Process

#: Between two looks where the kernel cannot tell of an end (before 5.3).
LOOK_SECONDS = 0.5


class Running(Protocol):
    @property
    def pid(self) -> int: ...

    async def wait(self) -> str:
        """Until it has ended; how, in words."""
        ...

    def send(self, number: signal.Signals) -> None:
        """To this very process; nothing happens when it is gone."""
        ...


class Started:
    """A child of this process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def wait(self) -> str:
        return describe_exit(await self._process.wait())

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


class Adopted:
    """Somebody else's child, or an orphan."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid

    async def wait(self) -> str:
        with _held(self.pid) as descriptor:
            if descriptor is None:
                while self._is_there():  # noqa: ASYNC110 (another process)
                    await asyncio.sleep(LOOK_SECONDS)
            elif self._is_there():
                await readable(descriptor)
        return "its end was not seen by this supervisor"

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(OSError), _held(self.pid) as descriptor:
            if not self._is_there():  # looked at while its number is held
                return
            if descriptor is None:
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(descriptor, number)

    def _is_there(self) -> bool:
        now = processes.look(self.pid)
        return now is not None and now.started == self._process.started


async def readable(descriptor: int) -> None:
    """Until something can be read: of a process's descriptor, until it has ended."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def now() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, now)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


@contextlib.contextmanager
def _held(pid: int) -> Iterator[int | None]:
    """A descriptor of the process. None: it is gone, or the kernel has none."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def find(instance: Instance, argv: tuple[str, ...]) -> Adopted | None:
    """A program of the instance that was started with exactly these words; of several the oldest."""
    found = [
        process
        for process in processes.running()
        if process.arguments == argv and processes.is_program(process, instance)
    ]
    return Adopted(min(found, key=lambda process: process.started)) if found else None


def describe_exit(code: int) -> str:
    """A child's end in words; negative: the signal that ended it."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
