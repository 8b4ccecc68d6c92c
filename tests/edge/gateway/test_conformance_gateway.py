"""The published conformance cases of Gateway and GatewayClass, by their names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.edge.gateway import pem
from tests.edge.gateway.world import (
    CLASS,
    INFRA,
    LATER,
    NODE,
    WEB,
    Obj,
    World,
    admitted,
    asked,
    gateway,
    grant,
    http,
    listener,
    observed,
    rule,
    tls,
    to,
)

from sampan.edge.gateway.observed import Site

GOOD = pem.secret("good", INFRA, *pem.pair())
ELSEWHERE = pem.secret("certificate", WEB, *pem.pair())


def https(name: str = "https", secret: str = "good", port: int = 443, **more: Any) -> Obj:
    reference = {"name": secret, **more.pop("reference", {})}
    return listener(name, port, "HTTPS", tls={"certificateRefs": [reference]}, **more)


def world(*objects: Obj, **seen: Any) -> World:
    return World(observed(CLASS, *objects, **seen))


def test_gateway_class_is_accepted_with_what_it_can() -> None:
    """GatewayClassObservedGenerationBump, GatewayClassSupportedVersionCondition."""
    seen = observed(CLASS)
    first = World(replace(seen, bundles={"Gateway": "v1.6.0"}))
    status = first.status("GatewayClass", "sampan")
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Accepted": "True",
        "SupportedVersion": "True",
    }
    names = [each["name"] for each in status["supportedFeatures"]]
    assert names == sorted(names)
    bumped = first.settled()
    bumped.classes[0]["metadata"] = {**bumped.classes[0]["metadata"], "generation": 2}
    second = World(replace(bumped, bundles={"Gateway": "v2.0.0"}), LATER)
    told = {each["type"]: each for each in second.status("GatewayClass", "sampan")["conditions"]}
    assert (told["Accepted"]["observedGeneration"], told["Accepted"]["lastTransitionTime"]) == (
        2,
        told["Accepted"]["lastTransitionTime"],
    )
    assert (told["SupportedVersion"]["reason"], told["SupportedVersion"]["lastTransitionTime"]) == (
        "UnsupportedVersion",
        LATER,
    )
    assert "Gateway v2.0.0" in told["SupportedVersion"]["message"]


def test_classes_and_gateways_of_other_controllers_are_left_alone() -> None:
    theirs = admitted("GatewayClass", "theirs", {"controllerName": "example.com/other"}, "")
    with_parameters = admitted(
        "GatewayClass",
        "odd",
        {
            "controllerName": "sampan.io/gateway-controller",
            "parametersRef": {"group": "", "kind": "ConfigMap", "name": "x", "namespace": "y"},
        },
        "",
    )
    seen = world(
        theirs,
        with_parameters,
        gateway("other", listener(), class_name="theirs"),
        gateway("parametrised", listener(), class_name="odd"),
        http("route", rule(to("v1")), parent="other"),
    )
    assert {each.obj["metadata"]["name"] for each in seen.plan.writes} == {"sampan", "odd"}
    assert seen.plan.plane.listeners == ()
    accepted = {each["type"]: each["reason"] for each in seen.status("GatewayClass", "odd")["conditions"]}["Accepted"]
    assert accepted == "InvalidParameters"


def test_gateway_observed_generation_bump() -> None:
    """GatewayObservedGenerationBump, HTTPRouteObservedGenerationBump: times stay with what did not change."""
    first = world(gateway("one", listener()), http("route", rule(to("v1")), parent="one"))
    seen = first.settled()
    for each in (*seen.gateways, *seen.http_routes):
        each["metadata"] = {**each["metadata"], "generation": 7}
    second = World(seen, LATER)
    (entry,) = second.status("HTTPRoute", "route")["parents"]
    told = [*second.status("Gateway", "one")["conditions"], *entry["conditions"]]
    told += second.listener_status("one")["conditions"]
    assert {each["observedGeneration"] for each in told} == {7}
    assert {each["lastTransitionTime"] for each in told} == {told[0]["lastTransitionTime"]} != {LATER}


def test_gateway_preserves_foreign_conditions() -> None:
    """GatewayPreserveForeignConditions; and entries that other controllers made of a route's parents."""
    mine = gateway("one", listener())
    foreign = {
        "type": "example.com/Theirs",
        "status": "True",
        "reason": "R",
        "message": "",
        "lastTransitionTime": LATER,
    }
    mine["status"]["conditions"].append(foreign)
    route = http("route", rule(to("v1")), parent="one")
    theirs = {"parentRef": {"name": "x"}, "controllerName": "example.com/other", "conditions": [foreign]}
    route["status"] = {"parents": [theirs]}
    seen = world(mine, route)
    assert foreign in seen.status("Gateway", "one")["conditions"]
    parents = seen.status("HTTPRoute", "route")["parents"]
    assert [each["controllerName"] for each in parents] == ["example.com/other", "sampan.io/gateway-controller"]
    assert parents[0] == theirs


def test_gateway_invalid_route_kind() -> None:
    def of(*kinds: str) -> World:
        return world(
            gateway("one", listener(allowedRoutes={"kinds": [{"kind": kind} for kind in kinds]})),
            http("route", rule(to("v1")), parent="one"),
        )

    only = of("InvalidRoute")
    assert only.listener("one")["ResolvedRefs"] == ("False", "InvalidRouteKinds")
    assert only.listener_status("one")["supportedKinds"] == []
    assert only.listener_status("one")["attachedRoutes"] == 0
    assert only.parent("route")["Accepted"] == ("False", "NotAllowedByListeners")
    mixed = of("InvalidRoute", "HTTPRoute")
    assert mixed.listener("one")["ResolvedRefs"] == ("False", "InvalidRouteKinds")
    assert [each["kind"] for each in mixed.listener_status("one")["supportedKinds"]] == ["HTTPRoute"]
    assert mixed.parent("route")["Accepted"] == ("True", "Accepted")


@pytest.mark.parametrize(
    ("reference", "secrets"),
    [
        ({"name": "nonexistent-certificate"}, ()),
        ({"name": "good", "group": "wrong.group.company.io"}, (GOOD,)),
        ({"name": "good", "kind": "WrongKind"}, (GOOD,)),
        ({"name": "malformed"}, (pem.secret("malformed", INFRA, "Hello world", "Hello world"),)),
        ({"name": "mixed"}, (pem.secret("mixed", INFRA, pem.pair()[0], pem.pair("other")[1]),)),
    ],
    ids=["missing", "group", "kind", "malformed", "key of another"],
)
def test_gateway_invalid_tls_configuration(reference: Obj, secrets: tuple[Obj, ...]) -> None:
    seen = world(
        gateway("one", https(reference=reference)), http("route", rule(to("v1")), parent="one"), secrets=secrets
    )
    assert seen.listener("one", "https")["ResolvedRefs"] == ("False", "InvalidCertificateRef")
    assert seen.listener("one", "https")["Programmed"] == ("False", "Invalid")
    # Routes attach all the same: GatewayWithAttachedRoutes, the unresolved Gateway.
    assert seen.listener_status("one", "https")["attachedRoutes"] == 1
    assert seen.plan.plane.listeners == ()


@pytest.mark.parametrize(
    ("grants", "reason"),
    [
        ((), "RefNotPermitted"),  # GatewaySecretMissingReferenceGrant
        ((grant(WEB, kind="Gateway", to_kind="Secret", name="other"),), "RefNotPermitted"),
        ((grant(WEB, kind="HTTPRoute", to_kind="Secret"),), "RefNotPermitted"),
        ((grant(WEB, kind="Gateway", to_kind="Secret", origin="elsewhere"),), "RefNotPermitted"),
        ((grant(INFRA, kind="Gateway", to_kind="Secret"),), "RefNotPermitted"),
        ((grant(WEB, kind="Gateway", to_kind="Secret", name="certificate"),), ""),  # ...ReferenceGrantSpecific
        ((grant(WEB, kind="Gateway", to_kind="Secret"),), ""),  # ...ReferenceGrantAllInNamespace
    ],
)
def test_gateway_secret_reference_grant(grants: tuple[Obj, ...], reason: str) -> None:
    """GatewaySecret{Missing,Invalid}ReferenceGrant, GatewaySecretReferenceGrant{Specific,AllInNamespace}."""
    seen = world(
        gateway("one", https(reference={"name": "certificate", "namespace": WEB})), *grants, secrets=[ELSEWHERE]
    )
    wanted = ("False", reason) if reason else ("True", "ResolvedRefs")
    assert seen.listener("one", "https")["ResolvedRefs"] == wanted
    assert bool(seen.plan.plane.listeners) == (not reason)


def test_gateway_modify_listeners() -> None:
    """A listener that is added is told of and served; one that goes is gone from status and plane."""
    first = world(gateway("one", https()), secrets=[GOOD])
    assert [each["name"] for each in first.status("Gateway", "one")["listeners"]] == ["https"]
    changed = gateway("one", https(), listener("http"))
    changed["status"] = first.status("Gateway", "one")
    second = world(changed, secrets=[GOOD])
    assert [each["name"] for each in second.status("Gateway", "one")["listeners"]] == ["https", "http"]
    assert [each.port for each in second.plan.plane.listeners] == [80, 443]
    shrunk = gateway("one", listener("http"))
    shrunk["status"] = second.status("Gateway", "one")
    third = world(shrunk, secrets=[GOOD])
    assert [each["name"] for each in third.status("Gateway", "one")["listeners"]] == ["http"]
    assert [each.port for each in third.plan.plane.listeners] == [80]


def test_gateway_with_attached_routes() -> None:
    """Only routes that are accepted count, each at every listener that took it."""
    seen = world(
        gateway("one", listener(), listener("named", hostname="a.example")),
        http("both", rule(to("v1")), parent="one"),
        http("second", rule(to("v2")), parent="one", hostnames=["b.example"]),
        http("foreign", rule(to("v1")), parent="one", namespace=WEB),
    )
    counts = {each["name"]: each["attachedRoutes"] for each in seen.status("Gateway", "one")["listeners"]}
    assert counts == {"http": 2, "named": 1}
    kinds = [each["kind"] for each in seen.listener_status("one")["supportedKinds"]]
    assert kinds == ["HTTPRoute", "GRPCRoute"]


def test_gateway_invalid_listeners_unsupported_protocol() -> None:
    udp = listener("udp", 53, "UDP")
    partly = world(gateway("one", udp, listener()))
    assert partly.listener("one", "udp")["Accepted"] == ("False", "UnsupportedProtocol")
    assert partly.listener("one", "udp")["Programmed"] == ("False", "Invalid")
    assert partly.gateway("one") == {
        "Accepted": ("True", "ListenersNotValid"),
        "Programmed": ("True", "Programmed"),
    }
    wholly = world(gateway("one", udp))
    assert wholly.gateway("one") == {
        "Accepted": ("False", "ListenersNotValid"),
        "Programmed": ("False", "Invalid"),
    }


def test_gateway_listener_protocol_and_route_kind_conflicts() -> None:
    seen = world(
        gateway(
            "tlsroutes-only",
            listener("tls", 443, "TLS", hostname="abc.example.com", tls={"mode": "Passthrough"}),
            https("conflicted-https", port=8443),
            listener("conflicted-tls", 8443, "TLS", tls={"mode": "Passthrough"}),
        ),
        http("disallowed-kind", rule(to("v1")), parent="tlsroutes-only", section="tls"),
        tls("control", rule(to("tls-backend")), parent="tlsroutes-only", section="tls", hostnames=["abc.example.com"]),
        secrets=[GOOD],
    )
    for name in ("conflicted-https", "conflicted-tls"):
        assert seen.listener("tlsroutes-only", name)["Conflicted"] == ("True", "ProtocolConflict")
        assert seen.listener("tlsroutes-only", name)["Accepted"] == ("False", "ProtocolConflict")
    assert seen.listener("tlsroutes-only", "tls")["Conflicted"] == ("False", "NoConflicts")
    assert seen.parent("disallowed-kind")["Accepted"] == ("False", "NotAllowedByListeners")
    assert seen.parent("control", "TLSRoute")["Accepted"] == ("True", "Accepted")
    assert [each.port for each in seen.plan.plane.listeners] == [443]


def test_listeners_with_and_without_tls_at_one_port_conflict() -> None:
    seen = world(gateway("one", listener("plain", 8080), https(port=8080, hostname="a.example")), secrets=[GOOD])
    for name in ("plain", "https"):
        assert seen.listener("one", name)["Conflicted"] == ("True", "ProtocolConflict")
    alike = gateway("one", listener("a"), listener("b", protocol="http"))
    again = world(alike)
    assert again.listener("one", "a")["Conflicted"] == ("True", "HostnameConflict")


def test_gateway_https_and_tls_passthrough_same_port() -> None:
    seen = world(
        gateway(
            "one",
            https(hostname="https.example.com"),
            listener("tls", 443, "TLS", hostname="tls.example.com", tls={"mode": "Passthrough"}),
        ),
        http("web", rule(to("v1")), parent="one", section="https"),
        tls("through", rule(to("tls-backend")), parent="one", section="tls", hostnames=["tls.example.com"]),
        secrets=[GOOD],
    )
    (found,) = seen.plan.plane.listeners
    assert found.protocol == "https"
    assert [(each.host, each.passthrough) for each in found.tls_routes] == [("tls.example.com", True)]
    assert asked(found, "https.example.com/").backend == "infra-backend-v1"
    assert asked(found, "tls.example.com/").status == 404
    assert [each.hosts for each in found.certificates] == [("https.example.com",)]


def test_gateway_overlapping_tls_config() -> None:
    seen = world(
        gateway(
            "one",
            https("a", hostname="foo.example.com"),
            https("b", hostname="foo.example.org"),
            https("c", hostname="*.example.com"),
        ),
        secrets=[GOOD],
    )
    overlapping = [name for name in "abc" if "OverlappingTLSConfig" in seen.listener("one", name)]
    assert overlapping == ["a", "c"]
    assert seen.listener("one", "a")["OverlappingTLSConfig"] == ("True", "OverlappingHostnames")


@pytest.mark.parametrize(
    ("addresses", "accepted", "programmed", "told"),
    [
        ([], "Accepted", "Programmed", [NODE]),
        ([{"type": "IPAddress"}], "Accepted", "Programmed", [NODE]),  # GatewayOptionalAddressValue
        ([{"value": NODE}], "Accepted", "Programmed", [NODE]),
        ([{"value": NODE}, {"value": "203.0.113.9"}], "Accepted", "AddressNotUsable", [NODE]),
        ([{"type": "Hostname", "value": "a.example"}], "UnsupportedAddress", "Invalid", []),
        ([{"type": "test/fake-invalid-type", "value": "x"}], "UnsupportedAddress", "Invalid", []),
    ],
)
def test_gateway_static_addresses(addresses: list[Obj], accepted: str, programmed: str, told: list[str]) -> None:
    seen = world(gateway("one", listener(), addresses=addresses))
    assert seen.gateway("one")["Accepted"][1] == accepted
    assert seen.gateway("one")["Programmed"][1] == programmed
    assert [each["value"] for each in seen.status("Gateway", "one")["addresses"]] == told
    bound = [each.address for each in seen.plan.plane.listeners]
    asked_for = [each for each in addresses if each.get("value")]
    assert bound == ([] if programmed != "Programmed" else [NODE] if asked_for else [""])


def test_an_address_of_another_node_is_served_there_and_told_by_all() -> None:
    site = Site((NODE, "192.0.2.11"), own=(NODE,))
    seen = world(gateway("one", listener(), addresses=[{"value": "192.0.2.11"}]), site=site)
    assert seen.gateway("one")["Programmed"] == ("True", "Programmed")
    assert [each["value"] for each in seen.status("Gateway", "one")["addresses"]] == ["192.0.2.11"]
    assert seen.plan.plane.listeners == ()


def test_a_gateway_on_a_node_without_an_address_waits_for_one() -> None:
    seen = world(gateway("one", listener()), site=Site())
    assert seen.gateway("one")["Programmed"] == ("False", "AddressNotAssigned")


def test_a_data_plane_that_does_not_run_is_told_with_its_reason() -> None:
    seen = world(gateway("one", listener()), site=Site((NODE,), trouble="haproxy is not installed"))
    assert seen.gateway("one") == {"Accepted": ("True", "Accepted"), "Programmed": ("False", "NoResources")}
    said = [each["message"] for each in seen.listener_status("one")["conditions"] if each["type"] == "Programmed"]
    assert said == ["haproxy is not installed"]


def test_a_port_that_is_taken_is_told_and_one_that_is_moved_is_served_there() -> None:
    site = Site((NODE,), ports={80: 8080}, taken=frozenset((80, 6443)))
    seen = world(gateway("one", listener(), listener("api", 6443)), site=site)
    assert seen.listener("one", "api")["Accepted"] == ("False", "PortUnavailable")
    assert [each.port for each in seen.plan.plane.listeners] == [8080]
    said = [each["message"] for each in seen.status("Gateway", "one")["conditions"] if each["type"] == "Programmed"]
    assert said == ["it is served; on the node port 80 at 8080"]


def test_of_gateways_with_one_port_and_different_protocols_the_older_has_it() -> None:
    young = gateway("a-young", https(port=80))
    young["metadata"]["creationTimestamp"] = LATER
    seen = world(young, gateway("old", listener()), secrets=[GOOD])
    assert seen.listener("old")["Accepted"] == ("True", "Accepted")
    assert seen.listener("a-young", "https")["Accepted"] == ("False", "PortUnavailable")


def test_gateways_share_a_port_and_keep_to_their_own_listeners() -> None:
    seen = world(
        gateway("one", listener(hostname="*.example.com")),
        gateway("two", listener()),
        http("a", rule(to("v1")), parent="one"),
        http("b", rule(to("v2")), parent="two", hostnames=["app.example.com", "other.org"]),
    )
    (found,) = seen.plan.plane.listeners
    assert asked(found, "x.example.com/").backend == "infra-backend-v1"
    assert asked(found, "app.example.com/").backend == "infra-backend-v2"
    assert asked(found, "other.org/").backend == "infra-backend-v2"


def test_what_is_not_supported_of_a_gateway_is_refused_by_name() -> None:
    parameters = {"parametersRef": {"group": "a.b", "kind": "C", "name": "d"}}
    assert world(gateway("one", listener(), infrastructure=parameters)).gateway("one")["Accepted"] == (
        "False",
        "InvalidParameters",
    )
    backend = {"backend": {"clientCertificateRef": {"name": "x"}}}
    assert world(gateway("one", listener(), tls=backend)).gateway("one")["Accepted"] == ("False", "Invalid")
    optional = https()
    optional["tls"]["options"] = {"a.b/c": "d"}
    assert world(gateway("one", optional), secrets=[GOOD]).listener("one", "https")["Accepted"] == (
        "False",
        "UnsupportedValue",
    )


@pytest.mark.parametrize(
    ("reference", "mode", "accepted", "resolved"),
    [
        ({"kind": "ConfigMap", "name": "ca"}, "AllowValidOnly", "Accepted", "ResolvedRefs"),
        ({"kind": "ConfigMap", "name": "none"}, "AllowValidOnly", "NoValidCACertificate", "InvalidCACertificateRef"),
        ({"kind": "Secret", "name": "ca"}, "AllowValidOnly", "NoValidCACertificate", "InvalidCACertificateKind"),
        (
            {"kind": "ConfigMap", "name": "ca", "namespace": WEB},
            "AllowValidOnly",
            "NoValidCACertificate",
            "RefNotPermitted",
        ),
        ({"kind": "ConfigMap", "name": "ca"}, "AllowInsecureFallback", "UnsupportedValue", "ResolvedRefs"),
    ],
)
def test_gateway_with_client_certificate_validation(reference: Obj, mode: str, accepted: str, resolved: str) -> None:
    """GatewayWithClientCertificateValidation, and its invalid cases."""
    config = {"validation": {"caCertificateRefs": [{"group": "", **reference}], "mode": mode}}
    seen = world(
        gateway("one", https(), tls={"frontend": {"default": {}, "perPort": [{"port": 443, "tls": config}]}}),
        secrets=[GOOD],
        config_maps=[pem.config_map("ca", INFRA, **{"ca.crt": pem.pair("ca")[0]})],
    )
    assert seen.listener("one", "https")["Accepted"][1] == accepted
    assert seen.listener("one", "https")["ResolvedRefs"][1] == resolved
    assert [bool(each.client_ca) for each in seen.plan.plane.listeners] == ([True] if accepted == "Accepted" else [])
