"""Tunnels to nodes that share no network with this one: what is planned, and that packets go through them.

The contract of both kinds runs in network namespaces: two machines in networks of their own, and a router between them
that knows nothing of pods and lets none of their addresses through.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from sampan.api.clock import SystemClock
from sampan.api.resources import EVENTS, NODES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.events import EventRecorder
from sampan.network.routes import guard, missing
from sampan.network.routes.ip import Ip, IpTable, RouteError
from sampan.network.routes.loop import PodRoutes, Told
from sampan.network.routes.overlay import (
    VXLAN_OVERHEAD,
    VXLAN_PORT,
    Overlay,
    device_mtu,
    hardware_address,
    network_number,
)
from sampan.network.routes.plan import (
    WIREGUARD_ANNOTATION,
    Backend,
    Link,
    Peer,
    Route,
    RoutePlan,
    Tunnel,
    plan_routes,
    read_peer,
)
from sampan.network.routes.vxlan import Vxlan
from sampan.network.routes.wireguard import Key, PeerOf, Wireguard, changes, keep_key, peers, render
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.testing import virtual

CLUSTER = (ipaddress.ip_network("10.244.0.0/14"), ipaddress.ip_network("fd00:10:244::/56"))
LINKS = (
    Link(ipaddress.ip_network("192.0.2.0/27"), ipaddress.ip_address("192.0.2.1")),
    Link(ipaddress.ip_network("2001:db8::/64"), ipaddress.ip_address("2001:db8::1"), 1400),
)
KEY, OTHER_KEY = "A" * 43 + "=", "B" * 43 + "="


def peer(name: str, *ranges: str, at: tuple[str, ...], key: str = "") -> Peer:
    return Peer(
        name, tuple(map(ipaddress.ip_network, ranges)), tuple(map(ipaddress.ip_address, at)), "1", key, 7 if key else 0
    )


OWN = peer("own", "10.244.0.0/24", "fd00:10:244::/64", at=("192.0.2.1", "2001:db8::1"))
NEAR = peer("near", "10.244.1.0/24", at=("192.0.2.2",))
FAR = peer("far", "10.244.2.0/24", "fd00:10:244:2::/64", at=("192.0.2.34", "2001:db8:1::34"), key=KEY)


def planned(backend: Backend, *others: Peer) -> RoutePlan:
    return plan_routes([OWN, *others], "own", CLUSTER, LINKS, backend)


# What is planned


def test_by_itself_a_neighbour_gets_a_route_and_a_node_of_another_network_a_tunnel() -> None:
    plan = planned("auto", NEAR, FAR)
    assert plan.routes == {Route("10.244.1.0/24", "192.0.2.2")}
    assert plan.tunnels == {
        Tunnel("10.244.2.0/24", "far", "192.0.2.34"),
        # of the cluster's first family, whatever it carries
        Tunnel("fd00:10:244:2::/64", "far", "192.0.2.34"),
    }
    assert plan.own == ("10.244.0.0/24", "fd00:10:244::/64") and plan.local == "192.0.2.1" and not plan.far


def test_with_vxlan_every_node_gets_a_tunnel_and_with_host_gw_none() -> None:
    assert not planned("vxlan", NEAR, FAR).routes and len(planned("vxlan", NEAR, FAR).tunnels) == 3
    assert not planned("host-gw", NEAR, FAR).tunnels and planned("host-gw", NEAR, FAR).far == ("far",)


def test_with_wireguard_a_node_without_a_key_gets_none() -> None:
    """Its pods are out of reach rather than in the open."""
    plan = planned("wireguard", NEAR, FAR)
    assert plan.tunnels == {
        Tunnel("10.244.2.0/24", "far", "192.0.2.34", KEY, 7),
        Tunnel("fd00:10:244:2::/64", "far", "192.0.2.34", KEY, 7),
    }
    assert plan.far == ("near",) and not plan.routes


def test_a_machine_with_an_address_of_its_own_alone_has_no_neighbours() -> None:
    """As those of some clouds, which have a /32."""
    links = [Link(ipaddress.ip_network("192.0.2.1/32"), ipaddress.ip_address("192.0.2.1"))]
    assert plan_routes([OWN, NEAR], "own", CLUSTER, links, "auto").tunnels == {
        Tunnel("10.244.1.0/24", "near", "192.0.2.2")
    }


def test_a_plan_of_a_thousand_nodes_takes_milliseconds() -> None:
    """It is made on the event loop. Bounded by processor time ten times what it takes."""
    many = [
        peer(f"n{at}", f"10.{244 + at // 256}.{at % 256}.0/24", at=(f"198.51.{at // 250}.{1 + at % 250}",))
        for at in range(1, 1000)
    ]
    began = time.process_time()
    assert len(planned("auto", *many).tunnels) == 999
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize(
    "written",
    [
        "", "nonsense", "[]", "{}", '{"publicKey":7,"port":1}', '{"publicKey":"short","port":1}',
        f'{{"publicKey":"{KEY}","port":0}}', f'{{"publicKey":"{KEY}","port":"1"}}',
        f'{{"publicKey":"{KEY}","port":70000}}', f'{{"publicKey":"{KEY}\\n[Peer]","port":1}}',
    ],
)  # fmt: skip
def test_a_key_that_is_none_counts_as_absent(written: str) -> None:
    node: Obj = {
        "metadata": {"name": "two", "annotations": {WIREGUARD_ANNOTATION: written}},
        "spec": {"podCIDRs": ["10.244.1.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.2"}]},
    }
    found = read_peer(node)
    assert found is not None and (found.key, found.port) == ("", 0)
    node["metadata"]["annotations"][WIREGUARD_ANNOTATION] = f'{{"publicKey":"{KEY}","port":9}}'
    found = read_peer(node)
    assert found is not None and (found.key, found.port) == (KEY, 9)


def test_what_fits_into_a_tunnel_is_what_the_interface_of_its_end_carries_less_the_headers() -> None:
    plan = RoutePlan(local="192.0.2.1")
    assert device_mtu(plan, LINKS, VXLAN_OVERHEAD, 9000) == 1450
    assert device_mtu(RoutePlan(local="2001:db8::1"), LINKS, VXLAN_OVERHEAD, 9000) == 1330
    assert device_mtu(RoutePlan(local="203.0.113.1"), LINKS, VXLAN_OVERHEAD, 9000) == 8950


def test_a_nodes_hardware_address_is_one_stations_and_locally_administered() -> None:
    found = [int(hardware_address(f"node-{at}")[:2], 16) for at in range(300)]
    assert all(first & 3 == 2 for first in found)


def test_two_clusters_have_two_numbers() -> None:
    one, two = network_number(CLUSTER), network_number((ipaddress.ip_network("10.240.0.0/14"),))
    assert one != two and 0 < one < 1 << 24 and one == network_number(tuple(reversed(CLUSTER)))


# WireGuard's words


def test_a_key_that_two_nodes_claim_stays_with_the_first_and_takes_no_range_of_the_second() -> None:
    """Ranges of one peer come from one machine."""
    found = peers([
        Tunnel("10.244.1.0/24", "one", "192.0.2.34", KEY, 7), Tunnel("10.244.2.0/24", "two", "192.0.2.66", KEY, 7),
    ])  # fmt: skip
    assert found == {KEY: PeerOf(KEY, "192.0.2.34:7", ("10.244.1.0/24",))}


def test_a_node_that_claims_anothers_key_takes_nothing_from_it() -> None:
    """Though its range, and its name, come first. Nor from this node."""
    thief = replace(peer("a-thief", "10.244.1.0/24", at=("192.0.2.66",), key=KEY), since="2")
    plan = planned("wireguard", thief, FAR)
    assert {each.node for each in plan.tunnels} == {"far"}
    assert plan.far == ("a-thief",)
    own = replace(OWN, key=KEY, port=7)
    assert not plan_routes([own, thief], "own", CLUSTER, LINKS, "wireguard").tunnels


def test_only_peers_that_differ_are_told() -> None:
    had = {KEY: PeerOf(KEY, "192.0.2.34:7", ("10.244.1.0/24",)), "gone": PeerOf("gone", "192.0.2.35:7", ())}
    wanted = {KEY: had[KEY], OTHER_KEY: PeerOf(OTHER_KEY, "[2001:db8::2]:7", ("10.244.2.0/24", "fd00::/64"))}
    assert changes(had, wanted) == [
        ("peer", "gone", "remove"),
        ("peer", OTHER_KEY, "endpoint", "[2001:db8::2]:7", "allowed-ips", "10.244.2.0/24,fd00::/64"),
    ]
    assert changes(wanted, wanted) == []


def test_a_configuration_has_every_peer_with_its_ranges() -> None:
    said = render(Key("PRIVATE", "PUBLIC", 51820), [PeerOf(KEY, "192.0.2.34:7", ("10.244.1.0/24",))])
    assert said.splitlines() == [
        "[Interface]", "PrivateKey = PRIVATE", "ListenPort = 51820",
        "[Peer]", f"PublicKey = {KEY}", "Endpoint = 192.0.2.34:7", "AllowedIPs = 10.244.1.0/24",
    ]  # fmt: skip


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "wireguard.json"
    made = keep_key(file, lambda port: port == 51822)
    assert made.port == 51822 and file.stat().st_mode & 0o777 == 0o600
    assert keep_key(file, lambda port: False) == made
    file.write_text("damaged")
    assert keep_key(file, lambda port: True).public != made.public


def test_what_the_machine_lacks_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name == "wg" else None)
    found = missing.missing("wireguard", has=lambda kind: False)
    assert found and "--pod-network-backend wireguard: the kernel of this machine has no WireGuard" in found.what
    assert "apt-get install -y wireguard-go" in found.fix
    assert missing.missing("wireguard", has=lambda kind: True) is None
    found = missing.missing("vxlan", has=lambda kind: False)
    assert found and "no VXLAN" in found.what
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = missing.missing("wireguard", has=lambda kind: True)
    assert found and found.fix == "apt-get install -y wireguard-tools"
    assert missing.missing("auto", has=lambda kind: False) is None


# The loop


class Laid:
    """Tunnels in memory; ``fails`` has each try fail."""

    def __init__(self) -> None:
        self.tunnels: frozenset[Tunnel] | None = None
        self.fails = False

    def routes(self, tunnels: object) -> frozenset[Route]:
        return frozenset(Route(each.destination, each.gateway, "x") for each in tunnels)  # type: ignore[attr-defined]

    async def lay(self, plan: RoutePlan, links: object, *, look: bool) -> None:
        if self.fails:
            raise RouteError("no tunnels here")
        self.tunnels = plan.tunnels

    async def remove(self) -> None:
        self.tunnels = None


class Kernel:
    def __init__(self) -> None:
        self.routes: set[Route] = set()
        self.looks = 0

    async def links(self) -> tuple[Link, ...]:
        return LINKS

    async def present(self) -> frozenset[Route]:
        self.looks += 1
        return frozenset(self.routes)

    async def change(self, add: object, remove: object) -> None:
        self.routes = (self.routes - set(remove)) | set(add)  # type: ignore[call-overload]


async def make_node(client: Client, name: str, cidr: str, at: str) -> None:
    spec = {"podCIDR": cidr, "podCIDRs": [cidr]}
    await client.create(NODES, {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name}, "spec": spec})
    status = {"status": {"addresses": [{"type": "InternalIP", "address": at}]}}
    await client.patch(NODES, name, status, subresource="status")


def with_server(scenario: Callable[[Client, Kernel, Laid], Awaitable[None]]) -> None:
    async def live() -> None:
        async with Server(ServerConfig(listen=False, random=Random(1))) as server:
            await scenario(Client(server.local_transport()), Kernel(), Laid())

    virtual.run(live())


def test_tunnels_come_with_the_first_far_node_and_go_with_the_last() -> None:
    async def scenario(client: Client, kernel: Kernel, laid: Laid) -> None:
        running = asyncio.create_task(
            PodRoutes(client, "own", CLUSTER, kernel, Random(1), backend="auto", overlay=laid).run()
        )
        await make_node(client, "own", "10.244.0.0/24", "192.0.2.1")
        await make_node(client, "near", "10.244.1.0/24", "192.0.2.2")
        await asyncio.sleep(1)
        assert laid.tunnels is None and kernel.routes == {Route("10.244.1.0/24", "192.0.2.2")}
        looks = kernel.looks
        await make_node(client, "far", "10.244.2.0/24", "192.0.2.34")
        await asyncio.sleep(1)
        assert laid.tunnels == {Tunnel("10.244.2.0/24", "far", "192.0.2.34")}
        assert Route("10.244.2.0/24", "10.244.2.0", "x") in kernel.routes and len(kernel.routes) == 2
        assert kernel.looks == looks  # a change reads no table
        await client.delete(NODES, "far")
        await asyncio.sleep(1)
        assert laid.tunnels is None and kernel.routes == {Route("10.244.1.0/24", "192.0.2.2")}
        await tasks.cancel_and_wait(running)

    with_server(scenario)


def test_where_no_tunnel_can_be_had_neighbours_are_reached_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(client: Client, kernel: Kernel, laid: Laid) -> None:
        laid.fails = True
        running = asyncio.create_task(
            PodRoutes(client, "own", CLUSTER, kernel, Random(1), backend="auto", overlay=laid).run()
        )
        await make_node(client, "own", "10.244.0.0/24", "192.0.2.1")
        await make_node(client, "far", "10.244.2.0/24", "192.0.2.34")
        await make_node(client, "near", "10.244.1.0/24", "192.0.2.2")
        await asyncio.sleep(5)
        assert Route("10.244.1.0/24", "192.0.2.2") in kernel.routes
        laid.fails = False
        await asyncio.sleep(40)
        assert laid.tunnels is not None
        await tasks.cancel_and_wait(running)

    with_server(scenario)
    assert "pods of other nodes may be out of reach: no tunnels here" in [each.message for each in caplog.records]


def test_nodes_out_of_reach_are_told_by_an_event_of_this_one() -> None:
    async def scenario(client: Client, kernel: Kernel, laid: Laid) -> None:
        recorder = EventRecorder(client, "sampan-network", "own", SystemClock())
        routes = PodRoutes(
            client, "own", CLUSTER, kernel, Random(1), backend="host-gw", overlay=laid, recorder=recorder
        )
        running = asyncio.create_task(routes.run())
        await make_node(client, "own", "10.244.0.0/24", "192.0.2.1")
        await make_node(client, "far", "10.244.2.0/24", "192.0.2.34")
        await asyncio.sleep(5)
        [told] = (await client.list(EVENTS))["items"]
        assert (told["involvedObject"]["name"], told["reason"]) == ("own", "PodsOutOfReach")
        assert told["message"] == (
            "no route leads to the pods of far: not in a network of this node (--pod-network-backend vxlan has tunnels)"
        )
        await tasks.cancel_and_wait(running)

    with_server(scenario)


def test_a_node_tells_its_key_and_tells_it_again_when_its_node_is_made_anew() -> None:
    async def scenario(client: Client, kernel: Kernel, laid: Laid) -> None:
        told = Told(client, KEY, 51820, Key("secret", KEY, 51820).annotation)
        routes = PodRoutes(client, "own", CLUSTER, kernel, Random(1), backend="wireguard", overlay=laid, told=told)
        running = asyncio.create_task(routes.run())
        for _ in range(2):
            await make_node(client, "own", "10.244.0.0/24", "192.0.2.1")
            await asyncio.sleep(2)
            node = await client.get(NODES, "own")
            assert "secret" not in str(node)
            found = read_peer(node)
            assert found is not None and (found.key, found.port) == (KEY, 51820)
            await client.delete(NODES, "own")
            await asyncio.sleep(1)
        await tasks.cancel_and_wait(running)

    with_server(scenario)


# The kernel's tunnels


class Side:
    """A machine of a network of its own, ``number`` 1 or 2; its pods' range is on an interface as a bridge's is."""

    def __init__(self, home: Path, lab: str, number: int) -> None:
        self.number, self.name = number, f"{lab}-{number}"
        self.prefix = ("ip", "netns", "exec", self.name)
        self.address, self.router = f"192.0.2.{32 * number + 1}", f"192.0.2.{32 * number + 30}"
        self.ranges = (f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64")
        self.pods = (f"10.244.{number}.9", f"fd00:10:244:{number}::9")
        self.device = f"x{self.name}"[:15]
        self.key = keep_key(home / f"{self.name}.json", lambda port: True)

    @property
    def peer(self) -> Peer:
        return Peer(
            self.name,
            tuple(map(ipaddress.ip_network, self.ranges)),
            (ipaddress.ip_address(self.address),),
            "1",
            self.key.public,
            self.key.port,
        )

    def run(self, *command: str, check: bool = True, stdin: str | None = None) -> str:
        done = subprocess.run([*self.prefix, *command], input=stdin, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def reaches(self, address: str, source: str = "", size: int = 56, tries: int = 5) -> bool:
        """By one of several packets, a second apart."""
        of = ("-I", source) if source else ()
        return any(
            subprocess.run(
                [*self.prefix, "busybox", "ping", "-c", "1", "-W", "1", "-s", str(size), *of, address],
                capture_output=True, check=False,
            ).returncode == 0
            for _ in range(tries)
        )  # fmt: skip


class Lab:
    def __init__(self, home: Path, kind: Backend) -> None:
        self.kind: Backend = kind
        self.name = f"spt{os.getpid()}{kind[0]}"
        self.sides = [Side(home, self.name, 1), Side(home, self.name, 2)]
        self.router = f"{self.name}-0"
        self.overlays: list[Overlay] = [self._overlay(side) for side in self.sides]
        self.tables = [IpTable(CLUSTER, side.prefix) for side in self.sides]

    def _overlay(self, side: Side) -> Overlay:
        if self.kind == "vxlan":
            return Vxlan(side.device, side.name, CLUSTER, lambda: 1500, f"{self.name}.tunnels", side.prefix)
        return Wireguard(side.device, side.key, lambda: 1500, side.prefix)

    def make(self) -> None:
        subprocess.run(["ip", "netns", "add", self.router], check=True)
        routing = ["link set lo up"]
        for side in self.sides:
            subprocess.run(["ip", "netns", "add", side.name], check=True)
            routing += [
                f"link add m{side.number} type veth peer name eth0 netns {side.name}",
                f"addr add {side.router}/27 dev m{side.number}",
                f"link set m{side.number} up",
            ]
        subprocess.run(["ip", "-netns", self.router, "-batch", "-"], input="\n".join(routing), text=True, check=True)
        for side in self.sides:
            lines = [
                "link set lo up", f"addr add {side.address}/27 dev eth0", "link set eth0 up",
                f"route add default via {side.router}", "link add pods type bridge",
                f"addr add {side.pods[0]}/24 dev pods", f"addr add {side.pods[1]}/64 dev pods nodad",
                "link set pods up",
            ]  # fmt: skip
            subprocess.run(["ip", "-netns", side.name, "-batch", "-"], input="\n".join(lines), text=True, check=True)
        rules = "table inet t { chain f { type filter hook forward priority 0; ip saddr 10.244.0.0/14 drop;"
        rules += " ip daddr 10.244.0.0/14 drop; meta nfproto ipv6 drop; }; }"
        enter = ("ip", "netns", "exec", self.router)
        subprocess.run([*enter, "nft", "-f", "-"], input=rules, text=True, check=True)
        subprocess.run([*enter, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)

    async def lay(self, *, look: bool = False, nodes: int = 2, only: int = 0) -> None:
        """On both sides, or on one."""
        known = [side.peer for side in self.sides[:nodes]]
        for side, overlay, table in zip(self.sides, self.overlays, self.tables, strict=True):
            if only in (0, side.number):
                links = await table.links()
                plan = plan_routes(known, side.name, CLUSTER, links, self.kind)
                await overlay.lay(plan, links, look=look)
                await table.change(overlay.routes(plan.tunnels) - await table.present(), ())

    async def remove(self) -> None:
        for overlay in self.overlays:
            with contextlib.suppress(RouteError):
                await overlay.remove()

    def close(self) -> None:
        for name in (*(side.name for side in self.sides), self.router):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.fixture(scope="module", params=["vxlan", "wireguard"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")
    lacking = missing.missing(request.param)
    if lacking is not None:
        pytest.skip(f"{lacking.what}; {lacking.fix}")
    made = Lab(tmp_path_factory.mktemp("tunnels"), request.param)
    try:
        made.make()
        asyncio.run(made.lay())
        yield made
    finally:
        asyncio.run(made.remove())
        made.close()


def test_pods_reach_each_other_and_nodes_reach_pods_though_no_router_knows_them(lab: Lab) -> None:
    one, two = lab.sides
    for mine, theirs in zip(one.pods, two.pods, strict=True):
        assert one.reaches(theirs, source=mine)
        assert one.reaches(theirs) and two.reaches(mine)


def test_pods_get_packets_that_are_larger_than_the_tunnel_carries(lab: Lab) -> None:
    """In pieces."""
    one, two = lab.sides
    assert one.reaches(two.pods[0], source=one.pods[0], size=4000)


async def test_the_interface_carries_what_fits_and_has_the_addresses_of_the_ranges(lab: Lab) -> None:
    one = lab.sides[0]
    found = await Ip(one.prefix).device(one.device)
    assert found is not None and found.up and found.mtu == (1450 if lab.kind == "vxlan" else 1440)
    assert found.addresses == {"10.244.1.0/32", "fd00:10:244:1::/128"}


async def test_what_is_laid_again_changes_nothing_and_what_somebody_removed_comes_back(lab: Lab) -> None:
    one, two = lab.sides
    before = one.run("ip", "-o", "link", "show", one.device)
    await lab.lay()
    await lab.lay(look=True)
    assert one.run("ip", "-o", "link", "show", one.device) == before
    one.run("ip", "link", "delete", one.device)
    assert not one.reaches(two.pods[0], source=one.pods[0], tries=1)
    await lab.lay(look=True)
    assert one.reaches(two.pods[0], source=one.pods[0])


async def test_a_node_that_moves_is_followed(lab: Lab) -> None:
    """Of the other side one entry changes; the side that moved has another end."""
    one, two = lab.sides
    two.run("ip", "addr", "del", f"{two.address}/27", "dev", "eth0")
    two.address = "192.0.2.66"
    two.run("ip", "addr", "add", f"{two.address}/27", "dev", "eth0")
    two.run("ip", "route", "replace", "default", "via", two.router)
    await lab.lay()
    assert one.reaches(two.pods[0], source=one.pods[0]) and one.reaches(two.pods[1], source=one.pods[1])


async def test_a_restarted_node_process_takes_over_what_is_there(lab: Lab) -> None:
    """No packet is lost: interface and entries stay as they are."""
    one = lab.sides[0]
    before = one.run("ip", "-o", "link", "show", one.device)
    lab.overlays[0] = lab._overlay(one)
    await lab.lay(only=1)
    assert one.run("ip", "-o", "link", "show", one.device) == before


async def test_a_node_that_left_is_led_to_no_more(lab: Lab) -> None:
    one, two = lab.sides
    links = await lab.tables[0].links()
    await lab.overlays[0].lay(plan_routes([one.peer], one.name, CLUSTER, links, lab.kind), links, look=False)
    assert not one.reaches(two.pods[0], source=one.pods[0], tries=1)
    if lab.kind == "vxlan":
        ip = Ip(one.prefix)
        assert not await ip.neighbours(one.device) and not await ip.forwarding(one.device)
    else:
        assert "peer" not in one.run("wg", "show", one.device)
    await lab.lay(only=1)
    assert one.reaches(two.pods[0], source=one.pods[0])


async def test_an_interface_of_another_kind_of_that_name_gives_way(lab: Lab) -> None:
    """As after another back end was chosen."""
    one, two = lab.sides
    one.run("ip", "link", "delete", one.device)
    one.run("ip", "link", "add", one.device, "type", "bridge")
    await lab.lay(look=True, only=1)
    assert one.reaches(two.pods[0], source=one.pods[0])


async def test_what_cannot_be_reached_does_not_keep_the_rest(lab: Lab) -> None:
    one, two = lab.sides
    links = await lab.tables[0].links()
    bad = Peer("bad", (ipaddress.ip_network("10.244.7.0/24"),), (ipaddress.ip_address("0.0.0.7"),), "0")
    plan = plan_routes([one.peer, two.peer, bad], one.name, CLUSTER, links, lab.kind)
    with contextlib.suppress(RouteError):
        await lab.overlays[0].lay(plan, links, look=True)
    assert one.reaches(two.pods[0], source=one.pods[0])


async def test_what_a_stranger_sends_into_the_tunnel_is_dropped(lab: Lab) -> None:
    """Who can reach the port would speak for any pod. WireGuard knows its peers by itself."""
    if lab.kind != "vxlan":
        return
    one, two = lab.sides
    inner = bytes.fromhex(hardware_address(one.name).replace(":", "")) + bytes(6) + b"\x08\x00" + bytes(60)
    packet = b"\x08\0\0\0" + network_number(CLUSTER).to_bytes(3) + b"\0" + inner
    program = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], 0));"
        f"[s.sendto(bytes.fromhex(sys.argv[2]), ({one.address!r}, {VXLAN_PORT})) for _ in range(5)]"
    )

    def arrived() -> int:
        listed = json.loads(one.run("ip", "-s", "-j", "link", "show", one.device))
        return int(listed[0]["stats64"]["rx"]["packets"])

    def dropped() -> int:
        listed = one.run("nft", "list", "table", "inet", f"{lab.name}.tunnels")
        return sum(map(int, re.findall(r"counter packets (\d+)", listed)))

    before = arrived()
    for machine, address in ((lab.router, one.router), (two.name, two.address)):
        subprocess.run(  # noqa: ASYNC221
            ["ip", "netns", "exec", machine, sys.executable, "-c", program, address, packet.hex()], check=True
        )
    while arrived() + dropped() < before + 10:  # noqa: ASYNC110 (the kernel)
        await asyncio.sleep(0)
    assert (arrived() - before, dropped()) == (5, 5)


def test_only_addresses_that_differ_are_told_to_the_table() -> None:
    assert guard.elements("t", {"192.0.2.1"}, {"192.0.2.2", "2001:db8::2"}) == [
        "delete element inet t known4 { 192.0.2.1 }",
        "add element inet t known4 { 192.0.2.2 }",
        "add element inet t known6 { 2001:db8::2 }",
    ]


async def test_nothing_stays_when_it_is_removed(lab: Lab) -> None:
    one = lab.sides[0]
    await lab.overlays[0].remove()
    await lab.overlays[0].remove()
    assert one.device not in one.run("ip", "-o", "link") and lab.name not in one.run("nft", "list", "tables")
    assert "10.244.2.0" not in one.run("ip", "route") and await lab.tables[0].present() == frozenset()
    if lab.kind == "wireguard":
        assert not Path(f"/run/wireguard/{one.device}.sock").exists() or shutil.which("wireguard-go") is None
