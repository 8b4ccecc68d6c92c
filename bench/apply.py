"""Measures server-side apply beside update: Deployments that two managers write in turn, over HTTP.

    python bench/apply.py                 1,000 Deployments, 8 connections
    python bench/apply.py --count 200     fewer

The server runs as ``bench/api.py`` runs it: TLS, RBAC, SQLite, every write durable. Two managers apply fields of their
own to each object: the first makes it, the second adds a label and another container; then each applies again what it
applied (nothing changes), and again something else. Beside them the same changes by PUT. CPU is the server's process.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
from api_load import measure
from api_load.sampan_server import SampanServer

URL = "/apis/apps/v1/namespaces/default/deployments"
APPLY = "application/apply-patch+yaml"
Ask = tuple[str, str, Any, str]


def first(name: str, image: str) -> dict[str, Any]:
    """The configuration of the manager that makes the object."""
    ports = [{"containerPort": 80}]
    resources = {"requests": {"cpu": "100m", "memory": "64Mi"}}
    env = [{"name": f"E{number}", "value": "v"} for number in range(5)]
    container = {"name": "web", "image": image, "ports": ports, "env": env, "resources": resources}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def second(name: str, image: str) -> dict[str, Any]:
    """The configuration of one that adds to it."""
    template = {"spec": {"containers": [{"name": "side", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"team": "x"}},
        "spec": {"template": template},
    }


async def run(session: aiohttp.ClientSession, pid: int, asks: Iterable[Ask], connections: int) -> tuple[float, float]:
    """(requests a second, microseconds of the server's processor a request)."""
    todo, done = iter(asks), 0
    began, cpu = time.perf_counter(), measure.cpu_seconds([pid])

    async def work() -> None:
        nonlocal done
        for method, path, body, kind in todo:
            headers = {"Content-Type": kind}
            async with session.request(method, path, data=json.dumps(body), headers=headers) as response:
                answer = await response.read()
                if response.status >= 300:
                    raise RuntimeError(f"{method} {path} answered {response.status}: {answer[:300]!r}")
            done += 1

    await asyncio.gather(*(work() for _ in range(connections)))
    seconds = time.perf_counter() - began
    return done / seconds, (measure.cpu_seconds([pid]) - cpu) / done * 1e6


def applies(names: list[str], manager: str, make: Callable[[str, str], Any], image: str) -> Iterable[Ask]:
    return (("PATCH", f"{URL}/{name}?fieldManager={manager}", make(name, image), APPLY) for name in names)


async def updates(session: aiohttp.ClientSession, names: list[str], image: str) -> list[Ask]:
    asks: list[Ask] = []
    async with session.get(f"{URL}?limit=100000") as response:
        found = {obj["metadata"]["name"]: obj for obj in (await response.json())["items"]}
    for name in names:
        obj = copy.deepcopy(found[name])
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = image
        asks.append(("PUT", f"{URL}/{name}?fieldManager=updater", obj, "application/json"))
    return asks


async def measured(server: SampanServer, count: int, connections: int) -> list[tuple[str, float, float]]:
    target = server._as("admin")
    connector = aiohttp.TCPConnector(ssl=target.context())
    rows: list[tuple[str, float, float]] = []
    async with aiohttp.ClientSession(target.url, connector=connector) as session:
        names, plain = [f"a{number}" for number in range(count)], [f"u{number}" for number in range(count)]

        async def row(what: str, asks: Iterable[Ask]) -> None:
            rows.append((what, *await run(session, server.pid, asks, connections)))

        await row("create by POST", (("POST", URL, first(name, "i:1"), "application/json") for name in plain))
        await row("create by apply", applies(names, "one", first, "i:1"))
        await row("a second manager applies", applies(names, "two", second, "s:1"))
        await row(
            "both apply the same again", [*applies(names, "one", first, "i:1"), *applies(names, "two", second, "s:1")]
        )
        await row("both apply a change", [*applies(names, "one", first, "i:2"), *applies(names, "two", second, "s:2")])
        await row("PUT of a change, one manager before", await updates(session, plain, "i:2"))
        await row("PUT of a change, two appliers before", await updates(session, names, "i:3"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="objects (1000)")
    parser.add_argument("--connections", type=int, default=8, help="at once (8)")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the run; {options.connections} connections")
    with tempfile.TemporaryDirectory() as folder, SampanServer(Path(folder)) as server:
        for what, rate, micros in asyncio.run(measured(server, options.count, options.connections)):
            print(f"{what:40}{rate:10,.0f}/s{micros:10,.0f} us of CPU each")


if __name__ == "__main__":
    main()
