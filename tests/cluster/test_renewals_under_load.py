"""Certificates with lives of seconds are made anew again and again while everybody works with them: no request fails.

In one process over real TLS: the API server, clients with certificates, a program with a kubeconfig, and the API of a
node behind the server. ``SAMPAN_RENEWALS=20`` makes it twenty renewals of everything; the suite takes one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sampan.api.clock import SystemClock, SystemRandom
from sampan.api.resources import NODES
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import KubeConfig
from sampan.cluster import kubeconfigs, kubernetesdir, nodecertificates, pki, renewal
from sampan.cluster.apart import following
from sampan.cluster.control_plane import server_config
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings
from sampan.node.api.tls import peer_subject, server_context
from sampan.server.app import Server

RENEWALS = int(os.environ.get("SAMPAN_RENEWALS", "1"))
#: A quarter of it is left when they are made anew: a busy machine may be silent for seconds.
LIFE_SECONDS = 16.0
#: Between two requests of each client: some hundred a second are load enough, and leave the machine to others.
PAUSE_SECONDS = 0.05


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    """Too short for ``validate``, which a person's settings go through."""
    made = Instance(
        ClusterSettings("one", certificate_seconds=LIFE_SECONDS),
        tmp_path / "state",
        tmp_path / "run",
        NodeSettings("n", address="127.0.0.1", kubernetes_dir=str(tmp_path / "etc")),
    )
    made.save()
    kubernetesdir.link_pki(made)
    pki.ensure(made, SystemClock())
    kubeconfigs.write_all(made)
    return made


@asynccontextmanager
async def node_api(tls: ssl.SSLContext) -> AsyncIterator[int]:
    """Answers whom it takes the API server for. A connection a request: each has a handshake."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        subject = dict(peer_subject(writer.get_extra_info("ssl_object")) or ())
        body = subject.get("commonName", "nobody").encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.timeout(60 + 20 * RENEWALS)
async def test_no_request_fails_through_renewals_of_everything(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "SHORTEST_CHECK_SECONDS", 0.1)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.1)
    config = dataclasses.replace(
        server_config(instance), bind_address="127.0.0.1", port=0, store="memory", openapi=False,
        allow_loopback_proxy=True,
    )  # fmt: skip
    served = 0
    serials: dict[str, set[bytes]] = {}
    async with Server(config) as server, asyncio.TaskGroup() as group:
        instance = dataclasses.replace(
            instance, cluster=dataclasses.replace(instance.cluster, api_port=server.address[1])
        )
        kubeconfigs.write_all(instance)
        working = [
            group.create_task(renewal.keep_current(instance, SystemClock(), server.reload_certificates)),
        ]
        kubelet = HttpTransport(kubeconfigs.connection(instance, "kubelet-client"))
        path = Path(instance.node.kubernetes_dir) / "super-admin.conf"
        admin = HttpTransport(KubeConfig.load(path).connection())
        working.append(group.create_task(following.follow(path, admin)))
        tls = server_context(instance.pki / "kubelet.crt", instance.pki / "kubelet.key", instance.pki / "ca.crt")
        uses: dict[str, nodecertificates.Use] = {
            "kubelet-client": kubelet.use_certificate,
            "kubelet": lambda *pair: tls.load_cert_chain(instance.pki / "kubelet.crt", instance.pki / "kubelet.key"),
        }
        follower = nodecertificates.NodeCertificates(instance, uses, SystemClock(), SystemRandom())
        working.append(group.create_task(follower.run()))
        async with node_api(tls) as port:
            client = Client(admin)
            await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
            status = {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            }
            await client.patch(NODES, "n", {"status": status}, subresource="status")

            async def ask(transport: HttpTransport, path: str, wanted: str) -> None:
                nonlocal served
                while not done.is_set():
                    answer = await Client(transport).raw("GET", path)
                    assert wanted in str(answer)
                    served += 1
                    await asyncio.sleep(PAUSE_SECONDS)

            async def connect_anew() -> None:
                """A client that keeps nothing, as kubectl: it reads its kubeconfig and makes a handshake each time."""
                while not done.is_set():
                    transport = HttpTransport(KubeConfig.load(path).connection())
                    try:
                        assert await Client(transport).raw("GET", "/readyz") == "ok"
                    finally:
                        await transport.close()
                    await asyncio.sleep(PAUSE_SECONDS)

            async def count() -> None:
                names = [leaf.stem for leaf in pki.leaves(instance)]
                while min(len(serials.get(name, ())) for name in names) <= RENEWALS:
                    for name in names:
                        serials.setdefault(name, set()).add((instance.pki / f"{name}.crt").read_bytes())
                    await asyncio.sleep(0.1)
                done.set()

            done = asyncio.Event()
            async with asyncio.TaskGroup() as load:
                load.create_task(ask(kubelet, "/api/v1/nodes/n", "127.0.0.1"))
                load.create_task(ask(admin, "/api/v1/namespaces/default", "default"))
                load.create_task(ask(admin, "/api/v1/nodes/n/proxy/healthz", "kube-apiserver-kubelet-client"))
                load.create_task(connect_anew())
                load.create_task(count())
        for task in working:
            task.cancel()
        await kubelet.close()
        await admin.close()
    assert served > 100 * RENEWALS
