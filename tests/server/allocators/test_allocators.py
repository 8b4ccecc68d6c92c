"""Cluster IPs and node ports: unique, in range, kept, given back."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.errors import AlreadyExists, Conflict, InternalError, Invalid
from sampan.server.allocators.spans import Span, static_band

CORE = "/api/v1/namespaces/ns"


async def message(cluster: Any, name: str = "b", **spec: Any) -> str:
    with pytest.raises(Invalid) as caught:
        await cluster.create(name, **spec)
    return caught.value.message


async def test_an_address_is_chosen_from_the_upper_band(cluster: Any) -> None:
    spec = (await cluster.create("s"))["spec"]
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    third, fourth = map(int, spec["clusterIP"].split(".")[2:])
    assert third * 256 + fourth > 256


async def test_an_address_is_an_object_that_names_its_service(cluster: Any) -> None:
    await cluster.create("s", clusterIP="10.96.0.10")
    made = await cluster("GET", "/apis/networking.k8s.io/v1/ipaddresses/10.96.0.10")
    assert made["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    assert made["spec"] == {"parentRef": {"resource": "services", "namespace": "ns", "name": "s"}}
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"]


async def test_a_stated_address_is_taken_once_and_free_after_the_delete(cluster: Any) -> None:
    await cluster.create("a", clusterIP="10.96.0.10")
    assert await message(cluster, clusterIP="10.96.0.10") == (
        'Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: '
        "failed to allocate IP 10.96.0.10: provided IP is already allocated"
    )
    await cluster.delete("a")
    await cluster.create("b", clusterIP="10.96.0.10")


async def test_an_address_that_somebody_reserved_with_an_object_of_his_own_is_taken(cluster: Any) -> None:
    reference = {"group": "gateway.networking.k8s.io", "resource": "gateways", "namespace": "ns", "name": "g"}
    body = {"metadata": {"name": "10.96.0.77"}, "spec": {"parentRef": reference}}
    await cluster("POST", "/apis/networking.k8s.io/v1/ipaddresses", body)
    assert "already allocated" in await message(cluster, clusterIP="10.96.0.77")


async def test_the_first_address_is_of_the_kubernetes_service(cluster: Any) -> None:
    assert "already allocated" in await message(cluster, clusterIP="10.96.0.1")
    own = {"metadata": {"name": "kubernetes"}, "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 443}]}}
    await cluster("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
    for _ in range(2):
        await cluster("POST", "/api/v1/namespaces/default/services", own)
        await cluster("DELETE", "/api/v1/namespaces/default/services/kubernetes")
    assert "already allocated" in await message(cluster, clusterIP="10.96.0.1")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("192.0.2.1", "failed to allocate IP 192.0.2.1: the provided network does not match the current range"),
        ("fd00::1", 'spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster'),
        ("10.96.0.0", "(10.96.0.0) is not in the valid range. The range of valid IPs is 10.96.0.0/16"),
        ("10.96.255.255", "(10.96.255.255) is not in the valid range. The range of valid IPs is 10.96.0.0/16"),
        ("10.96.0", "must be a valid IP address"),
    ],
)
async def test_an_address_outside_is_refused(cluster: Any, address: str, why: str) -> None:
    assert why in await message(cluster, clusterIP=address)
    assert await cluster.records() == ({}, {})


async def test_a_further_servicecidr_widens_the_range(start: Any) -> None:
    async with start(cidr="10.96.0.0/30") as cluster:
        await cluster.create("a")
        with pytest.raises(InternalError, match="range is full"):
            await cluster.create("b")
        body = {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/24", "fd00::/64"]}}
        await cluster("POST", "/apis/networking.k8s.io/v1/servicecidrs", body)
        assert (await cluster.create("b"))["spec"]["clusterIP"].startswith("10.97.0.")
        await cluster.create("c", clusterIP="10.97.0.9")
        condition = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z", "message": "m"}
        status = {**body, "status": {"conditions": [{**condition, "reason": "Terminating"}]}}
        await cluster("PATCH", "/apis/networking.k8s.io/v1/servicecidrs/more/status", status)
        assert "does not match" in await message(cluster, "d", clusterIP="10.97.0.10")


async def test_headless_and_external_services_take_nothing(cluster: Any) -> None:
    headless = await cluster.create("h", clusterIP="None", selector={"a": "b"})
    assert headless["spec"]["clusterIPs"] == ["None"]
    external = await cluster.create("e", type="ExternalName", externalName="x.example", clusterIP="")
    assert {"clusterIP", "clusterIPs", "ipFamilies"}.isdisjoint(external["spec"])
    assert await cluster.records() == ({}, {})


async def test_a_headless_service_without_selector_has_both_families(cluster: Any) -> None:
    spec = (await cluster.create("s", clusterIP="None"))["spec"]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4", "IPv6"], "RequireDualStack")


async def test_families_that_the_cluster_has_not_are_refused(cluster: Any) -> None:
    assert "spec.ipFamilies[0]" in await message(cluster, ipFamilies=["IPv6"])
    text = await message(cluster, ipFamilyPolicy="RequireDualStack")
    assert "this cluster is not configured for dual-stack services" in text


async def test_node_ports_are_checked_and_shared_between_protocols(cluster: Any) -> None:
    ports = [
        {"name": "u", "port": 53, "protocol": "UDP"},
        {"name": "t", "port": 53, "protocol": "TCP", "nodePort": 30053},
        {"name": "h", "port": 80},
    ]
    made = await cluster.create("s", type="NodePort", ports=ports)
    assert [port["nodePort"] for port in made["spec"]["ports"][:2]] == [30053, 30053]
    assert 30086 <= made["spec"]["ports"][2]["nodePort"] <= 32767
    taken = await message(cluster, type="NodePort", ports=[{"port": 1, "protocol": "SCTP", "nodePort": 30053}])
    assert taken.endswith("spec.ports[0].nodePort: Invalid value: 30053: provided port is already allocated")
    outside = await message(cluster, type="NodePort", ports=[{"port": 1, "nodePort": 80}])
    assert "provided port is not in the valid range. The range of valid ports is 30000-32767" in outside


async def test_a_port_added_to_a_service_shares_the_node_port_of_its_other_protocol(cluster: Any) -> None:
    tcp = {"name": "t", "port": 53, "nodePort": 30053}
    await cluster.create("s", type="NodePort", ports=[tcp])
    both = await cluster.patch("s", ports=[tcp, {"name": "u", "port": 53, "protocol": "UDP"}])
    assert [port["nodePort"] for port in both["spec"]["ports"]] == [30053, 30053]


async def test_an_automatic_node_port_is_never_one_that_the_same_service_states(start: Any) -> None:
    async with start(ports=(30000, 30002)) as cluster:
        ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2, "nodePort": 30001}, {"name": "c", "port": 3}]
        made = await cluster.create("s", type="NodePort", ports=ports)
        assert sorted(port["nodePort"] for port in made["spec"]["ports"]) == [30000, 30001, 30002]


async def test_the_port_of_health_checks_is_taken_and_given_back(cluster: Any) -> None:
    made = await cluster.create("s", type="LoadBalancer", externalTrafficPolicy="Local")
    port = made["spec"]["healthCheckNodePort"]
    assert (await cluster.records())[1][str(port)] == "s"
    assert "already allocated" in await message(cluster, type="NodePort", ports=[{"port": 1, "nodePort": port}])
    changed = await cluster.patch("s", externalTrafficPolicy="Cluster")
    assert "healthCheckNodePort" not in changed["spec"]
    await cluster.create("t", type="NodePort", ports=[{"port": 1, "nodePort": port}])
    assert "may only be set when" in await message(cluster, type="NodePort", healthCheckNodePort=31000)


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "10.96.0.9", "type": "NodePort", "ports": [{"port": 1, "nodePort": 1}]},
        {"clusterIP": "10.96.0.9", "type": "NodePort", "sessionAffinity": "Sometimes"},
        {"clusterIP": "10.96.0.9", "ports": [{"port": 1, "nodePort": 30001}]},
        {"clusterIP": "10.96.0.9", "type": "NodePort", "ports": [{"port": 1, "nodePort": 30000}]},
    ],
)
async def test_a_refused_write_gives_everything_back(cluster: Any, spec: dict[str, Any]) -> None:
    await cluster.create("other", type="NodePort", ports=[{"port": 1, "nodePort": 30000}], clusterIP="10.96.0.2")
    before = await cluster.records()
    await message(cluster, **spec)
    assert await cluster.records() == before
    with pytest.raises(Invalid):
        await cluster.patch("other", **(spec | {"clusterIP": "10.96.0.2", "sessionAffinity": "Never"}))
    assert await cluster.records() == before


async def test_a_dry_run_takes_nothing_and_says_what_is_taken(cluster: Any) -> None:
    made = await cluster.create("s", type="NodePort", dry_run=True)
    assert made["spec"]["clusterIP"]
    assert made["spec"]["ports"][0]["nodePort"]
    assert await cluster.records() == ({}, {})
    await cluster.create("a", clusterIP="10.96.0.9")
    with pytest.raises(Invalid, match="already allocated"):
        await cluster.create("b", clusterIP="10.96.0.9", dry_run=True)


async def test_a_lost_create_does_not_free_the_winners_address(cluster: Any) -> None:
    await cluster.create("s", clusterIP="10.96.0.9")
    with pytest.raises(AlreadyExists):
        await cluster.create("s")
    assert await cluster.records() == ({"10.96.0.9": "s"}, {})


class Unimaginative(random.Random):
    """Gives the same generated name twice, and other ones from then on."""

    letters = 0

    def choice(self, seq: Any) -> Any:
        self.letters += 1
        return seq[0] if self.letters <= 10 else super().choice(seq)


async def test_the_record_names_the_service_even_when_its_generated_name_was_taken(start: Any) -> None:
    async with start(rng=Unimaginative(1)) as cluster:
        body = {"metadata": {"generateName": "g-"}, "spec": {"type": "NodePort", "ports": [{"port": 1}]}}
        names = [(await cluster("POST", f"{CORE}/services", body))["metadata"]["name"] for _ in range(2)]
        assert names[0] == "g-bbbbb" != names[1]
        assert [sorted(found.values()) for found in await cluster.records()] == [sorted(names), sorted(names)]
        await cluster.delete(names[1])
        assert [list(found.values()) for found in await cluster.records()] == [[names[0]], [names[0]]]


async def test_an_update_keeps_what_it_leaves_unset_and_frees_what_it_drops(cluster: Any) -> None:
    ports = [{"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 81, "nodePort": 30081}]
    old = await cluster.create("s", type="NodePort", ports=ports)
    new = await cluster.patch("s", ports=[{"name": "a", "port": 8080}], clusterIP=None, clusterIPs=None)
    assert new["spec"]["ports"][0]["nodePort"] == 30080
    assert new["spec"]["clusterIP"] == old["spec"]["clusterIP"]
    await cluster.create("b", type="NodePort", ports=[{"port": 1, "nodePort": 30081}])
    plain = await cluster.patch("s", type="ClusterIP")
    assert "nodePort" not in plain["spec"]["ports"][0]
    await cluster.create("c", type="NodePort", ports=[{"port": 1, "nodePort": 30080}])


async def test_a_service_that_becomes_external_gives_its_address_back_and_gets_another_later(cluster: Any) -> None:
    await cluster.create("s", clusterIP="10.96.0.9")
    external = await cluster.patch("s", type="ExternalName", externalName="x.example", clusterIP=None)
    assert "clusterIP" not in external["spec"]
    await cluster.create("t", clusterIP="10.96.0.9")
    again = await cluster.patch("s", type="ClusterIP", externalName=None)
    assert (await cluster.records())[0] == {"10.96.0.9": "t", again["spec"]["clusterIP"]: "s"}


async def test_a_service_with_finalizers_keeps_its_numbers_until_it_is_gone(cluster: Any) -> None:
    body = {
        "metadata": {"name": "s", "finalizers": ["example.com/wait"]},
        "spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{"port": 1, "nodePort": 30001}]},
    }
    await cluster("POST", f"{CORE}/services", body)
    await cluster.delete("s")
    assert await cluster.records() == ({"10.96.0.9": "s"}, {"30001": "s"})
    last = {"metadata": {"finalizers": None}, "spec": {"ports": [{"port": 1, "nodePort": 30002}]}}
    await cluster("PATCH", f"{CORE}/services/s", last)
    assert await cluster.records() == ({}, {})


async def test_a_full_range_is_an_error_and_what_else_was_taken_is_given_back(start: Any) -> None:
    async with start(cidr="10.0.0.0/28", ports=(30000, 30000)) as cluster:
        await cluster.create("a", type="NodePort")
        before = await cluster.records()
        with pytest.raises(InternalError, match="failed to allocate a nodePort: range is full"):
            await cluster.create("b", type="NodePort")
        assert await cluster.records() == before


async def test_a_number_that_an_update_under_way_takes_is_a_conflict_for_another_one(cluster: Any) -> None:
    await cluster.create("s", type="NodePort", ports=[{"port": 1, "nodePort": 30001}])
    await cluster.store.commit("/ranges/servicenodeports/30002", 0, b'{"service":{"namespace":"ns","name":"s"}}')
    with pytest.raises(Conflict, match="please apply your changes to the latest version"):
        await cluster.patch("s", ports=[{"port": 1, "nodePort": 30002}])


@pytest.mark.parametrize(
    ("addresses", "why"),
    [
        ({"clusterIPs": ["10.96.0.9"]}, "must be empty when `clusterIP` is not specified"),
        ({"clusterIP": "10.96.0.8", "clusterIPs": ["10.96.0.9"]}, "first value must match `clusterIP`"),
        (
            {"clusterIP": "10.96.0.8", "clusterIPs": ["10.96.0.8", "10.96.0.9"]},
            "no more than one IP for each IP family",
        ),
    ],
)
async def test_the_two_address_fields_must_agree(cluster: Any, addresses: dict[str, Any], why: str) -> None:
    assert why in await message(cluster, **addresses)
    assert await cluster.records() == ({}, {})


async def test_a_client_that_knows_only_the_singular_field_is_understood(cluster: Any) -> None:
    old = await cluster.create("s", type="ExternalName", externalName="x.example")
    assert "clusterIPs" not in old["spec"]
    new = await cluster.patch("s", type="ClusterIP", externalName=None, clusterIP="10.96.0.9")
    assert new["spec"]["clusterIPs"] == ["10.96.0.9"]
    with pytest.raises(Invalid, match="may not change once set"):
        await cluster.patch("s", clusterIP="10.96.0.10")
    assert await cluster.records() == ({"10.96.0.9": "s"}, {})


@given(st.integers(1, 60), st.integers(0, 70), st.integers(0, 2**16))
def test_every_free_number_comes_up_and_the_static_band_last(size: int, band: int, seed: int) -> None:
    taken: set[int] = set()
    span, rng = Span(100, size, band), random.Random(seed)
    for _ in range(size):
        number = next(number for number in span.candidates(rng, taken.__contains__) if number is not None)
        assert number in span
        upper = {*range(100 + min(band, size), 100 + size)}
        assert number in upper or upper <= taken
        taken.add(number)
    assert [number for number in span.candidates(rng, taken.__contains__) if number is not None] == []


def test_a_search_through_a_full_range_pauses_for_others() -> None:
    found = list(Span(0, 5000, 0).candidates(random.Random(1), lambda number: True))
    assert found == [None] * 9


@pytest.mark.parametrize(
    ("size", "arguments", "band"),
    [(65534, (16, 256, 16), 256), (254, (16, 256, 16), 16), (14, (16, 256, 16), 0), (2768, (16, 128, 32), 86)],
)
def test_static_bands_are_those_of_the_keps(size: int, arguments: tuple[int, int, int], band: int) -> None:
    assert static_band(size, *arguments) == band
