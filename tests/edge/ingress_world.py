"""Objects as values, and what a reader of Ingresses sees of them."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from edge_lab import ADDRESS, HTTP, HTTPS

from sampan.edge.ingress.plan import Planned, Ports, plan
from sampan.edge.ingress.reading import Look, read
from sampan.edge.model import Endpoint

Obj = dict[str, Any]
NGINX = "nginx.ingress.kubernetes.io/"


def backend(service: str, port: str | int = 80) -> Obj:
    return {"service": {"name": service, "port": {"number": port} if isinstance(port, int) else {"name": port}}}


def path(value: str, service: str, kind: str = "Prefix", port: str | int = 80) -> Obj:
    return {"path": value, "pathType": kind, "backend": backend(service, port)}


def rule(host: str, *paths: Obj) -> Obj:
    return ({"host": host} if host else {}) | {"http": {"paths": list(paths)}}


def ingress(
    name: str,
    *rules: Obj,
    annotations: Mapping[str, str] | None = None,
    tls: Sequence[Obj] = (),
    default: Obj | None = None,
    age: int = 0,
) -> Obj:
    """The higher the ``age``, the older."""
    spec: Obj = {"rules": list(rules), "tls": list(tls)} | ({"defaultBackend": default} if default else {})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "creationTimestamp": f"2026-01-01T00:{59 - age:02}:00Z",
            "annotations": {f"{NGINX}{key}": value for key, value in (annotations or {}).items()},
        },
        "spec": spec,
    }


def service(name: str, **spec: Any) -> Obj:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": ports, "clusterIP": "10.0.0.1"} | spec,
    }


def endpoint_slice(name: str, *endpoints: Endpoint, ready: bool = True) -> list[Obj]:
    return [
        {
            "metadata": {"name": f"{name}-{each.port}", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": each.port}],
            "endpoints": [{"addresses": [each.address], "conditions": {"ready": ready}}],
        }
        for each in endpoints
    ]


def pair(name: str) -> tuple[str, str]:
    """A certificate with this common name, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    made = builder.not_valid_before(start).not_valid_after(start.replace(year=2046)).sign(key, hashes.SHA256())
    return (
        made.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )


def secret(**data: str) -> Obj:
    return {"data": {key.replace("_", "."): base64.b64encode(text.encode()).decode() for key, text in data.items()}}


def tls_secret(name: str) -> Obj:
    chain, key = pair(name)
    return secret(tls_crt=chain, tls_key=key)


@dataclass
class World:
    services: dict[str, Obj] = field(default_factory=dict)
    slices: dict[str, list[Obj]] = field(default_factory=dict)
    secrets: dict[str, Obj] = field(default_factory=dict)
    ingresses: list[Obj] = field(default_factory=list)

    def look(self) -> Look:
        return Look(
            lambda _, name: self.services.get(name),
            lambda _, name: self.slices.get(name, []),
            lambda _, name: self.secrets.get(name),
        )

    def serve(self, name: str, *endpoints: Endpoint, **spec: Any) -> None:
        self.services[name] = service(name, **spec)
        self.slices[name] = endpoint_slice(name, *endpoints)

    def plan(self) -> Planned:
        ports = Ports(HTTP, HTTPS, ADDRESS)
        return plan([read(each, self.look()) for each in self.ingresses], ports)
