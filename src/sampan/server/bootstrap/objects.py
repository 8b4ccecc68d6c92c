"""The objects of a new cluster, as data. Pure; ``ensure`` writes them."""

from __future__ import annotations

from dataclasses import dataclass

from sampan.api.types import Obj
from sampan.server.authz.aggregation import plan_aggregation
from sampan.server.authz.policy import cluster_roles, controller_roles, namespace_roles

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapConfig:
    """``service_ip`` is the first address of ``service_cidr``. ``client_ca`` is PEM text, "" when there is none."""

    service_ip: str
    service_cidr: str
    advertise_address: str
    port: int
    client_ca: str = ""


def namespaces() -> list[Obj]:
    return [{"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}} for name in NAMESPACES]


def policy() -> list[Obj]:
    """Default roles and bindings; aggregated roles come with their rules, so that they serve from the first moment."""
    roles = cluster_roles.cluster_roles() + controller_roles.controller_roles()
    while changed := {role["metadata"]["name"]: role for role in plan_aggregation(roles)}:
        roles = [changed.get(role["metadata"]["name"], role) for role in roles]
    return [
        *roles,
        *cluster_roles.cluster_role_bindings(),
        *controller_roles.controller_role_bindings(),
        *namespace_roles.roles(),
        *namespace_roles.role_bindings(),
    ]


def kubernetes_service(config: BootstrapConfig) -> list[Obj]:
    """The Service ``default/kubernetes`` and its endpoints: this API server."""
    metadata = {"name": "kubernetes", "namespace": "default"}
    port = {"name": "https", "port": config.port, "protocol": "TCP"}
    return [
        {
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": {**metadata, "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {
                "type": "ClusterIP",
                "clusterIP": config.service_ip,
                "clusterIPs": [config.service_ip],
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": config.port}],
                "sessionAffinity": "None",
            },
        },
        {
            "kind": "Endpoints",
            "apiVersion": "v1",
            "metadata": {**metadata, "labels": {_SKIP_MIRROR: "true"}},
            "subsets": [{"addresses": [{"ip": config.advertise_address}], "ports": [port]}],
        },
        {
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv6" if ":" in config.advertise_address else "IPv4",
            "endpoints": [{"addresses": [config.advertise_address], "conditions": {"ready": True}}],
            "ports": [port],
        },
        {
            "kind": "ServiceCIDR",
            "apiVersion": "networking.k8s.io/v1",
            "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": [config.service_cidr]},
        },
    ]


def priority_classes() -> list[Obj]:
    def priority_class(name: str, value: int, description: str) -> Obj:
        return {
            "kind": "PriorityClass",
            "apiVersion": "scheduling.k8s.io/v1",
            "metadata": {"name": name},
            "value": value,
            "description": description,
            "preemptionPolicy": "PreemptLowerPriority",
        }

    return [
        priority_class(
            "system-node-critical",
            2000001000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        priority_class(
            "system-cluster-critical",
            2000000000,
            "Used for system critical pods that must run in the cluster, "
            "but can be moved to another node if necessary.",
        ),
    ]


_ALL_GROUPS = ("system:unauthenticated", "system:authenticated")
_ACCOUNTS = "system:serviceaccounts"
#: priority level -> (nominal concurrency shares, queues or 0 for none); upstream's mandatory and suggested ones
_LEVELS = {
    "catch-all": (5, 0),
    "global-default": (20, 128),
    "leader-election": (10, 16),
    "node-high": (40, 64),
    "system": (30, 64),
    "workload-high": (40, 128),
    "workload-low": (100, 128),
}
#: flow schema -> (priority level, matching precedence, subjects, distinguisher)
_SCHEMAS: dict[str, tuple[str, int, tuple[str, ...], str]] = {
    "exempt": ("exempt", 1, ("Group:system:masters",), ""),
    "probes": ("exempt", 2, tuple(f"Group:{group}" for group in _ALL_GROUPS), ""),
    "system-leader-election": (
        "leader-election",
        100,
        (
            "User:system:kube-controller-manager",
            "User:system:kube-scheduler",
            "Group:system:serviceaccounts:kube-system",
        ),
        "ByUser",
    ),
    "system-nodes": ("system", 500, ("Group:system:nodes",), "ByUser"),
    "kube-controller-manager": ("workload-high", 800, ("User:system:kube-controller-manager",), "ByNamespace"),
    "kube-scheduler": ("workload-high", 800, ("User:system:kube-scheduler",), "ByNamespace"),
    "kube-system-service-accounts": (
        "workload-high",
        900,
        ("Group:system:serviceaccounts:kube-system",),
        "ByNamespace",
    ),
    "service-accounts": ("workload-low", 9000, (f"Group:{_ACCOUNTS}",), "ByUser"),
    "global-default": ("global-default", 9900, tuple(f"Group:{group}" for group in _ALL_GROUPS), "ByUser"),
    "catch-all": ("catch-all", 10000, tuple(f"Group:{group}" for group in _ALL_GROUPS), "ByUser"),
}
_LEASE_SCHEMAS = frozenset({"system-leader-election"})
_PATH_SCHEMAS = frozenset({"probes"})


def flow_control() -> list[Obj]:
    """The mandatory and suggested priority levels and flow schemas."""
    exempt = {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}
    return [
        _flow("PriorityLevelConfiguration", "exempt", exempt),
        *(_flow("PriorityLevelConfiguration", name, _level(*values)) for name, values in _LEVELS.items()),
        *(_flow("FlowSchema", name, _schema(name)) for name in _SCHEMAS),
    ]


def _level(shares: int, queues: int) -> Obj:
    queuing = {"queues": queues, "handSize": 6, "queueLengthLimit": 50}
    response = {"type": "Queue", "queuing": queuing} if queues else {"type": "Reject"}
    limited = {"nominalConcurrencyShares": shares, "lendablePercent": 0, "limitResponse": response}
    return {"type": "Limited", "limited": limited}


def _schema(name: str) -> Obj:
    level, precedence, subjects, distinguisher = _SCHEMAS[name]
    groups, resources = (["coordination.k8s.io"], ["leases"]) if name in _LEASE_SCHEMAS else (["*"], ["*"])
    everywhere = {"verbs": ["*"], "apiGroups": groups, "resources": resources, "namespaces": ["*"]}
    rule: Obj = {"subjects": [_flow_subject(text) for text in subjects]}
    if name in _PATH_SCHEMAS:
        rule["nonResourceRules"] = [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]
    else:
        rule["resourceRules"] = [everywhere if name in _LEASE_SCHEMAS else {**everywhere, "clusterScope": True}]
        if name not in _LEASE_SCHEMAS:
            rule["nonResourceRules"] = [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    spec: Obj = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    }
    return {**spec, "distinguisherMethod": {"type": distinguisher}} if distinguisher else spec


def _flow_subject(text: str) -> Obj:
    kind, _, name = text.partition(":")
    return {"kind": kind, kind.lower(): {"name": name}}


def _flow(kind: str, name: str, spec: Obj) -> Obj:
    metadata = {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}}
    return {"kind": kind, "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "metadata": metadata, "spec": spec}


def authentication_config(config: BootstrapConfig) -> list[Obj]:
    """Where extension API servers learn which CA signs client certificates."""
    if not config.client_ca:
        return []
    return [
        {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
            "data": {"client-ca-file": config.client_ca},
        }
    ]


def all_but_namespaces(config: BootstrapConfig) -> list[Obj]:
    return [
        *policy(),
        *priority_classes(),
        *flow_control(),
        *kubernetes_service(config),
        *authentication_config(config),
    ]
