"""A cluster with one simulated node in a process of its own: ``python serve_cluster.py DIRECTORY``.

Writes the path of its kubeconfig to the standard output once it answers, its log to the standard error, and ends when
its standard input does.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from sampan.node.simulated import Behaviour
from sampan.testing.cluster import Cluster

#: images whose containers end by themselves; those of all others run until they are stopped
ENDING = {"example.com/succeeds:1": Behaviour(run_seconds=0.05), "example.com/fails:1": Behaviour(0.05, 3)}


async def serve(directory: Path) -> None:
    async with Cluster(directory) as cluster:
        for runtime in cluster.runtimes.values():
            runtime.behaviours.update(ENDING)
        sys.stdout.write(f"{cluster.kubeconfig()}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(serve(Path(sys.argv[1])))
