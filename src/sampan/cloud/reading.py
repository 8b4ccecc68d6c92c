"""What the controllers read of nodes and Services, and the patches that they write. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sampan.api import objects
from sampan.api.nodes import taints
from sampan.api.reading import part, parts, text, text_map
from sampan.api.types import Obj
from sampan.cloud.provider import ADDRESS_TYPES, Balancer, Machine, NodeRef

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
PROVIDED_IP = "alpha.kubernetes.io/provided-node-ip"
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
_EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
_LEAVING = "ToBeDeletedByClusterAutoscaler"
_INSTANCE_TYPES = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
_ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_REGIONS = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")


def ref_of(node: Obj) -> NodeRef:
    return NodeRef(objects.name(node), text(part(node, "spec"), "providerID"))


def has_taint(node: Obj, key: str) -> bool:
    return any(taint.get("key") == key for taint in taints.of(node))


def condition(node: Obj, kind: str) -> Obj | None:
    return next((each for each in parts(part(node, "status"), "conditions") if each.get("type") == kind), None)


def is_ready(node: Obj) -> bool:
    found = condition(node, "Ready")
    return found is not None and found.get("status") == "True"


def labels_of(machine: Machine) -> dict[str, str]:
    found = dict(machine.labels or {})
    for names, value in ((_INSTANCE_TYPES, machine.instance_type), (_ZONES, machine.zone), (_REGIONS, machine.region)):
        if value:
            found.update(dict.fromkeys(names, value))
    return found


def taints_without(node: Obj, key: str) -> list[Obj]:
    return [dict(taint) for taint in taints.of(node) if taint.get("key") != key]


def initialized(node: Obj, machine: Machine) -> Obj:
    """The patch that makes it a node of the cloud."""
    spec: dict[str, Any] = {"taints": taints_without(node, UNINITIALIZED) or None}
    if not text(part(node, "spec"), "providerID"):
        spec["providerID"] = machine.provider_id
    meta = {"resourceVersion": objects.resource_version(node), "labels": labels_of(machine)}
    return {"metadata": meta, "spec": spec}


def addresses_of(node: Obj, machine: Machine) -> list[Obj] | None:
    """As the node's status is to have them; None: an address that the node was told to have is not among them."""
    ordered = sorted(machine.addresses, key=lambda each: ADDRESS_TYPES.index(each[0]))
    wanted = text_map(part(node, "metadata"), "annotations").get(PROVIDED_IP, "")
    if wanted:
        kinds = {kind for kind, address in ordered if address in wanted.split(",")}
        if not kinds:
            return None
        # Of the types of a wanted address, the wanted ones alone; others stay.
        ordered = [each for each in ordered if each[1] in wanted.split(",") or each[0] not in kinds]
    if all(kind != "Hostname" for kind, _ in ordered):
        ordered += [
            ("Hostname", text(each, "address"))
            for each in parts(part(node, "status"), "addresses")
            if each.get("type") == "Hostname"
        ]
    return [{"type": kind, "address": address} for kind, address in dict.fromkeys(ordered)]


def is_balanced(service: Obj) -> bool:
    """Whether a cloud is to give it an address: one with a class is somebody else's."""
    spec = part(service, "spec")
    return text(spec, "type") == "LoadBalancer" and not text(spec, "loadBalancerClass")


def balanced_nodes(nodes: Iterable[Obj]) -> list[Obj]:
    """Those that load balancers may send to, as upstream chooses them."""
    return sorted(
        (
            node
            for node in nodes
            if not objects.is_deleting(node)
            and is_ready(node)
            and _EXCLUDED not in objects.labels(node)
            and not has_taint(node, _LEAVING)
            and not has_taint(node, UNINITIALIZED)
        ),
        key=objects.name,
    )


def balancer_name(service: Obj) -> str:
    """As upstream's default: of the Service's uid."""
    return f"a{objects.uid(service).replace('-', '')}"[:32]


def ingress_of(balancer: Balancer) -> list[Obj]:
    return [{"ip": address, "ipMode": "VIP"} for address in balancer.addresses] + [
        {"hostname": name} for name in balancer.hostnames
    ]
