"""NetworkPolicies between two nodes: who may be reached is held to by the node of either end, in both families.

Requirements: what upstream's "[sig-network] Netpol" tests ask of a network that enforces policies, between nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from e2e_harness import Kubectl, eventually
from e2e_manifests import pod
from machines_lab import Machines, pods_run

SERVE = """mkdir -p /www; hostname > /www/index.html; httpd -p 8080 -h /www; exec httpd -f -p 8081 -h /www"""
PORTS = "ports: [{name: web, containerPort: 8080}, {name: other, containerPort: 8081}]"
SERVERS = {"s1": "m1", "s2": "m2"}
#: in the namespace of the servers, and in another
CLIENTS = {"near1": "m1", "near2": "m2"}
GUESTS = {"guest1": "m1", "guest2": "m2"}

#: asking client, asked server, port
Reached = tuple[str, str, int]


@dataclass(frozen=True)
class Scene:
    near: Kubectl
    guests: Kubectl
    addresses: dict[str, list[str]]

    def reached(self) -> set[Reached]:
        """All that reach each other, once both families agree on it."""
        found = {4: set[Reached](), 6: set[Reached]()}
        targets = [
            (server, port, address)
            for server in SERVERS for port in (8080, 8081) for address in self.addresses[server]
        ]  # fmt: skip
        asking = " ".join(
            f"(timeout 1 wget -qO /dev/null http://{address}:{port} && echo {server} {port} {family(address)}) &"
            for server, port, address in targets
        )
        for kubectl, names in ((self.near, CLIENTS), (self.guests, GUESTS)):
            for name in names:
                said = kubectl("exec", name, "--", "sh", "-c", f"{asking} wait")
                for server, port, version in re.findall(r"(s\d) (\d+) (\d)", said):
                    found[int(version)].add((name, server, int(port)))
        return found[4] if found[4] == found[6] else {("families differ", "", 0)}


def family(address: str) -> int:
    return 6 if ":" in address else 4


@pytest.fixture(scope="module")
def scene(machines: Machines) -> Iterator[Scene]:
    near, guests = machines.cluster.kubectl("policies"), machines.cluster.kubectl("guests")
    near("create", "namespace", "policies")
    near("create", "namespace", "guests")
    near("apply", "-f", "-", stdin="\n---\n".join([
        *(pod(name, SERVE, f"nodeName: {node}", PORTS) for name, node in SERVERS.items()),
        *(pod(name, extra=f"nodeName: {node}") for name, node in CLIENTS.items()),
    ]))  # fmt: skip
    guests(
        "apply", "-f", "-", stdin="\n---\n".join(pod(name, extra=f"nodeName: {node}") for name, node in GUESTS.items())
    )
    pods_run(near, [*SERVERS, *CLIENTS])
    pods_run(guests, list(GUESTS))
    addresses = {
        name: [
            f"[{each['ip']}]" if ":" in each["ip"] else each["ip"]
            for each in kubectl.json("get", "pod", name)["status"]["podIPs"]
        ]
        for kubectl, names in ((near, (*SERVERS, *CLIENTS)), (guests, tuple(GUESTS)))
        for name in names
    }
    yield Scene(near, guests, addresses)
    for kubectl in (near, guests):
        kubectl.run("delete", "namespace", kubectl.namespace, "--wait=false", check=False)


def policy(spec: str) -> str:
    return f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: it}}\nspec: {{{spec}}}"


EVERYTHING = {(c, s, p) for c in (*CLIENTS, *GUESTS) for s in SERVERS for p in (8080, 8081)}
BLOCKS = "{ipBlock: {cidr: 0.0.0.0/0, except: ['NEAR2/32']}}, {ipBlock: {cidr: '::/0', except: ['NEAR2-6/128']}}"

SITUATIONS: dict[str, tuple[str, Callable[[str, str, int], bool]]] = {
    "nobody": ("podSelector: {}", lambda client, server, port: False),
    "a_pod_of_the_other_node_by_its_label": (
        "podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: near2}}}]}]",
        lambda client, server, port: client == "near2",
    ),
    "another_namespace": (
        "podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: "
        "{kubernetes.io/metadata.name: guests}}}]}]",
        lambda client, server, port: client in GUESTS,
    ),
    "a_port_by_its_name_and_of_one_server": (
        "podSelector: {matchLabels: {app: s1}}, ingress: [{ports: [{port: web}]}]",
        lambda client, server, port: server == "s2" or port == 8080,
    ),
    "everybody_but_one_address": (
        f"podSelector: {{}}, ingress: [{{from: [{BLOCKS}]}}]",
        lambda client, server, port: client != "near2",
    ),
    "out_to_one_server_alone": (
        "podSelector: {matchLabels: {app: near1}}, policyTypes: [Egress], "
        "egress: [{to: [{podSelector: {matchLabels: {app: s2}}}], ports: [{port: 8081}]}]",
        lambda client, server, port: client != "near1" or (server, port) == ("s2", 8081),
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_who_reaches_whom_is_as_the_policy_says_on_both_nodes(scene: Scene, situation: str) -> None:
    spec, allowed = SITUATIONS[situation]
    for name, address in zip(("NEAR2/", "NEAR2-6/"), scene.addresses["near2"], strict=True):
        spec = spec.replace(name, f"{address.strip('[]')}/")
    scene.near("apply", "-f", "-", stdin=policy(spec))
    try:
        wanted = {each for each in EVERYTHING if allowed(*each)}
        assert eventually(lambda: scene.reached() == wanted), scene.reached() ^ wanted
    finally:
        scene.near("delete", "networkpolicy", "it")


def test_an_open_connection_to_the_other_node_stops_with_the_policy_and_goes_on_with_its_end(scene: Scene) -> None:
    """Each packet is judged, on whichever node: not the first of a connection alone."""
    host = scene.addresses["s2"][0]
    counting = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.1; done"
    listening = scene.near.popen("exec", "s2", "--", "sh", "-c", "sleep 600 | nc -l -p 9000 > /tmp/heard")
    # until somebody listens
    speaking = scene.near.popen(
        "exec", "near1", "--", "sh", "-c", f"while sleep 0.2; do ({counting}) | nc {host} 9000; done"
    )

    def heard() -> int:
        return len(scene.near("exec", "s2", "--", "sh", "-c", "cat /tmp/heard || true").split())

    def is_still() -> bool:
        before = heard()
        scene.near("exec", "near1", "--", "sleep", "0.7")
        return heard() == before

    try:
        eventually(lambda: heard() > 3)
        scene.near("apply", "-f", "-", stdin=policy("podSelector: {matchLabels: {app: s2}}, policyTypes: [Ingress]"))
        eventually(is_still)
        before = heard()
        scene.near("delete", "networkpolicy", "it")
        eventually(lambda: heard() > before)
    finally:
        for each in (speaking, listening):
            each.terminate()
            each.communicate()
        scene.near.run("delete", "networkpolicy", "it", "--ignore-not-found", check=False)
