"""The rules in the kernel: real packets between pods of one bridge, through the node and from outside.

Of SCTP the first packet and its answer, made by ``network_lab``: kernels without its sockets are common, and their
nftables match it.
"""

import asyncio
import ipaddress
import os
import random
import socket
from pathlib import Path

import network_lab
import network_objects
import policy_worlds as make
import pytest
from policy_lab import NAMES, NODE, OUTSIDE, PATIENCE, POD1, POD2, POD3, SILENCE, Enforced, reaches, serving

from sampan.api.resources import ENDPOINT_SLICES, SERVICES
from sampan.network.policy.model import Peer, PodKey, Policy, PolicyKey, PortRange, Rule
from sampan.network.proxy import NftBackend as ServiceBackend
from sampan.network.proxy.nftables.nft import Op
from sampan.network.proxy.nftables.nft import Table as ServiceTable

pytestmark = pytest.mark.timeout(120)

#: Random policy sets that are held against real connections; SAMPAN_POLICY_SETS=300 takes a minute and a half.
SETS = int(os.environ.get("SAMPAN_POLICY_SETS", "30"))


#: linux/if_addr.h: IFA_F_TENTATIVE
TENTATIVE = 0x40


@pytest.fixture
async def node(lab):
    made = Enforced(lab)
    await made.enforce(whole=True)
    yield made
    await made.nft.remove()


@pytest.fixture
async def servers(lab):
    async with serving(lab):
        yield


def put_pods(node, *labels):
    node.put(make.namespace("default"))
    for number, (address, each) in enumerate(zip((POD1, POD2, POD3), labels, strict=True), 1):
        node.put(make.pod(f"pod{number}", address, each, ports=[("http", "TCP", 8080)]))


@pytest.mark.timeout(120 + 2 * SETS)
async def test_random_policies_let_real_connections_through_as_planned(lab, node, servers):
    """Of both families in turn: pods have an address of each."""
    questions = [
        (source, target, protocol, port)
        for source in NAMES
        for target in NAMES
        if NAMES[source] != NAMES[target] and (":" in source) == (":" in target)
        for protocol, port in (("TCP", 80), ("TCP", 8080), ("UDP", 53), ("UDP", 80), ("SCTP", 80), ("SCTP", 90))
    ]
    for seed in range(SETS):
        dice = make.Dice(seed, make.BLOCKS + make.BLOCKS6)
        for name in ("a", "b"):
            node.put(make.namespace(name, **dice.labels()))
        for number, name in enumerate(network_lab.PODS, 1):
            addresses = [network_lab.PODS[name], network_lab.PODS6[name]]
            node.put(dice.pod(name, addresses, "ab"[number % 2], "node1"))
        for number in range(3):
            node.put(dice.network_policy(f"n{number}", dice.random.choice("ab")))
        node.put(dice.cluster_policy("c"))
        await node.enforce(whole=seed % 10 == 9)
        asked = random.Random(seed).sample(questions, 24)
        world = node.world()
        expected = [world.allowed(*question) for question in asked]
        found = await asyncio.gather(
            *(reaches(lab, *each, wanted) for each, wanted in zip(asked, expected, strict=True))
        )
        assert list(zip(asked, found, strict=True)) == list(zip(asked, expected, strict=True)), seed
        for key in [*node.policies]:
            node.drop(key)


async def test_rules_that_nft_refuses_are_known_without_a_change(lab, node):
    put_pods(node, {"app": "a"}, {}, {})
    node.put(make.policy("good", ingress=[{"ports": [{"port": "http"}]}], egress=[{"to": [{"podSelector": {}}]}]))
    node.put(make.cluster_policy("c", ingress=[{"action": "Deny", "from": [{"namespaces": {}}]}]))
    await node.enforce(whole=True)
    before = await node.nft._run("list", "tables")
    good = node.planner.used()
    bad = Policy(
        PolicyKey("NetworkPolicy", "default", "bad"),
        "network",
        Peer(),
        ingress=(Rule("accept", 0, anyone=True, ports=(PortRange("tcp", 1, 70_000),)),),
    )
    assert len(good) == 2
    assert not await node.nft.refuses(good)
    assert await node.nft.refuses([*good, bad])
    assert await node.nft._run("list", "tables") == before


async def test_a_pod_reaches_itself_and_its_node_reaches_it_whatever_is_denied(lab, node, servers):
    put_pods(node, {"app": "a"}, {}, {})
    node.put(make.policy("deny", ingress=[], egress=[]))
    await node.enforce()
    assert await lab.get("node", POD1, 80) == f"pod1 {network_lab.GATEWAY}"
    assert await lab.get("pod2", POD1, 80, SILENCE) == "silence"


@pytest.mark.parametrize("policy", [{"ingress": []}, {"egress": []}], ids=["ingress", "egress"])
async def test_pods_do_not_get_around_their_policies_by_link_local_addresses(lab, node, policy):
    """Of one bridge; the address that the kernel gives every pod is not known to the API."""
    put_pods(node, {"app": "a"}, {"app": "a"}, {})
    server = lab.bound("pod1", "::", 9000, socket.SOCK_DGRAM)
    client = lab.client("pod2", socket.SOCK_DGRAM, "::")
    with lab.inside("pod2"):
        scope = socket.if_nametoindex("eth0")
    loop = asyncio.get_running_loop()

    async def heard(address, patience):
        client.sendto(b"?", (address, 9000, 0, scope))
        return await asyncio.wait_for(loop.sock_recv(server, 10), patience)

    try:
        address = await asyncio.wait_for(link_local(lab, "pod1"), PATIENCE)
        await asyncio.wait_for(link_local(lab, "pod2"), PATIENCE)
        await node.nft.remove()
        assert await heard(address, PATIENCE) == b"?"
        node.put(make.policy("deny", {"app": "a"}, **policy))
        await node.enforce(whole=True)
        with pytest.raises(TimeoutError):
            await heard(address, SILENCE)
    finally:
        server.close()
        client.close()


async def link_local(lab, pod):
    """Once it is in use: the kernel first looks for another who has it."""
    while True:
        with lab.inside(pod):
            lines = [line.split() for line in Path("/proc/thread-self/net/if_inet6").read_text().splitlines()]
        for address, _, _, _, flags, _ in lines:
            if address.startswith("fe80") and not int(flags, 16) & TENTATIVE:
                return str(ipaddress.IPv6Address(bytes.fromhex(address)))
        await asyncio.sleep(0)


async def test_an_open_connection_ends_when_it_is_no_longer_allowed_and_others_stay(lab, node):
    """A client that is written to all the time, one that writes, and one that stays allowed."""
    put_pods(node, {"app": "server"}, {"app": "a"}, {"app": "b"})
    node.put(make.policy("p", {"app": "server"}, ingress=[{}]))
    await node.enforce()
    loop = asyncio.get_running_loop()
    listening = lab.bound("pod1", "0.0.0.0", 9000, socket.SOCK_STREAM)
    listening.listen()
    ends = {}
    try:
        for name in ("pod2", "pod3"):
            client = lab.client(name)
            await loop.sock_connect(client, (POD1, 9000))
            ends[name] = client, (await loop.sock_accept(listening))[0]
        node.put(
            make.policy("p", {"app": "server"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "b"}}}]}])
        )
        await node.enforce()
        for end in (0, 1):
            for name in ("pod2", "pod3"):
                ends[name][end].setblocking(False)
                await loop.sock_sendall(ends[name][end], b"!")
            assert await asyncio.wait_for(loop.sock_recv(ends["pod3"][1 - end], 10), PATIENCE) == b"!"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.sock_recv(ends["pod2"][1 - end], 10), SILENCE)
    finally:
        listening.close()
        for pair in ends.values():
            for each in pair:
                each.close()


async def test_what_is_dropped_is_counted_for_the_pod_and_the_direction(lab, node, servers):
    put_pods(node, {"app": "a"}, {"app": "b"}, {})
    node.put(make.policy("in", {"app": "a"}, ingress=[]), make.policy("out", {"app": "b"}, egress=[]))
    await node.enforce()
    assert await lab.get("outside", POD1, 80, SILENCE) == "silence"
    assert await lab.get("pod2", OUTSIDE, 80, SILENCE) == "silence"
    dropped = await node.nft.dropped()
    assert {key: counted.packets > 0 for key, counted in dropped.items()} == {
        (POD1, "ingress"): True,
        (POD2, "egress"): True,
    }


async def test_nothing_is_left_in_the_table_when_the_last_policy_goes(lab, node):
    dice = make.Dice(7)
    await node.enforce(whole=True)
    empty = await node.nft._run("list", "table", "inet", "sampan-test.policy")
    put_pods(node, {"app": "web"}, {"app": "db", "tier": "front"}, {})
    for number in range(10):
        node.put(dice.network_policy(f"n{number}", "default"))
    node.put(dice.cluster_policy("c"))
    await node.enforce()
    assert await node.nft._run("list", "table", "inet", "sampan-test.policy") != empty
    for key in [*node.policies]:
        node.drop(key)
    await node.enforce()
    assert await node.nft._run("list", "table", "inet", "sampan-test.policy") == empty
    assert PolicyKey("NetworkPolicy", "default", "n0") not in node.policies
    node.drop(PodKey("default", "pod1"))


async def test_policies_see_what_services_lead_to(lab, node, servers, client, config, run_proxy):
    """By cluster address, by node port from outside, and from a pod to itself."""
    put_pods(node, {"app": "web"}, {"app": "shop"}, {})
    service = network_objects.service("web", type="NodePort", ports=[network_objects.port(81, nodePort=30081)])
    await client.create(SERVICES, service)
    ports = [{"name": "", "port": 8080, "protocol": "TCP"}]
    await client.create(ENDPOINT_SLICES, network_objects.endpoint_slice("web", [network_objects.endpoint(POD1)], ports))
    allowed = [{"podSelector": {"matchLabels": {"app": "shop"}}}, {"ipBlock": {"cidr": f"{OUTSIDE}/32"}}]
    services = lab.nft(config.table)
    async with run_proxy(client, config, backend=ServiceBackend(config, services)) as proxy:
        await proxy.settled()
        try:
            node.put(make.policy("web", {"app": "web"}, ingress=[{"from": allowed[:1], "ports": [{"port": 8080}]}]))
            await node.enforce()
            assert await lab.get("pod2", "10.96.0.20", 81, PATIENCE) == f"pod1 {POD2}"
            assert await lab.get("pod1", "10.96.0.20", 81, PATIENCE) != "silence"
            assert await lab.get("node", "10.96.0.20", 81, PATIENCE) != "silence"
            assert await lab.get("pod3", "10.96.0.20", 81, SILENCE) == "silence"
            assert await lab.get("outside", NODE, 30081, SILENCE) == "silence"
            # The port of the Service is none of the pod's.
            node.put(make.policy("web", {"app": "web"}, ingress=[{"from": allowed, "ports": [{"port": 8080}]}]))
            await node.enforce()
            assert await lab.get("outside", NODE, 30081, PATIENCE) != "silence"
            node.put(make.policy("web", {"app": "web"}, ingress=[{"from": allowed, "ports": [{"port": 81}]}]))
            await node.enforce()
            assert await lab.get("pod2", "10.96.0.20", 81, SILENCE) == "silence"
        finally:
            await services.apply([Op("add", ServiceTable()), Op("delete", ServiceTable())])
