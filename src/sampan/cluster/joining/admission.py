"""What a joining machine becomes: settings out of what the cluster says of itself, and whether it may. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from urllib.parse import urlsplit

import orjson
import yaml

from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.cluster import instance as instances
from sampan.cluster.errors import ClusterError
from sampan.cluster.initializing.objects import KUBELET_KEY
from sampan.cluster.nodesettings import NodeSettings
from sampan.cluster.settings import ClusterSettings
from sampan.node.kubeletconfig import reading

#: ConfigMap in kube-system, and its key, with the settings that all machines of a cluster share
CONFIG, KEY = "sampan-config", "cluster"
NODE_USER = "system:node:"


def cluster_settings(name: str, data: Mapping[str, str], server: str) -> ClusterSettings:
    """``data``: of the ConfigMap. ``server``: where this machine reaches the API. Raises ClusterError."""
    written = data.get(KEY)
    if not written:
        raise ClusterError(
            f"the cluster at {server} does not say what its nodes must agree on: ConfigMap kube-system/{CONFIG} is "
            "missing, or this token may not read it",
            fix="`sampan init phase upload-config` and `sampan init phase bootstrap-token`, where the control plane is",
        )
    address, port = _address(server)
    try:
        told = orjson.loads(written)
        if not isinstance(told, dict):
            raise ValueError("it is no JSON object")
        files = {"admission_config": "", "scheduler_config": "", "scheduler_plugins": ""}  # of another machine
        own = {"name": name, "api_address": address, "api_port": port, **files}
        return instances.parse(ClusterSettings(name), told | own)
    except ValueError as error:
        raise ClusterError(
            f"ConfigMap kube-system/{CONFIG} of the cluster at {server} is damaged: {error}",
            fix="`sampan init phase upload-config`, where the control plane is, writes it anew",
        ) from error


def api_port(data: Mapping[str, str]) -> int:
    """Of the control planes' own API servers, whatever stands before them. ``data`` was read already."""
    return int(orjson.loads(data[KEY])["api_port"])


def kubelet_document(data: Mapping[str, str], cluster: ClusterSettings) -> Obj:
    """What the cluster's ConfigMap ``kubelet-config`` says to its nodes beside what they know anyhow; {}: nothing.
    Raises ClusterError."""
    written = data.get(KUBELET_KEY)
    if not written:
        return {}
    try:
        reading.parse(written.encode())
    except reading.BadKubeletConfig as error:
        raise ClusterError(
            f"ConfigMap kube-system/kubelet-config of the cluster cannot be used: {error}",
            fix="mend it (`kubectl edit`), or give this node a configuration of its own: --kubelet-config",
        ) from error
    known = {"clusterDNS": list(cluster.dns_ips), "clusterDomain": cluster.cluster_domain, "rotateCertificates": True}
    document: Obj = yaml.safe_load(written)
    left = {name: value for name, value in document.items() if value is not None and known.get(name) != value}
    return left if left.keys() - {"apiVersion", "kind"} else {}


def _address(server: str) -> tuple[str, int]:
    split = urlsplit(server)
    return split.hostname or "", split.port or 443


def worker(node: NodeSettings, node_name: str) -> NodeSettings:
    return dataclasses.replace(node, name=node_name or node.name, roles=("node",))


def refuse_double(node_name: str, there: Obj | None) -> str:
    """Raises ClusterError: a node of this name is alive. As kubeadm, only then: one that is not Ready was this machine,
    or one that is no more, and its name is taken up again. Gives a word on that; "": there is no such node."""
    if there is None:
        return ""
    ready = next((each for each in parts(part(there, "status"), "conditions") if each.get("type") == "Ready"), {})
    addresses = ", ".join(text(each, "address") for each in parts(part(there, "status"), "addresses"))
    if ready.get("status") != "True":
        since = text(ready, "lastTransitionTime") or text(part(there, "metadata"), "creationTimestamp")
        return (
            f"this machine takes up the Node {node_name!r} (at {addresses or 'no address'}), which has not been Ready "
            f"since {since}: its pods, and what they may read, become this machine's"
        )
    raise ClusterError(
        f'a Node with name "{node_name}" and status "Ready" already exists in the cluster (at {addresses})',
        fix=f"choose another --node-name, or, if that machine is gone, `kubectl delete node {node_name}` where the "
        "control plane is; then join again",
    )


def refuse_foreign(node_name: str, user: str) -> None:
    """Raises ClusterError: the credentials are those of another node, which no request of ours would be approved
    with."""
    if user.startswith(NODE_USER) and user != NODE_USER + node_name:
        raise ClusterError(
            f"the credentials given are those of node {user.removeprefix(NODE_USER)!r}, and this machine is to be "
            f"{node_name!r}: nobody is given another node's identity",
            fix="join with a bootstrap token: `sampan token create --print-join-command`, where the control plane is",
        )
