"""Both families at once, between two machines: pods, Services, node ports, DNS, and what pods are told of themselves.

Requirements: upstream's "[sig-network] [Feature:IPv6DualStack]" tests "should have ipv4 and ipv6 internal node ip",
"should create pod, add ipv6 and ipv4 ip to pod ips", "should create service with ipv4,v6 cluster ip" and the functional
ones for pod-Service, node-Service and endpoint-Service.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from e2e_harness import Kubectl
from e2e_manifests import pod
from machines_lab import Machines, pods_run, reaches

SERVE = "mkdir -p /www; echo $IPS > /www/index.html; exec httpd -f -p 8080 -h /www"
TOLD = """
env:
  - {name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
  - {name: HOSTS, valueFrom: {fieldRef: {fieldPath: status.hostIPs}}}
"""


def service(name: str, *, kind: str = "ClusterIP", policy: str = "SingleStack", families: str = "[IPv4]") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  {{type: {kind}, ipFamilyPolicy: {policy}, ipFamilies: {families}, selector: {{app: one}},
    ports: [{{port: 80, targetPort: 8080}}]}}
"""


@pytest.fixture(scope="module")
def pair(machines: Machines) -> Iterator[Kubectl]:
    """Pods ``one`` on m1 and ``two`` on m2; ``one`` has a Service of each policy."""
    kubectl = machines.cluster.kubectl("dual")
    kubectl("create", "namespace", "dual")
    manifests = [
        pod("one", SERVE, "nodeName: m1", TOLD),
        pod("two", SERVE, "nodeName: m2", TOLD),
        service("four"),
        service("six", kind="NodePort", families="[IPv6]"),
        service("both", kind="NodePort", policy="RequireDualStack", families="[IPv6, IPv4]"),
    ]
    kubectl("apply", "-f", "-", stdin="\n---\n".join(manifests))
    pods_run(kubectl, ["one", "two"])
    yield kubectl
    kubectl.run("delete", "namespace", "dual", "--wait=false", check=False)


def addresses(kubectl: Kubectl, name: str) -> list[str]:
    return [each["ip"] for each in kubectl.json("get", "pod", name)["status"]["podIPs"]]


def test_nodes_have_addresses_and_ranges_of_both_families(machines: Machines) -> None:
    for machine, node in zip(machines.each, machines.cluster.kubectl().json("get", "nodes")["items"], strict=True):
        internal = [each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"]
        assert internal == [machine.ipv4, machine.ipv6]
        assert [":" in cidr for cidr in node["spec"]["podCIDRs"]] == [False, True]


def test_pods_have_addresses_of_both_families_and_are_told_them(machines: Machines, pair: Kubectl) -> None:
    found = addresses(pair, "one")
    assert [":" in each for each in found] == [False, True]
    assert pair.json("get", "pod", "one")["status"]["podIP"] == found[0]
    told = pair("exec", "one", "--", "sh", "-c", "echo $IPS $HOSTS").split()
    assert told == [",".join(found), f"{machines[1].ipv4},{machines[1].ipv6}"]


def test_pods_of_two_nodes_reach_each_other_by_both_families(machines: Machines, pair: Kubectl) -> None:
    for source, target in (("one", "two"), ("two", "one")):
        v4, v6 = addresses(pair, target)
        for host in (v4, f"[{v6}]"):
            assert reaches(pair, source, f"http://{host}:8080").strip() == f"{v4},{v6}"


def test_services_of_each_policy_are_reached_from_pods_of_both_nodes(machines: Machines, pair: Kubectl) -> None:
    wanted = ",".join(addresses(pair, "one"))
    for name, families in (("four", [False]), ("six", [True]), ("both", [True, False])):
        ips = pair.json("get", "service", name)["spec"]["clusterIPs"]
        assert [":" in ip for ip in ips] == families
        for source in ("one", "two"):
            assert reaches(pair, source, f"http://{name}.dual").strip() == wanted
            for ip in ips:
                host = f"[{ip}]" if ":" in ip else ip
                assert reaches(pair, source, f"http://{host}").strip() == wanted


def test_endpoint_slices_are_of_each_family_of_the_service(pair: Kubectl) -> None:
    slices = pair.json("get", "endpointslices", "-l", "kubernetes.io/service-name=both")["items"]
    found = {each["addressType"]: each["endpoints"][0]["addresses"] for each in slices}
    v4, v6 = addresses(pair, "one")
    assert found == {"IPv4": [v4], "IPv6": [v6]}


def test_node_ports_answer_on_every_node_in_the_families_of_the_service(machines: Machines, pair: Kubectl) -> None:
    wanted = ",".join(addresses(pair, "one"))
    for name, hosts in (("six", ["[{0.ipv6}]"]), ("both", ["[{0.ipv6}]", "{0.ipv4}"])):
        port = pair.json("get", "service", name)["spec"]["ports"][0]["nodePort"]
        for machine in machines.each:
            for host in hosts:
                url = f"http://{host.format(machine)}:{port}"
                assert machines.outside.run("busybox", "wget", "-qO-", url).stdout.strip() == wanted, url


def test_nodes_reach_services_and_the_api_server_by_both_families(machines: Machines, pair: Kubectl) -> None:
    for ip in pair.json("get", "service", "both")["spec"]["clusterIPs"]:
        host = f"[{ip}]" if ":" in ip else ip
        assert machines[2].run("busybox", "wget", "-qO-", f"http://{host}").stdout.strip()
    for host in (machines[1].ipv4, f"[{machines[1].ipv6}]"):
        config = ("--kubeconfig", str(machines.cluster.kubeconfig))
        port = machines.cluster.kubectl()("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
        done = machines[2].run(
            "kubectl", *config, "--server", f"https://{host}:{port.rpartition(':')[2]}", "get", "--raw", "/readyz"
        )
        assert done.stdout == "ok"


def test_the_dns_server_answers_at_both_of_its_addresses(machines: Machines, pair: Kubectl) -> None:
    servers = machines.cluster.kubectl("kube-system").json("get", "service", "kube-dns")["spec"]["clusterIPs"]
    assert [":" in server for server in servers] == [False, True]
    ips = pair.json("get", "service", "both")["spec"]["clusterIPs"]
    for server in servers:
        said = pair("exec", "two", "--", "nslookup", "both.dual.svc.cluster.local", server)
        assert all(f"Address: {ip}" in said for ip in ips), said
    written = pair("exec", "two", "--", "cat", "/etc/resolv.conf")
    assert all(f"nameserver {server}\n" in written for server in servers)


def test_pods_are_masqueraded_to_the_world_outside(machines: Machines, pair: Kubectl) -> None:
    """Outside nobody knows the way back to a pod: it shows itself with its node's address of that family."""
    with machines.outside.inside():
        server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    server.settimeout(60)
    seen = []
    with server:
        for host in (machines.outside.ipv4, machines.outside.ipv6):
            client = pair.popen("exec", "one", "--", "nc", host, str(server.getsockname()[1]))
            try:
                accepted, peer = server.accept()
                accepted.close()
                seen.append(peer[0].removeprefix("::ffff:"))
            finally:
                client.kill()
                client.communicate()
    assert seen == [machines[1].ipv4, machines[1].ipv6]
