"""A real HTTPS server that answers as a webhook, or as anything else; certificates by a CA of the test run."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sampan.api.clock import SystemClock
from sampan.server.aggregation.services import Address, Unresolved

#: the Service that every webhook of these tests is behind, unless it is called by its URL
SERVICE_HOST = "hook.default.svc"


@dataclass(frozen=True)
class Pki:
    directory: Path
    ca_pem: bytes
    ca: x509.Certificate
    key: Any

    @property
    def bundle(self) -> str:
        return base64.b64encode(self.ca_pem).decode()

    def server(self, *hosts: str, hours: tuple[int, int] = (-1, 1)) -> ssl.SSLContext:
        """A server's context with a certificate for these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts
        ]
        builder = _builder("server", self.ca.subject, key.public_key(), hours)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        path = self.directory / f"{abs(hash((hosts, hours)))}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _builder(name: str, issuer: x509.Name | None, key: Any, hours: tuple[int, int]) -> x509.CertificateBuilder:
    now, subject = SystemClock().now(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(issuer or subject, subject, key, x509.random_serial_number())
    builder = builder.not_valid_before(now + timedelta(hours=hours[0]))
    return builder.not_valid_after(now + timedelta(hours=hours[1]))


@pytest.fixture(scope="session")
def other_bundle() -> bytes:
    """Of a CA that has signed nothing."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca = _builder("other ca", None, key.public_key(), (-1, 1))
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return ca.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder("webhook ca", None, key.public_key(), (-1, 1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    ca = builder.sign(key, hashes.SHA256())
    directory = tmp_path_factory.mktemp("webhook-pki")
    return Pki(directory, ca.public_bytes(serialization.Encoding.PEM), ca, key)


Reply = Callable[[Any], Any] | Callable[[Any], Awaitable[Any]]


def allow(review: Any, **response: Any) -> Any:
    """The answer of a webhook that lets it pass, with whatever else it says."""
    answer = {"uid": review["request"]["uid"], "allowed": True, **response}
    return {"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": answer}


def deny(review: Any, **status: Any) -> Any:
    return allow(review, allowed=False, **({"status": status} if status else {}))


def patched(review: Any, *operations: dict[str, Any]) -> Any:
    encoded = base64.b64encode(orjson.dumps(list(operations))).decode()
    return allow(review, patchType="JSONPatch", patch=encoded)


@dataclass
class Hook:
    """The webhook server. ``reply(body)`` gives the JSON of an answer, or a whole ``web.Response``."""

    pki: Pki
    port: int = 0
    reply: Any = allow
    #: by path, before ``reply``
    replies: dict[str, Any] = field(default_factory=dict)
    #: (path with query, headers, JSON) of each question
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    #: who asked: as many as there were connections
    peers: set[Any] = field(default_factory=set)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def requests(self) -> list[Any]:
        """The ``request`` of each AdmissionReview."""
        return [body["request"] for _, _, body in self.asked]

    def by_url(self, path: str = "/") -> dict[str, Any]:
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.pki.bundle}

    def by_service(self, path: str = "/") -> dict[str, Any]:
        service = {"namespace": "default", "name": "hook", "port": 443, "path": path}
        return {"service": service, "caBundle": self.pki.bundle}

    async def silence(self, body: Any) -> Any:
        """A reply that does not come while the test lasts."""
        await self.ended.wait()
        return {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            self.peers.add(request.transport.get_extra_info("peername"))
        body = orjson.loads(await request.read())
        self.asked.append((request.path_qs, dict(request.headers), body))
        self.reached.set()
        answer = self.replies.get(request.path, self.reply)(body)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return answer if isinstance(answer, web.StreamResponse) else web.Response(body=orjson.dumps(answer))


@pytest.fixture
async def serve(pki: Pki) -> AsyncIterator[Callable[..., Awaitable[Hook]]]:
    """``await serve(reply, context=...)``: one more webhook server."""
    runners: list[web.AppRunner] = []
    hooks: list[Hook] = []

    async def start(reply: Any = allow, context: ssl.SSLContext | None = None) -> Hook:
        hook = Hook(pki, reply=reply)
        hooks.append(hook)
        application = web.Application(client_max_size=1 << 26)
        application.router.add_route("*", "/{path:.*}", hook.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context or pki.server("127.0.0.1", SERVICE_HOST))
        await site.start()
        hook.port = runner.addresses[0][1]
        return hook

    yield start
    for hook in hooks:
        hook.ended.set()
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def hook(serve: Callable[..., Awaitable[Hook]]) -> Hook:
    return await serve()


class OneService:
    """``Resolver``: ``default/hook`` is at a port of this machine; nobody else is there."""

    def __init__(self, port: int = 0) -> None:
        self.port = port

    def resolve(self, namespace: str, name: str, port: int) -> Address:
        if (namespace, name) != ("default", "hook"):
            raise Unresolved(f'service "{name}" not found')
        return Address("127.0.0.1", self.port)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """Taken, but nobody listens on it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def service(hook: Hook) -> OneService:
    return OneService(hook.port)


def rule(*resources: str, operations: tuple[str, ...] = ("*",), group: str = "", version: str = "v1") -> dict[str, Any]:
    return {
        "operations": list(operations),
        "apiGroups": [group],
        "apiVersions": [version],
        "resources": list(resources),
    }


def webhook(config: dict[str, Any], *rules: dict[str, Any], name: str = "hook.example.com", **others: Any) -> Any:
    """A webhook that wants to see all writes of config maps, unless told otherwise."""
    return {
        "name": name,
        "clientConfig": config,
        "rules": list(rules) or [rule("configmaps")],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **others,
    }


CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"


class Configured:
    """``await configured.mutating(webhook(...))``: a configuration of these webhooks, in force from then on."""

    def __init__(self, api: Any) -> None:
        self.api = api

    async def mutating(self, *webhooks: Any, name: str = "m") -> Any:
        return await self._create("mutating", "Mutating", webhooks, name)

    async def validating(self, *webhooks: Any, name: str = "v") -> Any:
        return await self._create("validating", "Validating", webhooks, name)

    async def _create(self, plural: str, kind: str, webhooks: Any, name: str) -> Any:
        body = {
            "kind": f"{kind}WebhookConfiguration",
            "apiVersion": "admissionregistration.k8s.io/v1",
            "metadata": {"name": name, "labels": {"by": "test"}},
            "webhooks": list(webhooks),
        }
        answer = await self.api("POST", f"{CONFIGURATIONS}/{plural}webhookconfigurations", body)
        assert answer.status == 201, answer.obj
        return answer.obj


@pytest.fixture
def configured(api: Any) -> Configured:
    return Configured(api)
