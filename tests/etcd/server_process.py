"""One API server as a process of its own, on an etcd: prints its URL when it answers, and leads when it may.

``python server_process.py NUMBER PORT ENDPOINT,... DIRECTORY`` (port 0: any). Speaks HTTP without authorization. The
one that leads writes its name into the ConfigMap ``default/acts`` all the time, as a controller of that process would.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from pathlib import Path

from sampan.api.clock import SystemClock, SystemRandom
from sampan.api.errors import ApiError, NotFound
from sampan.api.resources import CONFIG_MAPS
from sampan.client.client import Client
from sampan.client.leaderelection import Term, fenced
from sampan.cluster.instance import Instance, NodeSettings
from sampan.cluster.leading import lead_here
from sampan.cluster.settings import ClusterSettings
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.main import serve

ACT_SECONDS = 0.1


async def act(client: Client, name: str) -> None:
    """For ever. A leader that acts when it does not lead shows in the object's history."""
    while True:
        try:
            try:
                found = await client.get(CONFIG_MAPS, "acts", "default")
                await client.update(CONFIG_MAPS, {**found, "data": {"by": name}})
            except NotFound:
                body = {"metadata": {"name": "acts", "namespace": "default"}, "data": {"by": name}}
                await client.create(CONFIG_MAPS, body)
        except ApiError as error:
            logging.warning("leader %s: %s", name, error.message)
        await asyncio.sleep(ACT_SECONDS)


def main() -> None:
    name, port, endpoints, directory = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    instance = Instance(ClusterSettings("one"), Path(directory), Path(directory) / name, NodeSettings(f"host{name}"))

    async def started(server: Server) -> None:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        client = Client(server.local_transport())

        async def lead(term: Term) -> None:
            await act(fenced(client, term), f"host{name}_one")

        await lead_here(
            client, "test-leader", instance, SystemClock(), SystemRandom(), lead, shared=server.shares_store
        )

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
    asyncio.run(serve(config, started))


if __name__ == "__main__":
    main()
