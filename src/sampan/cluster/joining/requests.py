"""The certificates that a node asks the cluster for, as CertificateSigningRequests. Pure but for the keys.

A node is four things to the cluster (``pki.node_leaves``): a client of the API, the server of its own API, what makes
Services real, and what serves Ingresses. The first is asked for with a token or with the certificate of before, the
others as the node. Sources: the certificates.k8s.io API ("Kubernetes signers"); kubelet TLS bootstrapping.
"""

from __future__ import annotations

import base64
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.cluster.pki import Leaf
from sampan.records import dataclass

KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
API_CLIENT = "kubernetes.io/kube-apiserver-client"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a request: a certificate, why there will be none, or nothing yet (neither)."""

    certificate: bytes = b""
    refused: str = ""


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def signer_of(leaf: Leaf) -> str:
    if leaf.server:
        return KUBELET_SERVING
    return KUBELET_CLIENT if leaf.organizations == ("system:nodes",) else API_CLIENT


def request(leaf: Leaf, key: ec.EllipticCurvePrivateKey, seconds: int = 0) -> Obj:
    """``seconds``: how long it is to live; 0: as long as the signer likes."""
    subject = x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in leaf.organizations),
            x509.NameAttribute(NameOID.COMMON_NAME, leaf.common_name),
        ]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if leaf.hosts:
        names = x509.SubjectAlternativeName([_general(host) for host in dict.fromkeys(leaf.hosts)])
        builder = builder.add_extension(names, critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    spec: Obj = {
        "request": base64.b64encode(pem).decode(),
        "signerName": signer_of(leaf),
        "usages": ["digital signature", "server auth" if leaf.server else "client auth"],
    }
    if seconds:
        spec["expirationSeconds"] = seconds
    return {"metadata": {"generateName": "node-csr-"}, "spec": spec}


def verdict(csr: Obj) -> Verdict:
    status = part(csr, "status")
    for condition in parts(status, "conditions"):
        if condition.get("type") in ("Denied", "Failed") and condition.get("status") == "True":
            said = text(condition, "message") or text(condition, "reason") or "no reason was given"
            return Verdict(refused=f"{condition['type'].lower()}: {said}")
    try:
        return Verdict(base64.b64decode(text(status, "certificate"), validate=True))
    except ValueError:
        return Verdict(refused="what it was given is no certificate")


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
