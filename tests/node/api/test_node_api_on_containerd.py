"""The node API in front of a real containerd: logs, exec, port-forward, rotation. Needs root and containerd."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from sampan.api.clock import SystemClock
from sampan.node import runtime
from sampan.node.api.server import NodeApi, NodeApiConfig
from sampan.node.api.tls import server_context
from sampan.node.cri.client import CriRuntime
from sampan.node.cri.containerd import (
    ContainerdConfig,
    ContainerdProcess,
    clean,
    remove_all_pods,
    render_bridge_network,
)
from sampan.node.images.local import DEMO_IMAGE, PAUSE_IMAGE, demo_image, import_image, pause_image
from sampan.node.logs.rotation import LogRotator, runtime_logs

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(90),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("containerd"), reason="needs root and containerd"),
]

Fixture = Any
BRIDGE = "sampantapi0"
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
    config = ContainerdConfig(root=tmp_path / "root", state=tmp_path / "state", sandbox_image=PAUSE_IMAGE)
    config.cni_conf_dir.mkdir(parents=True)
    network = render_bridge_network("tapi", BRIDGE, "10.199.7.0/24", tmp_path / "ipam")
    (config.cni_conf_dir / "10-tapi.conflist").write_bytes(network)
    process = ContainerdProcess(config)
    await process.start()
    cri = CriRuntime(str(config.address))
    try:
        for image in (pause_image(), demo_image()):
            await import_image(str(config.address), image)
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
            yield RealNode(api, cri, container_id, tmp_path / "logs", session)
        task.cancel()
        await asyncio.wait([task])
    finally:
        await remove_all_pods(cri)
        await cri.close()
        await process.stop()
        clean(config)
        removal = await asyncio.create_subprocess_exec("ip", "link", "delete", BRIDGE)
        await removal.wait()


async def test_streams_and_logs_of_a_real_container(real: RealNode) -> None:
    await exec_runs_and_reads_stdin(real)
    await port_forward_reaches_the_pod(real)
    await spdy_is_agreed_on(real)
    await followed_log_survives_rotation_and_ends(real)


async def exec_runs_and_reads_stdin(real: RealNode) -> None:
    url = real.url("/exec/ns/web/c?command=sh&command=-c&command=echo+out;head+-n1&output=1&error=1&input=1")
    async with real.session.ws_connect(url, protocols=("v4.channel.k8s.io",)) as socket:
        await socket.send_bytes(b"\0in\n")
        got = [message.data async for message in socket]
    assert socket.protocol == "v4.channel.k8s.io"
    assert b"\x01out\n" in got
    assert b"\x01in\n" in got


async def port_forward_reaches_the_pod(real: RealNode) -> None:
    url = real.url("/portForward/ns/web?port=8080")
    async with real.session.ws_connect(url, protocols=("v4.channel.k8s.io",)) as socket:
        await socket.send_bytes(b"\0GET / HTTP/1.0\r\n\r\n")
        async with asyncio.timeout(10):
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
