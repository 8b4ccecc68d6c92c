"""Hollow nodes as clients over TLS, from several processes: what a control plane of real nodes has to carry.

    python bench/hollow_http.py [--nodes 200] [--processes 4] [--pods 1000]

A control plane (``sampan up --simulate 1``: store on disk, real sockets) beside processes of hollow nodes; each node
has a certificate of its own and connections of its own, and does what a node agent does: its Lease, its status,
watches of its own pods, their statuses and Events. Nothing is run in containers. The peer is the same cluster with
the nodes in the server's own process (``--simulate N``), without sockets between.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import uvloop
from cryptography import x509

from sampan.api.clock import SystemClock, SystemRandom
from sampan.api.resources import NAMESPACES, NODES, PODS
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import Connection
from sampan.cluster import instance as instances
from sampan.cluster import kubeconfigs, pki
from sampan.cluster.instance import Instance
from sampan.cluster.joining import requests
from sampan.controllers.certificates.authority import Authority
from sampan.node import shapes
from sampan.node.hollow_nodes import HollowNodes

WRITERS = 16
NAME = "bench-hollow"


def node_connection(instance: Instance, authority: Authority, name: str) -> Connection:
    leaf, key = pki.node_leaves(name, [])[0], requests.new_key()
    asked = x509.load_pem_x509_csr(base64.b64decode(requests.request(leaf, key)["spec"]["request"]))
    made = authority.sign(asked, ["digital signature", "client auth"], None, SystemClock().now())
    return Connection(
        instance.own_api_url,
        ca_pem=(instance.pki / "ca.crt").read_bytes(),
        client_certificate_pem=made,
        client_key_pem=requests.key_pem(key),
    )


async def hold(group: str, count: int) -> None:
    """This process's nodes, until it is ended. Prints a line when they have been started."""
    instance = instances.load(NAME)
    authority = Authority.read(instance.pki / "ca.crt", instance.pki / "ca.key", timedelta(days=1))

    def client(name: str) -> Client:
        return Client(HttpTransport(node_connection(instance, authority, name), user_agent="kubelet"))

    admin = Client(HttpTransport(kubeconfigs.connection(instance, "admin")))
    wanted = shapes.Shapes((shapes.Shape(name=group, count=count),))
    nodes = HollowNodes(wanted, client, SystemClock(), SystemRandom(), admin=lambda: admin)
    await nodes.run()


@contextmanager
def cluster(simulate: int) -> Iterator[Instance]:
    """``sampan up``, and nothing of it afterwards."""
    sampan = [str(Path(sys.executable).with_name("sampan"))]
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "KUBECONFIG": f"{home}/kubeconfig"}

        def run(*words: str) -> None:
            subprocess.run([*sampan, *words, "--name", NAME], env=environment, check=True, stdout=subprocess.DEVNULL)

        run("up", "--simulate", str(simulate), "--timeout", "120")
        try:
            yield instances.load(NAME)
        finally:
            run("down", "--purge")


def seconds_of(pid: int) -> float:
    """Processor time of a process, user and system."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def server_pid(instance: Instance) -> int:
    import orjson

    return int(orjson.loads(instance.status_file.read_bytes())["processes"]["server"]["pid"])


async def measure(instance: Instance, nodes: int, pods: int, began: float) -> str:
    admin, pid = Client(HttpTransport(kubeconfigs.connection(instance, "admin"))), server_pid(instance)
    while await ready(admin) < nodes:  # noqa: ASYNC110 (another process)
        await asyncio.sleep(0.1)
    all_ready, before = time.monotonic() - began, seconds_of(pid)
    await asyncio.sleep(10)
    idle = (seconds_of(pid) - before) / 10
    await admin.create(NAMESPACES, {"metadata": {"name": "load"}})
    await asyncio.sleep(1)
    began, before = time.monotonic(), seconds_of(pid)
    names = iter(range(pods))

    async def write() -> None:
        for number in names:
            spec = {"containers": [{"name": "c", "image": "none:1"}], "terminationGracePeriodSeconds": 0}
            await admin.create(PODS, {"metadata": {"name": f"p{number}"}, "spec": spec}, "load")

    await asyncio.gather(*(write() for _ in range(WRITERS)))
    while len((await admin.list(PODS, "load", field_selector="status.phase=Running"))["items"]) < pods:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    took, busy = time.monotonic() - began, seconds_of(pid) - before
    await admin.close()
    rss = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() >> 20
    return (
        f"{all_ready:.1f} s to {nodes} Ready; idle {100 * idle:.0f} % of a core; {pods} pods all Running after "
        f"{took:.1f} s; {1000 * busy / pods:.1f} ms of the server's CPU a pod; server {rss} MiB"
    )


async def ready(admin: Client) -> int:
    found = (await admin.list(NODES))["items"]
    return sum(
        any(
            each["type"] == "Ready" and each["status"] == "True"
            for each in node.get("status", {}).get("conditions", ())
        )
        for node in found
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--pods", type=int, default=1000)
    parser.add_argument("--hold", nargs=2, metavar=("GROUP", "COUNT"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # what was started is taken away
    if chosen.hold:
        uvloop.run(hold(chosen.hold[0], int(chosen.hold[1])))
        return
    each = chosen.nodes // chosen.processes
    with cluster(1) as instance:
        began = time.monotonic()
        words = [sys.executable, __file__, "--hold"]
        children = [subprocess.Popen([*words, f"http{number}", str(each)]) for number in range(chosen.processes)]
        try:
            told = uvloop.run(measure(instance, each * chosen.processes + 1, chosen.pods, began))
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait()
    print(f"over TLS, {chosen.processes} processes: {told}", flush=True)
    began = time.monotonic()
    with cluster(chosen.nodes) as instance:
        print(f"in the server's process: {uvloop.run(measure(instance, chosen.nodes, chosen.pods, began))}", flush=True)


if __name__ == "__main__":
    main()
