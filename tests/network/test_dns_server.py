"""The DNS server over real packets on loopback, with an upstream of the test's own."""

import asyncio
import random
import socket

import network_objects as make
import pytest
from dnslib import EDNS0, QTYPE, RCODE, RR, A, DNSRecord

from sampan.api.resources import ENDPOINT_SLICES, NAMESPACES, SERVICES
from sampan.client import tasks
from sampan.network.dns.config import DnsConfig
from sampan.network.dns.follow import Follower, kinds
from sampan.network.dns.forward import Upstream, parse_resolv_conf
from sampan.network.dns.known import Known
from sampan.network.dns.server import DnsServer


class FakeUpstream(asyncio.DatagramProtocol):
    """Knows ``known.example``; ``mute`` makes it silent."""

    def __init__(self):
        self.asked = []
        self.mute = False

    def connection_made(self, transport):
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data, addr):
        request = DNSRecord.parse(data)
        if "sampan-dns-loops" in str(request.q.qname):
            return
        self.asked.append(str(request.q.qname))
        if self.mute:
            return
        reply = request.reply()
        if str(request.q.qname) == "known.example.":
            reply.add_answer(RR("known.example", QTYPE.A, rdata=A("203.0.113.5"), ttl=60))
        else:
            reply.header.rcode = RCODE.NXDOMAIN
        self.transport.sendto(reply.pack(), addr)


@pytest.fixture
async def upstream():
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        FakeUpstream, local_addr=("127.0.0.1", 0)
    )
    yield protocol
    transport.close()


@pytest.fixture
async def server(api, client, upstream, tmp_path):
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    config = DnsConfig(
        address="127.0.0.1", port=0, resolv_conf=resolv, upstream_try_seconds=0.1, upstream_total_seconds=0.2
    )
    api.add(NAMESPACES, make.namespace("default"))
    api.add(SERVICES, make.service("web"))
    api.add(SERVICES, make.service("db", "None"))
    api.add(SERVICES, make.service("out", "", type="ExternalName", externalName="known.example"))
    api.add(ENDPOINT_SLICES, make.endpoint_slice("db", [make.endpoint(f"10.244.0.{n}") for n in range(2, 62)]))
    known = Known()
    made = DnsServer(known, config, upstream=Upstream(config, random.Random(1), upstream.port), random=random.Random(1))
    followers = [Follower(client, kind, random.Random(1)) for kind in kinds(known)]
    started = asyncio.Event()
    jobs = [tasks.detach(follower.run(), "follower") for follower in followers]
    jobs.append(tasks.detach(made.run(started=started), "dns"))
    for follower in followers:
        await follower.synced.wait()
    await started.wait()
    yield made
    await tasks.cancel_and_wait(*jobs)


async def udp(server, question):
    loop = asyncio.get_running_loop()
    received = loop.create_future()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data, addr):
            received.set_result(data)

    transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=("127.0.0.1", server.port))
    try:
        transport.sendto(question.pack())
        return DNSRecord.parse(await received)
    finally:
        transport.close()


async def tcp(server, *questions):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        answers = []
        for question in questions:
            packet = question.pack()
            writer.write(len(packet).to_bytes(2, "big") + packet)
            size = int.from_bytes(await reader.readexactly(2), "big")
            answers.append(DNSRecord.parse(await reader.readexactly(size)))
        return answers
    finally:
        writer.close()


async def until(condition):
    while not condition():  # noqa: ASYNC110 (what is waited for has no event)
        await asyncio.sleep(0)


def asking(name, kind="A"):
    return DNSRecord.question(name, kind)


async def test_a_service_is_found_as_it_was_written(server):
    answer = await udp(server, asking("WEB.Default.svc.cluster.local"))
    assert [str(record.rdata) for record in answer.rr] == ["10.96.0.20"]
    assert str(answer.rr[0].rname) == "WEB.Default.svc.cluster.local."
    assert answer.header.aa == 1


async def test_unknown_names_carry_the_soa(server):
    answer = await udp(server, asking("none.default.svc.cluster.local"))
    assert answer.header.rcode == RCODE.NXDOMAIN
    assert [QTYPE[record.rtype] for record in answer.auth] == ["SOA"]


async def test_a_missing_type_is_no_error(server):
    answer = await udp(server, asking("web.default.svc.cluster.local", "AAAA"))
    assert answer.header.rcode == RCODE.NOERROR
    assert answer.rr == []
    assert [QTYPE[record.rtype] for record in answer.auth] == ["SOA"]


async def test_what_does_not_fit_is_cut_and_complete_over_tcp(server):
    question = asking("db.default.svc.cluster.local")
    cut = await udp(server, question)
    assert cut.header.tc == 1
    assert len(cut.pack()) <= 512
    (whole,) = await tcp(server, question)
    assert len(whole.rr) == 60
    question.add_ar(EDNS0(udp_len=4096))
    larger = await udp(server, question)
    assert len(larger.rr) == 60 or larger.header.tc == 1
    assert larger.ar[-1].rtype == 41


async def test_one_tcp_connection_serves_many_questions(server):
    answers = await tcp(server, asking("web.default.svc.cluster.local"), asking("known.example"))
    assert [str(answer.rr[0].rdata) for answer in answers] == ["10.96.0.20", "203.0.113.5"]


async def test_the_rest_of_the_world_is_asked_once(server, upstream):
    for _ in range(2):
        answer = await udp(server, asking("known.example"))
        assert str(answer.rr[0].rdata) == "203.0.113.5"
    assert upstream.asked == ["known.example."]


async def test_an_external_name_brings_its_addresses(server):
    answer = await udp(server, asking("out.default.svc.cluster.local"))
    assert [str(record.rdata) for record in answer.rr] == ["known.example.", "203.0.113.5"]


async def test_an_upstream_that_is_silent_is_a_server_failure(server, upstream):
    upstream.mute = True
    answer = await udp(server, asking("other.example"))
    assert answer.header.rcode == RCODE.SERVFAIL


async def test_a_repeated_question_has_its_own_id(server):
    question = asking("web.default.svc.cluster.local")
    for number in (1, 2):
        question.header.id = number
        assert (await udp(server, question)).header.id == number


async def test_a_deleted_service_is_unknown_at_once(server, api):
    assert (await udp(server, asking("web.default.svc.cluster.local"))).header.rcode == RCODE.NOERROR
    api.remove(SERVICES, "default", "web")
    await until(lambda: not server._known.service("default", "web"))
    answer = await udp(server, asking("web.default.svc.cluster.local"))
    assert answer.header.rcode == RCODE.NXDOMAIN


async def test_headless_answers_change_their_order(server, api):
    entries = [make.endpoint(f"10.244.0.{n}") for n in (2, 3)]
    api.change(ENDPOINT_SLICES, "default", "db-x", lambda obj: obj.update(endpoints=entries))
    await until(lambda: len(server._known.endpoints("default", "db")) == 2)
    first = {str((await udp(server, asking("db.default.svc.cluster.local"))).rr[0].rdata) for _ in range(20)}
    assert first == {"10.244.0.2", "10.244.0.3"}


async def test_strange_packets_are_refused_or_ignored(server):
    update = asking("web.default.svc.cluster.local")
    update.header.opcode = 5
    assert (await udp(server, update)).header.rcode == RCODE.NOTIMP
    transfer = asking("cluster.local", "AXFR")
    assert (await udp(server, transfer)).header.rcode == RCODE.REFUSED


def test_our_own_address_is_no_upstream():
    text = "search a b\nnameserver 10.96.0.10\nnameserver 1.1.1.1 # one\n;nameserver 2.2.2.2\nnameserver nonsense\n"
    assert parse_resolv_conf(text, ("10.96.0.10",)) == ("1.1.1.1",)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as made:
            made.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_both_families_are_answered_at_one_port_and_not_once_others_have_the_clusters_dns(api, client, tmp_path):
    config = DnsConfig(
        address="127.0.0.1,::1",
        port=0,
        resolv_conf=tmp_path / "none",
        dns_ip="10.96.0.10,fd00::a",
        cluster_pod_cidr="10.244.0.0/16,fd00:1::/64",
    )
    known = Known()
    api.add(SERVICES, make.service("kube-dns", "10.96.0.10", namespace="kube-system"))
    made = DnsServer(known, config, random=random.Random(1))
    follower = Follower(client, kinds(known)[1], random.Random(1))
    started = asyncio.Event()
    jobs = [tasks.detach(follower.run(), "follower"), tasks.detach(made.run(started=started), "dns")]
    await follower.synced.wait()
    await started.wait()
    loop = asyncio.get_running_loop()
    for host, kind, expected in (("127.0.0.1", "A", "10.96.0.10"), ("::1", "AAAA", "fd00::a")):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as card:
            card.connect((host, made.port))
            await loop.sock_sendall(card, bytes(asking("ns.dns.cluster.local", kind).pack()))
            answer = DNSRecord.parse(await loop.sock_recv(card, 1000))
        assert [str(record.rdata) for record in answer.rr] == [expected]
    reverse = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa"
    said = []
    made.receive(bytes(asking(reverse, "PTR").pack()), ("::1", 1), said.append)
    assert DNSRecord.parse(said[0]).header.rcode == RCODE.NXDOMAIN  # ours, so nobody else is asked
    api.change(SERVICES, "kube-system", "kube-dns", lambda held: held["spec"].update(selector={"k8s-app": "kube-dns"}))
    await until(lambda: known.aside)
    made.receive(bytes(asking(reverse, "PTR").pack()), ("::1", 1), said.append)
    assert len(said) == 1
    api.remove(SERVICES, "kube-system", "kube-dns")
    await until(lambda: not known.aside)
    await tasks.cancel_and_wait(*jobs)
