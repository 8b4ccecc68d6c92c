"""A node API on loopback with real TLS, a simulated runtime behind it and, where it is asked, a real API server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sampan.api.clock import Clock, FixedClock
from sampan.api.streams import spdy, websocket
from sampan.api.transport import Call
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node.api.auth import DelegatedAuth
from sampan.node.api.machine import MachineUsage
from sampan.node.api.server import NodeApi, NodeApiConfig
from sampan.node.api.tls import server_context
from sampan.node.inbox import Inbox
from sampan.node.runtime import Container, ContainerState, RuntimeCallError, Sandbox
from sampan.node.simulated import SimulatedRuntime
from sampan.node.simulated_programs import Streams
from sampan.testing.api import Api

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LABELS = {
    "io.kubernetes.pod.uid": "u1",
    "io.kubernetes.pod.name": "web",
    "io.kubernetes.pod.namespace": "ns",
    "io.kubernetes.container.name": "c",
}


class RecordedRuntime(SimulatedRuntime):
    """Containers are placed, not made; what exec, attach and port-forward ask for is written down."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.programs = self.given = Given()

    @property
    def asked(self) -> list[Any]:
        return self.given.asked

    def add(self, container_id: str, state: ContainerState, log_path: str = "") -> None:
        """In the sandbox ``box`` of the pod ``ns/web``."""
        box = Sandbox("box", "web", "u1", "ns", 0, True, NOW, labels=LABELS)
        made = Container(
            id=container_id, name="c", attempt=0, state=state, created_at=NOW, image="img", labels=LABELS,
            log_path=log_path,
        )  # fmt: skip
        self.place(box, made)


class Given:
    def __init__(self) -> None:
        #: what exec and attach give, or raise
        self.command: Any = None
        self.asked: list[Any] = []

    def exec(self, container_id: str, command: Sequence[str], streams: Streams) -> Any:
        self.asked.append((container_id, list(command), asdict(streams)))
        return self._next()

    def attach(self, container_id: str, streams: Streams) -> Any:
        self.asked.append((container_id, asdict(streams)))
        return self._next()

    def _next(self) -> Any:
        if isinstance(self.command, Exception):
            raise self.command
        return self.command

    async def connect(self, sandbox_id: str, port: int) -> socket.socket:
        """To the port of this machine."""
        self.asked.append((sandbox_id, port))
        made = socket.socket()
        made.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
        except OSError as error:
            made.close()
            raise RuntimeCallError("failed to connect: connection refused") from error
        return made


class NobodyAsked:
    """A transport for tests in which the API server's word is not needed: asking it is an error."""

    async def call(self, call: Call) -> Any:
        raise AssertionError(f"{call.path} was asked")


class Counted:
    """The real API server, with what it was asked."""

    def __init__(self, client: Client) -> None:
        self._transport = client.transport
        self.calls: list[str] = []

    async def call(self, call: Call) -> Any:
        self.calls.append(call.path)
        return await self._transport.call(call)


class FakeCommand:
    """A program in the container: ``program`` gets this and gives the exit code."""

    def __init__(self, program: Callable[[FakeCommand], Awaitable[int]], stdin_bytes: int = 64 << 10) -> None:
        self.stdin, self.outputs = Inbox(stdin_bytes), {"stdout": Inbox(), "stderr": Inbox()}
        self.sizes: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        self.closed = asyncio.Event()
        self._task = asyncio.ensure_future(program(self))
        self._task.add_done_callback(self._over)

    def _over(self, task: Any) -> None:
        for output in self.outputs.values():
            output.end()

    async def read(self, stream: str) -> bytes:
        return await self.outputs[stream].read()

    async def write(self, data: bytes) -> None:
        self.stdin.add(data)
        await self.stdin.room()

    async def close_stdin(self) -> None:
        self.stdin.end()

    async def resize(self, width: int, height: int) -> None:
        self.sizes.put_nowait((width, height))

    async def wait(self) -> int:
        return await asyncio.shield(self._task)

    async def close(self) -> None:
        self.stdin.end()
        self._task.cancel()
        self.closed.set()


@pytest.fixture
def fake_command() -> type[FakeCommand]:
    return FakeCommand


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
    runtime: RecordedRuntime
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
        lines = [f"{method} {path} HTTP/1.1", "Host: node"]
        lines += [] if "Connection" in headers else ["Connection: close"]
        lines += ["Content-Length: 0"] if method == "POST" else []
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


@asynccontextmanager
async def serving(pki: Pki, transport: Any) -> AsyncIterator[NodeWorld]:
    """``transport`` leads to the API server that is asked who may what."""
    clock = FixedClock(NOW)
    runtime, pods = RecordedRuntime(clock), dict[str, Obj]()
    source = SimpleNamespace(
        pods=lambda: list(pods.values()), get_pod=lambda namespace, name: pods.get(f"{namespace}/{name}")
    )
    auth = DelegatedAuth(Client(transport), "n1", asyncio.get_running_loop().time)
    tls = server_context(pki.folder / "node.crt", pki.folder / "node.key", pki.folder / "ca.crt")
    api = NodeApi(
        NodeApiConfig(node_name="n1", address="127.0.0.1", port=0, configz={"maxPods": 110}),
        source,  # type: ignore[arg-type] # two functions are the protocol
        runtime,
        auth,
        tls,
        clock,
        machine=lambda: MachineUsage(5_000_000_000, 1 << 30, 4 << 30, 3 << 30),
    )
    started = asyncio.Event()
    task = asyncio.create_task(api.run(started))
    await started.wait()
    try:
        yield NodeWorld(api, runtime, pki, pods)
    finally:
        task.cancel()
        await asyncio.wait([task])
        await runtime.close()


@pytest.fixture
async def node(pki: Pki) -> AsyncIterator[NodeWorld]:
    async with serving(pki, NobodyAsked()) as made:
        yield made


@pytest.fixture
def asked(api: Api) -> Counted:
    """What the node asks the API server."""
    return Counted(api.client_for_node("n1"))


@pytest.fixture
async def judged_node(pki: Pki, asked: Counted) -> AsyncIterator[NodeWorld]:
    """A node beside a real API server."""
    async with serving(pki, asked) as made:
        yield made


NAMES = ("stdin", "stdout", "stderr", "error", "resize")


class Remote:
    """A client of exec and attach on one connection, speaking ``spdy`` or a WebSocket protocol."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: str) -> None:
        self.reader, self.writer, self.protocol = reader, writer, protocol
        self.is_spdy = protocol == "spdy"
        self.codec = spdy.Codec()
        self.ids: dict[str, int] = {}
        self.pieces: dict[str, list[bytes]] = {name: [] for name in NAMES}
        self.got: dict[str, bytes] = {}
        self.buffer = bytearray()
        self.finished: set[str] = set()
        self.messages: list[tuple[int, bytes]] = []
        self.pings = 0
        self.head = b""

    async def begin(self, path: str, names: Sequence[str]) -> None:
        lines = [
            f"GET {path} HTTP/1.1" if not self.is_spdy else f"POST {path} HTTP/1.1",
            "Host: node",
            "Connection: Upgrade",
        ]
        if self.is_spdy:
            protocol = "portforward.k8s.io" if "portForward" in path else "v4.channel.k8s.io"
            lines += ["Upgrade: SPDY/3.1", f"X-Stream-Protocol-Version: {protocol}", "Content-Length: 0"]
        else:
            lines += ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
            lines += [f"Sec-WebSocket-Protocol: {self.protocol}"]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in self.head, self.head + await self.reader.read(500)
        if self.is_spdy:
            self.ids = {name: 2 * index + 1 for index, name in enumerate(names)}
            for name, stream_id in self.ids.items():
                self.writer.write(self.codec.syn_stream(stream_id, {"streamtype": name}))

    async def send(self, data: bytes, name: str = "stdin") -> None:
        step = 32 << 10
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            if self.is_spdy:
                self.writer.write(spdy.data_frame(self.ids[name], piece))
            else:
                self.writer.write(self.message(bytes((NAMES.index(name),)) + piece))
            await self.writer.drain()

    def message(self, data: bytes, opcode: int = websocket.BINARY) -> bytes:
        frame = bytearray(websocket.render_frame(opcode, data))
        frame[1] |= 0x80
        return bytes(frame[: len(frame) - len(data)]) + b"\1\2\3\4" + websocket.unmask(data, b"\1\2\3\4")

    def close_stdin(self) -> None:
        if self.is_spdy:
            self.writer.write(spdy.data_frame(self.ids["stdin"], b"", fin=True))
        else:
            self.writer.write(self.message(b"\xff\0"))

    async def finish(self) -> Obj:
        """Reads to the end that the server sets; the Status of the error stream."""
        while data := await self.reader.read(65536):
            self.take(data)
        self.writer.close()
        text = b"".join(self.pieces["error"])
        self.got = {name: b"".join(pieces) for name, pieces in self.pieces.items()}
        status: Obj = orjson.loads(text) if text.startswith(b"{") else {}
        return status

    async def read_until(self, wanted: bytes, name: str = "stdout") -> None:
        while wanted not in b"".join(self.pieces[name]):
            data = await self.reader.read(65536)
            assert data, f"the connection ended before {wanted!r} came: {self.pieces}"
            self.take(data)

    async def until_finished(self, name: str) -> None:
        while name not in self.finished:
            data = await self.reader.read(65536)
            assert data, f"the connection ended before {name} did"
            self.take(data)

    def take(self, data: bytes) -> None:
        if self.is_spdy:
            names = {stream_id: name for name, stream_id in self.ids.items()}
            for frame in self.codec.feed(data):
                if frame.fin:
                    self.finished.add(names[frame.stream_id])
                if frame.kind == spdy.DATA:
                    self.pieces[names[frame.stream_id]].append(frame.data)
                elif frame.kind == spdy.GOAWAY:
                    self.writer.close()
            return
        self.buffer += data
        while (taken := take_frame(self.buffer)) is not None:
            opcode, payload, end = taken
            del self.buffer[:end]
            if opcode == websocket.CLOSE:
                self.writer.write(self.message(payload, websocket.CLOSE))
                self.writer.close()
            elif opcode == websocket.PING:
                self.pings += 1
            else:
                self.messages.append((opcode, payload))
            if len(payload) > 1 and opcode == websocket.BINARY:
                self.pieces[NAMES[payload[0]]].append(payload[1:])


def take_frame(buffer: bytearray) -> tuple[int, bytes, int] | None:
    """Opcode, payload and end of the first frame from a server."""
    if len(buffer) < 2:
        return None
    length, start = buffer[1] & 0x7F, 2
    if length > 125:
        start = 4 if length == 126 else 10
        length = int.from_bytes(buffer[2:start])
    if len(buffer) < start + length:
        return None
    return buffer[0] & 0x0F, bytes(buffer[start : start + length]), start + length


@pytest.fixture
def remote(node: NodeWorld) -> Callable[..., Any]:
    """Opens a ``Remote``; ``port``: of a node API other than the fixture's."""

    async def open_remote(path: str, names: Sequence[str], protocol: str, port: int = 0) -> Remote:
        files = (node.pki.folder / "admin.crt", node.pki.folder / "admin.key")
        reader, writer = await asyncio.open_connection("127.0.0.1", port or node.api.port, ssl=node.client_tls(*files))
        made = Remote(reader, writer, protocol)
        await made.begin(path, names)
        return made

    return open_remote
