"""What the node's own processes need, beside rules, to reach Services: a kernel switch and sometimes a route.

Connections to 127.0.0.1 that the rules send to a pod leave by the pods' bridge with a loopback address, which the
kernel allows only where ``route_localnet`` says so. It is said of that bridge alone, and after the rules are in force:
these keep loopback addresses that others send from coming in (CVE-2020-8558). A Service address has to have some route
for ``connect`` to get as far as the rules: a node without a default route gets one for the service range, by the
bridge. Both go away with the bridge.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from sampan.api.faults import cause
from sampan.network.proxy.config import FamilyConfig, ProxyConfig

log = logging.getLogger(__name__)

_COMMAND_SECONDS = 10.0


class NodeReach:
    """``prefix`` puts commands into a network namespace, ``proc`` is that namespace's."""

    def __init__(self, config: ProxyConfig, prefix: Sequence[str] = (), proc: Path = Path("/proc")) -> None:
        self._config = config
        self._prefix = tuple(prefix)
        self._proc = proc
        #: what is wrong, so that it is said once
        self._said = ""

    async def ensure(self) -> bool:
        """Makes up for what is missing; False: it is to be tried again soon, there is no bridge yet or something went
        wrong. Never raises but for cancellation."""
        try:
            if not self._open_loopback():
                return False
            for family in self._missing_routes():
                await self._add_route(family)
        except (OSError, TimeoutError, ValueError) as error:
            said = cause(error)
            if said != self._said:
                log.warning("Services may be out of reach for the node's own processes: %s", said)
            self._said = said
            return False
        return True

    def _open_loopback(self) -> bool:
        """False: there is no bridge yet."""
        switch = self._proc / "sys/net/ipv4/conf" / self._config.bridge / "route_localnet"
        if not self._config.bridge or not switch.exists():
            return False
        if switch.read_text().strip() != "1":
            switch.write_text("1")
        return True

    def _missing_routes(self) -> list[FamilyConfig]:
        """The families whose Services no route leads to."""
        return [
            family
            for family in self._config.families
            if family.service_cidr and family.node_address and not self._has_route(family)
        ]

    def _has_route(self, family: FamilyConfig) -> bool:
        net = self._proc / "thread-self/net"
        first = ipaddress.ip_network(family.service_cidr)[1]
        if isinstance(first, ipaddress.IPv4Address):
            return has_route((net / "route").read_text(), first)
        return has_route6((net / "ipv6_route").read_text(), first)

    async def _add_route(self, family: FamilyConfig) -> None:
        config = self._config
        arguments = ("route", "add", family.service_cidr, "dev", config.bridge, "src", family.node_address)
        process = await asyncio.create_subprocess_exec(
            *self._prefix,
            "ip",
            *arguments,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
        try:
            async with asyncio.timeout(_COMMAND_SECONDS):
                _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode and b"File exists" not in said:
            raise ValueError(f"ip {' '.join(arguments)}: {said.decode(errors='replace').strip()[:200]}")
        log.info("no route leads to Service addresses %s: one by %s was added", family.service_cidr, config.bridge)


def has_route(table: str, address: ipaddress.IPv4Address) -> bool:
    """Whether a route of /proc/net/route leads to the address. Pure; its numbers are in the machine's own order."""
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) < 8:
            continue
        target, mask = (int.from_bytes(bytes.fromhex(words[at])[::-1], "big") for at in (1, 7))
        if int(address) & mask == target and int(words[3], 16) & 1:
            return True
    return False


#: Flags of routes (linux/ipv6_route.h, linux/route.h): it is up; it refuses.
_UP, _REJECT = 0x1, 0x200


def has_route6(table: str, address: ipaddress.IPv6Address) -> bool:
    """Whether a route of /proc/net/ipv6_route leads to the address. Pure."""
    for line in table.splitlines():
        words = line.split()
        if len(words) < 9:
            continue
        target, shift, flags = int(words[0], 16), 128 - int(words[1], 16), int(words[8], 16)
        if int(address) >> shift == target >> shift and flags & _UP and not flags & _REJECT:
            return True
    return False
