"""Tells, on the Node, which ports programs of the machine listen on: no LoadBalancer takes them away from those.

A kept component of the node process. Asks the kernel for listening sockets alone (``sock_diag``), so that a look costs
the same however many connections there are; reads the Node, and writes when it says something else.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from sampan.api import loadbalancing as balancing
from sampan.api.errors import ApiError
from sampan.api.faults import cause
from sampan.api.reading import part, text_map
from sampan.api.resources import NODES
from sampan.client.client import Client

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 30.0
#: Of the first looks, while the node's own programs start and the Node may not be there.
_FIRST_SECONDS: Final = 2.0
_FIRST_LOOKS: Final = 5
_ASK_SECONDS: Final = 5.0

_NETLINK_SOCK_DIAG, _BY_FAMILY, _DUMP, _DONE, _ERROR = 4, 20, 0x301, 3, 2
_HEADER: Final = struct.Struct("=IHHII")
_LISTEN, _UNCONNECTED = 1 << 10, 1 << 7
_ASKED: Final = (
    ("TCP", socket.IPPROTO_TCP, _LISTEN),
    ("UDP", socket.IPPROTO_UDP, _UNCONNECTED),
)
#: Where the kernel chooses ports of clients: of UDP those are no services.
_CHOSEN: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


class HostPorts:
    def __init__(self, client: Client, node_name: str, look: Callable[[], str] | None = None) -> None:
        self._client = client
        self._node_name = node_name
        self._look = look or (lambda: render(listening(), _first_chosen()))

    async def run(self) -> None:
        """Until cancelled."""
        looks = 0
        while True:
            looks += 1
            await self._tell()
            await asyncio.sleep(_FIRST_SECONDS if looks < _FIRST_LOOKS else _LOOK_SECONDS)

    async def _tell(self) -> None:
        try:
            ports = await asyncio.to_thread(self._look)
        except OSError as error:
            log.warning("which ports programs of this machine listen on is not known: %s", cause(error))
            return
        patch = {"metadata": {"annotations": {balancing.HOST_PORTS: ports}}}
        try:
            # The Node may be another one than before: what it says is looked at each time.
            node = await self._client.get(NODES, self._node_name)
            if text_map(part(node, "metadata"), "annotations").get(balancing.HOST_PORTS) != ports:
                await self._client.patch(NODES, self._node_name, patch)
        except ApiError as error:
            log.debug("listening ports are told later: %s", error.message)


def render(found: Iterable[tuple[str, int]], first_chosen: int) -> str:
    """Pure: ``TCP/22,TCP/6443``; the lowest ones, should there be too many. Of UDP without those that the kernel
    chooses for clients, who listen on theirs as servers do."""
    ports = sorted(
        {(port, protocol) for protocol, port in found if port and (protocol != "UDP" or port < first_chosen)}
    )
    return ",".join(f"{protocol}/{port}" for port, protocol in ports[: balancing.MAX_HOST_PORTS])


def listening() -> set[tuple[str, int]]:
    """(protocol, port) of sockets that others than this machine can reach. Raises OSError."""
    found: set[tuple[str, int]] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as asking:
        asking.settimeout(_ASK_SECONDS)
        for family in (socket.AF_INET, socket.AF_INET6):
            for name, protocol, states in _ASKED:
                request = struct.pack("=BBBBI48x", family, protocol, 0, 0, states)
                asking.send(_HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, _DUMP, 1, 0) + request)
                found |= {(name, port) for port in _ports(asking)}
    return found


def _ports(asking: socket.socket) -> Iterable[int]:
    while True:
        data = asking.recv(1 << 16)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, offset)
            if kind == _DONE or length < _HEADER.size:
                return
            if kind == _ERROR:
                number = -struct.unpack_from("=i", data, offset + _HEADER.size)[0]
                raise OSError(number, "sock_diag")
            body = data[offset + _HEADER.size : offset + length]
            if not _is_loopback(body[0], body[8:24]):
                yield int.from_bytes(body[4:6], "big")
            offset += (length + 3) & ~3


def _is_loopback(family: int, address: bytes) -> bool:
    if family == socket.AF_INET:
        return address[0] == 127
    return address == bytes(15) + b"\1" or address[:13] == bytes(10) + b"\xff\xff\x7f"


def _first_chosen() -> int:
    return int(_CHOSEN.read_text().split()[0])
