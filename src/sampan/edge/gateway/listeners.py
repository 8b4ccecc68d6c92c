"""Gateways and their listeners: what they may serve, and what stands in their way. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from sampan.api import labels
from sampan.api.reading import part, parts, text, whole
from sampan.api.types import Obj
from sampan.edge.gateway import certificates
from sampan.edge.gateway.claims import Claims
from sampan.edge.gateway.conditions import Condition
from sampan.edge.gateway.hostnames import intersection
from sampan.edge.gateway.names import GROUP
from sampan.edge.gateway.observed import Key, Observed, Site
from sampan.edge.gateway.references import Grants, Reference, read
from sampan.edge.model import Certificate
from sampan.records import dataclass

_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "HTTP": ("HTTPRoute", "GRPCRoute"),
    "HTTPS": ("HTTPRoute", "GRPCRoute"),
    "TLS": ("TLSRoute",),
}
#: whether a route of this namespace, with these labels, may attach
Allows = Callable[[str, Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class Listener:
    """``port``: as asked for; ``served_port``: where it is on this machine. ``kinds``: of routes that may attach.
    ``programmed``: the data plane serves it."""

    gateway: Key
    name: str
    port: int
    served_port: int
    protocol: str
    hostname: str
    passthrough: bool
    kinds: tuple[str, ...]
    allows: Allows
    certificates: tuple[Certificate, ...]
    client_ca: str
    conditions: tuple[Condition, ...]
    programmed: bool


@dataclass(frozen=True, slots=True)
class Gateway:
    """``bind``: addresses that its listeners are bound to, "" all; ``addresses``: what is told of them."""

    obj: Obj
    key: Key
    listeners: tuple[Listener, ...]
    bind: tuple[str, ...]
    addresses: tuple[str, ...]
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class _Fault:
    reason: str
    message: str


def judge(obj: Obj, observed: Observed, grants: Grants, claims: Claims) -> Gateway:
    """``claims``: ports of Gateways before it, which come first; its own are added."""
    meta, spec = part(obj, "metadata"), part(obj, "spec")
    key = text(meta, "namespace"), text(meta, "name")
    site = observed.site
    bind, addresses, refused, unusable = _addresses(spec, site)
    refused = refused or next(_unsupported(spec), None)
    wanted = list(parts(spec, "listeners"))
    conflicts = _conflicts(wanted)
    found: list[Listener] = []
    for number, each in enumerate(wanted):
        served = site.ports.get(whole(each, "port") or 0, whole(each, "port") or 0)
        fault = refused or conflicts.get(number) or _claimed(each, served, bind, key, claims)
        one = _listener(each, served, key, spec, observed, grants, fault, number in conflicts)
        if one.programmed and one.protocol == "HTTPS" and (other := claims.authority(served, bind, key, one.client_ca)):
            said = f"Gateway {'/'.join(other)} has port {served} with other authorities of clients' certificates"
            fault = _Fault("PortUnavailable", said)
            one = _listener(each, served, key, spec, observed, grants, fault, False)
        found.append(one)
    overlapping = _overlapping(found)
    listeners = tuple(_told(each, site, overlapping, unusable) for each in found)
    return Gateway(
        obj,
        key,
        listeners,
        bind,
        addresses,
        _conditions(listeners, refused, unusable, site),
    )


def _listener(
    obj: Obj,
    served: int,
    key: Key,
    spec: Obj,
    observed: Observed,
    grants: Grants,
    fault: _Fault | None,
    conflicted: bool,
) -> Listener:
    protocol = text(obj, "protocol").upper()
    tls = part(obj, "tls")
    passthrough = protocol == "TLS" and text(tls, "mode") == "Passthrough"
    kinds, wrong_kinds = _kinds(obj, protocol)
    fault = fault or _fault(obj, protocol, observed.site)
    unresolved = wrong_kinds
    shown: tuple[Certificate, ...] = ()
    authority = ""
    if protocol in ("HTTPS", "TLS") and not passthrough:
        shown, wrong = _certificates(obj, key, observed, grants)
        unresolved = wrong or unresolved
        if protocol == "HTTPS":
            authority, wrong, refused = _authority(spec, whole(obj, "port") or 0, key, observed, grants)
            unresolved = wrong or unresolved
            fault = fault or refused
    needs_certificate = protocol in ("HTTPS", "TLS") and not passthrough
    serves = fault is None and bool(kinds) and (bool(shown) or not needs_certificate)
    conflict = (
        Condition("Conflicted", True, fault.reason, fault.message)
        if conflicted and fault is not None
        else Condition("Conflicted", False, "NoConflicts", "no other listener is in its way")
    )
    conditions = (
        Condition("Accepted", False, fault.reason, fault.message)
        if fault
        else Condition("Accepted", True, "Accepted", "the listener is valid"),
        conflict,
        Condition("ResolvedRefs", False, unresolved.reason, unresolved.message)
        if unresolved
        else Condition("ResolvedRefs", True, "ResolvedRefs", "all references are resolved"),
    )
    return Listener(
        gateway=key,
        name=text(obj, "name"),
        port=whole(obj, "port") or 0,
        served_port=served,
        protocol=protocol,
        hostname=text(obj, "hostname").lower(),
        passthrough=passthrough,
        kinds=kinds,
        allows=_allows(part(part(obj, "allowedRoutes"), "namespaces"), key[0]),
        certificates=shown,
        client_ca=authority,
        conditions=conditions,
        programmed=serves,
    )


def _fault(obj: Obj, protocol: str, site: Site) -> _Fault | None:
    port = whole(obj, "port") or 0
    if protocol not in _KINDS:
        return _Fault("UnsupportedProtocol", f"protocol {text(obj, 'protocol')} is not served; HTTP, HTTPS and TLS are")
    if port in site.taken and port not in site.ports:
        return _Fault("PortUnavailable", f"port {port} of the node belongs to somebody else")
    if part(part(obj, "tls"), "options"):
        return _Fault("UnsupportedValue", "tls.options are not supported")
    if protocol == "TLS" and text(part(obj, "tls"), "mode") != "Passthrough":
        return _Fault(
            "UnsupportedValue", "TLS is passed through, or ended for HTTP (protocol HTTPS), and nothing between"
        )
    return None


def _kinds(obj: Obj, protocol: str) -> tuple[tuple[str, ...], _Fault | None]:
    """The kinds of routes that may attach, and what is wrong with those asked for."""
    able = _KINDS.get(protocol, ())
    asked = parts(part(obj, "allowedRoutes"), "kinds")
    if not asked:
        return able, None
    found: dict[str, None] = {}
    wrong = ""
    for each in asked:
        kind = text(each, "kind")
        if (text(each, "group") or GROUP) == GROUP and kind in able:
            found[kind] = None
        else:
            wrong = wrong or f"routes of kind {kind} cannot attach to protocol {text(obj, 'protocol')}"
    return tuple(found), _Fault("InvalidRouteKinds", wrong) if wrong else None


def _allows(namespaces: Obj, own: str) -> Allows:
    where = text(namespaces, "from") or "Same"
    if where == "All":
        return lambda namespace, _: True
    if where == "Selector":
        wanted = part(namespaces, "selector")
        try:
            selector = labels.from_label_selector(wanted or None) if _is_selector(wanted) else None
        except labels.SelectorError:
            selector = None
        if selector is None:
            return lambda namespace, _: False
        return lambda namespace, found: selector.matches(found)
    return lambda namespace, _: namespace == own


def _is_selector(obj: Obj) -> bool:
    """Whether it is shaped like one, whatever the definition lets through that somebody installed."""
    pairs, expressions = obj.get("matchLabels") or {}, obj.get("matchExpressions") or []
    return (
        isinstance(pairs, dict)
        and all(isinstance(each, str) for each in pairs.values())
        and isinstance(expressions, list)
        and all(isinstance(each, dict) and all(map(text, (each, each), ("key", "operator"))) for each in expressions)
        and all(isinstance(one, str) for each in expressions for one in _listed(each.get("values")))
    )


def _listed(values: object) -> list[object]:
    return values if isinstance(values, list) else [] if values is None else [values, None]


# TLS


def _certificates(
    obj: Obj, key: Key, observed: Observed, grants: Grants
) -> tuple[tuple[Certificate, ...], _Fault | None]:
    hostname = text(obj, "hostname").lower()
    found: list[Certificate] = []
    wrong: _Fault | None = None
    for each in parts(part(obj, "tls"), "certificateRefs"):
        target = read(each, "Secret", key[0])
        fault = _refused(target, "Secret", key[0], grants, "InvalidCertificateRef")
        if fault is None:
            pair = certificates.pair(observed.secrets.get(target.key))
            if isinstance(pair, str):
                fault = _Fault("InvalidCertificateRef", f"{target} {pair}")
            else:
                name = f"gateway/{target.namespace}/{target.name}/{hostname}"
                found.append(Certificate(name, *pair, (hostname,) if hostname else ()))
        wrong = wrong or fault
    return tuple(found), wrong


def _refused(target: Reference, kind: str, namespace: str, grants: Grants, reason: str) -> _Fault | None:
    if (target.group, target.kind) != ("", kind):
        return _Fault(reason, f"{target} is no {kind}")
    if not grants.allow("Gateway", namespace, target):
        return _Fault("RefNotPermitted", f"no ReferenceGrant in {target.namespace} allows {target}")
    return None


def _authority(
    spec: Obj, port: int, key: Key, observed: Observed, grants: Grants
) -> tuple[str, _Fault | None, _Fault | None]:
    """Who signs clients' certificates on a port in PEM; what does not resolve; why the listener is not accepted."""
    frontend = part(part(spec, "tls"), "frontend")
    special = next((each for each in parts(frontend, "perPort") if each.get("port") == port), None)
    validation = part(part(special, "tls") if special is not None else part(frontend, "default"), "validation")
    if not validation:
        return "", None, None
    if text(validation, "mode") == "AllowInsecureFallback":
        return (
            "",
            None,
            _Fault("UnsupportedValue", "clients' certificates are checked or not asked for; no mode between"),
        )
    found: list[str] = []
    wrong: _Fault | None = None
    for each in parts(validation, "caCertificateRefs"):
        target = read(each, "ConfigMap", key[0])
        fault = _refused(target, "ConfigMap", key[0], grants, "InvalidCACertificateKind")
        if fault is None:
            bundle = certificates.bundle(observed.config_maps.get(target.key))
            if isinstance(bundle, str):
                fault = _Fault("InvalidCACertificateRef", f"{target} {bundle}")
            else:
                found += bundle
        wrong = wrong or fault
    if not found:
        return "", wrong, _Fault("NoValidCACertificate", wrong.message if wrong else "there is none")
    return "\n".join(found), wrong, None


# What is in the way of each other


def _conflicts(wanted: Sequence[Obj]) -> dict[int, _Fault]:
    """Which of a Gateway's listeners cannot be told apart, by their places."""
    found: dict[int, _Fault] = {}
    by_port: dict[int, list[int]] = {}
    for number, each in enumerate(wanted):
        if text(each, "protocol").upper() in _KINDS:
            by_port.setdefault(whole(each, "port") or 0, []).append(number)
    for port, numbers in by_port.items():
        spoken = {text(wanted[number], "protocol").upper() == "HTTP" for number in numbers}
        hosts: dict[str, list[int]] = {}
        for number in numbers:
            hosts.setdefault(text(wanted[number], "hostname").lower(), []).append(number)
            if len(spoken) > 1:
                found[number] = _Fault("ProtocolConflict", f"port {port} is asked for with TLS and without")
        for host, same in hosts.items():
            if len(same) > 1:
                names = ", ".join(text(wanted[number], "name") for number in same)
                spoken_here = {text(wanted[number], "protocol").upper() for number in same}
                reason = "HostnameConflict" if len(spoken_here) == 1 else "ProtocolConflict"
                for number in same:
                    found.setdefault(number, _Fault(reason, f"{names} have port {port} and host {host or '(any)'}"))
    return found


def _claimed(obj: Obj, served: int, bind: Sequence[str], key: Key, claims: Claims) -> _Fault | None:
    other = claims.protocol(served, bind, key, secure=text(obj, "protocol").upper() != "HTTP")
    if other is not None:
        return _Fault("PortUnavailable", f"Gateway {'/'.join(other)} has port {served} by another protocol")
    return None


def _overlapping(listeners: Sequence[Listener]) -> frozenset[str]:
    found: set[str] = set()
    secure = [each for each in listeners if each.protocol in ("HTTPS", "TLS")]
    for number, one in enumerate(secure):
        for other in secure[number + 1 :]:
            if one.port == other.port and intersection(one.hostname, other.hostname) is not None:
                found |= {one.name, other.name}
    return frozenset(found)


# The Gateway as a whole


def _unsupported(spec: Obj) -> Iterator[_Fault]:
    if part(part(spec, "infrastructure"), "parametersRef"):
        yield _Fault("InvalidParameters", "spec.infrastructure.parametersRef is not supported: there are no parameters")
    if part(part(part(spec, "tls"), "backend"), "clientCertificateRef"):
        yield _Fault("Invalid", "spec.tls.backend.clientCertificateRef is not supported")


def _addresses(spec: Obj, site: Site) -> tuple[tuple[str, ...], tuple[str, ...], _Fault | None, _Fault | None]:
    """What listeners are bound to on this node; what is told; why the Gateway is refused; why it is not programmed."""
    asked = parts(spec, "addresses")
    named: list[str] = []
    missing: list[str] = []
    for each in asked:
        kind = text(each, "type") or "IPAddress"
        if kind != "IPAddress":
            return (), (), _Fault("UnsupportedAddress", f"addresses of type {kind} are not supported"), None
        value = text(each, "value")
        if value:
            (named if value in site.addresses else missing).append(value)
    if missing:
        said = f"{', '.join(missing)} is no address of a node; there are {', '.join(site.addresses) or 'none'}"
        return tuple(named), tuple(named), None, _Fault("AddressNotUsable", said)
    if not site.addresses:
        return ("",), (), None, _Fault("AddressNotAssigned", "the node has no address yet")
    if named:
        return tuple(each for each in named if each in site.own), tuple(named), None, None
    return ("",), site.addresses, None, None


def _told(listener: Listener, site: Site, overlapping: frozenset[str], unusable: _Fault | None) -> Listener:
    """With the conditions that depend on its neighbours and on the machine."""
    if not listener.programmed:
        said = Condition("Programmed", False, "Invalid", "it cannot be served; see its other conditions")
    elif site.trouble:
        said = Condition("Programmed", False, "Pending", site.trouble)
    elif unusable:
        said = Condition("Programmed", False, "Pending", unusable.message)
    elif listener.served_port != listener.port:
        said = Condition("Programmed", True, "Programmed", f"it is served at port {listener.served_port} of the node")
    else:
        said = Condition("Programmed", True, "Programmed", "it is served")
    more = (
        (Condition("OverlappingTLSConfig", True, "OverlappingHostnames", "another listener has some of its hosts"),)
        if listener.name in overlapping
        else ()
    )
    programmed = listener.programmed and unusable is None
    return dataclasses.replace(listener, conditions=(*listener.conditions, said, *more), programmed=programmed)


def _conditions(
    listeners: Sequence[Listener], refused: _Fault | None, unusable: _Fault | None, site: Site
) -> tuple[Condition, ...]:
    invalid = [each.name for each in listeners if not each.conditions[0].status]
    if refused:
        accepted = Condition("Accepted", False, refused.reason, refused.message)
    elif invalid:
        said = f"listeners {', '.join(invalid)} cannot be served; see their conditions"
        accepted = Condition("Accepted", len(invalid) < len(listeners), "ListenersNotValid", said)
    else:
        accepted = Condition("Accepted", True, "Accepted", "the Gateway is valid")
    moved = sorted({(each.port, each.served_port) for each in listeners if each.served_port != each.port})
    if not accepted.status:
        programmed = Condition("Programmed", False, "Invalid", accepted.message)
    elif unusable:
        programmed = Condition("Programmed", False, unusable.reason, unusable.message)
    elif site.trouble:
        programmed = Condition("Programmed", False, "NoResources", site.trouble)
    elif not any(each.programmed for each in listeners):
        programmed = Condition("Programmed", False, "Invalid", "none of its listeners can be served")
    else:
        words = ", ".join(f"port {port} at {served}" for port, served in moved)
        said = f"it is served; on the node {words}" if words else "it is served"
        programmed = Condition("Programmed", True, "Programmed", said)
    return accepted, programmed
