"""A server under load, and who asks it: addresses, certificates, tokens, the objects that the rows need.

``Target`` is a value that travels to the generators' processes. ``call`` asks once, for preparing: it is not fast.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

#: where objects come and go, and where a fixed number of them is listed
NAMESPACE, LISTED = "bench", "bench-list"
USER = "bench-user"
#: what the identity under test may do: no more than the rows need, by an ordinary role
RULES = [
    {
        "apiGroups": [""],
        "resources": ["configmaps", "pods", "serviceaccounts"],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"],
    }
]


@dataclass(frozen=True, slots=True)
class Target:
    """``certificate`` (certificate, key) or ``token`` say who asks; ``pids`` are the server's: CPU and memory."""

    name: str
    address: tuple[str, int]
    pids: tuple[int, ...] = ()
    certificate: tuple[str, str] | None = None
    token: str = ""

    @property
    def url(self) -> str:
        return f"https://{self.address[0]}:{self.address[1]}"

    def context(self) -> ssl.SSLContext:
        """Does not verify the server: the generator is to be thin, and it talks to this machine."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.certificate is not None:
            context.load_cert_chain(*self.certificate)
        return context

    def request(self, method: str, path: str, body: str = "", content_type: str = "application/json") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.address[0]}\r\nAccept: application/json\r\n"
        if self.token:
            head += f"Authorization: Bearer {self.token}\r\n"
        if body:
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(body.encode())}\r\n"
        return f"{head}\r\n{body}".encode()

    def call(self, method: str, path: str, body: Any = None, *, allow: tuple[int, ...] = ()) -> Any:
        """One request on a connection of its own. Raises RuntimeError for an answer that is neither 2xx nor allowed."""
        connection = http.client.HTTPSConnection(*self.address, context=self.context(), timeout=60)
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 300 and answer.status not in allow:
            raise RuntimeError(f"{self.name}: {method} {path} answered {answer.status}: {content[:500]!r}")
        return json.loads(content) if content.startswith(b"{") else content


def make_certificates(folder: Path) -> None:
    """A CA, and certificates of the server, of an administrator and of an ordinary user; and the key of tokens."""
    _openssl(folder, "ca", "/CN=bench-ca")
    for stem, subject, extra in (
        ("server", "/CN=localhost", ("subjectAltName=IP:127.0.0.1,DNS:localhost", "extendedKeyUsage=serverAuth")),
        ("admin", "/O=system:masters/CN=admin", ("extendedKeyUsage=clientAuth",)),
        ("user", f"/O=bench:users/CN={USER}", ("extendedKeyUsage=clientAuth",)),
    ):
        _openssl(folder, stem, subject, "-CA", "ca.crt", "-CAkey", "ca.key", *_extensions(*extra))
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "sa.key"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def _extensions(*values: str) -> list[str]:
    return [part for value in ("basicConstraints=critical,CA:FALSE", *values) for part in ("-addext", value)]


def _openssl(folder: Path, stem: str, subject: str, *arguments: str) -> None:
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", subject, "-keyout", f"{stem}.key", "-out", f"{stem}.crt", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def from_kubeconfig(path: Path, folder: Path, pids: tuple[int, ...]) -> Target:
    """The current context's server and user. Understands certificates and tokens, in the file or beside it."""
    config = yaml.safe_load(path.read_text())

    def named(kind: str, name: str) -> dict[str, Any]:
        return next(item[kind] for item in config[f"{kind}s"] if item["name"] == name)

    context = named("context", config["current-context"])
    server, user = urlsplit(named("cluster", context["cluster"])["server"]), named("user", context["user"])
    target = Target(path.stem, (server.hostname or "", server.port or 443), pids, token=user.get("token", ""))
    if "client-certificate-data" in user or "client-certificate" in user:
        files = []
        for what in ("client-certificate", "client-key"):
            if f"{what}-data" in user:
                file = folder / f"peer-{what}"
                file.write_bytes(base64.b64decode(user[f"{what}-data"]))
            else:
                file = path.parent / user[what]
            files.append(str(file))
        target = replace(target, certificate=(files[0], files[1]))
    return target


@dataclass(frozen=True, slots=True)
class Subject:
    """One server and its three faces: the administrator who prepares, the user, the ServiceAccount."""

    admin: Target
    user: Target
    account: Target

    @property
    def name(self) -> str:
        return self.admin.name

    @property
    def pids(self) -> tuple[int, ...]:
        return self.admin.pids


def prepare(admin: Target, user: Target | None) -> Subject:
    """Namespace, ServiceAccounts, role, bindings, token. Idempotent. Without a ``user`` the administrator is one."""
    core, rbac = "/api/v1/namespaces", "/apis/rbac.authorization.k8s.io/v1"
    for namespace in (NAMESPACE, LISTED):
        admin.call("POST", core, {"metadata": {"name": namespace}}, allow=(409,))
        # "default" as well: no controller makes it where there is only an API server.
        for name in ("default", "bench"):
            admin.call("POST", f"{core}/{namespace}/serviceaccounts", {"metadata": {"name": name}}, allow=(409,))
    admin.call("POST", f"{rbac}/clusterroles", {"metadata": {"name": "bench"}, "rules": RULES}, allow=(409,))
    binding = {
        "metadata": {"name": "bench"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bench"},
        "subjects": [
            {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": USER},
            {"kind": "ServiceAccount", "namespace": NAMESPACE, "name": "bench"},
        ],
    }
    admin.call("POST", f"{rbac}/clusterrolebindings", binding, allow=(409,))
    asked = {"spec": {"expirationSeconds": 36000}}
    answer = admin.call("POST", f"{core}/{NAMESPACE}/serviceaccounts/bench/token", asked)
    account = replace(admin, certificate=None, token=answer["status"]["token"])
    return Subject(admin, user or admin, account)


def clean_up(subject: Subject) -> None:
    """Of a server that is not ours: takes away what ``prepare`` and the rows made."""
    admin = subject.admin
    for path in ("clusterrolebindings", "clusterroles"):
        admin.call("DELETE", f"/apis/rbac.authorization.k8s.io/v1/{path}/bench", allow=(404,))
    for namespace in (NAMESPACE, LISTED):
        path = f"/api/v1/namespaces/{namespace}"
        for kind in ("configmaps", "pods", "serviceaccounts"):
            admin.call("DELETE", f"{path}/{kind}", allow=(404,))
        admin.call("DELETE", path, allow=(404, 409))
        _end(admin, path)


def _end(admin: Target, path: str) -> None:
    """Waits for a namespace to go; where no controller ends it, as on an API server alone, ends it."""
    for _ in range(20):
        found = admin.call("GET", path, allow=(404,))
        if found["kind"] != "Namespace":
            return
        time.sleep(0.5)
    found["spec"] = {"finalizers": []}
    admin.call("PUT", f"{path}/finalize", found, allow=(404, 409))
