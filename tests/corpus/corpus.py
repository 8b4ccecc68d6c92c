"""Manifests as people write them: shapes by hand, each with what the reference does with it, varied by seed.

A shape is a document of ``shapes/*.yaml`` behind a line ``#: what it is``. Further lines say what comes of it:
``#> warns: TEXT`` for each Warning, ``#> refused: CODE REASON TEXT``, where the text is part of the message (and - no
reason at all); without that it is accepted. ``@name``, ``@image`` and their like stand for something of that sort.
"""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SHAPES = Path(__file__).parent / "shapes"
VARIATIONS = 11

_NAMES = ("web", "my-app", "a", "redis-master", "wordpress-mysql", "api-v2", "x" * 40, "r1-frontend")
_IMAGES = (
    "nginx",
    "nginx:1.7.9",
    "gcr.io/google-samples/gb-frontend:v5",
    "quay.io/a/b@sha256:" + "0" * 64,
    "r.io:5000/a",
)
_PLACEHOLDERS: dict[str, Callable[[random.Random], str]] = {
    "@name": lambda rng: rng.choice(_NAMES),
    "@image": lambda rng: rng.choice(_IMAGES),
    "@port": lambda rng: str(rng.choice((80, 443, 3000, 5432, 8080, 9090, 65535))),
    "@small": lambda rng: str(rng.randint(1, 5)),
    "@big": lambda rng: str(rng.randint(6, 900)),
    "@memory": lambda rng: rng.choice(("64Mi", "128974848", "1Gi", "1.5Gi", "512M", "1e9", "2Ti")),
    "@csr": lambda rng: signing_request(),
}


@cache
def signing_request() -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()


@dataclass(frozen=True, slots=True)
class Manifest:
    what: str
    text: bytes
    content_type: str
    value: dict[str, Any]
    code: int
    reason: str
    message: str
    warnings: tuple[str, ...]


def topics() -> list[str]:
    return sorted(path.stem for path in SHAPES.glob("*.yaml"))


def shapes(topic: str) -> list[str]:
    return re.split(r"^---\n", (SHAPES / f"{topic}.yaml").read_text(), flags=re.MULTILINE)


def manifests(topic: str) -> Iterator[Manifest]:
    for shape in shapes(topic):
        for seed in range(VARIATIONS):
            yield _made(shape, seed)


def _made(shape: str, seed: int) -> Manifest:
    rng = random.Random(f"{shape[:60]}{seed}")
    for placeholder, choose in _PLACEHOLDERS.items():
        shape = shape.replace(placeholder, choose(rng))
    lines = shape.splitlines()
    what = next(line[2:].strip() for line in lines if line.startswith("#:"))
    warnings = tuple(line.removeprefix("#> warns: ") for line in lines if line.startswith("#> warns: "))
    refused = next((line.removeprefix("#> refused: ") for line in lines if line.startswith("#> refused: ")), "")
    code, reason, message = refused.split(" ", 2) if refused else ("201", "", "")
    plain = "\n".join(line for line in lines if not line.startswith("#")) + "\n"
    value: dict[str, Any] = yaml.safe_load(plain)
    forms = _FORMS[:2] if "given twice" in what else _FORMS
    text, content_type = forms[seed % len(forms)](plain, value, rng)
    return Manifest(f"{what} ({seed})", text.encode(), content_type, value, int(code), reason, message, warnings)


#: what kubectl generates with a status
_GENERATED = frozenset(
    ("CronJob", "Deployment", "Ingress", "Job", "Namespace", "Pod", "PodDisruptionBudget", "ResourceQuota", "Service")
)

# -- how it is written


def _as_it_is(text: str, value: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    return text, "application/yaml"


def _commented(text: str, value: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    """As from Windows, with a head and remarks."""
    lines = ["---", "# Source: chart/templates/it.yaml", *(f"{line}  # why" for line in text.splitlines())]
    return "\r\n".join(lines) + "\r\n", "application/yaml"


def _json(text: str, value: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    return json.dumps(value, indent=rng.choice((None, 2, 4))), "application/json"


def _sorted(text: str, value: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    """As a program writes YAML."""
    return yaml.safe_dump(value, default_flow_style=False, width=80), "application/yaml"


def _generated(text: str, value: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    """As ``kubectl create --dry-run=client -o yaml`` writes it."""
    metadata = {"creationTimestamp": None, **value.get("metadata", {})}
    status: dict[str, Any] = {"status": {}} if value["kind"] in _GENERATED else {}
    return yaml.safe_dump({**value, "metadata": metadata, **status}), "application/yaml"


def _exported(text: str, value: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    """As somebody copied it out of a cluster."""
    applied = {"kubectl.kubernetes.io/last-applied-configuration": "{}\n", "deployment.kubernetes.io/revision": "3"}
    metadata = dict(value.get("metadata") or {})
    metadata["annotations"] = {**applied, **(metadata.get("annotations") or {})}
    metadata |= {"uid": "5f4a4ae4-6d2c-4b3c-8f7c-2c3f4d5e6f70", "generation": 7, "selfLink": "/x"}
    return json.dumps({**value, "metadata": metadata}), "application/json"


_FORMS = (_as_it_is, _commented, _json, _sorted, _generated, _exported)
