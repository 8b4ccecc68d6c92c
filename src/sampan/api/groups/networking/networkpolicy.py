"""NetworkPolicy (networking.k8s.io/v1)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _default(policy: Obj) -> None:
    spec = policy.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for key in ("ingress", "egress"):
        for rule in spec.get(key) or ():
            for port in rule.get("ports") or ():
                port.setdefault("protocol", "TCP")


def _port(port: Obj, path: str) -> Errors:
    found = common.one_of(port.get("protocol"), ("SCTP", "TCP", "UDP"), f"{path}.protocol")
    value, end = port.get("port"), port.get("endPort")
    if value is None:
        if end is not None:
            found.append(errors.required(f"{path}.port", "must be specified if endPort is specified"))
        return found
    found += common.port_or_name(value, f"{path}.port")
    if end is not None:
        if not isinstance(value, int):
            text = "may not be specified when `port` is non-numeric"
            found.append(errors.forbidden(f"{path}.endPort", text))
        else:
            if end < value:
                text = f"must be greater than or equal to `port`: {value}"
                found.append(errors.invalid(f"{path}.endPort", end, text))
            found += common.port(end, f"{path}.endPort")
    return found


def _ip_block(block: Obj, path: str) -> Errors:
    cidr = block.get("cidr", "")
    if not cidr:
        return [errors.required(f"{path}.cidr")]
    found = common.named(names.cidr, cidr, f"{path}.cidr")
    if found:
        return found
    network = ipaddress.ip_network(cidr, strict=False)
    for index, text in enumerate(block.get("except") or ()):
        where = f"{path}.except[{index}]"
        problems = common.named(names.cidr, text, where)
        found += problems
        if problems:
            continue
        inner = ipaddress.ip_network(text, strict=False)
        inside = inner.version == network.version and inner.network_address in network
        if not inside or inner.prefixlen <= network.prefixlen:
            reason = "must be a strict subset of `cidr`"
            found.append(errors.invalid(where, text, reason))
    return found


def _peer(peer: Obj, path: str) -> Errors:
    found: Errors = []
    selectors = [key for key in ("podSelector", "namespaceSelector") if peer.get(key) is not None]
    for key in selectors:
        found += common.label_selector(peer[key], f"{path}.{key}")
    if peer.get("ipBlock") is not None:
        found += _ip_block(peer["ipBlock"], f"{path}.ipBlock")
        if selectors:
            text = "may not specify both ipBlock and another peer"
            found.append(errors.forbidden(path, text))
    elif not selectors:
        found.append(errors.required(path, "must specify a peer"))
    return found


def _validate(policy: Obj) -> Errors:
    spec = policy.get("spec") or {}
    found = common.label_selector(spec.get("podSelector"), "spec.podSelector")
    for key, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(key) or ()):
            path = f"spec.{key}[{index}]"
            for position, port in enumerate(rule.get("ports") or ()):
                found += _port(port, f"{path}.ports[{position}]")
            for position, peer in enumerate(rule.get(peers) or ()):
                found += _peer(peer, f"{path}.{peers}[{position}]")
    types = spec.get("policyTypes") or []
    if len(types) > 2:
        return [*found, errors.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")]
    for index, kind in enumerate(types):
        found += common.one_of(kind, ("Egress", "Ingress"), f"spec.policyTypes[{index}]", must=True)
    return found


def _row(policy: Obj, now: datetime) -> Sequence[Any]:
    selector = printing.selector((policy.get("spec") or {}).get("podSelector") or {}) or printing.NONE
    return (printing.name(policy), selector, printing.age(policy, now))


KINDS = (
    Kind(
        group="networking.k8s.io",
        version="v1",
        kind="NetworkPolicy",
        plural="networkpolicies",
        singular="networkpolicy",
        namespaced=True,
        schema="io.k8s.api.networking.v1.NetworkPolicy",
        short_names=("netpol",),
        generation=True,
        default=_default,
        validate=_validate,
        columns=(printing.NAME, Column("Pod-Selector"), printing.AGE),
        row=_row,
    ),
)
