"""GatewayClass and Gateway, as structural schemas. Pure."""

from __future__ import annotations

from typing import Final

from sampan.api.types import Obj
from sampan.edge.gateway.definitions.values import (
    ADDRESS_TYPE,
    ANNOTATION,
    CONTROLLER,
    GROUP,
    GROUP_NAME,
    HOSTNAME,
    HOSTNAME_PATTERN,
    KIND,
    LOCAL_REFERENCE,
    NAME,
    NAMESPACE,
    OBJECT_REFERENCE,
    PORT,
    QUALIFIED,
    SECRET_REFERENCE,
    SECTION,
    SELECTOR,
    choice,
    conditions,
    listed,
    pending,
    record,
    rules,
    text,
    text_map,
    whole,
)


def class_spec() -> Obj:
    parameters = record(
        {"group": GROUP, "kind": KIND, "name": NAME, "namespace": NAMESPACE}, *("group", "kind", "name")
    )
    return record(
        {
            "controllerName": {**CONTROLLER, **rules(("Value is immutable", "self == oldSelf"))},
            "description": text(64),
            "parametersRef": parameters,
        },
        "controllerName",
    )


def class_status() -> Obj:
    waiting = pending("Accepted")
    features = listed(record({"name": text()}, "name"), 64, 0, "map", "name")
    return record(
        {"conditions": conditions(default=waiting), "supportedFeatures": features},
        default={"conditions": waiting},
    )


_PROTOCOL: Final = text(
    255,
    1,
    r"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$|"
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9]+$",
)
_ROUTE_KIND: Final = record({"group": {**GROUP, "default": GROUP_NAME}, "kind": KIND}, "kind")
_IP_ADDRESS: Final = [
    {
        "properties": {
            "type": {"enum": ["IPAddress"]},
            "value": {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
        }
    },
    {"properties": {"type": {"not": {"enum": ["IPAddress"]}}}},
]


def _listener() -> Obj:
    tls = record(
        {
            "certificateRefs": listed(SECRET_REFERENCE, 64),
            "mode": choice("Terminate", "Passthrough", default="Terminate"),
            "options": text_map(16, ANNOTATION),
        },
        **rules(
            (
                "certificateRefs or options must be specified when mode is Terminate",
                "self.mode != 'Terminate' || (has(self.certificateRefs) && size(self.certificateRefs) > 0) "
                "|| (has(self.options) && size(self.options) > 0)",
            )
        ),
    )
    namespaces = record(
        {"from": choice("All", "Selector", "Same", default="Same"), "selector": SELECTOR}, default={"from": "Same"}
    )
    allowed = record(
        {"kinds": listed(_ROUTE_KIND, 8), "namespaces": namespaces}, default={"namespaces": {"from": "Same"}}
    )
    return record(
        {
            "allowedRoutes": allowed,
            "hostname": HOSTNAME,
            "name": SECTION,
            "port": PORT,
            "protocol": _PROTOCOL,
            "tls": tls,
        },
        *("name", "port", "protocol"),
    )


def _listeners() -> Obj:
    def of(protocols: str) -> str:
        return f"l.protocol.matches('(?i)^({protocols})$')"

    return listed(
        _listener(),
        64,
        1,
        "map",
        "name",
        **rules(
            (
                "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
                f"self.all(l, {of('HTTP|TCP|UDP')} ? !has(l.tls) : true)",
            ),
            (
                "tls mode must be Terminate for protocol HTTPS",
                f"self.all(l, {of('HTTPS')} && has(l.tls) ? l.tls.mode in ['', 'Terminate'] : true)",
            ),
            (
                "tls mode must be set for protocol TLS",
                f"self.all(l, {of('TLS')} ? has(l.tls) && has(l.tls.mode) && l.tls.mode != '' : true)",
            ),
            (
                "hostname must not be specified for protocols ['TCP', 'UDP']",
                f"self.all(l, {of('TCP|UDP')} ? !has(l.hostname) || l.hostname == '' : true)",
            ),
            (
                "Listener name must be unique within the Gateway",
                "self.all(l, self.exists_one(m, m.name == l.name))",
            ),
            (
                "Combination of port, protocol and hostname must be unique for each listener",
                "self.all(l, self.exists_one(m, m.port == l.port && m.protocol == l.protocol && "
                "(has(m.hostname) ? m.hostname : '') == (has(l.hostname) ? l.hostname : '')))",
            ),
        ),
    )


def _infrastructure() -> Obj:
    def keys(what: str, start: str) -> Obj:
        return rules(
            (
                f"{what} keys must be in the form of an optional DNS subdomain prefix followed by a required name "
                "segment of up to 63 characters.",
                f'self.all(key, key.matches(r"""{QUALIFIED}"""))',
            ),
            (
                f"If specified, the {start} key's prefix must be a DNS subdomain not longer than 253 characters in "
                "total.",
                "self.all(key, key.split('/')[0].size() < 253)",
            ),
        )

    label = text(63, 0, r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
    return record(
        {
            "annotations": text_map(16, ANNOTATION, **keys("Annotation", "annotation")),
            "labels": text_map(8, label, **keys("Label", "label")),
            "parametersRef": LOCAL_REFERENCE,
        }
    )


def _addresses() -> Obj:
    value = text(253)
    each = record(
        {"type": ADDRESS_TYPE, "value": value},
        oneOf=_IP_ADDRESS,
        **rules(
            (
                f"Hostname value must be empty or contain only valid characters (matching {HOSTNAME_PATTERN})",
                f'self.type != \'Hostname\' || !has(self.value) || self.value.matches(r"""{HOSTNAME_PATTERN}""")',
            )
        ),
    )

    def unique(kind: str) -> tuple[str, str]:
        return (
            f"{kind} values must be unique",
            f"self.all(a, a.type != '{kind}' || !has(a.value) || "
            "self.exists_one(b, b.type == a.type && has(b.value) && b.value == a.value))",
        )

    return listed(each, 16, **rules(unique("IPAddress"), unique("Hostname")))


def _gateway_tls() -> Obj:
    validation = record(
        {
            "caCertificateRefs": listed(OBJECT_REFERENCE, 16, 1),
            "mode": choice("AllowValidOnly", "AllowInsecureFallback", default="AllowValidOnly"),
        },
        "caCertificateRefs",
    )
    config = record({"validation": validation})
    ports = listed(
        record({"port": PORT, "tls": config}, "port", "tls"),
        64,
        0,
        "map",
        "port",
        **rules(
            (
                "Port for TLS configuration must be unique within the Gateway",
                "self.all(t, self.exists_one(u, u.port == t.port))",
            )
        ),
    )
    return record(
        {
            "backend": record({"clientCertificateRef": SECRET_REFERENCE}),
            "frontend": record({"default": config, "perPort": ports}, "default"),
        }
    )


def gateway_spec() -> Obj:
    from_sets = record(
        {"from": choice("All", "Selector", "Same", "None", default="None"), "selector": SELECTOR},
        default={"from": "None"},
    )
    return record(
        {
            "addresses": _addresses(),
            "allowedListeners": record({"namespaces": from_sets}),
            "gatewayClassName": NAME,
            "infrastructure": _infrastructure(),
            "listeners": _listeners(),
            "tls": _gateway_tls(),
        },
        *("gatewayClassName", "listeners"),
    )


def gateway_status() -> Obj:
    waiting = pending("Accepted", "Programmed")
    address = record(
        {"type": ADDRESS_TYPE, "value": text(253, 1)},
        "value",
        oneOf=_IP_ADDRESS,
        **rules(
            (
                f"Hostname value must only contain valid characters (matching {HOSTNAME_PATTERN})",
                f'self.type != \'Hostname\' || self.value.matches(r"""{HOSTNAME_PATTERN}""")',
            )
        ),
    )
    listener = record(
        {
            "attachedRoutes": whole(),
            "conditions": conditions(),
            "name": SECTION,
            "supportedKinds": listed(_ROUTE_KIND, 8),
        },
        *("attachedRoutes", "conditions", "name"),
    )
    return record(
        {
            "addresses": listed(address, 16),
            "attachedListenerSets": whole(),
            "conditions": conditions(default=waiting),
            "listeners": listed(listener, 64, 0, "map", "name"),
        },
        default={"conditions": waiting},
    )
