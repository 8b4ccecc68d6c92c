"""Pods that answer and ask over the network, Services before them, and what a test may have them do.

A pod runs ``network_program.py`` under the machine's own interpreter, which it mounts: no image has to be made. It is
spoken to through the API server's proxy, as upstream's tests speak to theirs: what a pod asks others leaves from its
own network.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dnslib
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from e2e_harness import DEMO_IMAGE, eventually
from requirement_room import WAITS, Obj, Room, pod, secret

HTTP, UDP, TLS = 8080, 8081, 8443
WEB = ("web-0", "web-1", "web-2")
DNS_CONFIG = {"nameservers": ["1.1.1.1"], "searches": ["resolv.conf.local"]}
PROGRAM = (Path(__file__).parent / "network_program.py").read_text()
_PYTHON = str(Path(sys.executable).resolve())
#: where the interpreter and its libraries are, on this machine and so in the pods
_PLACES = tuple(dict.fromkeys(path for path in ("/lib", "/lib64", "/usr", sys.base_prefix) if Path(path).is_dir()))


def server(name: str, *ports: str, labels: Mapping[str, str] | None = None, **spec: Any) -> Obj:
    """A pod that answers with its name on ``ports``: ``http:8080`` and ``udp:8081``, unless it is told otherwise."""
    return pod(name, *(serving(*ports),), labels=labels, **{"volumes": volumes(), **spec})


def serving(*ports: str, name: str = "main", **more: Any) -> Obj:
    """A container that does so. Ready once it answers on the first of its HTTP ports, if it has one."""
    ports = ports or (f"http:{HTTP}", f"udp:{UDP}")
    http = [int(each.removeprefix("http:")) for each in ports if each.startswith("http:")]
    probe: Obj = {"readinessProbe": {"httpGet": {"path": "/", "port": http[0]}, "periodSeconds": 1}} if http else {}
    return {
        "name": name, "image": DEMO_IMAGE, "imagePullPolicy": "IfNotPresent",
        "command": [_PYTHON, "-I", "-S", "-c", PROGRAM, *ports],
        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "volumeMounts": [{"name": f"place-{n}", "mountPath": path, "readOnly": True} for n, path in enumerate(_PLACES)],
        **probe, **more,
    }  # fmt: skip


def volumes() -> list[Obj]:
    return [{"name": f"place-{n}", "hostPath": {"path": path}} for n, path in enumerate(_PLACES)]


def waiting(name: str, **spec: Any) -> Obj:
    """A pod that asks others when it is told to by ``exec``, and answers nobody: one of the node's own network takes no
    port of the machine."""
    return pod(name, _waits("main"), **{"volumes": volumes(), **spec})


def _waits(name: str) -> Obj:
    container = {key: value for key, value in serving(name=name).items() if key != "readinessProbe"}
    return {**container, "command": ["sh", "-c", WAITS]}


def beside(made: Obj) -> Obj:
    """The pod with a further container, ``beside``, which asks when it is told to."""
    made["spec"]["containers"].append(_waits("beside"))
    return made


def service(name: str, selector: Mapping[str, str] | None = None, *ports: Obj, **spec: Any) -> Obj:
    """Of port 80 for HTTP, unless it is told otherwise."""
    selecting = {"selector": dict(selector)} if selector else {}
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {**selecting, "ports": list(ports or (port(),)), **spec},
    }  # fmt: skip


def port(number: int = 80, target: int | str = HTTP, protocol: str = "TCP", **more: Any) -> Obj:
    return {"name": f"p{number}-{protocol.lower()}", "port": number, "targetPort": target, "protocol": protocol, **more}


def objects() -> list[Obj]:
    """All that stands for the whole run; what a requirement says is made by its test comes with it."""
    return [
        beside(server("client")),
        *(server(name, labels={"app": "web"}) for name in WEB),
        certificate(),
        many_ports(),
        server("querier", labels={"dns": "querier"}, hostname="querier-1", subdomain="headless"),
        server("configured", dnsPolicy="None", dnsConfig=DNS_CONFIG),
        waiting("on-node", hostNetwork=True),
        service("web", {"app": "web"}),
        service("headless", {"dns": "querier"}, port(80, HTTP), port(81, UDP, "UDP"), clusterIP="None"),
    ]


def certificate() -> Obj:
    """What a pod shows that speaks TLS: nobody vouches for it, and nobody asks."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "many-ports")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret("tls", **{"tls.crt": made.public_bytes(Encoding.PEM).decode(), "tls.key": private.decode()})


def many_ports() -> Obj:
    found = server("many-ports", f"http:{HTTP}", "http:8090", f"https:{TLS}")
    found["spec"]["volumes"].append({"name": "tls", "secret": {"secretName": "tls"}})
    found["spec"]["containers"][0]["volumeMounts"].append({"name": "tls", "mountPath": "/tls"})
    return found


class Network:
    """What the pods of a room do at a test's word."""

    def __init__(self, room: Room) -> None:
        self.room = room

    def says(self, pod: str, target: str, **given: Any) -> Any:
        """What the pod answers, spoken to through the API server."""
        return self.room.api("GET", f"{self.room.path(name=f'{pod}:{HTTP}', subresource='proxy')}{target}", **given)

    def ask(self, pod: str, host: str, number: int = 80, *, times: int = 1, protocol: str = "http") -> list[str]:
        """Who answers the pod there, each time that it asks."""
        answers: list[str] = self.says(pod, "/ask", protocol=protocol, host=host, port=number, times=times)
        return answers

    def ask_by_exec(
        self, pod: str, host: str, number: int, *, protocol: str = "http", container: str = "main"
    ) -> list[str]:
        """The same once, from a container that waits: of a pod in the node's network, say."""
        command = (_PYTHON, "-I", "-S", "-c", PROGRAM, "ask", protocol, host, str(number), "1")
        said = self.room.run(pod, *command, container=container)
        assert b'"status":"Success"' in said[3], said
        answers: list[str] = json.loads(said[1])
        return answers

    def answers(self, pod: str, host: str, number: int = 80, *, by: Sequence[str], protocol: str = "http") -> None:
        """Returns once all of ``by`` and nobody else answer the pod there. What a Service is comes to the node a moment
        after it comes to the API."""
        wanted = set(by)
        times = 1 if len(wanted) == 1 else 8 * len(wanted)
        eventually(lambda: set(self.ask(pod, host, number, times=times, protocol=protocol)) == wanted)

    def resolve(self, pod: str, name: str) -> list[str]:
        found: list[str] = self.says(pod, "/resolve", name=name)
        return found

    def resolves(self, pod: str, name: str, to: Sequence[str]) -> None:
        """Returns once the name has these addresses, in the eyes of the pod."""
        eventually(lambda: self.resolve(pod, name) == sorted(to))

    def query(self, pod: str, name: str, kind: str) -> list[str]:
        """The data of the records that the pod's first nameserver has for a name; none while its answers by UDP and by
        TCP differ, as they may while something changes."""
        nameserver = next(
            line.split()[1] for line in self.read(pod, "/etc/resolv.conf").splitlines() if line.startswith("nameserver")
        )
        message = dnslib.DNSRecord.question(name, kind).pack().hex()
        by_udp, by_tcp = (
            [str(record.rdata) for record in dnslib.DNSRecord.parse(bytes.fromhex(said)).rr] if said else []
            for said in self.says(pod, "/query", server=nameserver, message=message)
        )
        return by_udp if sorted(by_udp) == sorted(by_tcp) else []

    def queried(self, pod: str, name: str, kind: str, wanted: Callable[[list[str]], Any]) -> list[str]:
        """Once they are so."""
        seen: list[list[str]] = [[]]

        def so() -> bool:
            seen[0] = self.query(pod, name, kind)
            return bool(wanted(seen[0]))

        eventually(so)
        return seen[0]

    def read(self, pod: str, path: str) -> str:
        text: str = self.says(pod, "/read", file=path)
        return text

    def create(self, obj: Obj) -> Obj:
        return self.room.create(obj)

    def address(self, pod: str) -> str:
        found: str = self.room.ready(pod)["status"]["podIP"]
        return found

    def ready(self, *pods: str) -> None:
        for each in pods:
            self.room.ready(each)

    # Services.

    def service(self, name: str) -> Obj:
        found: Obj = self.room.api("GET", self.room.path("services", name))["spec"]
        return found

    def change(self, name: str, **spec: Any) -> Obj:
        """The Service's spec afterwards."""
        changed: Obj = self.room.api.patch(self.room.path("services", name), {"spec": spec})["spec"]
        return changed

    def nodes(self) -> list[str]:
        """The addresses of all nodes, of either family."""
        found = self.room.api("GET", "/api/v1/nodes")["items"]
        return [a["address"] for node in found for a in node["status"]["addresses"] if a["type"] == "InternalIP"]

    def targets(self, name: str) -> list[tuple[str, int]]:
        """Where a Service of port 80 can be had: by address and name, and on every node if it has a port there, at the
        node's addresses of the Service's family."""
        spec = self.service(name)
        number = spec["ports"][0].get("nodePort")
        nodes = [node for node in self.nodes() if number and (":" in node) == (":" in spec["clusterIP"])]
        return [(spec["clusterIP"], 80), (name, 80), *((node, number) for node in nodes)]

    def reachable(self, name: str, clients: Sequence[str] = ("client",)) -> None:
        """By all pods of ``WEB`` and nobody else, wherever it can be had."""
        for client in clients:
            for host, number in self.targets(name):
                self.answers(client, host, number, by=WEB)

    def stays(self, name: str, clients: Sequence[str] = ("client",)) -> None:
        """A client has one pod and keeps it, wherever the Service can be had."""
        for client in clients:
            for host, number in self.targets(name):
                eventually(lambda c=client, h=host, n=number: self._is_one_of_web(self.ask(c, h, n, times=24)))

    @staticmethod
    def _is_one_of_web(answers: Sequence[str]) -> bool:
        return len(set(answers)) == 1 and answers[0] in WEB

    def is_alias(self, name: str, of: str) -> None:
        full = f"{name}.{self.room.namespace}.svc.cluster.local"
        self.queried("client", full, "CNAME", lambda found: found == [f"{of}."])
