"""What a person may choose for an instance, and what is made of damaged settings."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance, load, nameless, names
from sampan.cluster.nodesettings import NodeSettings
from sampan.cluster.settings import NAME, ClusterSettings


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "No/Good"}, "instance name 'No/Good' is not valid"),
        ({"name": "x" * 41}, "is not valid"),
        ({"pod_cidr": "10.244.0.1/16"}, "address range is not valid"),
        ({"pod_cidr": "10.96.0.0/12"}, "overlap"),
        ({"pod_cidr": "10.244.0.0/25"}, "--node-cidr-mask 24 does not divide --pod-cidr 10.244.0.0/25"),
        ({"node_cidr_mask": 29}, "--node-cidr-mask 29 does not divide"),
        ({"loadbalancer_pool": "192.0.2.9-192.0.2.1"}, '--loadbalancer-pool: "192.0.2.9-192.0.2.1" does not end'),
        ({"pod_cidr": "10.0.0.0/8", "service_cidr": "172.16.0.0/16", "node_cidr_mask": 25}, "does not divide"),
        ({"service_cidr": "10.96.0.0/29"}, "--service-cidr 10.96.0.0/29 is too small"),
        ({"node_ports": (40000, 30000)}, "node port range 40000-30000 is not valid"),
        ({"node_ports": (1, 99999)}, "is not valid"),
        ({"api_port": 70000}, "--api-port 70000 is not a port"),
        ({"api_port": 30001}, "inside the node port range"),
        ({"cluster_domain": "a_b"}, "cluster domain 'a_b' is not valid"),
    ],
)
def test_cluster_settings_that_cannot_work_are_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ClusterError) as refused:
        replace(ClusterSettings(), **change).validate()
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kubelet_port": 0}, "--kubelet-port 0 is not a port"),
        ({"dns_port": 6443}, "must differ"),
        ({"dns_port": 30001}, "inside the node port range"),
        ({"name": "Bad_Name"}, "node name 'Bad_Name' is not valid"),
        ({"address": "nowhere"}, "node address 'nowhere' is not an IP address"),
        ({"address": "127.0.0.1"}, "node address 127.0.0.1 is none that pods can reach"),
        ({"runtime": "kata"}, "runtime 'kata' is not known"),
        ({"proxy_mode": "magic"}, "--proxy-mode magic is not known"),
        ({"ipvs_scheduler": "best"}, "--ipvs-scheduler best is not known"),
        ({"nodeport_addresses": "192.0.2.1/33"}, "--nodeport-addresses: "),
        ({"roles": ("cook",)}, "role 'cook' is not known"),
        ({"roles": ()}, "this machine has no role"),
    ],
)
def test_node_settings_that_cannot_work_are_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ClusterError) as refused:
        replace(NodeSettings(), **change).validate(ClusterSettings())
    assert words in refused.value.message


def test_the_defaults_are_valid_and_hold_more_than_256_nodes() -> None:
    settings = ClusterSettings()
    Instance(settings).validate()
    assert 2 ** (settings.node_cidr_mask - int(settings.pod_cidr.rpartition("/")[2])) == 1024


def test_a_nodes_part_of_the_range_may_be_of_another_size() -> None:
    replace(ClusterSettings(), pod_cidr="10.244.0.0/16", node_cidr_mask=26).validate()


def made(root: Path, name: str = "one") -> Instance:
    instance = Instance(
        ClusterSettings(name, node_ports=(31000, 31999)), root / "state", root / "run", NodeSettings("n", dns_port=53)
    )
    instance.save()
    return instance


def test_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    instance = made(tmp_path)
    assert load("one", state_root=tmp_path / "state", run_root=tmp_path / "run") == instance
    assert names(tmp_path / "state") == ["one"]


def test_settings_of_another_version_lack_and_have_keys(tmp_path: Path) -> None:
    instance = made(tmp_path)
    instance.cluster_file.write_bytes(b'{"name": "one", "later": 1}')
    instance.node_file.write_bytes(b'{"later": 1}')
    read = load("one", state_root=tmp_path / "state")
    assert (read.cluster, read.node) == (ClusterSettings("one"), NodeSettings())


def test_settings_that_were_written_before_cluster_and_node_were_apart_are_read(tmp_path: Path) -> None:
    instance = made(tmp_path)
    instance.node_file.unlink()
    old = {"name": "one", "api_port": 7443, "kubelet_port": 11250, "pod_cidr": "10.244.0.0/16", "node_name": "n"}
    instance.cluster_file.write_bytes(orjson.dumps({**old, "node_address": "192.0.2.1", "given_address": ""}))
    read = load("one", state_root=tmp_path / "state")
    assert (read.cluster.api_port, read.cluster.pod_cidr) == (7443, "10.244.0.0/16")
    assert (read.node.name, read.node.address, read.node.kubelet_port) == ("n", "192.0.2.1", 11250)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b'{"name": "other"}', b'{"name": "one", "api_port": "6443"}',
     b'{"name": "one", "node_ports": 3}', b'{"name": "one", "node_ports": ["a", "b"]}',
     b'{"name": "one", "node_ports": [1, 2, 3]}'],
)  # fmt: skip
def test_damaged_settings_are_said_to_be_damaged(tmp_path: Path, content: bytes) -> None:
    made(tmp_path).cluster_file.write_bytes(content)
    with pytest.raises(ClusterError) as refused:
        load("one", state_root=tmp_path / "state")
    assert "is damaged" in refused.value.message
    assert refused.value.fix.startswith("`sampan down --name one --purge`")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"name": 1}', b'{"roles": "node"}', b'{"roles": [1]}'])
def test_damaged_settings_of_the_node_are_told_as_such(tmp_path: Path, content: bytes) -> None:
    instance = made(tmp_path)
    instance.node_file.write_bytes(content)
    with pytest.raises(ClusterError, match=f"{instance.node_file} is damaged") as refused:
        load("one", state_root=tmp_path / "state")
    for python in ("[Errno", "'str'", "<class"):
        assert python not in refused.value.message


def test_a_cluster_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as refused:
        load("none", state_root=tmp_path)
    assert refused.value.fix == "`sampan up --name none` makes one"


def test_a_directory_in_place_of_the_settings_is_told(tmp_path: Path) -> None:
    (tmp_path / "one" / "cluster.json").mkdir(parents=True)
    with pytest.raises(ClusterError, match="cannot read"):
        load("one", state_root=tmp_path)


def test_a_name_that_is_a_path_is_never_used(tmp_path: Path) -> None:
    for use in (lambda: load("../etc", state_root=tmp_path), lambda: nameless("../etc", state_root=tmp_path)):
        with pytest.raises(ClusterError, match="is not valid"):
            use()


def test_everything_on_the_machine_carries_the_name() -> None:
    instance = nameless("blue")
    named = (instance.bridge, instance.cgroup, instance.context, str(instance.state), str(instance.run))
    assert all("blue" in text for text in named)


def test_a_long_name_gives_an_interface_of_its_own_that_the_kernel_takes() -> None:
    long = [
        "integration-tests-of-the-payment-service",
        "integration-tests-of-the-payment-servicf",
        "integ",
        "integratio",
    ]
    bridges = [interface for name in long for interface in (nameless(name).bridge, nameless(name).cluster.overlay)]
    assert all(NAME.match(name) for name in long)
    assert len(set(bridges)) == len(bridges)
    assert all(len(bridge) <= 15 for bridge in bridges)


def test_a_socket_of_the_longest_name_is_short_enough_for_the_kernel() -> None:
    assert len(str(nameless("x" * 40).containerd_socket) + ".ttrpc") < 108


def test_the_cluster_and_the_node_are_apart_on_disk(tmp_path: Path) -> None:
    instance = made(tmp_path)
    cluster, node = (orjson.loads(path.read_bytes()) for path in (instance.cluster_file, instance.node_file))
    assert (cluster["node_ports"], node["dns_port"]) == ([31000, 31999], 53)
    # What a second machine would be given says nothing of this one.
    shared = {field.name for field in dataclasses.fields(ClusterSettings)}
    assert set(cluster) == shared and not {"kubelet_port", "roles", "given_address"} & shared


def test_well_known_addresses_are_kubeadms() -> None:
    settings = ClusterSettings()
    assert (settings.kubernetes_ip, settings.dns_ips) == ("10.96.0.1", ("10.96.0.10",))


def test_a_node_without_the_control_plane_reaches_it_where_the_cluster_says() -> None:
    assert Instance(ClusterSettings(api_address="192.0.2.7", api_port=7443)).api_url == "https://192.0.2.7:7443"
    assert Instance(ClusterSettings()).api_url == "https://127.0.0.1:6443"


@pytest.mark.parametrize(
    "option", ["downscale_stabilization_seconds", "cpu_initialization_seconds", "initial_readiness_seconds"]
)
def test_autoscalers_remember_for_a_day_at_most(option: str) -> None:
    replace(ClusterSettings(), **{f"autoscaler_{option}": 24 * 3600.0}).validate()
    with pytest.raises(ClusterError, match=r"must be at most 24h"):
        replace(ClusterSettings(), **{f"autoscaler_{option}": 24 * 3600.0 + 1}).validate()
