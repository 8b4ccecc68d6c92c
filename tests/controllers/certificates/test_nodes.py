"""What a node asks for besides its client certificate is approved when it is the node's own."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest

from sampan.controllers.certificates import nodes, requests
from sampan.controllers.certificates.approving import is_alive

CLIENT, SERVING = ["digital signature", "client auth"], ["digital signature", "server auth"]
OTHERS = nodes.Others(
    {"192.0.2.1", "192.0.2.3", "api.example.com", "*.lb.example.com"},
    (ipaddress.ip_network("10.96.0.0/16"),),
    "site.example.com",
)
NETWORK, EDGE = ("system:sampan:network", ("sampan:network",)), ("system:edge:n2", ("sampan:ingress",))
MakeRequest = Callable[..., bytes]
MakeCsr = Callable[..., dict[str, Any]]


def check(csr: dict[str, Any]) -> None:
    nodes.check(csr, requests.read(csr), "n2", OTHERS)


@pytest.mark.parametrize("names", [("n2", "192.0.2.2"), ("192.0.2.2", "127.0.0.1", "2001:db8::2"), ("n2",)])
def test_its_own_name_and_addresses_are_approved(
    request_of: MakeRequest, csr_of: MakeCsr, names: tuple[str, ...]
) -> None:
    check(csr_of(request_of("system:node:n2", ("system:nodes",), names), requests.KUBELET_SERVING, SERVING))


@pytest.mark.parametrize(
    ("common_name", "names", "said"),
    [
        ("system:node:n2", ("192.0.2.3",), "is that of another node or of an API server"),
        ("system:node:n2", ("10.96.0.1",), "is one of Services"),
        ("system:node:n2", ("kubernetes.default.svc",), "is not the node's name"),
        ("system:node:n3", ("n2",), "is another's name"),
        ("system:node:n2", (), "subjectAltName is required"),
        ("n2", ("n2",), "common name does not begin"),
    ],
    ids=["address", "service", "dns", "name", "nothing", "no node"],
)
def test_nobody_elses_name_or_address_is(
    request_of: MakeRequest, csr_of: MakeCsr, common_name: str, names: tuple[str, ...], said: str
) -> None:
    csr = csr_of(request_of(common_name, ("system:nodes",), names), requests.KUBELET_SERVING, SERVING)
    with pytest.raises(nodes.NotItsOwn, match=said):
        check(csr)


@pytest.mark.parametrize("name", ["n2", "n2.example.com", "n2.site.example.com"])
def test_a_node_may_have_a_name_of_the_sites_domain(request_of: MakeRequest, csr_of: MakeCsr, name: str) -> None:
    csr = csr_of(request_of(f"system:node:{name}", ("system:nodes",), (name,)), requests.KUBELET_SERVING, SERVING)
    nodes.check(csr, requests.read(csr), name, OTHERS)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kubernetes", "an API server"),
        ("kubernetes.default", "an API server"),
        ("localhost", "an API server"),
        ("api.example.com", "an API server"),
        ("any.lb.example.com", "an API server"),
        ("kubernetes.default.svc", "one of Services"),
        ("kubernetes.default.svc.site.example.com", "one of Services"),
        ("*.example.com", "no name of a node"),
        ("API.example.com", "no name of a node"),
        ("api.example.com.", "no name of a node"),
    ],
)
def test_a_node_that_is_named_like_an_api_server_or_a_service_gets_no_certificate_of_that_name(
    request_of: MakeRequest, csr_of: MakeCsr, name: str, said: str
) -> None:
    csr = csr_of(request_of(f"system:node:{name}", ("system:nodes",), (name,)), requests.KUBELET_SERVING, SERVING)
    with pytest.raises(nodes.NotItsOwn, match=said):
        nodes.check(csr, requests.read(csr), name, OTHERS)


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("API.example.com.:6443", "api.example.com"),
        ("api.example.com", "api.example.com"),
        ("192.0.2.100:6443", "192.0.2.100"),
        ("[2001:db8:0::1]:6443", "2001:db8::1"),
        ("2001:db8:0::1", "2001:db8::1"),
    ],
)
def test_a_balancers_address_and_further_names_are_the_api_servers(endpoint: str, host: str) -> None:
    settings = {"control_plane_endpoint": endpoint, "cert_sans": "*.b, 192.0.2.7", "api_address": "192.0.2.1"}
    assert nodes.api_server_names(settings) == {host, "*.b", "192.0.2.7", "192.0.2.1"}
    assert nodes.api_server_names({}) == set()


@pytest.mark.parametrize("part", [NETWORK, EDGE], ids=["network", "edge"])
def test_a_nodes_parts_get_their_certificates(
    request_of: MakeRequest, csr_of: MakeCsr, part: tuple[str, tuple[str, ...]]
) -> None:
    check(csr_of(request_of(*part), requests.API_SERVER_CLIENT, CLIENT))


@pytest.mark.parametrize(
    ("subject", "usages"),
    [
        (("system:edge:n3", ("sampan:ingress",)), CLIENT),
        (("system:sampan:network", ("sampan:network", "system:nodes")), CLIENT),
        (("system:sampan:network", ("sampan:ingress",)), CLIENT),
        (("kubernetes-admin", ("kubeadm:cluster-admins",)), CLIENT),
        (("system:node:n2", ("system:nodes",)), CLIENT),
        ((*NETWORK, ("n2",)), CLIENT),
        (NETWORK, SERVING),
        (NETWORK, ["client auth", "cert sign"]),
    ],
    ids=["other node", "more groups", "other groups", "admin", "node", "names", "server", "ca"],
)
def test_a_node_is_given_no_other_identity(
    request_of: MakeRequest, csr_of: MakeCsr, subject: tuple[Any, ...], usages: list[str]
) -> None:
    with pytest.raises(nodes.NotItsOwn):
        check(csr_of(request_of(*subject), requests.API_SERVER_CLIENT, usages))


def test_only_a_node_asks_as_one() -> None:
    def by(user: str, *groups: str) -> str:
        return nodes.asking_node({"spec": {"username": user, "groups": list(groups)}})

    assert by("system:node:n2", "system:nodes", "system:authenticated") == "n2"
    assert by("system:node:n2", "system:authenticated") == ""
    assert by("system:bootstrap:abcdef", "system:bootstrappers", "system:nodes") == ""
    assert nodes.asking_node({"spec": {"username": "system:node:n2", "groups": None}}) == ""


def test_a_node_is_alive_while_it_is_ready() -> None:
    def node(status: str) -> dict[str, Any]:
        return {"status": {"conditions": [{"type": "Ready", "status": status}]}}

    assert [is_alive(each) for each in (node("True"), node("Unknown"), node("False"), {}, None)] == [True] + [False] * 4
