"""ReferenceGrant and BackendTLSPolicy, as structural schemas. Pure."""

from __future__ import annotations

from typing import Final

from sampan.api.types import Obj
from sampan.edge.gateway.definitions.values import (
    ANNOTATION,
    CONTROLLER,
    GROUP,
    HOSTNAME,
    KIND,
    LOCAL_REFERENCE,
    NAME,
    NAMESPACE,
    PARENT,
    PRECISE_HOSTNAME,
    SECTION,
    Rule,
    choice,
    conditions,
    distinct_sections,
    listed,
    record,
    rules,
    text,
    text_map,
)


def grant_spec() -> Obj:
    granted = record({"group": GROUP, "kind": KIND, "namespace": NAMESPACE}, *("group", "kind", "namespace"))
    target = record({"group": GROUP, "kind": KIND, "name": NAME}, *("group", "kind"))
    return record({"from": listed(granted, 16, 1), "to": listed(target, 16, 1)}, "from", "to")


_URI: Final = text(253, 1, r"^(([^:/?#]+):)(//([^/?#]*))([^?#]*)(\?([^#]*))?(#(.*))?")


def _alternative_name() -> Obj:
    kept: list[Rule] = []
    for kind, field, value in (("Hostname", "Hostname", "hostname"), ("URI", "URI", "uri")):
        filled = f"(has(self.{value}) && self.{value} != '')"
        kept.append(
            (
                f"SubjectAltName element must contain {field}, if Type is set to {kind}",
                f"self.type != '{kind}' || {filled}",
            )
        )
        kept.append(
            (
                f"SubjectAltName element must not contain {field}, if Type is not set to {kind}",
                f"self.type == '{kind}' || !{filled}",
            )
        )
    return record({"hostname": HOSTNAME, "type": choice("Hostname", "URI"), "uri": _URI}, "type", **rules(*kept))


def backend_tls_spec() -> Obj:
    target = record({"group": GROUP, "kind": KIND, "name": NAME, "sectionName": SECTION}, *("group", "kind", "name"))
    referred = "(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0)"
    known = "(has(self.wellKnownCACertificates) && self.wellKnownCACertificates != '')"
    validation = record(
        {
            "caCertificateRefs": listed(LOCAL_REFERENCE, 16),
            "hostname": PRECISE_HOSTNAME,
            "subjectAltNames": listed(_alternative_name(), 5),
            "wellKnownCACertificates": choice("System"),
        },
        "hostname",
        **rules(
            ("must not contain both CACertificateRefs and WellKnownCACertificates", f"!({referred} && {known})"),
            ("must specify either CACertificateRefs or WellKnownCACertificates", f"{referred} || {known}"),
        ),
    )
    return record(
        {
            "options": text_map(16, ANNOTATION),
            "targetRefs": listed(target, 16, 1, **distinct_sections("targetRefs", "target")),
            "validation": validation,
        },
        *("targetRefs", "validation"),
    )


def policy_status() -> Obj:
    each = record(
        {"ancestorRef": PARENT, "conditions": conditions(1), "controllerName": CONTROLLER},
        *("ancestorRef", "conditions", "controllerName"),
    )
    return record({"ancestors": listed(each, 16)}, "ancestors")
