"""From the objects of the Gateway API to what the data plane does and what each object is told. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.edge.gateway import listeners, references, statuses
from sampan.edge.gateway.attachment import Attaching
from sampan.edge.gateway.backends import Fault, Resolver
from sampan.edge.gateway.claims import Claims
from sampan.edge.gateway.composing import Composing
from sampan.edge.gateway.conditions import Condition
from sampan.edge.gateway.listeners import Gateway
from sampan.edge.gateway.memory import Memory
from sampan.edge.gateway.observed import Key, Observed
from sampan.edge.gateway.policies import Policies, age
from sampan.edge.gateway.references import Grants
from sampan.edge.gateway.statuses import StatusWrite
from sampan.edge.gateway.tls import tls_routes
from sampan.edge.gateway.translation import Translated
from sampan.edge.model import Plane, TlsRoute
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """``backends``: those of the plane by their Service, each with the Service's port."""

    plane: Plane
    writes: tuple[StatusWrite, ...]
    backends: Mapping[Key, Mapping[str, Obj]]


def plan(observed: Observed, now: str, memory: Memory | None = None) -> Plan:
    """``now``: of conditions that change, as the API writes times. ``memory``: of plans before, and for those to come;
    it changes what a plan costs and nothing else."""
    memory = memory or Memory()
    memory.begin()
    classes = references.ours(observed.classes)
    grants = Grants(observed.grants)
    gateways = _gateways(observed, classes, grants)
    policies = Policies(observed)
    planning = _Planning(observed, gateways, Resolver(observed, grants, policies), policies, now, memory)
    writes = list(statuses.of_classes(classes, observed.bundles, now))
    for route, kind in _routes(observed):
        writes += planning.route(route, kind)
    for gateway in gateways:
        writes += statuses.of_gateway(gateway, planning.attached, now)
    writes += statuses.of_policies(observed.policies, policies, planning.used, now)
    return Plan(planning.composing.plane(), tuple(writes), planning.resolver.backends)


@dataclass(slots=True)
class _Planning:
    """What is known after the routes so far, which are given by their age.

    ``attached``: how many routes a Gateway's listener has; ``used``: by which Gateways a policy is reached.
    """

    observed: Observed
    gateways: Sequence[Gateway]
    resolver: Resolver
    policies: Policies
    now: str
    memory: Memory
    attaching: Attaching = field(init=False)
    composing: Composing = field(init=False)
    attached: dict[tuple[Key, str], int] = field(default_factory=dict)
    used: dict[Key, dict[Key, None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.attaching = Attaching(self.gateways, self.observed.namespaces)
        self.composing = Composing(self.gateways)

    def route(self, route: Obj, kind: str) -> Iterator[StatusWrite]:
        attachments = list(self.attaching.attach(route, kind))
        entries: list[Obj] = []
        if attachments:
            translated, tls = self._translated(route, kind)
            meta = part(route, "metadata")
            refused = self.observed.refused.get((kind, text(meta, "namespace"), text(meta, "name")), "")
            accepted, resolved, *more = _judged(translated, refused)
            for each in attachments:
                told = [each.refused, resolved] if each.refused else [accepted, resolved, *more]
                entries.append(statuses.parent_entry(route, each, told, self.now))
                if each.refused or len(translated.dropped) == translated.rules > 0:
                    continue
                for listener, hosts in each.bound:
                    place = listener.gateway, listener.name
                    self.attached[place] = self.attached.get(place, 0) + accepted.status
                    self.composing.add(listener, hosts, translated.routes, tls)
                self._note_policies(route, each.gateway.key)
        yield from statuses.of_route(route, entries)

    def _translated(self, route: Obj, kind: str) -> tuple[Translated, Sequence[TlsRoute]]:
        if kind == "TLSRoute":
            return tls_routes(route, self.resolver)
        return self.memory.translate(route, kind, self.resolver), ()

    def _note_policies(self, route: Obj, gateway: Key) -> None:
        """That a Gateway reaches the targets of policies through this route."""
        namespace = text(part(route, "metadata"), "namespace")
        for rule in parts(part(route, "spec"), "rules"):
            for ref in parts(rule, "backendRefs"):
                place = text(ref, "namespace") or namespace
                for policy in self.policies.named(place, text(ref, "name")):
                    self.used.setdefault(policy, {})[gateway] = None


def _gateways(observed: Observed, classes: Sequence[Obj], grants: Grants) -> list[Gateway]:
    claims = Claims()
    found = sorted(references.of_classes(observed.gateways, classes), key=age)
    return [listeners.judge(each, observed, grants, claims) for each in found]


def _routes(observed: Observed) -> Iterator[tuple[Obj, str]]:
    mixed = [
        *((each, "HTTPRoute") for each in observed.http_routes),
        *((each, "GRPCRoute") for each in observed.grpc_routes),
    ]
    yield from sorted(mixed, key=lambda pair: (age(pair[0]), pair[1]))
    for each in sorted(observed.tls_routes, key=age):
        yield each, "TLSRoute"


def _judged(translated: Translated, refused: str) -> tuple[Condition, ...]:
    """What is true of a route whatever its parent: Accepted, ResolvedRefs, and PartiallyInvalid where it is.
    ``refused``: why the data plane does not take something of it."""
    resolved = Condition("ResolvedRefs", True, "ResolvedRefs", "all references are resolved")
    if translated.unresolved:
        first: Fault = translated.unresolved[0]
        resolved = Condition("ResolvedRefs", False, first.reason, first.message)
    dropped = [f"{number}: {reason}" for number, reason in sorted(translated.dropped.items())]
    if refused:
        dropped.append(refused)
    if not dropped:
        return Condition("Accepted", True, "Accepted", "the route is accepted"), resolved
    if len(dropped) >= translated.rules:
        return Condition("Accepted", False, "UnsupportedValue", f"rule {'; rule '.join(dropped)}"), resolved
    return (
        Condition("Accepted", True, "Accepted", "some of the route's rules are accepted"),
        resolved,
        Condition("PartiallyInvalid", True, "UnsupportedValue", f"Dropped Rule {'; rule '.join(dropped)}"),
    )
