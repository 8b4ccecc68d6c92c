"""Addresses and their ranges (Kubernetes' libraries ip and cidr)."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final, TypeAlias

from sampan.cel.costs import SLOW, slow, tenths, traversal
from sampan.cel.errors import EvaluationError
from sampan.cel.functions import Library, function, member, plain
from sampan.cel.library.quoting import quoted
from sampan.cel.types import BOOL, INT, STRING, Type, opaque
from sampan.cel.values import Opaque
from sampan.records import dataclass

IP: Final = opaque("net.IP")
CIDR: Final = opaque("net.CIDR")

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_PREFIX: Final = re.compile(r"0|[1-9]\d{0,2}", re.ASCII)
_MAX_TEXT: Final = 64


@dataclass(frozen=True, slots=True)
class Ip(Opaque):
    type = IP
    address: Address

    def size_of(self) -> int:
        return self.address.max_prefixlen // 8


@dataclass(frozen=True, slots=True)
class Cidr(Opaque):
    type = CIDR
    address: Address
    bits: int

    def size_of(self) -> int:
        return self.address.max_prefixlen // 8

    def masked(self) -> Cidr:
        spare = self.address.max_prefixlen - self.bits
        return Cidr(type(self.address)(int(self.address) >> spare << spare), self.bits)

    def __str__(self) -> str:
        return f"{self.address}/{self.bits}"


def _address(text: str) -> Address:
    """Raises EvaluationError."""
    try:
        address = ipaddress.ip_address(text) if len(text) <= _MAX_TEXT else None
    except ValueError:
        address = None
    if address is None:
        reason = f"ParseAddr({quoted(text)}): unable to parse IP"
        raise EvaluationError(f"IP Address {quoted(text)} parse error during conversion from string: {reason}")
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise EvaluationError(f"IP address {quoted(text)} with zone value is not allowed")
        if address.ipv4_mapped is not None:
            raise EvaluationError(f"IPv4-mapped IPv6 address {quoted(text)} is not allowed")
    return address


def _to_ip(text: str) -> Ip:
    return Ip(_address(text))


def _to_cidr(text: str) -> Cidr:
    told = "network address parse error during conversion from string: "
    host, slash, prefix = text.rpartition("/")
    try:
        if not slash:
            raise EvaluationError(f"netip.ParsePrefix({quoted(text)}): no '/'")
        address = _address(host)
        if not _PREFIX.fullmatch(prefix) or int(prefix) > address.max_prefixlen:
            raise EvaluationError(f"netip.ParsePrefix({quoted(text)}): bad bits after slash: {quoted(prefix)}")
    except EvaluationError as error:
        raise EvaluationError(told + told + str(error)) from None
    return Cidr(address, int(prefix))


def _parses(parse: Any) -> Any:
    def parses(text: str) -> bool:
        try:
            parse(text)
        except EvaluationError:
            return False
        return True

    return parses


def _is_global_unicast(ip: Ip) -> bool:
    """As Go has it: no unspecified, loopback, multicast, link-local or broadcast address."""
    address = ip.address
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or address == ipaddress.IPv4Address("255.255.255.255")
    )


def _is_link_local_multicast(ip: Ip) -> bool:
    address = ip.address
    if isinstance(address, ipaddress.IPv4Address):
        return address.packed[:3] == b"\xe0\x00\x00"
    return address.packed[0] == 0xFF and address.packed[1] & 0x0F == 2


def _contains_ip(cidr: Cidr, ip: Ip) -> bool:
    if type(cidr.address) is not type(ip.address):
        return False
    spare = cidr.address.max_prefixlen - cidr.bits
    return int(cidr.address) >> spare == int(ip.address) >> spare


def _contains_cidr(cidr: Cidr, other: Cidr) -> bool:
    return cidr.bits <= other.bits and _contains_ip(cidr, Ip(other.address))


def _compared(*, parsed: bool = False, ranges: bool = False) -> Any:
    """To compare two addresses; to read one; to mask one."""

    def cost(args: Any) -> int:
        size = args[0].size_of()
        total = tenths(size * 2) + (tenths(size) + 1 if ranges else 0)
        return total + (SLOW + tenths(len(args[1])) if parsed else 0)

    return cost


def _asked(id_: str, ask: Any) -> Any:
    return member(id_, [IP], BOOL, ask)


LIBRARY: Final[Library] = (
    function(
        "ip",
        plain("string_to_ip", [STRING], IP, _to_ip, slow(traversal())),
        member("cidr_ip", [CIDR], IP, lambda cidr: Ip(cidr.address)),
    ),
    function("isIP", plain("is_ip", [STRING], BOOL, _parses(_to_ip), slow(traversal()))),
    function(
        "ip.isCanonical",
        plain("ip_is_canonical", [STRING], BOOL, lambda text: str(_address(text)) == text, slow(traversal(times=2))),
    ),
    function("family", member("ip_family", [IP], INT, lambda ip: ip.address.version)),
    function("isUnspecified", _asked("ip_is_unspecified", lambda ip: ip.address.is_unspecified)),
    function("isLoopback", _asked("ip_is_loopback", lambda ip: ip.address.is_loopback)),
    function("isLinkLocalMulticast", _asked("ip_is_link_local_multicast", _is_link_local_multicast)),
    function("isLinkLocalUnicast", _asked("ip_is_link_local_unicast", lambda ip: ip.address.is_link_local)),
    function("isGlobalUnicast", _asked("ip_is_global_unicast", _is_global_unicast)),
    function("cidr", plain("string_to_cidr", [STRING], CIDR, _to_cidr, slow(traversal()))),
    function("isCIDR", plain("is_cidr", [STRING], BOOL, _parses(_to_cidr), slow(traversal()))),
    function(
        "containsIP",
        member(
            "cidr_contains_ip_string",
            [CIDR, STRING],
            BOOL,
            lambda cidr, text: _contains_ip(cidr, _to_ip(text)),
            _compared(parsed=True),
        ),
        member("cidr_contains_ip_ip", [CIDR, IP], BOOL, _contains_ip, _compared()),
    ),
    function(
        "containsCIDR",
        member(
            "cidr_contains_cidr_string",
            [CIDR, STRING],
            BOOL,
            lambda cidr, text: _contains_cidr(cidr, _to_cidr(text)),
            _compared(parsed=True, ranges=True),
        ),
        member("cidr_contains_cidr", [CIDR, CIDR], BOOL, _contains_cidr, _compared(ranges=True)),
    ),
    function("prefixLength", member("cidr_prefix_length", [CIDR], INT, lambda cidr: cidr.bits)),
    function("masked", member("cidr_masked", [CIDR], CIDR, Cidr.masked)),
    function(
        "string",
        plain("ip_to_string", [IP], STRING, lambda ip: str(ip.address)),
        plain("cidr_to_string", [CIDR], STRING, str),
    ),
)

TYPES: Final[dict[str, Type]] = {"net.IP": IP, "net.CIDR": CIDR}
