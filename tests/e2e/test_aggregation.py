"""An API server behind a Service of a real cluster: reached through the Service's address, as the front proxy.

Conformance: "aggregator-supports-the-sample-apiserver" (Aggregator).
"""

from __future__ import annotations

import base64
import json
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

ROOT = "/apis/e2e.example.com/v1"
RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": "e2e.example.com/v1",
    "resources": [{"name": "things", "singularName": "thing", "namespaced": True, "kind": "Thing", "verbs": ["get"]}],
}


class Extension(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        user = self.headers.get("X-Remote-User", "")
        name = self.path.rpartition("/")[2]
        thing = {"kind": "Thing", "apiVersion": "e2e.example.com/v1", "metadata": {"name": name}, "user": user}
        found: Any = {ROOT: RESOURCES}.get(self.path, thing if "/things/" in self.path else None)
        body = json.dumps(found or {"kind": "Status", "code": 404}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Nobody reads it."""


@contextmanager
def extension(folder: Path, client_ca: str) -> Iterator[int]:
    """Listens on every address of the machine for whoever the front proxy's CA has signed; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "extension.crt", folder / "extension.key")
    context.load_verify_locations(cadata=client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("0.0.0.0", 0), Extension)
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


def manifests(namespace: str, address: str, port: int, bundle: bytes) -> str:
    service = {"metadata": {"name": "extension"}, "spec": {"ports": [{"port": 443}]}}
    piece = {
        "metadata": {"name": "extension-1", "labels": {"kubernetes.io/service-name": "extension"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": [{"name": "", "port": port}],
    }
    spec = {
        "group": "e2e.example.com",
        "version": "v1",
        "groupPriorityMinimum": 100,
        "versionPriority": 10,
        "service": {"namespace": namespace, "name": "extension"},
        "caBundle": base64.b64encode(bundle).decode(),
    }
    registered = {"metadata": {"name": "v1.e2e.example.com"}, "spec": spec}
    kinds = (("v1", "Service"), ("discovery.k8s.io/v1", "EndpointSlice"), ("apiregistration.k8s.io/v1", "APIService"))
    objects = (service, piece, registered)
    return yaml.safe_dump_all(
        {"apiVersion": version, "kind": kind, **obj} for (version, kind), obj in zip(kinds, objects, strict=True)
    )


@pytest.fixture
def registered(kubectl: Kubectl, tmp_path: Path) -> Iterator[Kubectl]:
    authority = issue(tmp_path, "ca")
    issue(tmp_path, "extension", authority, [f"extension.{kubectl.namespace}.svc"])
    address = kubectl("get", "nodes", "-o", 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}')
    told = ("-n", "kube-system", "configmap", "extension-apiserver-authentication", "-o", "json")
    front_ca = json.loads(kubectl("get", *told))["data"]["requestheader-client-ca-file"]
    with extension(tmp_path, front_ca) as port:
        bundle = (tmp_path / "ca.crt").read_bytes()
        kubectl("apply", "-f", "-", stdin=manifests(kubectl.namespace, address, port, bundle))
        try:
            kubectl("wait", "--for=condition=Available", "apiservice/v1.e2e.example.com", "--timeout=60s")
            yield kubectl
        finally:
            kubectl("delete", "apiservice", "v1.e2e.example.com")


def test_requests_reach_it_through_the_services_address(registered: Kubectl) -> None:
    thing = json.loads(registered("get", "--raw", f"{ROOT}/namespaces/x/things/a"))
    assert (thing["kind"], thing["user"]) == ("Thing", "kubernetes-admin")
    assert "things.e2e.example.com" in registered("api-resources", "-o", "name").split()


def test_its_end_is_seen_and_harms_nothing_else(registered: Kubectl) -> None:
    registered("delete", "service", "extension")

    def reason() -> str:
        path = 'jsonpath={.status.conditions[?(@.type=="Available")].reason}'
        return registered("get", "apiservice", "v1.e2e.example.com", "-o", path)

    eventually(lambda: reason() == "ServiceNotFound")
    refused = registered.run("get", "--raw", f"{ROOT}/namespaces/x/things/a", check=False)
    assert "unable to handle the request" in refused.stderr
    assert "deployments.apps" in registered.run("api-resources", "-o", "name", check=False).stdout.split()


def test_every_served_version_is_registered(kubectl: Kubectl) -> None:
    rows = [row.split() for row in kubectl("get", "apiservices", "--no-headers").splitlines()]
    assert {"v1.", "v1.apps", "v2.autoscaling"} <= {row[0] for row in rows}
    assert all(row[1:3] == ["Local", "True"] for row in rows if row[0] != "v1.e2e.example.com")
