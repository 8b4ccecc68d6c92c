"""The Gateway API's definitions: valid, small, with the published limits, defaults and messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sampan.api import registry, schema
from sampan.api.customresources import compile_version
from sampan.api.objects import deep_copy
from sampan.edge.gateway.definitions import BUNDLE_VERSION, definitions, is_older
from sampan.edge.gateway.install import INSTALLED_KEY, may_write

Obj = dict[str, Any]
DEFINITION = next(kind for kind in registry.registry().kinds() if kind.kind == "CustomResourceDefinition")


def admitted(definition: Obj) -> Obj:
    definition = deep_copy(definition)
    assert schema.decode(DEFINITION.node, definition).unknown == []
    DEFINITION.default(definition)
    DEFINITION.prepare_create(definition)
    return definition


ALL = {each["spec"]["names"]["kind"]: admitted(each) for each in definitions()}
COMPILED = {kind: compile_version(definition, "v1") for kind, definition in ALL.items()}


def judged(kind: str, spec: Obj) -> tuple[Obj, list[str]]:
    """The object as it is stored, and what is wrong with it."""
    obj = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": "it"}, "spec": spec}
    assert schema.decode(COMPILED[kind].node, obj).unknown == []
    COMPILED[kind].default(obj)
    return obj, [fault.message() for fault in COMPILED[kind].validate(obj)]


@pytest.mark.parametrize("kind", ALL)
def test_a_definition_is_valid_and_says_its_release(kind: str) -> None:
    found = DEFINITION.validate(ALL[kind])
    assert found == [], [fault.message() for fault in found]
    notes = ALL[kind]["metadata"]["annotations"]
    assert notes["gateway.networking.k8s.io/bundle-version"] == BUNDLE_VERSION
    assert notes["gateway.networking.k8s.io/channel"] == "standard"
    assert ALL[kind]["spec"]["names"]["categories"] == ["gateway-api"]


def test_versions_and_short_names_are_those_of_the_standard_channel() -> None:
    def versions(kind: str) -> list[tuple[str, bool]]:
        return [(each["name"], each["storage"]) for each in ALL[kind]["spec"]["versions"]]

    for kind in ("GatewayClass", "Gateway", "HTTPRoute"):
        assert versions(kind) == [("v1", True), ("v1beta1", False)]
    for kind in ("GRPCRoute", "TLSRoute", "BackendTLSPolicy"):
        assert versions(kind) == [("v1", True)]
    assert versions("ReferenceGrant") == [("v1", False), ("v1beta1", True)]
    short = {kind: each["spec"]["names"].get("shortNames") for kind, each in ALL.items()}
    assert short == {
        "GatewayClass": ["gc"],
        "Gateway": ["gtw"],
        "HTTPRoute": None,
        "GRPCRoute": None,
        "TLSRoute": None,
        "BackendTLSPolicy": ["btlspolicy"],
        "ReferenceGrant": ["refgrant"],
    }


def test_all_definitions_together_are_small() -> None:
    assert sum(len(json.dumps(each)) for each in ALL.values()) < 200_000


def test_an_empty_route_takes_every_request() -> None:
    obj, wrong = judged("HTTPRoute", {"parentRefs": [{"name": "edge"}]})
    assert wrong == []
    assert obj["spec"]["rules"] == [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}
    assert obj["spec"]["parentRefs"] == [parent]


def test_a_new_gateway_waits_for_its_controller() -> None:
    obj, wrong = judged(
        "Gateway", {"gatewayClassName": "sampan", "listeners": [{"name": "web", "port": 80, "protocol": "HTTP"}]}
    )
    assert wrong == []
    assert obj["spec"]["listeners"][0]["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    waiting = {(each["type"], each["status"], each["reason"]) for each in obj["status"]["conditions"]}
    assert waiting == {("Accepted", "Unknown", "Pending"), ("Programmed", "Unknown", "Pending")}


PREFIX = {"type": "PathPrefix", "value": "/a"}
REPLACES = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}


def http(**rule: Any) -> Obj:
    return {"rules": [rule]}


def listener(**fields: Any) -> Obj:
    return {"gatewayClassName": "c", "listeners": [{"name": "one", "port": 80, "protocol": "HTTP", **fields}]}


def service(**fields: Any) -> Obj:
    return {"name": "web", "port": 80, **fields}


REFUSED: list[tuple[str, Obj, str]] = [
    ("HTTPRoute", http(matches=[{"path": {"value": "a"}}]), "must be an absolute path and start with '/'"),
    ("HTTPRoute", http(matches=[{"path": {"value": "/a//b"}}]), "must not contain '//' when type one of"),
    ("HTTPRoute", http(matches=[{"path": {"value": "/a/.."}}]), "must not end with '/..' when type one of"),
    ("HTTPRoute", http(matches=[{"path": {"value": "/ä"}}]), "must only contain valid characters"),
    ("HTTPRoute", http(matches=[{"method": "FETCH"}]), 'supported values: "GET", "HEAD"'),
    ("HTTPRoute", http(backendRefs=[{"name": "web"}]), "Must have port for Service reference"),
    (
        "HTTPRoute",
        http(filters=[{"type": "URLRewrite"}]),
        "filter.urlRewrite must be specified for URLRewrite filter.type",
    ),
    (
        "HTTPRoute",
        http(filters=[{"type": "CORS", "cors": {}, "urlRewrite": {}}]),
        "filter.urlRewrite must be nil if the filter.type is not URLRewrite",
    ),
    (
        "HTTPRoute",
        http(filters=[{"type": "URLRewrite", "urlRewrite": {}}] * 2),
        "URLRewrite filter cannot be repeated",
    ),
    (
        "HTTPRoute",
        http(filters=[{"type": "RequestRedirect", "requestRedirect": {}}, {"type": "URLRewrite", "urlRewrite": {}}]),
        "May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both",
    ),
    (
        "HTTPRoute",
        http(filters=[{"type": "RequestRedirect", "requestRedirect": {}}], backendRefs=[service()]),
        "RequestRedirect filter must not be used together with backendRefs",
    ),
    (
        "HTTPRoute",
        http(
            matches=[{"path": PREFIX}, {"path": PREFIX}],
            filters=[{"type": "RequestRedirect", "requestRedirect": {"path": REPLACES}}],
        ),
        "When using RequestRedirect filter with path.replacePrefixMatch, exactly one PathPrefix match must be",
    ),
    (
        "HTTPRoute",
        http(
            matches=[{"path": {"type": "Exact", "value": "/a"}}],
            backendRefs=[service(filters=[{"type": "URLRewrite", "urlRewrite": {"path": REPLACES}}])],
        ),
        "Within backendRefs, When using URLRewrite filter with path.replacePrefixMatch, exactly one PathPrefix match",
    ),
    (
        "HTTPRoute",
        http(timeouts={"request": "1s", "backendRequest": "2s"}),
        "backendRequest timeout cannot be longer than request timeout",
    ),
    ("HTTPRoute", http(timeouts={"request": "1 s"}), "should match"),
    (
        "HTTPRoute",
        {"rules": [{"name": "a"}, {"name": "a"}]},
        "Rule name must be unique within the route",
    ),
    (
        "HTTPRoute",
        {"rules": [{"matches": [{}] * 64}] * 3},
        "the total number of matches across all rules in a route must be less than 128",
    ),
    (
        "HTTPRoute",
        {"parentRefs": [{"name": "a", "sectionName": "b"}, {"name": "a"}]},
        "sectionName must be specified when parentRefs includes 2 or more references to the same parent",
    ),
    (
        "HTTPRoute",
        {"parentRefs": [{"name": "a", "sectionName": "b"}, {"name": "a", "sectionName": "b"}]},
        "sectionName must be unique when parentRefs includes 2 or more references to the same parent",
    ),
    (
        "HTTPRoute",
        http(
            filters=[
                {
                    "type": "RequestMirror",
                    "requestMirror": {"backendRef": service(), "percent": 1, "fraction": {"numerator": 1}},
                }
            ]
        ),
        "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter",
    ),
    (
        "HTTPRoute",
        http(filters=[{"type": "CORS", "cors": {"allowOrigins": ["*", "https://a.example"]}}]),
        "AllowOrigins cannot contain '*' alongside other origins",
    ),
    ("GRPCRoute", http(matches=[{"method": {}}]), "One or both of 'service' or 'method' must be specified"),
    ("GRPCRoute", http(matches=[{"method": {"method": "a/b"}}]), "method must only contain valid characters"),
    (
        "TLSRoute",
        {"hostnames": ["10.0.0.1"], "rules": [{"backendRefs": [service()]}]},
        "Hostnames cannot contain an IP",
    ),
    (
        "Gateway",
        listener(tls={"options": {"a": "b"}}),
        "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
    ),
    (
        "Gateway",
        listener(protocol="HTTPS", tls={}),
        "certificateRefs or options must be specified when mode is Terminate",
    ),
    (
        "Gateway",
        listener(protocol="https", tls={"mode": "Passthrough"}),
        "tls mode must be Terminate for protocol HTTPS",
    ),
    ("Gateway", listener(protocol="TLS"), "tls mode must be set for protocol TLS"),
    (
        "Gateway",
        listener(protocol="TCP", hostname="a.example"),
        "hostname must not be specified for protocols ['TCP', 'UDP']",
    ),
    (
        "Gateway",
        {
            "gatewayClassName": "c",
            "listeners": [{"name": each, "port": 80, "protocol": "HTTP"} for each in ("one", "two")],
        },
        "Combination of port, protocol and hostname must be unique for each listener",
    ),
    (
        "Gateway",
        {**listener(), "addresses": [{"value": "10.0.0.1"}, {"value": "10.0.0.1"}]},
        "IPAddress values must be unique",
    ),
    (
        "Gateway",
        {**listener(), "addresses": [{"type": "Hostname", "value": "-"}]},
        "Hostname value must be empty or contain only valid characters",
    ),
    ("Gateway", {**listener(), "addresses": [{"value": "nowhere"}]}, "spec.addresses[0]"),
    ("Gateway", {**listener(), "infrastructure": {"labels": {"a b": "c"}}}, "Label keys must be in the form of"),
    ("GatewayClass", {"controllerName": "sampan.io"}, "should match"),
    (
        "BackendTLSPolicy",
        {"targetRefs": [{"group": "", "kind": "Service", "name": "a"}], "validation": {"hostname": "a"}},
        "must specify either CACertificateRefs or WellKnownCACertificates",
    ),
    (
        "BackendTLSPolicy",
        {
            "targetRefs": [{"group": "", "kind": "Service", "name": "a"}] * 2,
            "validation": {"hostname": "a", "wellKnownCACertificates": "System"},
        },
        "sectionName must be unique when targetRefs includes 2 or more references to the same target",
    ),
    (
        "BackendTLSPolicy",
        {
            "targetRefs": [{"group": "", "kind": "Service", "name": "a"}],
            "validation": {"hostname": "a", "wellKnownCACertificates": "System", "subjectAltNames": [{"type": "URI"}]},
        },
        "SubjectAltName element must contain URI, if Type is set to URI",
    ),
    ("ReferenceGrant", {"from": [], "to": [{"group": "", "kind": "Service"}]}, "should have at least 1 items"),
]


@pytest.mark.parametrize(("kind", "spec", "words"), REFUSED, ids=[each[2][:60] for each in REFUSED])
def test_what_the_published_rules_refuse_is_refused_in_their_words(kind: str, spec: Obj, words: str) -> None:
    _, wrong = judged(kind, deep_copy(spec))
    assert any(words in each for each in wrong), wrong


CERTIFIED = {"certificateRefs": [{"name": "s"}]}
TAKEN: list[tuple[str, Obj]] = [
    ("GatewayClass", {"controllerName": "sampan.io/gateway-controller"}),
    (
        "Gateway",
        {
            "gatewayClassName": "sampan",
            "addresses": [{"value": "::1"}, {"type": "Hostname"}, {"type": "example.com/Pool", "value": "blue"}],
            "listeners": [
                {"name": "a", "port": 443, "protocol": "HTTPS", "hostname": "*.a.example", "tls": CERTIFIED},
                {"name": "b", "port": 443, "protocol": "TLS", "tls": {"mode": "Passthrough"}},
                {"name": "c", "port": 80, "protocol": "HTTP", "hostname": "a.example"},
                {"name": "d", "port": 80, "protocol": "HTTP"},
            ],
        },
    ),
    (
        "HTTPRoute",
        {
            "parentRefs": [*({"name": "a", "sectionName": each} for each in "bc"), {"name": "a", "namespace": "n"}],
            "hostnames": ["a.example", "*.b.example"],
            "rules": [
                {
                    "matches": [{"path": PREFIX, "headers": [{"name": "v", "value": "2"}], "method": "GET"}],
                    "filters": [
                        {"type": "URLRewrite", "urlRewrite": {"path": REPLACES}},
                        {"type": "RequestMirror", "requestMirror": {"backendRef": service(), "percent": 5}},
                    ],
                    "backendRefs": [service(weight=0), service(name="b")],
                    "timeouts": {"request": "0s", "backendRequest": "1m30s"},
                }
            ],
        },
    ),
    ("GRPCRoute", http(matches=[{"method": {"service": "foo.Bar", "method": "Get"}}], backendRefs=[service()])),
    ("TLSRoute", {"hostnames": ["a.example", "*.example"], "rules": [{"backendRefs": [service()]}]}),
    (
        "ReferenceGrant",
        {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "a"}],
            "to": [{"group": "", "kind": "Service"}],
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spec"), TAKEN, ids=[each[0] for each in TAKEN])
def test_what_the_published_rules_allow_is_taken(kind: str, spec: Obj) -> None:
    _, wrong = judged(kind, deep_copy(spec))
    assert wrong == []


def test_releases_are_older_by_their_numbers_and_candidates_before_them() -> None:
    assert is_older("v1.4.1", "v1.10.0")
    assert is_older("v1.6.0-rc.1", "v1.6.0")
    assert not is_older("v1.6.0", "v1.6.0")
    assert not is_older("v2.0.0", "v1.6.0")
    assert not is_older("v0.0.0-dev!", "v1.6.0")  # somebody's own


def installed(version: str, by_us: str) -> Obj:
    present = deep_copy(ALL["Gateway"])
    present["spec"]["versions"] = present["spec"]["versions"][:1]
    notes = present["metadata"]["annotations"]
    notes["gateway.networking.k8s.io/bundle-version"] = version
    if by_us:
        notes[INSTALLED_KEY] = by_us
    return present


@pytest.mark.parametrize(
    ("version", "by_us", "renewed"),
    [
        ("v1.5.0", "v1.5.0", True),
        ("v1.5.0", "", False),  # somebody else's, older
        ("v1.9.0", "", False),  # somebody else's, newer
        ("v1.9.0", "v1.5.0", False),  # somebody put a newer one over ours
        (BUNDLE_VERSION, BUNDLE_VERSION, False),
    ],
)
def test_only_an_older_release_of_our_own_is_brought_forward(version: str, by_us: str, renewed: bool) -> None:
    assert may_write(installed(version, by_us)) == renewed
