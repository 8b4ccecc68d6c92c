"""Services of type LoadBalancer without a cloud, reached from a machine beside the cluster (a network namespace)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from e2e_harness import Kubectl, eventually
from e2e_manifests import web

OUTSIDE = f"se2e-lb{os.getpid() % 100000}"
#: TEST-NET-3: the cluster's machine is the first, the other the second
HERE, THERE, POOL = "203.0.113.129", "203.0.113.130", "203.0.113.140-203.0.113.142"
ASK = """
import sys, urllib.request
print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=2).read().decode())
"""


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    """A machine beside this one, with nothing but the link between the two and a default route over it."""
    link = f"lb{os.getpid() % 100000}"
    lines = [
        f"link add {link} type veth peer name eth0 netns {OUTSIDE}",
        f"addr add {HERE}/28 dev {link}",
        f"link set {link} up",
    ]
    inside = [f"addr add {THERE}/28 dev eth0", "link set eth0 up", f"route add default via {HERE}"]
    try:
        subprocess.run(["ip", "netns", "add", OUTSIDE], check=True)
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
        subprocess.run(["ip", "-n", OUTSIDE, "-batch", "-"], input="\n".join(inside), text=True, check=True)
        yield OUTSIDE
    finally:
        subprocess.run(["ip", "netns", "delete", OUTSIDE], check=False)


def answers(outside: str, address: str, port: int) -> bool:
    command = ["ip", "netns", "exec", outside, sys.executable, "-c", ASK, f"http://{address}:{port}/"]
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


def address_of(kubectl: Kubectl, name: str) -> str:
    return kubectl("get", "service", name, "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")


def test_an_exposed_deployment_answers_at_the_nodes_own_address_and_at_one_of_a_pool(
    kubectl: Kubectl, outside: str
) -> None:
    """NW8: the nodes' own addresses; a pool that one node announces by ARP; and nothing of it once they are gone."""
    admin = Kubectl(kubectl.program, kubectl.cluster, "kube-system")
    kubectl("apply", "-f", "-", stdin=web(replicas=1))
    with contextlib.ExitStack() as undo:
        undo.callback(kubectl.run, "delete", "service", "near", "far", "--ignore-not-found", check=False)
        kubectl(
            "expose",
            "deployment",
            "web",
            "--name",
            "near",
            "--type",
            "LoadBalancer",
            "--port",
            "8899",
            "--target-port",
            "8080",
        )
        node = kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[0].address}")
        eventually(lambda: address_of(kubectl, "near") == node)
        kubectl("rollout", "status", "deployment", "web")
        eventually(lambda: answers(outside, node, 8899))
        assert node in kubectl("get", "service", "near")

        undo.callback(admin.run, "delete", "configmap", "sampan-loadbalancer", "--ignore-not-found", check=False)
        admin("create", "configmap", "sampan-loadbalancer", f"--from-literal=test={POOL}")
        far = '{"spec": {"loadBalancerClass": "sampan.io/l2", "allocateLoadBalancerNodePorts": false}}'
        kubectl(
            "expose",
            "deployment",
            "web",
            "--name",
            "far",
            "--type",
            "LoadBalancer",
            "--port",
            "80",
            "--target-port",
            "8080",
            "--overrides",
            far,
        )
        eventually(lambda: address_of(kubectl, "far") == "203.0.113.140")
        eventually(lambda: answers(outside, "203.0.113.140", 80))
        eventually(lambda: "announces 203.0.113.140" in kubectl("describe", "service", "far"))
        host_ports = kubectl(
            "get", "nodes", "-o", r"jsonpath={.items[0].metadata.annotations.loadbalancer\.sampan\.io/host-ports}"
        )
        assert "TCP/" in host_ports  # the API server's at least
    assert kubectl("get", "services", "-o", "name").strip() == "service/web"
