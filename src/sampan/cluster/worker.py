"""A machine that has a node of a cluster and no control plane: what it is given, and how it starts.

``ticket`` is made where the CA is: the cluster's settings and the credentials of one node, one JSON value. ``start`` is
called on the other machine: it writes the ticket out as an instance of its own with the role ``node`` and brings that
up. From then on it is an instance like any other: ``up``, ``down``, ``status`` and ``logs`` know its roles. What joins
machines by a token (*to come*) asks an API server for what a ticket holds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from sampan.api.clock import Clock
from sampan.cluster import instance as instances
from sampan.cluster import leftovers, locks, machine, pki, ranges
from sampan.cluster import up as starting
from sampan.cluster.choosing import NODE_OPTIONS, Given
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.cluster.settings import ClusterSettings, NodeSettings
from sampan.cluster.up import Progress

VERSION = 1
_MOST_BYTES = 1 << 20


def ticket(instance: Instance, node_name: str, addresses: Sequence[str], clock: Clock) -> bytes:
    """What a machine needs to be the node of that name. Whoever has it is that node. Raises ClusterError."""
    if "control-plane" not in instance.node.roles or not instance.node.address:
        raise ClusterError(
            f"cluster {instance.name!r} has no control plane here that others could reach",
            fix="make the ticket on the machine that has it",
        )
    if node_name == instance.node.name:
        raise ClusterError(f"{node_name} is this machine's own node", fix="choose another name")
    ranges.validate_addresses(addresses)
    node = NodeSettings(name=node_name, kubelet_port=instance.node.kubelet_port, dns_port=instance.node.dns_port)
    node.validate(instance.cluster)
    files = pki.credentials(instance, node_name, addresses, clock)
    shared = dataclasses.asdict(instance.cluster) | {
        "api_address": instance.cluster.api_address or instance.node.addresses[0],
        # Files of that machine, for its API server.
        "admission_config": "",
    }
    own = {"name": node_name, "kubelet_port": node.kubelet_port, "dns_port": node.dns_port}
    return orjson.dumps({"version": VERSION, "cluster": shared, "node": own, "files": files})


def admit(named: Instance, written: bytes, given: Given) -> Instance:
    """An instance, known by its name, with the settings of a ticket; nothing is written. Raises ClusterError."""
    cluster, node, _ = _read(written)
    try:
        settings = instances.parse(ClusterSettings(named.name), cluster | {"name": named.name})
        own = dataclasses.replace(instances.parse(NodeSettings(), node), roles=("node",))
    except ValueError:
        raise _damaged() from None
    return starting.complete(dataclasses.replace(named, cluster=settings, node=given.node(own)))


async def start(
    named: Instance, written: bytes, given: Given, clock: Clock, progress: Progress, *, timeout_seconds: float
) -> Instance:
    """Makes the instance and returns when its node is Ready. Raises ClusterError."""
    machine.complete_path()
    machine.require_root("sampan node-start")
    if unknown := [option for option in given.options if option not in NODE_OPTIONS]:
        raise ClusterError(f"{unknown[0]} is the cluster's, not a node's", fix="leave it out")
    async with locks.changing(named, progress):
        if named.exists():
            raise ClusterError(
                f"there is a cluster {named.name!r} on this machine already",
                fix=f"`{named.command('up')}` starts it, or give another --name",
            )
        await leftovers.end_supervisors(named)
        instance = admit(named, written, given)
        _write(instance, _read(written)[2])
        starting.make_ready(instance, clock, progress)
        await starting.start(instance, progress, timeout_seconds)
    return instance


def _read(written: bytes) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Settings of the cluster and of the node, and files by name. Raises ClusterError."""
    try:
        told = orjson.loads(written)
        version, cluster, node, files = (told[key] for key in ("version", "cluster", "node", "files"))
    except (ValueError, KeyError, TypeError):
        raise _damaged() from None
    if version != VERSION:
        raise ClusterError("the ticket is of another version of Sampan", fix="use the same version on all machines")
    if not all(isinstance(each, dict) for each in (cluster, node, files)) or set(files) != set(pki.NODE_FILES):
        raise _damaged()
    if not all(isinstance(text, str) for text in files.values()):
        raise _damaged()
    return cluster, node, files


def _damaged() -> ClusterError:
    return ClusterError("the ticket is damaged", fix="make another one where the control plane is")


def _write(instance: Instance, files: dict[str, str]) -> None:
    """Raises ClusterError."""
    try:
        pki.keep_given(instance, files)
    except OSError as error:
        raise ClusterError(
            f"cannot write {error.filename or instance.pki}: {error.strerror}",
            fix=f"make room on, or the right to, the file system of {instance.state_root}",
        ) from error


def read_ticket(path: Path) -> bytes:
    """Raises ClusterError."""
    try:
        with path.open("rb") as file:
            written = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ClusterError(f"cannot read {path}: {error.strerror}", fix="name the file of a ticket") from error
    if len(written) > _MOST_BYTES:
        raise ClusterError(f"{path} is no ticket: it is too long", fix="name the file of a ticket")
    return written
