"""The kernel's routes, by the ``ip`` program: the only module that speaks its language.

Routes of ours carry a protocol number of their own, so they are told from everybody else's; which cluster one belongs
to, its destination says.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from sampan.network import programs
from sampan.network.routes.plan import Network, Route, network, within

#: In the kernel's table (rtnetlink(7), rtm_protocol): none that /etc/iproute2/rt_protos gives away.
PROTOCOL = 83

_COMMAND_SECONDS = 10.0


class RouteError(Exception):
    """The table cannot be read or changed; the message is what the program said."""


class IpTable:
    """``cluster``: the ranges of all pods. ``prefix`` puts commands into a network namespace."""

    def __init__(self, cluster: Sequence[Network], prefix: Sequence[str] = ()) -> None:
        self._cluster = tuple(cluster)
        self._prefix = tuple(prefix)

    async def links(self) -> tuple[Network, ...]:
        """The networks that interfaces of this machine are in, the pods' own left out. Raises RouteError."""
        found: list[Network] = []
        for interface in await self._json("addr", "show", "up"):
            for each in interface.get("addr_info", ()):
                link = ipaddress.ip_interface(f"{each['local']}/{each['prefixlen']}").network
                if each.get("scope") == "global" and link.num_addresses > 1 and not self._is_ours(link):
                    found.append(link)
        return tuple(found)

    async def present(self) -> frozenset[Route]:
        """Those of ours that are there. Raises RouteError."""
        found: set[Route] = set()
        for family in sorted({each.version for each in self._cluster}):
            for each in await self._json(f"-{family}", "route", "show", "proto", str(PROTOCOL)):
                destination = network(str(each.get("dst", "")))
                if destination is not None and self._is_ours(destination):
                    found.add(Route(str(destination), str(each.get("gateway", ""))))
        return frozenset(found)

    async def change(self, add: Iterable[Route], remove: Iterable[Route]) -> None:
        """Adds, or leads elsewhere, what is to be there, and removes the rest. All are tried. Raises RouteError."""
        new = sorted(add)
        replaced = {route.destination for route in new}
        lines = [
            f"route del {route.destination} proto {PROTOCOL}"
            for route in sorted(remove)
            if route.destination not in replaced
        ]
        lines += [f"route replace {route.destination} via {route.via} proto {PROTOCOL}" for route in new]
        if lines:
            await self._run("-force", "-batch", "-", said="\n".join(lines) + "\n")

    def _is_ours(self, destination: Network) -> bool:
        return any(within(destination, whole) for whole in self._cluster)

    async def _json(self, *arguments: str) -> list[dict[str, Any]]:
        try:
            listed = orjson.loads(await self._run("-j", *arguments) or "[]")
        except ValueError as error:
            raise RouteError(f"ip {' '.join(arguments)} answers with something else than JSON") from error
        return [each for each in listed if isinstance(each, dict)]

    async def _run(self, *arguments: str, said: str = "") -> str:
        command = f"ip {' '.join(arguments)}"
        try:
            ended = await programs.run(
                ("ip", *arguments), package="iproute2", prefix=self._prefix, text=said, seconds=_COMMAND_SECONDS
            )
        except programs.NotRun as error:
            raise RouteError(f"{command}: {error}") from error
        if ended.code:
            raise RouteError(f"{command}: {ended.said.strip()[:300]}")
        return ended.out
