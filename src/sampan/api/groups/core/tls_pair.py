"""Whether a certificate and a private key belong together, in the words of Go's ``tls.X509KeyPair``.

A Secret of type ``kubernetes.io/tls`` that holds something else is kept, and warned about.
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.api.validation import pem

#: a key is long in kilobytes, a chain in tens of them: nobody looks through a mebibyte of text for either
_LONGEST_BYTES = 128 * 1024


def fault(certificate: bytes, key: bytes) -> str | None:
    """None: they do, or they are too long to tell."""
    if max(len(certificate), len(key)) > _LONGEST_BYTES:
        return None
    certificates, others = _split(certificate, lambda label: label == "CERTIFICATE")
    if not certificates:
        return _no_certificate(others)
    keys, others = _split(key, lambda label: label == "PRIVATE KEY" or label.endswith(" PRIVATE KEY"))
    if not keys:
        return _no_key(others)
    return _pair_fault(certificates[0], keys[0])


def _split(text: bytes, wanted: Callable[[str], bool]) -> tuple[list[bytes], list[str]]:
    """The blocks that are wanted, and the labels of those before the first of them."""
    found: list[bytes] = []
    skipped: list[str] = []
    for block in pem.blocks(text):
        if wanted(block.kind):
            found.append(block.text)
        elif not found:
            skipped.append(block.kind)
    return found, skipped


def _no_certificate(skipped: list[str]) -> str:
    if not skipped:
        return "tls: failed to find any PEM data in certificate input"
    if len(skipped) == 1 and skipped[0].endswith("PRIVATE KEY"):
        return (
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may "
            "have been switched"
        )
    return (
        'tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM blocks of the following '
        f"types: [{' '.join(skipped)}]"
    )


def _no_key(skipped: list[str]) -> str:
    if not skipped:
        return "tls: failed to find any PEM data in key input"
    if skipped == ["CERTIFICATE"]:
        return "tls: found a certificate rather than a key in the PEM for the private key"
    return (
        'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after skipping PEM blocks of the '
        f"following types: [{' '.join(skipped)}]"
    )


def _pair_fault(certificate: bytes, key: bytes) -> str | None:
    from cryptography import x509  # a fifth of a second, for the first Secret that holds both
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        public = x509.load_pem_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "x509: malformed certificate"
    try:
        private = serialization.load_pem_private_key(key, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "tls: failed to parse private key"
    own = private.public_key()
    if type(own) is not type(public):
        return "tls: private key type does not match public key type"
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    same = own.public_bytes(*form) == public.public_bytes(*form)
    return None if same else "tls: private key does not match public key"
