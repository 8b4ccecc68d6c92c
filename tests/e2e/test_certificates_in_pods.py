"""What pods get of authorities and certificates, read where they read it, in real containers."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from e2e_harness import Kubectl, eventually
from e2e_manifests import IMAGE

SIGNER = "example.com/e2e"


def sign(request: Any, now: datetime) -> Any:
    """The request with what a small signer says: a certificate of an hour and a half."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    stub = x509.load_der_x509_csr(base64.b64decode(request["spec"]["stubPKCS10Request"]))
    spiffe = f"spiffe://e2e/ns/{request['metadata']['namespace']}/sa/{request['spec']['serviceAccountName']}"
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "e2e")]))
        .public_key(stub.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(minutes=90))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe)]), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    moment = "%Y-%m-%dT%H:%M:%SZ"
    condition = {"type": "Issued", "status": "True", "reason": "Signed", "message": "by the test"}
    status = {
        "conditions": [{**condition, "lastTransitionTime": now.strftime(moment)}],
        "certificateChain": leaf.public_bytes(Encoding.PEM).decode(),
        "notBefore": now.strftime(moment),
        "notAfter": (now + timedelta(minutes=90)).strftime(moment),
        "beginRefreshAt": (now + timedelta(minutes=60)).strftime(moment),
    }
    return {**request, "status": status}


def test_a_pod_reads_the_servers_authorities_and_a_certificate_of_its_own(kubectl: Kubectl) -> None:
    authorities = {"signerName": "kubernetes.io/kube-apiserver-serving", "labelSelector": {}, "path": "ca.pem"}
    own = {"signerName": SIGNER, "keyType": "ECDSAP256", "credentialBundlePath": "own.pem"}
    sources = [{"clusterTrustBundle": authorities}, {"podCertificate": own}]
    mounts = [{"name": "certificates", "mountPath": "/certs"}]
    containers = [
        {"name": name, "image": IMAGE, "command": ["cat", f"/certs/{name}.pem"], "volumeMounts": mounts}
        for name in ("ca", "own")
    ]
    spec = {
        "restartPolicy": "Never",
        "containers": containers,
        "volumes": [{"name": "certificates", "projected": {"sources": sources}}],
    }
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    requests = eventually(lambda: kubectl.json("get", "podcertificaterequests.v1.certificates.k8s.io")["items"])
    (request,) = requests
    assert request["spec"]["podName"] == "p"
    signed = sign(request, datetime.now(UTC).replace(microsecond=0))
    kubectl("replace", "--subresource=status", "-f", "-", stdin=json.dumps(signed))
    eventually(lambda: kubectl("get", "pod", "p", "-o", "jsonpath={.status.phase}") == "Succeeded")

    ca = kubectl("get", "configmap", "kube-root-ca.crt", "-o", r"jsonpath={.data.ca\.crt}")
    assert kubectl("logs", "p", "-c", "ca").strip() == ca.strip()
    bundle = kubectl("logs", "p", "-c", "own").encode()
    leaf = x509.load_pem_x509_certificates(bundle)[0]
    key = load_pem_private_key(bundle, None)
    assert leaf.public_key() == key.public_key()
    assert bundle.startswith(b"-----BEGIN PRIVATE KEY-----")
