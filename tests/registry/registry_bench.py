"""Debian's docker-registry as a process of one's own, in the ways that private registries are locked: with a password,
a certificate of an own CA, a token server. And a proxy before it that can be slow, or break what it passes on.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
import io
import ipaddress
import re
import ssl
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import yaml
from aiohttp import ClientSession, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sampan.api.clock import SystemClock
from sampan.node.images import distribution, pushing
from sampan.node.images.hosts import Endpoint
from sampan.node.runtime import RegistryAuth

USER, PASSWORD = "puller", "open-sesame-5812"
#: bcrypt of the password, as `htpasswd -B` writes it
HTPASSWD = f"{USER}:$2y$05$FgoxJ3dftfgJ8FXE44PR0ua0MIngP.G6PjPRR4UtsU6rz8Ea/kjWe\n"
_LISTENING = re.compile(rb"listening on (?:\[?[^\]\s]*\]?):(\d+)")


@dataclass
class Running:
    """``address`` as images name it; ``log`` is what it has said."""

    address: str
    endpoint: Endpoint
    log: Path
    auth: RegistryAuth | None = None

    async def push(self, name: str, archive: bytes, *others: bytes, auth: RegistryAuth | None = None) -> str:
        """An archive of ``build_image`` under ``team/app:1``; several: an index of them. Returns its digest."""
        repository, _, tag = name.partition(":")
        content = ArchiveContent(archive, *others)
        async with distribution.connected(self.endpoint, auth or self.auth) as registry:
            await pushing.push(registry, repository, tag, content.digest, content, lambda text: None)
        return content.digest


class ArchiveContent:
    """Implements ``pushing.Content`` for what ``build_image`` makes."""

    def __init__(self, *archives: bytes) -> None:
        self.blobs: dict[str, bytes] = {}
        found = [self._take(archive) for archive in archives]
        self.digest = found[0]["digest"]
        if len(found) > 1:
            index = orjson.dumps({"schemaVersion": 2, "manifests": found})
            self.digest = "sha256:" + hashlib.sha256(index).hexdigest()
            self.blobs[self.digest] = index

    def _take(self, archive: bytes) -> dict[str, Any]:
        """The descriptor of its image, with the platform."""
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member)
                if file is not None:
                    self.blobs["sha256:" + member.name.rpartition("/")[2]] = file.read()
        found: dict[str, Any] = orjson.loads(self.blobs["sha256:index.json"])["manifests"][0]
        manifest = orjson.loads(self.blobs[found["digest"]])
        config = orjson.loads(self.blobs[manifest["config"]["digest"]])
        return {**found, "platform": {"os": config["os"], "architecture": config["architecture"]}}

    async def read(self, digest: str) -> bytes | None:
        return self.blobs.get(digest)

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        yield self.blobs[digest]


@asynccontextmanager
async def docker_registry(folder: Path, scheme: str = "http", **settings: Any) -> AsyncIterator[Running]:
    """``settings`` go over the file's own: ``auth``, ``http`` with ``tls``."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": "127.0.0.1:0", "secret": "of this test", **settings.pop("http", {})},
        **settings,
    }
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    log = folder / "registry.log"
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            "docker-registry", "serve", str(folder / "config.yml"),
            stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said, env={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            while (found := _LISTENING.search(log.read_bytes())) is None:
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.02)
        address = f"127.0.0.1:{int(found[1])}"
        yield Running(address, Endpoint(f"{scheme}://{address}"), log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def with_password(folder: Path) -> AsyncIterator[Running]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "private", "path": str(folder / "htpasswd")}}
    async with docker_registry(folder, auth=auth) as made:
        made.auth = RegistryAuth(USER, PASSWORD)
        yield made


@asynccontextmanager
async def with_own_ca(folder: Path) -> AsyncIterator[Running]:
    """HTTPS by a CA that nobody else knows (``folder/ca.crt``), which clients must have a certificate of, too
    (``folder/client.crt`` and ``.key``)."""
    ca = Authority()
    folder.mkdir(parents=True, exist_ok=True)
    ca.write(folder)
    tls = {
        "certificate": str(folder / "server.crt"),
        "key": str(folder / "server.key"),
        "clientcas": [str(folder / "ca.crt")],
    }
    async with docker_registry(folder, "https", http={"tls": tls}) as made:
        made.endpoint = Endpoint(
            made.endpoint.url,
            ca=(str(folder / "ca.crt"),),
            client=((str(folder / "client.crt"), str(folder / "client.key")),),
        )
        yield made


@asynccontextmanager
async def with_tokens(folder: Path) -> AsyncIterator[tuple[Running, TokenServer]]:
    """Tokens of a server of its own, which knows the user and his password."""
    ca = Authority()
    folder.mkdir(parents=True, exist_ok=True)
    ca.write(folder)
    tokens = TokenServer(ca)
    async with served(tokens.answer) as address:
        auth = {
            "token": {
                "realm": f"http://{address}/token", "service": "sampan-test", "issuer": "tests",
                "rootcertbundle": str(folder / "ca.crt"),
            }
        }  # fmt: skip
        async with docker_registry(folder, auth=auth) as made:
            made.auth = RegistryAuth(USER, PASSWORD)
            yield made, tokens


class Authority:
    """A CA, and one server's, one client's certificate of it."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests' registry CA")])
        self.certificate = self._sign(self.name, self._key.public_key(), ca=True)

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool = False) -> x509.Certificate:
        now = SystemClock().now()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
            usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def write(self, folder: Path) -> None:
        pem = serialization.Encoding.PEM
        (folder / "ca.crt").write_bytes(self.certificate.public_bytes(pem))
        for name in ("server", "client"):
            key = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
            (folder / f"{name}.crt").write_bytes(self._sign(subject, key.public_key()).public_bytes(pem))
            (folder / f"{name}.key").write_bytes(
                key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
            )

    def token(self, claims: dict[str, Any]) -> str:
        """Signed by the CA's own key, which the registry trusts."""
        certificate = base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()
        signed = ".".join(
            _base64url(orjson.dumps(part)) for part in ({"typ": "JWT", "alg": "ES256", "x5c": [certificate]}, claims)
        )
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class TokenServer:
    """Gives tokens (distribution's token specification) to the user, and to nobody else. ``seen``: who asked."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self.seen: list[str] = []

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        self.seen.append(given)
        asked = request.query
        if request.method == "POST":  # OAuth2: containerd tries it first
            form = await request.post()
            known = (form.get("username"), form.get("password")) == (USER, PASSWORD)
            asked = form  # type: ignore[assignment]  # both are multidicts of text here
        else:
            known = given == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if not known:
            return web.json_response({"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]}, status=401)
        access = [_access(scope) for scope in asked.getall("scope", ())]
        now = int(SystemClock().now().timestamp())
        claims = {
            "iss": "tests", "sub": USER, "aud": asked.get("service"), "exp": now + 600, "nbf": now - 60, "iat": now,
            "jti": "1", "access": access,
        }  # fmt: skip
        token = self._authority.token(claims)
        return web.json_response({"token": token, "access_token": token, "expires_in": 600})


def _access(scope: Any) -> dict[str, Any]:
    kind, name, actions = str(scope).split(":", 2)
    return {"type": kind, "name": name, "actions": actions.split(",")}


@dataclass
class Proxy:
    """Passes on what a registry says. What is left of a layer after ``cut_at`` bytes does not come; ``torn``: the
    connection ends there instead of standing still; ``spoiled``: the layer's bytes are others."""

    behind: str
    cut_at: int | None = None
    torn: bool = False
    spoiled: bool = False
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[str] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request.path)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        async with (
            ClientSession(auto_decompress=False) as session,
            session.request(request.method, f"http://{self.behind}{request.raw_path}", headers=headers) as answered,
        ):
            content = await answered.read()
            passed = web.StreamResponse(status=answered.status)
            for name in ("Content-Type", "Docker-Content-Digest", "WWW-Authenticate", "Content-Range"):
                if name in answered.headers:
                    passed.headers[name] = answered.headers[name]
            passed.content_length = int(answered.headers.get("Content-Length", len(content)))
            await passed.prepare(request)
            if "/blobs/" in request.path and request.method == "GET" and len(content) > 10_000:
                if self.spoiled:
                    content = content[:-1] + bytes([content[-1] ^ 1])
                if self.cut_at is not None:
                    resumed = self.torn and "Range" in request.headers  # where it stopped is where it ends again
                    await passed.write(b"" if resumed else content[: self.cut_at])
                    self.waiting.set()
                    if self.torn:
                        assert request.transport is not None
                        request.transport.abort()
                        return passed
                    await self.flowing.wait()
                    content = content[self.cut_at :]
            if request.method != "HEAD":
                await passed.write(content)
            await passed.write_eof()
            return passed


@asynccontextmanager
async def served(answer: Any, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Its address, while it is served."""
    runner = web.ServerRunner(web.Server(answer, handler_cancellation=True))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
