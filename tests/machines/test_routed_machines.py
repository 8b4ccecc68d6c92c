"""Machines in networks of their own, with a router between them that lets no address of a pod through.

What holds for two nodes of one network has to hold here: packets of pods go by tunnels. ``SAMPAN_POD_NETWORK`` has
another back end carry them (``vxlan``, ``wireguard``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from e2e_harness import Kubectl, eventually
from e2e_manifests import pod
from machines_lab import ROUTED, Machines, pods_run, reaches, running, skip_where_there_can_be_none

BACKEND = os.environ.get("SAMPAN_POD_NETWORK", "auto")
SERVE = (
    "mkdir -p /www; hostname > /www/index.html; head -c 3000000 /dev/zero > /www/large; "
    "exec httpd -f -v -p 8080 -h /www"
)

SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: one-of-node}
spec:
  {type: NodePort, ipFamilyPolicy: RequireDualStack, selector: {app: one}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: two}, ports: [{port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: two-local}
spec:
  {type: NodePort, externalTrafficPolicy: Local, selector: {app: two}, ports: [{port: 80, targetPort: 8080}]}
"""

ONLY_ONE = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-one}
spec:
  podSelector: {matchLabels: {app: two}}
  ingress: [{from: [{podSelector: {matchLabels: {app: one}}}]}]
"""


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    skip_where_there_can_be_none()
    made = Machines(tmp_path_factory.mktemp("routed"), kind=ROUTED, routed=True)
    with running(made, "dual", "--pod-network-backend", BACKEND) as up:
        yield up


@pytest.fixture(scope="module")
def pods(apart: Machines) -> Iterator[Kubectl]:
    """Pods ``one`` and ``third`` on m1, ``two`` on m2."""
    kubectl = apart.cluster.kubectl("apart")
    kubectl("create", "namespace", "apart")
    places = {"one": "m1", "two": "m2", "third": "m1"}
    manifests = [pod(name, SERVE, f"nodeName: {node}") for name, node in places.items()]
    kubectl("apply", "-f", "-", stdin="\n---\n".join([*manifests, SERVICES]))
    pods_run(kubectl, list(places))
    yield kubectl


def addresses(kubectl: Kubectl, name: str) -> list[str]:
    return [
        f"[{each['ip']}]" if ":" in each["ip"] else each["ip"]
        for each in kubectl.json("get", "pod", name)["status"]["podIPs"]
    ]


def test_pods_reach_each_other_with_their_own_addresses(pods: Kubectl) -> None:
    for source, target in (("one", "two"), ("two", "one")):
        for host in addresses(pods, target):
            assert reaches(pods, source, f"http://{host}:8080") == f"{target}\n"
    one = addresses(pods, "one")[0]
    assert eventually(lambda: re.search(rf"{re.escape(one)}\]?:\d+", pods("logs", "two")))


def test_large_answers_come_whole_whatever_fits_into_a_packet(pods: Kubectl) -> None:
    for host in addresses(pods, "two"):
        got = pods("exec", "one", "--", "sh", "-c", f"wget -qO- http://{host}:8080/large | wc -c")
        assert got.strip() == "3000000"


def test_names_and_services_lead_across(apart: Machines, pods: Kubectl) -> None:
    assert reaches(pods, "two", "http://one-of-node") == "one\n"
    assert reaches(pods, "one", "http://headless:8080") == "two\n"
    for ip in pods.json("get", "service", "one-of-node")["spec"]["clusterIPs"]:
        host = f"[{ip}]" if ":" in ip else ip
        assert reaches(pods, "two", f"http://{host}") == "one\n"
        # the node itself too, whose own address no pod's answer could be sent to
        assert apart[2].run("busybox", "wget", "-qO-", f"http://{host}").stdout == "one\n"


def test_nodes_reach_pods_of_other_nodes(apart: Machines, pods: Kubectl) -> None:
    for host in addresses(pods, "two"):
        assert apart[1].run("busybox", "wget", "-qO-", f"http://{host}:8080").stdout == "two\n"
    assert pods("exec", "two", "--", "hostname") == "two\n"


def test_node_ports_of_every_node_lead_to_the_pod(apart: Machines, pods: Kubectl) -> None:
    port = pods.json("get", "service", "one-of-node")["spec"]["ports"][0]["nodePort"]
    for machine in apart.each:
        for host in (machine.ipv4, f"[{machine.ipv6}]"):
            got = apart.outside.run("busybox", "wget", "-qO-", f"http://{host}:{port}").stdout
            assert got == "one\n", host


def test_with_local_policy_the_pods_node_alone_answers_and_shows_who_asks(apart: Machines, pods: Kubectl) -> None:
    port = pods.json("get", "service", "two-local")["spec"]["ports"][0]["nodePort"]
    refused = apart.outside.run(
        "busybox", "timeout", "2", "busybox", "wget", "-qO-", f"http://{apart[1].ipv4}:{port}", check=False
    )
    assert refused.stdout == ""
    assert apart.outside.run("busybox", "wget", "-qO-", f"http://{apart[2].ipv4}:{port}").stdout == "two\n"
    asker = apart[2].gateways[0]
    assert eventually(lambda: f"{asker}:" in pods("logs", "two").replace("]", ""))


def test_policies_see_pods_of_other_nodes_by_their_labels(pods: Kubectl) -> None:
    pods("apply", "-f", "-", stdin=ONLY_ONE)
    host = addresses(pods, "two")[0]

    def got(source: str) -> str:
        return pods.run("exec", source, "--", "timeout", "2", "wget", "-qO-", f"http://{host}:8080", check=False).stdout

    try:
        assert eventually(lambda: got("third") == "")
        assert reaches(pods, "one", f"http://{host}:8080") == "two\n"
    finally:
        pods("delete", "networkpolicy", "only-one")
    assert reaches(pods, "third", f"http://{host}:8080") == "two\n"
