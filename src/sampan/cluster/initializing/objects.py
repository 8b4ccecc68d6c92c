"""What ``init`` writes into a cluster for those who join it, with kubeadm's names. Pure, but for ``apply``.

Whoever holds a bootstrap token may read the ConfigMaps ``kubeadm-config`` (a ClusterConfiguration, for people and for
kubeadm's own tools), ``sampan-config`` (``ClusterSettings``, what a joining machine goes by) and ``kubelet-config``,
ask for a client certificate of a node, and read the sealed keys. Everybody may read ``kube-public/cluster-info``: where
the cluster is and its CA, signed with each token.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import orjson

from sampan.api.bootstraptokens import NODE_GROUP
from sampan.api.errors import AlreadyExists, NotFound
from sampan.api.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    ROLE_BINDINGS,
    ROLES,
    Resource,
)
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.cluster.settings import ClusterSettings

SETTINGS_NAME, SETTINGS_KEY = "sampan-config", "cluster"
KUBEADM_NAME, KUBEADM_KEY = "kubeadm-config", "ClusterConfiguration"
KUBELET_NAME, KUBELET_KEY = "kubelet-config", "kubelet"
PROXY_NAME = "kube-proxy"
CLUSTER_INFO, PUBLIC = "cluster-info", "kube-public"
SYSTEM = "kube-system"
_RBAC = "rbac.authorization.k8s.io"
_NODES = "system:nodes"

Wanted = tuple[Resource, Obj]


def rights() -> list[Wanted]:
    """What tokens and nodes may, as kubeadm has it."""
    csr = "system:certificates.k8s.io:certificatesigningrequests"
    return [
        (CLUSTER_ROLE_BINDINGS, _cluster_binding("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", NODE_GROUP)),
        (CLUSTER_ROLES, _role("kubeadm:get-nodes", "", "nodes", [])),
        (CLUSTER_ROLE_BINDINGS, _cluster_binding("kubeadm:get-nodes", "kubeadm:get-nodes", NODE_GROUP)),
        (
            CLUSTER_ROLE_BINDINGS,
            _cluster_binding("kubeadm:node-autoapprove-bootstrap", f"{csr}:nodeclient", NODE_GROUP),
        ),
        (
            CLUSTER_ROLE_BINDINGS,
            _cluster_binding("kubeadm:node-autoapprove-certificate-rotation", f"{csr}:selfnodeclient", _NODES),
        ),
        *_readable("kubeadm:bootstrap-signer-clusterinfo", PUBLIC, "configmaps", CLUSTER_INFO, [_user("anonymous")]),
        *_readable("kubeadm:nodes-kubeadm-config", SYSTEM, "configmaps", KUBEADM_NAME, _groups(NODE_GROUP, _NODES)),
        *_readable("kubeadm:kubelet-config", SYSTEM, "configmaps", KUBELET_NAME, _groups(NODE_GROUP, _NODES)),
        *_readable("kube-proxy", SYSTEM, "configmaps", PROXY_NAME, _groups(NODE_GROUP)),
        *_readable("kubeadm:kubeadm-certs", SYSTEM, "secrets", "kubeadm-certs", _groups(NODE_GROUP)),
        *_readable("sampan:nodes-config", SYSTEM, "configmaps", SETTINGS_NAME, _groups(NODE_GROUP, _NODES)),
    ]


def cluster_info(ca_pem: bytes, server: str) -> Wanted:
    """``server``: where others reach the cluster. Signed by the bootstrap signer."""
    import base64

    cluster = {"certificate-authority-data": base64.b64encode(ca_pem).decode(), "server": server}
    config: Obj = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "", "cluster": cluster}],
        "contexts": None,
        "current-context": "",
        "preferences": {},
        "users": None,
    }
    return CONFIG_MAPS, _config_map(PUBLIC, CLUSTER_INFO, {"kubeconfig": _yaml(config)})


def configuration(document: Obj) -> Wanted:
    return CONFIG_MAPS, _config_map(SYSTEM, KUBEADM_NAME, {KUBEADM_KEY: _yaml(document)})


def kubelet_configuration(document: Obj) -> Wanted:
    return CONFIG_MAPS, _config_map(SYSTEM, KUBELET_NAME, {KUBELET_KEY: _yaml(document)})


def proxy_configuration(document: Obj) -> Wanted:
    return CONFIG_MAPS, _config_map(SYSTEM, PROXY_NAME, {"config.conf": _yaml(document)})


def settings(cluster: ClusterSettings, address: str) -> Wanted:
    """``address``: where machines without the control plane reach it. Files of this machine are left out."""
    files = {"admission_config": "", "scheduler_config": "", "scheduler_plugins": ""}  # of this machine
    shared = dataclasses.asdict(cluster) | {"api_address": address, **files}
    return CONFIG_MAPS, _config_map(SYSTEM, SETTINGS_NAME, {SETTINGS_KEY: orjson.dumps(shared).decode()})


async def apply(client: Client, wanted: Iterable[Wanted]) -> None:
    """Creates what is not there, and brings what is there to this, but for what others added to a ConfigMap."""
    for resource, obj in wanted:
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
        try:
            await client.create(resource, whole)
        except AlreadyExists:
            meta = obj["metadata"]
            body = {key: value for key, value in obj.items() if key not in ("metadata", "roleRef")}
            try:
                await client.patch(resource, meta["name"], body, meta.get("namespace"))
            except NotFound:  # deleted in between
                await client.create(resource, whole)


def _yaml(document: Obj) -> str:
    import yaml  # late: of all commands few write any

    text: str = yaml.safe_dump(document, sort_keys=True)
    return text


def _config_map(namespace: str, name: str, data: dict[str, str]) -> Obj:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data}


def _role(name: str, namespace: str, resource: str, names: list[str]) -> Obj:
    rule: Obj = {"apiGroups": [""], "resources": [resource], "verbs": ["get"]}
    if names:
        rule["resourceNames"] = names
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, "rules": [rule]}


def _readable(name: str, namespace: str, resource: str, object_name: str, subjects: list[Obj]) -> list[Wanted]:
    return [
        (ROLES, _role(name, namespace, resource, [object_name])),
        (
            ROLE_BINDINGS,
            {
                "metadata": {"name": name, "namespace": namespace},
                "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
                "subjects": subjects,
            },
        ),
    ]


def _cluster_binding(name: str, role: str, group: str) -> Obj:
    return {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": _groups(group),
    }


def _groups(*names: str) -> list[Obj]:
    return [{"apiGroup": _RBAC, "kind": "Group", "name": name} for name in names]


def _user(name: str) -> Obj:
    return {"apiGroup": _RBAC, "kind": "User", "name": f"system:{name}"}
