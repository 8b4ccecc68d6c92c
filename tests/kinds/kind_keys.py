"""Keys, requests and certificates for the tables: made once, for what they are and not for what they hold."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

KEY: Final = ec.generate_private_key(ec.SECP256R1())
OTHER: Final = ec.generate_private_key(ec.SECP256R1())
NOW: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@cache
def request_der(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = KEY) -> bytes:
    made = x509.CertificateSigningRequestBuilder(name("a")).sign(key, hashes.SHA256())
    return made.public_bytes(Encoding.DER)


def pem(der: bytes, kind: str, headers: str = "") -> str:
    return f"-----BEGIN {kind}-----\n{headers}{base64.b64encode(der).decode()}\n-----END {kind}-----\n"


def encoded(data: str | bytes) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def certificate(
    key: ec.EllipticCurvePrivateKey = KEY, *, authority: bool | None = True, life: timedelta = timedelta(days=1)
) -> bytes:
    """DER. ``authority`` None: it does not say whether it is one."""
    made = x509.CertificateBuilder(name("a"), name("a"), key.public_key(), 1, NOW, NOW + life)
    if authority is not None:
        made = made.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def certificate_pem(
    key: ec.EllipticCurvePrivateKey = KEY, *, authority: bool | None = True, life: timedelta = timedelta(days=1)
) -> str:
    return pem(certificate(key, authority=authority, life=life), "CERTIFICATE")
