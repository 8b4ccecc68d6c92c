"""A second cluster shares nothing with the first: what is chosen for it, and what is refused by name."""

from __future__ import annotations

import itertools
import socket
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from sampan.cluster import choosing
from sampan.cluster.choosing import Given, Machine, change, choose, refuse_clash
from sampan.cluster.control_plane import server_config
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings, nameless
from sampan.cluster.node_process import node_config


def options(**given: Any) -> Given:
    return Given({f"--{name.replace('_', '-')}": value for name, value in given.items()})


def ports(made: Instance) -> set[int]:
    low, high = made.cluster.node_ports
    return {made.cluster.api_port, made.node.kubelet_port, made.node.dns_port, *range(low, high + 1)}


def ranges(made: Instance) -> list[IPv4Network]:
    return [IPv4Network(made.cluster.pod_cidr), IPv4Network(made.cluster.service_cidr)]


def chosen_one_after_another(count: int) -> list[Instance]:
    made: list[Instance] = []
    for number in range(count):
        made.append(choose(nameless(f"c{number}"), Given(), Machine(tuple(made))))
    return made


def test_the_first_cluster_has_the_defaults() -> None:
    first = choose(nameless("default"), Given(), Machine())
    assert (first.cluster, first.node) == (ClusterSettings(), NodeSettings())


def test_every_further_cluster_shares_no_port_and_no_address_with_those_before() -> None:
    made = chosen_one_after_another(15)
    for one, other in itertools.combinations(made, 2):
        assert not ports(one) & ports(other)
        assert not any(mine.overlaps(theirs) for mine in ranges(one) for theirs in ranges(other))
        refuse_clash(one, [other])


def test_the_choice_is_the_same_each_time() -> None:
    assert chosen_one_after_another(4) == chosen_one_after_another(4)


def test_a_cluster_of_another_version_with_the_old_range_is_not_touched() -> None:
    old = Instance(ClusterSettings("old", pod_cidr="10.244.0.0/16"))
    assert choose(nameless("new"), Given(), Machine((old,))).cluster.pod_cidr == "10.240.0.0/14"


def test_networks_that_the_machine_is_on_and_ports_that_others_hold_are_left_out() -> None:
    machine = Machine(
        routes=(IPv4Network("10.245.0.0/24"), IPv4Network("10.96.8.0/21")), is_free=lambda port: port != 6443
    )
    made = choose(nameless("default"), Given(), machine)
    assert made.cluster.pod_cidr == "10.240.0.0/14"
    assert made.cluster.service_cidr == "10.97.0.0/16"
    assert made.cluster.api_port == 6543


def test_what_is_given_is_kept_and_the_rest_keeps_off_it() -> None:
    given = options(api_port=30500, pod_cidr="10.96.0.0/16", dns_port=10250)
    made = choose(nameless("default"), given, Machine())
    assert (made.cluster.api_port, made.cluster.pod_cidr, made.node.dns_port) == (30500, "10.96.0.0/16", 10250)
    assert made.cluster.service_cidr == "10.97.0.0/16"
    assert made.cluster.node_ports == (29000, 29999)
    assert made.node.kubelet_port == 10350


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (options(api_port=6443), "--api-port 6443"),
        (options(api_port=10250), "--api-port 10250"),
        (options(dns_port=30001), "--dns-port 30001"),
        (options(node_port_range=(32000, 32999)), "--node-port-range 32000-32999"),
        (options(node_port_range=(6000, 7000)), "--node-port-range 6000-7000"),
        (options(pod_cidr="10.244.7.0/24"), "--pod-cidr 10.244.7.0/24"),
        (options(service_cidr="10.96.0.0/12"), "--service-cidr 10.96.0.0/12"),
    ],
)
def test_what_belongs_to_another_cluster_is_refused_naming_both(given: Given, words: str) -> None:
    first = Instance(ClusterSettings("default"))
    with pytest.raises(ClusterError) as refused:
        choose(nameless("blue"), given, Machine((first,)))
    assert words in refused.value.message
    assert "'blue'" in refused.value.message and "'default'" in refused.value.message
    assert refused.value.fix


@pytest.mark.parametrize("given", [options(pod_cidr="192.0.2.0/24"), options(service_cidr="192.0.0.0/16")])
def test_a_range_that_the_machine_is_on_itself_is_refused_unless_its_pods_are_somebody_elses(given: Given) -> None:
    machine = Machine(routes=(IPv4Network("192.0.2.0/24"),))
    with pytest.raises(ClusterError, match=r"overlaps 192\.0\.2\.0/24, a network that this machine is on"):
        choose(nameless("one"), given, machine)


def test_pods_of_another_network_are_where_that_ones_routes_lead(tmp_path: Path) -> None:
    given = options(pod_cidr="192.0.2.0/24", cni_conf_dir=str(tmp_path))
    made = choose(nameless("one"), given, Machine(routes=(IPv4Network("192.0.2.0/24"),)))
    assert made.cluster.pod_cidr == "192.0.2.0/24"


def test_a_machine_with_no_room_left_is_told_with_the_option_to_use() -> None:
    with pytest.raises(ClusterError, match="no port for --api-port is free") as refused:
        choose(nameless("one"), Given(), Machine(is_free=lambda port: False))
    assert refused.value.fix == "name one with --api-port"
    full = Machine(routes=tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
    with pytest.raises(ClusterError, match="no private address range is free"):
        choose(nameless("one"), Given(), full)


# A cluster that exists


MADE = Instance(ClusterSettings("blue"), node=NodeSettings("n", address="192.0.2.1"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (options(pod_cidr="10.1.0.0/16"), "--pod-cidr 10.244.0.0/14, which cannot become 10.1.0.0/16"),
        (options(service_cidr="10.1.0.0/16"), "--service-cidr"),
        (options(node_port_range=(31000, 31999)), "--node-port-range 30000-32767, which cannot become 31000-31999"),
        (options(node_name="other"), "--node-name n, which cannot become other"),
        (options(node_cidr_mask=25), "--node-cidr-mask 24, which cannot become 25"),
    ],
)
@pytest.mark.parametrize("running", [True, False])
def test_an_option_that_an_existing_cluster_cannot_take_is_refused_by_name(
    given: Given, words: str, running: bool
) -> None:
    with pytest.raises(ClusterError) as refused:
        change(MADE, given, Machine(), running=running)
    assert words in refused.value.message and "'blue'" in refused.value.message


def test_options_that_say_what_is_so_are_fine() -> None:
    given = options(api_port=6443, pod_cidr="10.244.0.0/14", node_name="n", runtime="runc")
    assert change(MADE, given, Machine(), running=True) == MADE


def test_a_stopped_cluster_takes_the_sysctls_that_its_node_allows_anew() -> None:
    made = change(MADE, options(allowed_unsafe_sysctls="kernel.msg*,net.core.somaxconn"), Machine(), running=False)
    assert node_config(made).allowed_unsafe_sysctls == ("kernel.msg*", "net.core.somaxconn")
    assert node_config(MADE).allowed_unsafe_sysctls == ()


def test_a_stopped_cluster_takes_admission_plugins_anew() -> None:
    given = options(enable_admission_plugins="AlwaysPullImages, NamespaceExists", disable_admission_plugins="Priority")
    made = change(MADE, given, Machine(), running=False)
    config = server_config(made)
    assert config.enable_admission_plugins == ("AlwaysPullImages", "NamespaceExists")
    assert (config.disable_admission_plugins, config.admission_config) == (("Priority",), None)
    with pytest.raises(ClusterError, match=r"\[Priority\] in enable-admission-plugins and disable"):
        change(made, options(enable_admission_plugins="Priority"), Machine(), running=False)


def test_a_stopped_cluster_takes_what_autoscalers_go_by_anew() -> None:
    given = Given({
        "--horizontal-pod-autoscaler-sync-period": 5.0, "--horizontal-pod-autoscaler-downscale-stabilization": 10.0,
        "--horizontal-pod-autoscaler-tolerance": 0.2, "--horizontal-pod-autoscaler-cpu-initialization-period": 20.0,
        "--horizontal-pod-autoscaler-initial-readiness-delay": 0.0,
    })  # fmt: skip
    made = change(MADE, given, Machine(), running=False).cluster
    assert (made.autoscaler_sync_seconds, made.autoscaler_downscale_stabilization_seconds) == (5.0, 10.0)
    assert (made.autoscaler_tolerance, made.autoscaler_cpu_initialization_seconds) == (0.2, 20.0)
    assert made.autoscaler_initial_readiness_seconds == 0.0
    with pytest.raises(ClusterError, match="horizontal-pod-autoscaler-tolerance"):
        change(MADE, given, Machine(), running=True)


def test_a_stopped_cluster_takes_ports_address_and_runtime_anew() -> None:
    given = options(api_port=7443, kubelet_port=11250, dns_port=11053, runtime="crun", node_address="192.0.2.9")
    made = change(MADE, given, Machine(), running=False)
    assert (made.cluster.api_port, made.node.kubelet_port, made.node.dns_port) == (7443, 11250, 11053)
    assert (made.node.runtime, made.node.given_address) == ("crun", "192.0.2.9")
    with pytest.raises(ClusterError, match="'other'"):
        change(MADE, given, Machine((Instance(ClusterSettings("other", api_port=7443)),)), running=False)
    with pytest.raises(ClusterError, match="inside the node port range"):
        change(MADE, options(api_port=30001), Machine(), running=False)


def test_a_running_one_is_told_how_to_take_them() -> None:
    with pytest.raises(ClusterError) as refused:
        change(MADE, options(api_port=7443), Machine(), running=True)
    assert "running with --api-port 6443" in refused.value.message
    assert refused.value.fix == "`sampan down --name blue`, then `sampan up --name blue --api-port 7443`"


def test_a_clash_from_before_clusters_were_kept_apart_does_not_stop_one_that_is_started_as_it_is() -> None:
    assert change(MADE, Given(), Machine((Instance(ClusterSettings("other")),)), running=False) == MADE


# Looking


def test_the_other_instances_are_read_and_damaged_ones_left_out(tmp_path: Path) -> None:
    for name in ("one", "two", "broken"):
        Instance(ClusterSettings(name), tmp_path, tmp_path).save()
    (tmp_path / "broken" / "cluster.json").write_text("{")
    found = choosing.machine_now(nameless("one", state_root=tmp_path))
    assert [other.name for other in found.others] == ["two"]


def test_routes_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "sampan0\t0000F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert list(choosing.routed(table, but="sampan0")) == [IPv4Network("192.0.2.0/24")]
    assert list(choosing.routed(tmp_path / "none")) == []


def test_routes_of_ipv6_are_read_without_what_every_interface_has(tmp_path: Path) -> None:
    zero, table = "0" * 32, tmp_path / "ipv6_route"
    rows = [
        ("20010db8000000000000000000000000", "40", "eth0"),
        ("fd000010024400000000000000000000", "40", "sampan0"),
        ("fe800000000000000000000000000000", "40", "eth0"),
        ("ff000000000000000000000000000000", "08", "eth0"),
        ("20010db8000000000000000000000002", "80", "lo"),
        (zero, "00", "eth0"),
    ]
    table.write_text("".join(f"{to} {bits} {zero} 00 {zero} 00000100 1 0 1 {link:>8}\n" for to, bits, link in rows))
    assert list(choosing.routed_ipv6(table, but="sampan0")) == [IPv6Network("2001:db8::/64")]
    assert list(choosing.routed_ipv6(tmp_path / "none")) == []


def test_every_option_is_a_field_of_the_settings() -> None:
    made = replace(MADE)
    given = Given(
        {option: getattr(made.cluster, name) for option, name in choosing.CLUSTER_OPTIONS.items()}
        | {option: getattr(made.node, name) for option, name in choosing.NODE_OPTIONS.items()}
    )
    assert change(made, given, Machine(), running=True) == made
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        assert not choosing.is_free(held.getsockname()[1])


def test_a_stopped_cluster_takes_served_versions_and_features_anew() -> None:
    given = options(runtime_config="api/beta=false", feature_gates="ContainerStopSignals=true")
    config = server_config(change(MADE, given, Machine(), running=False))
    assert (config.runtime_config, config.feature_gates) == ("api/beta=false", "ContainerStopSignals=true")
    with pytest.raises(ClusterError, match="--runtime-config: unknown api groups nonsense"):
        change(MADE, options(runtime_config="nonsense/v1=true"), Machine(), running=False)
    with pytest.raises(ClusterError, match="--feature-gates: cannot set feature gate NodeSwap to false"):
        change(MADE, options(feature_gates="NodeSwap=false"), Machine(), running=False)


def test_a_stopped_cluster_takes_another_proxy_mode():
    made = choose(nameless("new"), Given(), Machine())
    assert made.node.proxy_mode == "nftables"
    assert change(made, options(proxy_mode="iptables"), Machine(), running=False).node.proxy_mode == "iptables"
    with pytest.raises(ClusterError, match="is running with --proxy-mode nftables"):
        change(made, options(proxy_mode="iptables"), Machine(), running=True)
    for running in (False, True):  # nobody is told to stop a cluster for what cannot be
        with pytest.raises(ClusterError, match="--proxy-mode magic is not known"):
            change(made, options(proxy_mode="magic"), Machine(), running=running)
