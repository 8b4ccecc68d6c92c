"""Who serves Ingresses and Gateways on a node, as a cluster knows it."""

from __future__ import annotations

from sampan.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES
from sampan.client.client import Client
from sampan.cluster import addons
from sampan.cluster.settings import ClusterSettings
from sampan.testing.api import Api


async def edge_client(api: Api, node: str = "node") -> Client:
    """With the rights that a cluster gives it, and no others."""
    for resource, obj in addons.objects(ClusterSettings()):
        name = obj["metadata"]["name"]
        if resource in (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS) and name in ("sampan:ingress", "sampan:gateway"):
            await api.client.create(resource, {"apiVersion": resource.api_version, "kind": resource.kind, **obj})
    return api.client_for(f"system:edge:{node}", "sampan:ingress")
