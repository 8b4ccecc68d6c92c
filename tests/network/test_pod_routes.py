"""Routes to the pods of other nodes: what is planned, what the kernel has, and that the two are kept the same."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import subprocess
from collections.abc import Iterable, Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.resources import NODES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.network.routes.ip import IpTable, RouteError
from sampan.network.routes.loop import Peers, PodRoutes
from sampan.network.routes.plan import Link, Network, Peer, Route, network, plan_routes, read_peer
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.testing import virtual

CLUSTER = (ipaddress.ip_network("10.244.0.0/14"), ipaddress.ip_network("fd00:10:244::/56"))
LINKS = (
    Link(ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_address("192.0.2.1")),
    Link(ipaddress.ip_network("2001:db8::/64"), ipaddress.ip_address("2001:db8::1")),
)


def node(name: str, *ranges: str, addresses: Iterable[str] = (), made: str = "2026-01-01T00:00:00Z") -> Obj:
    return {
        "metadata": {"name": name, "creationTimestamp": made},
        "spec": {"podCIDR": ranges[0], "podCIDRs": list(ranges)} if ranges else {},
        "status": {"addresses": [{"type": "InternalIP", "address": each} for each in addresses]},
    }


def planned(*nodes: Obj, own: str = "own") -> tuple[set[tuple[str, str]], tuple[str, ...]]:
    peers = [peer for each in nodes if (peer := read_peer(each))]
    plan = plan_routes(peers, own, CLUSTER, LINKS)
    return {(route.destination, route.via) for route in plan.routes}, plan.far


def test_each_range_goes_by_the_address_of_its_own_family() -> None:
    two = node("two", "10.244.1.0/24", "fd00:10:244:1::/64", addresses=["192.0.2.2", "2001:db8::2"])
    assert planned(two) == ({("10.244.1.0/24", "192.0.2.2"), ("fd00:10:244:1::/64", "2001:db8::2")}, ())


def test_no_route_leads_to_the_nodes_own_pods() -> None:
    assert planned(node("own", "10.244.0.0/24", addresses=["192.0.2.1"])) == (set(), ())


def test_a_node_of_another_network_is_told_and_gets_none() -> None:
    assert planned(node("far", "10.244.1.0/24", addresses=["198.51.100.2"])) == (set(), ("far",))


def test_a_range_outside_of_the_clusters_is_not_taken() -> None:
    """Or a node could say that the whole world is behind it."""
    assert planned(node("bad", "0.0.0.0/0", "8.8.8.0/24", addresses=["192.0.2.66"])) == (set(), ())


def test_a_range_that_two_nodes_claim_is_the_older_ones() -> None:
    old = node("old", "10.244.1.0/24", addresses=["192.0.2.2"])
    new = node("a-new", "10.244.1.128/25", addresses=["192.0.2.66"], made="2026-02-01T00:00:00Z")
    assert planned(new, old) == ({("10.244.1.0/24", "192.0.2.2")}, ())
    assert planned(node("own", "10.244.1.0/24", addresses=["192.0.2.1"], made="2026-03-01T00:00:00Z"), old)[0] == set()


@pytest.mark.parametrize("bad", ["", "nonsense", "127.0.0.1", "224.0.0.1", "0.0.0.0", None, 7, "2001:db8::2%eth0"])
def test_an_address_that_is_none_of_a_node_counts_as_absent(bad: object) -> None:
    made = node("two", "10.244.1.0/24")
    made["status"] = {"addresses": [{"type": "InternalIP", "address": bad}]}
    assert read_peer(made) is None


def test_nothing_that_a_node_says_of_itself_becomes_a_command_of_another() -> None:
    """Python takes any text for the scope of an IPv6 address, and ``ip -batch`` takes lines."""
    evil = "2001:db8::2%x\nlink set eth0 down"
    assert read_peer(node("evil", "fd00:10:244:1::/64", addresses=[evil])) is None
    assert network("fd00:10:244:1::%x\nlink set eth0 down/64") is None


NETWORKS = st.sampled_from(["10.244.1.0/24", "10.244.1.128/25", "10.245.0.0/16", "10.0.0.0/8", "fd00:10:244:1::/64"])
ADDRESSES = st.sampled_from(["192.0.2.2", "192.0.2.3", "198.51.100.9", "2001:db8::2", "2001:db9::2"])


def overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


PEERS = st.builds(
    lambda name, ranges, addresses, since: Peer(
        name, tuple(map(ipaddress.ip_network, ranges)), tuple(map(ipaddress.ip_address, addresses)), since
    ),
    st.sampled_from(["own", "a", "b", "c"]),
    st.lists(NETWORKS, max_size=3),
    st.lists(ADDRESSES, max_size=3),
    st.sampled_from(["1", "2"]),
)


@settings(max_examples=40)
@given(st.lists(PEERS, max_size=6, unique_by=lambda peer: peer.name))
def test_a_plan_never_leads_two_ways_nor_off_the_link_nor_out_of_the_cluster(peers: list[Peer]) -> None:
    plan = plan_routes(peers, "own", CLUSTER, LINKS)
    destinations = [ipaddress.ip_network(route.destination) for route in plan.routes]
    own = [each for peer in peers if peer.name == "own" for each in peer.ranges if each.prefixlen > 14]
    for at, destination in enumerate(destinations):
        assert any(destination.version == whole.version and destination.subnet_of(whole) for whole in CLUSTER)  # type: ignore[arg-type]
        assert not any(overlap(destination, other) for other in [*destinations[:at], *own])
    for route in plan.routes:
        assert any(ipaddress.ip_address(route.via) in link.network for link in LINKS)
        assert any(str(each) == route.via for peer in peers if peer.name != "own" for each in peer.addresses)
    assert plan_routes(list(reversed(peers)), "own", CLUSTER, LINKS).routes == plan.routes


async def test_news_that_changes_no_route_wakes_nobody() -> None:
    peers = Peers()
    two = node("two", "10.244.1.0/24", addresses=["192.0.2.2"])
    peers.replace([two], 1)
    peers.changed.clear()
    two["status"]["conditions"] = [{"type": "Ready"}]
    peers.put(two)
    assert not peers.changed.is_set()
    peers.put(node("two", "10.244.2.0/24", addresses=["192.0.2.2"]))
    assert peers.changed.is_set()
    peers.changed.clear()
    peers.remove(two)
    assert peers.changed.is_set() and not list(peers.known())


class Kernel:
    """A table in memory; ``fails`` has the next change fail."""

    def __init__(self) -> None:
        self.routes: set[Route] = set()
        self.fails = False

    async def links(self) -> tuple[Link, ...]:
        return LINKS

    async def present(self) -> frozenset[Route]:
        return frozenset(self.routes)

    async def change(self, add: Iterable[Route], remove: Iterable[Route]) -> None:
        if self.fails:
            self.fails = False
            raise RouteError("not now")
        self.routes = (self.routes - set(remove)) | set(add)


def test_nodes_come_and_go_and_a_route_that_somebody_removed_comes_back() -> None:
    async def live() -> None:
        async with Server(ServerConfig(listen=False, random=Random(1))) as server:
            client, kernel = Client(server.local_transport()), Kernel()
            running = asyncio.create_task(PodRoutes(client, "own", CLUSTER, kernel, Random(1)).run())
            wanted = {Route("10.244.1.0/24", "192.0.2.2")}
            await client.create(NODES, {"kind": "Node", "apiVersion": "v1", **node("two", "10.244.1.0/24")})
            status = {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.2"}]}}
            kernel.fails = True
            await client.patch(NODES, "two", status, subresource="status")
            await asyncio.sleep(5)
            assert not kernel.fails and kernel.routes == wanted
            kernel.routes.clear()
            await asyncio.sleep(40)
            assert kernel.routes == wanted
            await client.delete(NODES, "two")
            await asyncio.sleep(5)
            assert not kernel.routes
            await tasks.cancel_and_wait(running)

    virtual.run(live())


def test_a_node_to_which_no_route_can_be_had_is_tried_ever_less_and_keeps_no_other_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Refusing(Kernel):
        """As the kernel with an address that is a network's own."""

        tries = 0

        async def change(self, add: Iterable[Route], remove: Iterable[Route]) -> None:
            self.tries += 1
            good = {route for route in add if route.via != "192.0.2.0"}
            await super().change(good, remove)
            if good != set(add):
                raise RouteError("Nexthop has invalid gateway")

    async def live() -> None:
        async with Server(ServerConfig(listen=False, random=Random(1))) as server:
            client, kernel = Client(server.local_transport()), Refusing()
            running = asyncio.create_task(PodRoutes(client, "own", CLUSTER, kernel, Random(1)).run())

            async def make(name: str, cidr: str, address: str) -> None:
                await client.create(NODES, {"kind": "Node", "apiVersion": "v1", **node(name, cidr)})
                status = {"status": {"addresses": [{"type": "InternalIP", "address": address}]}}
                await client.patch(NODES, name, status, subresource="status")

            await make("bad", "10.244.1.0/24", "192.0.2.0")
            await asyncio.sleep(300)
            assert 2 < kernel.tries < 20
            await make("good", "10.244.2.0/24", "192.0.2.2")
            await asyncio.sleep(1)
            assert kernel.routes == {Route("10.244.2.0/24", "192.0.2.2")}
            await tasks.cancel_and_wait(running)

    virtual.run(live())
    assert [record.message for record in caplog.records if "out of reach" in record.message] == [
        "pods of other nodes may be out of reach: Nexthop has invalid gateway"
    ]


# The kernel's table


@pytest.fixture(scope="module")
def prefix() -> Iterator[tuple[str, ...]]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")
    name = f"sproutes{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    lines = (
        "link set lo up\nlink add eth0 type veth peer name eth1\nlink set eth0 up\nlink set eth1 up\n"
        "addr add 192.0.2.1/24 dev eth0\naddr add 2001:db8::1/64 dev eth0 nodad\naddr add 10.244.0.1/24 dev eth1\n"
        "route add 10.99.0.0/24 via 192.0.2.9 proto 83\nroute add 10.247.9.0/24 via 192.0.2.9\n"
    )
    subprocess.run(["ip", "-netns", name, "-batch", "-"], input=lines, text=True, check=True)
    yield ("ip", "netns", "exec", name)
    subprocess.run(["ip", "netns", "delete", name], check=True)


async def test_links_are_the_machines_networks_without_the_pods_own(prefix: tuple[str, ...]) -> None:
    assert set(await IpTable(CLUSTER, prefix).links()) == set(LINKS)


async def test_only_routes_of_this_cluster_are_seen_and_changed(prefix: tuple[str, ...]) -> None:
    table = IpTable(CLUSTER, prefix)
    assert await table.present() == frozenset()
    both = {Route("10.244.1.0/24", "192.0.2.2"), Route("fd00:10:244:1::/64", "2001:db8::2")}
    await table.change(both, ())
    assert await table.present() == both
    # One leads elsewhere, the other goes.
    await table.change({Route("10.244.1.0/24", "192.0.2.3")}, both)
    assert await table.present() == {Route("10.244.1.0/24", "192.0.2.3")}
    await table.change((), await table.present())
    assert await table.present() == frozenset()


async def test_routes_of_others_stay(prefix: tuple[str, ...]) -> None:
    """Of another cluster, and of somebody else within this one's range."""
    table = IpTable(CLUSTER, prefix)
    await table.change((), await table.present())
    links = IpTable((ipaddress.ip_network("10.99.0.0/16"), ipaddress.ip_network("10.247.0.0/16")), prefix)
    assert await links.present() == {Route("10.99.0.0/24", "192.0.2.9")}


async def test_what_cannot_be_routed_does_not_keep_the_rest(prefix: tuple[str, ...]) -> None:
    table = IpTable(CLUSTER, prefix)
    good, bad = Route("10.244.2.0/24", "192.0.2.2"), Route("10.244.1.0/24", "203.0.113.1")
    with pytest.raises(RouteError, match=r"Nexthop|unreachable"):
        await table.change({bad, good}, ())
    assert await table.present() == {good}
    await table.change((), {good})


def test_a_network_is_written_as_the_kernel_writes_it() -> None:
    found: Network | None = network("10.244.1.0/24")
    assert str(found) == "10.244.1.0/24"
    assert network("10.244.1.1/24") is None
