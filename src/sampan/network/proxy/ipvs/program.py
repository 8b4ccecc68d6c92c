"""``ipvsadm`` and ``ip``, spoken by one module: virtual servers, and the interface that has their addresses."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence

import orjson

from sampan.api.faults import cause
from sampan.network.proxy import inputs
from sampan.network.proxy.backend import BackendError

_SECONDS = 60.0


class IpvsProgram:
    """``prefix`` puts the programs into a network namespace. Each call raises BackendError."""

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        self._prefix = tuple(prefix)

    async def saved(self) -> str:
        """Every virtual server of the machine."""
        return await self._run("ipvsadm", "--save", "-n")

    async def restore(self, text: str) -> None:
        if text:
            await self._run("ipvsadm", "--restore", text=text)

    async def addresses(self, interface: str) -> frozenset[str] | None:
        """None: there is no such interface."""
        listed = orjson.loads(await self._run("ip", "-j", "address", "show") or "[]")
        for link in listed:
            if link.get("ifname") == interface:
                return frozenset(entry["local"] for entry in link.get("addr_info", ()) if entry.get("scope") != "link")
        return None

    async def make(self, interface: str) -> None:
        """Never up: its addresses are the node's all the same, and nobody is told of them."""
        await self._run("ip", "link", "add", interface, "type", "dummy")

    async def change_addresses(self, interface: str, add: Iterable[str], remove: Iterable[str]) -> None:
        lines = [
            f"address {verb} {address}/{128 if ':' in address else 32} dev {interface}"
            for verb, addresses in (("add", add), ("del", remove))
            for address in sorted(addresses)
        ]
        if lines:
            await self._run("ip", "-batch", "-", text="\n".join(lines) + "\n")

    async def remove(self, interface: str) -> None:
        await self._run("ip", "link", "delete", interface)

    async def _run(self, *command: str, text: str = "") -> str:
        try:
            with inputs.stdin(text) as stdin:
                process = await asyncio.create_subprocess_exec(
                    *self._prefix,
                    *command,
                    stdin=stdin,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env={**os.environ, "LC_ALL": "C"},
                )
        except OSError as error:
            raise BackendError(f"{command[0]} cannot be run: {cause(error)}") from error
        try:
            async with asyncio.timeout(_SECONDS):
                out, said = await process.communicate()
        except TimeoutError:
            raise BackendError(f"{command[0]} did not finish within {_SECONDS:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            raise BackendError(f"{command[0]}: {said.decode(errors='replace').strip()[:400]}")
        return out.decode()
