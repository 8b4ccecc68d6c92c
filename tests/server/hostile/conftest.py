"""A real API server on uvloop, raw sockets against it, and what must hold after each attack: others are answered, and
nothing of the attack is left.

``victim`` speaks plain HTTP, ``tls_victim`` TLS. New attacks go into files beside this one: they need only ``Victim``.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from sampan.api import schema
from sampan.api.registry import registry
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.http import HttpServer
from sampan.server.http.connection import HttpConnection

from ..http.pki import issue

# Loaded here, not by whichever test comes first: its two seconds are for itself.
registry()
schema.load()

#: what others may wait at most, on a machine that is otherwise idle
ANSWERED_SECONDS = 0.1
#: what they may wait on any machine: longer is a lock or a sleep
HUNG_SECONDS = 5.0


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """As the server is run."""
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Victim:
    """``token``: none; RBAC is on, so that whoever asks is a stranger, and may see /healthz and /version only."""

    address: tuple[str, int]
    tls: ssl.SSLContext | None
    server: Server
    transport: HttpServer
    #: seconds that a probe took before anything happened: the measure of this machine
    usual_seconds: float = 0.0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address, ssl=self.tls, limit=8 * 1024 * 1024)

    async def ask(self, text: bytes) -> bytes:
        """Sends it on a connection of its own and reads until the server ends it."""
        reader, writer = await self.connect()
        writer.write(text)
        try:
            return await reader.read()
        finally:
            await closed(writer)

    async def probe(self) -> float:
        """Seconds that somebody else, on a new connection, waits for an answer."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await self.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        return loop.time() - began

    async def assert_answers_others(self) -> None:
        """What counts is the processor time for which they were kept waiting: the machine may be busy beside us."""
        used = time.process_time()
        seconds = await self.probe()
        used = time.process_time() - used
        bound = ANSWERED_SECONDS + 10 * self.usual_seconds
        assert min(seconds, used) < bound and seconds < HUNG_SECONDS, (
            f"others waited {seconds:.3f} s, {used:.3f} at work"
        )

    def connections(self) -> int:
        return len(self.transport.connections)


def connections(of: HttpServer) -> list[HttpConnection]:
    """Every connection object of a server that is alive, whoever holds it. What other tests hold on to (a failure, or
    the record of an error, has a traceback) is theirs."""
    gc.collect()
    return [found for found in gc.get_objects() if type(found) is HttpConnection and found.server is of]


async def until(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    """Gives the event loop its turns until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.005)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except (ConnectionError, ssl.SSLError):
        pass  # the server may have cut it off


@asynccontextmanager
async def running(config: ServerConfig, tls: ssl.SSLContext | None) -> AsyncIterator[Victim]:
    async with Server(config) as server:
        transport = server._http
        assert transport is not None
        victim = Victim(server.address, tls, server, transport)
        victim.usual_seconds = sorted([await victim.probe() for _ in range(3)])[1]
        tasks = len(asyncio.all_tasks())
        yield victim
        await victim.assert_answers_others()
        await until(lambda: victim.connections() == 0)
        assert not connections(transport)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)


@pytest.fixture
async def victim() -> AsyncIterator[Victim]:
    async with running(_config(), None) as made:
        yield made


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pki")
    issue(folder, "server", issue(folder, "ca"))
    return folder / "server.crt", folder / "server.key"


@pytest.fixture
async def tls_victim(certificate: tuple[Path, Path]) -> AsyncIterator[Victim]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with running(_config(*certificate), context) as made:
        yield made


@pytest.fixture(params=["plain", "tls"])
async def either(request: pytest.FixtureRequest, certificate: tuple[Path, Path]) -> AsyncIterator[Victim]:
    context = None
    files: tuple[Path, ...] = ()
    if request.param == "tls":
        files = certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    async with running(_config(*files), context) as made:
        yield made


def _config(cert: Path | None = None, key: Path | None = None) -> ServerConfig:
    return ServerConfig(
        bind_address="127.0.0.1", port=0, openapi=False, tls_cert=cert, tls_key=key,
        shutdown_timeout_seconds=1.0,
    )  # fmt: skip


@pytest.fixture
def descriptors() -> Iterator[int]:
    """As many as this process may open: the soft limit is raised to the hard one for the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
