"""Ranges of both families: which are chosen, which are refused, and what a node gets of them."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from sampan.cluster import containerd, podnetwork, up
from sampan.cluster import instance as instances
from sampan.cluster.choosing import Given, Machine, change, choose, refuse_clash
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings
from sampan.cluster.network_stack import edge_config
from sampan.controllers.node.ipam import Parts


def chosen(name: str, *others: Instance, families: tuple[int, ...] = (), **options: str) -> Instance:
    given = Given({f"--{key.replace('_', '-')}": value for key, value in options.items()}, families=families)
    return choose(instances.nameless(name), given, Machine(others))


def test_what_nobody_asked_for_is_ipv4_alone() -> None:
    made = chosen("a")
    assert (made.cluster.families, made.cluster.pod_cidr) == ((4,), "10.244.0.0/14")


def test_both_families_are_chosen_in_the_order_that_was_asked_for() -> None:
    made = chosen("a", families=(4, 6))
    assert made.cluster.pod_cidr == "10.244.0.0/14,fd00:10:244::/56"
    assert made.cluster.service_cidr == "10.96.0.0/16,fd00:10:96::/112"
    assert made.cluster.dns_ips == ("10.96.0.10", "fd00:10:96::a")
    assert made.cluster.kubernetes_ip == "10.96.0.1"
    assert chosen("a", families=(6, 4)).cluster.kubernetes_ip == "fd00:10:96::1"
    assert chosen("a", families=(6,)).cluster.service_cidr == "fd00:10:96::/112"


def test_the_families_of_a_range_that_is_given_are_those_of_the_other() -> None:
    made = chosen("a", service_cidr="fd00:77::/112,172.20.0.0/16")
    assert made.cluster.pod_cidr == "fd00:10:244::/56,10.244.0.0/14"


def test_a_second_cluster_has_ranges_apart_in_both_families() -> None:
    first = chosen("a", families=(4, 6))
    second = chosen("b", first, families=(6, 4))
    mine = [ip_network(each) for each in f"{second.cluster.pod_cidr},{second.cluster.service_cidr}".split(",")]
    theirs = [ip_network(each) for each in f"{first.cluster.pod_cidr},{first.cluster.service_cidr}".split(",")]
    assert not any(one.version == two.version and one.overlaps(two) for one in mine for two in theirs)  # type: ignore[arg-type]
    with pytest.raises(ClusterError, match="belongs to cluster 'a'"):
        chosen("c", first, pod_cidr="fd00:10:244::/64")


@pytest.mark.parametrize(
    ("pods", "services", "said"),
    [
        ("10.244.0.0/16,10.245.0.0/16", "10.96.0.0/16", "--pod-cidr has two ranges of one family"),
        ("10.244.0.0/16", "fd00::/112", "are of other families, or in another order"),
        ("10.244.0.0/16,fd00:1::/56", "fd00::/112,10.96.0.0/16", "are of other families, or in another order"),
        ("fd00::/56", "fd00::/112", "pod range fd00::/56 and service range fd00::/112 overlap"),
        ("fd00::/56", "fd01::/48", "--service-cidr fd01::/48 is too large"),
        ("fd00::/40", "fd01::/112", "--node-cidr-mask-ipv6 64 does not divide --pod-cidr fd00::/40"),
        ("10.244.0.0/16,", "10.96.0.0/16", "address range is not valid"),
        ("10.244.0.0/16, fd00:1::/56", "10.96.0.0/16, fd00:2::/112", "address range is not valid"),
    ],
)
def test_ranges_that_cannot_work_together_are_refused_by_name(pods: str, services: str, said: str) -> None:
    with pytest.raises(ClusterError) as refused:
        ClusterSettings(pod_cidr=pods, service_cidr=services).validate()
    assert said in refused.value.message


def test_a_range_that_contradicts_the_families_is_refused() -> None:
    with pytest.raises(ClusterError, match="not of the families"):
        chosen("a", families=(4, 6), pod_cidr="10.244.0.0/16")


def test_the_families_of_a_cluster_stay() -> None:
    made = chosen("a")
    with pytest.raises(ClusterError, match="which cannot become"):
        change(made, Given({"--pod-cidr": "10.244.0.0/14,fd00::/56"}), Machine(), running=False)
    refuse_clash(made, ())


@pytest.mark.parametrize(
    ("given", "families", "wanted"),
    [
        ("", (4, 6), "192.0.2.1,2001:db8::1"),
        ("2001:db8::9", (4, 6), "192.0.2.1,2001:db8::9"),
        ("2001:db8::9,192.0.2.9", (4, 6), "192.0.2.9,2001:db8::9"),
        ("", (6,), "2001:db8::1"),
        ("", (4,), "192.0.2.1"),
    ],
)
def test_a_node_has_an_address_of_each_family_in_the_clusters_order(
    given: str, families: tuple[int, ...], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.cluster.machine.check_own", lambda address: None)
    monkeypatch.setattr(
        "sampan.cluster.machine.node_address", lambda version=4: {4: "192.0.2.1", 6: "2001:db8::1"}[version]
    )
    made = chosen("a", families=families)
    node = NodeSettings(name="n", given_address=given)
    completed = up.complete(Instance(made.cluster, node=node))
    assert completed.node.address == wanted


def test_an_address_of_a_family_that_the_cluster_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.cluster.machine.check_own", lambda address: None)
    with pytest.raises(ClusterError, match="of a family that the cluster does not have"):
        up.complete(Instance(chosen("a").cluster, node=NodeSettings(name="n", given_address="2001:db8::9")))


def test_the_pod_network_has_a_range_and_a_route_for_each_family(tmp_path: Path) -> None:
    instance = Instance(ClusterSettings("a"), tmp_path, tmp_path)
    config = podnetwork.config(instance, "10.244.3.0/24,fd00:10:244:3::/64")
    assert config.gateways == ("10.244.3.1", "fd00:10:244:3::1")
    from sampan.network import cni

    ipam: Any = cni.render(config)["plugins"][0]["ipam"]
    assert ipam["ranges"] == [[{"subnet": "10.244.3.0/24"}], [{"subnet": "fd00:10:244:3::/64"}]]
    assert ipam["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


def test_a_part_of_an_ipv6_range_is_given_once() -> None:
    parts = Parts("fd00:10:244::/62", 64)
    given = []
    while (free := parts.lowest_free()) is not None:
        parts.occupy(free)
        given.append(free)
    assert given == ["fd00:10:244::/64", "fd00:10:244:1::/64", "fd00:10:244:2::/64", "fd00:10:244:3::/64"]
    parts.release("fd00:10:244:1::/64")
    assert parts.lowest_free() == "fd00:10:244:1::/64"


def test_a_network_of_others_is_left_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.network.cni.SYSCTLS", {})
    theirs = tmp_path / "net.d"
    node = NodeSettings(name="n", cni_conf_dir=str(theirs))
    instance = Instance(ClusterSettings("a"), tmp_path, tmp_path, node)
    with pytest.raises(ClusterError, match="is no directory"):
        instance.validate()
    theirs.mkdir()
    instance.validate()
    podnetwork.write_config(instance, "10.244.3.0/24")
    assert not list(theirs.iterdir()) and not instance.cni_conf.exists()
    assert containerd.config(instance).cni_conf_dir == theirs


@pytest.mark.parametrize(
    ("address", "first"), [("192.0.2.2,fd00::2", "192.0.2.2"), ("fd00::2,192.0.2.2", "fd00::2"), ("fd00::2", "fd00::2")]
)
def test_ingress_is_told_of_one_address_of_the_node(address: str, first: str) -> None:
    edge = edge_config(Instance(ClusterSettings("two"), node=NodeSettings(name="n", address=address, dns_port=53)))
    assert (edge.address, edge.dns) == (first, (f"{first}:53",))


def test_a_node_that_waits_for_the_network_of_others_is_told_where_its_configuration_is_looked_for() -> None:
    other = Instance(ClusterSettings("two"), node=NodeSettings(cni_conf_dir="/etc/cni/net.d"))
    said = up._fix_for_late(other, "NetworkReady=false: cni plugin not initialized")
    assert "/etc/cni/net.d (--cni-conf-dir)" in said and "containerd.log" in said
    assert "--timeout" in up._fix_for_late(other, "the node does not answer")
