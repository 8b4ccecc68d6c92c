"""The node API in front of a real containerd: logs, exec, port-forward, rotation. Needs root and containerd."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from sampan.api.clock import SystemClock
from sampan.node import runtime
from sampan.node.api.server import NodeApi, NodeApiConfig
from sampan.node.api.tls import server_context
from sampan.node.cri.client import CriRuntime
from sampan.node.images.local import DEMO_IMAGE
from sampan.node.logs.rotation import LogRotator, runtime_logs
from sampan.testing import free
from sampan.testing.containerd import PrivateContainerd, private_containerd

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("containerd"), reason="needs root and containerd"),
]

Fixture = Any
BRIDGE = f"sta{os.getpid()}"
LABELS = {
    "io.kubernetes.pod.uid": "u1",
    "io.kubernetes.pod.name": "web",
    "io.kubernetes.pod.namespace": "ns",
    "io.kubernetes.container.name": "c",
}
SCRIPT = "httpd -p 8080 -h /www; echo hello; while true; do sleep 0.2; echo tick; done"


@dataclass
class RealNode:
    api: NodeApi
    runtime: CriRuntime
    container_id: str
    logs: Path
    session: aiohttp.ClientSession
    process: PrivateContainerd

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.api.port}{path}"


async def start_container(cri: CriRuntime, logs: Path) -> str:
    directory = logs / "ns_web_u1"
    (directory / "c").mkdir(parents=True)
    sandbox = runtime.SandboxConfig(
        name="web", uid="u1", namespace="ns", log_directory=str(directory), labels=dict(list(LABELS.items())[:3])
    )
    sandbox_id = await cri.run_sandbox(sandbox)
    config = runtime.ContainerConfig(
        name="c", image=DEMO_IMAGE, command=("/bin/sh", "-c", SCRIPT), labels=LABELS, log_path="c/0.log"
    )
    container_id = await cri.create_container(sandbox_id, config, sandbox)
    await cri.start_container(container_id)
    return container_id


@pytest.fixture
async def real(tmp_path: Path, pki: Fixture, node: Fixture) -> AsyncIterator[RealNode]:
    pod_cidr = free.node_range("tapi")
    async with private_containerd(tmp_path, f"ta{os.getpid()}", pod_cidr, bridge=BRIDGE) as process:
        cri = process.client
        container_id = await start_container(cri, tmp_path / "logs")
        status = {"name": "c", "containerID": f"containerd://{container_id}", "state": {"running": {}}}
        pod = {
            "metadata": {"name": "web", "namespace": "ns", "uid": "u1"},
            "spec": {"containers": [{"name": "c"}]},
            "status": {"containerStatuses": [status]},
        }
        source = SimpleNamespace(pods=lambda: [pod], get_pod=lambda namespace, name: pod)
        tls = server_context(pki.folder / "node.crt", pki.folder / "node.key", pki.folder / "ca.crt")
        api_config = NodeApiConfig(node_name="n1", address="127.0.0.1", port=0)
        api = NodeApi(api_config, source, cri, node.api._auth, tls, SystemClock())  # type: ignore[arg-type] # two functions
        started = asyncio.Event()
        task = asyncio.create_task(api.run(started))
        await started.wait()
        client_tls = node.client_tls(pki.folder / "admin.crt", pki.folder / "admin.key")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_tls)) as session:
            yield RealNode(api, cri, container_id, tmp_path / "logs", session, process)
        task.cancel()
        await asyncio.wait([task])


async def test_streams_and_logs_of_a_real_container(real: RealNode) -> None:
    await exec_runs_and_reads_stdin(real)
    await port_forward_reaches_the_pod(real)
    await spdy_is_agreed_on(real)
    await followed_log_survives_rotation_and_ends(real)


PROTOCOLS = ("v5.channel.k8s.io", "spdy")
ALL = ("error", "stdin", "stdout", "stderr")


async def test_commands_of_a_real_container(real: RealNode, remote: Fixture) -> None:
    for protocol in PROTOCOLS:
        await an_upload_arrives_whole(real, remote, protocol)
        await a_command_that_does_not_read_ends_at_once(real, remote, protocol)
        await outcomes_are_told(real, remote, protocol)
        await a_terminal_has_its_size_and_hangs_up(real, remote, protocol)
        await a_client_that_leaves_frees_everything(real, remote, protocol)
        await attaching_reads_what_is_written_now(real, remote, protocol)
    await a_command_outlives_containerd(real, remote)


async def a_command_outlives_containerd(real: RealNode, remote: Fixture) -> None:
    path = exec_path("sh", "-c", "echo begun; read line; echo $line; exit 6")
    client = await remote(path, ALL, "spdy", real.api.port)
    await client.read_until(b"begun")
    await real.process.stop()
    await client.send(b"meanwhile\n")
    await client.read_until(b"meanwhile")
    await real.process.start()
    assert (await client.finish())["details"]["causes"] == [{"reason": "ExitCode", "message": "6"}]


def exec_path(*words: str, query: str = "input=1&output=1&error=1") -> str:
    return f"/exec/ns/web/c?{urlencode([('command', word) for word in words])}&{query}"


async def an_upload_arrives_whole(real: RealNode, remote: Fixture, protocol: str) -> None:
    data = random.Random(1).randbytes(30_000_000)
    client = await remote(exec_path("sh", "-c", "cat > /tmp/f; sha256sum < /tmp/f"), ALL, protocol, real.api.port)
    await client.send(data)
    client.close_stdin()
    assert (await client.finish())["status"] == "Success"
    assert client.got["stdout"].split()[0].decode() == hashlib.sha256(data).hexdigest()
    again = await remote(exec_path("cat", "/tmp/f"), ALL, protocol, real.api.port)
    assert (await again.finish())["status"] == "Success"
    assert again.got["stdout"] == data


async def a_command_that_does_not_read_ends_at_once(real: RealNode, remote: Fixture, protocol: str) -> None:
    async with asyncio.timeout(30):
        client = await remote(exec_path("sh", "-c", "head -c 5; exit 7"), ALL, protocol, real.api.port)
        sending = asyncio.create_task(client.send(b"x" * 3_000_000))
        status = await client.finish()
        await asyncio.wait([sending])
        sending.exception()  # it may have been cut off
    assert client.got["stdout"] == b"xxxxx"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
    assert "exit code 7" in status["message"]


async def outcomes_are_told(real: RealNode, remote: Fixture, protocol: str) -> None:
    client = await remote(exec_path("sh", "-c", "echo out; echo err >&2"), ALL, protocol, real.api.port)
    assert (await client.finish())["status"] == "Success"
    assert (client.got["stdout"], client.got["stderr"]) == (b"out\n", b"err\n")
    client = await remote(exec_path("no-such-program"), ALL, protocol, real.api.port)
    status = await client.finish()
    assert status["reason"] == "InternalError"
    assert status["message"].startswith("Internal error occurred: error executing command in container: failed to exec")
    assert 'exec: "no-such-program": executable file not found in $PATH' in status["message"]


async def a_terminal_has_its_size_and_hangs_up(real: RealNode, remote: Fixture, protocol: str) -> None:
    names = ("error", "stdin", "stdout", "resize")
    # The size goes its own way, and not in order with the input.
    until = "until stty size | grep -q '33 77'; do sleep 0.1; done"
    path = exec_path("sh", "-c", f"echo ready $TERM; {until}; stty size; sleep 10000", query="input=1&output=1&tty=1")
    client = await remote(path, names, protocol, real.api.port)
    await client.read_until(b"ready xterm")
    await client.send(b'{"Width":77,"Height":33}', "resize")
    await client.read_until(b"33 77")
    client.writer.close()
    await until_gone(real, "sleep 10000")


async def a_client_that_leaves_frees_everything(real: RealNode, remote: Fixture, protocol: str) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    client = await remote(exec_path("sleep", "1234"), ALL, protocol, real.api.port)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await client.send(b"x" * 100_000_000)
    client.writer.transport.abort()
    async with asyncio.timeout(15):
        while len(list(Path("/proc/self/fd").iterdir())) > before:  # noqa: ASYNC110 - waits for the node to notice
            await asyncio.sleep(0.1)
    await real.runtime.exec_sync(real.container_id, ["killall", "sleep"], 5)


async def attaching_reads_what_is_written_now(real: RealNode, remote: Fixture, protocol: str) -> None:
    client = await remote("/attach/ns/web/c?output=1&error=1", ("error", "stdout", "stderr"), protocol, real.api.port)
    await client.read_until(b"tick\n")
    client.writer.close()


async def until_gone(real: RealNode, command: str) -> None:
    async with asyncio.timeout(30):
        while command in (await real.runtime.exec_sync(real.container_id, ["ps"], 5)).stdout.decode():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def exec_runs_and_reads_stdin(real: RealNode) -> None:
    url = real.url("/exec/ns/web/c?command=sh&command=-c&command=echo+out;head+-n1&output=1&error=1&input=1")
    async with real.session.ws_connect(url, protocols=("v4.channel.k8s.io",)) as socket:
        await socket.send_bytes(b"\0in\n")
        got = b"".join([message.data[1:] async for message in socket])
    assert socket.protocol == "v4.channel.k8s.io"
    assert got.startswith(b"out\nin\n")


async def port_forward_reaches_the_pod(real: RealNode) -> None:
    url = real.url("/portForward/ns/web?port=8080")
    async with real.session.ws_connect(url, protocols=("v4.channel.k8s.io",)) as socket:
        await socket.send_bytes(b"\0GET / HTTP/1.0\r\n\r\n")
        async with asyncio.timeout(30):
            async for message in socket:
                if message.data.endswith(b"Sampan\n"):
                    return
    pytest.fail("the pod's page did not come")


async def spdy_is_agreed_on(real: RealNode) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}
    response = await real.session.post(real.url("/exec/ns/web/c?command=id&output=1"), headers=headers)
    assert response.status == 101
    assert response.headers["X-Stream-Protocol-Version"] == "v4.channel.k8s.io"
    response.close()


async def followed_log_survives_rotation_and_ends(real: RealNode) -> None:
    response = await real.session.get(real.url("/containerLogs/ns/web/c?follow=true"))
    assert await response.content.readline() == b"hello\n"
    ((container_id, path),) = await runtime_logs(real.runtime, real.logs)()
    assert await LogRotator(real.runtime.reopen_log, SystemClock(), max_bytes=1).rotate_if_large(container_id, path)
    while path.stat().st_size == 0:  # noqa: ASYNC110 - waits for the container to write
        await asyncio.sleep(0.05)
    await real.runtime.stop_container(container_id, 0)
    real.api.container_stopped(container_id)
    rest = (await response.content.read()).split()
    written = sum(each.read_text().count("tick") for each in path.parent.iterdir())
    assert rest == [b"tick"] * written
