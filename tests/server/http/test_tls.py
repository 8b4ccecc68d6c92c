"""TLS of the serving side: client certificates, what the handshake names, files that are replaced, strangers."""

from __future__ import annotations

import asyncio
import logging
import resource
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from sampan.server.http import HttpServer, Limits, TlsFiles, raise_descriptor_limit
from sampan.server.request import Request, Response

from .pki import issue

GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def whose(request: Request) -> Response:
    return Response(body=b"none" if request.peer_certificate is None else b"certificate")


@dataclass
class Served:
    folder: Path
    files: TlsFiles
    port: int
    #: what the client was told when its handshake failed
    refusal: str = ""

    def client(self, certificate: str = "") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        if certificate:
            context.load_cert_chain(self.folder / f"{certificate}.crt", self.folder / f"{certificate}.key")
        return context

    async def ask(self, certificate: str = "", *, tls_1_2: bool = False) -> bytes:
        """b"": the handshake failed, which TLS 1.3 clients learn only when they read."""
        context = self.client(certificate)
        if tls_1_2:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        writer = None
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=context, server_hostname="localhost"
            )
            writer.write(GET)
            return await reader.read()
        except (ssl.SSLError, ConnectionError) as error:
            self.refusal = str(error)
            return b""
        finally:
            if writer is not None:
                writer.close()

    async def first_flight(self) -> bytes:
        """What the server says first in TLS 1.2, where its request for a certificate is not encrypted."""
        context = self.client()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        outgoing = ssl.MemoryBIO()
        hello = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            hello.do_handshake()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(outgoing.read())
        flight = b""
        while not flight.endswith(b"\x0e\0\0\0"):  # ServerHelloDone
            flight += await reader.read(65536)
        writer.close()
        await writer.wait_closed()
        return flight


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    authority = issue(tmp_path, "ca")
    issue(tmp_path, "server", authority)
    issue(tmp_path, "alice", issue(tmp_path, "old authority"))
    issue(tmp_path, "bob", issue(tmp_path, "new authority"))
    shutil.copy(tmp_path / "old authority.crt", tmp_path / "clients.crt")
    files = TlsFiles(tmp_path / "server.crt", tmp_path / "server.key", tmp_path / "clients.crt")
    server = HttpServer(whose, files.context)
    _, port = await server.start("127.0.0.1", 0)
    yield Served(tmp_path, files, port)
    await server.close(1.0)


@pytest.mark.parametrize("tls_1_2", [True, False])
async def test_client_certificates_are_asked_for_and_not_required(served: Served, tls_1_2: bool) -> None:
    assert (await served.ask(tls_1_2=tls_1_2)).endswith(b"none")
    assert (await served.ask("alice", tls_1_2=tls_1_2)).endswith(b"certificate")


@pytest.mark.parametrize("tls_1_2", [True, False])
async def test_a_replaced_client_authority_is_forgotten_on_reload(served: Served, tls_1_2: bool) -> None:
    shutil.copy(served.folder / "new authority.crt", served.folder / "clients.crt")
    served.files.reload()
    assert await served.ask("alice", tls_1_2=tls_1_2) == b""
    assert (await served.ask("bob", tls_1_2=tls_1_2)).endswith(b"certificate")


@pytest.mark.parametrize("tls_1_2", [True, False])
async def test_who_is_refused_is_told_why(served: Served, tls_1_2: bool) -> None:
    assert await served.ask("bob", tls_1_2=tls_1_2) == b""
    assert "unknown ca" in served.refusal


async def test_files_that_cannot_be_read_change_nothing(served: Served) -> None:
    (served.folder / "clients.crt").write_bytes(b"damaged")
    with pytest.raises(ssl.SSLError):
        served.files.reload()
    assert (await served.ask("alice")).endswith(b"certificate")


async def test_the_handshake_names_the_client_authorities_that_are_current(served: Served) -> None:
    flight = await served.first_flight()
    assert b"old authority" in flight
    assert b"new authority" not in flight
    shutil.copy(served.folder / "new authority.crt", served.folder / "clients.crt")
    served.files.reload()
    flight = await served.first_flight()
    assert b"new authority" in flight
    assert b"old authority" not in flight


async def test_a_handshake_that_is_not_finished_in_time_is_cut_off(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    server = HttpServer(whose, served.files.context, limits=Limits(handshake_seconds=0.2))
    address = await server.start("127.0.0.1", 0)
    with caplog.at_level(logging.INFO):
        reader, writer = await asyncio.open_connection(*address)
        try:
            assert await reader.read() == b""
        except ConnectionError:
            pass
        writer.close()
    assert not caplog.records
    await server.close(1.0)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _by_uvloop(main: Callable[[], Coroutine[None, None, None]]) -> None:
    uvloop.run(main())


def _by_asyncio(main: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(main())


@pytest.mark.parametrize("run", [_by_uvloop, _by_asyncio])
def test_strangers_who_connect_and_say_nothing_are_bounded(
    tmp_path: Path, run: Callable[[Callable[[], Coroutine[None, None, None]]], None]
) -> None:
    issue(tmp_path, "server", issue(tmp_path, "ca"))
    files = TlsFiles(tmp_path / "server.crt", tmp_path / "server.key", None)

    async def flood() -> None:
        server = HttpServer(whose, files.context, limits=Limits(handshakes=20))
        served = Served(tmp_path, files, (await server.start("127.0.0.1", 0))[1])
        before = _descriptors()
        silent = []
        for _ in range(200):
            stranger = socket.socket()
            stranger.setblocking(False)
            stranger.connect_ex(("127.0.0.1", served.port))
            silent.append(stranger)
        assert (await served.ask()).endswith(b"none")  # accepted behind all of them
        assert server.handshakes is not None
        assert 0 < len(server.handshakes) <= 20
        assert _descriptors() - before - len(silent) <= 20 + 32 + 2
        await server.close(1.0)
        assert not len(server.handshakes)
        for stranger in silent:
            stranger.close()

    run(flood)


def test_a_server_opens_as_many_descriptors_as_it_may() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        raise_descriptor_limit()
        found, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert found == hard or found >= 131_072
        limits = Limits()
        assert limits.connections + limits.handshakes < found
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_broken_handshake_is_nothing_to_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for text in (b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\x02\x00\x01", b"\x80\x80\x80"):
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(text)
            writer.write_eof()
            writer.close()
        assert (await served.ask()).endswith(b"none")
    assert not caplog.records


async def test_only_http_1_1_is_agreed_on(served: Served) -> None:
    context = served.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection("127.0.0.1", served.port, ssl=context, server_hostname="localhost")
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    writer.close()


async def test_plain_http_on_the_tls_port_is_told_so_in_plain_text(served: Served) -> None:
    for request in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /api HTTP/1.1\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request)
        head, _, body = (await reader.readuntil(b"server.\n")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 400 Bad Request")
        assert body == b"Client sent an HTTP request to an HTTPS server.\n"
        writer.close()
        await writer.wait_closed()
