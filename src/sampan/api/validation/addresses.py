"""IP addresses and CIDRs as fields hold them: which texts are refused, and which are only frowned upon.

Old fields let texts through that parsers read differently (octets with leading zeros, IPv4-mapped IPv6 addresses, host
bits in a CIDR). Since v1.36 (StrictIPCIDRValidation) they are refused when they are new, and stay where they were.
Source: apimachinery ``util/validation/ip.go``. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Set
from typing import TypeAlias

from sampan.api import errors
from sampan.api.types import Obj
from sampan.api.validation.common import Errors

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

NOT_AN_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
NOT_A_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_NOT_A_DNS_NAME = "must be a DNS name, not an IP address"

_OCTETS = re.compile(r"(?:\d+\.){3}\d+\Z", re.ASCII)
_BITS = re.compile(r"\d+\Z", re.ASCII)
_LONGEST = 200
#: nearly every address there is: nothing can be wrong with its form
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_PLAIN = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}\Z", re.ASCII)
#: what addresses of IPv4 begin with that lead to no other machine
_SPECIAL = ("0.0.0.0", "127.", "169.254.", "224.0.0.")


def parse(text: str) -> Address | None:
    """As old fields are read: leading zeros mean nothing. No zone. (Go: netutils.ParseIPSloppy)"""
    if len(text) > _LONGEST:
        return None
    head, colon, tail = text.rpartition(":")
    if _OCTETS.match(tail):
        tail = ".".join(octet.lstrip("0") or "0" for octet in tail.split("."))
    try:
        address = ipaddress.ip_address(f"{head}{colon}{tail}")
    except ValueError:
        return None
    return None if "%" in text else address


def _mapped(address: Address) -> ipaddress.IPv4Address | None:
    return address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None


def _exact(text: str) -> Address | None:
    """As new fields are read."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def is_v6(text: str) -> bool:
    """An IPv4-mapped address is one of IPv4."""
    if ":" not in text:
        return False
    address = parse(text)
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None


def canonical(address: Address) -> str:
    return str(_mapped(address) or address)


def ip(text: str, path: str, known: Set[str] = frozenset()) -> Errors:
    """``known``: values of the field before the update, which stay whatever they are."""
    if _PLAIN.match(text) or text in known:
        return []
    address = parse(text)
    if address is None:
        return [errors.invalid(path, text, NOT_AN_IP)]
    found: Errors = []
    if _exact(text) is None:
        found.append(errors.invalid(path, text, "must not have leading 0s"))
    elif _mapped(address) is not None:
        found.append(errors.invalid(path, text, "must not be an IPv4-mapped IPv6 address"))
    return found


def canonical_problems(text: str) -> list[str]:
    """What is wrong with a value of today, which has the one form of RFC 5952 (a ``NameCheck``)."""
    address = parse(text)
    if address is None:
        return [NOT_AN_IP]
    if text == canonical(address):
        return []
    if _exact(text) is None:
        return ["must not have leading 0s"]
    if _mapped(address) is not None:
        return ["must not be an IPv4-mapped IPv6 address"]
    return [f"must be in canonical form ({errors.quoted(canonical(address))})"]


def is_of_server(obj: Obj) -> bool:
    """The endpoints of the API server itself, which a cluster of one machine may have on loopback. (Upstream's server
    refuses to start there.)"""
    meta = obj.get("metadata", {})
    return (meta.get("namespace"), meta.get("name")) == ("default", "kubernetes")


def not_special(text: str, path: str, *, loopback: bool = False) -> Errors:
    """Addresses that traffic can be sent to: endpoints, external IPs (Go: ValidateEndpointIP, ValidateNonSpecialIP).
    ``loopback``: those too."""
    if _PLAIN.match(text) and not text.startswith(_SPECIAL):
        return []
    address = parse(text)
    if address is None:
        return [errors.invalid(path, text, "must be a valid IP address")]
    address = _mapped(address) or address
    found: Errors = []
    if address.is_unspecified:
        found.append(errors.invalid(path, text, f"may not be unspecified ({text})"))
    if address.is_loopback and not loopback:
        found.append(errors.invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if address.is_link_local:
        found.append(errors.invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if address in _LINK_LOCAL_MULTICAST[address.version]:
        reason = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        found.append(errors.invalid(path, text, reason))
    return found


_LINK_LOCAL_MULTICAST = {4: ipaddress.ip_network("224.0.0.0/24"), 6: ipaddress.ip_network("ff02::/16")}


def parse_cidr(text: str) -> tuple[Address, Network] | None:
    """The address that is written, and the network around it. As old fields are read (Go: ParseCIDRSloppy)."""
    head, slash, bits = text.partition("/")
    address = parse(head)
    if address is None or not slash or len(bits) > _LONGEST or not _BITS.match(bits):
        return None
    length = int(bits)
    if length > address.max_prefixlen:
        return None
    return address, ipaddress.ip_network((address.packed, length), strict=False)


def canonical_cidr(network: Network) -> str:
    if isinstance(network, ipaddress.IPv6Network) and (mapped := network.network_address.ipv4_mapped) is not None:
        return f"{mapped}/{max(0, network.prefixlen - 96)}"
    return str(network)


def _exact_cidr(text: str) -> bool:
    head, _, bits = text.partition("/")
    return _exact(head) is not None and (bits == "0" or not bits.startswith("0"))


def cidr(text: str, path: str, known: Set[str] = frozenset()) -> Errors:
    if text in known:
        return []
    parsed = parse_cidr(text)
    if parsed is None:
        return [errors.invalid(path, text, NOT_A_CIDR)]
    address, network = parsed
    if not _exact_cidr(text):
        return [errors.invalid(path, text, "must not have leading 0s in IP or prefix length")]
    if _mapped(address) is not None:
        return [errors.invalid(path, text, "must not have an IPv4-mapped IPv6 address")]
    if address != network.network_address:
        return [errors.invalid(path, text, "must not have bits set beyond the prefix length")]
    return []


def strict_cidr(text: str, path: str) -> Errors:
    """A field of today."""
    found = cidr(text, path)
    parsed = parse_cidr(text)
    if not found and parsed is not None and text != canonical_cidr(parsed[1]):
        shown = errors.quoted(canonical_cidr(parsed[1]))
        found.append(errors.invalid(path, text, f"must be in canonical form ({shown})"))
    return found


def host_name(text: str, path: str) -> Errors:
    """What is asked of a host name besides being one."""
    return [] if parse(text) is None else [errors.invalid(path, text, _NOT_A_DNS_NAME)]


# -- warnings, for values that were let through


def ip_warnings(text: str, path: str) -> list[str]:
    if _PLAIN.match(text):
        return []
    address = parse(text)
    if address is None:
        return []
    if _exact(text) is None or _mapped(address) is not None:
        return [
            f"{path}: non-standard IP address {errors.quoted(text)} will be considered invalid in a future Kubernetes "
            f"release: use {errors.quoted(canonical(address))}"
        ]
    if str(address) != text:
        return [
            f"{path}: IPv6 address {errors.quoted(text)} should be in RFC 5952 canonical format "
            f"({errors.quoted(str(address))})"
        ]
    return []


def cidr_warnings(text: str, path: str) -> list[str]:
    parsed = parse_cidr(text)
    if parsed is None:
        return []
    address, network = parsed
    shown, right = errors.quoted(text), errors.quoted(canonical_cidr(network))
    found: list[str] = []
    if address != network.network_address:
        single = errors.quoted(f"{canonical(address)}/{address.max_prefixlen}")
        found.append(f"{path}: CIDR value {shown} is ambiguous in this context (should be {right} or {single}?)")
    if not _exact_cidr(text) or _mapped(address) is not None:
        found.append(
            f"{path}: non-standard CIDR value {shown} will be considered invalid in a future Kubernetes release: "
            f"use {right}"
        )
    if not found and str(network) != text:
        found.append(f"{path}: IPv6 CIDR value {shown} should be in RFC 5952 canonical format ({right})")
    return found
