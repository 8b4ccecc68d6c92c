"""Pods, Services and the node's API across machines.

Requirements shown here: "Networking: Granular Checks: Pods should function for intra-pod communication" and "should
function for node-pod communication", between nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from e2e_harness import Kubectl, eventually
from e2e_manifests import pod
from machines_lab import Machines, pods_run, reaches

SERVE = "mkdir -p /www; hostname > /www/index.html; exec httpd -f -v -p 8080 -h /www"


def service(name: str, node_port: bool = False) -> str:
    kind = "NodePort" if node_port else "ClusterIP"
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{type: {kind}, selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""


@pytest.fixture
def pair(machines: Machines, kubectl: Kubectl) -> Iterator[Kubectl]:
    """Pods ``one`` on m1 and ``two`` on m2 that serve their names, with a Service each."""
    manifests = [pod("one", SERVE, "nodeName: m1"), pod("two", SERVE, "nodeName: m2")]
    kubectl("apply", "-f", "-", stdin="\n---\n".join([*manifests, service("one", node_port=True), service("two")]))
    pods_run(kubectl, ["one", "two"])
    yield kubectl


def address(kubectl: Kubectl, name: str) -> str:
    return str(kubectl.json("get", "pod", name)["status"]["podIP"])


def test_both_machines_are_nodes_with_ranges_of_their_own(machines: Machines) -> None:
    nodes = machines.cluster.kubectl().json("get", "nodes")["items"]
    assert [node["metadata"]["name"] for node in nodes] == ["m1", "m2"]
    assert len({node["spec"]["podCIDR"] for node in nodes}) == 2
    assert {"type": "InternalIP", "address": machines[2].ipv4} in nodes[1]["status"]["addresses"]


def test_pods_of_two_nodes_reach_each_other_with_their_own_addresses(machines: Machines, pair: Kubectl) -> None:
    one, two = address(pair, "one"), address(pair, "two")
    assert reaches(pair, "one", f"http://{two}:8080") == "two\n"
    assert reaches(pair, "two", f"http://{one}:8080") == "one\n"
    # The other end sees the pod itself: nothing on the way puts another address in its place.
    assert eventually(lambda: re.search(rf"{one}\]?:\d+", pair("logs", "two")))


def test_a_service_is_reached_by_name_from_pods_of_every_node(machines: Machines, pair: Kubectl) -> None:
    assert reaches(pair, "two", "http://one") == "one\n"
    assert reaches(pair, "one", "http://two") == "two\n"
    # Its own too; the bare name is the pod's host name and leads to the pod itself.
    assert reaches(pair, "two", f"http://two.{pair.namespace}") == "two\n"


def test_nodes_reach_pods_of_other_nodes_and_their_services(machines: Machines, pair: Kubectl) -> None:
    cluster_ip = pair.json("get", "service", "one")["spec"]["clusterIP"]
    for target in (f"{address(pair, 'one')}:8080", cluster_ip):
        assert machines[2].run("busybox", "wget", "-qO-", f"http://{target}").stdout == "one\n"


def test_a_node_port_of_every_node_leads_to_the_pod_from_outside(machines: Machines, pair: Kubectl) -> None:
    port = pair.json("get", "service", "one")["spec"]["ports"][0]["nodePort"]
    for machine in machines.each:
        got = machines.outside.run("busybox", "wget", "-qO-", f"http://{machine.ipv4}:{port}").stdout
        assert got == "one\n", machine.node_name


def test_kubectl_works_on_pods_of_the_other_node(machines: Machines, pair: Kubectl) -> None:
    pair("exec", "two", "--", "sh", "-c", "echo told > /proc/1/fd/1")
    assert eventually(lambda: "told\n" in pair("logs", "two"))
    assert pair("exec", "two", "--", "hostname") == "two\n"
    forward = pair.popen("port-forward", "pod/two", ":8080")
    try:
        assert forward.stdout is not None
        local = re.search(r"127\.0\.0\.1:(\d+) ->", forward.stdout.readline())
        assert local is not None
        assert machines.cluster.run("busybox", "wget", "-qO-", f"http://127.0.0.1:{local[1]}").stdout == "two\n"
    finally:
        forward.terminate()
        forward.communicate()
