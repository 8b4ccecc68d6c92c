"""kopf, unmodified, runs an operator (``parcels.py``): handlers, finalizers, daemons, timers and admission webhooks."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from client_harness import VENV, Program, Served, eventually
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PARCELS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "parcels.operators.example.com"},
    "spec": {
        "group": "operators.example.com",
        "scope": "Namespaced",
        "names": {"plural": "parcels", "singular": "parcel", "kind": "Parcel"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


def parcel(**spec: Any) -> str:
    meta = {"name": "p"}
    return yaml.safe_dump({"apiVersion": "operators.example.com/v1", "kind": "Parcel", "metadata": meta, "spec": spec})


@pytest.fixture
def definition(kubectl: Program) -> Iterator[None]:
    kubectl("create", "-f", "-", stdin=yaml.safe_dump(PARCELS))
    kubectl("wait", "crd/parcels.operators.example.com", "--for=condition=Established", "--timeout=60s")
    yield
    # What a test that failed left waits for its operator.
    for name in kubectl("get", "parcels", "-o", "name").split():
        kubectl("patch", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    kubectl("delete", "crd", "parcels.operators.example.com", "--timeout=60s")


@pytest.fixture
def operator(
    definition: None, served: Served, namespace: str, tmp_path: Path
) -> Callable[..., AbstractContextManager[None]]:
    """``with operator():`` runs it in the test's namespace; what it says is shown when it does not end well."""

    @contextlib.contextmanager
    def run(**environment: str) -> Iterator[None]:
        log = tmp_path / "operator.log"
        with log.open("a") as written:
            process = subprocess.Popen(
                [
                    VENV / "bin" / "kopf",
                    "run",
                    "--standalone",
                    "--namespace",
                    namespace,
                    Path(__file__).parent / "parcels.py",
                ],
                env={**served.environment, **environment},
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()
        except BaseException:
            print(log.read_text())  # noqa: T201 (pytest shows it with the failure)
            raise
        finally:
            process.kill()
            process.wait()

    return run


Operator = Callable[..., AbstractContextManager[None]]


def test_handlers_follow_an_object_from_its_creation_to_its_end(operator: Operator, kubectl: Program) -> None:
    with operator():
        kubectl("apply", "-f", "-", stdin=parcel(to="here"))
        made = eventually(lambda: kubectl.json("get", "parcel", "p").get("status", {}).get("create"))
        assert made == {"label": "p-label"}
        label = kubectl.json("get", "configmap", "p-label")
        assert label["data"] == {"to": "here"}
        assert [(each["kind"], each["name"]) for each in label["metadata"]["ownerReferences"]] == [("Parcel", "p")]
        assert kubectl.json("get", "parcel", "p")["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]

        kubectl("apply", "-f", "-", stdin=parcel(to="there"))
        eventually(lambda: kubectl.json("get", "configmap", "p-label")["data"] == {"to": "there", "before": "here"})
        assert eventually(lambda: kubectl.json("get", "parcel", "p")["status"].get("update")) == {"changes": 1}
        assert "Logging" in eventually(lambda: kubectl("get", "events", "--field-selector=involvedObject.name=p"))

        kubectl("delete", "parcel", "p", "--timeout=60s")
        kubectl("get", "configmap", "p-delivered")
        eventually(lambda: kubectl("get", "configmap", "p-label", "--ignore-not-found") == "")


def test_a_daemon_and_a_timer_run_and_begin_again_with_the_operator(operator: Operator, kubectl: Program) -> None:
    kubectl("apply", "-f", "-", stdin=parcel(to="here"))
    with operator():
        eventually(lambda: kubectl.json("get", "parcel", "p").get("status", {}).get("ticks") == 3)
        eventually(lambda: kubectl.json("get", "parcel", "p")["status"].get("followed"))
    kubectl("patch", "parcel", "p", "--type=merge", "-p", '{"status":{"ticks":0,"followed":false}}')
    with operator():
        eventually(lambda: kubectl.json("get", "parcel", "p")["status"]["ticks"] == 3)
        eventually(lambda: kubectl.json("get", "parcel", "p")["status"]["followed"])
        kubectl("delete", "parcel", "p", "--timeout=60s")


def test_a_parcel_without_address_fails_for_good(operator: Operator, kubectl: Program) -> None:
    with operator():
        kubectl("apply", "-f", "-", stdin=parcel(weight=1))
        events = ("get", "events", "--field-selector=involvedObject.name=p,type=Error")
        assert "a parcel needs an address" in eventually(lambda: kubectl(*events))
        kubectl("delete", "parcel", "p", "--timeout=60s")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "parcels")])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=40_000))
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = builder.add_extension(addresses, critical=False)
    made = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = tmp_path / "certificate.pem"
    path.write_bytes(signed + private)
    return path


def test_its_admission_webhooks_refuse_warn_and_change(operator: Operator, kubectl: Program, certificate: Path) -> None:
    kinds = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
    try:
        with operator(PARCELS_CERTIFICATE=str(certificate)):
            for kind in kinds:
                eventually(
                    lambda kind=kind: kubectl(
                        "get",
                        kind,
                        "parcels.operators.example.com",
                        "-o",
                        "jsonpath={.webhooks[*].name}",
                        "--ignore-not-found",
                    )
                )
            refused = kubectl.fails("create", "-f", "-", stdin=parcel(to="here", weight=30))
            assert "no parcel is heavier than 20" in refused
            heavy = kubectl.run("create", "-f", "-", stdin=parcel(to="here", weight=15))
            assert "Warning: this one is heavy" in heavy.stderr
            assert kubectl.json("get", "parcel", "p")["metadata"]["labels"] == {"stamped": "yes"}
            kubectl("delete", "parcel", "p", "--timeout=60s")
    finally:
        for kind in kinds:
            kubectl("delete", kind, "parcels.operators.example.com", "--ignore-not-found")
