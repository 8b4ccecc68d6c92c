"""The kernel's routes, interfaces and neighbours, by the ``ip`` and ``bridge`` programs: the only module that speaks
their language.

Routes of ours carry a protocol number of their own, so they are told from everybody else's; which cluster one belongs
to, its destination says.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from sampan.network import programs
from sampan.network.routes.plan import Link, Network, Route, network, within
from sampan.records import dataclass

#: In the kernel's table (rtnetlink(7), rtm_protocol): none that /etc/iproute2/rt_protos gives away.
PROTOCOL = 83

_COMMAND_SECONDS = 10.0
#: How the programs say that there is no such interface.
_ABSENT = ("does not exist", "Cannot find device", "No such device")


class RouteError(Exception):
    """The table cannot be read or changed; the message is what the program said."""


@dataclass(frozen=True, slots=True)
class Device:
    """An interface as it is. ``details``: what its kind says of it."""

    kind: str
    mtu: int
    hardware: str
    up: bool
    addresses: frozenset[str]
    details: dict[str, Any]


class Ip:
    """``prefix`` puts commands into a network namespace. All raise RouteError."""

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        self._prefix = tuple(prefix)

    async def read(self, *arguments: str, program: str = "ip") -> list[dict[str, Any]]:
        try:
            listed = orjson.loads(await self.run(program, "-j", *arguments) or "[]")
        except ValueError as error:
            raise RouteError(f"{program} {' '.join(arguments)} answers with something else than JSON") from error
        return [each for each in listed if isinstance(each, dict)]

    async def batch(self, lines: Sequence[str], program: str = "ip") -> None:
        """All are tried."""
        if lines:
            await self.run(program, "-force", "-batch", "-", said="\n".join(lines) + "\n")

    async def run(self, *command: str, said: str = "", package: str = "iproute2") -> str:
        name = " ".join(command)
        try:
            ended = await programs.run(
                command, package=package, prefix=self._prefix, text=said, seconds=_COMMAND_SECONDS
            )
        except programs.NotRun as error:
            raise RouteError(f"{name}: {error}") from error
        if ended.code:
            raise RouteError(f"{name}: {ended.said.strip()[:300]}")
        return ended.out

    async def device(self, name: str) -> Device | None:
        """None: there is no interface of that name."""
        try:
            [found] = await self.read("-d", "addr", "show", "dev", name)
        except RouteError as error:
            if any(text in str(error) for text in _ABSENT):
                return None
            raise
        except ValueError:
            return None
        told = found.get("linkinfo") or {}
        return Device(
            kind=str(told.get("info_kind", "")),
            mtu=int(found.get("mtu", 0)),
            hardware=str(found.get("address", "")),
            up="UP" in found.get("flags", ()),
            addresses=frozenset(
                f"{each['local']}/{each['prefixlen']}"
                for each in found.get("addr_info", ())
                if each.get("scope") == "global"
            ),
            details=told.get("info_data") or {},
        )

    async def remove_device(self, name: str) -> None:
        """Its routes and neighbours go with it. Content when it is not there."""
        try:
            await self.run("ip", "link", "delete", name)
        except RouteError as error:
            if not any(text in str(error) for text in _ABSENT):
                raise

    async def neighbours(self, device: str) -> frozenset[tuple[str, str]]:
        """Addresses that were given a hardware address for good, and that."""
        return frozenset(
            (str(each.get("dst")), str(each.get("lladdr")))
            for each in await self.read("neigh", "show", "dev", device, "nud", "permanent")
        )

    async def forwarding(self, device: str) -> frozenset[tuple[str, str]]:
        """Of a VXLAN: hardware addresses, and behind which machine they are."""
        return frozenset(
            (str(each["mac"]), str(each["dst"]))
            for each in await self.read("fdb", "show", "dev", device, program="bridge")
            if "mac" in each and "dst" in each
        )


class IpTable:
    """``cluster``: the ranges of all pods. ``prefix`` puts commands into a network namespace."""

    def __init__(self, cluster: Sequence[Network], prefix: Sequence[str] = ()) -> None:
        self._cluster = tuple(cluster)
        self._ip = Ip(prefix)

    async def links(self) -> tuple[Link, ...]:
        """The addresses that interfaces of this machine have, with their networks; the pods' own left out.
        Raises RouteError."""
        found: list[Link] = []
        for interface in await self._ip.read("addr", "show", "up"):
            for each in interface.get("addr_info", ()):
                place = ipaddress.ip_interface(f"{each['local']}/{each['prefixlen']}")
                if each.get("scope") == "global" and not self._is_ours(place.network):
                    found.append(Link(place.network, place.ip, int(interface.get("mtu", 0))))
        return tuple(found)

    async def present(self) -> frozenset[Route]:
        """Those of ours that are there. Raises RouteError."""
        found: set[Route] = set()
        for family in sorted({each.version for each in self._cluster}):
            for each in await self._ip.read(f"-{family}", "route", "show", "proto", str(PROTOCOL)):
                destination = network(str(each.get("dst", "")))
                if destination is not None and self._is_ours(destination):
                    via = str(each.get("gateway", ""))
                    # Of the others the kernel finds the interface by itself.
                    tunnelled = not via or "onlink" in each.get("flags", ())
                    found.add(Route(str(destination), via, str(each.get("dev", "")) if tunnelled else ""))
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
        lines += [f"route replace {route.destination}{_way(route)} proto {PROTOCOL}" for route in new]
        await self._ip.batch(lines)

    def _is_ours(self, destination: Network) -> bool:
        return any(within(destination, whole) for whole in self._cluster)


def _way(route: Route) -> str:
    via = f" via {route.via}" if route.via else ""
    return f"{via} dev {route.device}{' onlink' if via else ''}" if route.device else via
