"""PEM, certificates and requests for them, as far as the API has to judge them. Pure.

What reads X.509 is imported by the first who has any: most servers never do. Sizes are the callers' to bound.
Spec: RFC 7468 as Go's ``encoding/pem`` reads it; messages are upstream's where a caller repeats them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sampan.records import dataclass

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_BEGIN: Final = b"-----BEGIN "
_END: Final = b"\n-----END "
_DASHES: Final = b"-----"
_NOTHING_MORE: Final = re.compile(rb"[ \t]*\r?(?:\n|\Z)")
_WIDTH: Final = 64
#: an RSA key beyond this makes one signature a matter of seconds
_LONGEST_MODULUS_BITS: Final = 8192


@dataclass(frozen=True, slots=True)
class Block:
    """``text``: all of it, from its first dash to its last."""

    kind: str
    headers: bool
    der: bytes
    text: bytes


class Unreadable(ValueError):
    """Its text is what a refusal says."""


def blocks(data: bytes) -> Iterator[Block]:
    """In order; what is no block is passed over. Each end belongs to the last beginning before it, so that no byte is
    looked at for each of thousands of beginnings."""
    position = 0
    while (end := data.find(_END, position)) >= 0:
        trailer = end + len(_END)
        begin = data.rfind(_BEGIN, position, end)
        first, position = position, trailer
        if begin < 0 or (begin > first and data[begin - 1 : begin] != b"\n"):
            continue
        line, body = _line(data, begin + len(_BEGIN), end)
        closing = line.removesuffix(_DASHES) + _DASHES
        if not line.endswith(_DASHES) or not data.startswith(closing, trailer):
            continue
        rest = _NOTHING_MORE.match(data, trailer + len(closing))
        if rest is None:
            continue
        headers, body = _after_headers(data, body, end)
        try:
            der = base64.b64decode(b"".join(data[body:end].split()), validate=True)
        except binascii.Error:
            continue
        position = rest.end()
        kind = line.removesuffix(_DASHES).decode(errors="replace")
        yield Block(kind, headers, der, data[begin : trailer + len(closing)])


def _line(data: bytes, start: int, end: int) -> tuple[bytes, int]:
    """The line that begins at ``start``, without the white space behind it, and where the next one begins."""
    stop = data.find(b"\n", start, end)
    stop = end if stop < 0 else stop
    return data[start:stop].removesuffix(b"\r").rstrip(b" \t"), stop + 1


def _after_headers(data: bytes, start: int, end: int) -> tuple[bool, int]:
    """Whether lines with a colon come first, and where those end."""
    place = start
    while place < end:
        line, following = _line(data, place, end)
        if b":" not in line:
            break
        place = following
    return place > start, place


def certificate_block(der: bytes) -> bytes:
    """One certificate as Go writes it."""
    body = base64.b64encode(der)
    lines = [body[start : start + _WIDTH] for start in range(0, len(body), _WIDTH)]
    return b"\n".join((b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""))


def decoded(text: str | None) -> bytes:
    """The bytes of a field that holds base64; the schema has looked at it before."""
    try:
        return base64.b64decode(text or "")
    except (binascii.Error, ValueError):
        return b""


def request(data: bytes) -> x509.CertificateSigningRequest:
    """A PKCS#10 request in PEM that is signed with its own key. Raises Unreadable."""
    first = next(blocks(data), None)
    if first is None or first.kind != "CERTIFICATE REQUEST":
        raise Unreadable("PEM block type must be CERTIFICATE REQUEST")
    found = request_der(first.der)
    if found is None:
        raise Unreadable("asn1: structure error: the block is no PKCS#10 request")
    if not is_signed(found):
        raise Unreadable("x509: the signature of the request does not verify")
    return found


def request_der(der: bytes) -> x509.CertificateSigningRequest | None:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        found = x509.load_der_x509_csr(der)
        found.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return found


def is_signed(found: x509.CertificateSigningRequest) -> bool:
    """With its own key, which nobody should have to compute with for long."""
    from cryptography.exceptions import UnsupportedAlgorithm

    if (key_bits(found.public_key()) or 0) > _LONGEST_MODULUS_BITS:
        return False
    try:
        return bool(found.is_signature_valid)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def key_bytes(key: PublicKeyTypes) -> bytes:
    """What makes two keys the same (PKIX)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_bits(key: PublicKeyTypes) -> int | None:
    """Of an RSA key; None: it is another."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    return key.key_size if isinstance(key, rsa.RSAPublicKey) else None


def certificate(der: bytes) -> x509.Certificate | None:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def is_authority(found: x509.Certificate) -> bool:
    """Whether it may sign others: the CA bit of its basic constraints."""
    from cryptography import x509

    try:
        return found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False


def chain_fault(data: bytes) -> str:
    """What is wrong with certificates that a signer gave; "": nothing, or there are none."""
    if not data:
        return ""
    found = list(blocks(data))
    for block in found:
        if block.kind != "CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{block.kind}"'
        if block.headers:
            return "no PEM block headers are permitted"
        if certificate(block.der) is None:
            return "x509: malformed certificate"
    return "" if found else "must contain at least one CERTIFICATE PEM block"
