"""What a test waits for its cluster: a fresh one, a copy of a prepared one by fork, and a copy in virtual time.

    python bench/forks.py [--copies 30]

Each copy has one node and what ten Deployments made. ``copy``: from the wish until a kubeconfig leads to its API
server, which listens; ``first answer``: until a client of the standard library has the list of nodes by TLS. On a busy
machine the best of many says more than their median.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from sampan.api.resources import DEPLOYMENTS
from sampan.client.kubeconfig import KubeConfig
from sampan.testing.cluster import Cluster
from sampan.testing.prepared import Prepared
from sampan.testing.virtual_cluster import VirtualCluster


def deployment(number: int) -> dict[str, Any]:
    labels = {"app": f"web-{number}"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "any"}]}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": f"web-{number}", "namespace": "default"},
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": template},
    }  # fmt: skip


def line(what: str, seconds: list[float], more: str = "") -> None:
    best, middle = min(seconds) * 1000, statistics.median(seconds) * 1000
    print(f"{what:<44}{middle:9.1f} ms, at best {best:.1f} ms{more}", flush=True)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


async def fresh(directory: Path) -> None:
    async with Cluster(directory) as cluster:
        cluster.kubeconfig()


def nodes_of(kubeconfig: Path) -> None:
    found = KubeConfig.load(kubeconfig).connection()
    context = ssl.create_default_context(cadata=(found.ca_pem or b"").decode())
    with tempfile.NamedTemporaryFile() as pair:
        pair.write((found.client_certificate_pem or b"") + (found.client_key_pem or b""))
        pair.flush()
        context.load_cert_chain(pair.name)
    opened = http.client.HTTPSConnection(found.server.removeprefix("https://"), context=context)
    opened.request("GET", "/api/v1/nodes")
    assert opened.getresponse().status == 200
    opened.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=30)
    copies = parser.parse_args().copies
    print(f"clusters for tests, {date.today().isoformat()}, {copies} of each, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as home:
        turns = iter(range(1000))
        line("a fresh cluster", [timed(lambda: asyncio.run(fresh(Path(home) / f"f{next(turns)}"))) for _ in range(3)])
        manifests = [deployment(number) for number in range(10)]
        with Prepared(Path(home) / "prepared", manifests=manifests) as prepared:
            made, answered, used = [], [], []
            for turn in range(copies):
                path = Path(home) / f"k{turn}"
                began = time.perf_counter()
                with prepared.copy(path):
                    made.append(time.perf_counter() - began)
                    used.append(prepared.processor_seconds)
                    nodes_of(path)
                    answered.append(time.perf_counter() - began)
        line("a copy by fork, its kubeconfig", made)
        line("... of which it used the processor", used)
        line("... and its first answer", answered)
        with VirtualCluster() as cluster:
            for number in range(10):
                cluster.create(DEPLOYMENTS, deployment(number))
            cluster.advance(60)
            line(
                "a copy in virtual time",
                [timed(lambda: cluster.fork(lambda copy: copy.seconds)) for _ in range(copies)],
            )


if __name__ == "__main__":
    main()
