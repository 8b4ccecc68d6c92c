"""Gateways and routes in several versions, after the Gateway API: rules in CEL, defaults, lists by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.customresources.sets import parts

GATEWAYS = "gateways.sets.example.com"
_HOSTNAME = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_HEADER = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$"


def _section(**more: Any) -> parts.Schema:
    return parts.text(minLength=1, maxLength=253, pattern=_HOSTNAME.replace(r"(\*\.)?", ""), **more)


def parent_ref() -> parts.Schema:
    return parts.obj(
        {
            "group": parts.text(default=GATEWAYS, maxLength=253),
            "kind": parts.text(default="Gateway", minLength=1, maxLength=63),
            "namespace": parts.text(minLength=1, maxLength=63, pattern=_NAME),
            "name": parts.text(minLength=1, maxLength=253),
            "sectionName": _section(),
            "port": parts.integer(minimum=1, maximum=65535),
        },
        "name",
    )


def _backend_ref(filters: parts.Schema | None = None) -> parts.Schema:
    properties = {
        "group": parts.text(default="", maxLength=253),
        "kind": parts.text(default="Service", minLength=1, maxLength=63),
        "namespace": parts.text(minLength=1, maxLength=63, pattern=_NAME),
        "name": parts.text(minLength=1, maxLength=253),
        "port": parts.integer(minimum=1, maximum=65535),
        "weight": parts.integer(default=1, minimum=0, maximum=1000000),
    }
    if filters is not None:
        properties["filters"] = filters
    return parts.obj(
        properties,
        "name",
        **{
            "x-kubernetes-validations": [
                parts.rule(
                    "(size(self.group) == 0 && self.kind == 'Service') ? has(self.port) : true",
                    "Must have port for Service reference",
                )
            ]
        },
    )


def _headers() -> parts.Schema:
    header = parts.obj(
        {"name": parts.text(minLength=1, maxLength=256, pattern=_HEADER), "value": parts.text(maxLength=4096)},
        "name",
        "value",
    )
    return parts.obj(
        {
            "set": parts.by_key(header, "name", maxItems=16),
            "add": parts.by_key(header, "name", maxItems=16),
            "remove": parts.many(parts.text(), maxItems=16, **{"x-kubernetes-list-type": "set"}),
        }
    )


def _filters() -> parts.Schema:
    path = parts.obj(
        {
            "type": parts.text(enum=["ReplaceFullPath", "ReplacePrefixMatch"]),
            "replaceFullPath": parts.text(maxLength=1024),
            "replacePrefixMatch": parts.text(maxLength=1024),
        },
        "type",
        **{
            "x-kubernetes-validations": [
                parts.rule(
                    "self.type == 'ReplaceFullPath' ? has(self.replaceFullPath) : true",
                    "replaceFullPath must be specified when type is set to 'ReplaceFullPath'",
                ),
                parts.rule(
                    "has(self.replaceFullPath) ? self.type == 'ReplaceFullPath' : true",
                    "type must be 'ReplaceFullPath' when replaceFullPath is set",
                ),
            ]
        },
    )
    kinds = ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "RequestRedirect", "URLRewrite"]
    fields = ["requestHeaderModifier", "responseHeaderModifier", "requestMirror", "requestRedirect", "urlRewrite"]
    one = parts.obj(
        {
            "type": parts.text(enum=kinds),
            "requestHeaderModifier": _headers(),
            "responseHeaderModifier": _headers(),
            "requestMirror": parts.obj(
                {"backendRef": _backend_ref(), "percent": parts.integer(minimum=0, maximum=100)}, "backendRef"
            ),
            "requestRedirect": parts.obj(
                {
                    "scheme": parts.text(enum=["http", "https"]),
                    "hostname": parts.text(minLength=1, maxLength=253, pattern=_HOSTNAME),
                    "path": path,
                    "port": parts.integer(minimum=1, maximum=65535),
                    "statusCode": {"type": "integer", "enum": [301, 302], "default": 302},
                }
            ),
            "urlRewrite": parts.obj({"hostname": parts.text(maxLength=253), "path": path}),
        },
        "type",
        **{
            "x-kubernetes-validations": [
                parts.rule(
                    f"!(has(self.{field}) && self.type != '{kind}')", f"{field} must be nil if the type is not {kind}"
                )
                for kind, field in zip(kinds, fields, strict=True)
            ]
            + [
                parts.rule(f"!(!has(self.{field}) && self.type == '{kind}')", f"{field} must be specified for {kind}")
                for kind, field in zip(kinds, fields, strict=True)
            ]
        },
    )
    return parts.many(
        one,
        maxItems=16,
        **{
            "x-kubernetes-validations": [
                parts.rule(
                    "!(self.exists(f, f.type == 'RequestRedirect') && self.exists(f, f.type == 'URLRewrite'))",
                    "May specify either a redirect or a rewrite, but not both",
                ),
                parts.rule(
                    "self.filter(f, f.type == 'RequestRedirect').size() <= 1", "RequestRedirect cannot be repeated"
                ),
            ]
        },
    )


def _route(
    extra: Mapping[str, parts.Schema],
    match: parts.Schema | None,
    *,
    first: dict[str, Any] | None = None,
    hostnames: bool = True,
) -> parts.Schema:
    rules_: dict[str, parts.Schema] = {
        "name": _section(),
        "backendRefs": parts.many(_backend_ref(_filters() if match else None), maxItems=16),
        "timeouts": parts.obj({"request": parts.duration(), "backendRequest": parts.duration()}),
        **extra,
    }
    if match is not None:
        rules_["filters"] = _filters()
        rules_["matches"] = parts.many(
            match, maxItems=64, default=[first or {"path": {"type": "PathPrefix", "value": "/"}}]
        )
    properties: dict[str, parts.Schema] = {
        "parentRefs": parts.many(parent_ref(), maxItems=32),
        "rules": parts.many(parts.obj(rules_), minItems=1, maxItems=16),
    }
    if hostnames:
        properties["hostnames"] = parts.many(parts.text(minLength=1, maxLength=253, pattern=_HOSTNAME), maxItems=16)
    return parts.obj(properties)


def _http_match() -> parts.Schema:
    return parts.obj(
        {
            "path": parts.obj(
                {
                    "type": parts.text(enum=["Exact", "PathPrefix", "RegularExpression"], default="PathPrefix"),
                    "value": parts.text(default="/", maxLength=1024),
                },
                default={"type": "PathPrefix", "value": "/"},
                **{
                    "x-kubernetes-validations": [
                        parts.rule(
                            "(self.type in ['Exact','PathPrefix']) ? self.value.startsWith('/') : true",
                            "value must begin with '/' when type one of ['Exact', 'PathPrefix']",
                        ),
                        parts.rule(
                            "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('//') : true",
                            "must not contain '//' when type one of ['Exact', 'PathPrefix']",
                        ),
                    ]
                },
            ),
            "headers": parts.by_key(
                parts.obj(
                    {
                        "type": parts.text(enum=["Exact", "RegularExpression"], default="Exact"),
                        "name": parts.text(minLength=1, maxLength=256, pattern=_HEADER),
                        "value": parts.text(minLength=1, maxLength=4096),
                    },
                    "name",
                    "value",
                ),
                "name",
                maxItems=16,
            ),
            "method": parts.text(enum=["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]),
        }
    )


def _gateway() -> parts.Schema:
    listener = parts.obj(
        {
            "name": _section(),
            "hostname": parts.text(minLength=1, maxLength=253, pattern=_HOSTNAME),
            "port": parts.integer(minimum=1, maximum=65535),
            "protocol": parts.text(minLength=1, maxLength=255),
            "tls": parts.obj(
                {
                    "mode": parts.text(enum=["Terminate", "Passthrough"], default="Terminate"),
                    "certificateRefs": parts.many(_backend_ref(), maxItems=64),
                    "options": {**parts.of_texts(maxLength=4096, minLength=0), "maxProperties": 16},
                }
            ),
            "allowedRoutes": parts.obj(
                {
                    "namespaces": parts.obj(
                        {
                            "from": parts.text(enum=["All", "Selector", "Same"], default="Same"),
                            "selector": parts.builtin(parts.META + "LabelSelector"),
                        },
                        default={"from": "Same"},
                    ),
                    "kinds": parts.many(
                        parts.obj({"group": parts.text(default=GATEWAYS), "kind": parts.text(minLength=1)}, "kind"),
                        maxItems=8,
                    ),
                },
                default={"namespaces": {"from": "Same"}},
            ),
        },
        "name",
        "port",
        "protocol",
    )
    return parts.obj(
        {
            "gatewayClassName": parts.text(minLength=1, maxLength=253),
            "addresses": parts.many(
                parts.obj(
                    {"type": parts.text(default="IPAddress"), "value": parts.text(minLength=1, maxLength=253)}, "value"
                ),
                maxItems=16,
            ),
            "listeners": parts.by_key(
                listener,
                "name",
                minItems=1,
                maxItems=64,
                **{
                    "x-kubernetes-validations": [
                        parts.rule(
                            "self.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)",
                            "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
                        ),
                        parts.rule(
                            "self.all(l1, self.exists_one(l2, l1.name == l2.name))",
                            "Listener name must be unique within the Gateway",
                        ),
                    ]
                },
            ),
        },
        "gatewayClassName",
        "listeners",
    )


def _deprecated(made: dict[str, Any]) -> dict[str, Any]:
    return {**made, "deprecated": True, "deprecationWarning": f"The {made['name']} version is deprecated."}


def gateways() -> list[dict[str, Any]]:
    parents = parts.obj(
        {
            "parents": parts.many(
                parts.obj(
                    {
                        "parentRef": parent_ref(),
                        "controllerName": parts.text(minLength=1, maxLength=253),
                        "conditions": parts.conditions(),
                    },
                    "parentRef",
                    "controllerName",
                ),
                maxItems=32,
            )
        }
    )
    status = parts.obj(
        {
            "addresses": parts.many(
                parts.obj({"type": parts.text(), "value": parts.text(minLength=1)}, "value"), maxItems=16
            ),
            "conditions": parts.conditions(),
            "listeners": parts.by_key(
                parts.obj(
                    {"name": _section(), "attachedRoutes": parts.integer(), "conditions": parts.conditions()}, "name"
                ),
                "name",
                maxItems=64,
            ),
        }
    )
    gateway_class = parts.obj(
        {
            "controllerName": parts.text(
                minLength=1,
                maxLength=253,
                **{"x-kubernetes-validations": [parts.rule("self == oldSelf", "Value is immutable")]},
            ),
            "description": parts.text(maxLength=64),
            "parametersRef": parent_ref(),
        },
        "controllerName",
    )
    class_status = parts.obj(
        {
            "conditions": parts.conditions(),
            "supportedFeatures": parts.many(parts.obj({"name": parts.text()}, "name"), maxItems=64),
        }
    )
    grpc_match = parts.obj(
        {
            "method": parts.obj(
                {
                    "type": parts.text(default="Exact"),
                    "service": parts.text(maxLength=1024),
                    "method": parts.text(maxLength=1024),
                }
            )
        }
    )
    grant = parts.obj(
        {
            "from": parts.many(
                parts.obj({"group": parts.text(), "kind": parts.text(), "namespace": parts.text()}, "group", "kind"),
                maxItems=16,
            ),
            "to": parts.many(
                parts.obj({"group": parts.text(), "kind": parts.text(), "name": parts.text()}, "group", "kind"),
                maxItems=16,
            ),
        },
        "from",
        "to",
    )
    plain = _route({}, None, hostnames=False)
    http = _route(
        {
            "sessionPersistence": parts.obj(
                {"sessionName": parts.text(maxLength=128), "type": parts.text(default="Cookie")}
            )
        },
        _http_match(),
    )
    selectable = {"selectableFields": [{"jsonPath": ".spec.gatewayClassName"}]}
    return [
        parts.definition(
            GATEWAYS,
            "GatewayClass",
            parts.version("v1", gateway_class, class_status),
            parts.version("v1beta1", gateway_class, class_status),
            scope="Cluster",
            plural="gatewayclasses",
            shortNames=["gc"],
        ),
        parts.definition(
            GATEWAYS,
            "Gateway",
            parts.version("v1", _gateway(), status, **selectable),
            parts.version("v1beta1", _gateway(), status, **selectable),
            shortNames=["gtw"],
            categories=["gateway-api"],
        ),
        parts.definition(
            GATEWAYS,
            "HTTPRoute",
            parts.version("v1", http, parents),
            parts.version("v1beta1", http, parents),
            categories=["gateway-api"],
        ),
        parts.definition(
            GATEWAYS, "GRPCRoute", parts.version("v1", _route({}, grpc_match, first={"method": {}}), parents)
        ),
        *(
            parts.definition(
                GATEWAYS,
                kind,
                _deprecated(parts.version("v1alpha2", plain, parents)),
                parts.version("v1alpha3", plain, parents),
            )
            for kind in ("TCPRoute", "TLSRoute", "UDPRoute")
        ),
        parts.definition(GATEWAYS, "ReferenceGrant", parts.version("v1beta1", grant), parts.version("v1alpha2", grant)),
        parts.definition(
            GATEWAYS,
            "BackendPolicy",
            parts.version("v1", parts.obj({"targetRefs": parts.many(parent_ref(), maxItems=16)}), parents),
            plural="backendpolicies",
        ),
    ]


def http_route() -> dict[str, Any]:
    return {
        "apiVersion": f"{GATEWAYS}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "hostnames": ["www.example.com"],
            "rules": [
                {
                    "matches": [
                        {"path": {"value": "/api"}, "method": "GET"},
                        {"headers": [{"name": "X-A", "value": "1"}]},
                    ],
                    "filters": [
                        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["X-B"]}},
                    ],
                    "backendRefs": [{"name": "web", "port": 80}, {"name": "canary", "port": 80, "weight": 5}],
                },
                {"backendRefs": [{"name": "fallback", "port": 8080}]},
            ],
        },
    }
