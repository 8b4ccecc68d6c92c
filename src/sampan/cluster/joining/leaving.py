"""``sampan reset``: takes a machine out of its cluster, and the cluster's things off the machine.

In this order, so that what is left after a crash is something that a second run finishes: the machine's member leaves
etcd (while there is one to ask), its programs end, its Node goes (a node that still ran would come back), and then
everything of the instance goes, as ``sampan down --purge`` has it. What the machine may not do itself (a worker cannot
delete its Node) is told, with the command.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from pathlib import Path

from sampan.api.errors import ApiError, NotFound
from sampan.api.faults import cause
from sampan.api.resources import NODES
from sampan.client.kubeconfig import Connection, KubeConfig, KubeConfigError
from sampan.client.servers import Servers
from sampan.cluster import down as stopping
from sampan.cluster import instance as instances
from sampan.cluster import kubeconfigs, servers, units
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.cluster.joining import asking
from sampan.cluster.up import Progress

_ETCD_SECONDS = 10.0
#: of kubeadm's reset
PHASES = ("preflight", "remove-etcd-member", "cleanup-node")


async def reset(
    named: Instance, progress: Progress, *, kubeconfig: Path | None = None, skipped: frozenset[str] = frozenset()
) -> list[str]:
    """Gives what is left for a person to do, in words. Idempotent. Raises ClusterError."""
    left: list[str] = []
    made = _made(named)
    if made is not None and made.node.runs_etcd and "remove-etcd-member" not in skipped:
        left += await _leave_etcd(made, progress)
    if "cleanup-node" not in skipped and os.geteuid() == 0:
        await asyncio.to_thread(units.retire, named)  # they would start the node again, and that its Node
    if made is not None and "cleanup-node" not in skipped:
        await stopping.down(made, progress)
        left += await _remove_node(made, kubeconfig, progress)
    if "cleanup-node" not in skipped:
        await stopping.purge(named, progress)
    return left


def _made(named: Instance) -> Instance | None:
    """None: there is none, or its settings are damaged; what is left of it goes all the same."""
    try:
        return instances.load(named.name, state_root=named.state_root, run_root=named.run_root)
    except ClusterError:
        return None


async def _leave_etcd(instance: Instance, progress: Progress) -> list[str]:
    """The machine's member goes while it still has a vote, so that the others are as many as are left. The last one
    takes the data along. Gives what is left to do."""
    from sampan.cluster.etcd import member, members  # late: a worker knows nothing of etcd

    url = member.peer_url(instance)
    try:
        async with members.connected(members.settings_of(instance, seconds=_ETCD_SECONDS)) as client:
            there = await members.list_members(client)
            if len(there) > 1:
                progress.step("Taking this machine's member out of etcd")
                for each in there:
                    if url in each.peer_urls:
                        await members.remove(client, each.id)
    except (ClusterError, OSError) as error:
        return [
            f"etcd may still count this machine's member ({error}): `etcdctl member list`, where a control plane is, "
            f"and `etcdctl member remove` for the one at {url}"
        ]
    return []


async def _remove_node(instance: Instance, kubeconfig: Path | None, progress: Progress) -> list[str]:
    """What is left to do about it."""
    name = instance.node.name
    if not instance.node.runs_containers:
        return []
    by_hand = f"its Node is still in the cluster: `kubectl delete node {name}`, where a control plane is"
    found = _remover(instance, kubeconfig)
    if found is None:
        if instance.node.runs_control_plane:
            return []  # the only one: it takes the cluster along
        return [by_hand, *await _say_goodbye(instance)]
    connection, asked = found
    progress.step(f"Removing node {name} from the cluster")
    try:
        async with asking.connected(connection, asked) as client:
            await client.delete(NODES, name)
    except NotFound:
        return []
    except ApiError as error:
        return [f"{by_hand} ({error.message})"]
    return []


async def _say_goodbye(instance: Instance) -> list[str]:
    """As the node, which may say of itself that it is not Ready: so its pods are replaced in time, and a machine that
    joins by its name is not taken for a second one. What hinders it is told."""
    try:
        connection = kubeconfigs.connection(instance, "kubelet-client")
        async with asking.connected(connection, servers.of(instance)) as client:
            condition = {
                "type": "Ready",
                "status": "False",
                "reason": "NodeReset",
                "message": "the machine was taken out of the cluster",
            }
            patch = {"status": {"conditions": [condition]}}
            name = instance.node.name
            await client.patch(NODES, name, patch, patch_type="strategic", subresource="status")
    except NotFound:
        return []
    except (ApiError, OSError) as error:
        return [f"the cluster does not know yet that the node is gone ({cause(error)})"]
    return []


def _remover(instance: Instance, kubeconfig: Path | None) -> tuple[Connection, Servers] | None:
    """Who may delete the Node, and where to ask: not at this machine's own API server, which has ended. Raises
    ClusterError."""
    if kubeconfig is not None:
        try:
            connection = KubeConfig.load(kubeconfig).connection()
        except KubeConfigError as error:
            raise ClusterError(str(error), fix="name another file with --kubeconfig") from error
        return connection, Servers([connection.server, *connection.others])
    if not instance.node.runs_control_plane:
        return None
    others = [url for url in servers.read(instance).urls if url != instance.own_api_url]
    if not others:
        return None
    admin = kubeconfigs.connection(instance, "admin")
    return dataclasses.replace(admin, server=others[0]), Servers(others)
