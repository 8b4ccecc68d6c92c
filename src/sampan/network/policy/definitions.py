"""The definition of ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2, standard channel), for those who want it.

Structured as kubernetes-sigs/network-policy-api has it: fields, bounds, columns, short name. Who installs upstream's
changes nothing but the prose. ``sampan net policy-crds`` prints it; nothing installs it. Pure.
"""

from __future__ import annotations

from typing import Any, Final

_GROUP: Final = "policy.networking.k8s.io"
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_PORT: Final[dict[str, Any]] = {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535}
_MANY: Final = 25


def definitions() -> list[dict[str, Any]]:
    schema = _fields(
        {
            "apiVersion": _TEXT,
            "kind": _TEXT,
            "metadata": {"type": "object"},
            "spec": _spec(),
            "status": _fields({"conditions": _conditions()}, ["conditions"]),
        },
        ["metadata", "spec"],
    )
    return [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": f"clusternetworkpolicies.{_GROUP}",
                "annotations": {
                    "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/network-policy-api/pull/300",
                    "policy.networking.k8s.io/channel": "standard",
                },
            },
            "spec": {
                "group": _GROUP,
                "scope": "Cluster",
                "names": {
                    "kind": "ClusterNetworkPolicy",
                    "listKind": "ClusterNetworkPolicyList",
                    "plural": "clusternetworkpolicies",
                    "singular": "clusternetworkpolicy",
                    "shortNames": ["cnp"],
                },
                "versions": [
                    {
                        "name": "v1alpha2",
                        "served": True,
                        "storage": True,
                        "subresources": {"status": {}},
                        "additionalPrinterColumns": [
                            {"name": "Tier", "type": "string", "jsonPath": ".spec.tier"},
                            {"name": "Priority", "type": "string", "jsonPath": ".spec.priority"},
                            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                        ],
                        "schema": {"openAPIV3Schema": schema},
                    }
                ],
            },
        }
    ]


def _spec() -> dict[str, Any]:
    return _fields(
        {
            "tier": {**_TEXT, "enum": ["Admin", "Baseline"]},
            "priority": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 1000},
            "subject": _one_of(_pods()),
            "ingress": _list(_rule("from", _pods())),
            "egress": _list(_rule("to", {**_pods(), "networks": _networks()})),
        },
        ["priority", "subject", "tier"],
    )


def _rule(end: str, peers: dict[str, Any]) -> dict[str, Any]:
    kinds = {name: _protocol() for name in ("tcp", "udp", "sctp")}
    return _fields(
        {
            "name": {**_TEXT, "maxLength": 100},
            "action": {**_TEXT, "enum": ["Accept", "Deny", "Pass"]},
            end: _list(_one_of(peers), least=1),
            "protocols": _list(_one_of({**kinds, "destinationNamedPort": _TEXT}), least=1),
        },
        ["action", end],
    )


def _protocol() -> dict[str, Any]:
    span = {
        **_fields({"start": _PORT, "end": _PORT}, ["end", "start"]),
        "x-kubernetes-validations": [
            {"rule": "self.start < self.end", "message": "Start port must be less than End port"}
        ],
    }
    return {**_fields({"destinationPort": _one_of({"number": _PORT, "range": span})}), "minProperties": 1}


def _pods() -> dict[str, Any]:
    pods = _fields({"namespaceSelector": _selector(), "podSelector": _selector()}, ["podSelector"])
    return {"namespaces": _selector(), "pods": pods}


def _networks() -> dict[str, Any]:
    cidr = {
        **_TEXT,
        "maxLength": 43,
        "x-kubernetes-validations": [{"rule": "isCIDR(self)", "message": "Invalid CIDR format provided"}],
    }
    return {**_list(cidr, least=1), "x-kubernetes-list-type": "set"}


def _selector() -> dict[str, Any]:
    values = {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "atomic"}
    expression = _fields({"key": _TEXT, "operator": _TEXT, "values": values}, ["key", "operator"])
    return {
        **_fields(
            {
                "matchLabels": {"type": "object", "additionalProperties": _TEXT},
                "matchExpressions": {"type": "array", "items": expression, "x-kubernetes-list-type": "atomic"},
            }
        ),
        "x-kubernetes-map-type": "atomic",
    }


def _conditions() -> dict[str, Any]:
    condition = _fields(
        {
            "type": {**_TEXT, "maxLength": 316},
            "status": {**_TEXT, "enum": ["True", "False", "Unknown"]},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "lastTransitionTime": {**_TEXT, "format": "date-time"},
            "reason": {**_TEXT, "maxLength": 1024, "minLength": 1},
            "message": {**_TEXT, "maxLength": 32768},
        },
        ["lastTransitionTime", "message", "reason", "status", "type"],
    )
    return {
        "type": "array",
        "items": condition,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    }


def _fields(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _one_of(properties: dict[str, Any]) -> dict[str, Any]:
    """Exactly one of the fields is set."""
    return {**_fields(properties), "minProperties": 1, "maxProperties": 1}


def _list(items: dict[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": _MANY, **({"minItems": least} if least else {})}
