"""The definitions put together, and which of two releases is older. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sampan.api.types import Obj
from sampan.edge.gateway.definitions import gateways, policies, routes
from sampan.edge.gateway.definitions.values import GROUP_NAME, record, route_status

BUNDLE_VERSION: Final = "v1.6.0"
VERSION_KEY: Final = f"{GROUP_NAME}/bundle-version"
CHANNEL_KEY: Final = f"{GROUP_NAME}/channel"
#: where the kinds of this protected group were approved
_APPROVAL: Final = "https://github.com/kubernetes-sigs/gateway-api/pull/4530"

#: (name, type, path, priority)
Column = tuple[str, str, str, int]
_AGE: Final = ("Age", "date", ".metadata.creationTimestamp", 0)
_HOSTNAMES: Final = ("Hostnames", "string", ".spec.hostnames", 0)


def _condition(name: str) -> Column:
    return (name, "string", f'.status.conditions[?(@.type=="{name}")].status', 0)


def definitions() -> Iterator[Obj]:
    """Every definition, as it is created."""
    both = ("v1", "v1beta1")
    yield _definition(
        "GatewayClass",
        ["gc"],
        both,
        "Gateways of one kind, and which controller serves them.",
        {"spec": gateways.class_spec(), "status": gateways.class_status()},
        [
            ("Controller", "string", ".spec.controllerName", 0),
            _condition("Accepted"),
            _AGE,
            ("Description", "string", ".spec.description", 1),
        ],
        namespaced=False,
        plural="gatewayclasses",
    )
    yield _definition(
        "Gateway",
        ["gtw"],
        both,
        "Listeners on addresses, to which routes attach.",
        {"spec": gateways.gateway_spec(), "status": gateways.gateway_status()},
        [
            ("Class", "string", ".spec.gatewayClassName", 0),
            ("Address", "string", ".status.addresses[*].value", 0),
            _condition("Programmed"),
            _AGE,
        ],
    )
    yield _definition(
        "HTTPRoute",
        [],
        both,
        "Where requests go by host, path, header, query and method, and what is done to them on the way.",
        {"spec": routes.http_spec(), "status": route_status()},
        [_HOSTNAMES, _AGE],
    )
    yield _definition(
        "GRPCRoute",
        [],
        ("v1",),
        "Where calls of gRPC go by host, service, method and header.",
        {"spec": routes.grpc_spec(), "status": route_status()},
        [_HOSTNAMES, _AGE],
        required=False,
    )
    yield _definition(
        "TLSRoute",
        [],
        ("v1",),
        "Where TLS connections go by the name that the client asks for.",
        {"spec": routes.tls_spec(), "status": route_status()},
        [_AGE],
    )
    yield _definition(
        "BackendTLSPolicy",
        ["btlspolicy"],
        ("v1",),
        "How a gateway speaks TLS to a back end, and what it asks of its certificate.",
        {"spec": policies.backend_tls_spec(), "status": policies.policy_status()},
        [_AGE],
        plural="backendtlspolicies",
        labels={f"{GROUP_NAME}/policy": "Direct"},
    )
    yield _definition(
        "ReferenceGrant",
        ["refgrant"],
        both,
        "Which objects of other namespaces may refer to objects of this one.",
        {"spec": policies.grant_spec()},
        [_AGE],
        storage="v1beta1",
        required=False,
    )


def _definition(
    kind: str,
    short_names: list[str],
    versions: tuple[str, ...],
    description: str,
    fields: Obj,
    columns: list[Column],
    *,
    storage: str = "v1",
    plural: str = "",
    namespaced: bool = True,
    required: bool = True,
    labels: dict[str, str] | None = None,
) -> Obj:
    plural = plural or f"{kind.lower()}s"
    text: Obj = {"type": "string"}
    schema = record(
        {"apiVersion": text, "kind": text, "metadata": {"type": "object"}, **fields},
        *(("spec",) if required else ()),
        description=description,
    )
    names: Obj = {
        "categories": ["gateway-api"],
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
    }
    metadata: Obj = {
        "name": f"{plural}.{GROUP_NAME}",
        "annotations": {
            "api-approved.kubernetes.io": _APPROVAL,
            VERSION_KEY: BUNDLE_VERSION,
            CHANNEL_KEY: "standard",
        },
    }
    if labels:
        metadata["labels"] = labels
    return {
        "metadata": metadata,
        "spec": {
            "group": GROUP_NAME,
            "names": names | ({"shortNames": short_names} if short_names else {}),
            "scope": "Namespaced" if namespaced else "Cluster",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == storage,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}} if "status" in fields else {},
                    "additionalPrinterColumns": [_column(each) for each in columns],
                }
                for version in versions
            ],
        },
    }


def _column(column: Column) -> Obj:
    name, kind, path, priority = column
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": priority} if priority else {})


_VERSION: Final = re.compile(r"v(\d{1,6})\.(\d{1,6})\.(\d{1,6})(-[0-9A-Za-z.-]{1,64})?")


def is_older(version: str, than: str) -> bool:
    """Whether a bundle's version is known to be older. One that is no release's is not: somebody made it on purpose."""
    one, other = _VERSION.fullmatch(version), _VERSION.fullmatch(than)
    if one is None or other is None:
        return False
    return _order(one) < _order(other)


def _order(version: re.Match[str]) -> tuple[int, int, int, bool]:
    major, minor, patch, candidate = version.groups()
    return int(major), int(minor), int(patch), candidate is None
