"""Pods and Services spoken to through the API server: by every method, port and form of the address."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from e2e_harness import eventually
from network_scene import HTTP, TLS, Network, port, service

#: answered by the pod; GET and HEAD of the proxy itself are sent on to what stands below it
METHODS = ("DELETE", "OPTIONS", "PATCH", "POST", "PUT")


@pytest.fixture(scope="module", autouse=True)
def proxied(network: Network) -> None:
    network.ready("many-ports")
    ports = (
        port(80, HTTP, name="portname1"), port(81, 8090, name="portname2"),
        port(443, TLS, name="tlsportname1"),
    )  # fmt: skip
    network.create(service("proxied", {"name": "many-ports"}, *ports))
    network.create(service("proxied-alone", {"name": "many-ports"}))
    for name in ("proxied:portname1", "proxied-alone"):  # they have their endpoints a moment later
        eventually(lambda n=name: asked(network, "GET", network.room.path("services", n, "proxy") + "/")[0] == 200)


def asked(network: Network, method: str, path: str) -> tuple[int, str, str]:
    """Status, where it is sent on to, and what is answered, of a request that follows nothing."""
    with closing(network.room.api.connect()) as connection:
        connection.request(method, path, b"{}" if method in ("PATCH", "POST", "PUT") else None)
        with connection.getresponse() as answer:
            return answer.status, answer.headers.get("Location", ""), answer.read().decode()


def collections(network: Network) -> dict[str, str]:
    """Of each kind, where the one pod and the one Service are proxied."""
    return {
        "pod": network.room.path(name=f"many-ports:{HTTP}", subresource="proxy"),
        "service": network.room.path("services", "proxied-alone", "proxy"),
    }


@pytest.mark.parametrize("below", ["", "/some/path/with"])
@pytest.mark.parametrize("kind", ["pod", "service"])
def test_every_method_reaches_the_pod(network: Network, kind: str, below: str) -> None:
    """Proxy version v1 A set of valid responses are returned for both pod and service Proxy; Proxy version v1 A set of
    valid responses are returned for both pod and service ProxyWithPath"""
    root = collections(network)[kind]
    for method in METHODS:
        path = f"{below}/{method}" if below else ""
        status, _, said = asked(network, method, f"{root}{path}?method={method}")
        expected = {"host": "many-ports", "method": method, "target": f"{path or '/'}?method={method}"}
        assert status == 200 and expected.items() <= json.loads(said).items()
    for method in ("GET", "HEAD"):
        path = f"{below}/{method}"
        status, _, said = asked(network, method, f"{root}{path if below else '/'}?method={method}")
        assert status == 200
        assert method == "HEAD" or json.loads(said)["method"] == method
        if not below:
            assert asked(network, method, f"{root}?method={method}")[:2] == (301, f"{root}/?method={method}")


def test_ports_are_known_by_name_and_number_with_and_without_tls(network: Network) -> None:
    """Proxy version v1 should proxy through a service and a pod"""
    services = {
        "proxied:portname1": HTTP, "proxied:80": HTTP, "http:proxied:portname1": HTTP, "http:proxied:80": HTTP,
        "proxied:portname2": 8090, "proxied:81": 8090, "http:proxied:portname2": 8090, "http:proxied:81": 8090,
        "https:proxied:tlsportname1": TLS, "https:proxied:443": TLS,
    }  # fmt: skip
    pods = {
        f"many-ports:{HTTP}": HTTP, "many-ports:8090": 8090, f"http:many-ports:{HTTP}": HTTP,
        "http:many-ports:8090": 8090, f"https:many-ports:{TLS}": TLS,
    }  # fmt: skip
    for plural, names in (("services", services), ("pods", pods)):
        for name, number in names.items():
            path = network.room.path(plural, name, "proxy")
            status, _, said = asked(network, "GET", f"{path}/hostname")
            found = json.loads(said)
            assert (name, status, found["host"], found["port"]) == (name, 200, "many-ports", number)
