"""Puts the adapter behind the API server: a Service without pods, its address, and the three APIServices.

Applied at each start, with the certificate that this start made. What somebody else owns is taken over: two adapters
for one group cannot both be asked.
"""

from __future__ import annotations

import base64
import ipaddress
from typing import Final

from sampan.api.errors import Conflict, NotFound
from sampan.api.reading import part, parts
from sampan.api.resources import API_SERVICES, CONFIG_MAPS, ENDPOINT_SLICES, SERVICES, Resource
from sampan.api.transport import Call
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.metricsadapter.answers import VERSIONS
from sampan.metricsadapter.server import FrontProxy

NAMESPACE: Final = "kube-system"
NAME: Final = "sampan-metrics-adapter"
HOST: Final = f"{NAME}.{NAMESPACE}.svc"
_LABELS: Final = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/managed-by": "sampan"}
_AUTHENTICATION: Final = "extension-apiserver-authentication"
#: of groups, as such adapters usually have them; versions get more, the better they are
_GROUP_PRIORITY, _VERSION_PRIORITY = 100, 100


async def front_proxy(client: Client) -> FrontProxy:
    """Raises ApiError; LookupError when the cluster names no front proxy."""
    import orjson

    found = await client.get(CONFIG_MAPS, _AUTHENTICATION, NAMESPACE)
    data = part(found, "data")
    ca = data.get("requestheader-client-ca-file")
    if not isinstance(ca, str) or not ca:
        raise LookupError("the cluster has no front proxy: its API server cannot be told from others")
    names = orjson.loads(data.get("requestheader-allowed-names") or "[]")
    return FrontProxy(ca, tuple(str(name) for name in names))


def objects(address: str, port: int, certificate: bytes) -> list[tuple[Resource, Obj]]:
    """In the order in which they are needed. Pure."""
    version = ipaddress.ip_address(address).version
    meta = {"name": NAME, "namespace": NAMESPACE, "labels": _LABELS}
    service: Obj = {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": meta,
        "spec": {"ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]},
    }
    slice_labels = {
        **_LABELS,
        "kubernetes.io/service-name": NAME,
        "endpointslice.kubernetes.io/managed-by": NAME,
    }
    piece: Obj = {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {**meta, "labels": slice_labels},
        "addressType": f"IPv{version}",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
    registered = [
        (API_SERVICES, _api_service(group, each, len(versions) - at, certificate))
        for group, versions in VERSIONS.items()
        for at, each in enumerate(versions)
    ]
    return [(SERVICES, service), (ENDPOINT_SLICES, piece), *registered]


def _api_service(group: str, version: str, rank: int, certificate: bytes) -> Obj:
    spec: Obj = {
        "group": group,
        "version": version,
        "groupPriorityMinimum": _GROUP_PRIORITY,
        "versionPriority": _VERSION_PRIORITY * rank,
        "service": {"namespace": NAMESPACE, "name": NAME, "port": 443},
        "caBundle": base64.b64encode(certificate).decode(),
    }
    metadata = {"name": f"{version}.{group}", "labels": _LABELS}
    return {"kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1", "metadata": metadata, "spec": spec}


async def register(client: Client, address: str, port: int, certificate: bytes) -> None:
    """Raises ApiError."""
    for resource, obj in objects(address, port, certificate):
        namespace = obj["metadata"].get("namespace")
        await client.transport.call(
            Call(
                "PATCH",
                resource.path(namespace, obj["metadata"]["name"]),
                {"fieldManager": NAME, "force": "true"},
                obj,
                content_type="application/apply-patch+yaml",
            )
        )


async def unregister(client: Client, certificate: bytes) -> None:
    """The APIServices that are still this adapter's: one that was started later has made them its own, by its
    certificate. Raises ApiError."""
    mine = base64.b64encode(certificate).decode()
    for item in parts(await client.list(API_SERVICES, label_selector=f"app.kubernetes.io/name={NAME}"), "items"):
        if part(item, "spec").get("caBundle") != mine:
            continue
        meta = item["metadata"]
        try:
            await client.delete(API_SERVICES, meta["name"], resource_version=meta["resourceVersion"])
        except (NotFound, Conflict):
            pass
