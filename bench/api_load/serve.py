"""Sampan's API server as it runs in an instance, in a process of its own: ``python serve.py FOLDER [store]
[profile] [admission plug-ins to disable]``.

Says where it listens on its first line, then does what the lines of its input say. Imports what an instance's server
process imports, controllers included, so that start and memory are an instance's; it runs the API server only.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

import sampan.cluster.control_plane  # noqa: F401
from sampan.api.resources import CONFIG_MAPS
from sampan.client.client import Client
from sampan.cluster import footprint
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.store.etcd.settings import parse_endpoints


async def serve(folder: Path, store: str, disabled: str) -> None:
    config = ServerConfig(
        bind_address="127.0.0.1",
        port=0,
        store="memory" if store == "memory" else "etcd" if store.startswith("etcd://") else "sqlite",
        etcd_endpoints=parse_endpoints(store) if store.startswith("etcd://") else (),
        data_dir=folder / "state",
        tls_cert=folder / "server.crt",
        tls_key=folder / "server.key",
        client_ca=folder / "ca.crt",
        service_account_key=folder / "sa.key",
        disable_admission_plugins=tuple(filter(None, disabled.split(","))),
    )
    async with Server(config) as server:
        say(list(server.address))
        footprint.settle_later()
        while (command := (await asyncio.to_thread(sys.stdin.readline)).strip()) not in ("", "stop"):
            if command == "in-process":
                say(await measure_in_process(server))


def say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def measure_in_process(server: Server) -> list[tuple[str, int, float, float]]:
    """What a controller pays: creates and reads without a socket. (name, how many, seconds, CPU seconds)"""
    client = Client(server.local_transport())
    results = []

    async def creates(first: int) -> None:
        for number in range(first, first + 250):
            body = {"metadata": {"name": f"local-{number}", "namespace": "default"}, "data": {"key": "value"}}
            await client.create(CONFIG_MAPS, body)

    async def gets(_first: int) -> None:
        for _ in range(250):
            await client.get(CONFIG_MAPS, "local-0", "default")

    for name, work in (("create in process", creates), ("GET in process", gets)):
        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work(first) for first in range(0, 8000, 250)))
        results.append((name, 8000, time.perf_counter() - started, time.process_time() - cpu))
    return results


def main(folder: str, store: str = "sqlite", profile: str = "", disabled: str = "") -> None:
    footprint.start_quickly()
    run: Callable[[], None] = lambda: uvloop.run(serve(Path(folder), store, disabled))  # noqa: E731
    if not profile:
        run()
        return
    profiler = cProfile.Profile()
    profiler.runcall(run)
    profiler.dump_stats(profile)


if __name__ == "__main__":
    main(*sys.argv[1:])
