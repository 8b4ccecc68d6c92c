"""Runs the adapter: reads the rules, asks the cluster for its front proxy, serves, and registers itself."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sampan.api.clock import Clock, SystemClock
from sampan.api.errors import ApiError
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import Connection
from sampan.keeping import Keeper
from sampan.metricsadapter import certificate, registration, rules
from sampan.metricsadapter.api import MetricsApi
from sampan.metricsadapter.prometheus import Prometheus
from sampan.metricsadapter.rules import Config, ConfigError
from sampan.metricsadapter.server import MetricsServer, tls_context
from sampan.records import dataclass

log = logging.getLogger(__name__)

MOST_CONFIG_BYTES: Final = 1 << 20
_RETRY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """``address`` "": found from the machine. ``register`` False: somebody else makes the APIServices."""

    prometheus: str
    rules: Config
    address: str = ""
    port: int = 0
    register: bool = True


def read_config(path: Path) -> Config:
    """Raises ConfigError, OSError."""
    import yaml  # late, as everywhere

    with path.open("rb") as file:
        data = file.read(MOST_CONFIG_BYTES + 1)
    if len(data) > MOST_CONFIG_BYTES:
        raise ConfigError(f"the file: it has more than {MOST_CONFIG_BYTES} bytes")
    try:
        document: Any = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError("the file: it is no YAML") from None
    return rules.read(document)


async def run(config: AdapterConfig, connection: Connection, *, clock: Clock | None = None) -> None:
    """Until SIGTERM or SIGINT. Raises ApiError, OSError, LookupError when it cannot be begun."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    client = Client(HttpTransport(connection, user_agent=registration.NAME))
    try:
        await serve(config, client, stop, asyncio.Event(), clock or SystemClock(), toward=connection.server)
    finally:
        await client.close()


async def serve(
    config: AdapterConfig,
    client: Client,
    stop: asyncio.Event,
    started: asyncio.Event,
    clock: Clock,
    *,
    toward: str = "",
) -> None:
    """Until ``stop``; ``started`` is set when it serves and is registered. ``toward``: the API server's URL."""
    pair = certificate.make(registration.HOST, clock)
    front = await registration.front_proxy(client)
    prometheus = Prometheus(config.prometheus)
    api = MetricsApi(config.rules, prometheus, client, clock)
    server = MetricsServer(api, tls_context(pair, front), front.names, "0.0.0.0", config.port)
    listening = asyncio.Event()
    try:
        async with Keeper() as keeper:
            keeper.keep("metrics", api.run)
            keeper.keep("server", lambda: server.run(listening))
            await _either(listening.wait(), stop)
            if config.register and not stop.is_set():
                address = config.address or own_address(toward)
                await _either(_registered(client, address, server.port, pair.certificate), stop)
                log.info("custom and external metrics are served at %s:%s", address, server.port)
            started.set()
            await stop.wait()
        if config.register:
            try:
                async with asyncio.timeout(_RETRY_SECONDS):
                    await registration.unregister(client, pair.certificate)
            except (ApiError, TimeoutError) as error:
                log.warning("the APIServices stay, though nobody answers for them any more: %s", error)
    finally:
        await prometheus.close()


async def _registered(client: Client, address: str, port: int, pem: bytes) -> None:
    while True:
        try:
            await registration.register(client, address, port, pem)
            return
        except ApiError as error:
            log.warning("the adapter is not registered yet: %s", error.message)
            await asyncio.sleep(_RETRY_SECONDS)


async def _either(work: Any, stop: asyncio.Event) -> None:
    """The work, or the end. Raises what the work raises."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if tasks[0] in done:
        tasks[0].result()


def own_address(url: str) -> str:
    """The address of this machine that the API server can reach: the one that faces it or, where it is on this very
    machine, the one that faces everybody else. Nothing is sent."""
    host = urlsplit(url).hostname or ""
    for target in (host, "192.0.2.1"):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                found = str(probe.getsockname()[0])
        except OSError:
            continue
        if not found.startswith("127.") and found != "0.0.0.0":
            return found
    raise OSError(f"no address of this machine faces {host or 'the API server'}: name one with --address")
