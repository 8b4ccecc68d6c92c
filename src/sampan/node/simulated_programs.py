"""What a simulated runtime answers to exec, attach and port-forward: nothing, or what a test gives it."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

from sampan.node import runtime
from sampan.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Which streams were asked for."""

    tty: bool
    stdin: bool
    stdout: bool
    stderr: bool


class Programs(Protocol):
    """All methods raise RuntimeCallError."""

    def exec(self, container_id: str, command: Sequence[str], streams: Streams) -> runtime.Command: ...
    def attach(self, container_id: str, streams: Streams) -> runtime.Command: ...
    async def connect(self, sandbox_id: str, port: int) -> socket.socket: ...


class NoPrograms:
    def exec(self, container_id: str, command: Sequence[str], streams: Streams) -> runtime.Command:
        raise runtime.RuntimeCallError("a simulated container runs no programs")

    def attach(self, container_id: str, streams: Streams) -> runtime.Command:
        raise runtime.RuntimeCallError("a simulated container runs no programs")

    async def connect(self, sandbox_id: str, port: int) -> socket.socket:
        raise runtime.RuntimeCallError("a simulated pod has no network")
