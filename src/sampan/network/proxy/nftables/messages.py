"""Transactions as messages of nf_tables' netlink: what changes of Services consist of, and nothing more. Pure.

Chains without hook, elements, sets that packets add to, and the rules that ``render`` writes. All else raises
``Unencodable``: the ``nft`` program does it. Source: linux/netfilter/nf_tables.h; ``tests/network/test_nft_messages``
compares each rule with what the program makes of the same text.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from sampan.network.proxy.rules.values import Chain, Collection, Element, Op, Rule

_SUBSYSTEM = 10 << 8
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_CHAIN, _DELETE_CHAIN = _SUBSYSTEM | 3, _SUBSYSTEM | 5
_NEW_RULE, _DELETE_RULE = _SUBSYSTEM | 6, _SUBSYSTEM | 8
_NEW_SET, _DELETE_SET = _SUBSYSTEM | 9, _SUBSYSTEM | 11
_NEW_ELEMENTS, _DELETE_ELEMENTS = _SUBSYSTEM | 12, _SUBSYSTEM | 14
_GET_TABLE = _SUBSYSTEM | 1

_REQUEST, _CREATE, _APPEND = 0x1, 0x400, 0x800
_NESTED = 0x8000
_INET = 1

#: Elements of one message: an attribute has at most 64 KiB.
_ELEMENTS_AT_ONCE = 256
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


class Unencodable(Exception):
    """These messages have no form for it."""


def batch(table: str, transaction: Sequence[Op]) -> bytes:
    """Raises Unencodable, and ValueError for addresses that are none."""
    messages = [_message(_BATCH_BEGIN, 0, b"", 0, resource=10)]
    for (verb, collection), ops in groupby(transaction, _group):
        if collection is None:
            messages += [_encode(table, op, len(messages)) for op in ops]
        else:
            elements = [op.object for op in ops if isinstance(op.object, Element)]
            for at in range(0, len(elements), _ELEMENTS_AT_ONCE):
                some = elements[at : at + _ELEMENTS_AT_ONCE]
                messages.append(_elements(table, verb, collection, some, len(messages)))
    messages.append(_message(_BATCH_END, 0, b"", len(messages), resource=10))
    return b"".join(messages)


def table_question(table: str) -> bytes:
    """Answered by the table, or by ENOENT."""
    return _message(_GET_TABLE, 0, _text(1, table), 0)


def _group(op: Op) -> tuple[str, Collection | None]:
    return op.verb, op.object.collection if isinstance(op.object, Element) else None


def _encode(table: str, op: Op, sequence: int) -> bytes:
    verb, target = op
    match target:
        case Chain(name, "") if verb == "add":
            return _message(_NEW_CHAIN, _CREATE, _text(1, table) + _text(3, name), sequence)
        case Chain(name, _) if verb == "flush":
            return _message(_DELETE_RULE, 0, _text(1, table) + _text(2, name), sequence)
        case Chain(name, _) if verb == "delete":
            return _message(_DELETE_CHAIN, 0, _text(1, table) + _text(3, name), sequence)
        case Rule(chain, text):
            body = _text(1, table) + _text(2, chain) + _nest(4, expressions(text))
            return _message(_NEW_RULE, _CREATE | _APPEND, body, sequence)
        case Collection() if verb == "add" and target.dynamic:
            return _message(_NEW_SET, _CREATE, _dynamic_set(table, target, sequence), sequence)
        case Collection(name) if verb == "delete":
            return _message(_DELETE_SET, 0, _text(1, table) + _text(2, name), sequence)
    raise Unencodable(f"{verb} {type(target).__name__}")


#: Addresses that packets add: nft's numbers of their types, and their lengths.
_ADDRESSES = {"ipv4_addr": (7, 4), "ipv6_addr": (8, 16)}
_TIMEOUT_EVALUATED = 0x10 | 0x20


def _dynamic_set(table: str, collection: Collection, number: int) -> bytes:
    if collection.type not in _ADDRESSES:
        raise Unencodable(collection.type)
    kind, length = _ADDRESSES[collection.type]
    body = _text(1, table) + _text(2, collection.name) + _number(3, _TIMEOUT_EVALUATED)
    body += _number(4, kind) + _number(5, length) + _number(10, number)
    return body + _attribute(11, struct.pack(">Q", collection.timeout_seconds * 1000))


# Elements


def _elements(table: str, verb: str, collection: Collection, elements: Iterable[Element], sequence: int) -> bytes:
    keys, _, values = collection.type.removeprefix("typeof ").partition(" : ")
    kinds, value_kinds = keys.split(" . "), values.split(" . ")
    listed = b""
    for element in elements:
        body = _nest(1, _attribute(1, data(kinds, element.key)))
        if verb == "add" and values == "verdict":
            body += _nest(2, _verdict(element.value))
        elif verb == "add" and values:
            body += _nest(2, _attribute(1, data(value_kinds, element.value)))
        listed += _nest(1, body)
    kind, flags = (_NEW_ELEMENTS, _CREATE) if verb == "add" else (_DELETE_ELEMENTS, 0)
    return _message(kind, flags, _text(1, table) + _text(2, collection.name) + _nest(3, listed), sequence)


def _protocol(text: str) -> bytes:
    if text not in _PROTOCOLS:
        raise Unencodable(text)
    return bytes([_PROTOCOLS[text]])


def _port(text: str) -> bytes:
    return struct.pack(">H", int(text))


_KINDS: dict[str, Callable[[str], bytes]] = {
    "ipv4_addr": lambda text: ipaddress.IPv4Address(text).packed,
    "ipv6_addr": lambda text: ipaddress.IPv6Address(text).packed,
    "ip daddr": lambda text: ipaddress.IPv4Address(text).packed,
    "ip6 daddr": lambda text: ipaddress.IPv6Address(text).packed,
    "inet_proto": _protocol,
    "inet_service": _port,
    "tcp dport": _port,
    "udp dport": _port,
    "sctp dport": _port,
    "numgen random mod 2": lambda text: int(text).to_bytes(4, sys.byteorder),
}


def data(kinds: Sequence[str], text: str) -> bytes:
    """Keys and values as the kernel has them: the parts of several are filled up to four bytes each."""
    parts = text.split(" . ")
    if len(parts) != len(kinds) or not all(kind in _KINDS for kind in kinds):
        raise Unencodable(text)
    packed = [_KINDS[kind](part) for kind, part in zip(kinds, parts, strict=True)]
    return packed[0] if len(packed) == 1 else b"".join(part + b"\0" * (-len(part) % 4) for part in packed)


# Rules

#: Registers: the verdict, the first and second of 16 bytes, and of 4 bytes the one behind an IPv4 address.
_VERDICT, _FIRST, _SECOND, _BEHIND_IPV4 = 0, 1, 2, 9
_META_NFPROTO, _META_L4PROTO = 15, 16
#: of the network header: where the source is, and how long
_SOURCE = {"ip": (12, 4), "ip6": (8, 16)}
_NFPROTO = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}
_FIB_ADDRESS_TYPE, _FIB_SOURCE, _TYPE_LOCAL = 3, 1, 2
_DROP, _JUMP, _GOTO = 0, -3, -4


def expressions(rule: str) -> bytes:
    """A rule's text as what the kernel executes. Raises Unencodable."""
    encoded, at = b"", 0
    while at < len(rule):
        for pattern, build in _STATEMENTS:
            found = pattern.match(rule, at)
            if found:
                encoded += build(*found.groups())
                at = found.end()
                break
        else:
            raise Unencodable(rule)
    return encoded


def _transport(protocol: str) -> bytes:
    return _meta(_META_L4PROTO) + _equals(_protocol(protocol))


def _source(ip: str, length: int = 0) -> bytes:
    """The source address, or so many first bytes of it, into the first register."""
    offset, whole = _SOURCE[ip]
    payload = _number(1, _FIRST) + _number(2, 1) + _number(3, offset) + _number(4, length or whole)
    return _meta(_META_NFPROTO) + _equals(bytes([_NFPROTO[ip]])) + _expression("payload", payload)


def _source_within(ip: str, network: str) -> bytes:
    range_ = ipaddress.ip_network(network)
    length, address = _SOURCE[ip][1], range_.network_address.packed
    if len(address) != length or not range_.prefixlen:
        raise Unencodable(network)
    if range_.prefixlen % 8 == 0:
        return _source(ip, range_.prefixlen // 8) + _equals(address[: range_.prefixlen // 8])
    mask = _number(1, _FIRST) + _number(2, _FIRST) + _number(3, length)
    mask += _nest(4, _attribute(1, range_.netmask.packed)) + _nest(5, _attribute(1, bytes(length)))
    return _source(ip) + _expression("bitwise", mask) + _equals(address)


def _source_known(ip: str, collection: str) -> bytes:
    return _source(ip) + _expression("lookup", _text(1, collection) + _number(2, _FIRST))


def _remember_source(collection: str, ip: str) -> bytes:
    return _source(ip) + _expression("dynset", _text(1, collection) + _number(3, 1) + _number(4, _FIRST))


def _source_local() -> bytes:
    fib = _number(1, _FIRST) + _number(2, _FIB_ADDRESS_TYPE) + _number(3, _FIB_SOURCE)
    return _expression("fib", fib) + _equals(_TYPE_LOCAL.to_bytes(4, sys.byteorder))


def _translate(ip: str, address: str, port: str) -> bytes:
    return (
        _immediate(_FIRST, _attribute(1, ipaddress.ip_address(address.strip("[]")).packed))
        + _immediate(_SECOND, _attribute(1, _port(port)))
        + _nat(ip, _SECOND)
    )


def _translate_drawn(ip: str, count: str, first: str, collection: str) -> bytes:
    behind = _BEHIND_IPV4 if ip == "ip" else _SECOND
    return _drawn(count, first) + _lookup(collection, _FIRST) + _nat(ip, behind)


def _go_drawn(count: str, first: str, collection: str) -> bytes:
    return _drawn(count, first) + _lookup(collection, _VERDICT)


def _verdict_statement(text: str) -> bytes:
    return _immediate(_VERDICT, _verdict(text))


_STATEMENTS: tuple[tuple[re.Pattern[str], Callable[..., bytes]], ...] = tuple(
    (re.compile(pattern + r"(?: |$)"), build)
    for pattern, build in (
        (r"meta l4proto (tcp|udp|sctp)", _transport),
        (r"dnat (ip6?) to (\[[0-9a-f:.]+\]|[0-9.]+):(\d+)", _translate),
        (r"dnat (ip6?) to numgen random mod (\d+) offset (\d+) map @(\S+)", _translate_drawn),
        (r"numgen random mod (\d+) offset (\d+) vmap @(\S+)", _go_drawn),
        (r"(ip6?) saddr @(\S+)", _source_known),
        (r"(ip6?) saddr ([0-9a-f:./]+)", _source_within),
        (r"update @(\S+) \{ (ip6?) saddr \}", _remember_source),
        (r"fib saddr type local", _source_local),
        (r"(drop|(?:goto|jump) \S+)", _verdict_statement),
    )
)


def _meta(key: int) -> bytes:
    return _expression("meta", _number(2, key) + _number(1, _FIRST))


def _equals(value: bytes) -> bytes:
    return _expression("cmp", _number(1, _FIRST) + _number(2, 0) + _nest(3, _attribute(1, value)))


def _immediate(register: int, value: bytes) -> bytes:
    return _expression("immediate", _number(1, register) + _nest(2, value))


def _drawn(count: str, first: str) -> bytes:
    return _expression("numgen", _number(1, _FIRST) + _number(2, int(count)) + _number(3, 1) + _number(4, int(first)))


def _lookup(collection: str, target: int) -> bytes:
    return _expression("lookup", _text(1, collection) + _number(2, _FIRST) + _number(3, target))


def _nat(ip: str, port_register: int) -> bytes:
    body = _number(1, 1) + _number(2, _NFPROTO[ip]) + _number(3, _FIRST) + _number(5, port_register)
    return _expression("nat", body)


def _verdict(text: str) -> bytes:
    word, _, chain = text.partition(" ")
    codes = {"drop": _DROP, "jump": _JUMP, "goto": _GOTO}
    if word not in codes:
        raise Unencodable(text)
    code = _attribute(1, struct.pack(">i", codes[word]))
    return _nest(2, code + (_text(2, chain) if chain else b""))


# Attributes


def _expression(name: str, body: bytes) -> bytes:
    return _nest(1, _text(1, name) + _nest(2, body))


def _attribute(kind: int, payload: bytes) -> bytes:
    length = len(payload) + 4
    if length > 0xFFFF:
        raise Unencodable("too long")
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def _nest(kind: int, payload: bytes) -> bytes:
    return _attribute(kind | _NESTED, payload)


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">I", value))


def _message(kind: int, flags: int, body: bytes, sequence: int, *, resource: int = 0) -> bytes:
    family = 0 if resource else _INET
    payload = struct.pack(">BBH", family, 0, resource) + body
    return struct.pack("=IHHII", len(payload) + 16, kind, flags | _REQUEST, sequence, 0) + payload
