"""Services as pods see them: by name and address, as their type, ports, endpoints and affinity change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from e2e_harness import eventually
from network_scene import HTTP, UDP, WEB, Network, port, server, service
from requirement_room import Obj, Refused

DISCOVERY = "discovery.k8s.io/v1"
OUTSIDE = "foo.example.com"


@pytest.fixture(autouse=True)
def ready(network: Network) -> None:
    network.ready("client", *WEB)


def path(network: Network, name: str) -> str:
    return network.room.path("services", name)


def change(network: Network, name: str, **spec: Any) -> Obj:
    changed: Obj = network.room.api.patch(path(network, name), {"spec": spec})
    return changed["spec"]


def nodes(network: Network) -> list[str]:
    """The addresses of all nodes."""
    found = network.room.api("GET", "/api/v1/nodes")["items"]
    return [a["address"] for node in found for a in node["status"]["addresses"] if a["type"] == "InternalIP"]


def reachable_by_name_and_address(network: Network, name: str) -> Obj:
    """By all pods of ``WEB``, and on every node's port if it has one. The Service's spec."""
    spec: Obj = network.room.api("GET", path(network, name))["spec"]
    network.answers("client", spec["clusterIP"], by=WEB)
    network.answers("client", name, by=WEB)
    if number := spec["ports"][0].get("nodePort"):
        for node in nodes(network):
            network.answers("client", node, number, by=WEB)
    return spec


def is_an_alias(network: Network, name: str, of: str) -> None:
    full = f"{name}.{network.room.namespace}.svc.cluster.local"
    network.queried("client", full, "CNAME", lambda found: found == [f"{of}."])


def test_a_node_port_answers_on_every_node(network: Network) -> None:
    """Services should be able to create a functioning NodePort service"""
    network.create(service("node-port", {"app": "web"}, type="NodePort"))
    assert reachable_by_name_and_address(network, "node-port")["ports"][0]["nodePort"]


def test_an_external_name_becomes_a_cluster_address(network: Network) -> None:
    """Services should be able to change the type from ExternalName to ClusterIP"""
    made = network.create(service("name-to-address", type="ExternalName", externalName=OUTSIDE))
    assert "clusterIP" not in made["spec"]
    is_an_alias(network, "name-to-address", OUTSIDE)
    change(network, "name-to-address", type="ClusterIP", externalName=None, selector={"app": "web"})
    reachable_by_name_and_address(network, "name-to-address")


def test_an_external_name_becomes_a_node_port(network: Network) -> None:
    """Services should be able to change the type from ExternalName to NodePort"""
    made = network.create(service("name-to-port", type="ExternalName", externalName=OUTSIDE))
    assert "clusterIP" not in made["spec"]
    change(network, "name-to-port", type="NodePort", externalName=None, selector={"app": "web"})
    assert reachable_by_name_and_address(network, "name-to-port")["ports"][0]["nodePort"]


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort"])
def test_what_had_an_address_becomes_an_external_name(network: Network, kind: str) -> None:
    """Services should be able to change the type from ClusterIP to ExternalName; Services should be able to change the
    type from NodePort to ExternalName"""
    name = f"{kind.lower()}-to-name"
    network.create(service(name, {"app": "web"}, type=kind))
    before = reachable_by_name_and_address(network, name)
    web = f"web.{network.room.namespace}.svc.cluster.local"
    after = change(network, name, type="ExternalName", externalName=web)
    assert "clusterIP" not in after and "clusterIPs" not in after and "nodePort" not in after["ports"][0]
    is_an_alias(network, name, web)
    address = network.room.api("GET", path(network, "web"))["spec"]["clusterIP"]
    network.resolves("client", name, [address])
    if number := before["ports"][0].get("nodePort"):  # it may be had by the next
        taken = network.create(service("next-of-the-port", {"app": "web"}, port(nodePort=number), type="NodePort"))
        assert taken["spec"]["ports"][0]["nodePort"] == number


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort"])
def test_a_client_stays_with_a_pod_as_long_as_the_service_says_so(network: Network, kind: str) -> None:
    """Services should have session affinity work for service with type clusterIP [LinuxOnly]; Services should have
    session affinity work for NodePort service [LinuxOnly]; Services should be able to switch session affinity for
    service with type clusterIP [LinuxOnly]; Services should be able to switch session affinity for NodePort service
    [LinuxOnly]"""
    name = f"affinity-{kind.lower()}"
    network.create(service(name, {"app": "web"}, type=kind))
    spec = reachable_by_name_and_address(network, name)
    targets = [(spec["clusterIP"], 80), (name, 80)]
    if number := spec["ports"][0].get("nodePort"):
        targets += [(node, number) for node in nodes(network)]
    change(network, name, sessionAffinity="ClientIP")
    for host, number in targets:
        eventually(lambda h=host, n=number: len(set(network.ask("client", h, n, times=24))) == 1)
    change(network, name, sessionAffinity="None")
    for host, number in targets:
        network.answers("client", host, number, by=WEB)
    change(network, name, sessionAffinity="ClientIP")
    for host, number in targets:
        eventually(lambda h=host, n=number: len(set(network.ask("client", h, n, times=24))) == 1)


def test_one_port_serves_two_protocols(network: Network) -> None:
    """Services should serve endpoints on same port and different protocols"""
    both = port(80, HTTP), port(80, UDP, "UDP")
    address = network.create(service("two-protocols", {"name": "web-0"}, *both))["spec"]["clusterIP"]

    def only(*protocols: str) -> None:
        for protocol in ("http", "udp"):
            by = "web-0" if protocol in protocols else "refused"
            network.answers("client", address, 80, by=[by], protocol=protocol)

    only("http", "udp")
    change(network, "two-protocols", ports=[both[0]])
    only("http")
    change(network, "two-protocols", ports=[both[1]])
    only("udp")


def custom_slice(name: str, of: str, address: str, ports: dict[str, int]) -> Obj:
    return {
        "apiVersion": DISCOVERY, "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": of}},
        "endpoints": [{"addresses": [address]}],
        "ports": [{"name": n, "port": number, "protocol": "TCP"} for n, number in ports.items()],
    }  # fmt: skip


def slices(network: Network, service_name: str) -> list[Obj]:
    collection = network.room.path("endpointslices", group=DISCOVERY)
    query = {"labelSelector": f"kubernetes.io/service-name={service_name}"}
    found: list[Obj] = network.room.api("GET", collection, **query)["items"]
    return [{**each, "endpoints": each["endpoints"] or []} for each in found]


def test_a_service_is_all_its_slices_say(network: Network) -> None:
    """EndpointSlice should support a Service with multiple endpoint IPs specified in multiple EndpointSlices;
    EndpointSlice should support a Service with multiple ports specified in multiple EndpointSlices"""
    network.ready("many-ports")
    collection = network.room.path("endpointslices", group=DISCOVERY)
    # two addresses with a port each, and two ports of one address
    cases = {
        "many-addresses": (("web-0", HTTP), ("many-ports", 8090)),
        "one-address": (("many-ports", HTTP), ("many-ports", 8090)),
    }
    for name, endpoints in cases.items():
        ports = [port(81, "first", name="first"), port(82, "second", name="second")]
        address = network.create(service(name, None, *ports))["spec"]["clusterIP"]
        for called, (pod, number) in zip(("first", "second"), endpoints, strict=True):
            made = custom_slice(f"{name}-{called}", name, network.address(pod), {called: number})
            network.room.api("POST", collection, made)
        for number, (pod, _) in zip((81, 82), endpoints, strict=True):
            network.answers("client", address, number, by=[pod])


def test_written_endpoints_are_mirrored_as_they_change(network: Network) -> None:
    """EndpointSliceMirroring should mirror a custom Endpoints resource through create update and delete"""
    api, endpoints = network.room.api, network.room.path("endpoints")
    address = network.create(service("mirrored"))["spec"]["clusterIP"]

    def written(pod: str) -> Obj:
        subset = {"addresses": [{"ip": network.address(pod)}], "ports": [{"name": "p80-tcp", "port": HTTP}]}
        return {"metadata": {"name": "mirrored", "labels": {"kept": "yes"}}, "subsets": [subset]}

    def mirrored(pod: str) -> bool:
        found = [(e["addresses"], s["ports"][0]["port"]) for s in slices(network, "mirrored") for e in s["endpoints"]]
        return found == [([network.address(pod)], HTTP)]

    api("POST", endpoints, written("web-0"))
    eventually(lambda: mirrored("web-0"))
    (made,) = slices(network, "mirrored")
    assert (
        made["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
        == "endpointslicemirroring-controller.k8s.io"
    )
    assert made["metadata"]["labels"]["kept"] == "yes"
    network.answers("client", address, by=["web-0"])
    api("PUT", f"{endpoints}/mirrored", written("web-1"))
    eventually(lambda: mirrored("web-1"))
    network.answers("client", address, by=["web-1"])
    api("DELETE", f"{endpoints}/mirrored")
    eventually(lambda: not slices(network, "mirrored"))
    network.answers("client", address, by=["refused"])


def endpoints_of(network: Network, name: str) -> dict[str, dict[str, int]]:
    """Ports by their name, of each address; as Endpoints say, and slices too once they agree."""
    found: list[dict[str, dict[str, int]]] = []

    def agree() -> bool:
        try:
            subsets = network.room.api("GET", network.room.path("endpoints", name)).get("subsets", [])
        except Refused as refused:
            assert refused.code == 404
            return False
        old: dict[str, dict[str, int]] = {}
        for subset in subsets:
            for address in subset.get("addresses", []):
                old.setdefault(address["ip"], {}).update({p["name"]: p["port"] for p in subset["ports"]})
        new: dict[str, dict[str, int]] = {}
        for each in slices(network, name):
            for endpoint in each["endpoints"]:
                if endpoint["conditions"]["ready"]:
                    new.setdefault(endpoint["addresses"][0], {}).update({p["name"]: p["port"] for p in each["ports"]})
        found[:] = [old]
        return old == new

    eventually(agree)
    return found[0]


def test_pods_become_endpoints_and_cease_to_be_as_they_come_and_go(network: Network) -> None:
    """Services should serve a basic endpoint from pods; Services should serve multiport endpoints from pods"""
    selector = {"endpoints": "come-and-go"}
    named = port(80, "first", name="first"), port(81, "second", name="second")
    basic = network.create(service("basic", selector))["spec"]["clusterIP"]
    multi = network.create(service("multi", selector, *named))["spec"]["clusterIP"]
    assert endpoints_of(network, "basic") == endpoints_of(network, "multi") == {}
    addresses = {}

    def endpoints_are(*pods: str) -> None:
        numbers = {"first": 8090, "second": 8091}
        eventually(lambda: endpoints_of(network, "basic") == {addresses[p]: {"p80-tcp": HTTP} for p in pods})
        eventually(lambda: endpoints_of(network, "multi") == {addresses[p]: {p: numbers[p]} for p in pods})
        network.answers("client", basic, by=pods or ["refused"])
        for pod, number in (("first", 80), ("second", 81)):
            network.answers("client", multi, number, by=[pod] if pod in pods else ["refused"])

    for pod, number in (("first", 8090), ("second", 8091)):
        made = server(pod, f"http:{HTTP}", f"http:{number}", labels=selector)
        made["spec"]["containers"][0]["ports"] = [{"name": pod, "containerPort": number}]
        network.create(made)
        addresses[pod] = network.address(pod)
        endpoints_are(*addresses)
    network.room.delete("first")
    endpoints_are("second")
    network.room.delete("second")
    endpoints_are()


def test_pods_are_endpoints_by_number_and_by_name_of_their_ports(network: Network) -> None:
    """EndpointSlice should create Endpoints and EndpointSlices for Pods matching a Service; EndpointsController should
    create Endpoints for Pods matching a Service"""
    network.create(service("by-number", {"app": "web"}))
    expected = {network.address(pod): {"p80-tcp": HTTP} for pod in WEB}
    eventually(lambda: endpoints_of(network, "by-number") == expected)
    (subset,) = network.room.api("GET", network.room.path("endpoints", "by-number"))["subsets"]
    of_endpoints = {
        a["targetRef"]["name"]: (a["ip"], a["nodeName"], a["targetRef"]["kind"]) for a in subset["addresses"]
    }
    of_slices = {
        e["targetRef"]["name"]: (e["addresses"][0], e["nodeName"], e["targetRef"]["kind"])
        for each in slices(network, "by-number") for e in each["endpoints"]
    }  # fmt: skip
    pods = {pod: network.room.get(pod) for pod in WEB}
    assert (
        of_slices == of_endpoints == {n: (p["status"]["podIP"], p["spec"]["nodeName"], "Pod") for n, p in pods.items()}
    )
    (made,) = slices(network, "by-number")
    owner = made["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Service", "by-number", True)


def test_a_service_without_pods_has_empty_endpoints_which_go_with_it(network: Network) -> None:
    """EndpointSlice should create and delete EndpointSlices for a Service with a selector that matches no pods;
    EndpointsController should create and delete Endpoints for a Service with a selector that matches no pods"""
    network.create(service("of-nobody", {"of": "nobody"}))
    assert endpoints_of(network, "of-nobody") == {}
    assert [each["endpoints"] for each in eventually(lambda: slices(network, "of-nobody"))] == [[]]
    network.room.api("DELETE", path(network, "of-nobody"))
    eventually(lambda: not slices(network, "of-nobody"))
    eventually(lambda: "of-nobody" not in names(network.room.api("GET", network.room.path("endpoints"))))


def names(found: Obj) -> list[str]:
    return [each["metadata"]["name"] for each in found["items"]]


@pytest.fixture
def hundred(network: Network) -> Iterator[list[str]]:
    """Names of Services, which are gone afterwards: nobody else has to bear them."""
    yield [f"latency-{n}" for n in range(100)]
    network.room.api("DELETE", network.room.path("services"), labelSelector="latency=yes")


def test_a_hundred_services_have_their_endpoints_in_time(network: Network, hundred: list[str]) -> None:
    """Service endpoints latency should not be very high"""
    api, collection = network.room.api, network.room.path("endpoints")
    revision = api("GET", collection)["metadata"]["resourceVersion"]
    for name in hundred:
        made = service(name, {"name": "web-0"})
        made["metadata"]["labels"] = {"latency": "yes"}
        network.create(made)
    waited = set(hundred)
    with closing(api.lines(collection, watch="1", resourceVersion=revision, timeoutSeconds="50")) as lines:
        for line in lines:  # it ends at the limit of the ninetieth in a hundred
            found = json.loads(line)["object"]
            if found.get("subsets"):
                waited.discard(found["metadata"]["name"])
            if not waited:
                break
    assert waited == set()
