"""Certificates out of Secrets, and authorities out of ConfigMaps: whether they are what they say. Pure."""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache

from sampan.api.reading import part, text
from sampan.api.types import Obj

#: characters of a chain or a bundle
_LONGEST = 1_000_000


def pair(secret: Obj | None) -> tuple[str, str] | str:
    """Chain and key in PEM; a text: what is wrong with them."""
    if secret is None:
        return "does not exist"
    chain, key = (_decoded(part(secret, "data"), name) for name in ("tls.crt", "tls.key"))
    if not chain or not key:
        return "has no tls.crt and tls.key"
    fault = _fault_of_pair(chain, key)
    return fault or (chain, key)


def bundle(config_map: Obj | None) -> tuple[str] | str:
    """Authorities in PEM; a text: what is wrong with them."""
    if config_map is None:
        return "does not exist"
    found = text(part(config_map, "data"), "ca.crt")
    if not found:
        return "has no ca.crt"
    return _fault_of_bundle(found) or (found,)


def _decoded(data: Obj, name: str) -> str:
    found = text(data, name)
    if len(found) > _LONGEST:
        return ""
    try:
        return base64.b64decode(found, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return ""


@lru_cache(maxsize=256)
def _fault_of_pair(chain: str, key: str) -> str:
    from cryptography import x509  # late: nobody without TLS needs it
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        certificate = x509.load_pem_x509_certificates(chain.encode())[0]
        public = certificate.public_key()
        private = load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "holds no certificate and key in PEM"
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != public.public_bytes(*form):
        return "holds a key that is not its certificate's"
    return ""


@lru_cache(maxsize=64)
def _fault_of_bundle(found: str) -> str:
    from cryptography import x509

    try:
        if len(found) <= _LONGEST and x509.load_pem_x509_certificates(found.encode()):
            return ""
    except ValueError:
        pass
    return "holds no certificates in PEM"
