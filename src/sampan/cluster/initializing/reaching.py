"""Which cluster a command speaks to, and as whom: one of this machine, or that of a kubeconfig."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sampan.api.errors import ApiError, NotFound
from sampan.api.resources import CONFIG_MAPS
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import Connection, KubeConfig, KubeConfigError
from sampan.cluster import instance as instances
from sampan.cluster import kubeconfigs, kubernetesdir
from sampan.cluster.errors import ClusterError
from sampan.cluster.initializing import documents, objects
from sampan.cluster.initializing.configuration import Configuration
from sampan.cluster.instance import Instance
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Reached:
    """``instance``: the cluster's control plane is on this machine; None: a kubeconfig says where it is."""

    connection: Connection
    instance: Instance | None = None


def reach(name: str, kubeconfig: Path | None) -> Reached:
    """A kubeconfig that was named; else the control plane of this machine; else /etc/kubernetes/admin.conf, or the
    file of $KUBECONFIG. Raises ClusterError."""
    named = instances.nameless(name)
    if kubeconfig is None and named.exists():
        instance = instances.load(name)
        if instance.node.runs_control_plane:
            return Reached(administrator(instance), instance)
    path = kubeconfig or kubernetesdir.DEFAULT / kubernetesdir.ADMIN
    if kubeconfig is None and not path.exists() and os.environ.get("KUBECONFIG"):
        path = Path(os.environ["KUBECONFIG"].split(os.pathsep)[0])
    if kubeconfig is None and not path.exists():
        raise ClusterError(
            f"there is no control plane of a cluster {name!r} on this machine, and no {path}",
            fix="run it where the control plane is, or name a file with --kubeconfig",
        )
    try:
        return Reached(KubeConfig.load(path).connection())
    except KubeConfigError as error:
        raise ClusterError(str(error), fix="name another file with --kubeconfig") from error


def administrator(instance: Instance) -> Connection:
    """The one that no rule of the cluster can lock out, where there is one. Raises ClusterError."""
    for stem in ("super-admin", "admin"):
        if (instance.pki / f"{stem}.crt").exists():
            return dataclasses.replace(kubeconfigs.connection(instance, stem), server=instance.own_api_url)
    raise ClusterError(
        f"there are no credentials of an administrator in {instance.pki}",
        fix="`sampan init phase certs all` makes the certificates",
    )


@asynccontextmanager
async def connected(reached: Reached) -> AsyncIterator[Client]:
    """Raises ClusterError for whatever the server refuses, or when there is none."""
    transport = HttpTransport(reached.connection, user_agent="sampan")
    try:
        yield Client(transport)
    except ApiError as error:
        raise _refused(reached, error) from error
    except ExceptionGroup as group:  # of several questions at the same time
        first = next((each for each in group.exceptions if isinstance(each, ApiError)), None)
        if first is None:
            raise
        raise _refused(reached, first) from group
    finally:
        await transport.close()


def _refused(reached: Reached, error: ApiError) -> ClusterError:
    instance = reached.instance
    fix = "see that it runs, and that the kubeconfig is the administrator's"
    if instance is not None:
        status, logs = instance.command("status"), instance.command("logs server")
        fix = f"`{status}` shows whether it runs, `{logs}` why not"
    return ClusterError(f"{reached.connection.server}: {error.message}", fix=fix)


async def open_to_others(client: Client, instance: Instance) -> None:
    """What machines need to find in a cluster in order to join; nothing where it is there already."""
    try:
        await client.get(CONFIG_MAPS, objects.CLUSTER_INFO, objects.PUBLIC)
        await client.get(CONFIG_MAPS, objects.SETTINGS_NAME, objects.SYSTEM)
    except NotFound:
        await objects.apply(client, of_instance(instance))


def of_instance(instance: Instance, wanted: Configuration | None = None) -> list[objects.Wanted]:
    """Everything that a cluster says of itself, for those who join."""
    cluster = instance.cluster
    complete = completed(instance, wanted or Configuration())
    kubelet = {
        "apiVersion": documents.KUBELET[0],
        "kind": documents.KUBELET[1],
        "clusterDNS": list(cluster.dns_ips),
        "clusterDomain": cluster.cluster_domain,
        "rotateCertificates": True,
        **complete.kubelet,
    }
    return [
        *objects.rights(),
        objects.configuration(documents.cluster_document(complete)),
        objects.settings(cluster, settings_address(instance)),
        objects.kubelet_configuration(kubelet),
        objects.cluster_info((instance.pki / "ca.crt").read_bytes(), f"https://{instance.advertised}"),
    ]


def settings_address(instance: Instance) -> str:
    """Host alone: where machines without a control plane reach the API."""
    endpoint = instance.cluster.endpoint
    return endpoint[0] if endpoint else next(iter(instance.node.addresses), instance.api_host)


def completed(instance: Instance, wanted: Configuration) -> Configuration:
    """What was asked for, with what was chosen for it."""
    cluster = instance.cluster
    return dataclasses.replace(
        wanted,
        bind_port=cluster.api_port,
        node_name=wanted.node_name or instance.node.name,
        pod_subnet=cluster.pod_cidr,
        service_subnet=cluster.service_cidr,
        dns_domain=cluster.cluster_domain,
        control_plane_endpoint=cluster.control_plane_endpoint,
        cert_sans=cluster.extra_sans,
        cert_dir=str(kubernetesdir.pki_directory(instance)),
        certificate_seconds=cluster.certificate_seconds,
        ca_certificate_seconds=cluster.ca_certificate_seconds,
        encryption_algorithm=cluster.encryption_algorithm,
        store=f"etcd://{cluster.etcd_endpoints}" if cluster.etcd_endpoints else cluster.store,
        etcd_files=(cluster.etcd_cafile, cluster.etcd_certfile, cluster.etcd_keyfile),
    )


async def whereabouts(client: Client, reached: Reached) -> tuple[str, bytes]:
    """``host:port`` and the CA, for a join command. Raises ClusterError."""
    if reached.instance is not None:
        return reached.instance.advertised, (reached.instance.pki / "ca.crt").read_bytes()
    return reached.connection.server.removeprefix("https://"), reached.connection.ca_pem
