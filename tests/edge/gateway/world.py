"""What the conformance cases of the Gateway API stand on: namespaces, Services, Gateways; and what a plan makes of it.

Objects go through the definitions first, as the API server would take them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from sampan.api import registry, schema
from sampan.api.customresources import compile_version
from sampan.edge.gateway.definitions import definitions
from sampan.edge.gateway.observed import Observed, Site
from sampan.edge.gateway.plan import Plan, plan
from sampan.edge.matching import Request, route_of, without_port
from sampan.edge.model import Listener, PathEdit, Route

Obj = dict[str, Any]
GROUP = "gateway.networking.k8s.io"
INFRA, APPS, WEB = "gateway-conformance-infra", "gateway-conformance-app-backend", "gateway-conformance-web-backend"
NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
NODE = "192.0.2.10"
SITE = Site((NODE,), own=(NODE,))

_DEFINITION = next(kind for kind in registry.registry().kinds() if kind.kind == "CustomResourceDefinition")


def _compiled() -> dict[str, Any]:
    found = {}
    for definition in map(copy.deepcopy, definitions()):
        _DEFINITION.default(definition)
        _DEFINITION.prepare_create(definition)
        version = next(each["name"] for each in definition["spec"]["versions"] if each["storage"])
        found[definition["spec"]["names"]["kind"]] = compile_version(definition, version)
    return found


COMPILED = _compiled()


def admitted(kind: str, name: str, spec: Obj, namespace: str = INFRA, **more: Any) -> Obj:
    version = "v1beta1" if kind == "ReferenceGrant" else "v1"
    meta = {"name": name, "namespace": namespace, "generation": 1, "creationTimestamp": NOW, "uid": f"{kind}-{name}"}
    obj = {"apiVersion": f"{GROUP}/{version}", "kind": kind, "metadata": {**meta, **more}, "spec": copy.deepcopy(spec)}
    assert schema.decode(COMPILED[kind].node, obj).unknown == []
    COMPILED[kind].default(obj)
    wrong = [fault.message() for fault in COMPILED[kind].validate(obj)]
    assert wrong == [], wrong
    return obj


def gateway(name: str, *listeners: Obj, namespace: str = INFRA, class_name: str = "sampan", **spec: Any) -> Obj:
    return admitted("Gateway", name, {"gatewayClassName": class_name, "listeners": list(listeners), **spec}, namespace)


def listener(name: str = "http", port: int = 80, protocol: str = "HTTP", **more: Any) -> Obj:
    return {"name": name, "port": port, "protocol": protocol, **more}


def allowing(where: str, **labels: str) -> Obj:
    return {"namespaces": {"from": where} | ({"selector": {"matchLabels": labels}} if labels else {})}


def http(name: str, *rules: Obj, parent: str = "same-namespace", namespace: str = INFRA, **spec: Any) -> Obj:
    return _route("HTTPRoute", name, rules, parent, namespace, spec)


def grpc(name: str, *rules: Obj, parent: str = "same-namespace", namespace: str = INFRA, **spec: Any) -> Obj:
    return _route("GRPCRoute", name, rules, parent, namespace, spec)


def tls(name: str, *rules: Obj, parent: str = "gateway-tlsroute", namespace: str = INFRA, **spec: Any) -> Obj:
    return _route("TLSRoute", name, rules, parent, namespace, spec)


def _route(kind: str, name: str, rules: Iterable[Obj], parent: str, namespace: str, spec: Obj) -> Obj:
    more = {key: spec.pop(key) for key in ("creationTimestamp", "generation") if key in spec}
    if "section" in spec:
        spec["parentRefs"] = [{"name": parent, "namespace": INFRA, "sectionName": spec.pop("section")}]
    wanted = {"parentRefs": [{"name": parent, "namespace": INFRA}], "rules": list(rules), **spec}
    return admitted(kind, name, wanted, namespace, **more)


def to(name: str, **more: Any) -> Obj:
    """A reference to a Service; "v1" is infra-backend-v1."""
    return {"name": f"infra-backend-{name}" if name[:1] == "v" else name, "port": 8080, **more}


def rule(*backends: Obj, matches: Iterable[Obj] = (), **more: Any) -> Obj:
    found: Obj = {"backendRefs": list(backends), **more}
    return found | ({"matches": list(matches)} if matches else {})


def path(value: str, kind: str = "PathPrefix", **more: Any) -> Obj:
    return {"path": {"type": kind, "value": value}, **more}


def named(what: str = "headers", kind: str = "Exact", **values: str) -> Obj:
    return {what: [{"name": name, "value": value, "type": kind} for name, value in values.items()]}


def applying(kind: str, **spec: Any) -> Obj:
    field_name = {"URLRewrite": "urlRewrite", "CORS": "cors"}.get(kind, kind[:1].lower() + kind[1:])
    return {"type": kind, field_name: spec}


def grant(
    namespace: str, *, origin: str = INFRA, kind: str = "HTTPRoute", to_kind: str = "Service", **target: Any
) -> Obj:
    spec = {
        "from": [{"group": GROUP, "kind": kind, "namespace": origin}],
        "to": [{"group": "", "kind": to_kind, **target}],
    }
    return admitted("ReferenceGrant", "grant", spec, namespace)


def service(name: str, namespace: str = INFRA, *, app_protocol: str = "", **spec: Any) -> tuple[Obj, Obj]:
    """With its slice: one endpoint, whose address is the Service's name (a stand-in that tests tell by)."""
    port: Obj = {"name": "first", "port": 8080, "protocol": "TCP"}
    if app_protocol:
        port["appProtocol"] = app_protocol
    meta = {"name": name, "namespace": namespace}
    made = {"metadata": meta, "spec": {"ports": [port], "ipFamilies": ["IPv4"], **spec}}
    endpoints = {
        "metadata": {"name": f"{name}-1", "namespace": namespace},
        "addressType": "IPv4",
        "ports": [{"name": "first", "port": 3000}],
        "endpoints": [{"addresses": [name], "conditions": {"ready": True}}],
    }
    return made, endpoints


CLASS = admitted("GatewayClass", "sampan", {"controllerName": "sampan.io/gateway-controller"}, "")
GATEWAYS = (
    gateway("same-namespace", listener(allowedRoutes=allowing("Same"))),
    gateway("all-namespaces", listener(allowedRoutes=allowing("All"))),
    gateway("backend-namespaces", listener(allowedRoutes=allowing("Selector", **{"gateway-conformance": "backend"}))),
)
SERVICES = (
    *(service(f"infra-backend-v{number}") for number in (1, 2, 3)),
    *(service(f"app-backend-v{number}", APPS) for number in (1, 2)),
    service("web-backend", WEB),
    service("tls-backend"),
)
NAMESPACES: Mapping[str, Mapping[str, str]] = {
    INFRA: {"gateway-conformance": "infra"},
    APPS: {"gateway-conformance": "backend"},
    WEB: {"gateway-conformance": "backend"},
}

_FIELDS = {
    "GatewayClass": "classes",
    "Gateway": "gateways",
    "HTTPRoute": "http_routes",
    "GRPCRoute": "grpc_routes",
    "TLSRoute": "tls_routes",
    "ReferenceGrant": "grants",
    "BackendTLSPolicy": "policies",
}


def observed(
    *objects: Obj,
    services: Iterable[tuple[Obj, Obj]] = SERVICES,
    site: Site = SITE,
    secrets: Iterable[Obj] = (),
    config_maps: Iterable[Obj] = (),
) -> Observed:
    found: dict[str, list[Obj]] = {name: [] for name in _FIELDS.values()}
    for each in objects:
        found[_FIELDS[each["kind"]]].append(each)

    def keyed(wanted: Iterable[Obj]) -> dict[tuple[str, str], Obj]:
        return {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in wanted}

    pairs = list(services)
    return Observed(
        site=site,
        namespaces=NAMESPACES,
        services=keyed(one for one, _ in pairs),
        slices={(one["metadata"]["namespace"], one["metadata"]["name"]): (other,) for one, other in pairs},
        secrets=keyed(secrets),
        config_maps=keyed(config_maps),
        **{name: tuple(each) for name, each in found.items()},  # type: ignore[arg-type]
    )


@dataclass
class World:
    """The plan, and the objects with the statuses that it writes."""

    seen: Observed
    now: str = NOW
    plan: Plan = field(init=False)

    def __post_init__(self) -> None:
        self.plan = plan(self.seen, self.now)
        self._statuses = {(each.obj["kind"], each.obj["metadata"]["name"]): each.status for each in self.plan.writes}

    def status(self, kind: str, name: str) -> Obj:
        return self._statuses[kind, name]

    def parents(self, name: str, kind: str = "HTTPRoute") -> list[dict[str, tuple[str, str]]]:
        """Conditions of each parent: type → (status, reason)."""
        return [conditions(each) for each in self._statuses.get((kind, name), {}).get("parents", [])]

    def parent(self, name: str, kind: str = "HTTPRoute") -> dict[str, tuple[str, str]]:
        (only,) = self.parents(name, kind)
        return only

    def listener(self, gateway_name: str, name: str = "http") -> dict[str, tuple[str, str]]:
        return conditions(self.listener_status(gateway_name, name))

    def listener_status(self, gateway_name: str, name: str = "http") -> Obj:
        found = self.status("Gateway", gateway_name)["listeners"]
        return next(each for each in found if each["name"] == name)

    def gateway(self, name: str) -> dict[str, tuple[str, str]]:
        return conditions(self.status("Gateway", name))

    def settled(self) -> Observed:
        """With the statuses that were written."""
        found = {}
        for kind, name in _FIELDS.items():
            found[name] = tuple(
                {**each, "status": self._statuses.get((kind, each["metadata"]["name"]), each.get("status", {}))}
                for each in getattr(self.seen, name)
            )
        return replace(self.seen, **found)  # type: ignore[arg-type]


def conditions(holder: Obj) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in holder["conditions"]}


# What a client sees


@dataclass(frozen=True)
class Seen:
    """An answer as the model means it. ``shares``: back ends (by the first endpoint's address) with their weights."""

    status: int
    shares: tuple[tuple[str, int], ...] = ()
    path: str = ""
    host: str = ""
    location: str = ""
    route: Route | None = None

    @property
    def backend(self) -> str:
        live = [name for name, weight in self.shares if weight]
        assert len(live) == 1, self.shares
        return live[0]


def asked(found: Listener, url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Seen:
    """``url``: host and path, as "example.com/a?b=c"."""
    parts = urlsplit(f"http://{url}")
    host, target = parts.netloc, parts.path or "/"
    request = Request(host, target, method, {key.lower(): value for key, value in (headers or {}).items()}, parts.query)
    route = route_of(found, request)
    if route is None:
        return Seen(404)
    if route.redirect is not None:
        return Seen(route.redirect.status, location=_location(route, found, host, target), route=route)
    shares = tuple((_name(each.backend), each.weight) for each in route.backends)
    if not sum(weight for _, weight in shares):
        return Seen(route.fault_status, route=route)
    live = [name for name, weight in shares if weight]
    if live == [""]:
        return Seen(route.fault_status, shares, route=route)
    rewrite = route.rewrite
    return Seen(
        200,
        shares,
        _edited(rewrite.path if rewrite else None, route, target),
        (rewrite.host if rewrite else "") or host,
        route=route,
    )


def _name(backend: Any) -> str:
    return backend.endpoints[0].address if backend is not None and backend.endpoints else ""


def _edited(edit: PathEdit | None, route: Route, target: str) -> str:
    if edit is None:
        return target
    if edit.kind == "full":
        return edit.value
    rest = target[len(route.match.path.value.rstrip("/")) :]
    made = edit.value.rstrip("/") + rest if rest else edit.value
    return made if made.startswith("/") else f"/{made}"


def _location(route: Route, found: Listener, host: str, target: str) -> str:
    redirect = route.redirect
    assert redirect is not None
    scheme = redirect.scheme or found.protocol
    port = redirect.port or ({"http": 80, "https": 443}[scheme] if redirect.scheme else found.port)
    shown = "" if port == {"http": 80, "https": 443}[scheme] else f":{port}"
    return f"{scheme}://{redirect.host or without_port(host)}{shown}{_edited(redirect.path, route, target)}"
