"""From the objects of the Gateway API to what the data plane does and what each object is told. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sampan.api.objects import deep_copy
from sampan.api.reading import part, parts, text, whole
from sampan.api.types import Obj
from sampan.edge.gateway import listeners, names
from sampan.edge.gateway.attachment import Attaching, Attachment
from sampan.edge.gateway.backends import Fault, Resolver
from sampan.edge.gateway.composing import Composing
from sampan.edge.gateway.conditions import Condition, merged
from sampan.edge.gateway.listeners import Gateway
from sampan.edge.gateway.observed import Observed
from sampan.edge.gateway.policies import Policies, age
from sampan.edge.gateway.references import Grants
from sampan.edge.gateway.tls import tls_routes
from sampan.edge.gateway.translation import Translated, translate
from sampan.edge.model import Plane, TlsRoute
from sampan.records import dataclass

#: releases of the definitions whose fields are known
_KNOWN_RELEASES: Final = re.compile(r"v1\.[0-6]\.\d{1,3}(-[0-9a-z.]{1,20})?")
#: of a policy; the API takes no more
_MOST_ANCESTORS: Final = 16


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """``status``: the object's, whole; it differs from the one it has."""

    obj: Obj
    status: Obj


@dataclass(frozen=True, slots=True)
class Plan:
    plane: Plane
    writes: tuple[StatusWrite, ...]


def plan(observed: Observed, now: str) -> Plan:
    """``now``: of conditions that change, as the API writes times."""
    grants, policies = Grants(observed.grants), Policies(observed)
    resolver = Resolver(observed, grants, policies)
    writes = list(_classes(observed, now))
    gateways = _gateways(observed, grants)
    attaching = Attaching(gateways, observed.namespaces)
    composing = Composing(gateways)
    attached: dict[tuple[tuple[str, str], str], int] = {}
    used: dict[tuple[str, str], dict[tuple[str, str], None]] = {}
    for route, kind in _routes(observed):
        attachments = list(attaching.attach(route, kind))
        entries: list[Obj] = []
        if attachments:
            translated, tls = _translated(route, kind, resolver)
            judged = _judged(translated)
            for each in attachments:
                accepted = each.refused or judged[0]
                entries.append(
                    _parent(route, each, (accepted, *judged[1:]) if accepted.status else (accepted, judged[1]), now)
                )
                if not accepted.status:
                    continue
                for listener, hosts in each.bound:
                    place = listener.gateway, listener.name
                    attached[place] = attached.get(place, 0) + 1
                    composing.add(listener, hosts, translated.routes, tls)
                _note_policies(route, each.gateway.key, policies, used)
        writes += _route_write(route, entries)
    for gateway in gateways:
        writes += _gateway_write(gateway, attached, now)
    writes += _policy_writes(observed, policies, used, now)
    return Plan(composing.plane(), tuple(writes))


def _gateways(observed: Observed, grants: Grants) -> list[Gateway]:
    ours = {
        text(part(each, "metadata"), "name")
        for each in observed.classes
        if _is_ours(each) and not part(part(each, "spec"), "parametersRef")
    }
    claims: listeners.Claims = {}
    return [
        listeners.judge(each, observed, grants, claims)
        for each in sorted(observed.gateways, key=age)
        if text(part(each, "spec"), "gatewayClassName") in ours
    ]


def _routes(observed: Observed) -> Iterator[tuple[Obj, str]]:
    mixed = [
        *((each, "HTTPRoute") for each in observed.http_routes),
        *((each, "GRPCRoute") for each in observed.grpc_routes),
    ]
    yield from sorted(mixed, key=lambda pair: (age(pair[0]), pair[1]))
    for each in sorted(observed.tls_routes, key=age):
        yield each, "TLSRoute"


def _translated(route: Obj, kind: str, resolver: Resolver) -> tuple[Translated, Sequence[TlsRoute]]:
    if kind == "TLSRoute":
        return tls_routes(route, resolver)
    return translate(route, kind, resolver), ()


def _judged(translated: Translated) -> tuple[Condition, ...]:
    """What is true of a route whatever its parent: Accepted, ResolvedRefs, and PartiallyInvalid where it is."""
    resolved = Condition("ResolvedRefs", True, "ResolvedRefs", "all references are resolved")
    if translated.unresolved:
        first: Fault = translated.unresolved[0]
        resolved = Condition("ResolvedRefs", False, first.reason, first.message)
    if not translated.dropped:
        return Condition("Accepted", True, "Accepted", "the route is accepted"), resolved
    said = "; ".join(f"rule {number}: {reason}" for number, reason in sorted(translated.dropped.items()))
    if len(translated.dropped) == translated.rules:
        return Condition("Accepted", False, "UnsupportedValue", said), resolved
    return (
        Condition("Accepted", True, "Accepted", "some of the route's rules are accepted"),
        resolved,
        Condition("PartiallyInvalid", True, "UnsupportedValue", f"Dropped Rule {said.removeprefix('rule ')}"),
    )


# What objects are told


def _classes(observed: Observed, now: str) -> Iterator[StatusWrite]:
    unknown = [
        f"{kind} {release or '(none)'}"
        for kind, release in sorted(observed.bundles.items())
        if not _KNOWN_RELEASES.fullmatch(release)
    ]
    version = (
        Condition("SupportedVersion", False, "UnsupportedVersion", f"releases not known: {', '.join(unknown)}")
        if unknown
        else Condition("SupportedVersion", True, "SupportedVersion", "the definitions are of a release that is known")
    )
    for each in observed.classes:
        if not _is_ours(each):
            continue
        accepted = Condition("Accepted", True, "Accepted", "the class is served")
        if part(part(each, "spec"), "parametersRef"):
            said = "spec.parametersRef is not supported: there are no parameters"
            accepted = Condition("Accepted", False, "InvalidParameters", said)
        old = part(each, "status")
        status: Obj = {
            **old,
            "conditions": merged(old.get("conditions"), (accepted, version), _generation(each), now),
            "supportedFeatures": [{"name": name} for name in names.FEATURES],
        }
        if status != old:
            yield StatusWrite(each, status)


def _gateway_write(gateway: Gateway, attached: dict[Any, int], now: str) -> Iterator[StatusWrite]:
    old = part(gateway.obj, "status")
    generation = _generation(gateway.obj)
    before = {text(each, "name"): each for each in parts(old, "listeners")}
    told: list[Obj] = [
        {
            "attachedRoutes": attached.get((each.gateway, each.name), 0),
            "conditions": merged(
                before.get(each.name, {}).get("conditions"), each.conditions, generation, now, others=False
            ),
            "name": each.name,
            "supportedKinds": [{"group": names.GROUP, "kind": kind} for kind in each.kinds],
        }
        for each in gateway.listeners
    ]
    status: Obj = {
        **old,
        "addresses": [{"type": "IPAddress", "value": each} for each in gateway.addresses[:16]],
        "conditions": merged(old.get("conditions"), gateway.conditions, generation, now),
        "listeners": told,
    }
    if status != old:
        yield StatusWrite(gateway.obj, status)


def _parent(route: Obj, attachment: Attachment, told: Sequence[Condition], now: str) -> Obj:
    before = next(
        (
            each
            for each in parts(part(route, "status"), "parents")
            if each.get("parentRef") == attachment.parent and text(each, "controllerName") == names.CONTROLLER
        ),
        {},
    )
    return {
        "conditions": merged(before.get("conditions"), told, _generation(route), now, others=False),
        "controllerName": names.CONTROLLER,
        "parentRef": deep_copy(attachment.parent),
    }


def _route_write(route: Obj, entries: list[Obj]) -> Iterator[StatusWrite]:
    """Other controllers' entries stay as they are."""
    old = part(route, "status")
    theirs = [each for each in parts(old, "parents") if text(each, "controllerName") != names.CONTROLLER]
    wanted = [*theirs, *entries][:32]
    if wanted != (old.get("parents") or []):
        yield StatusWrite(route, {**old, "parents": wanted})


def _note_policies(route: Obj, gateway: tuple[str, str], policies: Policies, used: dict[Any, dict[Any, None]]) -> None:
    """That a Gateway reaches the targets of a policy through this route."""
    namespace = text(part(route, "metadata"), "namespace")
    for rule in parts(part(route, "spec"), "rules"):
        for ref in parts(rule, "backendRefs"):
            place = text(ref, "namespace") or namespace
            for policy in policies.named(place, text(ref, "name")):
                used.setdefault(policy, {})[gateway] = None


def _policy_writes(
    observed: Observed, policies: Policies, used: dict[Any, dict[Any, None]], now: str
) -> Iterator[StatusWrite]:
    for each in observed.policies:
        meta, old = part(each, "metadata"), part(each, "status")
        key = text(meta, "namespace"), text(meta, "name")
        policy = policies.all[key]
        theirs = [one for one in parts(old, "ancestors") if text(one, "controllerName") != names.CONTROLLER]
        mine: list[Obj] = []
        for namespace, name in sorted(used.get(key, {})):
            ancestor = {"group": names.GROUP, "kind": "Gateway", "name": name, "namespace": namespace}
            before = next((one for one in parts(old, "ancestors") if one.get("ancestorRef") == ancestor), {})
            mine.append(
                {
                    "ancestorRef": ancestor,
                    "conditions": merged(
                        before.get("conditions"), policy.conditions, _generation(each), now, others=False
                    ),
                    "controllerName": names.CONTROLLER,
                }
            )
        wanted = [*theirs, *mine][:_MOST_ANCESTORS]
        if wanted != (old.get("ancestors") or []):
            yield StatusWrite(each, {**old, "ancestors": wanted})


def _is_ours(gateway_class: Obj) -> bool:
    return text(part(gateway_class, "spec"), "controllerName") == names.CONTROLLER


def _generation(obj: Obj) -> int:
    return whole(part(obj, "metadata"), "generation") or 0
