"""Requests as their makers would send them, and a CA."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Obj = dict[str, Any]
#: the clock of these tests stands here
START = datetime(2026, 1, 1, 1, tzinfo=UTC)


def _general(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def make_request(
    common_name: str = "jane",
    organizations: Sequence[str] = (),
    names: Sequence[str] = (),
    *,
    extensions: Sequence[x509.ExtensionType] = (),
) -> bytes:
    """PEM."""
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    subject += [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def request_of() -> Callable[..., bytes]:
    return make_request


@pytest.fixture
def csr_of() -> Callable[..., Obj]:
    """``csr_of(pem, signer, usages, conditions=..., **spec)``: the API object."""

    def make(
        pem: bytes, signer: str, usages: Sequence[str], conditions: Sequence[Obj] = (), name: str = "r", **spec: Any
    ) -> Obj:
        return {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "request": base64.b64encode(pem).decode(),
                "signerName": signer,
                "usages": list(usages),
                **spec,
            },
            "status": {"conditions": list(conditions)} if conditions else {},
        }

    return make


@dataclass(frozen=True)
class Files:
    certificate: Path
    key: Path


@pytest.fixture
def ca(tmp_path: Path) -> Files:
    """A CA that ends a thousand days after ``START``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(START - timedelta(days=1))
        .not_valid_after(START + timedelta(days=1000))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = Files(tmp_path / "ca.crt", tmp_path / "ca.key")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
