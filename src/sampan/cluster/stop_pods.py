"""Stops every container of an instance: the last act of ``sampan down``, after the node agent has ended.

Runs as a process of its own while containerd still runs, so that the supervisor need not speak CRI. The objects stay:
the next ``up`` finds the pods in the API and starts them anew, as after a reboot.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Iterable

from sampan.cluster.arguments import instance_or_exit
from sampan.cluster.instance import Instance
from sampan.node import runtime
from sampan.node.cri.client import CriRuntime

#: Between SIGTERM and SIGKILL.
GRACE_SECONDS = 5


async def stop_pods(instance: Instance) -> None:
    """Stops all containers at once, then removes all sandboxes. What cannot be stopped is named and left."""
    source = CriRuntime(str(instance.containerd_socket))
    try:
        containers = [item for item in await source.list_containers() if item.state == "running"]
        await _all(source.stop_container(item.id, GRACE_SECONDS) for item in containers)
        sandboxes = await source.list_sandboxes()
        await _all(source.stop_sandbox(item.id) for item in sandboxes)
    finally:
        await source.close()


async def _all(calls: Iterable[Awaitable[object]]) -> None:
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, runtime.RuntimeNotFound):
            continue
        if isinstance(outcome, BaseException):
            sys.stderr.write(f"stopping pods: {outcome}\n")


if __name__ == "__main__":
    asyncio.run(stop_pods(instance_or_exit("Stops the containers of a Sampan instance")))
