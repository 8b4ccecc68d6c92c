"""Conformance cases of HTTPRoute about filters, grants and back ends, by their published names."""

from __future__ import annotations

from typing import Any

from tests.edge.gateway.case import V1, V2, V3, Ask, Case
from tests.edge.gateway.world import APPS, WEB, Obj, applying, gateway, grant, http, listener, path, rule, service, to


def _redirect(**spec: Any) -> Obj:
    return applying("RequestRedirect", **spec)


def _prefix(value: str) -> Obj:
    return {"type": "ReplacePrefixMatch", "replacePrefixMatch": value}


def _full(value: str) -> Obj:
    return {"type": "ReplaceFullPath", "replaceFullPath": value}


def _pairs(**values: str) -> list[Obj]:
    return [{"name": name.replace("_", "-"), "value": value} for name, value in values.items()]


_EDIT = {
    "set": _pairs(X_Header_Set="set-overwrites-values"),
    "add": _pairs(X_Header_Add="add-appends-values"),
    "remove": ["X-Header-Remove"],
}
_CORS = applying(
    "CORS",
    allowOrigins=["https://www.foo.com", "https://*.bar.com"],
    allowMethods=["GET", "OPTIONS"],
    allowHeaders=["x-header-1"],
    exposeHeaders=["x-header-3"],
    maxAge=3600,
)

FILTERS = (
    Case(
        "HTTPRouteRedirectHostAndStatus",
        (
            http(
                "redirect",
                rule(matches=[path("/hostname-redirect")], filters=[_redirect(hostname="example.org")]),
                rule(matches=[path("/host-and-status")], filters=[_redirect(hostname="example.org", statusCode=301)]),
            ),
        ),
        (
            Ask("a.example/hostname-redirect", 302, location="http://example.org{port}/hostname-redirect"),
            Ask("a.example/host-and-status", 301, location="http://example.org{port}/host-and-status"),
        ),
    ),
    Case(
        "HTTPRouteRedirectPath",
        (
            http(
                "redirect",
                rule(matches=[path("/original-prefix")], filters=[_redirect(path=_prefix("/replacement-prefix"))]),
                rule(matches=[path("/full")], filters=[_redirect(path=_full("/full-path-replacement"))]),
                rule(
                    matches=[path("/path-and-host")],
                    filters=[_redirect(hostname="example.org", path=_prefix("/replacement-prefix"))],
                ),
                rule(
                    matches=[path("/full-path-and-status")],
                    filters=[_redirect(path=_full("/replacement-full"), statusCode=301)],
                ),
            ),
        ),
        (
            Ask("a.example/original-prefix/lemon", 302, location="http://a.example{port}/replacement-prefix/lemon"),
            Ask("a.example/full/path/original", 302, location="http://a.example{port}/full-path-replacement"),
            Ask("a.example/path-and-host/lemon", 302, location="http://example.org{port}/replacement-prefix/lemon"),
            Ask("a.example/full-path-and-status", 301, location="http://a.example{port}/replacement-full"),
        ),
    ),
    Case(
        "HTTPRouteRedirectPort",
        (
            http(
                "redirect",
                rule(matches=[path("/port")], filters=[_redirect(port=8083)]),
                rule(matches=[path("/port-and-host")], filters=[_redirect(port=8083, hostname="example.org")]),
                rule(matches=[path("/port-and-status")], filters=[_redirect(port=8083, statusCode=301)]),
            ),
        ),
        (
            Ask("a.example/port", 302, location="http://a.example:8083/port"),
            Ask("a.example/port-and-host", 302, location="http://example.org:8083/port-and-host"),
            Ask("a.example/port-and-status", 301, location="http://a.example:8083/port-and-status"),
        ),
    ),
    Case(
        "HTTPRouteRedirectPortAndScheme",
        (
            http(
                "redirect",
                rule(matches=[path("/nil-nil")], filters=[_redirect(hostname="example.org")]),
                rule(matches=[path("/nil-8080")], filters=[_redirect(hostname="example.org", port=8081)]),
                rule(matches=[path("/https-nil")], filters=[_redirect(hostname="example.org", scheme="https")]),
                rule(matches=[path("/https-443")], filters=[_redirect(hostname="o.example", port=443, scheme="https")]),
                rule(matches=[path("/https-8443")], filters=[_redirect(scheme="https", hostname="o.io", port=8443)]),
            ),
        ),
        (
            Ask("a/nil-nil", 302, location="http://example.org{port}/nil-nil"),
            Ask("a/nil-8080", 302, location="http://example.org:8081/nil-8080"),
            Ask("a/https-nil", 302, location="https://example.org/https-nil"),
            Ask("a/https-443", 302, location="https://o.example/https-443"),
            Ask("a/https-8443", 302, location="https://o.io:8443/https-8443"),
        ),
    ),
    Case(
        "HTTPRouteRedirectScheme",
        (
            http(
                "redirect",
                rule(matches=[path("/scheme")], filters=[_redirect(scheme="https")]),
                rule(matches=[path("/scheme-and-host")], filters=[_redirect(scheme="https", hostname="example.org")]),
                rule(matches=[path("/scheme-and-status")], filters=[_redirect(scheme="https", statusCode=301)]),
            ),
        ),
        (
            Ask("a.example/scheme", 302, location="https://a.example/scheme"),
            Ask("a.example/scheme-and-host", 302, location="https://example.org/scheme-and-host"),
            Ask("a.example/scheme-and-status", 301, location="https://a.example/scheme-and-status"),
        ),
    ),
    *(
        Case(
            f"HTTPRoute{status}Redirect",
            (http("redirect", rule(filters=[_redirect(scheme="https", statusCode=status)])),),
            (Ask("a.example/x", status, location="https://a.example/x"),),
        )
        for status in (303, 307, 308)
    ),
    Case(
        "HTTPRouteReferenceGrant",
        (
            http("granted", rule({"name": "web-backend", "namespace": WEB, "port": 8080})),
            grant(WEB, name="web-backend"),
        ),
        (Ask("a/", "web-backend"),),
        resolved={"granted": "ResolvedRefs"},
    ),
    Case(
        "HTTPRoutePartiallyInvalidViaInvalidReferenceGrant",
        (
            http(
                "partly",
                rule({"name": "app-backend-v1", "namespace": APPS, "port": 8080}, matches=[path("/")]),
                rule({"name": "app-backend-v2", "namespace": APPS, "port": 8080}, matches=[path("/v2")]),
            ),
            grant(APPS, name="app-backend-v1"),
        ),
        (Ask("a/", "app-backend-v1"), Ask("a/v2", 500)),
        accepted={"partly": "Accepted"},
        resolved={"partly": "RefNotPermitted"},
    ),
    Case(
        "HTTPRouteRequestHeaderModifier",
        (
            http(
                "headers",
                rule(to("v1"), matches=[path("/multiple")], filters=[applying("RequestHeaderModifier", **_EDIT)]),
                rule(
                    to("v1"),
                    matches=[path("/case")],
                    filters=[
                        applying("RequestHeaderModifier", set=_pairs(X_Header_SET="a"), remove=["x-header-REMOVE"])
                    ],
                ),
            ),
        ),
        (
            Ask(
                "a/multiple",
                V1,
                headers={"X-Header-Set": "some", "X-Header-Add": "some", "X-Header-Remove": "val", "Other": "kept"},
                gets={
                    "x-header-set": "set-overwrites-values",
                    "x-header-add": "some,add-appends-values",
                    "other": "kept",
                },
                lacks=("x-header-remove",),
            ),
            Ask("a/multiple", V1, gets={"x-header-add": "add-appends-values"}),
            Ask(
                "a/case",
                V1,
                headers={"x-header-set": "b", "X-Header-Remove": "c"},
                gets={"x-header-set": "a"},
                lacks=("x-header-remove",),
            ),
        ),
    ),
    Case(
        "HTTPRouteResponseHeaderModifier",
        (
            http(
                "headers",
                rule(
                    to("v1"),
                    filters=[applying("ResponseHeaderModifier", **(_EDIT | {"remove": ["Server"]}))],
                ),
            ),
        ),
        (
            Ask(
                "a/",
                V1,
                answers={
                    "x-header-set": "set-overwrites-values",
                    "x-header-add": "add-appends-values",
                    "server": "",
                },
            ),
        ),
    ),
    Case(
        "HTTPRouteBackendRequestHeaderModifier",
        (
            http(
                "headers",
                rule(
                    to("v1", filters=[applying("RequestHeaderModifier", **_EDIT)]),
                    to("v2", weight=0, filters=[applying("RequestHeaderModifier", set=_pairs(never="1"))]),
                ),
            ),
        ),
        (
            Ask(
                "a/",
                V1,
                headers={"X-Header-Remove": "x"},
                gets={"x-header-set": "set-overwrites-values"},
                lacks=("x-header-remove", "never"),
            ),
        ),
    ),
    Case(
        "HTTPRouteRewriteHost",
        (
            http(
                "rewrite",
                rule(to("v1"), matches=[path("/one")], filters=[applying("URLRewrite", hostname="one.example.org")]),
                rule(
                    to("v2"),
                    matches=[path("/two")],
                    filters=[
                        applying("URLRewrite", hostname="example.org"),
                        applying("RequestHeaderModifier", set=_pairs(X_Header_Set="set")),
                    ],
                ),
                rule(to("v1")),
            ),
        ),
        (
            Ask("rewrite.example/one", V1, host="one.example.org"),
            Ask("rewrite.example/two", V2, host="example.org", gets={"x-header-set": "set"}),
            Ask("rewrite.example/none", V1, host="rewrite.example"),
        ),
    ),
    Case(
        "HTTPRouteRewritePath",
        (
            http(
                "rewrite",
                rule(to("v1"), matches=[path("/prefix/one")], filters=[applying("URLRewrite", path=_prefix("/one"))]),
                rule(to("v1"), matches=[path("/full/one")], filters=[applying("URLRewrite", path=_full("/one"))]),
                rule(to("v2"), matches=[path("/strip-prefix")], filters=[applying("URLRewrite", path=_prefix("/"))]),
                rule(to("v2"), matches=[path("/empty")], filters=[applying("URLRewrite", path=_prefix(""))]),
                rule(to("v3"), matches=[path("/slashed")], filters=[applying("URLRewrite", path=_prefix("/to/"))]),
            ),
        ),
        (
            Ask("a/prefix/one/two", V1, path="/one/two"),
            Ask("a/prefix/one", V1, path="/one"),
            Ask("a/prefix/one/", V1, path="/one/"),
            Ask("a/full/one/two", V1, path="/one"),
            Ask("a/strip-prefix/three", V2, path="/three"),
            Ask("a/strip-prefix", V2, path="/"),
            Ask("a/empty/bar", V2, path="/bar"),
            Ask("a/empty/", V2, path="/"),
            Ask("a/empty", V2, path="/"),
            Ask("a/slashed/bar", V3, path="/to/bar"),
        ),
    ),
    Case(
        "HTTPRouteServiceTypes",
        (
            http(
                "types",
                rule({"name": "headless", "port": 8080}, matches=[path("/headless")]),
                rule({"name": "manual", "port": 8080}, matches=[path("/manual")]),
                rule({"name": "named", "port": 8080}, matches=[path("/named")]),
            ),
        ),
        (Ask("a/headless", "headless"), Ask("a/manual", "manual"), Ask("a/named", 500)),
        services=(
            service("headless", clusterIP="None", selector={"app": "it"}),
            service("manual"),
            service("named", type="ExternalName", externalName="example.com"),
        ),
        resolved={"types": "BackendNotFound"},
    ),
    Case(
        "HTTPRouteAllBackendsWeightZero",
        (http("none", rule(to("v1", weight=0), to("v2", weight=0))),),
        (Ask("a/", 500),),
    ),
    Case("HTTPRouteNoBackendRefs", (http("none", rule()),), (Ask("a/", 500),)),
    Case(
        "HTTPRouteCORS",
        (http("cors", rule(to("v1"), filters=[_CORS])),),
        (
            Ask(
                "a/",
                V1,
                headers={"Origin": "https://www.foo.com"},
                answers={
                    "access-control-allow-origin": "https://www.foo.com",
                    "access-control-expose-headers": "x-header-3",
                },
            ),
            Ask("a/", V1, headers={"Origin": "https://evil.example"}, answers={"access-control-allow-origin": ""}),
        ),
    ),
    Case(
        "HTTPRouteNamedRule",
        (http("named", rule(to("v1"), name="one", matches=[path("/one")]), rule(to("v2"), name="two")),),
        (Ask("a/one", V1), Ask("a/two", V2)),
    ),
    Case(
        "GatewayWithAttachedRoutesWithPort8080",
        (
            gateway("two", listener("http-unattached", 80), listener("http", 8080)),
            http("attached", rule(to("v1")), parent="two", section="http"),
        ),
        (Ask("a/", V1),),
        gateway="two",
        listener=8080,
    ),
)  # fmt: skip
