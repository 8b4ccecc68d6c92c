"""The objects that an instance needs besides what the API server makes of itself: admin rights, node networking, DNS.

``objects`` is pure; ``ensure`` creates what is missing and mends what differs, as the cluster's own administrator.
"""

from __future__ import annotations

import asyncio

from sampan.api import loadbalancing
from sampan.api.errors import AlreadyExists, Conflict, NotFound
from sampan.api.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    INGRESS_CLASSES,
    NODES,
    SERVICES,
    STORAGE_CLASSES,
    Resource,
)
from sampan.api.storage import volumes
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.cluster import controlplanenodes, snapshotkinds
from sampan.cluster.settings import ClusterSettings

_RBAC = "rbac.authorization.k8s.io"


def objects(settings: ClusterSettings) -> list[tuple[Resource, Obj]]:
    read = ["get", "list", "watch"]
    return [
        (CLUSTER_ROLE_BINDINGS, _binding("kubeadm:cluster-admins", "cluster-admin", "kubeadm:cluster-admins")),
        (
            CLUSTER_ROLES,
            {
                "metadata": {"name": "sampan:network"},
                "rules": [
                    {"apiGroups": [""], "resources": ["services", "nodes", "pods", "namespaces"], "verbs": read},
                    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
                    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": read},
                    {"apiGroups": ["policy.networking.k8s.io"], "resources": ["*"], "verbs": read},
                    {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["kube-dns"], "verbs": read},
                    {
                        "apiGroups": ["", "events.k8s.io"],
                        "resources": ["events"],
                        "verbs": ["create", "patch", "update"],
                    },
                ],
            },
        ),
        (CLUSTER_ROLE_BINDINGS, _binding("sampan:network", "sampan:network", "sampan:network")),
        # Apart, for clusters that were made before there was any: what is there is left as it is.
        (
            CLUSTER_ROLES,
            {
                "metadata": {"name": "sampan:network:corefile"},
                "rules": [
                    {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["coredns"], "verbs": read}
                ],
            },
        ),
        (CLUSTER_ROLE_BINDINGS, _binding("sampan:network:corefile", "sampan:network:corefile", "sampan:network")),
        (CLUSTER_ROLES, _ingress_role()),
        (CLUSTER_ROLE_BINDINGS, _binding("sampan:ingress", "sampan:ingress", "sampan:ingress")),
        (CLUSTER_ROLES, _gateway_role()),
        (CLUSTER_ROLE_BINDINGS, _binding("sampan:gateway", "sampan:gateway", "sampan:ingress")),
        (SERVICES, _dns_service(settings)),
        (CLUSTER_ROLES, _local_path_role()),
        (
            CLUSTER_ROLE_BINDINGS,
            {
                **_binding(_LOCAL_PATH, _LOCAL_PATH, ""),
                "subjects": [{"kind": "ServiceAccount", "name": "local-path-provisioner", "namespace": "kube-system"}],
            },
        ),
        (STORAGE_CLASSES, _standard_class()),
        *((CUSTOM_RESOURCE_DEFINITIONS, each) for each in snapshotkinds.definitions()),
        # A node renews its certificates itself. As kubeadm has it.
        (
            CLUSTER_ROLE_BINDINGS,
            _binding(
                "kubeadm:node-autoapprove-certificate-rotation",
                "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
                "system:nodes",
            ),
        ),
        (CLUSTER_ROLES, _node_certificates_role()),
        (CLUSTER_ROLES, _node_certificates_role_of_settings()),
        *(
            (
                CLUSTER_ROLE_BINDINGS,
                {
                    **_binding(name, name, ""),
                    "subjects": [
                        {"kind": "ServiceAccount", "name": "node-certificate-approver", "namespace": "kube-system"}
                    ],
                },
            )
            for name in (_NODE_CERTIFICATES, _NODE_CERTIFICATES_SETTINGS)
        ),
        (CLUSTER_ROLES, _snapshot_role()),
        (
            CLUSTER_ROLE_BINDINGS,
            {
                **_binding(_SNAPSHOTS, _SNAPSHOTS, ""),
                "subjects": [{"kind": "ServiceAccount", "name": "snapshot-controller", "namespace": "kube-system"}],
            },
        ),
    ]


_SNAPSHOTS = "sampan:snapshot-controller"
_NODE_CERTIFICATES = "sampan:node-certificate-approver"
_NODE_CERTIFICATES_SETTINGS = f"{_NODE_CERTIFICATES}:settings"
_LOCAL_PATH = "sampan:local-path-provisioner"


def _standard_class() -> Obj:
    """The class of claims that name none, with the name and the ways that kind and minikube give it."""
    return {
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": volumes.LOCAL_PATH,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


def _node_certificates_role() -> Obj:
    """To approve what a node asks for as itself (``controllers/certificates/nodes``)."""
    csr = "certificates.k8s.io"
    signers = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client"]
    return {
        "metadata": {"name": _NODE_CERTIFICATES},
        "rules": [
            {
                "apiGroups": [csr],
                "resources": ["certificatesigningrequests"],
                "verbs": ["get", "list", "watch"],
            },
            {"apiGroups": [csr], "resources": ["certificatesigningrequests/approval"], "verbs": ["update"]},
            {"apiGroups": [csr], "resources": ["signers"], "resourceNames": signers, "verbs": ["approve"]},
            {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        ],
    }


def _node_certificates_role_of_settings() -> Obj:
    """To know the API servers' names. Apart, for clusters that were made before it was asked."""
    return {
        "metadata": {"name": _NODE_CERTIFICATES_SETTINGS},
        "rules": [
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["sampan-config"], "verbs": ["get"]}
        ],
    }


def _local_path_role() -> Obj:
    """What an external provisioner may do upstream, and to have a node take a directory away."""
    return {
        "metadata": {"name": _LOCAL_PATH},
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["persistentvolumes"],
                "verbs": ["get", "list", "watch", "create", "update", "delete"],
            },
            {
                "apiGroups": [""],
                "resources": ["persistentvolumeclaims"],
                "verbs": ["get", "list", "watch", "update"],
            },
            {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["delete"]},
            {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]},
        ],
    }


def _ingress_class() -> Obj:
    """The class of Ingresses that name none. ``sampan.edge.ingress.classes`` knows it."""
    return {
        "metadata": {"name": "sampan", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": "sampan.io/ingress"},
    }


def _ingress_role() -> Obj:
    """What serves Ingresses: reads them and writes their status. The Secrets that they refer to are no rule's to say:
    ``sampan.server.authz.edge``."""
    read, group = ["get", "list", "watch"], "networking.k8s.io"
    return {
        "metadata": {"name": "sampan:ingress"},
        "rules": [
            {"apiGroups": [group], "resources": ["ingresses", "ingressclasses"], "verbs": read},
            {"apiGroups": [group], "resources": ["ingresses/status"], "verbs": ["update"]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
            {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]},
        ],
    }


def _gateway_role() -> Obj:
    """What the same identity needs for the Gateway API."""
    read, group = ["get", "list", "watch"], "gateway.networking.k8s.io"
    told = ("gatewayclasses", "gateways", "httproutes", "grpcroutes", "tlsroutes", "backendtlspolicies")
    return {
        "metadata": {"name": "sampan:gateway"},
        "rules": [
            {"apiGroups": [group], "resources": [*told, "referencegrants"], "verbs": read},
            {"apiGroups": [group], "resources": [f"{each}/status" for each in told], "verbs": ["update"]},
            {"apiGroups": [""], "resources": ["namespaces"], "verbs": read},
            {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["get"]},
        ],
    }


def _snapshot_role() -> Obj:
    """What upstream's snapshot-controller may do, as far as it is done here."""
    read, group = ["get", "list", "watch"], "snapshot.storage.k8s.io"
    return {
        "metadata": {"name": _SNAPSHOTS},
        "rules": [
            {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": read},
            {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": [*read, "update"]},
            {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]},
            {"apiGroups": [group], "resources": ["volumesnapshotclasses"], "verbs": read},
            {
                "apiGroups": [group],
                "resources": ["volumesnapshotcontents"],
                "verbs": [*read, "create", "update", "delete"],
            },
            {"apiGroups": [group], "resources": ["volumesnapshots"], "verbs": [*read, "update"]},
            {"apiGroups": [group], "resources": ["volumesnapshots/status"], "verbs": ["update"]},
        ],
    }


def _binding(name: str, role: str, group: str) -> Obj:
    return {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group}],
    }


def _dns_service(settings: ClusterSettings) -> Obj:
    """The name that tools look for. It has no selector: every node's proxy sends it to the node's own DNS server."""
    return {
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
            # As kubeadm has them: who scrapes by annotations finds the metrics of the scraper's own node.
            "annotations": {"prometheus.io/port": "9153", "prometheus.io/scrape": "true"},
        },
        "spec": {
            "clusterIP": settings.dns_ips[0],
            "clusterIPs": list(settings.dns_ips),
            "ipFamilyPolicy": "RequireDualStack" if len(settings.dns_ips) > 1 else "SingleStack",
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
                {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153},
            ],
        },
    }


async def ensure(client: Client, settings: ClusterSettings, *, ingress: bool = False) -> None:
    """Creates what is missing; an object that somebody changed is left as they want it. ``ingress``: Ingresses are
    served, and there is a class for those that name none."""
    wanted = [*objects(settings), *([(INGRESS_CLASSES, _ingress_class())] if ingress else [])]
    async with asyncio.TaskGroup() as group:
        for resource, obj in wanted:
            group.create_task(_create(client, resource, obj), name=f"create {obj['metadata']['name']}")
        if settings.loadbalancer_pool:
            group.create_task(_give_pool(client, settings.loadbalancer_pool), name="pool of addresses")


async def _give_pool(client: Client, ranges: str) -> None:
    """The pool that ``up`` was given, beside those that the cluster has already."""
    name, namespace, data = loadbalancing.POOLS_NAME, loadbalancing.POOLS_NAMESPACE, {"default": ranges}
    pools = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace}, "data": data}
    try:
        await client.create(CONFIG_MAPS, pools)
    except AlreadyExists:
        await client.patch(CONFIG_MAPS, name, {"data": data}, namespace)


async def _create(client: Client, resource: Resource, obj: Obj) -> None:
    meta = obj["metadata"]
    try:
        # Asked first: a Service whose address is taken, by itself, is refused before it is found to exist.
        await client.get(resource, meta["name"], meta.get("namespace"))
        return
    except NotFound:
        pass
    try:
        await client.create(resource, {"apiVersion": resource.api_version, "kind": resource.kind, **obj})
    except AlreadyExists:
        pass


async def label_control_plane(client: Client, node_name: str) -> None:
    """Gives the node that runs the control plane its role, once it is there: a node may not do that itself. Where
    ``init`` tainted it under both names, whoever takes one of the taints away has taken both."""
    key = controlplanenodes.CONTROL_PLANE
    selector = f"metadata.name={node_name}"
    while True:
        async with client.watch(NODES, field_selector=selector) as events:
            async for event in events:
                if event.type not in ("ADDED", "MODIFIED"):
                    continue
                if key not in event.object["metadata"].get("labels", {}):
                    patch: Obj | None = {"metadata": {"labels": {key: ""}}}
                else:
                    patch = controlplanenodes.plan_untaint(event.object)
                if patch is not None:
                    try:
                        await client.patch(NODES, node_name, patch)
                    except (NotFound, Conflict):
                        pass  # deleted meanwhile: the next one gets it; or changed, which comes as the next event
