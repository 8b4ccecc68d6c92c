"""Frames of ARP (RFC 826, 5227) and neighbour discovery (RFC 4861), read and written. Pure; any bytes may come."""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, Literal

from sampan.records import dataclass

BROADCAST: Final = b"\xff" * 6
ARP: Final = 0x0806
IPV6: Final = 0x86DD
_ARP_HEAD: Final = struct.pack("!HHBB", 1, 0x0800, 6, 4)
_ARP: Final = struct.Struct("!6s6sH6sH6s4s6s4s")
_REQUEST, _REPLY = 1, 2
_IPV6_BYTES, _ETHERNET_BYTES = 40, 14
_ICMPV6 = 58
SOLICITATION: Final = 135
ADVERTISEMENT: Final = 136
_SOLICITED, _OVERRIDE = 0x40000000, 0x20000000
_ALL_NODES: Final = ipaddress.IPv6Address("ff02::1").packed
_SOLICITED_NODE: Final = ipaddress.IPv6Address("ff02::1:ff00:0").packed[:13]
_ANYBODY = bytes(16)


@dataclass(frozen=True, slots=True)
class Heard:
    """``asks``: somebody wants to know who has ``address``. ``claims``: somebody says that he has it."""

    kind: Literal["asks", "claims"]
    address: bytes
    sender: bytes
    sender_address: bytes


def read_arp(frame: bytes) -> tuple[Heard, ...]:
    """A request asks for its target; whoever sends anything claims the address that he sends it from."""
    if len(frame) < _ARP.size:
        return ()
    _, _, kind, head, operation, sender, source, _, target = _ARP.unpack_from(frame)
    if kind != ARP or head != _ARP_HEAD or operation not in (_REQUEST, _REPLY) or sender[0] & 1:
        return ()
    claim = Heard("claims", source, sender, source)
    if operation == _REPLY or source == target:
        return (claim,)
    return Heard("asks", target, sender, source), claim


def write_arp_reply(mac: bytes, address: bytes, to: bytes, to_address: bytes) -> bytes:
    return _ARP.pack(to, mac, ARP, _ARP_HEAD, _REPLY, mac, address, to, to_address)


def write_arp_announcement(mac: bytes, address: bytes) -> bytes:
    """A request for the own address, as RFC 5227 has it: whoever has it cached learns the new place."""
    return _ARP.pack(BROADCAST, mac, ARP, _ARP_HEAD, _REQUEST, mac, address, bytes(6), address)


def read_neighbour(frame: bytes) -> tuple[Heard, ...]:
    """Of one message, which must have come from this very link (hop limit 255)."""
    start = _ETHERNET_BYTES + _IPV6_BYTES
    if len(frame) < start + 24 or frame[12:14] != b"\x86\xdd" or frame[20] != _ICMPV6 or frame[21] != 255:
        return ()
    sender, source, message = frame[6:12], frame[22:38], frame[start : start + _payload(frame)]
    if len(message) < 24 or _checksum(source, frame[38:54], message) or message[1] or sender[0] & 1:
        return ()
    target = message[8:24]
    if message[0] == SOLICITATION:
        return (Heard("asks", target, sender, source),)
    return (Heard("claims", target, sender, source),) if message[0] == ADVERTISEMENT else ()


def _payload(frame: bytes) -> int:
    return int.from_bytes(frame[18:20], "big")


def write_advertisement(mac: bytes, address: bytes, to: bytes = b"", to_address: bytes = _ANYBODY) -> bytes:
    """The answer to whoever asks; to all where nobody does, or asks without an address of his own."""
    solicited = to_address != _ANYBODY
    if not solicited:
        to, to_address = b"\x33\x33\x00\x00\x00\x01", _ALL_NODES
    flags = _OVERRIDE | (_SOLICITED if solicited else 0)
    # The target's link-layer address is an option of eight bytes.
    message = struct.pack("!BBHI", ADVERTISEMENT, 0, 0, flags) + address + b"\x02\x01" + mac
    message = message[:2] + _checksum(address, to_address, message).to_bytes(2, "big") + message[4:]
    head = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, 255)
    return to + mac + IPV6.to_bytes(2, "big") + head + address + to_address + message


def solicited_node(address: bytes) -> bytes:
    """The group that is asked for an address."""
    return _SOLICITED_NODE + address[-3:]


def _checksum(source: bytes, destination: bytes, message: bytes) -> int:
    """Of a message that holds its checksum: 0 when it is right."""
    data = source + destination + struct.pack("!II", len(message), _ICMPV6) + message
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
