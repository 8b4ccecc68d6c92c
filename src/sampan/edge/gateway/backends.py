"""From a reference to the back end of the data plane, or what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Final

from sampan.api.reading import flag, part, parts, text, texts, whole
from sampan.api.types import Obj
from sampan.edge.gateway.observed import Key, Observed
from sampan.edge.gateway.policies import Policies
from sampan.edge.gateway.references import Grants, Reference, read
from sampan.edge.model import Backend, BackendProtocol, BackendTls, Endpoint
from sampan.records import dataclass

#: what the application protocols of Service ports mean for an HTTPRoute
_OF_HTTP: Final[dict[str, BackendProtocol]] = {
    "kubernetes.io/h2c": "h2c",
    "kubernetes.io/ws": "http",
    "kubernetes.io/wss": "https",
    "https": "https",
    "grpc": "h2c",
}
_OF_GRPC: Final[dict[str, BackendProtocol]] = {"kubernetes.io/h2c": "h2c", "https": "h2", "grpc": "h2c"}
_NEVER_GRPC: Final = frozenset(("kubernetes.io/ws", "kubernetes.io/wss"))


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a reference leads nowhere: of the condition ResolvedRefs."""

    reason: str
    message: str


@dataclass(slots=True)
class Resolver:
    """Remembers what it made: many rules lead to one Service. Used for one plan."""

    observed: Observed
    grants: Grants
    policies: Policies
    #: back ends by their Service, each with the Service's port
    backends: dict[Key, dict[str, Obj]] = field(default_factory=dict)
    _made: dict[tuple[str, int, str, str], Backend | Fault] = field(default_factory=dict)

    def resolve(self, ref: Obj, kind: str, namespace: str) -> Backend | Fault:
        """``kind``, ``namespace``: of the route that refers."""
        target = read(ref, "Service", namespace)
        if (target.group, target.kind) != ("", "Service"):
            return Fault("InvalidKind", f"{target} is of a kind that no requests are sent to")
        if not self.grants.allow(kind, namespace, target):
            return Fault("RefNotPermitted", f"no ReferenceGrant in {target.namespace} allows {target}")
        key = (target.name, target.port, target.namespace, "" if kind == "HTTPRoute" else kind)
        if key not in self._made:
            self._made[key] = self._make(target, kind)
        return self._made[key]

    def _make(self, target: Reference, kind: str) -> Backend | Fault:
        service = self.observed.services.get(target.key)
        if service is None:
            return Fault("BackendNotFound", f"{target} does not exist")
        spec = part(service, "spec")
        if text(spec, "type") == "ExternalName":
            return Fault("BackendNotFound", f"{target} is of type ExternalName, which is not followed")
        port = next((each for each in parts(spec, "ports") if each.get("port") == target.port), None)
        if port is None:
            return Fault("BackendNotFound", f"{target} has no port {target.port}")
        protocol = _protocol(port, kind)
        if isinstance(protocol, str) and protocol.startswith("!"):
            return Fault("UnsupportedProtocol", f"port {target.port} of {target} speaks {protocol[1:]}")
        policy = self.policies.of(target.namespace, target.name, text(port, "name"))
        if policy is not None and policy.fault:
            return Fault("InvalidBackendTLSPolicy", f"{target} has BackendTLSPolicy {policy.name}: {policy.fault}")
        if policy is not None and kind != "TLSRoute":
            protocol = "h2" if protocol in ("h2c", "h2") else "https"
        tls = policy.tls if policy is not None and kind != "TLSRoute" else BackendTls()
        name = f"gateway/{target.namespace}/{target.name}:{target.port}/{'tcp' if kind == 'TLSRoute' else protocol}"
        self.backends.setdefault(target.key, {})[name] = port
        endpoints = endpoints_of(service, port, self.observed.slices.get(target.key, ()))
        return Backend(name, endpoints, _checked(protocol), tls)


def _protocol(port: Obj, kind: str) -> str:
    """With "!" before it: one that requests of this kind cannot be sent by."""
    if (text(port, "protocol") or "TCP") != "TCP":
        return f"!{text(port, 'protocol')}"
    asked = text(port, "appProtocol").lower()
    if kind == "TLSRoute":
        return "http"
    known = _OF_HTTP if kind == "HTTPRoute" else _OF_GRPC
    if asked in known:
        return known[asked]
    if asked.startswith("kubernetes.io/") or (kind == "GRPCRoute" and asked in _NEVER_GRPC):
        return f"!{asked}"
    return "http" if kind == "HTTPRoute" else "h2c"


def _checked(protocol: str) -> BackendProtocol:
    found: dict[str, BackendProtocol] = {"http": "http", "h2c": "h2c", "https": "https", "h2": "h2"}
    return found[protocol]


def endpoints_of(service: Obj, port: Obj, slices: Iterable[Obj]) -> tuple[Endpoint, ...]:
    """Of the Service's first address family: a pod of two families is not two."""
    family = next(texts(part(service, "spec"), "ipFamilies"), "")
    found: dict[tuple[str, int], Endpoint] = {}
    for each in slices:
        if family and text(each, "addressType") != family:
            continue
        number = next(
            (whole(one, "port") for one in parts(each, "ports") if text(one, "name") == text(port, "name")), None
        )
        if number is None:
            continue
        for entry in parts(each, "endpoints"):
            state = part(entry, "conditions")
            ready = state.get("ready") is not False
            draining = not ready and flag(state, "terminating") and state.get("serving") is not False
            if ready or draining:
                for address in texts(entry, "addresses"):
                    found[address, number] = Endpoint(address, number, draining)
    return tuple(found[key] for key in sorted(found))
