"""What anybody may send to the DNS server: no packet and no connection ends, fills or holds up anything."""

import asyncio
import random
import struct
from dataclasses import replace

import network_objects as make
import pytest
import suite_samples
from dnslib import EDNS0, QTYPE, RR, A, DNSRecord

from sampan.client import tasks
from sampan.network.dns import message, names, relay
from sampan.network.dns.answering import Answerer
from sampan.network.dns.config import DnsConfig
from sampan.network.dns.forward import Upstream
from sampan.network.dns.known import MAX_NAMES, Known
from sampan.network.dns.message import read_request
from sampan.network.dns.names import Malformed
from sampan.network.dns.records import NamedAddress, NamedService, NamedSlice, read_service, read_slice
from sampan.network.dns.resolve import Question, Zone
from sampan.network.dns.server import DnsServer, _Connections
from sampan.network.gate import Gate

CLIENT = ("10.244.0.9", 4000)
#: In four parts, to be quick each.
PACKETS = suite_samples.of(100_000, 40_000) // 4
GOOD = bytes(DNSRecord.question("web.default.svc.cluster.local").pack())


def known_cluster():
    known = Known()
    known.put_namespace("default")
    known.put_service(read_service(make.service("web")))
    known.put_service(read_service(make.service("db", "None")))
    known.put_service(read_service(make.service("odd", "", type="ExternalName", externalName=f"{'x' * 64}.example")))
    known.put_service(read_service(make.service("dots", "", type="ExternalName", externalName="a..b")))
    known.put_service(read_service(make.service("out", "", type="ExternalName", externalName="known.example")))
    ends = [make.endpoint(f"10.244.{n // 250}.{n % 250 + 1}") for n in range(5000)]
    known.put_slice(read_slice(make.endpoint_slice("db", ends)))
    return known


@pytest.fixture
def config(tmp_path):
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("")
    return DnsConfig(address="127.0.0.1", port=0, resolv_conf=resolv, tcp_seconds=5, connections=8)


@pytest.fixture
async def server(config):
    made = DnsServer(known_cluster(), config, random=random.Random(1))
    started = asyncio.Event()
    job = tasks.detach(made.run(started=started), "dns")
    await started.wait()
    yield made
    await tasks.cancel_and_wait(job)


async def until(condition):
    while not condition():  # noqa: ASYNC110 (what is waited for has no event)
        await asyncio.sleep(0.001)


async def settled(server):
    if server._waiting:
        await asyncio.wait(server._waiting)


def answers_of(server, packet):
    sent = []
    server.receive(bytes(packet), CLIENT, sent.append)
    return sent


def still_answers(server):
    (answer,) = answers_of(server, GOOD)
    return [str(record.rdata) for record in DNSRecord.parse(answer).rr] == ["10.96.0.20"]


def some_packets(chance):
    """Valid requests of many kinds, what becomes of them when bytes change, and noise."""
    seeds = [GOOD]
    for name in (
        "web.default.svc.cluster.local",
        "db.default.svc.cluster.local",
        "out.default.svc.cluster.local",
        "odd.default.svc.cluster.local",
        "20.0.96.10.in-addr.arpa",
        "example.com",
        "",
        "_http._tcp.web.default",
    ):
        for kind in ("A", "AAAA", "SRV", "ANY", "PTR", "TXT", "SOA", "AXFR"):
            question = DNSRecord.question(name, kind)
            seeds.append(question.pack())
            question.add_ar(EDNS0(udp_len=chance.randrange(65536)))
            seeds.append(question.pack())
    while True:
        packet = bytearray(chance.choice(seeds))
        match chance.randrange(6):
            case 0:
                for _ in range(chance.randrange(1, 8)):
                    packet[chance.randrange(len(packet))] = chance.randrange(256)
            case 1:
                del packet[chance.randrange(len(packet)) :]
            case 2:
                packet += chance.randbytes(chance.randrange(600))
            case 3:
                packet = bytearray(chance.randbytes(chance.randrange(80)))
            case 4:  # a good header, then anything
                packet = packet[:12] + chance.randbytes(chance.randrange(400))
            case 5:  # numbers of records
                packet[4:12] = chance.randbytes(8)
        yield bytes(packet)


@pytest.mark.parametrize("seed", range(4))
async def test_tens_of_thousands_of_strange_packets_leave_the_server_as_it_was(server, seed, caplog):
    chance = random.Random(seed)
    packets = some_packets(chance)
    answered = 0
    for number in range(PACKETS):
        packet = next(packets)
        for answer in answers_of(server, packet):
            answered += 1
            assert len(answer) <= message.MAX_UDP_BYTES
            assert answer[:2] == packet[:2]
            assert answer[2] & 0x80
        if number % 1000 == 0:
            await settled(server)
            assert still_answers(server)
    await settled(server)
    assert still_answers(server)
    assert server.counts.faults == 0
    assert server._gate.used == 0
    assert answered > PACKETS // 10
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]


def question(*labels, kind=1, head=(7, 0x0100, 1, 0, 0, 0)):
    name = b"".join(bytes((len(label),)) + label for label in labels)
    return struct.pack("!6H", *head) + name + b"\0" + struct.pack("!HH", kind, 1)


@pytest.mark.parametrize(
    ("packet", "refusal"),
    [
        (question(*[b"a" * 63] * 5), message.FORMERR),  # 320 bytes, of which a name has 255 at most
        (question(*[b"a"] * 126), message.NOERROR),
        (question(*[b"a"] * 127), message.NOERROR),
        (question(*[b"a"] * 128), message.FORMERR),
        (question(b"."), message.NOERROR),
        (question(b"\xff\xfe", b"\0"), message.NOERROR),
        (question(b"xn--a", b"svc"), message.NOERROR),
        (question(kind=65280), message.NOERROR),
        (struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", message.FORMERR),  # points at itself
        (struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + b"\x40a\0\0\1\0\1", message.FORMERR),  # neither length nor pointer
        (struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + b"\x05ab", message.FORMERR),
        (question(b"a", head=(7, 0x100, 0, 0, 0, 0)), message.FORMERR),
        (question(b"a", head=(7, 0x100, 65535, 0, 0, 0)), message.FORMERR),
        (question(b"a", head=(7, 0x100, 1, 65535, 0, 0)), message.FORMERR),
        (question(b"a", head=(7, 0x100, 1, 0, 0, 1)), message.FORMERR),  # the record is not there
        (question(b"a") + bytes(5000), message.FORMERR),
        (question(b"a", head=(7, 0x2900, 1, 0, 0, 0)), message.NOTIMP),
        (question(b"a", kind=252), message.REFUSED),
    ],
)
def test_each_strange_request_has_its_refusal(packet, refusal):
    assert read_request(packet).refusal == refusal


@pytest.mark.parametrize("packet", [b"", bytes(11), question(b"a", head=(7, 0x8100, 1, 0, 0, 0))])
def test_what_is_no_request_is_not_answered(packet):
    assert read_request(packet) is None


def options(*records, count=None):
    head = (7, 0x100, 1, 0, 0, len(records) if count is None else count)
    return question(b"a", head=head) + b"".join(records)


def option(name=b"\0", size=1400, ttl=0, data=b""):
    return name + struct.pack("!HHIH", 41, size, ttl, len(data)) + data


@pytest.mark.parametrize(
    ("packet", "refusal", "size"),
    [
        (options(option()), message.NOERROR, 1232),
        (options(option(size=100)), message.NOERROR, 512),
        (options(option(size=65535, data=b"\0\x0a\0\x08abcdefgh")), message.NOERROR, 1232),
        (options(option(data=b"\0\x0a\xff\xff")), message.NOERROR, 1232),  # nothing in it is looked at
        (options(option(), option()), message.FORMERR, 512),
        (options(option(name=b"\1a\0")), message.FORMERR, 512),
        (options(option(ttl=1 << 16)), message.BADVERS, 1232),
        (options(option()[:-1]), message.FORMERR, 512),
    ],
)
def test_options_are_understood_or_refused(packet, refusal, size):
    request = read_request(packet)
    assert (request.refusal, request.udp_bytes) == (refusal, size)


def test_a_version_of_edns_that_is_not_known_is_refused_by_its_code():
    request = read_request(options(option(ttl=1 << 16)))
    answer = DNSRecord.parse(message.write_error(request, request.refusal))
    assert answer.ar[0].edns_rcode == 1
    assert answer.header.rcode == 0


@pytest.mark.parametrize("name", ["odd", "dots"])
async def test_an_external_name_that_no_message_can_carry_fails_alone(server, name):
    sent = answers_of(server, DNSRecord.question(f"{name}.default.svc.cluster.local").pack())
    await settled(server)
    assert DNSRecord.parse(sent[0]).header.rcode == message.SERVFAIL
    assert still_answers(server)


@pytest.mark.parametrize("tcp", [False, True])
async def test_an_answer_of_thousands_of_addresses_is_cut_at_its_size(server, tcp):
    request = read_request(bytes(DNSRecord.question("db.default.svc.cluster.local").pack()))
    answer, _ = server._answerer.answer_nowait(request, tcp=tcp)
    parsed = DNSRecord.parse(answer)
    assert parsed.header.tc == 1
    assert len(parsed.rr) == ((65535 if tcp else 512) - 12 - 35) // 16


async def test_packets_that_are_kept_are_small_and_few(server):
    for number in range(5000):
        answers_of(server, GOOD + number.to_bytes(2, "big") + bytes(number % 4000))
    assert len(server._packets) <= 2048
    assert max(len(packet) for packet in server._packets) <= 512


async def test_one_client_leaves_room_for_the_others(config):
    gate = Gate(4, 2)
    assert [gate.enter("a") for _ in range(3)] == [True, True, False]
    assert [gate.enter("b") for _ in range(3)] == [True, True, False]
    assert not gate.enter("c")
    gate.leave("a")
    assert gate.enter("c")


async def test_questions_that_wait_are_bounded_in_number(server, monkeypatch):
    forever = asyncio.get_running_loop().create_future()

    async def ask(asked, **how):
        await forever

    monkeypatch.setattr(server.upstream, "ask", ask)
    for number in range(1000):
        answers_of(server, DNSRecord.question(f"n{number}.example").pack())
    assert len(server._waiting) == server.config.waiting_of_client
    assert server.counts.shed == 1000 - server.config.waiting_of_client
    assert still_answers(server)


@pytest.mark.logs_errors("a DNS request could not be answered")
async def test_a_fault_of_ours_while_a_question_waits_costs_that_question_and_keeps_no_place(server, monkeypatch):
    async def ask(asked, **how):
        raise UnicodeError("label empty or too long")

    monkeypatch.setattr(server.upstream, "ask", ask)
    questions = 3 * server.config.waiting_of_client
    for number in range(questions):
        assert answers_of(server, DNSRecord.question(f"n{number}.example").pack()) == []
        await settled(server)
    assert (server.counts.faults, server.counts.shed) == (questions, 0)
    assert still_answers(server)


async def test_equal_questions_are_asked_once_and_outlive_who_asked_first(config, monkeypatch):
    upstream = Upstream(config, random.Random(1))
    asked, begun, gate = [], asyncio.Event(), asyncio.Event()

    async def ask_servers(question, name, **how):
        asked.append(question)
        begun.set()
        await gate.wait()

    monkeypatch.setattr(upstream, "_ask_servers", ask_servers)
    first, second = (tasks.detach(upstream.ask(b"\1a\0\0\1\0\1"), "ask") for _ in range(2))
    await begun.wait()
    await tasks.cancel_and_wait(first)
    gate.set()
    assert await second is None
    assert len(asked) == 1


# Answers of others


def upstream_answer():
    reply = DNSRecord.question("known.example").reply()
    reply.add_answer(RR("known.example", QTYPE.A, rdata=A("203.0.113.5"), ttl=60))
    return reply.pack()


def test_answers_of_others_may_be_anything():
    chance = random.Random(7)
    good = bytes(upstream_answer())
    asked = good[12 : 12 + len("known.example") + 6]
    request = read_request(struct.pack("!6H", 9, 0x100, 1, 0, 0, 0) + asked)
    read = 0
    for _ in range(20_000):
        packet = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            packet[chance.randrange(12 + len(asked), len(packet))] = chance.randrange(256)
        if chance.random() < 0.3:
            packet[6:8] = chance.randbytes(2)
        packet = bytes(packet[: chance.randrange(12, len(packet) + 20)])
        if not relay.is_answer(packet, int.from_bytes(good[:2], "big"), asked):
            continue
        try:
            found = relay.read_answer(packet, asked)
            read += 1
            for tcp in (False, True):
                assert len(relay.write_relayed(request, found, 3, tcp=tcp)) <= (65535 if tcp else 512)
            relay.addresses(found)
        except Malformed:
            continue
    assert read > 1000


@pytest.mark.parametrize("name", [b"\xc0\x00", b"\xc0\x02\xc0\x00", b"\1a\xc0\x00", b"\1a\xc0\x02\1b\xc0\x01", b"\xc0"])
def test_pointers_that_run_in_circles_are_malformed(name):
    with pytest.raises(Malformed):
        names.read(name, 0)


def test_a_chain_of_pointers_has_a_bound():
    chain = b"\1a\0" + b"".join((0xC000 | max(0, 2 * n + 1)).to_bytes(2, "big") for n in range(2000))
    with pytest.raises(Malformed):
        names.read(chain, len(chain) - 2)


# TCP


async def connect(server):
    return await asyncio.open_connection("127.0.0.1", server.port)


async def ask(reader, writer, packet=GOOD):
    writer.write(len(packet).to_bytes(2, "big") + packet)
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


async def test_a_connection_that_announces_too_much_is_closed(server):
    reader, writer = await connect(server)
    writer.write(b"\xff\xff")
    assert await reader.read() == b""
    writer.close()


async def test_a_connection_that_sends_rubbish_is_closed_or_refused(server):
    chance = random.Random(3)
    for _ in range(50):
        reader, writer = await connect(server)
        writer.write(chance.randbytes(200))
        writer.write_eof()
        try:
            await reader.read()
        except ConnectionResetError:
            pass
        writer.close()
    reader, writer = await connect(server)
    assert DNSRecord.parse(await ask(reader, writer)).rr
    writer.close()


async def test_a_silent_connection_is_closed(config):
    quick = DnsServer(known_cluster(), DnsConfig(address="127.0.0.1", port=0, tcp_seconds=0.05))
    started = asyncio.Event()
    job = tasks.detach(quick.run(started=started), "dns")
    await started.wait()
    for sent in (b"", b"\0", b"\0\x20abc"):
        reader, writer = await connect(quick)
        writer.write(sent)
        assert await reader.read() == b""
        writer.close()
    await tasks.cancel_and_wait(job)


async def test_a_client_that_does_not_read_is_left(config):
    quick = DnsServer(known_cluster(), DnsConfig(address="127.0.0.1", port=0, tcp_seconds=0.05))
    started = asyncio.Event()
    job = tasks.detach(quick.run(started=started), "dns")
    await started.wait()
    _, writer = await connect(quick)
    large = DNSRecord.question("db.default.svc.cluster.local").pack()
    writer.transport.pause_reading()
    for _ in range(500):
        writer.write(len(large).to_bytes(2, "big") + large)
    await until(lambda: quick.counts.tcp and not quick._connections._open)
    assert quick.counts.tcp < 500
    writer.transport.abort()
    await tasks.cancel_and_wait(job)


async def test_when_all_connections_are_taken_the_longest_silent_makes_room(server):
    opened = [await connect(server) for _ in range(server.config.connections)]
    for reader, writer in opened:
        assert await ask(reader, writer)
    late = await connect(server)
    assert await ask(*late)
    assert await opened[0][0].read() == b""
    assert await ask(*opened[-1])
    for _, writer in [*opened, late]:
        writer.close()


async def test_questions_sent_all_at_once_by_one_client_leave_the_others_their_turn(config):
    server = DnsServer(known_cluster(), config, random=random.Random(1))
    reader = asyncio.StreamReader()
    packet = len(GOOD).to_bytes(2, "big") + GOOD
    reader.feed_data(packet * 50)
    reader.feed_eof()
    turns = 0

    class Writer:
        """Takes all at once, as a kernel with room does."""

        transport = None

        def write(self, data):
            answered_at.append(turns)

        async def drain(self):
            pass

    answered_at = []

    async def ask_all():
        for _ in range(50):
            await server._serve_one(reader, Writer(), CLIENT)

    job = tasks.detach(ask_all(), "client")
    while not job.done():
        turns += 1
        await asyncio.sleep(0)
    assert len(set(answered_at)) == 50


async def test_a_client_that_has_its_share_of_connections_closes_nobody_else_s(config):
    gate = Gate(total=2, each=1)
    connections = _Connections(gate)
    mine, other, more = (Named() for _ in range(3))
    assert connections.enter("a", mine) and connections.enter("b", other)
    assert not connections.enter("b", more)
    assert not mine.aborted and not other.aborted


class Named:
    """A connection that knows whether it was closed."""

    aborted = False

    @property
    def transport(self):
        return self

    def abort(self):
        self.aborted = True


def reverse(known, ip):
    zone = Zone("cluster.local", "10.96.0.10", "10.244.0.0/16")
    return Answerer(known, zone, None, random.Random(1))._resolved(Question(ip, "PTR"))


def test_an_address_of_many_slices_costs_no_more_than_some_of_them():
    """A node's address is an endpoint of every headless Service that has pods of the node's network."""
    known, looks = Known(), 0
    for number in range(200):
        known.put_service(NamedService("a", f"s{number}"))
        names_there = tuple(NamedAddress("10.244.0.1" if n == 0 else f"10.244.1.{n}", f"n{n}") for n in range(100))
        known.put_slice(NamedSlice("a", f"x{number}", f"s{number}", (), names_there))

    class Counted(tuple):
        def __iter__(self):
            nonlocal looks
            looks += 1
            return super().__iter__()

    for key, held in known.slices.items():
        known.slices[key] = replace(held, addresses=Counted(held.addresses))
    found = reverse(known, "1.0.244.10.in-addr.arpa")
    assert 0 < len(found.records) <= MAX_NAMES
    assert looks == 0


async def test_names_that_do_not_exist_take_no_room_from_long_answers(server):
    for number in range(3000):
        answers_of(server, DNSRecord.question(f"x{number}.cluster.local").pack())
    answers_of(server, DNSRecord.question("db.default.svc.cluster.local").pack())
    assert list(server._answerer._answers) == [Question("db.default.svc.cluster.local", "A")]
