"""A server's machine goes dark without a word: the kernel ends its connections in seconds, and clients go elsewhere."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sampan.api.errors import ServiceUnavailable
from sampan.api.resources import PODS
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import Connection
from sampan.client.servers import Servers

log = logging.getLogger(__name__)

#: of this process's own, so that two runs can go on at once
NETWORK = f"{('198.51.100', '203.0.113')[os.getpid() // 64 % 2]}.{{}}"
HERE, THERE = (NETWORK.format(4 * (os.getpid() % 64) + each) for each in (1, 2))
#: answers every read with the address it was asked at, and never says anything in a watch
PROGRAM = """
import asyncio, sys
from aiohttp import web
async def handler(request):
    if "watch" in request.query:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"\\n")
        await asyncio.Event().wait()
    return web.json_response({"metadata": {"name": sys.argv[1]}})
async def main():
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    await web.TCPSite(runner, sys.argv[1], 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=30)


class Machine:
    def __init__(self) -> None:
        self.name = f"dark{os.getpid()}"

    def command(self, *words: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name, *words)

    def go_dark(self) -> None:
        """Whatever reaches it is dropped."""
        run(
            *self.command(
                "nft", "add table ip dark; add chain ip dark in { type filter hook input priority 0; policy drop; }"
            )
        )

    def remove(self) -> None:
        subprocess.run(("ip", "netns", "delete", self.name), check=False, capture_output=True, timeout=30)
        subprocess.run(("ip", "link", "delete", self.name), check=False, capture_output=True, timeout=30)


@pytest.fixture
def machine() -> Iterator[Machine]:
    if os.geteuid() != 0 or shutil.which("nft", path=os.environ["PATH"] + ":/usr/sbin") is None:
        pytest.skip("network namespaces and nft need root")
    made = Machine()
    try:
        run("ip", "netns", "add", made.name)
        run("ip", "link", "add", made.name, "type", "veth", "peer", "name", "eth0", "netns", made.name)
        run("ip", "address", "add", f"{HERE}/30", "dev", made.name)
        run("ip", "link", "set", made.name, "up")
        run("ip", "-n", made.name, "address", "add", f"{THERE}/30", "dev", "eth0")
        run("ip", "-n", made.name, "link", "set", "eth0", "up")
        yield made
    finally:
        made.remove()


@pytest.fixture
def servers(machine: Machine) -> Iterator[tuple[str, str]]:
    """The URLs: of the machine that will go dark, and of one that stays."""
    processes, urls = [], []
    try:
        for address, prefix in ((THERE, machine.command()), (HERE, ())):
            command = (*prefix, sys.executable, "-c", PROGRAM, address)
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            processes.append(process)
            assert process.stdout is not None
            urls.append(f"http://{address}:{int(process.stdout.readline())}")
        yield urls[0], urls[1]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


async def test_requests_and_watches_of_a_machine_that_goes_dark_go_elsewhere_within_seconds(
    machine: Machine, servers: tuple[str, str]
) -> None:
    loop = asyncio.get_running_loop()
    transport = HttpTransport(Connection(servers[0]), servers=Servers(servers))
    client = Client(transport)
    try:
        assert (await client.get(PODS, "p", "ns"))["metadata"]["name"] == THERE
        async with client.watch(PODS) as events:
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            await asyncio.to_thread(machine.go_dark)
            began = loop.time()
            assert (await client.get(PODS, "p", "ns"))["metadata"]["name"] == HERE
            answered = loop.time() - began
            with pytest.raises(ServiceUnavailable):
                await waiting
            ended = loop.time() - began
        log.info("answered elsewhere after %.1f s; the watch ended after %.1f s", answered, ended)
        assert answered < 8 and ended < 15, "seconds, though the machine of the tests does other things"
        began = loop.time()
        await client.get(PODS, "p", "ns")
        assert loop.time() - began < 3, "from then on at once"
    finally:
        await transport.close()
