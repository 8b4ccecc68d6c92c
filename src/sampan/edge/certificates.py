"""Certificates out of Secrets: read, and held to be pairs before a proxy sees them. Pure; takes a millisecond each."""

from __future__ import annotations

import base64
import binascii
import re

from sampan.api.reading import part, text
from sampan.api.types import Obj

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----[A-Za-z0-9+/=\s]+-----END \1-----")
_MOST_BYTES = 256 * 1024


class BadCertificate(ValueError):
    """Says what is wrong with it, in words for its owner."""


def value(secret: Obj, key: str) -> str:
    """A text of a Secret. Raises BadCertificate."""
    encoded = text(part(secret, "data"), key)
    if not encoded:
        raise BadCertificate(f"has no {key}")
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise BadCertificate(f"has a {key} that is not text") from error


def blocks(pem: str, kind: str) -> str:
    """Those of a kind, without what stands around them."""
    return "".join(f"{found[0]}\n" for found in _BLOCK.finditer(pem) if found[1].endswith(kind))


def pair(secret: Obj) -> tuple[str, str]:
    """Chain and key in PEM. Raises BadCertificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    chain, key = value(secret, "tls.crt"), value(secret, "tls.key")
    if len(chain) + len(key) > _MOST_BYTES:
        raise BadCertificate("is too large")
    chain, key = blocks(chain, "CERTIFICATE"), blocks(key, "PRIVATE KEY")
    form = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.DER
    try:
        leaf = x509.load_pem_x509_certificates(chain.encode())[0]
        private = serialization.load_pem_private_key(key.encode(), None)
        shown, held = (each.public_bytes(form[1], form[0]) for each in (leaf.public_key(), private.public_key()))
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise BadCertificate("has no certificate with its key that can be read") from error
    except Exception as error:  # UnsupportedAlgorithm: cryptography has a class of its own for it
        raise BadCertificate("has a certificate or key of a kind that is not known") from error
    if shown != held:
        raise BadCertificate("has a key that is not its certificate's")
    _taken_by_openssl(chain, key)
    return chain, key


def _taken_by_openssl(chain: str, key: str) -> None:
    """The proxy reads all certificates or none: one with a key that OpenSSL holds to be too short (1024 bits of RSA),
    or signed by MD5, would keep everybody's changes from being served. Raises BadCertificate."""
    import os
    import ssl

    file = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(file, "wb", closefd=False) as written:
            written.write(f"{chain}{key}".encode())
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"/proc/self/fd/{file}")
    except ssl.SSLError as error:
        said = (error.reason or "unknown").lower().replace("_", " ")
        raise BadCertificate(f"has a certificate that OpenSSL refuses: {said}") from error
    finally:
        os.close(file)


def authorities(secret: Obj, key: str = "ca.crt") -> str:
    """Certificates of who signs. Raises BadCertificate."""
    from cryptography import x509

    found = blocks(value(secret, key), "CERTIFICATE")
    try:
        x509.load_pem_x509_certificates(found.encode())
    except ValueError as error:
        raise BadCertificate(f"has a {key} that cannot be read") from error
    return found


def self_signed(clock_year: int) -> str:
    """What is shown to whom no certificate is meant; PEM with its key. Valid for ten years from a year's beginning."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Acme Co"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Sampan Ingress Fake Certificate"),
        ]
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(clock_year, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(clock_year + 10, 1, 1, tzinfo=datetime.UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("ingress.local")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode() + private.decode()
