"""The network parts of the node process: service proxy and DNS, on one set of informers."""

from __future__ import annotations

from sampan.api.clock import Clock
from sampan.client import tasks
from sampan.client.client import Client
from sampan.cluster.instance import Instance


async def run_network(client: Client, instance: Instance, clock: Clock) -> None:
    """Until cancelled."""
    await tasks.forever()
