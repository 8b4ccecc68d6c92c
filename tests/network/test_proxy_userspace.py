"""The userspace back end: whose turn it is, what a relay carries, and when it ends."""

import asyncio
import dataclasses
import socket

import network_objects as make
import pytest

from sampan.network.proxy.endpoints import Place
from sampan.network.proxy.memory import MemoryBackend
from sampan.network.proxy.model import Endpoint
from sampan.network.proxy.plan import ServiceKey, plan_service
from sampan.network.proxy.userspace.backend import UserspaceBackend
from sampan.network.proxy.userspace.balancer import _CLIENTS, Balancer
from sampan.network.proxy.userspace.relay import TcpRelay, UdpRelay, plain

A, B, C = (Endpoint(f"10.0.0.{n}", 80) for n in (1, 2, 3))
KEY = ServiceKey("default", "web")


def made(*endpoints, affinity=0):
    balancer = Balancer()
    balancer.set(endpoints, affinity)
    return balancer


def test_endpoints_take_turns():
    balancer = made(A, B, C)
    assert [balancer.order("x", 0)[0] for _ in range(4)] == [B, C, A, B]
    assert set(balancer.order("x", 0)) == {A, B, C}


def test_a_known_client_comes_back_to_its_endpoint_until_it_was_away_too_long():
    balancer = made(A, B, C, affinity=10)
    balancer.chosen("x", C, 0)
    assert [balancer.order("x", now)[0] for now in (1, 9)] == [C, C]
    assert {balancer.order("x", 11 + n)[0] for n in range(3)} == {A, B, C}


def test_a_known_client_goes_elsewhere_when_its_endpoint_is_gone():
    balancer = made(A, B, affinity=10)
    balancer.chosen("x", B, 0)
    balancer.set((A,), 10)
    assert balancer.order("x", 1) == [A]


def test_only_so_many_clients_are_remembered():
    balancer = made(A, B, affinity=10)
    for number in range(_CLIENTS + 5):
        balancer.chosen(str(number), A, 0)
    assert len(balancer._known) == _CLIENTS


@pytest.fixture
async def echo():
    """Says what it heard when it has heard all of it."""

    async def answer(reader, writer):
        writer.write(b"heard " + await reader.read())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()


async def test_a_connection_is_carried_both_ways_and_half_closed(echo):
    relay = TcpRelay("127.0.0.1", plain)
    relay.balancer.set([echo], 0)
    await relay.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(b"x" * 1_000_000)
    writer.write_eof()
    assert await reader.read() == b"heard " + b"x" * 1_000_000
    writer.close()
    await relay.close()


async def test_an_endpoint_that_does_not_answer_is_passed_over(echo):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: refused
        relay = TcpRelay("127.0.0.1", plain)
        relay.balancer.set([echo, Endpoint("127.0.0.1", closed.getsockname()[1])], 0)
        await relay.start()
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write_eof()
            assert await reader.read() == b"heard "
            writer.close()
        await relay.close()


async def test_what_a_relay_carries_ends_with_it(echo):
    relay = TcpRelay("127.0.0.1", plain)
    relay.balancer.set([echo], 0)
    await relay.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(b"unfinished")
    while not relay._carried:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await relay.close()
    with pytest.raises((ConnectionError, EOFError)):
        await reader.readexactly(100)
    writer.close()
    assert relay._gate.used == 0


async def test_udp_clients_have_an_endpoint_each_and_lose_it_with_the_endpoint():
    loop = asyncio.get_running_loop()
    servers = []
    for name in (b"a", b"b"):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.setblocking(False)
        server.bind(("127.0.0.1", 0))

        def answer(server=server, name=name):
            _, client = server.recvfrom(100)
            server.sendto(name, client)

        loop.add_reader(server, answer)
        servers.append(server)
    first, second = (Endpoint("127.0.0.1", server.getsockname()[1]) for server in servers)
    relay = UdpRelay("127.0.0.1", plain)
    relay.balancer.set([first, second], 0)
    await relay.start()
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    client.connect(("127.0.0.1", relay.port))

    async def ask():
        await loop.sock_sendall(client, b"?")
        return await loop.sock_recv(client, 100)

    heard = {await ask() for _ in range(4)}
    assert len(heard) == 1
    relay.balancer.set([first if heard == {b"b"} else second], 0)
    assert await ask() not in heard
    for server in servers:
        loop.remove_reader(server)
        server.close()
    client.close()
    await relay.close()
    assert relay._clients == {}


@pytest.fixture
def local(config):
    return dataclasses.replace(config, node_address="127.0.0.1")


def planned(*ips, **spec):
    slices = [make.endpoint_slice("web", [make.endpoint(ip) for ip in ips])]
    return plan_service(make.service("web", **spec), slices, Place("node1"))


async def test_rules_lead_to_the_relay_whatever_endpoints_there_are(local):
    rules = MemoryBackend()
    backend = UserspaceBackend(local, rules)
    backend.plan(KEY, planned("10.244.0.2", sessionAffinity="ClientIP"))
    await backend.apply()
    before = rules.services[KEY]
    (relay,) = before.ports[0].choice.cluster
    assert relay.ip == "127.0.0.1"
    assert before.ports[0].port.affinity_seconds == 0
    backend.plan(KEY, planned("10.244.0.2", "10.244.0.3", sessionAffinity="ClientIP"))
    await backend.apply()
    assert rules.services[KEY].ports == before.ports  # the relay alone knows
    backend.plan(KEY, planned())
    await backend.apply()
    assert rules.services[KEY].ports[0].choice.cluster == ()  # refused by rules
    assert backend._relays == {}
    await backend.close()


async def test_sctp_goes_by_rules_alone(local):
    rules = MemoryBackend()
    backend = UserspaceBackend(local, rules)
    port = make.port(80, "SCTP")
    plan = plan_service(
        make.service("web", ports=[port]),
        [make.endpoint_slice("web", [make.endpoint("10.244.0.2")], [port])],
        Place("node1"),
    )
    backend.plan(KEY, plan)
    await backend.apply()
    assert rules.services[KEY] == plan
    await backend.close()


async def test_without_a_socket_for_its_relay_a_service_goes_by_rules(local, caplog):
    def none_left(*_):
        raise OSError(24, "Too many open files")

    rules = MemoryBackend()
    backend = UserspaceBackend(local, rules, none_left)
    backend.plan(KEY, planned("10.244.0.2"))
    await backend.apply()
    assert rules.services[KEY] == planned("10.244.0.2")
    assert "no relay for default/web/tcp/80" in caplog.text
    await backend.close()
