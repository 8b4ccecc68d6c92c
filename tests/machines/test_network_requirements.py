"""What upstream requires of a network of nodes: packets between pods of several, and Services on the ports of all."""

from __future__ import annotations

import http.client
import itertools
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import websocket
from machines_lab import Machine, Machines
from network_scene import HTTP, UDP, WEB, Network, port, server, service, waiting
from requirement_room import LIMIT_SECONDS, Obj, RequirementApi, open_room

#: pods that ask, one a node
CLIENTS = {"client": "m1", "other-client": "m2"}
#: the same of the nodes' own networks
ON_NODES = {"on-m1": "m1", "on-m2": "m2"}
OUTSIDE = "foo.example.com"


class InsideApi(RequirementApi):
    """The API server, spoken to within the network of a machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        super().__init__(machine.kubeconfig)

    def _socket(self, *arguments: Any, **named: Any) -> socket.socket:
        with self._machine.inside():
            return socket.create_connection(*arguments, **named)

    def connect(self, timeout: float = LIMIT_SECONDS) -> http.client.HTTPSConnection:
        made = super().connect(timeout)
        made._create_connection = self._socket  # type: ignore[attr-defined]  # there is no other way
        return made

    def dial(self, path: str, protocol: str) -> websocket.WebSocket:
        host = self.server.hostname or ""
        opened = self.tls.wrap_socket(self._socket((host, self.server.port), LIMIT_SECONDS), server_hostname=host)
        url = f"wss://{self.server.netloc}{path}"
        made: websocket.WebSocket = websocket.create_connection(
            url, LIMIT_SECONDS, subprotocols=[protocol], socket=opened
        )
        return made


def objects() -> list[Obj]:
    web = dict(zip(WEB, itertools.cycle(("m1", "m2")), strict=False))
    return [
        *(server(name, nodeName=node) for name, node in CLIENTS.items()),
        *(server(name, labels={"app": "web"}, nodeName=node) for name, node in web.items()),
        *(waiting(name, hostNetwork=True, nodeName=node) for name, node in ON_NODES.items()),
        service("web", {"app": "web"}),
    ]


@pytest.fixture(scope="module")
def network(machines: Machines) -> Iterator[Network]:
    def speak(kubeconfig: Path) -> RequirementApi:
        return InsideApi(machines.cluster)

    with open_room(machines.cluster, speak) as room:
        for made in objects():
            room.create(made)
        network = Network(room)
        network.ready(*CLIENTS, *WEB, *ON_NODES)
        yield network


def test_two_nodes_take_pods(network: Network) -> None:
    """Conformance Tests should have at least two untainted nodes"""
    nodes = network.room.api("GET", "/api/v1/nodes")["items"]
    assert len([each for each in nodes if not each["spec"].get("taints")]) >= 2


@pytest.mark.parametrize(("protocol", "number"), [("http", HTTP), ("udp", UDP)])
def test_a_pod_reaches_every_pod(network: Network, protocol: str, number: int) -> None:
    """Networking Granular Checks: Pods should function for intra-pod communication: http [NodeConformance]; Networking
    Granular Checks: Pods should function for intra-pod communication: udp [NodeConformance]"""
    pods = (*CLIENTS, *WEB)
    for asking, asked in itertools.product(pods, pods):
        assert network.ask(asking, network.address(asked), number, protocol=protocol) == [asked]


def test_a_pod_sees_who_asks(network: Network) -> None:
    """No address is put in the place of another between pods."""
    for asking, asked in itertools.product(CLIENTS, WEB):
        found = network.says(asking, "/ask", protocol="from", host=network.address(asked), port=HTTP)
        assert found == [network.address(asking)]


def test_what_leaves_the_cluster_leaves_as_its_node(machines: Machines, network: Network) -> None:
    with machines.outside.inside():
        listening = socket.create_server((machines.outside.ipv4, 0))
    with listening:
        listening.settimeout(LIMIT_SECONDS)
        for number, client in enumerate(CLIENTS, start=1):
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(network.ask, client, machines.outside.ipv4, listening.getsockname()[1])
                connection, (source, _) = listening.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"host": "outside"}')
                assert asked.result() == ["outside"]
            assert source == machines[number].ipv4


@pytest.mark.parametrize(("protocol", "number"), [("http", HTTP), ("udp", UDP)])
def test_a_node_reaches_every_pod(network: Network, protocol: str, number: int) -> None:
    """Networking Granular Checks: Pods should function for node-pod communication: http [LinuxOnly] [NodeConformance];
    Networking Granular Checks: Pods should function for node-pod communication: udp [LinuxOnly] [NodeConformance]"""
    for asking, asked in itertools.product(ON_NODES, WEB):
        assert network.ask_by_exec(asking, network.address(asked), number, protocol=protocol) == [asked]


def test_a_node_port_answers_on_every_node(machines: Machines, network: Network) -> None:
    """Services should be able to create a functioning NodePort service"""
    network.create(service("node-port", {"app": "web"}, type="NodePort"))
    network.reachable("node-port", tuple(CLIENTS))
    number = network.service("node-port")["ports"][0]["nodePort"]
    for machine in machines.each:  # from outside of the cluster too
        answer = machines.outside.run("busybox", "wget", "-qO-", f"http://{machine.ipv4}:{number}/")
        assert '"host": "web-' in answer.stdout


def test_an_external_name_becomes_a_node_port(network: Network) -> None:
    """Services should be able to change the type from ExternalName to NodePort"""
    made = network.create(service("name-to-port", type="ExternalName", externalName=OUTSIDE))
    assert "clusterIP" not in made["spec"]
    network.change("name-to-port", type="NodePort", externalName=None, selector={"app": "web"})
    assert network.service("name-to-port")["ports"][0]["nodePort"]
    network.reachable("name-to-port", tuple(CLIENTS))


def test_a_node_port_becomes_an_external_name_and_the_port_is_the_next_ones(network: Network) -> None:
    """Services should be able to change the type from NodePort to ExternalName"""
    made = network.create(service("port-to-name", {"app": "web"}, type="NodePort"))
    network.reachable("port-to-name")
    web = f"web.{network.room.namespace}.svc.cluster.local"
    after = network.change("port-to-name", type="ExternalName", externalName=web)
    assert "clusterIP" not in after and "nodePort" not in after["ports"][0]
    network.is_alias("port-to-name", web)
    network.resolves("client", "port-to-name", [network.service("web")["clusterIP"]])
    number = made["spec"]["ports"][0]["nodePort"]
    following = network.create(service("next-of-the-port", {"app": "web"}, port(nodePort=number), type="NodePort"))
    assert following["spec"]["ports"][0]["nodePort"] == number


def test_a_client_stays_with_a_pod_on_every_nodes_port(network: Network) -> None:
    """Services should have session affinity work for NodePort service [LinuxOnly]; Services should be able to switch
    session affinity for NodePort service [LinuxOnly]"""
    clients = tuple(CLIENTS)
    network.create(service("affinity", {"app": "web"}, type="NodePort", sessionAffinity="ClientIP"))
    network.stays("affinity", clients)
    network.change("affinity", sessionAffinity="None")
    network.reachable("affinity", clients)
    network.change("affinity", sessionAffinity="ClientIP")
    network.stays("affinity", clients)
