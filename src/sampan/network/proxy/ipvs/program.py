"""``ipvsadm`` and ``ip``, spoken by one module: virtual servers, and the interface that has their addresses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from sampan.network import programs
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
        package = "iproute2" if command[0] == "ip" else command[0]
        try:
            ended = await programs.run(command, package=package, prefix=self._prefix, text=text, seconds=_SECONDS)
        except programs.NotRun as error:
            raise BackendError(str(error)) from error
        if ended.code:
            raise BackendError(f"{command[0]}: {ended.said.strip()[:400]}")
        return ended.out
