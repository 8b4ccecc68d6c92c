"""The proxy's rules in the kernel: real packets between pods, node and outside world."""

import asyncio
import dataclasses
import itertools
import shutil
import socket
from pathlib import Path

import network_lab
import network_objects as make
import pytest

from sampan.api.resources import ENDPOINT_SLICES, PODS, SERVICES
from sampan.network.proxy import NftBackend
from sampan.network.proxy.conntrack import Conntrack
from sampan.network.proxy.nftables import sets
from sampan.network.proxy.rules.values import Chain, Op, Table

pytestmark = pytest.mark.timeout(120)

POD1, POD2, POD3 = network_lab.PODS.values()
NODE, OUTSIDE = network_lab.NODE_ADDRESS, network_lab.OUTSIDE_ADDRESS
VIP = "10.96.0.20"


@pytest.fixture
async def servers(lab):
    """TCP 8080 in every pod; the node has 6443."""
    opened = [await lab.serve_tcp(name, 8080) for name in network_lab.PODS]
    opened += [await lab.serve_tcp("node", 6443), await lab.serve_tcp("outside", 8080)]
    yield
    for server in opened:
        server.close()


@pytest.fixture
async def proxy(lab, servers, client, config, run_proxy):
    config = dataclasses.replace(config, bridge="br0", service_cidr="10.96.0.0/16")
    nft = lab.nft(config.table)
    backend = NftBackend(config, nft, network_lab.LabReach(lab, config))
    async with run_proxy(client, config, backend=backend, conntrack=Conntrack(lab.command("node"))) as running:
        yield running
    await nft.apply([Op("delete", Table())])
    nft.close()


async def create(client, proxy, *objects):
    kinds = {"Service": SERVICES, "EndpointSlice": ENDPOINT_SLICES, "Pod": PODS}
    for obj in objects:
        await client.create(kinds[obj["kind"]], obj)
    await proxy.settled()


async def gets(lab, name, address, port, count=24):
    return {(await lab.get(name, address, port)).split()[0] for _ in range(count)}


async def test_a_cluster_address_is_shared_by_its_endpoints(lab, client, proxy):
    await create(
        client, proxy, make.service("web"), make.endpoint_slice("web", [make.endpoint(POD1), make.endpoint(POD2)])
    )
    assert await gets(lab, "pod3", VIP, 80) == {"pod1", "pod2"}
    assert await gets(lab, "node", VIP, 80) == {"pod1", "pod2"}


async def test_a_pod_sees_the_address_of_the_pod_that_asks(lab, client, proxy):
    await create(client, proxy, make.service("web"), make.endpoint_slice("web", [make.endpoint(POD1)]))
    assert await lab.get("pod3", VIP, 80) == f"pod1 {POD3}"


async def test_without_bridge_filtering_answers_come_back_too(lab, servers, client, config, run_proxy):
    nft = lab.nft(config.table)
    with lab.inside("node"):
        switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
        if switch.exists():
            switch.write_text("0")
    try:
        config = dataclasses.replace(config, bridge_filtered=False)
        async with run_proxy(client, config, nft=nft, conntrack=Conntrack(lab.command("node"))) as proxy:
            await create(client, proxy, make.service("web"), make.endpoint_slice("web", [make.endpoint(POD1)]))
            assert await lab.get("pod3", VIP, 80) == f"pod1 {network_lab.GATEWAY}"
    finally:
        await nft.apply([Op("delete", Table())])
        nft.close()
        with lab.inside("node"):
            if switch.exists():
                switch.write_text("1")


async def test_a_pod_reaches_itself(lab, client, proxy):
    await create(client, proxy, make.service("web"), make.endpoint_slice("web", [make.endpoint(POD1)]))
    assert await lab.get("pod1", VIP, 80) == f"pod1 {network_lab.GATEWAY}"


async def test_without_endpoints_connections_are_refused_at_once(lab, client, proxy):
    await create(client, proxy, make.service("web"))
    assert await lab.get("pod3", VIP, 80) == "refused"
    assert await lab.get("node", VIP, 80) == "refused"


async def test_a_port_that_the_service_does_not_have_is_refused(lab, client, proxy):
    await create(client, proxy, make.service("web"), make.endpoint_slice("web", [make.endpoint(POD1)]))
    assert await lab.get("pod3", VIP, 81) == "refused"
    assert await lab.get("node", VIP, 81) == "refused"


async def test_an_address_that_no_service_has_leads_nowhere(lab, client, proxy):
    nobodys = "10.96.77.7"
    lab.ip("outside", f"addr add {nobodys}/32 dev lo")
    try:
        await create(client, proxy, make.service("web"), make.endpoint_slice("web", [make.endpoint(POD1)]))
        assert await lab.get("pod3", nobodys, 8080, 0.3) == "silence"
        assert await lab.get("node", nobodys, 8080, 0.3) == "silence"
        given = make.service("given", nobodys)
        await create(client, proxy, given, make.endpoint_slice("given", [make.endpoint(POD1)]))
        assert (await lab.get("pod3", nobodys, 80)).startswith("pod1")
    finally:
        lab.ip("outside", f"addr del {nobodys}/32 dev lo")


async def test_a_node_port_answers_from_everywhere(lab, client, proxy):
    web = make.service("web", ports=[make.port(80, nodePort=30080)], type="NodePort")
    await create(client, proxy, web, make.endpoint_slice("web", [make.endpoint(POD1)]))
    assert await lab.get("outside", NODE, 30080) == f"pod1 {network_lab.GATEWAY}"
    assert (await lab.get("node", NODE, 30080)).startswith("pod1")
    assert (await lab.get("pod3", NODE, 30080)).startswith("pod1")
    assert (await lab.get("pod1", NODE, 30080)).startswith("pod1")
    assert await lab.get("node", "127.0.0.1", 30080) == f"pod1 {network_lab.GATEWAY}"
    assert await lab.get("node", "127.3.2.1", 30080) == f"pod1 {network_lab.GATEWAY}"
    assert await lab.get("pod3", "127.0.0.1", 30080) == "refused"  # that is the pod itself


async def test_a_node_port_without_endpoints_is_refused(lab, client, proxy):
    await create(client, proxy, make.service("web", ports=[make.port(80, nodePort=30080)], type="NodePort"))
    assert await lab.get("outside", NODE, 30080) == "refused"
    assert await lab.get("node", NODE, 30080) == "refused"
    assert await lab.get("node", "127.0.0.1", 30080) == "refused"


async def test_external_policy_local_keeps_the_source_and_drops_elsewhere(lab, client, proxy):
    ports = [make.port(80, nodePort=30080)]
    web = make.service("web", ports=ports, type="NodePort", externalTrafficPolicy="Local")
    await create(client, proxy, web, make.endpoint_slice("web", [make.endpoint(POD1), make.endpoint(POD2, "node2")]))
    assert {await lab.get("outside", NODE, 30080) for _ in range(8)} == {f"pod1 {OUTSIDE}"}
    assert await gets(lab, "pod3", NODE, 30080) == {"pod1", "pod2"}
    far = make.endpoint_slice("web", [make.endpoint(POD2, "node2")])
    far["metadata"]["resourceVersion"] = (await client.get(ENDPOINT_SLICES, "web-x", "default"))["metadata"][
        "resourceVersion"
    ]
    await client.update(ENDPOINT_SLICES, far)
    await proxy.settled()
    assert await lab.get("outside", NODE, 30080, 0.3) == "silence"
    assert (await lab.get("node", NODE, 30080)).startswith("pod2")


async def test_internal_policy_local_stays_on_the_node(lab, client, proxy):
    web = make.service("web", internalTrafficPolicy="Local")
    await create(client, proxy, web, make.endpoint_slice("web", [make.endpoint(POD1), make.endpoint(POD2, "node2")]))
    assert await gets(lab, "pod3", VIP, 80) == {"pod1"}


async def test_external_and_load_balancer_addresses_lead_in(lab, client, proxy):
    web = make.service("web", type="LoadBalancer", externalIPs=["198.51.100.7"])
    web["status"] = {"loadBalancer": {"ingress": [{"ip": "198.51.100.8"}]}}
    await create(client, proxy, web, make.endpoint_slice("web", [make.endpoint(POD1)]))
    for address in ("198.51.100.7", "198.51.100.8"):
        assert (await lab.get("outside", address, 80)).startswith("pod1")
        assert (await lab.get("pod3", address, 80)).startswith("pod1")


async def test_source_ranges_shut_others_out(lab, client, proxy):
    web = make.service("web", type="LoadBalancer", loadBalancerSourceRanges=["203.0.113.0/24"])
    web["status"] = {"loadBalancer": {"ingress": [{"ip": "198.51.100.8"}]}}
    await create(client, proxy, web, make.endpoint_slice("web", [make.endpoint(POD1)]))
    assert await lab.get("outside", "198.51.100.8", 80, 0.3) == "silence"


async def test_a_client_stays_with_its_endpoint(lab, client, proxy):
    web = make.service("web", sessionAffinity="ClientIP")
    await create(client, proxy, web, make.endpoint_slice("web", [make.endpoint(POD1), make.endpoint(POD2)]))
    before = await gets(lab, "pod3", VIP, 80)
    assert len(before) == 1
    await proxy._backend.repair(whole=True)
    assert await gets(lab, "pod3", VIP, 80) == before


async def test_the_api_server_on_the_node_itself_is_reached(lab, client, proxy):
    api = make.service("kubernetes", "10.96.0.1", [make.port(443)])
    await create(client, proxy, api, make.endpoint_slice("kubernetes", [make.endpoint(NODE, "")], [make.port(6443)]))
    assert await lab.get("pod1", "10.96.0.1", 443) == f"node {POD1}"
    assert (await lab.get("node", "10.96.0.1", 443)).startswith("node")


async def test_pods_leave_with_the_address_of_the_node(lab, proxy):
    assert await lab.get("pod1", OUTSIDE, 8080) == f"outside {NODE}"
    assert await lab.get("pod1", POD2, 8080) == f"pod2 {POD1}"


async def test_host_ports_lead_to_their_pod(lab, api, client, proxy):
    ports = [{"hostPort": 8081, "containerPort": 8080}, {"hostPort": 8082, "hostIP": NODE, "containerPort": 8080}]
    await create(client, proxy, make.pod("a", POD1, ports))
    assert await lab.get("outside", NODE, 8081) == f"pod1 {OUTSIDE}"
    assert (await lab.get("node", NODE, 8082)).startswith("pod1")
    assert (await lab.get("pod1", NODE, 8081)).startswith("pod1")
    assert (await lab.get("pod2", NODE, 8081)).startswith("pod1")
    assert await lab.get("pod2", network_lab.GATEWAY, 8082) == "refused"
    api.remove(PODS, "default", "a")
    await proxy.settled()
    assert await lab.get("outside", NODE, 8081) == "refused"


async def test_host_ports_answer_on_loopback(lab, client, proxy):
    ports = [
        {"hostPort": 8081, "containerPort": 8080},
        {"hostPort": 8082, "hostIP": "127.0.0.1", "containerPort": 8080},
        {"hostPort": 8083, "hostIP": NODE, "containerPort": 8080},
    ]
    await create(client, proxy, make.pod("a", POD1, ports))
    assert await lab.get("node", "127.0.0.1", 8081) == f"pod1 {network_lab.GATEWAY}"
    # Other loopback addresses are the node's own programs': a pod cannot be its resolver on 127.0.0.53.
    assert await lab.get("node", "127.0.0.53", 8081) == "refused"
    assert await lab.get("node", "127.0.0.1", 8082) == f"pod1 {network_lab.GATEWAY}"
    assert await lab.get("node", "127.0.0.1", 8082, source=NODE) == f"pod1 {NODE}"
    assert await lab.get("node", NODE, 8083, source="127.0.0.1") == f"pod1 {network_lab.GATEWAY}"
    assert await lab.get("node", NODE, 8082) == "refused"
    assert await lab.get("outside", NODE, 8082) == "refused"
    assert await lab.get("node", "127.0.0.1", 8083) == "refused"


async def test_nobody_else_reaches_what_listens_on_the_node_s_loopback(lab, client, proxy):
    """A pod that sends to 127.0.0.1 by way of the node: the switch alone would let it in (CVE-2020-8558)."""
    await create(client, proxy, make.pod("a", POD1, [{"hostPort": 8081, "containerPort": 8080}]))
    loop = asyncio.get_running_loop()
    private = lab.bound("node", "127.0.0.1", 7777, socket.SOCK_DGRAM)
    attacker = lab.client("pod3", socket.SOCK_DGRAM)
    public = lab.bound("node", network_lab.GATEWAY, 7778, socket.SOCK_DGRAM)
    friend = lab.client("node", socket.SOCK_DGRAM)

    async def first_heard():
        """The attacker's packet, unless it was dropped: one that it sends after it on the same way has come."""
        await loop.sock_sendto(attacker, b"attacker", ("127.0.0.1", 7777))
        await loop.sock_sendto(attacker, b"later", (network_lab.GATEWAY, 7778))
        await loop.sock_recv(public, 100)
        await loop.sock_sendto(friend, b"friend", ("127.0.0.1", 7777))
        heard = await loop.sock_recv(private, 100)
        if heard != b"friend":
            await loop.sock_recv(private, 100)
        return heard

    try:
        for route in ("local 127.0.0.0/8", "local 127.0.0.1"):
            lab.ip("pod3", f"route del {route} dev lo table local")
        lab.ip("pod3", f"route add 127.0.0.1/32 via {network_lab.GATEWAY} src {POD3}")
        assert await first_heard() == b"friend"
        # Without the guard the same packet comes through: the test would notice.
        await proxy._backend._tables.apply([Op("flush", Chain("loopback-guard")), Op("flush", Chain("filter-input"))])
        assert await first_heard() == b"attacker"
        await proxy._backend.repair(whole=True)
        assert await first_heard() == b"friend"
    finally:
        for opened in (private, attacker, public, friend):
            opened.close()
        lab.ip("pod3", "link set lo down")
        lab.ip("pod3", "link set lo up")
        lab.ip("pod3", "route del 127.0.0.1/32")


async def test_a_node_without_default_route_reaches_services(lab, client, proxy):
    await create(client, proxy, make.service("web"), make.endpoint_slice("web", [make.endpoint(POD1)]))
    lab.ip("node", "route del default")
    try:
        with pytest.raises(OSError, match="unreachable"):
            await lab.get("node", VIP, 80)
        await proxy._backend.repair(whole=False)
        await proxy._backend.apply()
        assert (await lab.get("node", VIP, 80)).startswith("pod1")
        await proxy._backend.apply()
        assert await lab.get("node", VIP, 81) == "refused"
        assert await lab.get("pod3", VIP, 80) == f"pod1 {POD3}"
    finally:
        lab.ip("node", "route del 10.96.0.0/16")
        lab.ip("node", f"route add default via {OUTSIDE}")


async def test_cluster_dns_is_the_server_of_the_node(lab, client, proxy):
    await create(client, proxy, make.service("kube-dns", "10.96.0.10", [make.port(53, "UDP")], "kube-system"))
    server = await lab.serve_udp("node", 10053, NODE)
    udp = lab.client("pod1", socket.SOCK_DGRAM)
    tcp = await lab.serve_tcp("node", 10053, NODE)
    outside = lab.client("outside", socket.SOCK_DGRAM)
    try:
        assert await lab.ask(udp, "10.96.0.10", 53) == f"node {POD1}"
        assert await lab.get("pod1", "10.96.0.10", 53) == f"node {POD1}"
        assert await lab.get("pod1", "10.96.0.10", 9153) == f"node {POD1}"  # its metrics
        assert await lab.ask(outside, NODE, 10053, 0.2) == "silence"
    finally:
        server.close()
        tcp.close()
        udp.close()
        outside.close()


@pytest.mark.skipif(shutil.which("conntrack") is None, reason="conntrack is not installed")
async def test_udp_clients_follow_when_their_endpoint_goes(lab, client, proxy):
    ports = [make.port(5000, "UDP")]
    first, second = await lab.serve_udp("pod1", 5000), await lab.serve_udp("pod2", 5000)
    udp = lab.client("pod3", socket.SOCK_DGRAM)
    try:
        await create(client, proxy, make.service("log", ports=[make.port(500, "UDP")]))
        assert await lab.ask(udp, VIP, 500, 0.1) == "silence"
        await create(client, proxy, make.endpoint_slice("log", [make.endpoint(POD1)], ports))
        assert await lab.ask(udp, VIP, 500) == f"pod1 {POD3}"
        await client.patch(ENDPOINT_SLICES, "log-x", {"endpoints": [make.endpoint(POD2)]}, "default")
        await proxy.settled()
        assert await lab.ask(udp, VIP, 500) == f"pod2 {POD3}"
    finally:
        first.close()
        second.close()
        udp.close()


async def test_no_request_fails_while_endpoints_change(lab, client, proxy):
    ends = {POD1: make.endpoint(POD1), POD2: make.endpoint(POD2)}
    await create(client, proxy, make.service("web"), make.endpoint_slice("web", ends.values()))
    answers = []

    async def ask_for_ever():
        while True:
            answers.append(await lab.get("pod3", VIP, 80))

    asking = asyncio.ensure_future(ask_for_ever())
    for turn in itertools.count():
        if turn >= 30 and len(answers) > 30:
            break
        entries = [make.endpoint(POD1, ready=bool(turn % 2)), make.endpoint(POD2, ready=not turn % 2)]
        await client.patch(ENDPOINT_SLICES, "web-x", {"endpoints": entries}, "default")
        await asyncio.sleep(0.02)
    asking.cancel()
    assert {answer.split()[0] for answer in answers} == {"pod1", "pod2"}


@pytest.mark.parametrize(("ports", "where"), [(2, "tcp-12"), (3, "tcp-60"), (8, "tcp-360"), (21, "tcp-endpoints")])
async def test_many_endpoints_share_however_they_are_spread(lab, client, proxy, ports, where):
    numbers = range(9000, 9000 + ports)
    opened = [await lab.serve_tcp(pod, number) for pod in network_lab.PODS for number in numbers]
    ends = [make.endpoint(ip) for ip in network_lab.PODS.values()]
    slices = [make.endpoint_slice("web", ends, [make.port(number)], suffix=str(number)) for number in numbers]
    try:
        await create(client, proxy, make.service("web"), *slices)
        elements = await proxy._backend._tables.elements(next(each for each in sets.V4.all if each.name == where))
        assert len(set(elements.values())) == 3 * ports
        assert await gets(lab, "node", VIP, 80, 60) == set(network_lab.PODS)
    finally:
        for server in opened:
            server.close()
