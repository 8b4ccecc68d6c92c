"""Hears of packets that rules log (``log group N``): the one module that speaks nfnetlink_log.

The kernel bounds what it tells (the rule's limit) and what waits (the socket's buffer); what is lost is lost, and the
counters have it all the same. Sources: linux/netfilter/nfnetlink_log.h, nfnetlink.h.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import struct
import zlib
from collections.abc import Callable, Iterator

from sampan.api.faults import cause
from sampan.network.policy.packets import Packet

log = logging.getLogger(__name__)

_NETLINK_NETFILTER = 12
_PACKET, _CONFIG = 4 << 8, 4 << 8 | 1
_REQUEST_AND_ACK = 1 | 4
_ERROR = 2
_CONFIG_COMMAND, _CONFIG_MODE = 1, 2
_BIND, _COPY_PACKET = 1, 2
_PAYLOAD, _PREFIX = 9, 10
_COPIED_BYTES = 96
_BUFFER_BYTES = 64 * 1024
#: Messages that are read before others on the event loop have a turn.
_AT_ONCE = 32
#: Groups that are tried: another instance of this machine may have the first.
_TRIES = 16
_PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}


class Listener:
    """``hear`` is called on the event loop and must not block. ``open`` and ``close`` any number of times."""

    def __init__(self, instance: str, hear: Callable[[Packet], None]) -> None:
        self._first_group = 1 + zlib.crc32(instance.encode()) % 60_000
        self._hear = hear
        self._socket: socket.socket | None = None
        self.group: int | None = None

    def open(self) -> int | None:
        """The group to log to; None: nobody can listen here, which is said once in the log."""
        if self._socket is not None:
            return self.group
        try:
            self._socket, self.group = _listening(self._first_group)
        except OSError as error:
            log.warning("packets that policies drop are counted, and not told one by one: %s", cause(error))
            self._socket, self.group = None, None
            return None
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)
        return self.group

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
        self._socket, self.group = None, None

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(_BUFFER_BYTES) if self._socket is not None else b""
            except BlockingIOError:
                return
            except OSError:
                continue  # ENOBUFS: more was dropped than was read
            if not data:
                return
            for packet in parse(data):
                self._hear(packet)


def _listening(first: int) -> tuple[socket.socket, int]:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    try:
        made.settimeout(1)
        made.bind((0, 0))
        for group in range(first, first + _TRIES):
            fault = _asked(made, group, _CONFIG_COMMAND, struct.pack("B", _BIND))
            if not fault:
                fault = _asked(made, group, _CONFIG_MODE, struct.pack("!IBB", _COPIED_BYTES, _COPY_PACKET, 0))
                if fault:
                    raise OSError(fault, "nfnetlink_log")
                made.setblocking(False)
                return made, group
            if fault not in (errno.EBUSY, errno.EPERM):
                raise OSError(fault, "nfnetlink_log")
        raise OSError(errno.EBUSY, "nfnetlink_log")
    except BaseException:
        made.close()
        raise


def _asked(made: socket.socket, group: int, kind: int, value: bytes) -> int:
    """Sends one setting of a group; the error number of the answer, 0 for none."""
    attribute = struct.pack("HH", 4 + len(value), kind) + value
    body = struct.pack("!BBH", 0, 0, group) + attribute + bytes(-len(attribute) % 4)
    made.send(struct.pack("IHHII", 16 + len(body), _CONFIG, _REQUEST_AND_ACK, 1, 0) + body)
    while True:
        for kind_of, message in _messages(made.recv(_BUFFER_BYTES)):
            if kind_of == _ERROR and len(message) >= 4:
                return -int(struct.unpack_from("i", message)[0])


def parse(data: bytes) -> Iterator[Packet]:
    """The packets in what was read at once. Pure; what is no such message is passed over."""
    for kind, message in _messages(data):
        if kind == _PACKET and len(message) >= 4:
            attributes = dict(_attributes(message[4:]))
            packet = _packet(attributes.get(_PREFIX, b"").split(b"\0")[0].decode(errors="replace"),
                             attributes.get(_PAYLOAD, b""))  # fmt: skip
            if packet is not None:
                yield packet


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("IH", data, at)
        if length < 16 or at + length > len(data):
            return
        yield kind, data[at + 16 : at + length]
        at += length + -length % 4


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, at)
        if length < 4 or at + length > len(data):
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += length + -length % 4


def _packet(prefix: str, data: bytes) -> Packet | None:
    if not data:
        return None
    source: ipaddress.IPv4Address | ipaddress.IPv6Address
    target: ipaddress.IPv4Address | ipaddress.IPv6Address
    if data[0] >> 4 == 4 and len(data) >= 20:
        source, target = ipaddress.IPv4Address(data[12:16]), ipaddress.IPv4Address(data[16:20])
        number, ports = data[9], (data[0] & 15) * 4
    elif data[0] >> 4 == 6 and len(data) >= 40:
        source, target = ipaddress.IPv6Address(data[8:24]), ipaddress.IPv6Address(data[24:40])
        number, ports = data[6], 40
    else:
        return None
    protocol = _PROTOCOLS.get(number, str(number))
    if protocol in ("TCP", "UDP", "SCTP") and len(data) >= ports + 4:
        source_port, target_port = struct.unpack_from("!HH", data, ports)
        return Packet(prefix, str(source), str(target), protocol, source_port, target_port)
    return Packet(prefix, str(source), str(target), protocol)
