"""The balancer of docs/high-availability.md: clients with one address lose nothing but a moment when a server dies."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from etcd_members import free_ports, running
from ha_load import PAUSE_SECONDS, Load, ServerProcess, servers

from sampan.api.errors import ApiError

log = logging.getLogger(__name__)

pytestmark = pytest.mark.timeout(200)

#: two missed checks, on a machine that does other things
LONGEST_SECONDS = 10.0
DOCUMENT = Path(__file__).parents[2] / "docs" / "high-availability.md"


def configuration(port: int, urls: list[str]) -> str:
    """The document's, with the addresses of the test, whose servers speak no TLS."""
    (found,) = re.findall(r"```haproxy\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    for number, url in enumerate(urls):
        found = found.replace(f"192.0.2.{number + 1}:6443", url.removeprefix("http://"))
    assert "192.0.2" not in found
    return str(found.replace("bind :6443", f"bind 127.0.0.1:{port}").replace("check-ssl verify none ", ""))


@asynccontextmanager
async def balancer(directory: Path, started: list[ServerProcess]) -> AsyncIterator[str]:
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("haproxy is not installed (Debian's package haproxy; scripts/setup does it)")
    (port,) = free_ports(1)
    path = directory / "haproxy.cfg"
    path.write_text(configuration(port, [each.url for each in started]))
    with (directory / "haproxy.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(program, "-db", "-f", str(path), stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        assert process.returncode is None, (directory / "haproxy.log").read_text()
        process.kill()
        await process.wait()


async def test_behind_the_documented_balancer_a_killed_server_costs_a_moment(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as members,
        servers(3, members.endpoints, tmp_path) as started,
        balancer(tmp_path, started) as url,
    ):
        load = Load([url])
        await until_ready(load)
        async with load.running(writers=2, readers=1, watchers=2) as seen:
            await asyncio.sleep(1)
            await started[0].kill()
            await asyncio.sleep(4)
    log.info("the longest that a client waited: %.2f s", seen.gap_seconds)
    assert seen.faults == []
    for told in seen.told.values():
        assert [number for _, name, number in told if name == "c0"] == list(range(seen.acknowledged["c0"] + 1))
    assert seen.gap_seconds < LONGEST_SECONDS


async def until_ready(load: Load) -> None:
    client = load.client("client")
    async with asyncio.timeout(30):
        while True:
            try:
                await client.raw("GET", "/readyz")
                return
            except ApiError:
                await asyncio.sleep(PAUSE_SECONDS)
