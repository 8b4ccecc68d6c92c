"""The published conformance cases of GRPCRoute, TLSRoute and BackendTLSPolicy; and what of HTTPRoute is no request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.edge.gateway import pem
from tests.edge.gateway.world import (
    APPS,
    CLASS,
    INFRA,
    LATER,
    SERVICES,
    Obj,
    World,
    admitted,
    applying,
    asked,
    gateway,
    grant,
    grpc,
    http,
    listener,
    named,
    observed,
    path,
    rule,
    service,
    tls,
    to,
)

from sampan.edge.gateway import names
from sampan.edge.matching import tls_route_of
from sampan.edge.model import Listener, Retries, Route

SAME = gateway("same-namespace", listener())
BACKENDS = ("infra-backend-v1", "infra-backend-v2", "infra-backend-v3")


def world(*objects: Obj, **seen: Any) -> World:
    return World(observed(CLASS, *objects, **seen))


def only(seen: World) -> Listener:
    (found,) = seen.plan.plane.listeners
    return found


def routes(seen: World) -> list[Route]:
    """But for those that answer 404 for a listener without any."""
    return [route for host in only(seen).hosts for route in host.routes if route.owner.kind != "Gateway"]


# GRPCRoute


def call(found: Listener, target: str, **headers: str) -> str | int:
    """``target``: host/service/method."""
    seen = asked(found, target, "POST", headers)
    return seen.backend if seen.status == 200 else seen.status


def test_grpcroute_exact_method_matching() -> None:
    echo = "gateway_api_conformance.echo_basic.grpcecho.GrpcEcho"
    seen = world(
        SAME,
        grpc(
            "exact",
            rule(to("v1"), matches=[{"method": {"service": echo, "method": "Echo"}}]),
            rule(to("v2"), matches=[{"method": {"service": echo, "method": "EchoTwo"}}]),
            rule(to("v3"), matches=[{"method": {"method": "EchoAnywhere"}}]),
            rule(to("v3"), matches=[{"method": {"service": "other.Service"}}]),
            rule(
                to("v3"), matches=[{"method": {"type": "RegularExpression", "service": "re[.].+", "method": "[A-Z]+"}}]
            ),
        ),
    )
    found = only(seen)
    assert call(found, f"a/{echo}/Echo") == BACKENDS[0]
    assert call(found, f"a/{echo}/EchoTwo") == BACKENDS[1]
    assert call(found, f"a/{echo}/EchoThree") == 404
    assert call(found, "a/any.Service/EchoAnywhere") == BACKENDS[2]
    assert call(found, "a/any.Service/EchoAnywhereElse") == 404
    assert call(found, "a/other.Service/Any") == BACKENDS[2]
    assert call(found, "a/other.ServiceTwo/Any") == 404
    assert call(found, "a/re.X/ABC") == BACKENDS[2]
    assert call(found, "a/re.X/Abc") == 404
    backend = routes(seen)[0].backends[0].backend
    assert backend is not None
    assert backend.protocol == "h2c"


def test_a_route_without_rules_takes_nothing() -> None:
    seen = world(SAME, grpc("empty", hostnames=["a.example"]), http("other", rule(to("v1")), hostnames=["b.example"]))
    assert seen.parent("empty", "GRPCRoute")["Accepted"] == ("True", "Accepted")
    assert call(only(seen), "a.example/s/m") == 404
    assert call(only(seen), "b.example/s/m") == BACKENDS[0]


def test_grpcroute_header_matching() -> None:
    seen = world(
        SAME,
        grpc(
            "headers",
            rule(to("v1"), matches=[named(version="one")]),
            rule(to("v2"), matches=[named(version="two")]),
            rule(to("v1"), matches=[named(version="two", color="orange")]),
            rule(to("v2"), matches=[named(kind="RegularExpression", shade="gr[ae]y")]),
        ),
    )
    found = only(seen)
    assert call(found, "a/s/m", version="one") == BACKENDS[0]
    assert call(found, "a/s/m", version="two") == BACKENDS[1]
    assert call(found, "a/s/m", version="two", color="orange") == BACKENDS[0]
    assert call(found, "a/s/m", shade="grey") == BACKENDS[1]
    assert call(found, "a/s/m") == 404


def test_grpcroute_listener_hostname_matching() -> None:
    sections = {"listener-1": "bar.com", "listener-2": "foo.bar.com", "listener-3": "*.bar.com"}
    many = gateway("many", *(listener(name, hostname=host) for name, host in sections.items()))
    seen = world(
        many,
        *(
            grpc(name, rule(to(f"v{number}")), parent="many", section=name)
            for number, name in enumerate(sections, start=1)
        ),
    )
    found = only(seen)
    assert [call(found, f"{host}/s/m") for host in ("bar.com", "foo.bar.com", "x.bar.com")] == list(BACKENDS)
    assert call(found, "foo.com/s/m") == 404


def test_grpcroute_weight_and_faults_are_answered_as_unavailable() -> None:
    """GRPCRouteWeight, GRPCRouteAllBackendsWeightZero: a client of gRPC reads 503 as UNAVAILABLE."""
    seen = world(SAME, grpc("weighted", rule(to("v1", weight=70), to("v2", weight=30), to("v3", weight=0))))
    assert dict(asked(only(seen), "a/s/m").shares) == {BACKENDS[0]: 70, BACKENDS[1]: 30, BACKENDS[2]: 0}
    assert call(only(world(SAME, grpc("none", rule(to("v1", weight=0))))), "a/s/m") == 503
    assert call(only(world(SAME, grpc("none", rule(to("nowhere"))))), "a/s/m") == 503


def test_of_an_httproute_and_a_grpcroute_with_a_host_in_common_the_older_is_taken() -> None:
    seen = world(
        SAME,
        http("young", rule(to("v1")), hostnames=["a.example"], creationTimestamp=LATER),
        grpc("old", rule(to("v2")), hostnames=["*.example"]),
        http("apart", rule(to("v3")), hostnames=["example"], creationTimestamp=LATER),
    )
    assert seen.parent("young")["Accepted"] == ("False", "HostnameConflict")
    assert seen.parent("old", "GRPCRoute")["Accepted"] == ("True", "Accepted")
    assert seen.parent("apart")["Accepted"] == ("True", "Accepted")
    assert call(only(seen), "a.example/s/m") == BACKENDS[1]


# TLSRoute


def through(*objects: Obj, mode: str = "Passthrough", hostname: str = "", **seen: Any) -> World:
    """By a listener of protocol TLS."""
    extra = {"certificateRefs": [{"name": "good"}]} if mode == "Terminate" else {}
    more = {"hostname": hostname} if hostname else {}
    edge = gateway("gateway-tlsroute", listener("tls", 443, "TLS", tls={"mode": mode, **extra}, **more))
    return world(edge, *objects, **seen)


def test_tlsroute_simple_same_namespace() -> None:
    seen = through(tls("simple", rule(to("tls-backend")), hostnames=["abc.example.com"]))
    assert seen.parent("simple", "TLSRoute")["Accepted"] == ("True", "Accepted")
    found = only(seen)
    route = tls_route_of(found, "abc.example.com")
    assert route is not None
    assert route.passthrough
    assert [each.backend.endpoints[0].address for each in route.backends if each.backend] == ["tls-backend"]
    assert tls_route_of(found, "other.example.com") is None
    assert found.certificates == ()


def test_tlsroute_hostname_intersection() -> None:
    seen = through(
        tls("wide", rule(to("v1")), hostnames=["*.example.com"]),
        tls("narrow", rule(to("v2")), hostnames=["a.example.com", "b.example.org"]),
        tls("apart", rule(to("v3")), hostnames=["example.org"]),
        hostname="*.example.com",
    )
    assert seen.parent("apart", "TLSRoute")["Accepted"] == ("False", "NoMatchingListenerHostname")
    names = {
        name: getattr(tls_route_of(only(seen), name), "owner", None) for name in ("a.example.com", "x.example.com")
    }
    assert {name: owner and owner.name for name, owner in names.items()} == {
        "a.example.com": "narrow",
        "x.example.com": "wide",
    }
    assert seen.listener_status("gateway-tlsroute", "tls")["attachedRoutes"] == 2


def test_tlsroute_what_the_data_plane_cannot_do_is_refused() -> None:
    """TLSRouteTerminateSimpleSameNamespace and weights are Extended, and not supported."""
    secret = pem.secret("good", INFRA, *pem.pair())
    ended = through(tls("ended", rule(to("v1")), hostnames=["a.example.com"]), mode="Terminate", secrets=[secret])
    assert ended.listener("gateway-tlsroute", "tls")["Accepted"] == ("False", "UnsupportedValue")
    assert ended.plan.plane.listeners == ()
    parted = through(tls("parted", rule(to("v1"), to("v2")), hostnames=["a.example.com"]))
    assert parted.parent("parted", "TLSRoute")["Accepted"] == ("False", "UnsupportedValue")
    assert only(parted).tls_routes == ()
    one = through(tls("one", rule(to("v1"), to("v2", weight=0)), hostnames=["a.example.com"]))
    assert one.parent("one", "TLSRoute")["Accepted"] == ("True", "Accepted")


@pytest.mark.parametrize(
    ("backend", "grants", "reason"),
    [
        ({"name": "app-backend-v1", "namespace": APPS, "port": 8080}, (), "RefNotPermitted"),
        ({"name": "app-backend-v1", "namespace": APPS, "port": 8080}, (grant(APPS),), "RefNotPermitted"),
        ({"name": "app-backend-v1", "namespace": APPS, "port": 8080}, (grant(APPS, kind="TLSRoute"),), "ResolvedRefs"),
        ({"name": "none", "port": 8080}, (), "BackendNotFound"),
        ({"kind": "Other", "name": "none", "port": 8080}, (), "InvalidKind"),
    ],
)
def test_tlsroute_references(backend: Obj, grants: tuple[Obj, ...], reason: str) -> None:
    """TLSRouteInvalidReferenceGrant, ...InvalidBackendRefNonexistent, ...InvalidBackendRefUnknownKind."""
    seen = through(tls("it", rule(backend), hostnames=["a.example.com"]), *grants)
    assert seen.parent("it", "TLSRoute")["ResolvedRefs"][1] == reason
    (route,) = only(seen).tls_routes
    assert [each.backend is not None for each in route.backends] == [reason == "ResolvedRefs"]


# BackendTLSPolicy


def policy(name: str, *refs: Obj, target: str = "infra-backend-v1", **more: Any) -> Obj:
    validation = {"hostname": "abc.example.com", **more.pop("validation", {})}
    validation |= {"caCertificateRefs": list(refs)} if refs else {"wellKnownCACertificates": "System"}
    targets = [{"group": "", "kind": "Service", "name": target, **more.pop("section", {})}]
    spec = {"targetRefs": targets, "validation": validation, **more.pop("spec", {})}
    return admitted("BackendTLSPolicy", name, spec, **more)


CA = {"group": "", "kind": "ConfigMap", "name": "ca"}
BUNDLE = pem.config_map("ca", INFRA, **{"ca.crt": pem.pair("ca")[0]})


def told(seen: World, name: str) -> dict[str, tuple[str, str]]:
    (ancestor,) = seen.status("BackendTLSPolicy", name)["ancestors"]
    assert ancestor["ancestorRef"]["name"] == "same-namespace"
    return {each["type"]: (each["status"], each["reason"]) for each in ancestor["conditions"]}


def test_backendtlspolicy_makes_connections_by_tls() -> None:
    seen = world(
        SAME,
        http("web", rule(to("v1"), matches=[path("/a")]), rule(to("v2")), hostnames=["web.example"]),
        grpc("rpc", rule(to("v1")), hostnames=["rpc.example"]),
        policy("it", CA),
        config_maps=[BUNDLE],
    )
    assert told(seen, "it") == {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}
    found = {route.name: route.backends[0].backend for route in routes(seen)}
    spoken = {name: (backend.protocol, backend.tls.server_name) for name, backend in found.items() if backend}
    assert spoken == {
        f"httproute/{INFRA}/web/0.0": ("https", "abc.example.com"),
        f"httproute/{INFRA}/web/1.0": ("http", ""),
        f"grpcroute/{INFRA}/rpc/0.0": ("h2", "abc.example.com"),
    }
    assert {backend.tls.ca for backend in found.values() if backend} == {pem.pair("ca")[0], ""}


@pytest.mark.parametrize(
    ("given", "accepted", "resolved"),
    [
        (policy("it", {**CA, "name": "none"}), "NoValidCACertificate", "InvalidCACertificateRef"),
        (policy("it", {**CA, "kind": "Secret"}), "NoValidCACertificate", "InvalidKind"),
        (
            policy("it", CA, validation={"subjectAltNames": [{"type": "Hostname", "hostname": "a.b"}]}),
            "Invalid",
            "ResolvedRefs",
        ),
        (policy("it", CA, spec={"options": {"a": "b"}}), "Invalid", "ResolvedRefs"),
    ],
    ids=["BackendTLSPolicyInvalidCACertificateRef", "BackendTLSPolicyInvalidKind", "alternative names", "options"],
)
def test_by_a_policy_that_is_wrong_no_connection_is_made(given: Obj, accepted: str, resolved: str) -> None:
    seen = world(SAME, http("web", rule(to("v1"))), given, config_maps=[BUNDLE])
    assert told(seen, "it")["Accepted"] == ("False", accepted)
    assert told(seen, "it")["ResolvedRefs"][1] == resolved
    assert asked(only(seen), "a/").status == 500


def test_backendtlspolicy_conflict_resolution() -> None:
    seen = world(
        SAME,
        http("web", rule(to("v1"))),
        policy("a-young", CA, creationTimestamp=LATER, validation={"hostname": "young.example"}),
        policy("old", CA),
        policy("port", CA, section={"sectionName": "first"}, validation={"hostname": "port.example"}),
        config_maps=[BUNDLE],
    )
    assert told(seen, "a-young")["Accepted"] == ("False", "Conflicted")
    assert told(seen, "old")["Accepted"] == ("True", "Accepted")
    assert told(seen, "port")["Accepted"] == ("True", "Accepted")
    backend = routes(seen)[0].backends[0].backend
    assert backend is not None
    assert backend.tls.server_name == "port.example"


# HTTPRoute


def test_httproute_weight() -> None:
    seen = world(SAME, http("weighted", rule(to("v1", weight=70), to("v2", weight=30), to("v3", weight=0))))
    assert dict(asked(only(seen), "a/").shares) == {BACKENDS[0]: 70, BACKENDS[1]: 30, BACKENDS[2]: 0}


def test_a_reference_that_leads_nowhere_keeps_its_share() -> None:
    seen = world(SAME, http("weighted", rule(to("v1", weight=3), to("nowhere", weight=1))))
    (route,) = routes(seen)
    assert [(each.backend is not None, each.weight) for each in route.backends] == [(True, 3), (False, 1)]
    assert route.fault_status == 500
    assert seen.parent("weighted") == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("False", "BackendNotFound"),
    }


def test_httproute_timeouts() -> None:
    """HTTPRouteTimeoutRequest, HTTPRouteTimeoutBackendRequest: of no length, they are off."""
    seen = world(
        SAME,
        http(
            "limited",
            rule(to("v1"), matches=[path("/request")], timeouts={"request": "500ms"}),
            rule(to("v1"), matches=[path("/backend")], timeouts={"request": "1m30s", "backendRequest": "1s"}),
            rule(to("v1"), matches=[path("/off")], timeouts={"request": "0s"}),
        ),
    )
    limits = {each.match.path.value: (each.timeouts.request, each.timeouts.backend_request) for each in routes(seen)}
    assert limits == {"/request": (0.5, None), "/backend": (90.0, 1.0), "/off": (0.0, None)}


@pytest.mark.parametrize(
    ("asked_for", "protocol"),
    [
        ("", "http"),
        ("kubernetes.io/h2c", "h2c"),  # HTTPRouteBackendProtocolH2C
        ("kubernetes.io/ws", "http"),  # HTTPRouteBackendProtocolWebSocket
        ("kubernetes.io/wss", "https"),
        ("example.com/own", "http"),
        ("kubernetes.io/other", ""),
    ],
)
def test_httproute_backend_protocol(asked_for: str, protocol: str) -> None:
    seen = world(SAME, http("spoken", rule(to("it"))), services=[service("it", app_protocol=asked_for)])
    backend = routes(seen)[0].backends[0].backend
    assert (backend.protocol if backend else "") == protocol
    assert seen.parent("spoken")["ResolvedRefs"][1] == ("ResolvedRefs" if protocol else "UnsupportedProtocol")


MIRRORED = http(
    "mirrored",
    rule(
        to("v1"),
        filters=[
            applying("RequestMirror", backendRef=to("v2")),
            applying("RequestMirror", backendRef=to("v3"), percent=20),
            applying("RequestMirror", backendRef=to("v3"), fraction={"numerator": 1, "denominator": 3}),
        ],
    ),
)


def test_httproute_request_mirror() -> None:
    """HTTPRouteRequestMirror, ...MultipleMirrors, ...PercentageMirror: what copies go where. That they do,
    ``test_mirrors.py`` shows."""
    seen = world(SAME, MIRRORED)
    assert seen.parent("mirrored")["Accepted"] == ("True", "Accepted")
    (route,) = routes(seen)
    shares = [(each.backend.endpoints[0].address, each.percent, each.hundred) for each in route.mirrors]
    assert shares == [(BACKENDS[1], 100, 100), (BACKENDS[2], 20, 100), (BACKENDS[2], 1, 3)]
    told = {f"HTTPRouteRequest{which}Mirror" for which in ("", "Percentage")} | {"HTTPRouteRequestMultipleMirrors"}
    assert told <= set(names.FEATURES) and list(names.FEATURES) == sorted(names.FEATURES)


def test_a_mirror_that_leads_nowhere_is_told_and_the_rule_is_served() -> None:
    """HTTPRoute InvalidBackendRef of a filter: ResolvedRefs is false."""
    filters = [applying("RequestMirror", backendRef=to("nobody"))]
    seen = world(SAME, http("mirrored", rule(to("v1"), filters=filters)))
    assert seen.parent("mirrored")["ResolvedRefs"] == ("False", "BackendNotFound")


def test_grpcroute_request_mirror_is_refused_by_name() -> None:
    """A stream is not copied."""
    filters = [applying("RequestMirror", backendRef=to("v2"))]
    seen = world(SAME, grpc("mirrored", rule(to("v1"), filters=filters)))
    assert seen.parent("mirrored", "GRPCRoute")["Accepted"] == ("False", "UnsupportedValue")


def test_a_rule_that_cannot_be_had_leaves_the_others_and_its_requests_go_nowhere_else() -> None:
    extension = {"type": "ExtensionRef", "extensionRef": {"group": "a.b", "kind": "Filter", "name": "x"}}
    seen = world(
        SAME,
        http(
            "partly",
            rule(to("v1"), matches=[path("/")]),
            rule(to("v2"), matches=[path("/guarded")], filters=[extension]),
            rule(to("v3"), matches=[path("/(", "RegularExpression")]),
        ),
    )
    told = seen.parent("partly")
    assert told["Accepted"] == ("True", "Accepted")
    assert told["PartiallyInvalid"] == ("True", "UnsupportedValue")
    entry = seen.status("HTTPRoute", "partly")["parents"][0]["conditions"]
    (said,) = [each["message"] for each in entry if each["type"] == "PartiallyInvalid"]
    assert said.startswith("Dropped Rule 1: there are no extensions")
    assert "rule 2" in said
    assert asked(only(seen), "a/").backend == BACKENDS[0]
    assert asked(only(seen), "a/guarded").status == 500


def test_what_the_data_plane_does_not_take_is_told_with_the_route() -> None:
    seen = observed(CLASS, SAME, http("one", rule(to("v1"))), http("two", rule(to("v1")), rule(to("v2"))))
    said = {("HTTPRoute", INFRA, name): "the port is taken" for name in ("one", "two")}
    refused = World(replace(seen, refused=said))
    assert refused.parent("one")["Accepted"] == ("False", "UnsupportedValue")
    assert refused.parent("two")["PartiallyInvalid"] == ("True", "UnsupportedValue")
    assert refused.listener_status("same-namespace")["attachedRoutes"] == 1


def test_a_route_of_which_no_rule_can_be_had_is_not_accepted() -> None:
    extension = {"type": "ExtensionRef", "extensionRef": {"group": "a.b", "kind": "Filter", "name": "x"}}
    seen = world(SAME, http("none", rule(to("v1"), filters=[extension])))
    assert seen.parent("none")["Accepted"] == ("False", "UnsupportedValue")
    assert "PartiallyInvalid" not in seen.parent("none")
    assert seen.listener_status("same-namespace")["attachedRoutes"] == 0


def test_experimental_fields_of_newer_definitions_are_done_or_refused() -> None:
    """Somebody may have installed definitions that have them."""
    route = http("retried", rule(to("v1"), matches=[path("/a")]), rule(to("v1"), matches=[path("/b")]))
    first, second = route["spec"]["rules"]
    first["retry"] = {"attempts": 2, "codes": [500, 503]}
    second["sessionPersistence"] = {"type": "Cookie"}
    seen = world(SAME, route)
    found = {each.match.path.value: each.retries for each in routes(seen)}
    assert found == {"/a": Retries(2, (500, 503)), "/b": None}
    assert seen.parent("retried")["PartiallyInvalid"] == ("True", "UnsupportedValue")
    assert asked(only(seen), "a/b").status == 500


def test_expressions_match_the_whole_of_what_they_are_for() -> None:
    seen = world(
        SAME,
        http(
            "expressions",
            rule(to("v1"), matches=[path("/[a-c]+", "RegularExpression")]),
            rule(to("v2"), matches=[path("/q") | named("queryParams", "RegularExpression", id="[0-9]+")]),
        ),
    )
    found = only(seen)
    assert asked(found, "a/abc").backend == BACKENDS[0]
    assert asked(found, "a/abcd").status == 404
    assert asked(found, "a/q?id=12").backend == BACKENDS[1]
    assert asked(found, "a/q?id=x12").status == 404


def test_of_routes_that_match_alike_the_older_goes_first_then_the_name() -> None:
    seen = world(
        SAME,
        http("a-young", rule(to("v1")), creationTimestamp=LATER),
        http("c-old", rule(to("v3"))),
        http("b-old", rule(to("v2"))),
    )
    assert asked(only(seen), "a/").backend == BACKENDS[1]


def test_filters_of_the_only_back_end_are_the_rules_and_of_several_only_headers() -> None:
    rewriting = applying("URLRewrite", hostname="inner.example")
    seen = world(
        SAME,
        http(
            "hoisted",
            rule(to("v1", filters=[rewriting]), matches=[path("/one")]),
            rule(to("v1", filters=[rewriting]), to("v2"), matches=[path("/two")]),
        ),
    )
    assert asked(only(seen), "a/one").host == "inner.example"
    assert asked(only(seen), "a/two").status == 500
    assert seen.parent("hoisted")["PartiallyInvalid"] == ("True", "UnsupportedValue")


def test_endpoints_are_the_ready_ones_and_those_that_end_drain() -> None:
    made, slices = service("it")
    slices["endpoints"] = [
        {"addresses": ["10.0.0.2"]},
        {"addresses": ["10.0.0.1"], "conditions": {"ready": True}},
        {"addresses": ["10.0.0.3"], "conditions": {"ready": False}},
        {"addresses": ["10.0.0.4"], "conditions": {"ready": False, "serving": True, "terminating": True}},
    ]
    seen = world(SAME, http("web", rule(to("it"))), services=[(made, slices)])
    backend = routes(seen)[0].backends[0].backend
    assert backend is not None
    shown = [(each.address, each.port, each.draining) for each in backend.endpoints]
    assert shown == [("10.0.0.1", 3000, False), ("10.0.0.2", 3000, False), ("10.0.0.4", 3000, True)]


def test_damaged_objects_cost_nobody_else_anything() -> None:
    odd: list[Obj] = [
        {"kind": "HTTPRoute", "metadata": {"name": "odd", "namespace": INFRA}, "spec": {"parentRefs": "x", "rules": 3}},
        {"kind": "HTTPRoute"},
        {"kind": "Gateway", "metadata": {"name": "odd", "namespace": INFRA}, "spec": {"gatewayClassName": "sampan"}},
        {"kind": "ReferenceGrant", "spec": {"from": [1, {"group": 2}], "to": None}},
        {"kind": "BackendTLSPolicy", "metadata": {"name": "odd"}, "spec": {"targetRefs": [{}]}},
        {"kind": "TLSRoute", "metadata": None, "spec": {"hostnames": {}}},
    ]
    seen = world(SAME, *odd, http("web", rule(to("v1"))), services=SERVICES)
    assert asked(only(seen), "a/").backend == BACKENDS[0]
