"""Names in pods: of the cluster, of Services and pods, and of whatever a pod is told to ask."""

from __future__ import annotations

import ipaddress

import pytest
from network_scene import DNS_CONFIG, HTTP, UDP, Network, service

DOMAIN = "cluster.local"


@pytest.fixture(autouse=True)
def ready(network: Network) -> None:
    network.ready("client", "querier")


def address_of(network: Network, name: str, namespace: str = "") -> str:
    path = f"/api/v1/namespaces/{namespace or network.room.namespace}/services/{name}"
    address: str = network.room.api("GET", path)["spec"]["clusterIP"]
    return address


def full(network: Network, name: str) -> str:
    return f"{name}.{network.room.namespace}.svc.{DOMAIN}"


def shortened(network: Network, name: str) -> list[str]:
    """A name in the namespace as people write it, from the shortest to the whole."""
    parts = [name, network.room.namespace, "svc", DOMAIN]
    return [".".join(parts[:number]) for number in range(1, 5)]


def searched(network: Network, name: str) -> list[str]:
    """What a resolver asks for when it is given a name: in each domain of the pod's list."""
    lines = network.read("client", "/etc/resolv.conf").splitlines()
    domains = next(line.split()[1:] for line in lines if line.startswith("search"))
    return [name, *(f"{name}.{domain}" for domain in domains)]


def ports_of(network: Network, name: str) -> list[tuple[int, str]]:
    """By the SRV records that a resolver with the pod's list of domains finds: ports and where they are."""
    for each in searched(network, name):
        if records := network.query("client", each, "SRV"):
            return [(int(port), target.rstrip(".")) for _, _, port, target in (record.split() for record in records)]
    return []


def test_the_cluster_is_known_by_name(network: Network) -> None:
    """DNS should provide DNS for the cluster"""
    address = address_of(network, "kubernetes", "default")
    for name in ("kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}"):
        assert network.resolve("client", name) == [address]


def test_a_pod_knows_itself_by_its_file_of_hosts(network: Network) -> None:
    """DNS should provide /etc/hosts entries for the cluster"""
    own = network.address("querier")
    lines = [line.split("#")[0].split() for line in network.read("querier", "/etc/hosts").splitlines()]
    assert [own, full(network, "querier-1.headless"), "querier-1"] in lines
    for name in ("querier-1", full(network, "querier-1.headless")):
        assert network.resolve("querier", name) == [own]


def test_services_have_addresses_ports_and_names_for_their_addresses(network: Network) -> None:
    """DNS should provide DNS for services"""
    own, web = network.address("querier"), address_of(network, "web")
    network.resolves("client", full(network, "headless"), [own])
    network.resolves("client", full(network, "web"), [web])
    assert ports_of(network, "_p80-tcp._tcp." + full(network, "web")) == [(80, full(network, "web"))]
    endpoint = full(network, "querier-1.headless")
    assert ports_of(network, "_p80-tcp._tcp." + full(network, "headless")) == [(HTTP, endpoint)]
    assert ports_of(network, "_p81-udp._udp." + full(network, "headless")) == [(UDP, endpoint)]
    for address, name in ((web, full(network, "web")), (own, endpoint)):
        pointer, told = ipaddress.ip_address(address).reverse_pointer, [f"{name}."]
        network.queried("client", pointer, "PTR", lambda found: found == told)  # noqa: B023


def test_parts_of_the_names_do(network: Network) -> None:
    """DNS should resolve DNS of partial qualified names for services [LinuxOnly]"""
    own, web = network.address("querier"), address_of(network, "web")
    for name in shortened(network, "headless"):
        network.resolves("client", name, [own])
    for name in shortened(network, "web"):
        network.resolves("client", name, [web])
    for name in shortened(network, "_p80-tcp._tcp.web")[1:]:
        assert ports_of(network, name) == [(80, full(network, "web"))]
    for name in shortened(network, "_p80-tcp._tcp.headless")[1:]:
        assert ports_of(network, name) == [(HTTP, full(network, "querier-1.headless"))]


def test_a_pod_is_known_by_its_hostname_within_its_subdomain(network: Network) -> None:
    """DNS should provide DNS for pods for Hostname; DNS should provide DNS for pods for Subdomain"""
    own = network.address("querier")
    network.queried("client", full(network, "querier-1.headless"), "A", lambda found: found == [own])
    for name in (*shortened(network, "querier-1.headless"), *shortened(network, "headless")):
        network.resolves("client", name, [own])
    assert network.read("querier", "/etc/hostname").strip() == "querier-1"


def test_an_external_name_is_an_alias_until_the_service_has_an_address(network: Network) -> None:
    """DNS should provide DNS for ExternalName services"""
    network.create(service("outside", type="ExternalName", externalName="foo.example.com"))
    path, name = network.room.path("services", "outside"), full(network, "outside")
    network.queried("client", name, "CNAME", lambda found: found == ["foo.example.com."])
    network.room.api.patch(path, {"spec": {"externalName": "bar.example.com"}})
    network.queried("client", name, "CNAME", lambda found: found == ["bar.example.com."])
    changed = network.room.api.patch(path, {"spec": {"type": "ClusterIP", "externalName": None}})
    network.queried("client", name, "A", lambda found: found == [changed["spec"]["clusterIP"]])
    network.resolves("client", "outside", [changed["spec"]["clusterIP"]])


def test_a_pod_asks_the_nameservers_that_it_names(network: Network) -> None:
    """DNS should support configurable pod DNS nameservers"""
    network.ready("configured")
    lines = [line.split() for line in network.read("configured", "/etc/resolv.conf").splitlines() if line.strip()]
    assert sorted(lines) == [["nameserver", *DNS_CONFIG["nameservers"]], ["search", *DNS_CONFIG["searches"]]]
