"""Conformance cases of HTTPRoute about attachment, references and matches, by their published names."""

from __future__ import annotations

from tests.edge.gateway.case import V1, V2, V3, Ask, Case
from tests.edge.gateway.world import WEB, Obj, gateway, http, listener, named, path, rule, to


def _hosts(*names: str, at: str, on: str) -> Obj:
    return http(on, rule(to(at), matches=[path(f"/{on}")]), parent="many", hostnames=list(names))


_MANY = gateway(
    "many",
    listener("listener-1", hostname="very.specific.com"),
    listener("listener-2", hostname="*.wildcard.io"),
    listener("listener-3", hostname="*.anotherwildcard.io"),
)
_MATCHED = gateway(
    "httproute-listener-hostname-matching",
    listener("listener-1", hostname="bar.com"),
    listener("listener-2", hostname="foo.bar.com"),
    listener("listener-3", hostname="*.bar.com"),
    listener("listener-4", hostname="*.foo.com"),
)


def _at(name: str, backend: str, *sections: str) -> Obj:
    refs = [{"name": _MATCHED["metadata"]["name"], "sectionName": each} for each in sections]
    return http(name, rule(to(backend)), parentRefs=refs)


_ISOLATED = {
    "empty-hostname": "",
    "wildcard-example-com": "*.example.com",
    "wildcard-foo-example-com": "*.foo.example.com",
    "abc-foo-example-com": "abc.foo.example.com",
}
_ISOLATION = gateway(
    "isolation",
    *(listener(name, **({"hostname": host} if host else {})) for name, host in _ISOLATED.items()),
)


def _isolation(hosts: tuple[str, ...]) -> tuple[Obj, ...]:
    return (
        _ISOLATION,
        *(
            http(name, rule(to("v1"), matches=[path(f"/{name}")]), parent="isolation", section=name, **_maybe(hosts))
            for name in _ISOLATED
        ),
    )


def _maybe(hosts: tuple[str, ...]) -> Obj:
    return {"hostnames": list(hosts)} if hosts else {}


def _isolation_asks() -> tuple[Ask, ...]:
    """Each host reaches the routes of its own listener alone."""
    own = {
        "bar.com": "empty-hostname",
        "bar.example.com": "wildcard-example-com",
        "bar.foo.example.com": "wildcard-foo-example-com",
        "abc.foo.example.com": "abc-foo-example-com",
    }
    return tuple(Ask(f"{host}/{name}", V1 if name == mine else 404) for host, mine in own.items() for name in _ISOLATED)


MATCHING = (
    Case(
        "HTTPRouteSimpleSameNamespace",
        (http("simple", rule(to("v1"))),),
        (Ask("any/", V1), Ask("other.example/deep/path", V1)),
    ),
    Case(
        "HTTPRouteCrossNamespace",
        (http("cross", rule({"name": "web-backend", "port": 8080}), parent="backend-namespaces", namespace=WEB),),
        (Ask("any/", "web-backend"),),
        gateway="backend-namespaces",
    ),
    Case(
        "HTTPRouteExactPathMatching",
        (
            http(
                "exact",
                rule(to("v1"), matches=[path("/one", "Exact")]),
                rule(to("v2"), matches=[path("/two", "Exact")]),
            ),
        ),
        (
            Ask("a/one", V1),
            Ask("a/two", V2),
            Ask("a/", 404),
            Ask("a/one/example", 404),
            Ask("a/two/", 404),
            Ask("a/Two", 404),
        ),
    ),
    Case(
        "HTTPRouteMatching",
        (
            http(
                "matching",
                rule(to("v1"), matches=[path("/"), named(version="one")]),
                rule(to("v2"), matches=[path("/v2"), named(version="two")]),
            ),
        ),
        (
            Ask("a/", V1),
            Ask("a/example", V1),
            Ask("a/", V1, headers={"Version": "one"}),
            Ask("a/v2", V2),
            Ask("a/v2/", V2),
            Ask("a/v2/example", V2),
            Ask("a/", V2, headers={"Version": "two"}),
            Ask("a/v2example", V1),
            Ask("a/foo/v2/example", V1),
        ),
    ),
    Case(
        "HTTPRouteMatchingAcrossRoutes",
        (
            http(
                "part1",
                rule(to("v1"), matches=[path("/"), named(version="one")]),
                hostnames=["example.com", "example.net"],
            ),
            http("part2", rule(to("v2"), matches=[path("/v2"), named(version="two")]), hostnames=["*.com"]),
        ),
        (
            Ask("example.com/", V1),
            Ask("example.net/example", V1),
            Ask("example.net/", V1, headers={"Version": "one"}),
            Ask("www.com/v2", V2),
            Ask("www.com/", V2, headers={"Version": "two"}),
            Ask("www.com/", 404),
            Ask("example.org/v2", 404),
        ),
    ),
    Case(
        "HTTPRouteHeaderMatching",
        (
            http(
                "headers",
                rule(to("v1"), matches=[named(version="one")]),
                rule(to("v2"), matches=[named(version="two")]),
                rule(to("v1"), matches=[named(version="two", color="orange")]),
                rule(to("v1"), matches=[named(color="blue"), named(color="green")]),
                rule(to("v2"), matches=[named(color="red"), named(color="yellow")]),
            ),
        ),
        (
            Ask("a/", V1, headers={"Version": "one"}),
            Ask("a/", V2, headers={"Version": "two"}),
            Ask("a/", V1, headers={"Version": "two", "Color": "orange"}),
            Ask("a/", V1, headers={"Color": "blue"}),
            Ask("a/", V1, headers={"Color": "green"}),
            Ask("a/", V2, headers={"Color": "red"}),
            Ask("a/", V2, headers={"Color": "yellow"}),
            Ask("a/", V1, headers={"Version": "one", "Color": "red"}),
            Ask("a/", 404, headers={"Color": "purple"}),
            Ask("a/", 404),
        ),
    ),
    Case(
        "HTTPRouteHostnameIntersection",
        (
            _MANY,
            _hosts("non.matching.com", "*.nonmatchingwildcard.io", "very.specific.com", at="v1", on="s1"),
            _hosts("non.matching.com", "wildcard.io", "foo.wildcard.io", "foo.bar.wildcard.io", at="v2", on="s2"),
            _hosts("non.matching.com", "*.specific.com", at="v3", on="s3"),
            _hosts("*.anotherwildcard.io", at="v1", on="s4"),
            _hosts("specific.but.wrong.com", "wildcard.io", at="v2", on="s5"),
        ),
        (
            Ask("very.specific.com/s1", V1),
            Ask("very.specific.com:1234/s1", V1),
            Ask("non.matching.com/s1", 404),
            Ask("foo.nonmatchingwildcard.io/s1", 404),
            Ask("foo.wildcard.io/s1", 404),
            Ask("very.specific.com/none", 404),
            Ask("foo.wildcard.io/s2", V2),
            Ask("foo.bar.wildcard.io/s2", V2),
            Ask("wildcard.io/s2", 404),
            Ask("very.specific.com/s3", V3),
            Ask("foo.specific.com/s3", 404),
            Ask("foo.anotherwildcard.io/s4", V1),
            Ask("foo.bar.anotherwildcard.io/s4", V1),
            Ask("anotherwildcard.io/s4", 404),
            Ask("wildcard.io/s5", 404),
        ),
        gateway="many",
        accepted={"s1": "Accepted", "s4": "Accepted", "s5": "NoMatchingListenerHostname"},
    ),
    Case(
        "HTTPRouteListenerHostnameMatching",
        (
            _MATCHED,
            _at("backend-v1", "v1", "listener-1"),
            _at("backend-v2", "v2", "listener-2"),
            _at("backend-v3", "v3", "listener-3", "listener-4"),
        ),
        (
            Ask("bar.com/", V1),
            Ask("foo.bar.com/", V2),
            Ask("baz.bar.com/", V3),
            Ask("boo.bar.com/", V3),
            Ask("multiple.prefixes.bar.com/", V3),
            Ask("multiple.prefixes.foo.com/", V3),
            Ask("foo.com/", 404),
            Ask("no.matching.host/", 404),
        ),
        gateway="httproute-listener-hostname-matching",
    ),
    Case("GatewayHTTPListenerIsolation", _isolation(()), _isolation_asks(), gateway="isolation"),
    Case(
        "GatewayHTTPListenerIsolationWithHostnameIntersection",
        _isolation(("bar.com", "*.example.com", "*.foo.example.com", "abc.foo.example.com")),
        _isolation_asks(),
        gateway="isolation",
    ),
    Case(
        "GatewayHTTPListenerIsolation, a listener without routes",
        (
            gateway("isolation", listener("w", hostname="*.example.com"), listener("n", hostname="a.example.com")),
            http("wide", rule(to("v1")), parent="isolation", hostnames=["*.example.com"], section="w"),
        ),
        (Ask("b.example.com/", V1), Ask("a.example.com/", 404), Ask("other.org/", 404)),
        gateway="isolation",
    ),
    Case(
        "GatewayWithoutRoutes",
        (gateway("empty", listener()),),
        (Ask("any.example/", 404),),
        gateway="empty",
    ),
    Case(
        "HTTPRouteInvalidBackendRefUnknownKind",
        (
            http(
                "unknown", rule({"group": "unknownkind.example.com", "kind": "NonExistent", "name": "it", "port": 8080})
            ),
        ),
        (Ask("a/", 500),),
        resolved={"unknown": "InvalidKind"},
    ),
    Case(
        "HTTPRouteInvalidCrossNamespaceBackendRef",
        (http("cross", rule({"name": "web-backend", "namespace": WEB, "port": 8080})),),
        (Ask("a/", 500),),
        resolved={"cross": "RefNotPermitted"},
    ),
    Case(
        "HTTPRouteInvalidNonExistentBackendRef",
        (http("missing", rule({"name": "nonexistent", "port": 8080})),),
        (Ask("a/", 500),),
        resolved={"missing": "BackendNotFound"},
    ),
    Case(
        "HTTPRouteInvalidParentRefNotMatchingSectionName",
        (http("wrong", rule(to("v1")), section="non-existent"),),
        (Ask("a/", 404),),
        accepted={"wrong": "NoMatchingParent"},
    ),
    Case(
        "HTTPRouteInvalidParentRefNotMatchingListenerPort",
        (http("wrong", rule(to("v1")), parentRefs=[{"name": "same-namespace", "port": 81}]),),
        (Ask("a/", 404),),
        accepted={"wrong": "NoMatchingParent"},
    ),
    Case(
        "HTTPRouteInvalidParentRefSectionNameNotMatchingPort",
        (
            http(
                "wrong", rule(to("v1")), parentRefs=[{"name": "same-namespace", "sectionName": "http", "port": 8080}]
            ),
        ),
        (Ask("a/", 404),),
        accepted={"wrong": "NoMatchingParent"},
    ),
    Case(
        "HTTPRouteInvalidCrossNamespaceParentRef",
        (http("foreign", rule({"name": "web-backend", "port": 8080}), namespace=WEB),),
        (Ask("a/", 404),),
        accepted={"foreign": "NotAllowedByListeners"},
    ),
    Case(
        "HTTPRouteMethodMatching",
        (
            http(
                "method",
                rule(to("v1"), matches=[{"method": "POST"}]),
                rule(to("v2"), matches=[{"method": "GET"}]),
                rule(to("v1"), matches=[path("/path1", method="GET")]),
                rule(to("v2"), matches=[{**named(version="one"), "method": "PUT"}]),
                rule(to("v3"), matches=[{**path("/path2", method="POST"), **named(version="two")}]),
                rule(to("v1"), matches=[{"method": "PATCH", **path("/path3")}, named(version="four")]),
            ),
        ),
        (
            Ask("a/", V1, method="POST"),
            Ask("a/", V2, method="GET"),
            Ask("a/", 404, method="HEAD"),
            Ask("a/path1", V1, method="GET"),
            Ask("a/", V2, method="PUT", headers={"version": "one"}),
            Ask("a/path2", V3, method="POST", headers={"version": "two"}),
            Ask("a/path3", V1, method="PATCH"),
            Ask("a/path4", V1, method="DELETE", headers={"version": "four"}),
            Ask("a/", 404, method="PUT"),
        ),
    ),
    Case(
        "HTTPRoutePathMatchOrder",
        (
            http(
                "order",
                rule(to("v3"), matches=[path("/match")]),
                rule(to("v2"), matches=[path("/match/exact")]),
                rule(to("v1"), matches=[path("/match/exact", "Exact")]),
                rule(to("v2"), matches=[path("/match/prefix")]),
                rule(to("v1"), matches=[path("/match/prefix/one")]),
            ),
        ),
        (
            Ask("a/match/exact/one", V2),
            Ask("a/match/exact", V1),
            Ask("a/match", V3),
            Ask("a/match/prefix/one/any", V1),
            Ask("a/match/prefix/any", V2),
            Ask("a/match/any", V3),
        ),
    ),
    Case(
        "HTTPRouteQueryParamMatching",
        (
            http(
                "queries",
                rule(to("v1"), matches=[named("queryParams", animal="whale")]),
                rule(to("v2"), matches=[named("queryParams", animal="dolphin")]),
                rule(to("v3"), matches=[named("queryParams", animal="dolphin", color="blue")]),
                rule(to("v3"), matches=[named("queryParams", ANIMAL="Whale")]),
                rule(to("v1"), matches=[path("/path1") | named("queryParams", animal="whale")]),
                rule(to("v2"), matches=[named(version="one") | named("queryParams", animal="whale")]),
            ),
        ),
        (
            Ask("a/?animal=whale", V1),
            Ask("a/?animal=dolphin", V2),
            Ask("a/?animal=whale&otherparam=irrelevant", V1),
            Ask("a/?animal=dolphin&color=yellow", V2),
            Ask("a/?animal=dolphin&color=blue", V3),
            Ask("a/?ANIMAL=Whale", V3),
            Ask("a/path1?animal=whale", V1),
            Ask("a/?animal=whale", V2, headers={"version": "one"}),
            Ask("a/?animal=shark", 404),
            Ask("a/?color=blue", 404),
            Ask("a/", 404),
        ),
    ),
)  # fmt: skip
