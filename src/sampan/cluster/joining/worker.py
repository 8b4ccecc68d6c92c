"""``sampan join``: from an address and a token to a node that is Ready.

Called by the CLI. Finds the cluster (``discovery``), learns what its nodes agree on, has itself given certificates of
its own, writes all of it as an instance with the role ``node`` and starts that as ``sampan up`` does. Until the
instance is written nothing is left on the machine; after that it is one like any other: ``sampan reset`` takes it away.
"""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path
from types import ModuleType

from sampan.api.clock import Clock
from sampan.api.faults import fault
from sampan.client.client import Client
from sampan.client.kubeconfig import Connection, KubeConfig, KubeConfigError
from sampan.cluster import kubernetesdir, leftovers, locks, machine, pki, servers
from sampan.cluster import up as starting
from sampan.cluster.choosing import Given
from sampan.cluster.errors import ClusterError
from sampan.cluster.initializing import preflight
from sampan.cluster.instance import Instance
from sampan.cluster.joining import admission, asking, discovery
from sampan.cluster.joining.wanted import Wanted, parse_endpoint
from sampan.cluster.pki import Leaf
from sampan.cluster.up import Progress


async def join(
    named: Instance, wanted: Wanted, given: Given, clock: Clock, progress: Progress, *, timeout_seconds: float
) -> Instance:
    """Makes this machine a node of the cluster and returns when that is Ready. Raises ClusterError."""
    machine.complete_path()
    machine.require_root("sampan join")
    wanted.check()
    async with locks.changing(named, progress):
        refuse_second(named)
        await leftovers.end_supervisors(named)
        known = await find(wanted, progress)
        async with asking.connected(known) as client:
            progress.step(f"Reading what nodes of {known.server} agree on")
            instance = await settle(named, wanted, given, client, known.server)
            check_machine(instance, wanted, progress)
            if wanted.dry_run:
                return instance
            if wanted.control_plane is None:
                files = await credentials(instance, client, known, wanted, progress)
            else:
                files = await _late().keys(client, wanted.control_plane, instance, known.ca_pem)
        keep(instance, files)
        servers.write(instance, [known.server])
        if wanted.control_plane is None:
            starting.prepare(instance, clock, progress)
            await starting.start(instance, progress, timeout_seconds)
        else:
            await _late().begin(instance, known, clock, progress, timeout_seconds)
    return instance


def _late() -> ModuleType:
    """A worker knows nothing of etcd."""
    return import_module("sampan.cluster.joining.controlplane")


def check_machine(instance: Instance, wanted: Wanted, progress: Progress) -> None:
    """By kubeadm's names of the checks; raises PreflightFailed for what is not to be ignored."""
    progress.step("Checking this machine")
    place = preflight.Place(kubernetes_dir=Path(instance.node.kubernetes_dir))
    problems = preflight.check(instance, control_plane=wanted.control_plane is not None, place=place)
    warnings, errors = preflight.judge(problems, preflight.check_ignored(wanted.ignored))
    for line in preflight.lines(warnings):
        progress.warn(line.strip())
    preflight.refuse(errors)


def refuse_second(named: Instance) -> None:
    """Raises ClusterError."""
    if named.exists():
        raise ClusterError(
            f"this machine is part of a cluster {named.name!r} already",
            fix=f"`{named.command('reset')}` takes it out of that, `{named.command('up')}` starts it, or give another "
            "--name",
        )


async def find(wanted: Wanted, progress: Progress) -> Connection:
    """The cluster, with what is to be shown it. Raises ClusterError."""
    if wanted.discovery_file:
        progress.step(f"Looking for the cluster of {wanted.discovery_file}")
        return _of_file(wanted)
    server = parse_endpoint(wanted.endpoint)
    token = discovery.parse_token(wanted.token)
    discovery.check_pins(wanted.pins, unsafe=wanted.unsafe)
    progress.step(f"Looking for the cluster at {server}")
    place = await asking.discover(server, token, wanted)
    bootstrap = discovery.parse_token(wanted.bootstrap_token) if wanted.bootstrap_token else token
    return Connection(place.server, ca_pem=place.ca_pem, token=str(bootstrap))


def _of_file(wanted: Wanted) -> Connection:
    """Raises ClusterError."""
    if wanted.discovery_file.startswith(("http://", "https://")):
        raise ClusterError(
            "--discovery-file: a file of another machine is not fetched", fix="fetch it (curl), and name the copy"
        )
    try:
        written = Path(wanted.discovery_file).read_text()
        place = discovery.read_place(written, wanted.discovery_file)
        config = KubeConfig.load(wanted.discovery_file)
        has_user = bool(config.content.get("users")) and bool(config.content.get("current-context"))
        made = config.connection() if has_user else Connection(place.server)
    except OSError as error:
        raise ClusterError(f"cannot read --discovery-file: {fault(error)}", fix="name another file") from error
    except (KubeConfigError, ValueError) as error:
        raise ClusterError(f"--discovery-file: {error}", fix="take that of a running cluster") from error
    made = dataclasses.replace(made, server=place.server, ca_pem=place.ca_pem)
    if wanted.bootstrap_token:
        token = str(discovery.parse_token(wanted.bootstrap_token))
        return dataclasses.replace(made, token=token, client_certificate_pem=b"", client_key_pem=b"")
    if not made.token and not made.token_file and not made.client_certificate_pem:
        raise ClusterError(
            f"{wanted.discovery_file} says where the cluster is, and holds nothing that this machine could show it",
            fix="give a bootstrap token too: --tls-bootstrap-token",
        )
    return made


async def settle(named: Instance, wanted: Wanted, given: Given, client: Client, server: str) -> Instance:
    """The instance that is to be; nothing is written. Raises ClusterError."""
    data = await asking.config_map(client, admission.CONFIG)
    cluster = admission.cluster_settings(named.name, data, server)
    node = admission.worker(given.node(named.node), wanted.node_name)
    place = node.kubernetes_dir or str(kubernetesdir.default_directory(named))
    node = dataclasses.replace(node, kubernetes_dir=place)
    if wanted.control_plane is not None:
        cluster = _late().settings(cluster, wanted.control_plane, admission.api_port(data))
        node = _late().node_settings(node, cluster, wanted.control_plane)
    instance = starting.complete(dataclasses.replace(named, cluster=cluster, node=node))
    admission.refuse_foreign(instance.node.name, await asking.whoami(client))
    admission.refuse_double(instance.node.name, await asking.node(client, instance.node.name))
    return instance


async def credentials(
    instance: Instance, client: Client, known: Connection, wanted: Wanted, progress: Progress
) -> dict[str, str]:
    """``pki.NODE_FILES``: the node's own certificate by what we were given, the others as the node. Raises
    ClusterError."""
    node = instance.node
    progress.step(f"Having node {node.name!r} given certificates")
    leaves = {leaf.stem: leaf for leaf in pki.node_leaves(node.name, node.addresses)}
    files = {"ca.crt": known.ca_pem.decode()}

    async def fetch(asked: Client, leaf: Leaf) -> None:
        made, key = await asking.certificate(asked, leaf, wanted.bootstrap_seconds, progress.step)
        files[f"{leaf.stem}.crt"], files[f"{leaf.stem}.key"] = made.decode(), key.decode()

    await fetch(client, leaves.pop("kubelet-client"))
    as_node = Connection(
        known.server,
        ca_pem=known.ca_pem,
        client_certificate_pem=files["kubelet-client.crt"].encode(),
        client_key_pem=files["kubelet-client.key"].encode(),
    )
    async with asking.connected(as_node) as own:
        for leaf in leaves.values():
            await fetch(own, leaf)
    return files


def keep(instance: Instance, files: dict[str, str]) -> None:
    """Raises ClusterError."""
    try:
        pki.keep_given(instance, files)
    except OSError as error:
        raise ClusterError(
            f"cannot write {error.filename or instance.pki}: {error.strerror}",
            fix=f"make room on, or the right to, the file system of {instance.state_root}",
        ) from error
