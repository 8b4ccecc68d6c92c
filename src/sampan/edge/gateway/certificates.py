"""Certificates out of Secrets, and authorities out of ConfigMaps: whether they are what they say. Pure.

What was looked at is remembered: a plan looks at all of them again, and one look takes a millisecond.
"""

from __future__ import annotations

from functools import lru_cache

from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.edge import certificates

#: characters of a bundle of authorities
_LONGEST = 1_000_000


def pair(secret: Obj | None) -> tuple[str, str] | str:
    """Chain and key in PEM; a text: what is wrong with them."""
    if secret is None:
        return "does not exist"
    data = part(secret, "data")
    return _pair(text(data, "tls.crt"), text(data, "tls.key"))


def bundle(config_map: Obj | None) -> tuple[str] | str:
    """Authorities in PEM; a text: what is wrong with them."""
    if config_map is None:
        return "does not exist"
    found = text(part(config_map, "data"), "ca.crt")
    if not found or len(found) > _LONGEST:
        return "has no ca.crt, or too large a one"
    return _bundle(found)


@lru_cache(maxsize=256)
def _pair(chain: str, key: str) -> tuple[str, str] | str:
    try:
        return certificates.pair({"data": {"tls.crt": chain, "tls.key": key}})
    except certificates.BadCertificate as error:
        return str(error)


@lru_cache(maxsize=64)
def _bundle(found: str) -> tuple[str] | str:
    from cryptography import x509  # late: nobody without TLS needs it

    kept = certificates.blocks(found, "CERTIFICATE")
    try:
        if kept and x509.load_pem_x509_certificates(kept.encode()):
            return (kept,)
    except ValueError:
        pass
    return "holds no certificates in PEM"
