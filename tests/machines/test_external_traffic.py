"""What comes from outside to Services of two nodes: policy Local, and an address that changes its node."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from e2e_harness import Kubectl, eventually
from e2e_manifests import pod
from machines_lab import Machine, Machines, pods_run, reaches

SERVE = "mkdir -p /www; hostname > /www/index.html; exec httpd -f -v -p 8080 -h /www"
#: of the machines' network, and nobody's
TAKEN_OVER = "192.0.2.200"
LOCAL = """
apiVersion: v1
kind: Service
metadata: {name: local}
spec:
  {type: LoadBalancer, externalTrafficPolicy: Local, selector: {role: local}, ports: [{port: 8765, targetPort: 8080}]}
"""
ANNOUNCED = """
apiVersion: v1
kind: Service
metadata: {name: announced}
spec:
  {type: LoadBalancer, loadBalancerClass: sampan.io/l2, allocateLoadBalancerNodePorts: false, selector: {role: local},
   ports: [{port: 8766, targetPort: 8080}]}
"""
ANNOUNCED_BY = "loadbalancer.sampan.io/announced-by"


@pytest.fixture
def pods(machines: Machines, kubectl: Kubectl) -> Iterator[Kubectl]:
    """``on-m1`` and ``on-m2``, of which none is selected yet."""
    manifests = [pod(f"on-{machine.node_name}", SERVE, f"nodeName: {machine.node_name}") for machine in machines.each]
    kubectl("apply", "-f", "-", stdin="\n---\n".join(manifests))
    pods_run(kubectl, ["on-m1", "on-m2"])
    yield kubectl


def got(asking: Machine, url: str) -> str:
    return asking.run("busybox", "timeout", "2", "busybox", "wget", "-qO-", url, check=False).stdout


def health(asking: Machine, asked: Machine, port: int) -> str:
    """What the node says of a Service's endpoints, the head of the answer among it."""
    done = asking.run("busybox", "wget", "-S", "-qO-", f"http://{asked.ipv4}:{port}/healthz", check=False)
    return done.stdout + done.stderr


def test_with_policy_local_only_nodes_with_endpoints_answer_and_those_see_who_asks(
    machines: Machines, pods: Kubectl
) -> None:
    """Services should implement externalTrafficPolicy Local: the source stays, and the health check of each node says
    whether it has endpoints; it goes where the pods go."""
    pods("apply", "-f", "-", stdin=LOCAL)
    pods("label", "pod", "on-m2", "role=local")
    spec = pods.json("get", "service", "local")["spec"]
    port, checked = spec["ports"][0]["nodePort"], spec["healthCheckNodePort"]
    first, second, outside = machines[1], machines[2], machines.outside

    def is_local_to(near: Machine, far: Machine) -> bool:
        return (
            got(outside, f"http://{near.ipv4}:{port}") == f"on-{near.node_name}\n"
            and got(outside, f"http://{far.ipv4}:{port}") == ""
            and '"localEndpoints":1' in health(outside, near, checked).replace(" ", "")
            and "503" in health(outside, far, checked)
        )

    eventually(lambda: is_local_to(second, first))
    assert eventually(lambda: re.search(rf"{re.escape(outside.ipv4)}\]?:\d+", pods("logs", "on-m2")))
    # Pods of either node are not from outside: they reach it by any node's port of the LoadBalancer.
    cluster_ip = spec["clusterIP"]
    assert reaches(pods, "on-m1", f"http://{cluster_ip}:8765") == "on-m2\n"
    # Only the node that has the pod is among the LoadBalancer's addresses.
    eventually(
        lambda: (
            [each["ip"] for each in pods.json("get", "service", "local")["status"]["loadBalancer"]["ingress"]]
            == [second.ipv4]
        )
    )
    pods("label", "pod", "on-m1", "role=local")
    pods("label", "pod", "on-m2", "role-")
    eventually(lambda: is_local_to(first, second))


def test_an_announced_address_is_taken_over_from_a_node_that_is_cut_off(machines: Machines, pods: Kubectl) -> None:
    """The node's cable is pulled. That it is not Ready says the test, as the node controller does after 50 s."""
    admin = machines.cluster.kubectl("kube-system")
    first, second, outside = machines[1], machines[2], machines.outside
    admin("create", "configmap", "sampan-loadbalancer", f"--from-literal=machines={TAKEN_OVER}")
    try:
        pods("label", "pod", "on-m1", "on-m2", "role=local")
        # Both have endpoints; which announces is the controller's choice, so m1 is kept from it at first.
        admin("label", "node", "m1", "node.kubernetes.io/exclude-from-external-load-balancers=")
        pods("apply", "-f", "-", stdin=ANNOUNCED)
        eventually(lambda: announcer(pods) == "m2")
        eventually(lambda: got(outside, f"http://{TAKEN_OVER}:8766") != "")
        assert hardware(outside) == interface(second)
        admin("label", "node", "m1", "node.kubernetes.io/exclude-from-external-load-balancers-")
        outside.run("ip", "link", "set", "m2", "down")
        pods("label", "pod", "on-m2", "role-")
        eventually(lambda: silence(admin))
        eventually(lambda: announcer(pods) == "m1")
        eventually(lambda: got(outside, f"http://{TAKEN_OVER}:8766") == "on-m1\n")
        assert hardware(outside) == interface(first)
        # Back again, the other hears whose the address is now, and lets it be.
        outside.run("ip", "link", "set", "m2", "up")
        admin("wait", "node/m2", "--for=condition=Ready", "--timeout=90s")
        assert got(outside, f"http://{TAKEN_OVER}:8766") == "on-m1\n" and hardware(outside) == interface(first)
    finally:
        outside.run("ip", "link", "set", "m2", "up")
        admin.run("label", "node", "m1", "node.kubernetes.io/exclude-from-external-load-balancers-", check=False)
        pods("delete", "service", "announced", "--ignore-not-found")
        admin("delete", "configmap", "sampan-loadbalancer", "--ignore-not-found")
        admin("wait", "node/m2", "--for=condition=Ready", "--timeout=90s")


def announcer(kubectl: Kubectl) -> str:
    annotations = kubectl.json("get", "service", "announced")["metadata"].get("annotations", {})
    return str(annotations.get(ANNOUNCED_BY, ""))


def silence(admin: Kubectl) -> bool:
    """The node is no more Ready: said by whoever was first."""
    condition = '{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "cut off"}'
    admin.run(
        "patch",
        "node",
        "m2",
        "--subresource=status",
        "-p",
        f'{{"status": {{"conditions": [{condition}]}}}}',
        check=False,
    )
    ready = [each for each in admin.json("get", "node", "m2")["status"]["conditions"] if each["type"] == "Ready"]
    return bool(ready[0]["status"] == "Unknown")


def hardware(outside: Machine) -> str:
    """Whose machine answers for the address, as the network has it."""
    found = re.search(r"lladdr (\S+)", outside.run("ip", "neigh", "show", TAKEN_OVER).stdout)
    return found[1] if found else ""


def interface(machine: Machine) -> str:
    found = re.search(r"link/ether (\S+)", machine.run("ip", "link", "show", "eth0").stdout)
    return found[1] if found else "none"
