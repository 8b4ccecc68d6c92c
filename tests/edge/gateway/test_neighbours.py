"""Gateways of several tenants on one machine: none takes from another what it has."""

from __future__ import annotations

from typing import Any

import pytest
from tests.edge.gateway import pem
from tests.edge.gateway.world import (
    CLASS,
    INFRA,
    NODE,
    World,
    asked,
    gateway,
    http,
    listener,
    observed,
    rule,
    to,
)

from sampan.edge.merging import merge
from sampan.edge.model import Listener, Owner, Route, VirtualHost

HERE = {"addresses": [{"value": NODE}]}


def _by_address(*objects: Any) -> dict[str, Listener]:
    plane, problems = merge(World(observed(CLASS, *objects)).plan.plane.listeners)
    assert problems == []
    return {each.address: each for each in plane.listeners}


def test_a_gateway_at_one_address_does_not_take_the_others_requests_that_come_there() -> None:
    """The kernel gives a connection to the socket that is bound to its very address."""
    found = _by_address(
        gateway("everybody", listener(hostname="a.example")),
        http("a", rule(to("v1")), parent="everybody"),
        gateway("one", listener(hostname="b.example"), **HERE),
        http("b", rule(to("v2")), parent="one"),
    )
    assert asked(found[NODE], "a.example/").backend == "infra-backend-v1"
    assert asked(found[NODE], "b.example/").backend == "infra-backend-v2"
    assert asked(found[""], "b.example/").status == 404


def test_what_listens_at_every_address_keeps_its_port_from_a_gateway_at_one() -> None:
    secret = pem.secret("pair", INFRA, *pem.pair())
    tls = {"certificateRefs": [{"name": "pair"}]}
    seen = World(
        observed(
            CLASS,
            gateway("everybody", listener()),
            gateway("one", listener("https", 80, "HTTPS", tls=tls), **HERE),
            secrets=[secret],
        )
    )
    assert seen.listener("one", "https")["Accepted"] == ("False", "PortUnavailable")
    assert seen.listener("everybody")["Accepted"] == ("True", "Accepted")


def test_another_sources_port_at_every_address_is_not_taken_by_a_listener_at_one() -> None:
    def made(protocol: Any, address: str, name: str) -> Listener:
        owner = Owner("v1", "Ingress", "default", name)
        return Listener(name, 80, protocol, address, hosts=(VirtualHost("", (Route(name, owner),)),))

    plane, problems = merge([made("http", "", "ingress"), made("https", NODE, "gateway")])
    assert [each.name for each in plane.listeners] == ["ingress"]
    assert [each.owner.name for each in problems] == ["gateway"]


@pytest.mark.parametrize("bind", ({}, HERE))
@pytest.mark.parametrize(("second", "accepted"), (("other", False), ("ours", True), ("", False)))
def test_clients_of_one_authority_are_not_let_in_by_what_another_gateway_believes(
    second: str, accepted: bool, bind: dict[str, Any]
) -> None:
    chain, key = pem.pair()
    bundles = {name: pem.pair(name)[0] for name in ("ours", "other")}
    maps = [
        {"metadata": {"namespace": INFRA, "name": name}, "data": {"ca.crt": text}} for name, text in bundles.items()
    ]

    def asking(name: str) -> dict[str, Any]:
        if not name:
            return {}
        refs = [{"name": name, "group": "", "kind": "ConfigMap"}]
        return {"tls": {"frontend": {"default": {"validation": {"caCertificateRefs": refs}}}}}

    tls = {"certificateRefs": [{"name": "pair"}]}
    https = [listener("https", 443, "HTTPS", tls=tls)]
    seen = World(
        observed(
            CLASS,
            gateway("first", *https, **asking("ours")),
            gateway("second", *https, **asking(second), **bind),
            secrets=[pem.secret("pair", INFRA, chain, key)],
            config_maps=maps,
        )
    )
    assert seen.listener("first", "https")["Accepted"] == ("True", "Accepted")
    reason = ("True", "Accepted") if accepted else ("False", "PortUnavailable")
    assert seen.listener("second", "https")["Accepted"] == reason
    assert all(each.client_ca.strip() == bundles["ours"].strip() for each in seen.plan.plane.listeners)


def test_a_newer_gateway_shows_no_certificate_for_a_host_of_an_older_one() -> None:
    secrets = [pem.secret("pair", namespace, *pem.pair(namespace)) for namespace in (INFRA, "aaa")]

    def made(name: str, namespace: str, created: str, *hosts: str) -> Any:
        tls = {"certificateRefs": [{"name": "pair"}]}
        wanted = [
            listener(f"l{number}", 443, "HTTPS", tls=tls, **({"hostname": host} if host else {}))
            for number, host in enumerate(hosts)
        ]
        found = gateway(name, *wanted, namespace=namespace)
        found["metadata"] |= {"creationTimestamp": created, "uid": name}
        return found

    older = made("older", INFRA, "2026-01-01T00:00:00Z", "bank.example", "")
    newer = made("newer", "aaa", "2026-01-02T00:00:00Z", "bank.example", "", "own.example")
    (found,) = World(observed(CLASS, newer, older, secrets=secrets)).plan.plane.listeners
    shown = {each.hosts: each.name.split("/")[1] for each in found.certificates}
    assert shown == {("bank.example",): INFRA, (): INFRA, ("own.example",): "aaa"}
    assert len(found.certificates) == 3
