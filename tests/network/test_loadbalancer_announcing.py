"""Addresses of LoadBalancers on the wire: who asks gets an answer, who takes over is heard, and nobody is fooled."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import network_lab
import network_objects
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.errors import ServiceUnavailable
from sampan.api.loadbalancing import ANNOUNCED_BY, CLASS_MARK, HOST_PORTS, Address
from sampan.api.resources import EVENTS, NODES, SERVICES
from sampan.api.transport import Call
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.network.loadbalancer import hostports, packets, routes
from sampan.network.loadbalancer.announcer import Announcer
from sampan.network.loadbalancer.link import KernelLink

VIP, VIP6 = "192.0.2.50", "2001:db8::50"
CLIENT, CLIENT6 = "192.0.2.9", "2001:db8::9"
IP_FREEBIND = 15
MACS = {"a": "02:00:00:00:00:0a", "b": "02:00:00:00:00:0b", "client": "02:00:00:00:00:0c"}


class Segment(network_lab.Lab):
    """Two nodes and a client at one switch."""

    def __init__(self) -> None:
        super().__init__("lb")
        self.names = ["switch", *MACS]

    def open(self) -> None:
        for name in self.names:
            network_lab._ip(f"netns add {self.namespace(name)}")
        lines = ["link add br0 type bridge mcast_snooping 0", "link set br0 up"]
        for name in MACS:
            lines.append(f"link add port-{name} type veth peer name eth0 netns {self.namespace(name)}")
            lines += [f"link set port-{name} master br0", f"link set port-{name} up"]
        network_lab._ip("-batch -", self.namespace("switch"), "\n".join(lines))
        for number, (name, mac) in enumerate(MACS.items(), 7):
            up = [
                "link set lo up",
                f"link set eth0 address {mac}",
                "link set eth0 up",
                f"addr add 192.0.2.{number}/24 dev eth0",
            ]
            up.append(f"addr add 2001:db8::{number}/64 dev eth0 nodad")
            network_lab._ip("-batch -", self.namespace(name), "\n".join(up))


class LinkIn(KernelLink):
    def __init__(self, lab: Any, name: str) -> None:
        self._lab, self._name = lab, name

    def interface_for(self, address: Address) -> str:
        with self._lab.inside(self._name):
            return super().interface_for(address)

    def open(self, interface: str, version: int) -> socket.socket:
        with self._lab.inside(self._name):
            return super().open(interface, version)

    def join(self, interface: str, address: Address) -> socket.socket | None:
        with self._lab.inside(self._name):
            return super().join(interface, address)


@pytest.fixture(scope="module")
def segment(lab: Any) -> Iterator[Segment]:
    made = Segment()
    try:
        made.open()
        yield made
    finally:
        made.close()


def balanced(node: str, *addresses: str) -> dict[str, Any]:
    found: dict[str, Any] = network_objects.service("web", type="LoadBalancer", loadBalancerClass="sampan.io/l2")
    found["metadata"]["annotations"] = {ANNOUNCED_BY: node}
    found["status"] = {"loadBalancer": {"ingress": [{"ip": each, "ipMode": "VIP"} for each in addresses]}}
    return found


@asynccontextmanager
async def announcing(client: Client, link: Any, *nodes: str) -> AsyncIterator[list[Announcer]]:
    """``link``: of a node's name."""
    factory = InformerFactory(client)
    made = [Announcer(client, factory, node, link(node)) for node in nodes]
    jobs = [tasks.detach(factory.run(), "informers"), *(tasks.detach(each.run(), "announcer") for each in made)]
    try:
        yield made
    finally:
        await tasks.cancel_and_wait(*jobs)


class Wire:
    """The client's own card: frames as they are."""

    def __init__(self, segment: Segment, version: int) -> None:
        self._version = version
        with segment.inside("client"):
            self.card = KernelLink().open("eth0", version)
        self.mac = bytes.fromhex(MACS["client"].replace(":", ""))

    async def hears(self, kind: str, address: str, sender: str) -> None:
        """Returns once somebody has asked for, or claimed, the address."""
        wanted = ipaddress.ip_address(address).packed, bytes.fromhex(MACS[sender].replace(":", ""))
        async with asyncio.timeout(15):
            while True:
                frame = await asyncio.get_running_loop().sock_recv(self.card, 2048)
                read = packets.read_arp if self._version == 4 else packets.read_neighbour
                if any(each.kind == kind and (each.address, each.sender) == wanted for each in read(frame)):
                    return

    def asks(self, address: str) -> None:
        target = ipaddress.ip_address(address).packed
        if self._version == 4:
            own = ipaddress.ip_address(CLIENT).packed
            body = self.mac + own + bytes(6) + target
            self.card.send(packets.BROADCAST + self.mac + b"\x08\x06\0\x01\x08\0\x06\x04\0\x01" + body)
            return
        own, group = ipaddress.ip_address(CLIENT6).packed, packets.solicited_node(target)
        message = struct.pack("!BBHI", packets.SOLICITATION, 0, 0, 0) + target + b"\x01\x01" + self.mac
        message = message[:2] + packets._checksum(own, group, message).to_bytes(2, "big") + message[4:]
        head = struct.pack("!IHBB", 6 << 28, len(message), 58, 255) + own + group
        self.card.send(b"\x33\x33" + group[-4:] + self.mac + b"\x86\xdd" + head + message)


@pytest.mark.parametrize(("version", "address"), [(4, VIP), (6, VIP6)])
async def test_the_named_node_says_and_answers_that_it_has_the_address_until_another_takes_over(
    segment: Segment, api: Any, client: Client, version: int, address: str
) -> None:
    wire = Wire(segment, version)
    async with announcing(client, lambda node: LinkIn(segment, node), "a", "b") as (first, second):
        api.add(SERVICES, balanced("a", address))
        await wire.hears("claims", address, "a")
        wire.asks(address)
        await wire.hears("claims", address, "a")
        assert (first.addresses, second.addresses) == ({address}, frozenset())
        api.change(SERVICES, "default", "web", lambda held: held["metadata"]["annotations"].update({ANNOUNCED_BY: "b"}))
        await wire.hears("claims", address, "b")  # nobody had to ask
        assert first.addresses == frozenset()
        assert not first._sockets  # nothing to announce: nothing is open
    wire.card.close()


@pytest.mark.parametrize(("version", "address"), [(4, VIP), (6, VIP6)])
async def test_the_clients_kernel_finds_an_address_that_no_interface_has(
    segment: Segment, api: Any, client: Client, version: int, address: str
) -> None:
    """The node takes packets for it, as the service proxy's rules do, and no kernel answers for it."""
    segment.ip("a", f"-{version} route add local {address} dev lo")
    try:
        with segment.inside("a"):
            Path("/proc/sys/net/ipv4/conf/all/arp_ignore").write_text("1")
        with segment.inside("a"):
            serving = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
        serving.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        serving.bind((address, 5353))
        serving.setblocking(False)
        async with announcing(client, lambda node: LinkIn(segment, node), "a"):
            api.add(SERVICES, balanced("a", address))
            with segment.inside("client"):
                asking = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
            asking.setblocking(False)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(15):
                await loop.sock_sendto(asking, b"hello", (address, 5353))
                assert (await loop.sock_recvfrom(serving, 200))[0] == b"hello"
            asking.close()
        serving.close()
    finally:
        segment.ip("a", f"-{version} route del local {address} dev lo")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 (looks at what it waits for)
            await asyncio.sleep(0.005)


class Unreachable:
    """An API that can go away between a watch and a question."""

    def __init__(self, api: Any) -> None:
        self.api, self.away = api, False

    async def call(self, call: Call) -> Any:
        if self.away:
            raise ServiceUnavailable("connection refused")
        return await self.api.call(call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.api, name)


async def test_a_node_that_is_cut_off_leaves_the_address_to_whoever_claims_it_and_else_keeps_it(
    segment: Segment, api: Any
) -> None:
    transport, wire = Unreachable(api), Wire(segment, 4)
    async with announcing(Client(transport), lambda node: LinkIn(segment, node), "a") as (node,):
        api.add(SERVICES, balanced("a", VIP))
        await wire.hears("claims", VIP, "a")
        claim = packets.write_arp_announcement(wire.mac, ipaddress.ip_address(VIP).packed)
        wire.card.send(claim)
        await wire.hears("claims", VIP, "a")  # the API server says that it is ours: said again
        assert node.addresses == {VIP}
    async with announcing(Client(transport), lambda node: LinkIn(segment, node), "a") as (node,):
        await wire.hears("claims", VIP, "a")
        transport.away = True
        wire.card.send(claim)
        await until(lambda: not node.addresses)
        transport.away = False
        api.change(SERVICES, "default", "web", lambda held: held["metadata"].update(generation=2))
        await wire.hears("claims", VIP, "a")
    wire.card.close()


class NoRoute(KernelLink):
    def interface_for(self, address: Address) -> str:
        return ""


class Unplugged(KernelLink):
    def __init__(self) -> None:
        self.asked: list[str] = []

    def interface_for(self, address: Address) -> str:
        self.asked.append(str(address))
        return ""


async def test_an_address_out_of_reach_is_told_of_once(api: Any, client: Client) -> None:
    async with announcing(client, lambda node: NoRoute(), "a") as (node,):
        api.add(SERVICES, balanced("a", VIP))
        await until(lambda: bool(api.all(EVENTS)))
        node._changed.set()
        await until(lambda: not node._changed.is_set())
        api.change(SERVICES, "default", "web", lambda held: held.update(balanced("a", VIP, "192.0.2.51")))
        await until(lambda: len(api.all(EVENTS)) == 2)
        assert node.addresses == frozenset()
    said = [(event["reason"], event["message"]) for event in api.all(EVENTS)]
    text = "is not announced: no interface of a has a route to it"
    assert said == [("AnnounceFailed", f"{address} {text}") for address in (VIP, "192.0.2.51")]


async def test_questions_without_end_are_answered_so_many_a_second(api: Any, client: Client, monkeypatch: Any) -> None:
    node, loop = Announcer(client, InformerFactory(client), "a", KernelLink()), asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: 1.5)
    assert sum(node._may_answer() for _ in range(9000)) == 2000
    monkeypatch.setattr(loop, "time", lambda: 2.5)
    assert node._may_answer()


@given(st.binary(max_size=120))
def test_any_bytes_are_no_question(frame: bytes) -> None:
    packets.read_arp(frame)
    packets.read_neighbour(frame)
    start = b"\xff" * 6 + b"\x02" * 6
    packets.read_arp(start + b"\x08\x06" + frame)
    assert not packets.read_neighbour(start + b"\x86\xdd" + frame[:6] + b"\x3a\xff" + frame[8:])  # its sum is wrong


@given(st.binary(min_size=6, max_size=6), st.binary(min_size=16, max_size=16), st.integers(0, 85))
def test_an_advertisement_is_read_as_written_and_with_any_bit_turned_it_is_none(
    mac: bytes, address: bytes, place: int
) -> None:
    mac = bytes((mac[0] & 0xFE,)) + mac[1:]
    frame = packets.write_advertisement(mac, address)
    (heard,) = packets.read_neighbour(frame)
    assert (heard.kind, heard.address, heard.sender) == ("claims", address, mac)
    turned = frame[:place] + bytes((frame[place] ^ 0x10,)) + frame[place + 1 :]
    if place >= 14 + 8:
        assert not packets.read_neighbour(turned)


IPV4_ROUTES = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 010200C0 0003 0 0 100 00000000 0 0 0
wlan0 00000000 010200C0 0003 0 0 600 00000000 0 0 0
eth1 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
* 000A0000 00000000 0200 0 0 0 0000FFFF 0 0 0
"""
IPV6_ROUTES = """20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth1
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0
00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000003 00000000 80200001 lo
"""  # noqa: E501 (as the kernel has it)


@pytest.mark.parametrize(
    ("address", "interface"),
    [("192.0.2.50", "eth1"), ("198.51.100.1", "eth0"), ("2001:db8::50", "eth1"), ("2001:db9::1", "eth0")],
)
def test_an_address_is_announced_where_the_kernel_would_send_to_it(address: str, interface: str) -> None:
    known = [*routes.parse_ipv4(IPV4_ROUTES.splitlines()), *routes.parse_ipv6(IPV6_ROUTES.splitlines())]
    assert routes.interface_for(ipaddress.ip_address(address), known) == interface
    assert routes.interface_for(ipaddress.ip_address(address), known[:0]) == ""


def test_the_kernel_tells_what_listens_where_others_reach_it(lab: Any) -> None:
    with (
        lab.inside("node"),
        socket.create_server(("0.0.0.0", 0)) as wide,
        socket.create_server(("127.0.0.1", 0)) as narrow,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.bind(("::", 0))
        ports = [each.getsockname()[1] for each in (wide, narrow, datagrams)]
        found = hostports.listening()
    assert ("TCP", ports[0]) in found and ("TCP", ports[1]) not in found and ("UDP", ports[2]) in found
    assert hostports.render({("UDP", 53), ("TCP", 53), ("UDP", 1025), ("TCP", 6443)}, 1024) == "TCP/53,UDP/53,TCP/6443"


async def test_listening_ports_are_written_on_the_node_once_it_is_there(api: Any, client: Client) -> None:
    told = hostports.HostPorts(client, "n", lambda: "TCP/22")
    await told._tell()  # no Node yet
    api.add(NODES, {"metadata": {"name": "n"}})
    await told._tell()
    (node,) = api.all(NODES)
    assert node["metadata"]["annotations"] == {HOST_PORTS: "TCP/22"}
    api.change(NODES, "", "n", lambda held: held["metadata"].pop("annotations"))  # made anew, under the same name
    await told._tell()
    (node,) = api.all(NODES)
    assert node["metadata"]["annotations"] == {HOST_PORTS: "TCP/22"}


async def test_whatever_a_tenant_writes_an_address_of_a_node_is_not_announced(api: Any, client: Client) -> None:
    """The class of a Service that names none is an annotation; that an address is a node's is in the status."""
    link = Unplugged()
    async with announcing(client, lambda _: link, "a") as (node,):
        api.add(SERVICES, balanced("a", "192.0.2.99"))
        await until(lambda: link.asked == ["192.0.2.99"])
        taken = balanced("a", "192.0.2.2")
        del taken["spec"]["loadBalancerClass"]
        taken["metadata"]["annotations"][CLASS_MARK] = "sampan.io/l2"
        taken["status"]["loadBalancer"]["ingress"][0]["ports"] = [{"port": 80, "protocol": "TCP"}]
        api.change(SERVICES, "default", "web", lambda held: held.update(taken))
        await until(lambda: not node._announced)
    assert link.asked == ["192.0.2.99"]
