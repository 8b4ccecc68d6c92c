"""The contract of back ends: what a Service does, with real packets, on each back end and in both address families.

Every test runs on a cluster of two families and asks by both; the last ones on clusters of one.
"""

import asyncio
import dataclasses
import shutil
import socket
import subprocess

import network_lab
import network_objects as make
import pytest

from sampan.api.resources import ENDPOINT_SLICES, PODS, SERVICES
from sampan.network.proxy import NftBackend, modes
from sampan.network.proxy.conntrack import Conntrack
from sampan.network.proxy.iptables.backend import IptablesBackend
from sampan.network.proxy.iptables.restore import IptablesTables
from sampan.network.proxy.userspace.backend import UserspaceBackend

pytestmark = pytest.mark.timeout(120)


@dataclasses.dataclass(frozen=True)
class Family:
    version: int
    pods: tuple[str, ...]
    node: str
    outside: str
    gateway: str
    vip: str
    external: str
    balancer: str
    far: str
    elsewhere: str
    any: str


V4 = Family(
    4,
    tuple(network_lab.PODS.values()),
    network_lab.NODE_ADDRESS,
    network_lab.OUTSIDE_ADDRESS,
    network_lab.GATEWAY,
    "10.96.0.20",
    "198.51.100.7",
    "198.51.100.8",
    "10.244.9.9",
    "203.0.113.0/24",
    "0.0.0.0",
)
V6 = Family(
    6,
    tuple(network_lab.PODS6.values()),
    network_lab.NODE_ADDRESS6,
    network_lab.OUTSIDE_ADDRESS6,
    network_lab.GATEWAY6,
    "fd00:10:96::20",
    "2001:db8:1::7",
    "2001:db8:1::8",
    "fd00:10:244:9::9",
    "2001:db8:2::/64",
    "::",
)
BOTH = (V4, V6)
BACKENDS = ("nftables", "iptables", "userspace")


def in_both(config):
    return dataclasses.replace(
        config,
        node_address=f"{V4.node},{V6.node}",
        node_pod_cidr="10.244.0.0/24,fd00:10:244::/64",
        cluster_pod_cidr="10.244.0.0/16,fd00:10:244::/48",
        service_cidr="10.96.0.0/16,fd00:10:96::/112",
        dns_ip="10.96.0.10,fd00:10:96::a",
        bridge="br0",
    )


@pytest.fixture
async def servers(lab):
    """TCP 8080 in every pod and outside, in both families."""
    opened = [await lab.serve_tcp(name, 8080, family.any) for name in (*network_lab.PODS, "outside") for family in BOTH]
    yield
    for server in opened:
        server.close()


@pytest.fixture(params=BACKENDS)
def backend_kind(request):
    if request.param == "iptables" and shutil.which("iptables-restore") is None:
        pytest.skip("iptables is not installed")
    return request.param


@pytest.fixture
async def made(backend_kind, lab):
    """Makes a back end of the kind, and takes away what it did."""
    undo = []

    def in_node(*what):
        with lab.inside("node"):
            return socket.socket(*what)

    def make_backend(config):
        undo.append(config)
        reach = network_lab.LabReach(lab, config)
        if backend_kind == "iptables":
            versions = [family.version for family in config.families]
            return IptablesBackend(config, IptablesTables(config.instance, versions, lab.command("node")), reach)
        rules = NftBackend(config, lab.nft(config.table), reach)
        return rules if backend_kind == "nftables" else UserspaceBackend(config, rules, in_node)

    yield make_backend
    for config in undo:
        await modes.remove(backend_kind, config.instance, lab.command("node"))


@pytest.fixture
async def proxy(lab, servers, client, config, run_proxy, made):
    config = in_both(config)
    async with run_proxy(client, config, backend=made(config), conntrack=Conntrack(lab.command("node"))) as running:
        yield running


def web(families=BOTH, **spec):
    return make.service("web", families[0].vip, clusterIPs=[family.vip for family in families], **spec)


def slices(*entries, owner="web", families=BOTH, ports=()):
    """One a family. An entry is the number of a pod, or that and what is said of it."""
    return [
        make.endpoint_slice(
            owner, ends(family, *entries), ports, suffix=f"v{family.version}", addressType=f"IPv{family.version}"
        )
        for family in families
    ]


def ends(family, *entries):
    pairs = [entry if isinstance(entry, tuple) else (entry, {}) for entry in entries]
    return [make.endpoint(family.pods[pod - 1], **more) for pod, more in pairs]


async def create(client, proxy, *objects):
    kinds = {"Service": SERVICES, "EndpointSlice": ENDPOINT_SLICES, "Pod": PODS}
    for obj in objects:
        await client.create(kinds[obj["kind"]], obj)
    await proxy.settled()


async def change_endpoints(client, proxy, *entries, owner="web"):
    for family in BOTH:
        patch = {"endpoints": ends(family, *entries)}
        await client.patch(ENDPOINT_SLICES, f"{owner}-v{family.version}", patch, "default")
    await proxy.settled()


async def who(lab, name, address, port, count=40):
    """The pods that answer: of ``count`` questions, or of fewer where two have answered and had time for a third."""
    heard = set()
    for turn in range(count):
        heard.add((await lab.get(name, address, port)).split()[0])
        if len(heard) > 1 and turn > 6:
            break
    return heard


async def test_a_cluster_address_is_shared_by_ready_endpoints(lab, client, proxy):
    await create(client, proxy, web(), *slices(1, 2, (3, {"ready": False})))
    for family in BOTH:
        assert await who(lab, "pod3", family.vip, 80) == {"pod1", "pod2"}
        assert await who(lab, "node", family.vip, 80) == {"pod1", "pod2"}


async def test_a_pod_reaches_itself_through_its_service(lab, client, proxy):
    await create(client, proxy, web(), *slices(1))
    for family in BOTH:
        assert await who(lab, "pod1", family.vip, 80, 1) == {"pod1"}


async def test_an_endpoint_that_goes_gets_nothing_more_and_one_that_comes_its_share(lab, client, proxy):
    await create(client, proxy, web(), *slices(1, 2))
    await change_endpoints(client, proxy, 2, 3)
    for family in BOTH:
        assert await who(lab, "node", family.vip, 80) == {"pod2", "pod3"}
    await change_endpoints(client, proxy, 1)
    for family in BOTH:
        assert await who(lab, "node", family.vip, 80, 4) == {"pod1"}


async def test_without_endpoints_connections_are_refused_at_once(lab, client, proxy):
    await create(client, proxy, web(type="NodePort", ports=[make.port(80, nodePort=30080)]))
    for family in BOTH:
        assert await lab.get("pod3", family.vip, 80) == "refused"
        assert await lab.get("node", family.vip, 80) == "refused"
        assert await lab.get("outside", family.node, 30080) == "refused"


async def test_endpoints_that_end_serve_only_when_nothing_else_is_ready(lab, client, proxy):
    ending = {"ready": False, "serving": True, "terminating": True}
    await create(client, proxy, web(), *slices(1, (2, ending)))
    for family in BOTH:
        assert await who(lab, "pod3", family.vip, 80, 8) == {"pod1"}
    await change_endpoints(client, proxy, (1, {"ready": False}), (2, ending))
    for family in BOTH:
        assert await who(lab, "pod3", family.vip, 80, 4) == {"pod2"}


async def test_a_node_port_answers_from_outside_and_inside(lab, client, proxy):
    await create(client, proxy, web(type="NodePort", ports=[make.port(80, nodePort=30080)]), *slices(1))
    for family in BOTH:
        for name in ("outside", "node", "pod3", "pod1"):
            assert await who(lab, name, family.node, 30080, 1) == {"pod1"}


async def test_a_node_port_answers_the_node_itself_on_localhost(lab, client, proxy):
    await create(client, proxy, web(type="NodePort", ports=[make.port(80, nodePort=30080)]), *slices(1))
    assert await who(lab, "node", "127.0.0.1", 30080, 1) == {"pod1"}


async def test_traffic_stays_on_the_node_while_an_endpoint_is_meant_for_it(lab, client, proxy):
    """Traffic distribution PreferSameNode: the hints that EndpointSlices carry then."""
    objects = slices(1, (2, {"node": "node2"}))
    for each in objects[:2]:
        for endpoint in each["endpoints"]:
            endpoint["hints"] = {"forNodes": [{"name": endpoint["nodeName"]}]}
    await create(client, proxy, web(trafficDistribution="PreferSameNode"), *objects)
    for family in BOTH:
        assert await who(lab, "pod3", family.vip, 80, 8) == {"pod1"}
    await change_endpoints(client, proxy, (2, {"node": "node2"}))
    for family in BOTH:
        assert await who(lab, "pod3", family.vip, 80, 2) == {"pod2"}


async def test_a_node_port_refuses_at_once_on_the_loopback_address_of_ipv6(lab, client, proxy):
    """As upstream's, it does not answer there; whoever tries ``localhost`` goes on to 127.0.0.1."""
    await create(client, proxy, web(type="NodePort", ports=[make.port(80, nodePort=30080)]), *slices(1))
    assert await lab.get("node", "::1", 30080) == "refused"


async def test_node_ports_answer_on_the_ranges_that_are_given_alone(lab, servers, client, config, run_proxy, made):
    config = dataclasses.replace(in_both(config), node_port_addresses=f"{V4.node}/32")
    async with run_proxy(client, config, backend=made(config), conntrack=Conntrack(lab.command("node"))) as proxy:
        await create(client, proxy, web(type="NodePort", ports=[make.port(80, nodePort=30080)]), *slices(1))
        assert await who(lab, "outside", V4.node, 30080, 1) == {"pod1"}
        assert await lab.get("pod3", V4.gateway, 30080) == "refused"
        assert await lab.get("outside", V6.node, 30080) == "refused"


async def test_external_and_load_balancer_addresses_lead_in_from_outside_and_inside(lab, client, proxy):
    service = web(type="LoadBalancer", externalIPs=[family.external for family in BOTH])
    service["status"] = {"loadBalancer": {"ingress": [{"ip": family.balancer} for family in BOTH]}}
    await create(client, proxy, service, *slices(1))
    for family in BOTH:
        for address in (family.external, family.balancer):
            assert await who(lab, "outside", address, 80, 1) == {"pod1"}
            assert await who(lab, "pod3", address, 80, 1) == {"pod1"}


async def test_source_ranges_shut_others_out(lab, client, proxy):
    ranges = [family.elsewhere for family in BOTH]
    service = web(type="LoadBalancer", loadBalancerSourceRanges=ranges)
    service["status"] = {"loadBalancer": {"ingress": [{"ip": family.balancer} for family in BOTH]}}
    await create(client, proxy, service, *slices(1))
    for family in BOTH:
        assert await lab.get("outside", family.balancer, 80, 0.2) == "silence"
    ranges = [f"{family.outside}/{32 if family is V4 else 128}" for family in BOTH]
    await client.patch(SERVICES, "web", {"spec": {"loadBalancerSourceRanges": ranges}}, "default")
    await proxy.settled()
    for family in BOTH:
        assert await who(lab, "outside", family.balancer, 80, 1) == {"pod1"}


async def test_a_client_stays_with_its_endpoint(lab, client, proxy):
    await create(client, proxy, web(sessionAffinity="ClientIP"), *slices(1, 2, 3))
    for family in BOTH:
        assert len(await who(lab, "pod3", family.vip, 80, 8)) == 1


async def test_external_policy_local_keeps_the_source_and_is_silent_elsewhere(lab, client, proxy, backend_kind):
    service = web(type="NodePort", externalTrafficPolicy="Local", ports=[make.port(80, nodePort=30080)])
    await create(client, proxy, service, *slices(1, (2, {"node": "node2"})))
    for family in BOTH:
        # A relay asks for itself: what the endpoint sees is the node.
        seen = family.gateway if backend_kind == "userspace" else family.outside
        assert {await lab.get("outside", family.node, 30080) for _ in range(6)} == {f"pod1 {seen}"}
        assert await who(lab, "pod3", family.node, 30080) == {"pod1", "pod2"}
    await change_endpoints(client, proxy, (2, {"node": "node2"}))
    for family in BOTH:
        assert await lab.get("outside", family.node, 30080, 0.2) == "silence"
        assert await who(lab, "pod3", family.node, 30080, 1) == {"pod2"}


async def test_internal_policy_local_stays_on_the_node(lab, client, proxy):
    await create(client, proxy, web(internalTrafficPolicy="Local"), *slices(1, (2, {"node": "node2"})))
    for family in BOTH:
        assert await who(lab, "pod3", family.vip, 80, 8) == {"pod1"}
    await change_endpoints(client, proxy, (2, {"node": "node2"}))
    for family in BOTH:
        assert await lab.get("pod3", family.vip, 80, 0.2) == "silence"


@pytest.mark.skipif(shutil.which("conntrack") is None, reason="conntrack is not installed")
async def test_udp_clients_follow_when_their_endpoint_goes(lab, client, proxy):
    ports = [make.port(5000, "UDP")]
    opened = [await lab.serve_udp(pod, 5000, family.any) for pod in ("pod1", "pod2") for family in BOTH]
    clients = {family: lab.client("pod3", socket.SOCK_DGRAM, family.vip) for family in BOTH}
    try:
        await create(client, proxy, web(ports=[make.port(500, "UDP")]), *slices(1, ports=ports))
        for family, udp in clients.items():
            assert (await lab.ask(udp, family.vip, 500)).split()[0] == "pod1"
        await change_endpoints(client, proxy, 2)
        for family, udp in clients.items():
            assert (await lab.ask(udp, family.vip, 500)).split()[0] == "pod2"
    finally:
        for each in (*opened, *clients.values()):
            each.close()


async def test_sctp_is_led_to_endpoints_and_their_answers_back(lab, client, proxy):
    """The first packets of associations: by cluster address, by node port, and of a pod with itself."""
    service = web(type="NodePort", ports=[make.port(500, "SCTP", nodePort=30500)])
    await create(client, proxy, service, *slices(1, 2, ports=[make.port(5000, "SCTP")]))
    servers = {(pod, family): lab.serve_sctp(pod, family.any) for pod in ("pod1", "pod2") for family in BOTH}
    try:
        for family in BOTH:
            heard = [servers[pod, family].heard for pod in ("pod1", "pod2")]
            for name, address, port in (("pod3", family.vip, 500), ("outside", family.node, 30500)):
                for each in heard:
                    each.clear()
                for _ in range(60):
                    assert await lab.begin_sctp(name, address, port) == "answered"
                    if all(heard):
                        break
                assert [{target for _, target in each} for each in heard] == [{5000}, {5000}]
        await change_endpoints(client, proxy, 1)
        for family in BOTH:
            before = len(servers["pod2", family].heard)
            for client_of in ("pod3", "pod1"):
                assert await lab.begin_sctp(client_of, family.vip, 500) == "answered"
            assert len(servers["pod2", family].heard) == before
    finally:
        for server in servers.values():
            server.close()


async def test_host_ports_lead_to_their_pod_in_both_families(lab, api, client, proxy):
    pod = make.pod("a", V4.pods[0], [{"hostPort": 8081, "containerPort": 8080}])
    pod["status"]["podIPs"] = [{"ip": family.pods[0]} for family in BOTH]
    await create(client, proxy, pod)
    for family in BOTH:
        for name in ("outside", "node", "pod2"):
            assert await who(lab, name, family.node, 8081, 1) == {"pod1"}
    api.remove(PODS, "default", "a")
    await proxy.settled()
    for family in BOTH:
        assert await lab.get("outside", family.node, 8081) == "refused"


async def test_pods_leave_with_the_address_of_the_node(lab, proxy):
    for family in BOTH:
        assert await lab.get("pod1", family.outside, 8080) == f"outside {family.node}"
        assert await lab.get("pod1", family.pods[1], 8080) == f"pod2 {family.pods[0]}"


@pytest.mark.parametrize("family", BOTH, ids=("ipv4", "ipv6"))
async def test_a_cluster_of_one_family_serves_that_one(lab, servers, client, config, run_proxy, made, family):
    whole = in_both(config)
    at = BOTH.index(family)
    single = {
        name: getattr(whole, name).split(",")[at]
        for name in ("node_address", "node_pod_cidr", "cluster_pod_cidr", "service_cidr", "dns_ip")
    }
    config = dataclasses.replace(config, **single)
    async with run_proxy(client, config, backend=made(config), conntrack=Conntrack(lab.command("node"))) as proxy:
        service = web((family,), type="NodePort", ports=[make.port(80, nodePort=30080)])
        await create(client, proxy, service, *slices(1, 2, families=(family,)))
        assert await who(lab, "pod3", family.vip, 80) == {"pod1", "pod2"}
        assert await who(lab, "outside", family.node, 30080) == {"pod1", "pod2"}


async def test_a_mode_that_is_removed_leaves_no_rule(lab, client, config, run_proxy, made, backend_kind):
    def rules():
        listed = subprocess.run(
            [*lab.command("node"), "nft", "list", "ruleset"], capture_output=True, text=True, check=True
        )
        return [line for line in listed.stdout.splitlines() if "test" in line or "10.96." in line]

    before = await asyncio.to_thread(rules)
    config = in_both(config)
    async with run_proxy(client, config, backend=made(config), conntrack=Conntrack(lab.command("node"))) as proxy:
        await create(client, proxy, web(sessionAffinity="ClientIP"), *slices(1, 2))
    assert await asyncio.to_thread(rules) != before == []
    await modes.remove(backend_kind, config.instance, lab.command("node"))
    assert await asyncio.to_thread(rules) == []


async def test_a_node_that_has_no_address_of_a_family_yet_serves_the_other(
    lab, servers, client, config, run_proxy, made
):
    whole = in_both(config)
    config = dataclasses.replace(whole, node_address=V4.node, node_pod_cidr="10.244.0.0/24")
    async with run_proxy(client, config, backend=made(config), conntrack=Conntrack(lab.command("node"))) as proxy:
        await create(client, proxy, web(), *slices(1))
        assert await who(lab, "pod3", V4.vip, 80, 1) == {"pod1"}
