"""Rules of HTTPRoutes and GRPCRoutes as routes of the data plane. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Final

from sampan.api import durations
from sampan.api.reading import part, parts, text, whole
from sampan.api.types import Obj
from sampan.edge.checking import Problem, check
from sampan.edge.gateway import filters
from sampan.edge.gateway.backends import Fault, Resolver
from sampan.edge.gateway.filters import Filters
from sampan.edge.model import (
    Listener,
    Match,
    Owner,
    PathMatch,
    Plane,
    Retries,
    Route,
    Timeouts,
    ValueMatch,
    VirtualHost,
    Weighted,
)
from sampan.records import dataclass

#: of a back end that is none: an HTTP client gets this, one of gRPC reads UNAVAILABLE out of the other
_FAULT: Final = {"HTTPRoute": 500, "GRPCRoute": 503}


@dataclass(slots=True)
class Translated:
    """``dropped``: rules that cannot be had, with the reason; ``unresolved``: references that lead nowhere."""

    routes: list[Route] = field(default_factory=list)
    rules: int = 0
    dropped: dict[int, str] = field(default_factory=dict)
    unresolved: list[Fault] = field(default_factory=list)


def owner_of(obj: Obj, kind: str) -> Owner:
    meta = part(obj, "metadata")
    return Owner(text(obj, "apiVersion"), kind, text(meta, "namespace"), text(meta, "name"), text(meta, "uid"))


def translate(obj: Obj, kind: str, resolver: Resolver) -> Translated:
    """Each rule by itself: one that is wrong takes nothing from the others. What it would have taken gets an error,
    where its matches can be had, and never goes to another rule's back end."""
    meta, owner = part(obj, "metadata"), owner_of(obj, kind)
    found = Translated()
    matches_of = _http_matches if kind == "HTTPRoute" else _grpc_matches
    for number, rule in enumerate(parts(part(obj, "spec"), "rules")):
        found.rules += 1
        refused = _rule(rule, number, owner, text(meta, "creationTimestamp"), kind, matches_of, resolver, found)
        if refused:
            found.dropped[number] = refused[0]
    return found


def _rule(
    rule: Obj,
    number: int,
    owner: Owner,
    created: str,
    kind: str,
    matches_of: Callable[[Obj, list[str]], Iterator[Match]],
    resolver: Resolver,
    found: Translated,
) -> list[str]:
    refused: list[str] = []
    applied = filters.read(parts(rule, "filters"), resolver, kind, owner.namespace)
    backends = _backends(rule, applied, kind, owner.namespace, resolver, refused)
    refused += applied.refused
    refused += _refused_of_rule(rule)
    retries = _retries(part(rule, "retry"), refused)
    timeouts = _timeouts(part(rule, "timeouts"), refused)
    matches: list[Match] = []
    wrong: list[str] = []
    for match in matches_of(rule, wrong):
        if applied.replaces_prefix and match.path.kind != "prefix":
            wrong.append("a prefix is replaced only where a PathPrefix matched")
        else:
            matches.append(match)
    refused += wrong
    found.unresolved += applied.unresolved
    bare = [
        Route(
            name=f"{kind.lower()}/{owner.namespace}/{owner.name}/{number}.{place}",
            owner=owner,
            match=match,
            fault_status=_FAULT[kind],
            age=(created, f"{owner.namespace}/{owner.name}", number * 1000 + place),
        )
        for place, match in enumerate(matches)
    ]
    wanted = [
        dataclasses.replace(
            route,
            backends=() if applied.redirect else backends,
            redirect=applied.redirect,
            rewrite=applied.rewrite,
            request_headers=applied.request_headers,
            response_headers=applied.response_headers,
            cors=applied.cors,
            mirrors=tuple(applied.mirrors),
            timeouts=timeouts,
            retries=retries,
        )
        for route in bare
    ]
    possible, problems = _possible(wanted)
    refused += [each.text for each in problems]
    found.routes += _possible(bare)[0] if refused else possible
    return refused


def _possible(routes: Sequence[Route]) -> tuple[tuple[Route, ...], Sequence[Problem]]:
    """What of them the data plane can have, and why not the others."""
    plane, problems = check(Plane((Listener("", 1, hosts=(VirtualHost("", tuple(routes)),)),)))
    return plane.listeners[0].hosts[0].routes, problems


def _refused_of_rule(rule: Obj) -> Iterator[str]:
    if part(rule, "sessionPersistence"):
        yield "sessionPersistence is experimental and not supported"


def _backends(
    rule: Obj, applied: Filters, kind: str, namespace: str, resolver: Resolver, refused: list[str]
) -> tuple[Weighted, ...]:
    refs = parts(rule, "backendRefs")
    found: list[Weighted] = []
    for ref in refs:
        backend = resolver.resolve(ref, kind, namespace)
        if isinstance(backend, Fault):
            applied.unresolved.append(backend)
        own = filters.read(parts(ref, "filters"), resolver, kind, namespace)
        refused += own.refused
        applied.unresolved += own.unresolved
        if any(text(each, "type") not in filters.OF_BACKENDS for each in parts(ref, "filters")):
            if len(refs) > 1:
                refused.append("a back end of several can edit headers and do nothing else")
            else:
                _hoist(applied, own, refused)
        weight = whole(ref, "weight")
        found.append(
            Weighted(
                None if isinstance(backend, Fault) else backend,
                1 if weight is None else weight,
                own.request_headers,
                own.response_headers,
            )
        )
    return tuple(found)


def _hoist(applied: Filters, own: Filters, refused: list[str]) -> None:
    """Filters of the only back end become the rule's."""
    for name in ("redirect", "rewrite", "cors"):
        mine = getattr(own, name)
        if mine is None:
            continue
        if getattr(applied, name) is not None:
            refused.append("the rule and its back end have the same filter")
        setattr(applied, name, mine)
    applied.mirrors += own.mirrors


def _timeouts(obj: Obj, refused: list[str]) -> Timeouts:
    found: dict[str, float | None] = {}
    for name in ("request", "backendRequest"):
        try:
            found[name] = durations.parse(text(obj, name)) if text(obj, name) else None
        except ValueError:
            refused.append(f"timeouts.{name} is no duration")
    return Timeouts(request=found.get("request"), backend_request=found.get("backendRequest"))


def _retries(obj: Obj, refused: list[str]) -> Retries | None:
    if not obj:
        return None
    if text(obj, "backoff"):
        refused.append("retry.backoff is not supported: another try is made at once")
    attempts = whole(obj, "attempts")
    codes = obj.get("codes")
    statuses = tuple(code for code in codes if type(code) is int) if isinstance(codes, list) else ()
    if attempts == 0:
        return Retries(0)
    return Retries(Retries().attempts if attempts is None else attempts, statuses)


# Matches


def _http_matches(rule: Obj, wrong: list[str]) -> Iterator[Match]:
    for each in parts(rule, "matches") or ({},):
        path = _http_path(part(each, "path"), wrong)
        headers = _values(parts(each, "headers"), wrong, fold=True)
        queries = _values(parts(each, "queryParams"), wrong, fold=False)
        if path is not None and headers is not None and queries is not None:
            yield Match(path, text(each, "method"), headers, queries)


def _http_path(obj: Obj, wrong: list[str]) -> PathMatch | None:
    kind, value = text(obj, "type") or "PathPrefix", text(obj, "value") or "/"
    if kind == "Exact":
        return PathMatch("exact", value)
    if kind == "PathPrefix":
        return PathMatch("prefix", value)
    if kind == "RegularExpression":
        return PathMatch("regex", f"(?:{value})$") if _is_expression(value, wrong) else None
    wrong.append(f"paths of type {kind} are not supported")
    return None


def _values(wanted: Sequence[Obj], wrong: list[str], *, fold: bool) -> tuple[ValueMatch, ...] | None:
    """``fold``: names are alike in any case. Of those that are alike the first counts."""
    kept: dict[str, ValueMatch] = {}
    for each in wanted:
        kind, name, value = text(each, "type") or "Exact", text(each, "name"), text(each, "value")
        if kind == "RegularExpression":
            if not _is_expression(value, wrong):
                return None
            kept.setdefault(name.lower() if fold else name, ValueMatch(name, value, "regex"))
        elif kind == "Exact":
            kept.setdefault(name.lower() if fold else name, ValueMatch(name, value))
        else:
            wrong.append(f"matches of type {kind} are not supported")
            return None
    return tuple(kept.values())


def _grpc_matches(rule: Obj, wrong: list[str]) -> Iterator[Match]:
    for each in parts(rule, "matches") or ({},):
        path = _grpc_path(part(each, "method"), wrong)
        headers = _values(parts(each, "headers"), wrong, fold=True)
        if path is not None and headers is not None:
            yield Match(path, headers=headers)


def _grpc_path(method: Obj, wrong: list[str]) -> PathMatch | None:
    """A call is a request for the path /service/method."""
    kind, service, name = text(method, "type") or "Exact", text(method, "service"), text(method, "method")
    if not service and not name:
        return PathMatch()
    if kind == "Exact":
        if service and name:
            return PathMatch("exact", f"/{service}/{name}")
        return PathMatch("prefix", f"/{service}") if service else PathMatch("regex", f"/[^/]+/{name}$")
    if kind != "RegularExpression":
        wrong.append(f"methods of type {kind} are not supported")
        return None
    if not all(_is_expression(each, wrong) for each in (service, name) if each):
        return None
    one, other = (f"(?:{each})" if each else "[^/]+" for each in (service, name))
    return PathMatch("regex", f"/{one}/{other}$")


def _is_expression(value: str, wrong: list[str]) -> bool:
    import re2  # late: few routes have expressions

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(value, options)
    except re2.error:
        wrong.append(f"{value[:200]} is no regular expression")
        return False
    return True
