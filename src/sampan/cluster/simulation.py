"""Simulated nodes of an instance (``sampan up --simulate``): what was asked for, and the component that runs them.

They live in the server process, each the real node agent over a simulated machine. ``read`` is for ``up``, before
anything is started; ``run`` is a component of the server process.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from sampan.api.clock import Clock, Random
from sampan.api.errors import NotFound
from sampan.api.faults import cause
from sampan.api.nodes.usage import Looks
from sampan.api.resources import NODES
from sampan.client import tasks
from sampan.client.client import Client
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.node import shapes
from sampan.node.api.tls import server_context
from sampan.node.hollow_api import HollowApi
from sampan.node.hollow_nodes import LABEL, HollowNodes
from sampan.node.shapes import Shapes

log = logging.getLogger(__name__)

#: Between two looks at a certificate's files.
_FOLLOW_SECONDS: Final = 5.0
_GIVE: Final = "give a number of nodes, or a file that describes them"


def read(simulate: str) -> Shapes:
    """What ``--simulate`` asks for: a number, or the path of a file. Raises ClusterError that names the field."""
    try:
        if simulate.isascii() and simulate.isdigit():
            return shapes.of_count(int(simulate[:9]))
        return shapes.parse(Path(simulate).read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = cause(error) if isinstance(error, OSError) else "it is not text"
        raise ClusterError(f"--simulate {simulate}: {reason}", fix=_GIVE) from error
    except shapes.ShapeError as error:
        fix = _GIVE if simulate.isdigit() else "docs/testing.md shows such a file"
        raise ClusterError(f"--simulate {simulate}: {error}", fix=fix) from error


def complete(instance: Instance) -> Instance:
    """With the number of nodes that there will be. Raises ClusterError."""
    node, cluster = instance.node, instance.cluster
    count = read(node.simulate).count if node.simulate else 0
    masks = {4: cluster.node_cidr_mask, 6: cluster.node_cidr_mask_ipv6}
    room = 1 << min(masks[network.version] - network.prefixlen for network in cluster.pod_ranges)
    if count + node.runs_containers > room:
        raise ClusterError(
            f"--pod-cidr {cluster.pod_cidr} has room for {room} nodes with a /{cluster.node_cidr_mask} each",
            fix="give a larger one, as --pod-cidr 10.128.0.0/9, or a smaller part to each with --node-cidr-mask",
        )
    return dataclasses.replace(instance, node=dataclasses.replace(node, simulated_count=count))


async def run(
    instance: Instance,
    client_for: Callable[[str], Client],
    admin: Client,
    clock: Clock,
    random: Random,
    attach: Callable[[str, Callable[[], Looks]], Callable[[], None]],
) -> None:
    """Until cancelled. ``client_for`` gives a node's own client by its name; ``attach`` has the API server ask here
    what a node uses, and returns what ends that."""
    wanted = await asyncio.to_thread(read, instance.node.simulate)
    tls = server_context(instance.pki / "simulated.crt", instance.pki / "simulated.key", instance.pki / "ca.crt")
    # Beside this machine's own node, whose API has that port.
    port = 0 if instance.node.runs_containers else instance.node.kubelet_port
    nodes = HollowNodes(wanted, client_for, clock, random, admin=lambda: admin)
    api = HollowApi(nodes, admin, tls, clock, port=port)
    listening = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for name in nodes.shapes:
            stack.callback(attach(name, functools.partial(nodes.looks, name)))
        tasks.spawn_eternal(group, api.run(listening), "simulated node APIs")
        await listening.wait()
        nodes.port = api.port
        await _forget_others(admin, nodes)
        tasks.spawn_eternal(group, nodes.run(), "simulated nodes")
        tasks.spawn_eternal(group, _follow(tls, instance), "certificate of simulated nodes")


async def _follow(tls: ssl.SSLContext, instance: Instance) -> NoReturn:
    """New connections are shown the certificate as it is: it is made anew while the process runs (``renewal``)."""
    certificate, key = instance.pki / "simulated.crt", instance.pki / "simulated.key"
    known = await asyncio.to_thread(key.stat)
    while True:
        await asyncio.sleep(_FOLLOW_SECONDS)
        with contextlib.suppress(OSError):  # between the writing of one file and the other: it is looked at again
            now = await asyncio.to_thread(key.stat)
            if (now.st_ino, now.st_mtime_ns) != (known.st_ino, known.st_mtime_ns):
                tls.load_cert_chain(certificate, key)
                known = now


async def _forget_others(admin: Client, nodes: HollowNodes) -> None:
    """Nodes that were simulated before and are not any more: nobody else would ever remove them."""
    for node in (await admin.list(NODES, label_selector=LABEL))["items"]:
        name = node["metadata"]["name"]
        if name not in nodes.shapes:
            try:
                await admin.delete(NODES, name)
            except NotFound:
                continue
