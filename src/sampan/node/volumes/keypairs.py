"""Key pairs for pods' certificates: the private key, which stays on this node, and a request that shows who has it.

Synchronous: a long RSA key takes a thread some seconds. What computes with keys is imported by the first who needs it.
Spec: the pod's ``podCertificate.keyType``; keys are PKCS#8 (RFC 5208), requests PKCS#10 (RFC 2986) with no subject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.records import dataclass

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    private_pem: bytes
    request_der: bytes


class UnknownKeyType(ValueError):
    """Its text is what the pod's Event says."""


def make(key_type: str) -> KeyPair:
    """Raises UnknownKeyType."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key, digest = _generate(key_type)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, digest)
    return KeyPair(private, request.public_bytes(Encoding.DER))


def _generate(
    key_type: str,
) -> tuple[CertificateIssuerPrivateKeyTypes, hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None]:
    """With the digest that its signatures use."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    match key_type:
        case "RSA3072":
            return rsa.generate_private_key(65537, 3072), hashes.SHA256()
        case "RSA4096":
            return rsa.generate_private_key(65537, 4096), hashes.SHA256()
        case "ECDSAP256":
            return ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()
        case "ECDSAP384":
            return ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()
        case "ECDSAP521":
            return ec.generate_private_key(ec.SECP521R1()), hashes.SHA512()
        case "ED25519":
            return ed25519.Ed25519PrivateKey.generate(), None
    raise UnknownKeyType(f'unknown key type "{key_type}"')
