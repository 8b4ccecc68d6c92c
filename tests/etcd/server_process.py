"""One API server as a process of its own, on an etcd: prints its URL when it answers.

``python server_process.py NAME PORT ENDPOINT,...`` (0: any port). Speaks HTTP without authorization."""

from __future__ import annotations

import asyncio
import logging
import random
import sys

from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.main import serve


async def say(server: Server) -> None:
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()


def main() -> None:
    name, port, endpoints = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    config = ServerConfig(
        bind_address="127.0.0.1",
        port=int(port),
        advertise_address=f"192.0.2.{name}",
        store="etcd",
        etcd_endpoints=tuple(endpoints.split(",")),
        authorization_modes=("AlwaysAllow",),
        openapi=False,
        random=random.SystemRandom(),
        shutdown_timeout_seconds=1.0,
    )
    asyncio.run(serve(config, say))


if __name__ == "__main__":
    main()
