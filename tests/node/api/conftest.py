"""A node API on loopback with real TLS, a fake runtime and a fake API server behind it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sampan.api.clock import FixedClock
from sampan.api.transport import Call
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node.api.auth import DelegatedAuth
from sampan.node.api.machine import MachineUsage
from sampan.node.api.server import NodeApi, NodeApiConfig
from sampan.node.api.tls import server_context
from sampan.node.runtime import RuntimeNotFound

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LABELS = {
    "io.kubernetes.pod.uid": "u1",
    "io.kubernetes.pod.name": "web",
    "io.kubernetes.pod.namespace": "ns",
    "io.kubernetes.container.name": "c",
}


@dataclass
class FakeApiServer:
    """Answers reviews: tokens by table, access by user and subresource."""

    tokens: dict[str, str] = field(default_factory=dict)
    allowed: set[tuple[str, str, str]] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    async def call(self, call: Call) -> Any:
        self.calls.append(call.path)
        spec = call.body["spec"]
        if "token" in spec:
            user = self.tokens.get(spec["token"])
            return {"status": {"authenticated": user is not None, "user": {"username": user}}}
        wanted = spec["resourceAttributes"]
        return {"status": {"allowed": (spec["user"], wanted["verb"], wanted["subresource"]) in self.allowed}}


@dataclass
class FakeRuntime:
    containers: dict[str, Any] = field(default_factory=dict)
    sandboxes: list[Any] = field(default_factory=list)
    stats: list[Any] = field(default_factory=list)
    url: str = ""
    asked: list[Any] = field(default_factory=list)

    def add(self, container_id: str, state: str, log_path: str = "") -> None:
        self.containers[container_id] = SimpleNamespace(
            id=container_id, name="c", attempt=0, state=state, labels=LABELS, image="img", log_path=log_path
        )

    async def list_containers(self, labels: Any = None) -> list[Any]:
        wanted = (labels or {}).items()
        return [each for each in self.containers.values() if wanted <= each.labels.items()]

    async def list_sandboxes(self, labels: Any = None) -> list[Any]:
        return self.sandboxes

    async def list_stats(self) -> list[Any]:
        return self.stats

    async def container_status(self, container_id: str) -> Any:
        if container_id not in self.containers:
            raise RuntimeNotFound(container_id)
        return self.containers[container_id]

    async def exec_url(self, container_id: str, command: Any, **options: bool) -> str:
        self.asked.append((container_id, list(command), options))
        return self.url

    async def attach_url(self, container_id: str, **options: bool) -> str:
        self.asked.append((container_id, options))
        return self.url

    async def port_forward_url(self, sandbox_id: str, ports: Any) -> str:
        self.asked.append((sandbox_id, list(ports)))
        return self.url


@dataclass
class Pki:
    folder: Path

    def issue(self, name: str, *groups: str, issuer: str = "ca") -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        attributes += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        self_signed = name == issuer
        if not self_signed:
            ca_key = serialization.load_pem_private_key((self.folder / f"{issuer}.key").read_bytes(), None)
        builder = x509.CertificateBuilder().subject_name(x509.Name(attributes))
        builder = builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(datetime(2020, 1, 1)).not_valid_after(
            datetime(2020, 1, 1) + timedelta(36500)
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=self_signed, path_length=None), critical=True)
        signed = builder.sign(key if self_signed else ca_key, hashes.SHA256())  # type: ignore[arg-type] # an EC key
        cert_path, key_path = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        cert_path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        private = serialization.PrivateFormat.PKCS8
        key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
        return cert_path, key_path


@dataclass
class NodeWorld:
    api: NodeApi
    runtime: FakeRuntime
    server: FakeApiServer
    pki: Pki
    pods: dict[str, Obj]

    def client_tls(self, *files: Path) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki.folder / "ca.crt"))
        context.check_hostname = False
        if files:
            context.load_cert_chain(*files)
        return context

    async def connect(self, user: str = "admin") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        files = (self.pki.folder / f"{user}.crt", self.pki.folder / f"{user}.key") if user else ()
        return await asyncio.open_connection("127.0.0.1", self.api.port, ssl=self.client_tls(*files))

    async def request(self, path: str, method: str = "GET", user: str = "admin", **headers: str) -> tuple[int, str]:
        reader, writer = await self.connect(user)
        lines = [f"{method} {path} HTTP/1.1", "Host: node", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = (await reader.read()).decode()
        writer.close()
        head, _, body = answer.partition("\r\n\r\n")
        return int(head.split()[1]), body


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    made = Pki(tmp_path_factory.mktemp("pki"))
    made.issue("ca")
    made.issue("node")
    made.issue("admin", "system:masters")
    made.issue("weak")
    return made


@pytest.fixture
async def node(pki: Pki) -> AsyncIterator[NodeWorld]:
    server, runtime, pods = FakeApiServer(), FakeRuntime(), dict[str, Obj]()
    source = SimpleNamespace(
        pods=lambda: list(pods.values()), get_pod=lambda namespace, name: pods.get(f"{namespace}/{name}")
    )
    auth = DelegatedAuth(Client(server), "n1", asyncio.get_running_loop().time)  # type: ignore[arg-type] # reviews only
    tls = server_context(pki.folder / "node.crt", pki.folder / "node.key", pki.folder / "ca.crt")
    api = NodeApi(
        NodeApiConfig(node_name="n1", address="127.0.0.1", port=0, configz={"maxPods": 110}),
        source,  # type: ignore[arg-type] # two functions are the protocol
        runtime,  # type: ignore[arg-type] # what the node API uses of it
        auth,
        tls,
        FixedClock(NOW),
        machine=lambda: MachineUsage(5_000_000_000, 1 << 30, 4 << 30, 3 << 30),
    )
    started = asyncio.Event()
    task = asyncio.create_task(api.run(started))
    await started.wait()
    try:
        yield NodeWorld(api, runtime, server, pki, pods)
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def backend() -> Callable[..., AbstractAsyncContextManager[str]]:
    """A streaming server: answers one upgrade with ``answer``, then echoes in capitals; gives its URL."""

    @asynccontextmanager
    async def serve(answer: bytes, heads: list[str], after: list[bytes]) -> AsyncIterator[str]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(answer)
            if b" 101 " not in answer:
                writer.write_eof()
            while data := await reader.read(65536):
                after.append(data)
                writer.write(data.upper())
            writer.close()

        listener = await asyncio.start_server(handle, "127.0.0.1", 0)
        async with listener:
            yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/exec/token?x=1"

    return serve
