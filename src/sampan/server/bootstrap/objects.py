"""The objects of a new cluster, as data. Pure; ``ensure`` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from ipaddress import ip_address

from sampan.api.clock import format_time
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.authz.aggregation import plan_aggregation
from sampan.server.authz.policy import cluster_roles, controller_roles, namespace_roles
from sampan.server.bootstrap import flow

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
TOKEN_TRACKING = "kube-apiserver-legacy-service-account-token-tracking"
AUTHENTICATION = "extension-apiserver-authentication"
_SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapConfig:
    """``service_ip`` is the first address of ``service_cidrs``. ``client_ca`` is PEM text, "" when there is none."""

    service_ip: str
    #: one, or one of each family
    service_cidrs: tuple[str, ...]
    advertise_address: str
    port: int
    client_ca: str = ""
    #: what extension API servers are told of the front proxy: ``requestheader-*`` keys and their values
    front_proxy: Mapping[str, str] = field(default_factory=dict)
    #: the gate GenericWorkload is on
    groups: bool = False


def namespaces() -> list[Obj]:
    return [{"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}} for name in NAMESPACES]


def policy(*, groups: bool = False) -> list[Obj]:
    """Default roles and bindings; aggregated roles come with their rules, so that they serve from the first moment.
    ``groups``: with those that the gate GenericWorkload brings."""
    roles = cluster_roles.cluster_roles(groups=groups) + controller_roles.controller_roles()
    while changed := {role["metadata"]["name"]: role for role in plan_aggregation(roles)}:
        roles = [changed.get(role["metadata"]["name"], role) for role in roles]
    return [
        *roles,
        *cluster_roles.cluster_role_bindings(),
        *controller_roles.controller_role_bindings(),
        *namespace_roles.roles(),
        *namespace_roles.role_bindings(),
    ]


def kubernetes_service(config: BootstrapConfig, addresses: Sequence[str] | None = None) -> list[Obj]:
    """The Service ``default/kubernetes`` and its endpoints: the servers at ``addresses``, all with one port; none:
    whatever is there stays. Without them this API server, unless it is heard by its own machine only. (Endpoints on the
    loopback are refused, whoever writes them.)"""
    metadata = {"name": "kubernetes", "namespace": "default"}
    port = {"name": "https", "port": config.port, "protocol": "TCP"}
    found: list[Obj] = [
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
            "kind": "ServiceCIDR",
            "apiVersion": "networking.k8s.io/v1",
            "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": list(config.service_cidrs)},
        },
    ]
    if addresses is None:
        addresses = () if is_private(config.advertise_address) else (config.advertise_address,)
    family = ip_address(config.service_ip).version
    # A slice is of one family; who advertises no address of the Service's own has to do with another.
    addresses = [one for one in addresses if ip_address(one).version == family] or addresses
    if not addresses:
        return found
    return [
        *found,
        {
            "kind": "Endpoints",
            "apiVersion": "v1",
            "metadata": {**metadata, "labels": {_SKIP_MIRROR: "true"}},
            "subsets": [{"addresses": [{"ip": address} for address in addresses], "ports": [port]}],
        },
        {
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv6" if ":" in addresses[0] else "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
            "ports": [port],
        },
    ]


def is_private(address: str) -> bool:
    """Nobody but the machine itself reaches a server there."""
    return ip_address(address).is_loopback


def ready_condition(now: datetime) -> Obj:
    """Of the default ServiceCIDR: addresses are given out of it."""
    return {
        "type": "Ready",
        "status": "True",
        "reason": "",
        "message": "Kubernetes Service CIDR is ready",
        "lastTransitionTime": format_time(now),
    }


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


def authentication_config(config: BootstrapConfig) -> list[Obj]:
    """Where extension API servers learn which CA signs client certificates, and whom to believe who asks."""
    data = {**({"client-ca-file": config.client_ca} if config.client_ca else {}), **config.front_proxy}
    if not data:
        return []
    return [
        {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": AUTHENTICATION, "namespace": "kube-system"},
            "data": data,
        }
    ]


def token_tracking(now: datetime) -> Obj:
    """Since when the use of tokens in Secrets is written down: the cleaner of unused ones counts from there."""
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": TOKEN_TRACKING, "namespace": "kube-system"},
        "data": {"since": f"{now:%Y-%m-%d}"},
    }


def all_but_namespaces(config: BootstrapConfig, addresses: Sequence[str] | None = None) -> list[Obj]:
    """``addresses`` as ``kubernetes_service`` takes them."""
    return [
        *policy(groups=config.groups),
        *priority_classes(),
        *flow.flow_control(),
        *kubernetes_service(config, addresses),
        *authentication_config(config),
    ]
