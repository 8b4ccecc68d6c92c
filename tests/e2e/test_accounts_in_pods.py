"""What pods get of their ServiceAccount, read where they read it: upstream's requirements, in real containers."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from e2e_harness import Kubectl, eventually
from e2e_manifests import IMAGE, pod

API = "kubernetes.default.svc"
PLACE = "/var/run/secrets/kubernetes.io/serviceaccount"


def decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def claims(token: str) -> Any:
    return json.loads(decoded(token.split(".")[1]))


def test_each_container_finds_token_ca_and_namespace(kubectl: Kubectl) -> None:
    """ServiceAccounts should mount an API token into pods"""
    containers = [
        {"name": name, "image": IMAGE, "command": ["cat", f"{PLACE}/{file}"]}
        for name, file in (("token", "token"), ("ca", "ca.crt"), ("ns", "namespace"))
    ]
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"restartPolicy": "Never", "containers": containers},
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    eventually(lambda: kubectl("get", "pod", "p", "-o", "jsonpath={.status.phase}") == "Succeeded")
    ca = kubectl("get", "configmap", "kube-root-ca.crt", "-o", r"jsonpath={.data.ca\.crt}")
    assert kubectl("logs", "p", "-c", "ca") == ca
    assert kubectl("logs", "p", "-c", "ns") == kubectl.namespace
    assert claims(kubectl("logs", "p", "-c", "token"))["sub"] == f"system:serviceaccount:{kubectl.namespace}:default"


def test_the_token_is_mounted_unless_somebody_said_no_and_the_pod_has_the_last_word(kubectl: Kubectl) -> None:
    """ServiceAccounts should allow opting out of API token automount"""
    manifests = []
    for account, word in (("default-word", None), ("yes", True), ("no", False)):
        manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}
        manifests.append(manifest if word is None else {**manifest, "automountServiceAccountToken": word})
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))
    for account, word in (("default-word", True), ("yes", True), ("no", False)):
        for said in (None, True, False):
            name = f"{account}-{said}".lower()
            spec: dict[str, Any] = {"serviceAccountName": account, "containers": [{"name": "c", "image": IMAGE}]}
            if said is not None:
                spec["automountServiceAccountToken"] = said
            manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
            kubectl("create", "-f", "-", stdin=json.dumps(manifest))
            mounts = kubectl.json("get", "pod", name)["spec"]["containers"][0].get("volumeMounts", ())
            assert (PLACE in [mount["mountPath"] for mount in mounts]) is (word if said is None else said), name


def test_a_projected_token_is_for_whom_it_was_asked(kubectl: Kubectl) -> None:
    """ServiceAccounts should mount projected service account token"""
    volume = """
volumes:
  - name: token
    projected:
      sources: [{serviceAccountToken: {path: vault-token, audience: vault, expirationSeconds: 7200}}]
"""
    mount = "volumeMounts: [{name: token, mountPath: /var/run/tokens}]"
    kubectl("apply", "-f", "-", stdin=pod("p", extra=volume, container_extra=mount))
    kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=90s")
    found = claims(kubectl("exec", "p", "--", "cat", "/var/run/tokens/vault-token"))
    assert found["aud"] == ["vault"]
    assert found["exp"] - found["iat"] == 7200
    assert found["kubernetes.io"]["pod"]["name"] == "p"


def test_a_pod_verifies_its_own_token_by_discovery(kubectl: Kubectl) -> None:
    """ServiceAccounts ServiceAccountIssuerDiscovery should support OIDC discovery of service account issuer"""
    kubectl("apply", "-f", "-", stdin=pod("p"))
    kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=90s")
    token = kubectl("exec", "p", "--", "cat", f"{PLACE}/token")
    ca = kubectl("exec", "p", "--", "cat", f"{PLACE}/ca.crt")

    def inside(path: str) -> Any:
        head = f"GET {path} HTTP/1.1\r\nHost: {API}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        status, _, rest = through_pod(kubectl, ca, head.encode()).partition(b"\r\n")
        assert status == b"HTTP/1.1 200 OK"
        return json.loads(rest.partition(b"\r\n\r\n")[2])

    document = inside("/.well-known/openid-configuration")
    assert document["issuer"] == claims(token)["iss"]
    assert document["response_types_supported"] == ["id_token"]
    assert document["jwks_uri"].endswith("/openid/v1/jwks")
    head, body, signature = token.split(".")
    header = json.loads(decoded(head))
    [key] = [each for each in inside("/openid/v1/jwks")["keys"] if each["kid"] == header["kid"]]
    assert header["alg"] in document["id_token_signing_alg_values_supported"]
    verify(key, f"{head}.{body}".encode(), decoded(signature))
    with pytest.raises(InvalidSignature):
        verify(key, f"{head}.{body}x".encode(), decoded(signature))


def through_pod(kubectl: Kubectl, ca: str, request: bytes) -> bytes:
    """The API server's answer, over a connection of the pod ``p``: its ``nc`` carries the TLS that is spoken here."""
    command = [kubectl.program, "--namespace", kubectl.namespace, "exec", "-i", "p", "--", "nc", API, "443"]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context(cadata=ca).wrap_bio(incoming, outgoing, server_hostname=API)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=kubectl.cluster.env) as carrier:
        assert carrier.stdin is not None and carrier.stdout is not None

        def flush() -> None:
            while data := outgoing.read():
                carrier.stdin.write(data)
            carrier.stdin.flush()

        def until_done(step: Callable[[], Any]) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    flush()
                    if data := os.read(carrier.stdout.fileno(), 65536):
                        incoming.write(data)
                    else:
                        incoming.write_eof()
                finally:
                    flush()

        try:
            until_done(tls.do_handshake)
            until_done(lambda: tls.write(request))
            answer = b""
            while part := until_done(lambda: tls.read(65536)):
                answer += part
            return answer
        finally:
            carrier.kill()


def verify(key: Any, signed: bytes, signature: bytes) -> None:
    """RFC 7515 with a key of RFC 7517: ES256 or RS256."""
    number = {name: int.from_bytes(decoded(key[name])) for name in ("x", "y", "n", "e") if name in key}
    if key["kty"] == "EC":
        half = len(signature) // 2
        pair = utils.encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
        public = ec.EllipticCurvePublicNumbers(number["x"], number["y"], ec.SECP256R1()).public_key()
        public.verify(pair, signed, ec.ECDSA(hashes.SHA256()))
    else:
        rsa.RSAPublicNumbers(number["e"], number["n"]).public_key().verify(
            signature, signed, padding.PKCS1v15(), hashes.SHA256()
        )


GUESTBOOK = f"""
apiVersion: v1
kind: Service
metadata: {{name: store}}
spec: {{selector: {{app: store}}, ports: [{{port: 6379}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: store}}
spec:
  selector: {{matchLabels: {{app: store}}}}
  template:
    metadata: {{labels: {{app: store}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: store
          image: {IMAGE}
          command: [sh, -c, "mkdir -p /www/cgi-bin && cp /script/* /www/cgi-bin/ && chmod +x /www/cgi-bin/*
            && exec httpd -f -p 6379 -h /www"]
          volumeMounts: [{{name: script, mountPath: /script}}]
      volumes: [{{name: script, configMap: {{name: scripts, items: [{{key: store, path: entries}}]}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: frontend}}
spec: {{selector: {{app: frontend}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: frontend}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: frontend}}}}
  template:
    metadata: {{labels: {{app: frontend}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: frontend
          image: {IMAGE}
          command: [sh, -c, "mkdir -p /www/cgi-bin && cp /script/* /www/cgi-bin/ && chmod +x /www/cgi-bin/*
            && exec httpd -f -p 8080 -h /www"]
          volumeMounts: [{{name: script, mountPath: /script}}]
      volumes: [{{name: script, configMap: {{name: scripts, items: [{{key: frontend, path: guestbook}}]}}}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: scripts}}
data:
  store: |
    #!/bin/sh
    printf 'Content-Type: text/plain\\r\\n\\r\\n'
    [ -z "$QUERY_STRING" ] || echo "$QUERY_STRING" >> /entries
    cat /entries
  frontend: |
    #!/bin/sh
    printf 'Content-Type: text/plain\\r\\n\\r\\n'
    exec wget -q -O - "http://store:6379/cgi-bin/entries?$QUERY_STRING"
"""


def test_an_entry_in_the_guestbook_is_read_again_by_every_frontend(kubectl: Kubectl) -> None:
    """Kubectl client Guestbook application should create and stop a working application"""
    kubectl("apply", "-f", "-", stdin=GUESTBOOK)
    for name in ("store", "frontend"):
        kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s", timeout=130)
    kubectl("apply", "-f", "-", stdin=pod("visitor"))
    kubectl("wait", "pod/visitor", "--for=condition=Ready", "--timeout=90s")

    def ask(query: str = "") -> str:
        url = f"http://frontend/cgi-bin/guestbook?{query}"
        return kubectl.run("exec", "visitor", "--", "wget", "-q", "-O", "-", url, check=False).stdout

    eventually(lambda: "TestEntry" in ask("TestEntry"))  # Services reach their pods a moment after these are ready
    assert {"TestEntry" in ask() for _ in range(6)} == {True}
    kubectl("delete", "-f", "-", stdin=GUESTBOOK)
