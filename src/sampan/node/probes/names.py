"""Names of hosts that probes and hooks ask for, looked up apart.

A look-up blocks its thread until name servers give up, whatever became of whoever wanted it, and whom to ask is the
pod's to choose. So it has threads of its own: names that nobody answers for hold up other names, and never the work on
volumes, files and cgroups, which has the loop's threads.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

_THREADS = ThreadPoolExecutor(16, thread_name_prefix="probe-names")


async def addresses(host: str, port: int, family: int = 0) -> list[tuple[int, str]]:
    """Families and addresses, in order; an address stands for itself. Raises OSError."""
    loop = asyncio.get_running_loop()
    known = _address(host, port)
    if known:
        return known
    found = await loop.run_in_executor(_THREADS, _look_up, host, port, family)
    return list(dict.fromkeys(found))


def _address(host: str, port: int) -> list[tuple[int, str]]:
    try:
        return _look_up(host, port, 0, socket.AI_NUMERICHOST)
    except OSError:
        return []


def _look_up(host: str, port: int, family: int, flags: int = 0) -> list[tuple[int, str]]:
    try:
        found: list[Any] = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError:  # a label that is too long
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
    return [(item[0], str(item[4][0])) for item in found]


class Resolver(AbstractResolver):
    """For one HTTP request, which has so many seconds."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        async with asyncio.timeout(self._timeout_seconds):  # the client goes on with it when its own time is up
            found = await addresses(host, port, family)
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, address in found
        ]  # fmt: skip

    async def close(self) -> None: ...
