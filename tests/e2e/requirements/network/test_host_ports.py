"""Ports that are shared: those of a pod by its containers, those of a node by its pods."""

from __future__ import annotations

import random

from network_scene import HTTP, UDP, Network, server
from requirement_room import Obj

from sampan.cluster.choosing import is_free


def test_containers_of_a_pod_reach_each_other_by_localhost(network: Network) -> None:
    network.ready("client")
    for host in ("localhost", "127.0.0.1"):
        assert network.ask_by_exec("client", host, HTTP, container="beside") == ["client"]


def free_port(network: Network) -> int:
    """Of the node: nothing listens on it, and no Service has it."""
    services = network.room.api("GET", "/api/v1/services")["items"]
    taken = {port.get("nodePort") for each in services for port in each["spec"].get("ports", ())}
    ports = random.sample(range(12000, 30000), 1000)
    return next(port for port in ports if port not in taken and is_free(port))


def test_pods_share_a_port_of_the_node_when_address_or_protocol_differ(network: Network) -> None:
    """HostPort validates that there is no conflict between pods with same hostPort but different hostIP and protocol
    [LinuxOnly]"""
    number = free_port(network)
    node = network.room.ready("on-node")
    address, name = node["status"]["hostIP"], node["spec"]["nodeName"]
    cases = {
        "host-port-0": ("127.0.0.1", "http", "TCP"),
        "host-port-1": (address, "http", "TCP"),
        "host-port-2": (address, "udp", "UDP"),
    }
    for pod, (host, _, protocol) in cases.items():
        made: Obj = server(pod, nodeName=name)
        target = UDP if protocol == "UDP" else HTTP
        made["spec"]["containers"][0]["ports"] = [
            {"containerPort": target, "hostPort": number, "hostIP": host, "protocol": protocol}
        ]
        network.create(made)
    for pod, (host, protocol, _) in cases.items():
        network.ready(pod)
        assert network.ask_by_exec("on-node", host, number, protocol=protocol) == [pod]
    # From a pod the node's address leads there too.
    network.ready("client")
    assert network.ask("client", address, number) == ["host-port-1"]
