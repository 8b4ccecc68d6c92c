"""BackendTLSPolicies: which one a port of a Service has, and what it asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.edge.gateway import certificates
from sampan.edge.gateway.conditions import Condition
from sampan.edge.gateway.observed import Observed
from sampan.edge.model import BackendTls
from sampan.records import dataclass

#: (namespace, Service, name of its port; "": every port)
Target = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Policy:
    """``fault``: why no connection may be made by it; "": by ``tls``."""

    name: str
    tls: BackendTls
    fault: str
    conditions: tuple[Condition, ...]
    targets: frozenset[Target]


class Policies:
    """Of several for one target the oldest holds, then the first by name."""

    def __init__(self, observed: Observed) -> None:
        self._of: dict[Target, Policy] = {}
        #: by namespace and name
        self.all: dict[tuple[str, str], Policy] = {}
        self._by_service: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for obj in sorted(observed.policies, key=age):
            namespace, name = text(part(obj, "metadata"), "namespace"), text(part(obj, "metadata"), "name")
            targets = frozenset(_targets(obj, namespace))
            policy = _read(obj, namespace, name, targets, observed)
            if targets and targets <= self._of.keys():
                lost = Condition("Accepted", False, "Conflicted", "an older BackendTLSPolicy has the same target")
                policy = Policy(name, policy.tls, policy.fault, (lost, *policy.conditions[1:]), frozenset())
            for target in targets:
                self._of.setdefault(target, policy)
            self.all[namespace, name] = policy
            for service in dict.fromkeys(target[1] for target in targets):
                self._by_service.setdefault((namespace, service), []).append((namespace, name))

    def named(self, namespace: str, service: str) -> list[tuple[str, str]]:
        """Namespace and name of every policy for a Service, in force or not."""
        return self._by_service.get((namespace, service), [])

    def of(self, namespace: str, service: str, port_name: str) -> Policy | None:
        """A policy for the port goes before one for the whole Service."""
        return self._of.get((namespace, service, port_name)) or self._of.get((namespace, service, ""))


def age(obj: Obj) -> tuple[str, str, str]:
    """Sorts the oldest first, then by namespace and name."""
    meta = part(obj, "metadata")
    return text(meta, "creationTimestamp"), text(meta, "namespace"), text(meta, "name")


def _targets(obj: Obj, namespace: str) -> Iterator[Target]:
    for each in parts(part(obj, "spec"), "targetRefs"):
        if (text(each, "group"), text(each, "kind")) == ("", "Service"):
            yield namespace, text(each, "name"), text(each, "sectionName")


def _read(obj: Obj, namespace: str, name: str, targets: frozenset[Target], observed: Observed) -> Policy:
    spec = part(obj, "spec")
    validation = part(spec, "validation")
    tls = BackendTls(server_name=text(validation, "hostname"))
    resolved = Condition("ResolvedRefs", True, "ResolvedRefs", "all references are resolved")
    accepted = Condition("Accepted", True, "Accepted", "the policy is in force")

    def judged(fault: str, accepted: Condition, resolved: Condition, tls: BackendTls = tls) -> Policy:
        return Policy(name, tls, fault, (accepted, resolved), targets)

    unsupported = next(_unsupported(spec, validation), "")
    if unsupported:
        return judged(unsupported, Condition("Accepted", False, "Invalid", unsupported), resolved)
    if text(validation, "wellKnownCACertificates"):
        return judged("", accepted, resolved, BackendTls(tls.server_name, system_ca=True))
    found: list[str] = []
    for each in parts(validation, "caCertificateRefs"):
        reason, fault = "InvalidCACertificateRef", ""
        if (text(each, "group"), text(each, "kind")) != ("", "ConfigMap"):
            reason, fault = "InvalidKind", f"{text(each, 'kind')} {text(each, 'name')} is no ConfigMap"
        else:
            bundle = certificates.bundle(observed.config_maps.get((namespace, text(each, "name"))))
            if isinstance(bundle, str):
                fault = f"ConfigMap {namespace}/{text(each, 'name')} {bundle}"
            else:
                found += bundle
        if fault:
            # One that is wrong is enough: else somebody would be believed less, or more, than was meant.
            none = Condition("Accepted", False, "NoValidCACertificate", fault)
            return judged(fault, none, Condition("ResolvedRefs", False, reason, fault))
    return judged("", accepted, resolved, BackendTls(tls.server_name, ca="\n".join(found)))


def _unsupported(spec: Obj, validation: Obj) -> Iterator[str]:
    if part(spec, "options"):
        yield "spec.options are not supported"
    if parts(validation, "subjectAltNames"):
        yield "spec.validation.subjectAltNames are not supported"
    if any((text(each, "group"), text(each, "kind")) != ("", "Service") for each in parts(spec, "targetRefs")):
        yield "only Services can be targets"
    if text(validation, "wellKnownCACertificates") not in ("", "System"):
        yield "spec.validation.wellKnownCACertificates can only be System"
