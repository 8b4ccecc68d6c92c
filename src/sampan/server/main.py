"""``sampan server``: runs one API server until it is told to stop. Called by ``sampan.cli`` and ``sampan.cluster``."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

import uvloop

from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.http import raise_descriptor_limit

log = logging.getLogger(__name__)


class StoreFailed(RuntimeError):
    """The disk failed under the store: whoever supervises the process decides what next."""


async def serve(config: ServerConfig, on_started: Callable[[Server], Awaitable[None]] | None = None) -> None:
    """Runs until SIGTERM or SIGINT; SIGHUP reads the certificates again. Raises StoreFailed.

    ``on_started`` runs once the server is up: components of the same process start there.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with Server(config) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, _reload, server)
        log.info("the API server listens on %s", server.url)
        try:
            async with asyncio.TaskGroup() as tasks:
                if on_started is not None:
                    tasks.create_task(_run(on_started, server), name="on started")
                waits = [tasks.create_task(_wait(event), name="wait to stop") for event in (stop, server.fatal)]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)
        if server.fatal.is_set():
            raise StoreFailed("the store can write no more")


async def _run(on_started: Callable[[Server], Awaitable[None]], server: Server) -> None:
    await on_started(server)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def _reload(server: Server) -> None:
    try:
        server.reload_certificates()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        log.error("the certificates were not read again, the old ones stay: %s", error)


def run_server(config: ServerConfig) -> None:
    """Blocks until the server has stopped."""
    raise_descriptor_limit()
    uvloop.run(serve(config))
