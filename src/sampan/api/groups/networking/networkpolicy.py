"""NetworkPolicy (networking.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import addresses, common
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


_PROTOCOLS = ("TCP", "UDP", "SCTP")
_TYPES = ("Ingress", "Egress")
#: the direction's rules, and where a rule has its peers
_DIRECTIONS = (("ingress", "from"), ("egress", "to"))


def _port(port: Obj, path: str) -> Errors:
    protocol, value, end = port.get("protocol"), port.get("port"), port.get("endPort")
    found: Errors = []
    if protocol is not None and protocol not in _PROTOCOLS:
        found.append(errors.not_supported(f"{path}.protocol", protocol, _PROTOCOLS))
    if isinstance(value, int):
        found += common.port(value, f"{path}.port")
        if end is not None:
            if end < value:
                found.append(errors.invalid(f"{path}.endPort", end, "must be greater than or equal to `port`"))
            found += common.port(end, f"{path}.endPort")
        return found
    if end is not None:
        text = "may not be specified when `port` is " + ("not specified" if value is None else "non-numeric")
        found.append(errors.invalid(f"{path}.endPort", end, text))
    return found if value is None else found + common.named(names.port_name, value, f"{path}.port")


def _ip_block(block: Obj, path: str, known: Set[str]) -> Errors:
    text = block.get("cidr", "")
    if not text:
        return [errors.required(f"{path}.cidr")]
    found = addresses.cidr(text, f"{path}.cidr", known)
    outer = addresses.parse_cidr(text)
    if outer is None:
        return found
    for index, inner_text in enumerate(block.get("except") or ()):
        where = f"{path}.except[{index}]"
        found += addresses.cidr(inner_text, where, known)
        inner = addresses.parse_cidr(inner_text)
        if inner is not None and not _inside(inner[1], outer[1]):
            found.append(errors.invalid(where, inner_text, "must be a strict subset of `cidr`"))
    return found


def _inside(inner: addresses.Network, outer: addresses.Network) -> bool:
    return inner.network_address in outer and inner.prefixlen > outer.prefixlen


def _peer(peer: Obj, path: str, known: Set[str]) -> Errors:
    found: Errors = []
    selectors = [key for key in ("podSelector", "namespaceSelector") if peer.get(key) is not None]
    for key in selectors:
        found += common.label_selector(peer[key], f"{path}.{key}")
    if peer.get("ipBlock") is not None:
        found += _ip_block(peer["ipBlock"], f"{path}.ipBlock", known)
        if selectors:
            found.append(errors.forbidden(path, "may not specify both ipBlock and another peer"))
    elif not selectors:
        found.append(errors.required(path, "must specify a peer"))
    return found


def _blocks(policy: Obj) -> Iterator[tuple[str, Obj]]:
    spec = policy.get("spec") or {}
    for key, peers in _DIRECTIONS:
        for index, rule in enumerate(spec.get(key) or ()):
            for position, peer in enumerate(rule.get(peers) or ()):
                if peer.get("ipBlock") is not None:
                    yield f"spec.{key}[{index}].{peers}[{position}].ipBlock", peer["ipBlock"]


def _cidrs(policy: Obj) -> frozenset[str]:
    """All of the policy, wherever they are: a peer that moves stays what it was."""
    return frozenset(
        text for _, block in _blocks(policy) for text in (block.get("cidr", ""), *(block.get("except") or ()))
    )


def _validate(policy: Obj) -> Errors:
    return _spec(policy.get("spec") or {}, frozenset())


def _validate_update(new: Obj, old: Obj) -> Errors:
    return _spec(new.get("spec") or {}, _cidrs(old))


def _spec(spec: Obj, known: Set[str]) -> Errors:
    found = common.label_selector(spec.get("podSelector"), "spec.podSelector")
    for key, peers in _DIRECTIONS:
        for index, rule in enumerate(spec.get(key) or ()):
            path = f"spec.{key}[{index}]"
            for position, port in enumerate(rule.get("ports") or ()):
                found += _port(port, f"{path}.ports[{position}]")
            for position, peer in enumerate(rule.get(peers) or ()):
                found += _peer(peer, f"{path}.{peers}[{position}]", known)
    types = spec.get("policyTypes") or []
    if len(types) > len(_TYPES):
        return [*found, errors.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")]
    for index, kind in enumerate(types):
        if kind not in _TYPES:
            found.append(errors.not_supported(f"spec.policyTypes[{index}]", kind, _TYPES))
    return found


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    found: list[str] = []
    for path, block in _blocks(new):
        found += addresses.cidr_warnings(block.get("cidr", ""), f"{path}.cidr")
        for index, text in enumerate(block.get("except") or ()):
            found += addresses.cidr_warnings(text, f"{path}.except[{index}]")
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
        validate_update=_validate_update,
        ratchets=True,
        warnings=_warnings,
        columns=(printing.NAME, Column("Pod-Selector"), printing.AGE),
        row=_row,
    ),
)
