"""A running cluster's SQLite store, served as etcd would: by certificate alone, heard of by the API's own watches."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sampan.api.clock import SystemClock
from sampan.api.resources import CONFIG_MAPS
from sampan.client import tasks
from sampan.client.client import Client
from sampan.cluster import choosing, pki, preflight
from sampan.cluster.errors import ClusterError
from sampan.cluster.etcd import endpoint
from sampan.cluster.instance import Instance, nameless
from sampan.cluster.moving import migrate
from sampan.cluster.nodesettings import NodeSettings
from sampan.cluster.settings import ClusterSettings
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.store.archive.format import verify
from sampan.store.memory import MemoryStore

needs_etcdctl = pytest.mark.skipif(
    shutil.which("etcdctl") is None, reason="etcdctl is not installed (scripts/setup dev)"
)


@pytest.fixture
def blue(tmp_path: Path) -> Instance:
    """At a port that the kernel chooses."""
    made = nameless("blue", state_root=tmp_path / "state", run_root=tmp_path / "run")
    node = NodeSettings(name="n1", roles=("control-plane",), etcd_endpoint="127.0.0.1:0")
    made = replace(made, cluster=ClusterSettings("blue"), node=node)
    pki.ensure(made, SystemClock())
    return made


def at(instance: Instance, address: str) -> Instance:
    return replace(instance, node=replace(instance.node, etcd_endpoint=address))


class Etcdctl:
    def __init__(self, instance: Instance, port: int, folder: Path | None = None) -> None:
        folder = folder or instance.pki / "etcd"
        self._environment = {
            **os.environ,
            "ETCDCTL_API": "3",
            "ETCDCTL_ENDPOINTS": f"https://127.0.0.1:{port}",
            "ETCDCTL_CACERT": str(instance.pki / "etcd" / "ca.crt"),
            "ETCDCTL_CERT": str(folder / "healthcheck-client.crt"),
            "ETCDCTL_KEY": str(folder / "healthcheck-client.key"),
        }

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            "etcdctl", *words, env=self._environment, stdin=pipe, stdout=pipe, stderr=pipe
        )

    async def __call__(self, *words: str, stdin: str = "", fails: bool = False) -> str:
        process = await self.start(*words)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        assert bool(process.returncode) == fails, (words, out, err)
        return (err if fails else out).decode()


@pytest.fixture
async def server(blue: Instance) -> AsyncIterator[Server]:
    async with Server(ServerConfig(store="sqlite", data_dir=blue.state, port=0)) as server:
        yield server


@needs_etcdctl
async def test_stock_etcdctl_reads_and_writes_the_store_and_watches_of_the_api_hear_of_it(
    blue: Instance, server: Server, tmp_path: Path
) -> None:
    client = Client(server.local_transport())
    made = await client.create(CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"k": "first"}}, "default")
    ports: asyncio.Queue[int] = asyncio.Queue()
    serve = endpoint.serve(blue, server.store, ready=ports.put_nowait, follow_seconds=0.05)
    serving = asyncio.create_task(serve)
    try:
        etcdctl = Etcdctl(blue, await asyncio.wait_for(ports.get(), 60))
        key = "/registry/core/configmaps/default/a"
        found = json.loads(await etcdctl("get", key, "-w", "json"))["kvs"][0]
        assert found["mod_revision"] == int(made["metadata"]["resourceVersion"])
        stored = (await etcdctl("get", key, "--print-value-only")).strip()

        told = await etcdctl.start("watch", key, "--rev", str(found["mod_revision"]))
        changed = stored.replace("first", "second")
        await etcdctl("put", key, changed)
        again = await client.get(CONFIG_MAPS, "a", "default")
        assert again["data"] == {"k": "second"}, "what came in by etcd's interface is what the API shows"
        assert told.stdout is not None
        lines = [(await asyncio.wait_for(told.stdout.readline(), 60)).decode().strip() for _ in range(6)]
        assert [line for line in lines if line in ("PUT", key)] == ["PUT", key] * 2 and lines[5] == changed
        told.kill()
        await told.communicate()

        typed = f'mod("{key}") = "{again["metadata"]["resourceVersion"]}"\n\ndel {key}\n\nget {key}\n\n'
        assert (await etcdctl("txn", stdin=typed)).split() == ["SUCCESS", "1"]
        assert not await names(client)
        lease = (await etcdctl("lease", "grant", "1000")).split()[1]
        await etcdctl("put", key, stored, f"--lease={lease}")
        assert await names(client) == ["a"]
        await etcdctl("lease", "revoke", lease)
        assert not await names(client)
        await etcdctl("snapshot", "save", str(tmp_path / "snapshot"))
        assert verify(tmp_path / "snapshot").records

        # A certificate that is made anew is shown to who comes next; leases go on.
        lease = (await etcdctl("lease", "grant", "1000")).split()[1]
        authority = pki.ensure_authorities(blue, SystemClock())[pki.ETCD]
        leaf = next(leaf for leaf in pki.endpoint_leaves(blue) if leaf.server)
        pki.ensure_leaf(blue, leaf, authority, SystemClock(), anew=True)
        port = await asyncio.wait_for(ports.get(), 60)
        assert lease in await Etcdctl(blue, port)("lease", "list")

        # Another CA's client is nobody.
        green = replace(blue, state_root=tmp_path / "green")
        pki.ensure(green, SystemClock())
        stranger = Etcdctl(blue, port, green.pki / "etcd")
        await stranger("get", "a", "--command-timeout=1s", "--dial-timeout=1s", fails=True)
    finally:
        await tasks.cancel_and_wait(serving)


async def names(client: Client) -> list[str]:
    found = await client.list(CONFIG_MAPS, "default")
    return [each["metadata"]["name"] for each in found["items"] if each["metadata"]["name"] != "kube-root-ca.crt"]


async def test_a_port_that_is_taken_is_told_in_a_sentence_and_the_server_goes_on(
    blue: Instance, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        blue = at(blue, f"127.0.0.1:{port}")
        with pytest.raises(ClusterError, match=f"cannot listen on 127.0.0.1:{port}: address already in use"):
            await endpoint.serve(blue, server.store)
        assert [problem.what for problem in preflight._ports(blue) if str(port) in problem.name] == [
            f"port {port} is taken by another program"
        ]
    assert str(port) not in capfd.readouterr().err, "gRPC has logged nothing of its own"
    assert await names(Client(server.local_transport())) == []


async def test_only_a_sqlite_store_is_served(blue: Instance) -> None:
    with pytest.raises(ClusterError, match="SQLite store alone"):
        await endpoint.serve(blue, MemoryStore(clock=SystemClock()))


def test_its_certificates_lie_where_kubeadm_has_a_members_and_without_it_there_are_none(
    blue: Instance, tmp_path: Path
) -> None:
    parts = {path.name for path in (blue.pki / "etcd").iterdir()}
    assert parts == {f"{stem}.{part}" for stem in ("ca", "server", "healthcheck-client") for part in ("crt", "key")}
    assert not (blue.pki / "apiserver-etcd-client.crt").exists()
    without = replace(blue, state_root=tmp_path / "two", node=replace(blue.node, etcd_endpoint=""))
    pki.ensure(without, SystemClock())
    assert not (without.pki / "etcd").exists()


@pytest.mark.parametrize(
    ("address", "store", "words"),
    [
        ("2379", "sqlite", "no address of this machine"),
        ("example.com:2379", "sqlite", "no address of this machine"),
        ("127.0.0.1:0", "sqlite", "no address of this machine"),
        ("::1:2379", "sqlite", "no address of this machine"),
        ("127.0.0.1:6443", "sqlite", "must differ"),
        ("127.0.0.1:30001", "sqlite", "node port"),
        ("127.0.0.1:2379", "etcd", "this cluster is on etcd"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused_by_name(blue: Instance, address: str, store: str, words: str) -> None:
    wanted = replace(at(blue, address), cluster=replace(blue.cluster, store=store))
    with pytest.raises(ClusterError, match=words):
        wanted.validate()


def test_an_address_that_the_machine_has_not_is_told_before_anything_starts(blue: Instance) -> None:
    def told(address: str) -> list[str]:
        return [each.what for each in preflight._ports(at(blue, address)) if each.name == "EtcdEndpoint"]

    assert told("192.0.2.77:12379") == ["--etcd-endpoint: 192.0.2.77 is no address of this machine"]
    assert told("127.0.0.1:12379") == told("0.0.0.0:12379") == []


def test_a_stopped_cluster_takes_and_loses_it_and_another_cluster_may_not_have_its_port(blue: Instance) -> None:
    blue = at(blue, "127.0.0.1:12379")
    given = choosing.Given({"--etcd-endpoint": ""})
    without = choosing.change(blue, given, choosing.Machine(), running=False)
    assert not without.node.etcd_endpoint
    green = nameless("green")
    same = choosing.Given({"--etcd-endpoint": blue.node.etcd_endpoint})
    with pytest.raises(ClusterError, match=r"--etcd-endpoint .* belongs to cluster 'blue'") as refused:
        choosing.choose(green, same, choosing.Machine(others=(blue,)))
    assert refused.value.fix == "give another port", "without the option there is no endpoint"
    assert not migrate.target_of(blue, "etcd://127.0.0.1:1", {}).node.etcd_endpoint
