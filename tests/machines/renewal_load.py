"""A program that loads a cluster while its certificates are renewed, and prints what came of it as JSON.

Run in the network of a machine that ``sampan init`` made a control plane: ``renewal_load.py INSTANCE RENEWALS``.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import orjson

from sampan.api.errors import ApiError
from sampan.api.resources import CONFIG_MAPS
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import KubeConfig
from sampan.cluster import instance as instances
from sampan.cluster import pki
from sampan.cluster.apart import following
from sampan.cluster.instance import Instance
from sampan.cluster.supervisor import read_status

#: Between two requests of each client.
PAUSE_SECONDS = 0.02


def connect(config: Path) -> HttpTransport:
    return HttpTransport(KubeConfig.load(config).connection())


async def load(instance: Instance, renewals: int) -> dict[str, Any]:
    config = Path(instance.node.kubernetes_dir) / "admin.conf"
    serials: dict[str, set[bytes]] = {leaf.stem: set() for leaf in pki.leaves(instance)}
    answered, failed, done = 0, [], asyncio.Event()
    kept = connect(config)
    before = read_status(instance)

    async def ask(path: str, *, anew: bool = False) -> None:
        nonlocal answered
        while not done.is_set():
            transport = connect(config) if anew else kept
            try:
                await Client(transport).raw("GET", path)
                answered += 1
            except ApiError as error:
                failed.append(f"{path}: {error}")
            finally:
                if anew:
                    await transport.close()
            await asyncio.sleep(PAUSE_SECONDS)

    async def write() -> None:
        nonlocal answered
        meta = {"name": "load", "namespace": "default"}
        await Client(kept).create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
        while not done.is_set():
            try:
                await Client(kept).patch(CONFIG_MAPS, "load", {"data": {"n": str(answered)}}, "default")
                answered += 1
            except ApiError as error:
                failed.append(f"write: {error}")
            await asyncio.sleep(PAUSE_SECONDS)

    async def count() -> None:
        while min(map(len, serials.values())) <= renewals:
            for stem, seen in serials.items():
                seen.add((instance.pki / f"{stem}.crt").read_bytes())
            await asyncio.sleep(0.3)
        done.set()

    follow = asyncio.create_task(following.follow(config, kept))
    node = f"/api/v1/nodes/{instance.node.name}/proxy"
    async with asyncio.TaskGroup() as group:
        for path in ("/api/v1/namespaces/default", f"{node}/healthz", f"{node}/stats/summary"):
            group.create_task(ask(path))
        group.create_task(ask("/readyz", anew=True))
        group.create_task(write())
        group.create_task(count())
    follow.cancel()
    await kept.close()
    after = read_status(instance)
    return {
        "answered": answered,
        "failed": failed[:10],
        "renewals": {stem: len(seen) - 1 for stem, seen in serials.items()},
        "same processes": {name: each["pid"] for name, each in before.items()}
        == {name: each["pid"] for name, each in after.items()},
    }


if __name__ == "__main__":
    told = asyncio.run(load(instances.load(sys.argv[1]), int(sys.argv[2])))
    sys.stdout.buffer.write(orjson.dumps(told))
