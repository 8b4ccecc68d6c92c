"""From Services and EndpointSlices to the table: pure, as tables of cases."""

import itertools
from collections import Counter

import network_objects as make
import pytest

from sampan.network.proxy import bridge_is_filtered, model
from sampan.network.proxy.conntrack import StaleFlow
from sampan.network.proxy.endpoints import Place, choose
from sampan.network.proxy.model import Endpoint
from sampan.network.proxy.nftables import base, sets, spread
from sampan.network.proxy.nftables.blocks import Blocks
from sampan.network.proxy.nftables.fake import FakeNft
from sampan.network.proxy.nftables.render import render_service
from sampan.network.proxy.plan import Flow, flows_of, plan_service
from sampan.network.proxy.rules.claims import assemble
from sampan.network.proxy.rules.table import Contents, plan_change, plan_full
from sampan.network.proxy.rules.values import Chain, Element

PLACE = Place("node1", "a")


def planned(config, service, *slices):
    return render_service(plan_service(service, slices, PLACE), config, Blocks())


def ips(endpoints):
    return [endpoint.ip for endpoint in endpoints]


READY = Endpoint("10.0.0.1", 80, "node1")
FAR = Endpoint("10.0.0.2", 80, "node2")
ENDING = Endpoint("10.0.0.3", 80, "node1", ready=False, serving=True, terminating=True)
DEAD = Endpoint("10.0.0.4", 80, "node1", ready=False, serving=False, terminating=True)
NOT_READY = Endpoint("10.0.0.5", 80, "node1", ready=False, serving=True)


@pytest.mark.parametrize(
    ("endpoints", "cluster", "local"),
    [
        ([], [], []),
        ([READY, FAR], ["10.0.0.1", "10.0.0.2"], ["10.0.0.1"]),
        ([READY, ENDING, DEAD, NOT_READY], ["10.0.0.1"], ["10.0.0.1"]),
        ([ENDING, DEAD, NOT_READY], ["10.0.0.3"], ["10.0.0.3"]),
        ([FAR, ENDING], ["10.0.0.2"], ["10.0.0.3"]),
        ([DEAD, NOT_READY], [], []),
    ],
)
def test_ready_endpoints_are_used_and_ending_ones_only_without_them(endpoints, cluster, local):
    choice = choose(endpoints, PLACE)
    assert ips(choice.cluster) == cluster
    assert ips(choice.local) == local


def test_hints_count_only_when_every_endpoint_has_them():
    near = Endpoint("10.0.0.1", 80, zones=frozenset("a"))
    far = Endpoint("10.0.0.2", 80, zones=frozenset("b"))
    assert ips(choose([near, far], PLACE).cluster) == ["10.0.0.1"]
    assert ips(choose([near, far, Endpoint("10.0.0.3", 80)], PLACE).cluster) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert ips(choose([far], PLACE).cluster) == ["10.0.0.2"]


def test_a_service_port_finds_its_slice_port_by_name():
    service = make.service("web", ports=[make.port(80, name="http"), make.port(443, name="tls")])
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "tls", "port": 8443, "protocol": "TCP"}]
    slices = [make.endpoint_slice("web", [make.endpoint("10.0.0.1")], ports)]
    found = [model.endpoints_of(port, slices)[0].port for port in model.service_ports(service)]
    assert found == [8080, 8443]


def test_an_endpoint_of_two_slices_counts_once():
    port = model.service_ports(make.service("web"))[0]
    slices = [
        make.endpoint_slice("web", [make.endpoint("10.0.0.1", ready=False)]),
        make.endpoint_slice("web", [make.endpoint("10.0.0.1")], suffix="y"),
    ]
    assert model.endpoints_of(port, slices) == (Endpoint("10.0.0.1", 8080, "node1"),)


@pytest.mark.parametrize(
    "service",
    [
        make.service("web", "None"),
        make.service("web", "", type="ExternalName", externalName="example.com"),
        make.service("web", "fd00::1"),
        {**make.service("web"), "metadata": {"name": "w", "namespace": "d", "labels": {model.PROXY_NAME_LABEL: "x"}}},
    ],
)
def test_services_without_a_cluster_address_of_ours_are_left_alone(service, config):
    assert planned(config, service) == Contents()


def test_golden_cluster_ip(config):
    slices = make.endpoint_slice("web", [make.endpoint("10.244.0.2"), make.endpoint("10.244.0.3")])
    assert planned(config, make.service("web"), slices) == Contents(
        chains={},
        collections={
            sets.V4.cluster_ips: {"10.96.0.20": ""},
            sets.V4.hairpin: {"10.244.0.2 . 10.244.0.2": "", "10.244.0.3 . 10.244.0.3": ""},
            sets.V4.spread_ips("tcp", 2): {
                "10.96.0.20 . 80 . 0": "10.244.0.2 . 8080",
                "10.96.0.20 . 80 . 1": "10.244.0.3 . 8080",
            },
        },
    )


def test_golden_ways_in_from_outside(config):
    service = make.service(
        "web", ports=[make.port(80, "UDP", nodePort=30080)], type="NodePort", externalIPs=["198.51.100.7"]
    )
    slices = make.endpoint_slice("web", [make.endpoint("10.244.0.2")], [make.port(53, "UDP")])
    assert planned(config, service, slices) == Contents(
        chains={},
        collections={
            sets.V4.cluster_ips: {"10.96.0.20": ""},
            sets.V4.hairpin: {"10.244.0.2 . 10.244.0.2": ""},
            sets.V4.spread_ips("udp", 1): {
                "10.96.0.20 . 80 . 0": "10.244.0.2 . 53",
                "198.51.100.7 . 80 . 0": "10.244.0.2 . 53",
            },
            sets.V4.masqueraded_ips: {"198.51.100.7 . udp . 80": ""},
            sets.V4.masqueraded_nodeports: {"udp . 30080": ""},
            sets.V4.spread_nodeports("udp", 1): {"30080 . 0": "10.244.0.2 . 53"},
        },
    )


@pytest.mark.parametrize("count", range(1, spread.MOST + 1))
def test_no_endpoint_has_a_quarter_more_places_than_another(count):
    endpoints = [Endpoint(f"10.0.0.{number}", 80) for number in range(count)]
    had = Counter(target for _, target in spread.targets(endpoints))
    assert len(had) == count
    assert max(had.values()) <= 1.25 * min(had.values())
    assert [place for place, _ in spread.targets(endpoints)] == list(range(spread.places(count)))


@pytest.mark.parametrize("protocol", ["tcp", "sctp"])
def test_many_endpoints_and_sctp_have_a_chain(config, protocol):
    port = make.port(80, protocol.upper())
    ends = [make.endpoint(f"10.244.0.{number}") for number in range(1, 62)]
    service, slices = make.service("web", ports=[port]), make.endpoint_slice("web", ends, [port])
    chain = f"service/default/web/{protocol}/80"
    contents = planned(config, service, slices)
    assert contents.collections[sets.V4.service_ips] == {f"10.96.0.20 . {protocol} . 80": f"goto {chain}"}
    assert contents.chains[Chain(chain)] == (
        f"meta l4proto {protocol} dnat ip to numgen random mod 61 offset 0 map @{protocol}-endpoints",
    )
    assert len(contents.collections[sets.V4.endpoints(protocol)]) == 61


def test_golden_node_port_with_external_policy_local(config):
    service = make.service("web", ports=[make.port(80, nodePort=30080)], type="NodePort", externalTrafficPolicy="Local")
    contents = planned(config, service, make.endpoint_slice("web", [make.endpoint("10.244.1.2", "node2")]))
    assert contents.chains[Chain("external/default/web/tcp/80")] == (
        "ip saddr 10.244.0.0/16 goto service/default/web/tcp/80",
        "fib saddr type local jump mark-for-masquerade",
        "fib saddr type local goto service/default/web/tcp/80",
        "drop",
    )
    assert contents.collections[sets.V4.service_nodeports] == {"tcp . 30080": "goto external/default/web/tcp/80"}


def test_golden_affinity(config):
    service = make.service(
        "web", sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}}
    )
    contents = planned(config, service, make.endpoint_slice("web", [make.endpoint("10.244.0.2")]))
    assert contents.chains == {
        Chain("endpoint/default/web/tcp/80/10.244.0.2/8080"): (
            "update @affinity/default/web/tcp/80/10.244.0.2/8080/60 { ip saddr }",
            "meta l4proto tcp dnat ip to 10.244.0.2:8080",
        ),
        Chain("service/default/web/tcp/80"): (
            "ip saddr @affinity/default/web/tcp/80/10.244.0.2/8080/60 goto endpoint/default/web/tcp/80/10.244.0.2/8080",
            "numgen random mod 1 offset 0 vmap @sticky-endpoints",
        ),
    }
    assert contents.collections[sets.V4.sticky_endpoints] == {"0": "goto endpoint/default/web/tcp/80/10.244.0.2/8080"}


@pytest.mark.parametrize(
    ("spec", "endpoints", "where"),
    [
        ({}, [], sets.V4.no_endpoint_ips),
        ({"internalTrafficPolicy": "Local"}, [], sets.V4.no_endpoint_ips),
        ({"internalTrafficPolicy": "Local"}, [make.endpoint("10.244.1.2", "node2")], sets.V4.silent_ips),
    ],
)
def test_who_has_no_endpoint_is_refused_and_local_policy_is_silent(config, spec, endpoints, where):
    contents = planned(config, make.service("web", **spec), make.endpoint_slice("web", endpoints))
    refusing = {sets.V4.no_endpoint_ips, sets.V4.silent_ips}
    assert {each: contents.collections[each] for each in refusing & contents.collections.keys()} == {
        where: {"10.96.0.20 . tcp . 80": ""}
    }


def test_cluster_dns_belongs_to_the_node(config):
    ports = [make.port(53, "UDP"), make.port(9153, "TCP", name="metrics")]
    dns = make.service("kube-dns", "10.96.0.10", ports, "kube-system")
    contents = assemble({(0, "", ""): base.base_contents(config), (1, "kube-system", "kube-dns"): planned(config, dns)})
    assert contents.collections[sets.V4.service_ips]["10.96.0.10 . udp . 53"] == "goto cluster-dns/udp"
    assert contents.collections[sets.V4.service_ips]["10.96.0.10 . tcp . 9153"] == "goto cluster-dns/tcp"
    assert contents.collections[sets.V4.no_endpoint_ips] == {}


def test_of_two_claims_to_an_address_the_first_name_stays(config):
    fragments = {}
    for name in ("b", "a"):
        service = make.service(name, f"10.96.0.{ord(name)}", externalIPs=["198.51.100.7"])
        slices = [make.endpoint_slice(name, [make.endpoint(f"10.244.0.{ord(name)}")])]
        fragments[1, "default", name] = planned(config, service, *slices)
    elements = assemble(fragments).collections[sets.V4.spread_ips("tcp", 1)]
    assert elements["198.51.100.7 . 80 . 0"] == f"10.244.0.{ord('a')} . 8080"


@pytest.mark.parametrize("sticky", ["None", "ClientIP"])
async def test_every_change_leads_from_one_table_to_the_other(config, sticky):
    """Whatever the table was, applying the difference makes it what a fresh one would be."""
    states = []
    for count in (0, 1, 2, 3, 1, 0):
        service = make.service("web", ports=[make.port(80, nodePort=30080)], type="NodePort", sessionAffinity=sticky)
        ends = [make.endpoint(f"10.244.0.{number + 2}") for number in range(count)]
        fragment = planned(config, service, make.endpoint_slice("web", ends))
        states.append(assemble({(0, "", ""): base.base_contents(config), (1, "default", "web"): fragment}))
    nft = FakeNft()
    await nft.apply(plan_full(states[0]))
    for before, after in itertools.pairwise(states):
        await nft.apply(plan_change(before, after))
        fresh = FakeNft()
        await fresh.apply(plan_full(after))
        assert nft._contents == fresh._contents
        assert plan_change(after, after) == []


def test_a_changed_value_is_taken_out_before_it_is_put_in():
    before, after = Contents(), Contents()
    before.put(sets.V4.service_ips, "k", "goto a")
    after.put(sets.V4.service_ips, "k", "goto b")
    ops = [(op.verb, op.object.value) for op in plan_change(before, after) if isinstance(op.object, Element)]
    assert ops == [("delete", "goto a"), ("add", "goto b")]


def test_host_ports_are_of_running_pods_with_their_own_network():
    ports = [{"hostPort": 80, "containerPort": 8080, "protocol": "UDP"}, {"containerPort": 9}]
    pods = [
        make.pod("a", "10.0.0.1", ports),
        make.pod("done", "10.0.0.2", ports, phase="Failed"),
        make.pod("host", "192.0.2.1", ports, hostNetwork=True),
        make.pod("young", "", ports),
    ]
    assert model.host_ports(pods) == (model.HostPort("", "udp", 80, "10.0.0.1", 8080),)


def test_a_service_of_two_families_is_two_that_share_a_name():
    service = make.service(
        "web",
        "fd00::20",
        clusterIPs=["fd00::20", "10.96.0.20"],
        type="LoadBalancer",
        externalIPs=["198.51.100.7", "2001:DB8::7"],
        loadBalancerSourceRanges=["203.0.113.0/25", "203.0.113.128/25", "2001:db8:2::/64"],
    )
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "2001:db8::8"}, {"ip": "198.51.100.8"}]}}
    v4, v6 = model.service_ports(service)
    assert (v4.family, v4.cluster_ip, v4.external_ips, v4.load_balancer_ips, v4.source_ranges) == (
        (4, "10.96.0.20", ("198.51.100.7",), ("198.51.100.8",), ("203.0.113.0/24",))
    )
    assert (v6.family, v6.cluster_ip, v6.external_ips, v6.load_balancer_ips, v6.source_ranges) == (
        (6, "fd00::20", ("2001:db8::7",), ("2001:db8::8",), ("2001:db8:2::/64",))
    )
    assert v4.label != v6.label
    slices = [
        make.endpoint_slice("web", [make.endpoint("10.0.0.1")]),
        make.endpoint_slice("web", [make.endpoint("FD00::0:1")], suffix="y", addressType="IPv6"),
    ]
    assert [ips(model.endpoints_of(port, slices)) for port in (v4, v6)] == [["10.0.0.1"], ["fd00::1"]]


def test_host_ports_are_of_both_families_and_an_address_narrows_them():
    ports = [
        {"hostPort": 80, "containerPort": 8080},
        {"hostPort": 81, "containerPort": 8080, "hostIP": "::"},
        {"hostPort": 82, "containerPort": 8080, "hostIP": "192.0.2.1"},
    ]
    pod = make.pod("a", "10.0.0.1", ports)
    pod["status"]["podIPs"] = [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]
    assert {(port.family, port.port, port.host_ip) for port in model.host_ports([pod])} == {
        (4, 80, ""),
        (4, 82, "192.0.2.1"),
        (6, 80, ""),
        (6, 81, ""),
    }


def test_a_hint_of_this_node_comes_before_one_of_its_zone():
    """Traffic distribution PreferSameNode (KEP-3015): the node, else the zone, else everywhere."""
    here = Endpoint("10.0.0.1", 80, nodes=frozenset({"node1"}), zones=frozenset("a"))
    near = Endpoint("10.0.0.2", 80, nodes=frozenset({"node2"}), zones=frozenset("a"))
    far = Endpoint("10.0.0.3", 80, nodes=frozenset({"node3"}), zones=frozenset("b"))
    assert ips(choose([here, near, far], PLACE).cluster) == ["10.0.0.1"]
    assert ips(choose([near, far], PLACE).cluster) == ["10.0.0.2"]
    assert ips(choose([far], PLACE).cluster) == ["10.0.0.3"]


def test_hints_say_nothing_of_endpoints_that_end():
    near = Endpoint("10.0.0.1", 80, ready=False, serving=True, terminating=True, zones=frozenset("a"))
    far = Endpoint("10.0.0.2", 80, ready=False, serving=True, terminating=True, zones=frozenset("b"))
    assert ips(choose([near, far], PLACE).cluster) == ["10.0.0.1", "10.0.0.2"]


def test_an_endpoint_that_is_not_ready_takes_no_hints_from_the_others():
    ready = Endpoint("10.0.0.1", 80, zones=frozenset("a"))
    far = Endpoint("10.0.0.2", 80, zones=frozenset("b"))
    unready = Endpoint("10.0.0.3", 80, ready=False)
    assert ips(choose([ready, far, unready], PLACE).cluster) == ["10.0.0.1"]


def test_a_headless_label_keeps_a_service_from_proxies():
    service = make.service("web")
    service["metadata"]["labels"] = {model.HEADLESS_LABEL: ""}
    assert model.service_ports(service) == ()


def test_a_balancer_s_own_address_may_ask_where_the_node_may(config):
    """A balancer's address on the node itself: the node asks with that very address."""
    service = make.service("web", type="LoadBalancer", loadBalancerSourceRanges=["192.0.2.0/24"])
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "198.51.100.8"}]}}
    contents = planned(config, service, make.endpoint_slice("web", [make.endpoint("10.244.0.2")]))
    assert contents.chains[Chain("firewall/default/web/tcp/80")] == ("ip saddr != { 192.0.2.0/24, 198.51.100.8 } drop",)


def test_a_balancer_that_wants_to_see_the_traffic_is_not_passed_over(config):
    """ipMode Proxy (KEP-1860)."""
    service = make.service("web", type="LoadBalancer")
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "198.51.100.8", "ipMode": "Proxy"}]}}
    assert [port.load_balancer_ips for port in model.service_ports(service)] == [()]


def test_an_address_that_was_given_for_some_ports_leads_in_at_no_other() -> None:
    """A node's own address: who changes the Service's ports has not got the new one there by that."""
    service = make.service("web", type="LoadBalancer")
    service["spec"]["ports"] = [{"port": 80, "name": "a", "protocol": "TCP"}, {"port": 6443, "name": "b"}]
    given = [{"port": 80, "protocol": "TCP"}, {"port": 6443, "protocol": "UDP"}]
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP", "ports": given}]}}
    found = {port.port: port.load_balancer_ips for port in model.service_ports(service)}
    assert found == {80: ("192.0.2.1",), 6443: ()}


def test_flows_of_udp_and_sctp_are_forgotten_in_their_family():
    ports = [make.port(53, "UDP", "a"), make.port(54, "SCTP", "b"), make.port(55, "TCP", "c")]
    plan = plan_service(make.service("web", "fd00::20", ports), [], PLACE)
    assert set(flows_of(plan)) == {Flow("fd00::20", 53, "udp", 6), Flow("fd00::20", 54, "sctp", 6)}
    stale = StaleFlow(Flow("fd00::20", 54, "sctp", 6), "fd00::1")
    assert " ".join(stale.arguments()) == "-f ipv6 -p sctp --orig-port-dst 54 --orig-dst fd00::20 --dst-nat fd00::1"


@pytest.mark.parametrize(("values", "filtered"), [({}, False), ({"ip": "1"}, False), ({"ip": "1", "ip6": "1"}, True)])
def test_a_bridge_is_filtered_where_both_families_are(tmp_path, values, filtered):
    for family, value in values.items():
        (tmp_path / f"bridge-nf-call-{family}tables").write_text(f"{value}\n")
    assert bridge_is_filtered(tmp_path) is filtered
