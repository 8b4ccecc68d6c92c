"""What serves Ingresses and Gateways on a node may read of Secrets and ConfigMaps, whoever has taken the node over."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.resources import INGRESSES
from sampan.server.attributes import AuthorizationAttributes
from sampan.server.authz.edge import EDGE_GROUP, EdgeAuthorizer
from sampan.server.authz.edge_graph import GATEWAY_GROUP, GATEWAYS, GRANTS, POLICIES
from sampan.server.request import UserInfo

Obj = dict[str, Any]
EDGE = UserInfo("system:edge:a", (EDGE_GROUP, "system:authenticated"))


def ask(verb: str, resource: str, namespace: str, name: str, user: UserInfo = EDGE) -> AuthorizationAttributes:
    resource, _, subresource = resource.partition("/")
    return AuthorizationAttributes(user, verb, "", "v1", resource, subresource, namespace, name)


def obj(name: str, spec: Obj, namespace: str = "ns", **annotations: str) -> Obj:
    prefixed = {f"nginx.ingress.kubernetes.io/{key.replace('_', '-')}": each for key, each in annotations.items()}
    return {"metadata": {"name": name, "namespace": namespace, "annotations": prefixed}, "spec": spec}


def gateway(namespace: str, *references: Obj) -> Obj:
    return obj("edge", {"listeners": [{"tls": {"certificateRefs": list(references)}}]}, namespace)


def grant(origin: str, target: Obj, kind: str = "Gateway", group: str = GATEWAY_GROUP) -> Obj:
    return obj("grant", {"from": [{"group": group, "kind": kind, "namespace": origin}], "to": [target]}, "safe")


class World:
    """An authorizer over objects that come and go; ``serving``: the plurals that are served, and by what."""

    def __init__(self, reader: Any) -> None:
        self.reader = reader
        self.serving: dict[str, object] = {each.plural: object() for each in (INGRESSES, GATEWAYS, POLICIES, GRANTS)}
        self.authorizer = EdgeAuthorizer(reader, lambda resource: self.serving.get(resource.plural))
        self.authorizer.start()

    def may(self, namespace: str, name: str, resource: str = "secrets") -> bool:
        decisions = {
            self.authorizer.decide_now(ask(verb, resource, namespace, name)).allowed
            for verb in ("get", "list", "watch")
        }
        (decision,) = decisions
        return decision


@pytest.fixture
def world(reader: Any) -> World:
    return World(reader)


SPEC = {"tls": [{"hosts": ["a.example"]}, {"secretName": "shown"}, {"secretName": "also"}]}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (ask("get", "secrets", "ns", "shown"), True),
        (ask("list", "secrets", "ns", "also"), True),
        (ask("watch", "secrets", "ns", "shown"), True),
        (ask("get", "secrets", "ns", "users"), True),
        (ask("get", "secrets", "ns", "upstream"), True),
        (ask("get", "secrets", "ns", "another"), False),
        (ask("get", "secrets", "ns", "theirs"), False),
        (ask("get", "secrets", "other", "theirs"), False),
        (ask("get", "secrets", "other", "shown"), False),
        (ask("list", "secrets", "ns", ""), False),
        (ask("list", "secrets", "", "shown"), False),
        (ask("watch", "secrets", "", ""), False),
        (ask("update", "secrets", "ns", "shown"), False),
        (ask("delete", "secrets", "ns", "shown"), False),
        (ask("deletecollection", "secrets", "ns", "shown"), False),
        (ask("get", "secrets/status", "ns", "shown"), False),
        (ask("get", "configmaps", "ns", "shown"), False),
        (ask("get", "pods", "ns", "shown"), False),
        (ask("get", "secrets", "ns", "shown", UserInfo("system:edge:a", ("system:authenticated",))), False),
        (ask("get", "secrets", "ns", "shown", UserInfo("system:node:a", ("system:nodes",))), False),
    ],
)
def test_the_edge_reads_what_an_ingress_of_the_same_namespace_refers_to(
    world: World, asked: AuthorizationAttributes, answer: bool
) -> None:
    world.reader.put(INGRESSES, obj("one", SPEC, auth_secret="users", proxy_ssl_secret="ns/upstream"))
    world.reader.put(INGRESSES, obj("two", {}, auth_secret="other/theirs"))
    assert world.authorizer.decide_now(asked).allowed is answer


def test_who_is_refused_is_told_why(world: World) -> None:
    decision = world.authorizer.decide_now(ask("list", "secrets", "ns", "x"))
    assert decision.reason == "no Ingress, Gateway or BackendTLSPolicy refers to this object"
    assert not decision.denied  # a cluster's own roles may say otherwise


def test_a_secret_is_out_of_reach_once_the_last_that_referred_to_it_is_gone(world: World) -> None:
    world.reader.put(INGRESSES, obj("one", SPEC))
    world.reader.put(INGRESSES, obj("two", SPEC))
    world.reader.remove(INGRESSES, "ns", "one")
    assert world.may("ns", "shown")
    world.reader.put(INGRESSES, obj("two", {"tls": [{"secretName": "also"}]}))
    assert (world.may("ns", "shown"), world.may("ns", "also")) == (False, True)
    world.reader.remove(INGRESSES, "ns", "two")
    assert not world.may("ns", "also")


def test_ingresses_that_were_there_before_the_server_count(reader: Any) -> None:
    reader.put(INGRESSES, obj("one", SPEC))
    assert World(reader).may("ns", "shown")


def test_a_gateway_reaches_its_namespace_and_what_is_granted_to_it(world: World) -> None:
    mine, theirs = {"name": "mine"}, {"name": "theirs", "namespace": "safe"}
    no_secret = {"name": "no-secret", "kind": "Vault"}
    world.reader.put(GATEWAYS, gateway("ns", mine, theirs, no_secret))
    assert (world.may("ns", "mine"), world.may("ns", "no-secret"), world.may("safe", "theirs")) == (True, False, False)
    every = {"group": "", "kind": "Secret"}
    for granted, answer in (
        (grant("ns", every), True),
        (grant("ns", every | {"name": "theirs"}), True),
        (grant("ns", every | {"name": "others"}), False),
        (grant("elsewhere", every), False),
        (grant("ns", {"group": "", "kind": "ConfigMap"}), False),
        (grant("ns", {"group": "vault.example", "kind": "Secret"}), False),
        (grant("ns", every, "HTTPRoute"), False),
        (grant("ns", every, group="vault.example"), False),
    ):
        world.reader.put(GRANTS, granted)
        assert world.may("safe", "theirs") is answer, granted
    world.reader.put(GRANTS, grant("ns", every))
    assert not world.may("safe", "unreferred")
    world.reader.remove(GRANTS, "safe", "grant")
    assert not world.may("safe", "theirs")


def test_authorities_are_config_maps_that_gateways_and_policies_refer_to(world: World) -> None:
    frontend = {
        "default": {"validation": {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "clients"}]}},
        "perPort": [{"tls": {"validation": {"caCertificateRefs": [{"kind": "ConfigMap", "name": "more"}]}}}],
    }
    world.reader.put(GATEWAYS, obj("edge", {"tls": {"frontend": frontend}}))
    references = [{"group": "", "kind": "ConfigMap", "name": "roots"}, {"group": "", "kind": "Secret", "name": "no"}]
    world.reader.put(POLICIES, obj("policy", {"validation": {"caCertificateRefs": references}}))
    assert [world.may("ns", name, "configmaps") for name in ("clients", "more", "roots")] == [True, True, True]
    assert not world.may("ns", "other", "configmaps")
    assert not world.may("ns", "no") and not world.may("ns", "no", "configmaps")
    world.reader.remove(POLICIES, "ns", "policy")
    assert not world.may("ns", "roots", "configmaps")


def test_definitions_come_change_and_go(reader: Any) -> None:
    world = World(reader)
    del world.serving["gateways"]
    reader.put(GATEWAYS, gateway("ns", {"name": "mine"}))
    assert not world.may("ns", "mine")
    for _ in range(2):  # served, and served anew
        world.serving["gateways"] = object()
        assert world.may("ns", "mine")
        assert reader.subscribers(GATEWAYS) == 1
    del world.serving["gateways"]
    assert not world.may("ns", "mine")
    assert reader.subscribers(GATEWAYS) == 0
    world.authorizer.stop()
    assert reader.subscribers(INGRESSES) == 0


@pytest.mark.parametrize("spec", [{}, {"tls": "x", "listeners": [1, {"tls": []}]}, {"tls": [{"secretName": 1}, None]}])
def test_damaged_objects_refer_to_nothing(world: World, spec: Obj) -> None:
    for resource in (INGRESSES, GATEWAYS, POLICIES, GRANTS):
        world.reader.put(resource, {"metadata": {"name": "x", "namespace": "ns", "annotations": []}, "spec": spec})
    assert not world.may("ns", "")
    assert not world.may("ns", "1")
