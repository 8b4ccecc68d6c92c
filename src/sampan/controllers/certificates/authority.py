"""Makes certificates from requests, as kube-controller-manager's local signer does. Pure but for the serial number.

What the requester may choose: subject, key and alternative names. Everything else is the signer's: usages as the API
object lists them, never a CA, no other extension. Sources: ``pkg/controller/certificates/authority``; RFC 5280.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtensionOID

from sampan.records import dataclass

#: clocks of machines differ
BACKDATE: Final = timedelta(minutes=5)
#: Of a certificate that lives shorter than this the backdating is no part of its life.
_SHORT: Final = timedelta(hours=8)
SHORTEST: Final = timedelta(minutes=10)

#: bits of the KeyUsage extension (RFC 5280, 4.2.1.3)
_KEY_USAGES: Final = {
    "signing": 0, "digital signature": 0, "content commitment": 1, "key encipherment": 2, "data encipherment": 3,
    "key agreement": 4, "cert sign": 5, "crl sign": 6, "encipher only": 7, "decipher only": 8,
}  # fmt: skip
#: in the order in which a certificate lists them
_EXTENDED_USAGES: Final = {
    "any": "2.5.29.37.0",
    "server auth": "1.3.6.1.5.5.7.3.1",
    "client auth": "1.3.6.1.5.5.7.3.2",
    "code signing": "1.3.6.1.5.5.7.3.3",
    "email protection": "1.3.6.1.5.5.7.3.4",
    "s/mime": "1.3.6.1.5.5.7.3.4",
    "ipsec end system": "1.3.6.1.5.5.7.3.5",
    "ipsec tunnel": "1.3.6.1.5.5.7.3.6",
    "ipsec user": "1.3.6.1.5.5.7.3.7",
    "timestamping": "1.3.6.1.5.5.7.3.8",
    "ocsp signing": "1.3.6.1.5.5.7.3.9",
    "microsoft sgc": "1.3.6.1.4.1.311.10.3.3",
    "netscape sgc": "2.16.840.1.113730.4.1",
}

_CertifiedKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
_SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


class Refused(Exception):
    """Nothing can be signed, or not this; the text says why."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA's certificate and key. ``longest``: what a certificate lives when its request does not ask for less."""

    certificate: x509.Certificate
    key: _SigningKey
    longest: timedelta

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes, longest: timedelta) -> Authority:
        """Raises ValueError."""
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, None)
        if not isinstance(key, _SigningKey):
            raise ValueError("the CA's key cannot sign")
        if key.public_key() != certificate.public_key():
            raise ValueError("the CA's key is not that of its certificate")
        return cls(certificate, key, longest)

    @classmethod
    def read(cls, certificate: Path, key: Path, longest: timedelta) -> Authority:
        """From its files, as they are now. Raises OSError, ValueError."""
        return cls.load(certificate.read_bytes(), key.read_bytes(), longest)

    def sign(
        self, request: x509.CertificateSigningRequest, usages: Sequence[str], seconds: int | None, now: datetime
    ) -> bytes:
        """PEM of the certificate. ``seconds``: how long it is to live. Raises Refused."""
        ends = self.certificate.not_valid_after_utc
        if now >= ends:
            raise Refused(f"refusing to sign a certificate that expired in the past: NotAfter={ends}")
        key = _own_key(request)
        lives = self.longest if seconds is None else max(SHORTEST, min(timedelta(seconds=seconds), self.longest))
        not_after = now + (lives if lives < _SHORT else lives - BACKDATE)
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(min(not_after, ends))
        )
        for extension, critical in self._extensions(request, usages):
            builder = builder.add_extension(extension, critical)
        algorithm = None if isinstance(self.key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
        return builder.sign(self.key, algorithm).public_bytes(serialization.Encoding.PEM)

    def _extensions(
        self, request: x509.CertificateSigningRequest, usages: Sequence[str]
    ) -> list[tuple[x509.ExtensionType, bool]]:
        unknown = [usage for usage in usages if usage not in _KEY_USAGES and usage not in _EXTENDED_USAGES]
        if unknown:
            raise Refused(f"unrecognized usage values: [{' '.join(unknown)}]")
        found: list[tuple[x509.ExtensionType, bool]] = []
        bits = {_KEY_USAGES[usage] for usage in usages if usage in _KEY_USAGES}
        if bits:
            found.append((_key_usage(bits), True))
        purposes = dict.fromkeys(oid for usage, oid in _EXTENDED_USAGES.items() if usage in usages)
        if purposes:
            found.append((x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in purposes]), False))
        found.append((x509.BasicConstraints(ca=False, path_length=None), True))
        found.append((_authority_key(self), False))
        try:
            names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return found
        return [*found, (names, not list(request.subject))]


def _own_key(request: x509.CertificateSigningRequest) -> _CertifiedKey:
    """The key that the request is for; its holder has signed it. Raises Refused."""
    try:
        if not request.is_signature_valid:
            raise Refused("unable to verify certificate request signature")
        key = request.public_key()
    except (ValueError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise Refused(f"unable to verify certificate request signature: {error}") from error
    if not isinstance(key, _CertifiedKey):
        raise Refused("a certificate cannot be for such a key")
    return key


def _key_usage(bits: set[int]) -> x509.ExtensionType:
    """Spelled out as DER: the library's own type refuses combinations that the API allows."""
    octets = bytearray(2 if 8 in bits else 1)
    for bit in bits:
        octets[bit // 8] |= 0x80 >> bit % 8
    unused = len(octets) * 8 - 1 - max(bits)
    return x509.UnrecognizedExtension(ExtensionOID.KEY_USAGE, bytes([3, len(octets) + 1, unused, *octets]))


def _authority_key(authority: Authority) -> x509.AuthorityKeyIdentifier:
    try:
        found = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)
