"""Measures CustomResourceDefinitions: how soon they are established and published, and what each costs in memory.

    python bench/crds.py                three large sets by kubectl and by HTTP, then 500 definitions
    python bench/crds.py --count 100    fewer of the latter

The server runs as ``bench/api.py`` runs it: TLS, RBAC, SQLite. The sets are those of ``tests/customresources/sets.py``
(1.8 MB of JSON, 25 definitions); the 500 are these again and again under other groups. Memory is the resident memory of
the server's process, before and after, divided by the number of definitions: caches, kinds and allocator included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parent.parent))

from api_load import measure
from api_load.sampan_server import SampanServer
from tests.customresources.sets import SETS

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "bench.example.com"
#: by when a server that was busy has given back what it needed for a moment (``store.footprint`` looks every 10 s)
GIVEN_BACK_SECONDS = 15
PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


class Session:
    """Asks as the administrator, over connections that are kept."""

    def __init__(self, server: SampanServer) -> None:
        self._target = server._as("admin")
        self._session = aiohttp.ClientSession(
            self._target.url, connector=aiohttp.TCPConnector(ssl=self._target.context()), read_bufsize=1 << 20
        )

    async def close(self) -> None:
        await self._session.close()

    async def ask(self, method: str, path: str, body: Any = None, accept: str = "application/json") -> bytes:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": accept, "Content-Type": "application/json"}
        async with self._session.request(method, path, data=data, headers=headers) as response:
            content = await response.read()
            if response.status >= 300:
                raise RuntimeError(f"{method} {path} answered {response.status}: {content[:300]!r}")
            return content

    async def established(self, names: set[str], moments: dict[str, float]) -> None:
        """Notes when each is said to be established; returns when all are."""
        waiting = set(names)
        async with self._session.get(f"{CRDS}?watch=1", timeout=aiohttp.ClientTimeout(total=None)) as response:
            async for line in response.content:
                event = json.loads(line)
                obj = event["object"]
                conditions = (obj.get("status") or {}).get("conditions") or ()
                if any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
                    moments.setdefault(obj["metadata"]["name"], time.perf_counter())
                    waiting.discard(obj["metadata"]["name"])
                if not waiting:
                    return


async def create(session: Session, definitions: Sequence[Any], connections: int) -> tuple[float, float]:
    """(seconds until all are established, the longest that one waited for it after its creation was answered)."""
    names = {definition["metadata"]["name"] for definition in definitions}
    moments: dict[str, float] = {}
    answered: dict[str, float] = {}
    watching = asyncio.create_task(session.established(names, moments))
    await asyncio.sleep(0.2)
    began = time.perf_counter()
    todo = iter(definitions)

    async def work() -> None:
        for definition in todo:
            await session.ask("POST", CRDS, definition)
            answered[definition["metadata"]["name"]] = time.perf_counter()

    await asyncio.gather(*(work() for _ in range(connections)))
    await watching
    return max(moments.values()) - began, max(moments[name] - answered[name] for name in names)


async def published(session: Session, group_version: str) -> tuple[float, int]:
    """(seconds until the document of a group version is there and read, its length)."""
    began = time.perf_counter()
    while True:
        index = json.loads(await session.ask("GET", "/openapi/v3"))["paths"]
        if group_version in index:
            body = await session.ask("GET", index[group_version]["serverRelativeURL"])
            return time.perf_counter() - began, len(body)


async def timed(session: Session, path: str, accept: str = "application/json") -> tuple[float, int]:
    began = time.perf_counter()
    body = await session.ask("GET", path, accept=accept)
    return time.perf_counter() - began, len(body)


def many(count: int) -> Iterator[Any]:
    """The definitions of the sets, again and again, in groups of their own."""

    def forever() -> Iterator[Any]:
        turn = 0
        while True:
            for name, make in SETS.items():
                for definition in make():
                    spec = definition["spec"]
                    spec["group"] = f"{name}-{turn}.{GROUP}"
                    definition["metadata"] = {"name": f"{spec['names']['plural']}.{spec['group']}"}
                    yield definition
            turn += 1

    return islice(forever(), count)


def kubectl(server: SampanServer, folder: Path, definitions: Sequence[Any], *words: str) -> float:
    """Seconds of one real kubectl that applies all of them."""
    target = server._as("admin")
    certificate, key = target.certificate or ("", "")
    file = folder / "definitions.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions}))
    command = [
        "kubectl", "--server", target.url, "--certificate-authority", str(server.folder / "ca.crt"),
        "--client-certificate", certificate, "--client-key", key, "--cache-dir", str(folder / "cache"),
        *words, "-f", str(file),
    ]  # fmt: skip
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def at_rest(server: SampanServer) -> float:
    """MiB in resident memory, once what was needed for a moment is given back."""
    time.sleep(GIVEN_BACK_SECONDS)
    measure.wait_until_idle([server.pid])
    return measure.resident_mib([server.pid])


def say(what: str, figure: str) -> None:
    print(f"{what:<72}{figure:>24}", flush=True)


async def run(server: SampanServer, folder: Path, count: int) -> None:
    session = Session(server)
    try:
        await timed(session, "/openapi/v3")  # the built-in documents are there
        everything = [definition for make in SETS.values() for definition in make()]
        bytes_ = sum(len(json.dumps(one)) for one in everything)
        say(f"three sets: {len(everything)} definitions", f"{bytes_ / 1e6:.1f} MB")
        cpu = measure.cpu_seconds([server.pid])
        seconds, longest = await create(session, everything, 1)
        say("... created one after another over HTTP, to the last Established", f"{seconds:.2f} s")
        say("... longest from the answer to Established", f"{longest * 1000:.0f} ms")
        say("... processor time of the server", f"{measure.cpu_seconds([server.pid]) - cpu:.2f} s")
        await forget(session, everything)
        for words in (("create",), ("apply", "--server-side")):
            say(f"... kubectl {' '.join(words)}", f"{kubectl(server, folder, everything, *words):.2f} s")
            await forget(session, everything)
        before = at_rest(server)
        definitions = list(many(count))
        bytes_ = sum(len(json.dumps(one)) for one in definitions)
        seconds, longest = await create(session, definitions, 8)
        say(f"{count} definitions ({bytes_ / 1e6:.0f} MB), 8 connections, to the last Established", f"{seconds:.1f} s")
        say("... longest from the answer to Established", f"{longest * 1000:.0f} ms")
        grown = (at_rest(server) - before) * 1024 / count
        say("... memory a definition", f"{grown:.0f} KB")
        one = next(many(1))
        one["spec"]["group"] = GROUP
        one["metadata"] = {"name": f"{one['spec']['names']['plural']}.{GROUP}"}
        await create(session, [one], 1)
        version = one["spec"]["versions"][0]["name"]
        seconds, length = await published(session, f"apis/{GROUP}/{version}")
        say(f"... one more: its OpenAPI v3 document read ({length / 1000:.0f} KB)", f"{seconds * 1000:.0f} ms")
        for accept, name in (("application/json", "JSON"), (PROTOBUF, "protobuf")):
            for when in ("first time", "again"):
                seconds, length = await timed(session, "/openapi/v2", accept)
                say(f"... OpenAPI v2 as {name} ({length / 1e6:.0f} MB), {when}", f"{seconds:.2f} s")
        seconds, length = await timed(
            session, "/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        )
        say(f"... aggregated discovery ({length / 1000:.0f} KB)", f"{seconds * 1000:.0f} ms")
        grown = (at_rest(server) - before) * 1024 / count
        say("... memory a definition, after all that was asked", f"{grown:.0f} KB")
    finally:
        await session.close()


async def forget(session: Session, definitions: Sequence[Any]) -> None:
    for definition in definitions:
        await session.ask("DELETE", f"{CRDS}/{definition['metadata']['name']}")
    while json.loads(await session.ask("GET", CRDS))["items"]:  # noqa: ASYNC110  # the server is another process
        await asyncio.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the run")
    with tempfile.TemporaryDirectory(prefix="sampan-bench-crds-") as name:
        folder = Path(name)
        with SampanServer(folder / "server") as server:
            asyncio.run(run(server, folder, options.count))
        with SampanServer(folder / "server") as server:
            say(f"server with {options.count} definitions, from exec to /readyz", f"{server.start_seconds:.2f} s")
            measure.wait_until_idle([server.pid])
            say("... resident memory", f"{measure.resident_mib([server.pid]):.0f} MiB")


if __name__ == "__main__":
    main()
