"""Webhooks behind a Service of a real cluster, asked for what kubectl writes.

Conformance: "Admission webhook, mutate ..." and "deny create", here with the Service's own address.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e_harness import Kubectl, eventually
from tests.server.http.pki import issue

PATCH = [{"op": "add", "path": "/data/mutated", "value": "yes"}]


class Webhook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        response: dict[str, Any] = {"uid": review["request"]["uid"], "allowed": True}
        if "bad" in review["request"]["object"]["data"]:
            response |= {"allowed": False, "status": {"message": "it is bad", "code": 403, "reason": "Forbidden"}}
        elif self.path.startswith("/mutate"):
            patch = base64.b64encode(json.dumps(PATCH).encode()).decode()
            response |= {"patchType": "JSONPatch", "patch": patch, "warnings": ["it is another now"]}
        answer = {"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Nobody reads it."""


@contextmanager
def listening(folder: Path) -> Iterator[int]:
    """The webhook, on every address of the machine; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "webhook.crt", folder / "webhook.key")
    server = ThreadingHTTPServer(("0.0.0.0", 0), Webhook)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def configuration(kind: str, namespace: str, bundle: bytes) -> dict[str, Any]:
    path = "/mutate" if kind == "Mutating" else "/validate"
    client = {
        "service": {"namespace": namespace, "name": "webhook", "path": path},
        "caBundle": base64.b64encode(bundle).decode(),
    }
    rule = {"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    hook = {
        "name": f"{kind.lower()}.example.com",
        "clientConfig": client,
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "matchConditions": [{"name": "own", "expression": "object.metadata.name != 'kube-root-ca.crt'"}],
    }
    return {
        "kind": f"{kind}WebhookConfiguration",
        "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": {"name": f"e2e-{namespace}"},
        "webhooks": [hook],
    }


def backend(address: str, port: int) -> str:
    spec = {"ports": [{"port": 443}]}
    service = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "webhook"}, "spec": spec}
    piece = {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": "webhook-1", "labels": {"kubernetes.io/service-name": "webhook"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": [{"name": "", "port": port}],
    }
    return yaml.safe_dump_all([service, piece])


def is_reached(service: str) -> bool:
    """Whether the node's rules lead from the Service's address to the webhook by now."""
    try:
        socket.create_connection((service, 443), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def guarded(kubectl: Kubectl, tmp_path: Path) -> Iterator[Kubectl]:
    """A namespace whose ConfigMaps webhooks see."""
    authority = issue(tmp_path, "ca")
    issue(tmp_path, "webhook", authority, [f"webhook.{kubectl.namespace}.svc"])
    address = kubectl("get", "nodes", "-o", 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}')
    with listening(tmp_path) as port:
        bundle = (tmp_path / "ca.crt").read_bytes()
        kubectl("apply", "-f", "-", stdin=backend(address, port))
        service = kubectl("get", "service", "webhook", "-o", "jsonpath={.spec.clusterIP}")
        eventually(lambda: is_reached(service))
        both = [configuration(kind, kubectl.namespace, bundle) for kind in ("Mutating", "Validating")]
        try:
            kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(both))
            yield kubectl
        finally:
            for kind in ("mutating", "validating"):
                kubectl("delete", f"{kind}webhookconfiguration", f"e2e-{kubectl.namespace}", "--ignore-not-found")


def test_what_kubectl_writes_is_mutated_warned_of_and_denied(guarded: Kubectl) -> None:
    made = guarded.run("create", "configmap", "good", "--from-literal=a=b")
    assert "Warning: it is another now" in made.stderr
    assert json.loads(guarded("get", "configmap", "good", "-o", "json"))["data"] == {"a": "b", "mutated": "yes"}
    refused = guarded.run("create", "configmap", "bad", "--from-literal=bad=x", check=False)
    assert 'admission webhook "mutating.example.com" denied the request: it is bad' in refused.stderr
