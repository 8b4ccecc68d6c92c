"""A server without sockets and policy, and a short way to ask it: shared by the tests of the server's core."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sampan.api import protobuf, schema
from sampan.api.clock import FixedClock
from sampan.api.enablement import ALL_KINDS, ALL_VERSIONS
from sampan.api.protobuf.numbers import message_of
from sampan.api.registry import registry
from sampan.api.transport import Call
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.request import Request
from sampan.server.stream import Batch
from sampan.store.etcd.settings import EtcdSettings
from sampan.store.etcd.store import EtcdStore
from sampan.store.memory import MemoryStore
from sampan.store.protocol import Store
from sampan.store.sqlite import SqliteStore
from sampan.testing.yielding import YieldingStore

# Loaded here, not by whichever test comes first: its two seconds are for itself.
registry()
schema.load()

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@dataclass
class Answer:
    status: int
    obj: Any
    headers: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def reason(self) -> str:
        return str(self.obj.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.obj.get("message", ""))

    @property
    def causes(self) -> list[tuple[str, str]]:
        return [(c.get("reason", ""), c.get("field", "")) for c in self.obj.get("details", {}).get("causes", [])]


class MemoryStream:
    """``sampan.server.stream.Stream`` whose peer reads at once."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._on_close: list[Callable[[], None]] = []
        self.closed = False
        self.aborted = False

    def push(self, batch: Batch) -> None:
        if not self.closed:
            self._queue.put_nowait(batch.data)

    async def write(self, data: bytes) -> None:
        await asyncio.sleep(0)
        if not self.closed:
            self._queue.put_nowait(data)

    def finish(self) -> None:
        if not self.closed:
            self.closed = True
            self._queue.put_nowait(None)
            for callback in self._on_close:
                callback()

    def abort(self) -> None:
        self.aborted = True
        self.finish()

    def on_close(self, callback: Callable[[], None]) -> None:
        if self.closed:
            callback()
        else:
            self._on_close.append(callback)

    async def chunks(self) -> AsyncIterator[bytes]:
        while (chunk := await self._queue.get()) is not None:
            yield chunk


class Api:
    """``await api("POST", "/api/v1/namespaces/default/configmaps", body)``: through the whole pipeline, as bytes."""

    def __init__(self, server: Server, clock: FixedClock, certificate: bytes | None = None) -> None:
        self.server, self.clock, self.certificate = server, clock, certificate
        #: content type of the last watch
        self.stream_type = ""

    def request(self, method: str, url: str, body: Any = None, **headers: str) -> Request:
        path, _, raw_query = url.partition("?")
        lists = parse_qs(raw_query, keep_blank_values=True)
        content = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            named.setdefault("content-type", "application/json")
        query = {key: values[0] for key, values in lists.items()}
        return Request(
            method, path, query, named, content,
            query_lists=lists, raw_query=raw_query, peer_certificate=self.certificate,
        )  # fmt: skip

    async def __call__(self, method: str, url: str, body: Any = None, **headers: str) -> Answer:
        request = self.request(method, url, body, **headers)
        response = await self.server.handler(request)
        assert isinstance(response.body, bytes)
        obj = _decoded(response.content_type, response.body)
        lines = (line.partition(": ") for line in (response.head or b"").decode().splitlines())
        headers = {name: value for name, _, value in lines} | response.headers
        return Answer(response.status, obj, headers, request.warnings)

    async def watch(self, url: str, **headers: str) -> AsyncIterator[dict[str, Any]]:
        """The events of a watch; ends with the watch. Break out of the loop to leave it."""
        async with aclosing(self.stream(url, **headers)) as chunks:
            async for chunk in chunks:
                for line in chunk.splitlines():
                    yield orjson.loads(line)

    async def stream(self, url: str, **headers: str) -> AsyncGenerator[bytes, None]:
        """The same as bytes: whole events, one or more at a time."""
        response = await self.server.handler(self.request("GET", url, **headers))
        assert not isinstance(response.body, bytes | AsyncIterator), response.body
        self.stream_type = response.content_type
        stream = MemoryStream()
        response.body.start(stream)
        try:
            async for chunk in stream.chunks():
                yield chunk
        finally:
            stream.abort()


def _decoded(content_type: str, body: bytes) -> Any:
    if content_type == protobuf.CONTENT_TYPE:
        obj = protobuf.decode_object(body)[0]
        message = message_of(obj["apiVersion"], obj["kind"])
        assert message is not None
        if message in schema.load():  # Go writes what is empty and no pointer
            schema.normalise(schema.load().definition(message), obj)
        return obj
    return orjson.loads(body) if content_type == "application/json" and body else body.decode()


@pytest.fixture(scope="session")
def certificate_of() -> Callable[..., bytes]:
    """``certificate_of(user, *groups)``: the DER of a client certificate, as the TLS layer has it once it trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())

    def make(user: str, *groups: str) -> bytes:
        names = [(NameOID.COMMON_NAME, user), *((NameOID.ORGANIZATION_NAME, group) for group in groups)]
        subject = x509.Name([x509.NameAttribute(oid, name) for oid, name in names])
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1)
        builder = builder.not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
        builder = builder.not_valid_after(datetime(2035, 1, 1, tzinfo=UTC))
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    return make


@pytest.fixture
def api_of() -> type[Api]:
    """``api_of(server, clock)``: the same short way to ask a server of the test's own."""
    return Api


#: What a test marked ``every_store`` runs on. The rest run on the first: they are about what is above the store.
STORES = ("memory", "sqlite", "yielding", "etcd")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store" in metafunc.fixturenames and metafunc.definition.get_closest_marker("every_store"):
        metafunc.parametrize("store", STORES, indirect=True)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


_prefixes = (f"/server{n}" for n in itertools.count())


@pytest.fixture
async def store(request: pytest.FixtureRequest, clock: FixedClock, tmp_path: Path) -> Store:
    """The server's own to close."""
    match getattr(request, "param", STORES[0]):
        case "sqlite":
            return await SqliteStore.open(tmp_path / "store", clock=clock)
        case "yielding":
            return YieldingStore(7, clock=clock)
        case "etcd":
            endpoint = request.getfixturevalue("etcd_endpoint")
            # Nobody else writes there: on a busy machine, too, every revision is one that a test has made.
            request.getfixturevalue("monkeypatch").setattr("sampan.store.etcd.store._PATIENCE_SECONDS", (30.0, 5.0))
            settings = EtcdSettings(endpoints=(endpoint,), prefix=next(_prefixes), strip="/registry")
            return await EtcdStore.open(settings, clock=clock)
    return MemoryStore(clock=clock)


@pytest.fixture
async def api(store: Store, clock: FixedClock) -> AsyncIterator[Api]:
    config = ServerConfig(
        runtime_config=ALL_VERSIONS,
        feature_gates=ALL_KINDS,
        listen=False,
        bootstrap=False,
        authorization_modes=("AlwaysAllow",),
        disable_admission_plugins=("ServiceAccount",),
        clock=clock,
        random=Random(1),
    )
    async with Server(config, store=store) as server:
        made = Api(server, clock)
        await made("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
        yield made


@pytest.fixture
async def guarded_api(certificate_of: Callable[..., bytes], store: Store, clock: FixedClock) -> AsyncIterator[Api]:
    """The same with the default admission plugins, RBAC and the node authorizer: asked by who may do everything."""
    config = ServerConfig(
        runtime_config=ALL_VERSIONS,
        feature_gates=ALL_KINDS,
        listen=False,
        bootstrap=False,
        clock=clock,
        random=Random(1),
        openapi=False,
    )
    group = "rbac.authorization.k8s.io"
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    binding = {
        "metadata": {"name": "all"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "all"},
        "subjects": [{"apiGroup": group, "kind": "Group", "name": "admins"}],
    }
    async with Server(config, store=store) as server:
        writer = server.local_transport()
        for path, obj in (
            (f"/apis/{group}/v1/clusterroles", {"metadata": {"name": "all"}, "rules": [everything]}),
            (f"/apis/{group}/v1/clusterrolebindings", binding),
            ("/api/v1/namespaces", {"metadata": {"name": "default"}}),
            ("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}),
        ):
            await writer.call(Call("POST", path, body=obj))
        yield Api(server, clock, certificate_of("root", "admins"))


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


class JumpingLoop(asyncio.SelectorEventLoop):
    """Time stands still, and jumps to the next timer whenever nothing else is ready: in-memory tests only."""

    def __init__(self) -> None:
        super().__init__()
        self._offset = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None = None) -> Any:
            events = select(0)
            if not events and timeout:
                self._offset += timeout
            return events

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._offset


@pytest.fixture
def virtual() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine under virtual time."""

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            return runner.run(coroutine)

    return run
