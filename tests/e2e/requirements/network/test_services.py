"""Services as pods see them: by name and address, as their type, ports, endpoints and affinity change."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from e2e_harness import eventually
from network_scene import HTTP, UDP, WEB, Network, port, server, service
from requirement_room import Obj, Refused

DISCOVERY = "discovery.k8s.io/v1"
OUTSIDE = "foo.example.com"


@pytest.fixture(autouse=True)
def ready(network: Network) -> None:
    network.ready("client", *WEB)


def test_an_external_name_becomes_a_cluster_address(network: Network) -> None:
    """Services should be able to change the type from ExternalName to ClusterIP"""
    made = network.create(service("name-to-address", type="ExternalName", externalName=OUTSIDE))
    assert "clusterIP" not in made["spec"]
    network.is_alias("name-to-address", OUTSIDE)
    network.change("name-to-address", type="ClusterIP", externalName=None, selector={"app": "web"})
    network.reachable("name-to-address")


def test_what_had_an_address_becomes_an_external_name(network: Network) -> None:
    """Services should be able to change the type from ClusterIP to ExternalName"""
    network.create(service("address-to-name", {"app": "web"}))
    network.reachable("address-to-name")
    web = f"web.{network.room.namespace}.svc.cluster.local"
    after = network.change("address-to-name", type="ExternalName", externalName=web)
    assert "clusterIP" not in after and "clusterIPs" not in after
    network.is_alias("address-to-name", web)
    network.resolves("client", "address-to-name", [network.service("web")["clusterIP"]])


def test_a_client_stays_with_a_pod_as_long_as_the_service_says_so(network: Network) -> None:
    """Services should have session affinity work for service with type clusterIP [LinuxOnly]; Services should be able
    to switch session affinity for service with type clusterIP [LinuxOnly]"""
    network.create(service("affinity", {"app": "web"}, sessionAffinity="ClientIP"))
    network.stays("affinity")
    network.change("affinity", sessionAffinity="None")
    network.reachable("affinity")
    network.change("affinity", sessionAffinity="ClientIP")
    network.stays("affinity")


def test_one_port_serves_two_protocols(network: Network) -> None:
    """Services should serve endpoints on same port and different protocols"""
    both = port(80, HTTP), port(80, UDP, "UDP")
    address = network.create(service("two-protocols", {"name": "web-0"}, *both))["spec"]["clusterIP"]

    def only(*protocols: str) -> None:
        for protocol in ("http", "udp"):
            by = "web-0" if protocol in protocols else "refused"
            network.answers("client", address, 80, by=[by], protocol=protocol)

    only("http", "udp")
    network.change("two-protocols", ports=[both[0]])
    only("http")
    network.change("two-protocols", ports=[both[1]])
    only("udp")


@pytest.fixture
def added_range(network: Network) -> Iterator[str]:
    """A range of addresses for documentation, beside the cluster's own."""
    name, cidr = f"added-{network.room.namespace}", "198.51.100.0/28"
    made = {"metadata": {"name": name}, "spec": {"cidrs": [cidr]}}
    network.room.api("POST", "/apis/networking.k8s.io/v1/servicecidrs", made)
    yield cidr
    network.room.api("DELETE", f"/apis/networking.k8s.io/v1/servicecidrs/{name}")


def test_addresses_of_an_added_range_lead_to_pods(network: Network, added_range: str) -> None:
    address = str(ipaddress.ip_network(added_range)[9])
    asked = service("of-added-range", {"app": "web"}, clusterIP=address)
    assert eventually(lambda: created_or_refused(network, asked))["spec"]["clusterIP"] == address
    network.reachable("of-added-range")
    network.room.api("DELETE", network.room.path("services", "of-added-range"))


def created_or_refused(network: Network, made: Obj) -> Obj | None:
    """Nothing while the server knows no such range yet."""
    try:
        return network.create(made)
    except Refused as refused:
        assert refused.code == 422
        return None


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
    network.create(service("names-of-pods", selector, clusterIP="None"))
    assert endpoints_of(network, "basic") == endpoints_of(network, "multi") == {}
    addresses = {}

    def endpoints_are(*pods: str) -> None:
        numbers = {"first": 8090, "second": 8091}
        eventually(lambda: endpoints_of(network, "basic") == {addresses[p]: {"p80-tcp": HTTP} for p in pods})
        eventually(lambda: endpoints_of(network, "multi") == {addresses[p]: {p: numbers[p]} for p in pods})
        network.answers("client", basic, by=pods or ["refused"])
        network.resolves("client", "names-of-pods", [addresses[p] for p in pods])
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
    network.room.api("DELETE", network.room.path("services", "of-nobody"))
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
    begun, taken = {}, {}
    for name in hundred:
        made = service(name, {"name": "web-0"})
        made["metadata"]["labels"] = {"latency": "yes"}
        begun[name] = time.monotonic()
        network.create(made)
    with closing(api.lines(collection, watch="1", resourceVersion=revision)) as lines:
        while len(taken) < len(hundred):
            found = json.loads(next(lines))["object"]
            name = found["metadata"]["name"]
            if name in begun and name not in taken and found.get("subsets"):
                taken[name] = time.monotonic() - begun[name]
    seconds = sorted(taken.values())
    assert seconds[50] < 20 and seconds[90] < 50  # upstream's limits
