"""Cluster IPs and node ports: unique, in range, kept, given back."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.errors import InternalError, Invalid
from sampan.server.allocators.pool import Full, Pool, static_band
from sampan.server.allocators.service import ServiceAllocator


def service(name: str = "s", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {"type": "ClusterIP", **spec}}


@pytest.fixture
def allocator() -> ServiceAllocator:
    return ServiceAllocator("10.96.0.0/16", (30000, 32767), random.Random(3))


def message(allocator: ServiceAllocator, wanted: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as caught:
        allocator.on_create(wanted)
    return caught.value.message


def test_an_address_is_chosen_from_the_upper_band(allocator: ServiceAllocator) -> None:
    made = service()
    allocator.on_create(made).commit()
    spec = made["spec"]
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    third, fourth = map(int, spec["clusterIP"].split(".")[2:])
    assert third * 256 + fourth > 256


def test_a_stated_address_is_taken_once(allocator: ServiceAllocator) -> None:
    allocator.on_create(service("a", clusterIP="10.96.0.10")).commit()
    assert message(allocator, service("b", clusterIP="10.96.0.10")) == (
        'Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: '
        "failed to allocate IP 10.96.0.10: provided IP is already allocated"
    )
    allocator.on_delete(service("a", clusterIP="10.96.0.10", clusterIPs=["10.96.0.10"]))
    allocator.on_create(service("b", clusterIP="10.96.0.10"))


def test_the_first_address_is_of_the_kubernetes_service(allocator: ServiceAllocator) -> None:
    assert "already allocated" in message(allocator, service(clusterIP="10.96.0.1"))
    own = service("kubernetes", clusterIP="10.96.0.1")
    own["metadata"]["namespace"] = "default"
    allocator.on_create(own)


def test_an_address_outside_is_refused(allocator: ServiceAllocator) -> None:
    assert "is not in the valid range. The range of valid IPs is 10.96.0.0/16" in message(
        allocator, service(clusterIP="192.0.2.1")
    )


def test_headless_and_external_services_take_nothing(allocator: ServiceAllocator) -> None:
    headless = service(clusterIP="None", selector={"a": "b"})
    allocator.on_create(headless).commit()
    assert headless["spec"]["clusterIPs"] == ["None"]
    external = service(type="ExternalName", externalName="x", clusterIP="")
    allocator.on_create(external).commit()
    assert "clusterIP" not in external["spec"]
    assert "ipFamilies" not in external["spec"]


def test_a_headless_service_without_selector_has_both_families(allocator: ServiceAllocator) -> None:
    made = service(clusterIP="None")
    allocator.on_create(made)
    assert (made["spec"]["ipFamilies"], made["spec"]["ipFamilyPolicy"]) == (["IPv4", "IPv6"], "RequireDualStack")


def test_families_that_the_cluster_has_not_are_refused(allocator: ServiceAllocator) -> None:
    assert "spec.ipFamilies[0]" in message(allocator, service(ipFamilies=["IPv6"]))
    text = message(allocator, service(ipFamilyPolicy="RequireDualStack"))
    assert "this cluster is not configured for dual-stack services" in text


def test_node_ports_are_checked_and_shared_between_protocols(allocator: ServiceAllocator) -> None:
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP", "nodePort": 30053}, {"port": 80}]
    made = service(type="NodePort", ports=ports)
    allocator.on_create(made).commit()
    assert [port["nodePort"] for port in made["spec"]["ports"][:2]] == [30053, 30053]
    assert 30086 <= made["spec"]["ports"][2]["nodePort"] <= 32767
    taken = message(allocator, service("b", type="NodePort", ports=[{"port": 1, "nodePort": 30053}]))
    assert taken.endswith("spec.ports[0].nodePort: Invalid value: 30053: provided port is already allocated")
    outside = message(allocator, service("b", type="NodePort", ports=[{"port": 1, "nodePort": 80}]))
    assert "provided port is not in the valid range. The range of valid ports is 30000-32767" in outside


def test_a_failed_write_gives_everything_back(allocator: ServiceAllocator) -> None:
    message(allocator, service(clusterIP="10.96.0.9", type="NodePort", ports=[{"port": 1, "nodePort": 1}]))
    dry_run = allocator.on_create(service("b", clusterIP="10.96.0.9"))
    dry_run.rollback()
    allocator.on_create(service("c", clusterIP="10.96.0.9"))


def test_an_update_keeps_what_it_leaves_unset_and_frees_what_it_drops(allocator: ServiceAllocator) -> None:
    old = service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}, {"port": 81, "nodePort": 30081}])
    allocator.on_create(old).commit()
    new = service(type="NodePort", ports=[{"port": 80}])
    allocator.on_update(new, old).commit()
    assert new["spec"]["ports"][0]["nodePort"] == 30080
    assert new["spec"]["clusterIP"] == old["spec"]["clusterIP"]
    allocator.on_create(service("b", type="NodePort", ports=[{"port": 1, "nodePort": 30081}])).commit()
    plain = service(clusterIP=new["spec"]["clusterIP"], ports=[{"port": 80, "nodePort": 30080}])
    allocator.on_update(plain, new).commit()
    assert "nodePort" not in plain["spec"]["ports"][0]
    allocator.on_create(service("c", type="NodePort", ports=[{"port": 1, "nodePort": 30080}]))


def test_stored_services_are_loaded_and_clashes_told(allocator: ServiceAllocator) -> None:
    first, second = service("a", clusterIP="10.96.9.9"), service("b", clusterIP="10.96.9.9")
    assert allocator.load([first]) == []
    assert allocator.load([second]) == ["service ns/b: cluster IP 10.96.9.9: AlreadyAllocated"]


def test_a_full_range_is_an_error() -> None:
    small = ServiceAllocator("10.0.0.0/30", (30000, 30000), random.Random(1))
    small.on_create(service("a"))
    with pytest.raises(InternalError, match="range is full"):
        small.on_create(service("b"))


@given(st.integers(1, 60), st.integers(0, 70), st.integers(0, 2**16))
def test_a_pool_gives_each_number_once_and_the_static_band_last(size: int, band: int, seed: int) -> None:
    pool = Pool(size, band, random.Random(seed))
    given_out = [pool.take_any(str(index)) for index in range(size)]
    assert sorted(given_out) == list(range(size))
    upper = size - min(band, size)
    assert all(offset >= band for offset in given_out[:upper])
    with pytest.raises(Full):
        pool.take_any("x")


@pytest.mark.parametrize(
    ("size", "arguments", "band"),
    [(65534, (16, 256, 16), 256), (254, (16, 256, 16), 16), (14, (16, 256, 16), 0), (2768, (16, 128, 32), 86)],
)
def test_static_bands_are_those_of_the_keps(size: int, arguments: tuple[int, int, int], band: int) -> None:
    assert static_band(size, *arguments) == band
