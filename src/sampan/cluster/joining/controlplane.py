"""A machine that joins as a control plane: the cluster's keys, a member of etcd, an API server of its own.

The keys come sealed from the cluster (``initializing.certificates``), or lie where kubeadm's instructions have a person
copy them; from there on the machine makes its certificates itself. Its member of etcd is added as one without a vote,
so that a machine that does not come up takes no vote from those that run, and is given it when it has caught up.
Whatever fails after that takes the member out again.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sampan.api.clock import Clock
from sampan.api.errors import ApiError, NotFound
from sampan.api.faults import fault
from sampan.api.reading import part, parts
from sampan.api.resources import ENDPOINT_SLICES, SECRETS
from sampan.client.client import Client
from sampan.client.kubeconfig import Connection
from sampan.cluster import kubeconfigs, kubernetesdir, pki
from sampan.cluster import up as starting
from sampan.cluster.errors import ClusterError
from sampan.cluster.etcd import member as etcd_member
from sampan.cluster.etcd import members as etcd_members
from sampan.cluster.initializing import certificates, marking
from sampan.cluster.instance import Instance
from sampan.cluster.joining import asking, discovery
from sampan.cluster.joining.wanted import ControlPlane
from sampan.cluster.nodesettings import NodeSettings
from sampan.cluster.settings import ClusterSettings
from sampan.cluster.up import Progress
from sampan.store.etcd.client import Client as EtcdClient
from sampan.store.protocol import StoreError

#: How long others may have a member under way: etcd takes one at a time.
_TURN_SECONDS = 60.0
_LOOK_SECONDS = 0.5


def settings(cluster: ClusterSettings, wanted: ControlPlane, api_port: int) -> ClusterSettings:
    """``api_port``: of the control planes that there are. Raises ClusterError: the cluster can have one alone."""
    if cluster.store != "etcd":
        raise ClusterError(
            "the cluster's store is a file of its one control plane (sqlite), which no other can share",
            fix="move it to etcd first (`sampan store migrate`, docs/backup.md), or join as a worker: without "
            "--control-plane",
        )
    # Its own API server is here.
    return dataclasses.replace(cluster, api_address="", api_port=wanted.bind_port or api_port)


def node_settings(node: NodeSettings, cluster: ClusterSettings, wanted: ControlPlane) -> NodeSettings:
    roles = ("control-plane", "node", *(("etcd",) if cluster.manages_etcd else ()))
    return dataclasses.replace(node, roles=roles, given_address=wanted.advertise_address or node.given_address)


async def keys(client: Client, wanted: ControlPlane, instance: Instance, ca_pem: bytes) -> dict[str, str]:
    """What control planes share, by file; {}: it lies where the instance looks for it. ``ca_pem``: of the cluster.
    Raises ClusterError."""
    place = kubernetesdir.pki_directory(instance)
    if not wanted.certificate_key:
        require_keys(instance, ca_pem)
        return {}
    try:
        key = certificates.parse_key(wanted.certificate_key)
    except ClusterError as error:
        raise ClusterError(
            f"--certificate-key: {error.message}",
            fix="`sampan init phase upload-certs --upload-certs`, on a control plane, prints the one to give",
        ) from error
    try:
        secret = await client.get(SECRETS, certificates.SECRET_NAME, certificates.SECRET_NAMESPACE)
    except NotFound:
        raise ClusterError(
            f'Secret "{certificates.SECRET_NAME}" was not found in the "{certificates.SECRET_NAMESPACE}" Namespace: it '
            "might have expired",
            fix="`sampan init phase upload-certs --upload-certs` on a control plane makes it anew, and prints its key",
        ) from None
    except ApiError as error:
        raise asking.explained(client, error) from error
    opened = certificates.unseal(secret, key, etcd=instance.cluster.manages_etcd)
    for name, content in opened.items():
        if (place / name).is_file() and (place / name).read_bytes() != content:
            raise ClusterError(
                f"{place / name} is there, and not this cluster's: it would be lost",
                fix="take it away, once it is known whose it is; then join again",
            )
    return {name: content.decode() for name, content in opened.items()}


def require_keys(instance: Instance, ca_pem: bytes) -> None:
    """What control planes share lies where the instance looks for it: whatever is missing would be made anew, and be
    another cluster's. Raises ClusterError."""
    place = kubernetesdir.pki_directory(instance)
    shared = (*certificates.SHARED, *(certificates.SHARED_ETCD if instance.cluster.manages_etcd else ()))
    missing = [name for name in shared if not any((each / name).is_file() for each in (place, instance.pki))]
    if missing:
        raise ClusterError(
            f"a control plane needs the cluster's keys, and {place / missing[0]} is not there",
            fix="give --certificate-key, as `sampan init phase upload-certs --upload-certs` on a control plane prints "
            f"it, or copy {', '.join(missing)} from one",
        )
    _refuse_another_ca(next(path for each in (place, instance.pki) if (path := each / "ca.crt").is_file()), ca_pem)


def _refuse_another_ca(path: Path, ca_pem: bytes) -> None:
    """Raises ClusterError: nobody would believe what such a control plane shows."""
    try:
        copied = {discovery.pin_of(each) for each in discovery.authorities(path.read_bytes())}
    except OSError as error:
        raise ClusterError(f"cannot read {path}: {fault(error)}", fix="copy it from a control plane") from error
    if copied.isdisjoint(discovery.pin_of(each) for each in discovery.authorities(ca_pem)):
        raise ClusterError(
            f"{path} is another cluster's CA",
            fix="copy the keys of a control plane of this one, or give --certificate-key",
        )


def make_certificates(instance: Instance, clock: Clock, progress: Progress) -> None:
    """By the keys that are there. Raises ClusterError."""
    progress.step("Making this machine's certificates")
    with starting.writing(instance):
        kubernetesdir.link_pki(instance)
        pki.ensure(instance, clock)


async def begin(
    instance: Instance, known: Connection, clock: Clock, progress: Progress, timeout_seconds: float
) -> None:
    """From certificates to a control plane that others see. Raises ClusterError."""
    if not instance.cluster.manages_etcd:
        starting.prepare(instance, clock, progress)
        await starting.start(instance, progress, timeout_seconds)
    else:
        await _with_member(instance, known, clock, progress, timeout_seconds)


async def mark(instance: Instance, taints: Sequence[Mapping[str, Any]] | None, progress: Progress) -> None:
    """``taints`` None: those of a control plane. Raises ClusterError."""
    progress.step("Marking the node as a control plane's")
    async with asking.connected(_administrator(instance, instance.own_api_url)) as client:
        try:
            await marking.mark(client, instance.node.name, taints)
        except ApiError as error:
            raise asking.explained(client, error) from error


async def wait(instance: Instance) -> None:
    """Raises ClusterError."""
    async with asking.connected(_administrator(instance, instance.own_api_url)) as client:
        await asking.told(client, client.raw("GET", "/readyz"))


def _administrator(instance: Instance, server: str) -> Connection:
    return dataclasses.replace(kubeconfigs.connection(instance, "admin"), server=server)


async def _with_member(
    instance: Instance, known: Connection, clock: Clock, progress: Progress, timeout_seconds: float
) -> None:
    async with asking.connected(_administrator(instance, known.server)) as client:
        others = await _etcd_of_others(client, instance)
    ours = etcd_members.settings_of(instance)
    there = dataclasses.replace(ours, endpoints=others)
    progress.step(f"Adding a member to etcd ({', '.join(others)})")
    async with etcd_members.connected(there) as etcd:
        new, every = await _add(etcd, instance)
        etcd_member.keep_endpoints(instance, others)
        etcd_member.write_config(instance, etcd_members.initial_cluster(every, new, instance.node.name))
        try:
            starting.prepare(instance, clock, progress)
            async with asyncio.TaskGroup() as group:
                vote = group.create_task(_promote(etcd, new.id, timeout_seconds), name="etcd vote")
                await starting.start(instance, progress, timeout_seconds)
                await vote
        except BaseException as error:
            with contextlib.suppress(ClusterError):
                async with etcd_members.connected(there) as again:
                    await etcd_members.remove(again, new.id)
            if isinstance(error, BaseExceptionGroup):
                raise _first(error) from None
            raise


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _etcd_of_others(client: Client, instance: Instance) -> tuple[str, ...]:
    """Where the other control planes' members take clients: at the addresses of the API servers, and all at the port
    that this machine's will have. Raises ClusterError."""
    try:
        listed = await client.list(ENDPOINT_SLICES, "default", label_selector="kubernetes.io/service-name=kubernetes")
    except ApiError as error:
        raise asking.explained(client, error) from error
    own = set(instance.node.addresses)
    found = [
        str(address)
        for each in parts(listed, "items")
        for endpoint in parts(each, "endpoints")
        if part(endpoint, "conditions").get("ready") is not False
        for address in endpoint.get("addresses") or ()
    ]
    port = instance.node.etcd_client_port
    others = [f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in found if each not in own]
    if not others:
        raise ClusterError(
            "the cluster names no other control plane (endpoints of Service default/kubernetes)",
            fix="see that one runs: `sampan status` there",
        )
    return tuple(dict.fromkeys(others))


async def _add(etcd: EtcdClient, instance: Instance) -> tuple[etcd_members.Member, Sequence[etcd_members.Member]]:
    """etcd takes one member without a vote at a time: others that join just now come first."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        try:
            return await etcd_members.add(etcd, etcd_member.peer_url(instance), learner=True)
        except StoreError as error:
            if "too many learner" not in str(error) or loop.time() - began > _TURN_SECONDS:
                raise
        await asyncio.sleep(_LOOK_SECONDS)


async def _promote(etcd: EtcdClient, member_id: int, timeout_seconds: float) -> None:
    try:
        await etcd_members.promote(etcd, member_id, timeout_seconds=timeout_seconds)
    except TimeoutError:
        raise ClusterError(
            f"this machine's member of etcd did not catch up within {timeout_seconds:.0f} s",
            fix="see that machines reach each other at the ports of etcd (2379, 2380), and `sampan logs etcd`",
        ) from None
