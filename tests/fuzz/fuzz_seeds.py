"""An object of each kind that is accepted, to begin with: the requests of recorded answers, or one of our own."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from sampan.api.kind import Kind
from sampan.api.registry import registry

_RECORDED = Path(__file__).parents[1] / "api/data/answers.json"
_GROUP = {"schedulingPolicy": {"basic": {}}}
_UID = "7d3a6a4e-6f0c-4b7e-9c57-0d5b0e0f1a2b"
#: group and kind to what a minimal object has besides its name
OTHERS: dict[str, dict[str, Any]] = {
    "autoscaling/HorizontalPodAutoscaler": {
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}}
    },
    "scheduling.k8s.io/CompositePodGroup": {
        "spec": {**_GROUP, "workloadRef": {"workloadName": "w", "templateName": "t"}}
    },
    "scheduling.k8s.io/PodGroup": {"spec": _GROUP},
    "scheduling.k8s.io/Workload": {"spec": {"podGroupTemplates": [{"name": "g", **_GROUP}]}},
    "internal.apiserver.k8s.io/StorageVersion": {"metadata": {"name": "apps.deployments"}},
    "coordination.k8s.io/LeaseCandidate": {
        "spec": {
            "leaseName": "l",
            "binaryVersion": "1.37.0",
            "emulationVersion": "1.37.0",
            "strategy": "OldestEmulationVersion",
        }
    },
    "resource.k8s.io/DeviceTaintRule": {"spec": {"taint": {"key": "a.io/b", "effect": "NoSchedule"}}},
    "resource.k8s.io/ResourcePoolStatusRequest": {"spec": {"driver": "a.io"}},
    "storagemigration.k8s.io/StorageVersionMigration": {
        "spec": {"resource": {"group": "apps", "resource": "deployments"}}
    },
    "lifecycle.k8s.io/Eviction": {"spec": {"target": {"pod": {"name": "p", "uid": _UID}}}},
    "lifecycle.k8s.io/EvictionRequest": {
        "spec": {"target": {"pod": {"name": "p", "uid": _UID}}, "requester": "a.io/b", "intent": "Eviction"}
    },
}


@cache
def _recorded() -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {}
    for request, _ in orjson.loads(_RECORDED.read_bytes()).values():
        key = (request["apiVersion"], request["kind"])
        if len(orjson.dumps(request)) > len(orjson.dumps(found.get(key, {}))):
            found[key] = request
    return found


@cache
def _key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)


def _name() -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])


def _signing_request() -> dict[str, Any]:
    made = x509.CertificateSigningRequestBuilder().subject_name(_name()).sign(_key(), None)
    pem = made.public_bytes(serialization.Encoding.PEM)
    return {
        "spec": {"request": base64.b64encode(pem).decode(), "signerName": "a.io/b", "usages": ["client auth"]},
    }


def _trust_bundle() -> dict[str, Any]:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(_name(), _name(), _key().public_key(), 1).not_valid_before(day)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = builder.not_valid_after(day.replace(year=2036)).sign(_key(), None).public_bytes(serialization.Encoding.PEM)
    return {"spec": {"trustBundle": pem.decode()}}


def _pod_certificate_request() -> dict[str, Any]:
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(_key(), None)
    names = {"podName": "p", "serviceAccountName": "default", "nodeName": "n", "signerName": "a.io/b"}
    uids = dict.fromkeys(("podUID", "serviceAccountUID", "nodeUID"), _UID)
    der = made.public_bytes(serialization.Encoding.DER)
    return {"spec": {**names, **uids, "stubPKCS10Request": base64.b64encode(der).decode()}}


_MADE: dict[str, Callable[[], dict[str, Any]]] = {
    "CertificateSigningRequest": _signing_request,
    "ClusterTrustBundle": _trust_bundle,
    "PodCertificateRequest": _pod_certificate_request,
}


def seed(kind: Kind) -> dict[str, Any]:
    """With a name, and in the namespace ``default``. Of a version that is stored as another: that one's, converted."""
    if kind.stored_as is not None and kind.kind != "Event":
        stored = seed(registry().storage(kind))
        return _named(kind, stored if kind.from_stored is None else kind.from_stored(stored))
    recorded = _recorded().get((kind.api_version, kind.kind))
    if recorded is not None:
        return _named(kind, copy.deepcopy(recorded))
    made = _MADE.get(kind.kind)
    return _named(kind, made() if made is not None else copy.deepcopy(OTHERS.get(f"{kind.group}/{kind.kind}", {})))


def _named(kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    obj |= {"apiVersion": kind.api_version, "kind": kind.kind}
    meta = obj.setdefault("metadata", {})
    for key in ("uid", "resourceVersion", "creationTimestamp", "namespace"):
        meta.pop(key, None)
    meta.setdefault("name", "seed")
    if kind.namespaced:
        meta["namespace"] = "default"
    if kind.kind == "Pod":
        obj["spec"]["serviceAccountName"] = "default"  # admission's, which is off
    if kind.kind == "Event":
        obj["involvedObject" if kind.group == "" else "regarding"] = {
            "kind": "Pod",
            "namespace": "default",
            "name": "p",
        }
    return obj
