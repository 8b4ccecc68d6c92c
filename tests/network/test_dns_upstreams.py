"""Whom the DNS asks about the rest of the world, and what it keeps of the answers: stub domains, policies, health,
loops, negative answers, signatures, search paths."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import network_objects as make
import pytest
from dnslib import AAAA, CNAME, EDNS0, QTYPE, RCODE, RR, SOA, A, DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.clock import SystemClock
from sampan.api.resources import CONFIG_MAPS, EVENTS, NAMESPACES, PODS
from sampan.client import tasks
from sampan.client.client import Client
from sampan.network.dns import autopath, metrics
from sampan.network.dns.cache import Cache
from sampan.network.dns.config import DnsConfig
from sampan.network.dns.follow import Follower, options_kind, pods_kind
from sampan.network.dns.forward import Upstream
from sampan.network.dns.known import Known
from sampan.network.dns.options import NameServer, Options, parse_options
from sampan.network.dns.records import read_service
from sampan.network.dns.relay import read_answer
from sampan.network.dns.server import DnsServer
from sampan.network.dns.telling import tell_faults
from sampan.network.gate import Gate


class NameServerOfTheTest(asyncio.DatagramProtocol):
    """Answers what ``answers`` has; NXDOMAIN, with an SOA, for the rest. ``mute``: nothing at all."""

    def __init__(self) -> None:
        self.answers: dict[str, list[RR]] = {}
        self.asked: list[DNSRecord] = []
        self.mute = False
        self.minimum = 60
        self.onward: Callable[[bytes], None] | None = None
        self.heard_from: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server = NameServer(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard_from = addr
        if self.onward is not None:
            self.onward(data)
            return
        if self.mute:
            return
        request = DNSRecord.parse(data)
        name = str(request.q.qname)
        reply = request.reply()
        if name not in (".",) and "sampan-dns-loops" not in name:
            self.asked.append(request)
        for record in self.answers.get(name.lower(), ()):
            if record.rtype in (request.q.qtype, QTYPE.CNAME) or name != str(record.rname):
                reply.add_answer(record)
        if not reply.rr and name.lower() not in self.answers:
            reply.header.rcode = RCODE.NXDOMAIN
        if not reply.rr:
            reply.add_auth(RR("example", QTYPE.SOA, ttl=3600, rdata=SOA("a.", "b.", (1, 2, 3, 4, self.minimum))))
        self.transport.sendto(reply.pack(), addr)

    @property
    def names(self) -> list[str]:
        return [str(request.q.qname) for request in self.asked]


@asynccontextmanager
async def name_servers(count: int) -> AsyncIterator[list[NameServerOfTheTest]]:
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_datagram_endpoint(NameServerOfTheTest, local_addr=("127.0.0.1", 0)) for _ in range(count)
    ]
    try:
        yield [made for _, made in opened]
    finally:
        for transport, _ in opened:
            transport.close()


@pytest.fixture
async def dns(tmp_path: Path) -> AsyncIterator[DnsServer]:
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\nsearch corp.example\n")
    config = DnsConfig(
        address="127.0.0.1", port=0, resolv_conf=resolv, upstream_try_seconds=2, upstream_total_seconds=4
    )
    known = Known()
    known.put_namespace("default")
    known.put_service(read_service(make.service("web")))
    known.put_service(read_service(make.service("out", "", type="ExternalName", externalName="first.example")))
    chance = random.Random(1)
    made = DnsServer(known, config, upstream=Upstream(config, chance, 1), random=chance)
    started = asyncio.Event()
    job = tasks.detach(made.run(started=started), "dns")
    await started.wait()
    yield made
    await tasks.cancel_and_wait(job)


async def ask(
    dns: DnsServer, name: str, kind: str = "A", *, client: str = "127.0.0.1", dnssec: bool = False
) -> DNSRecord:
    question = DNSRecord.question(name, kind)
    if dnssec:
        question.add_ar(EDNS0(flags="do", udp_len=1232))
    answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    dns.receive(bytes(question.pack()), (client, 4711), answered.set_result)
    async with asyncio.timeout(20):
        return DNSRecord.parse(await answered)


def data(answer: DNSRecord) -> list[str]:
    return [str(record.rdata) for record in answer.rr]


def address(name: str, ip: str = "203.0.113.5", ttl: int = 60) -> RR:
    return RR(name, QTYPE.A, ttl=ttl, rdata=A(ip))


async def test_a_stub_domain_and_all_below_it_is_asked_of_its_own_servers(dns: DnsServer) -> None:
    async with name_servers(3) as (world, corp, lab):
        corp.answers["db.corp.example."] = [address("db.corp.example")]
        domains = {"corp.example": [str(corp.server)], "Lab.Corp.example.": [str(lab.server)]}
        data_of = {"stubDomains": json.dumps(domains), "upstreamNameservers": json.dumps([str(world.server)])}
        options, faults = parse_options({"data": data_of})
        assert not faults
        dns.upstream.use(options)
        assert data(await ask(dns, "db.corp.example")) == ["203.0.113.5"]
        await ask(dns, "CORP.example")
        await ask(dns, "x.lab.corp.example")
        await ask(dns, "notcorp.example")
        assert (corp.names, lab.names) == (["db.corp.example.", "corp.example."], ["x.lab.corp.example."])
        assert world.names == ["notcorp.example."]


async def test_what_a_former_server_says_late_is_neither_kept_nor_given_to_who_asks_after_the_change(
    dns: DnsServer,
) -> None:
    async with name_servers(2) as (former, now):
        held: list[tuple[bytes, Any]] = []
        heard = asyncio.Event()

        def hold(packet: bytes) -> None:
            held.append((packet, former.heard_from))
            if "a.example" in str(DNSRecord.parse(packet).q.qname):
                heard.set()

        former.onward = hold
        former.answers["a.example."] = [address("a.example", "203.0.113.1")]
        now.answers["a.example."] = [address("a.example", "203.0.113.9")]
        dns.upstream.use(Options(upstreams=(former.server,)))
        early = asyncio.create_task(ask(dns, "a.example"))
        await heard.wait()
        dns.upstream.use(Options(upstreams=(now.server,)))
        assert data(await ask(dns, "a.example")) == ["203.0.113.9"]
        former.onward = None
        for packet, sender in held:
            former.datagram_received(packet, sender)
        assert data(await early) == ["203.0.113.1"]
        assert data(await ask(dns, "a.example")) == ["203.0.113.9"]
        assert len(now.asked) == 1


@pytest.mark.parametrize(("policy", "used"), [("sequential", {1}), ("round_robin", {2}), ("random", {2})])
async def test_the_policy_says_which_server_is_asked_first(dns: DnsServer, policy: Any, used: set[int]) -> None:
    async with name_servers(2) as servers:
        dns.upstream.use(Options(upstreams=tuple(each.server for each in servers), policy=policy))
        for number in range(12):
            await ask(dns, f"n{number}.example")
        shares = [len(each.asked) for each in servers]
        assert sum(share > 0 for share in shares) in used
        assert policy != "round_robin" or shares == [6, 6]


async def test_a_silent_server_is_asked_last_until_it_answers_a_probe(dns: DnsServer, monkeypatch: Any) -> None:
    monkeypatch.setattr("sampan.network.dns.forward._PROBE_SECONDS", 0.005)
    monkeypatch.setattr("sampan.network.dns.forward._SHUN_SECONDS", 1e6)
    async with name_servers(2) as (first, second):
        dns.upstream.use(Options(upstreams=(first.server, second.server)))
        first.transport.close()
        second.answers["a.example."] = [address("a.example")]
        assert data(await ask(dns, "a.example")) == ["203.0.113.5"]
        assert dns.upstream._order("b.example")[0] == second.server
        loop = asyncio.get_running_loop()
        again, _ = await loop.create_datagram_endpoint(lambda: first, local_addr=tuple(first.server))
        while dns.upstream._order("b.example")[0] != first.server:  # noqa: ASYNC110 (the probe has no event)
            await asyncio.sleep(0.005)
        again.close()


async def test_a_server_that_sends_our_questions_back_is_not_asked_any_more(dns: DnsServer) -> None:
    async with name_servers(2) as (back, good):
        back.onward = lambda packet: dns.receive(packet, ("127.0.0.1", 1), lambda answer: None)
        good.answers["a.example."] = [address("a.example")]
        dns.upstream.use(Options(upstreams=(back.server, good.server)))
        dns.upstream._look_for_loop(back.server)
        while back.server not in dns.upstream.looping:  # noqa: ASYNC110 (the packet has no event)
            await asyncio.sleep(0.005)
        assert data(await ask(dns, "a.example")) == ["203.0.113.5"]
        assert dns.upstream._order("") == [good.server]


async def test_what_is_not_there_is_kept_by_its_zones_word_and_what_has_ended_is_given_when_nobody_answers(
    dns: DnsServer, monkeypatch: Any
) -> None:
    async with name_servers(1) as (server,):
        dns.upstream.use(Options(upstreams=(server.server,), stale_seconds=100, negative_seconds=600))
        for minimum, asked in ((60, 1), (0, 2)):
            server.minimum = minimum
            server.asked.clear()
            for _ in range(2):
                assert (await ask(dns, f"none{minimum}.example")).header.rcode == RCODE.NXDOMAIN
            assert len(server.asked) == asked
        server.answers["a.example."] = [address("a.example", ttl=20)]
        await ask(dns, "a.example")
        loop = asyncio.get_running_loop()
        now = loop.time()
        monkeypatch.setattr(loop, "time", lambda: now + 25)
        server.transport.close()
        answer = await ask(dns, "a.example")
        assert (data(answer), answer.rr[0].ttl, dns.upstream.cache.stale) == (["203.0.113.5"], 0, 1)
        monkeypatch.setattr(loop, "time", lambda: now + 200)
        assert (await ask(dns, "a.example")).header.rcode == RCODE.SERVFAIL


async def test_what_name_servers_took_and_what_is_kept_is_told_in_the_words_of_coredns(
    dns: DnsServer, monkeypatch: Any
) -> None:
    monkeypatch.setattr("sampan.network.dns.forward._PROBE_SECONDS", 0.005)
    async with name_servers(1) as (server,):
        dns.upstream.use(Options(upstreams=(server.server,)))
        server.answers["a.example."] = [address("a.example")]
        for name in ("a.example", "a.example", "none.example"):
            await ask(dns, name)
        server.transport.close()
        for name in ("b.example", "c.example"):
            assert (await ask(dns, name)).header.rcode == RCODE.SERVFAIL
        async with asyncio.timeout(10):
            while not dns.upstream.probes_failed:  # noqa: ASYNC110 (the packet has no event)
                await asyncio.sleep(0)
        lines = set(metrics.render(dns, {}, 0).splitlines())
        told = dict(line.rsplit(" ", 1) for line in lines if line[0] != "#")
    where, to = 'server="dns://:53",zones=".",view=""', f'proxy_name="forward",to="{server.server}"'
    assert told[f'coredns_proxy_request_duration_seconds_count{{{to},rcode="NOERROR"}}'] == "1"
    assert told[f'coredns_proxy_request_duration_seconds_count{{{to},rcode="NXDOMAIN"}}'] == "1"
    assert int(told[f"coredns_proxy_healthcheck_failures_total{{{to}}}"]) > 0
    assert told["coredns_forward_healthcheck_broken_total"] == "1"
    assert told[f'coredns_cache_entries{{{where},type="success"}}'] == "1"
    assert told[f'coredns_cache_entries{{{where},type="denial"}}'] == "1"
    assert told[f"coredns_cache_requests_total{{{where}}}"] == "5"
    assert told[f"coredns_cache_misses_total{{{where}}}"] == "4"


async def test_what_is_kept_is_told_though_all_places_of_those_who_wait_are_taken(
    dns: DnsServer, monkeypatch: Any
) -> None:
    """Whoever asks for names that nobody answers must not take from others what is known."""
    async with name_servers(1) as (server,):
        dns.upstream.use(Options(upstreams=(server.server,)))
        server.answers["a.example."] = [address("a.example")]
        assert data(await ask(dns, "a.example")) == ["203.0.113.5"]
        monkeypatch.setattr(dns, "_gate", Gate(0, 0))
        assert data(await ask(dns, "A.example")) == ["203.0.113.5"]
        assert (await ask(dns, "b.example")).header.rcode == RCODE.SERVFAIL
        assert (dns.upstream.cache.hits["success"], dns.upstream.cache.misses) == (1, 1)


async def test_who_wants_signatures_is_asked_for_and_answered_with_the_bit(dns: DnsServer) -> None:
    async with name_servers(1) as (server,):
        server.answers["a.example."] = [address("a.example")]
        dns.upstream.use(Options(upstreams=(server.server,)))
        for dnssec in (False, True, True):
            answer = await ask(dns, "a.example", dnssec=dnssec)
            bits = [record.edns_do for record in answer.ar if record.rtype == QTYPE.OPT]
            assert bits == ([1] if dnssec else [])
        assert [bool(request.ar and request.ar[0].edns_do) for request in server.asked] == [False, True]
        assert (await ask(dns, "web.default.svc.cluster.local", dnssec=True)).ar[0].edns_do == 1


async def test_answers_that_are_none_to_this_question_are_not_believed(dns: DnsServer) -> None:
    """A wrong number, another question, a question again, another port: who has not seen the question has to guess."""
    async with name_servers(2) as (server, stranger):

        def forge(packet: bytes) -> None:
            request = DNSRecord.parse(packet)
            if str(request.q.qname) != "bank.example.":
                return
            client = server.heard_from
            lie = request.reply()
            lie.add_answer(address("bank.example", "203.0.113.66"))
            wrong_number, other = DNSRecord.parse(lie.pack()), DNSRecord.question("other.example").reply()
            wrong_number.header.id ^= 1
            other.header.id = request.header.id
            other.add_answer(address("bank.example", "203.0.113.67"))
            question = DNSRecord.parse(lie.pack())
            question.header.qr = 0
            stranger.transport.sendto(lie.pack(), client)
            for each in (wrong_number, other, question):
                server.transport.sendto(each.pack(), client)
            truth = request.reply()
            truth.add_answer(address("bank.example"))
            server.transport.sendto(truth.pack(), client)

        server.onward = forge
        dns.upstream.use(Options(upstreams=(server.server,)))
        for _ in range(2):
            assert data(await ask(dns, "bank.example")) == ["203.0.113.5"]


async def test_of_an_aliases_answer_only_what_it_leads_to_is_told(dns: DnsServer) -> None:
    async with name_servers(1) as (server,):
        server.answers["first.example."] = [
            RR("first.example", QTYPE.CNAME, ttl=60, rdata=CNAME("second.example")),
            address("second.example", "203.0.113.6"),
            address("web.default.svc.cluster.local", "203.0.113.66"),
            address("bank.example", "203.0.113.67"),
        ]
        dns.upstream.use(Options(upstreams=(server.server,)))
        answer = await ask(dns, "out.default.svc.cluster.local")
        assert data(answer) == ["first.example.", "second.example.", "203.0.113.6"]


async def test_external_names_that_name_each_other_are_followed_to_their_end(dns: DnsServer) -> None:
    names = [
        ("a", "b.default.svc.cluster.local"),
        ("b", "web.default.svc.cluster.local"),
        ("c", "c.default.svc.cluster.local"),
    ]
    for name, target in names:
        dns._known.put_service(read_service(make.service(name, "", type="ExternalName", externalName=target)))
    dns._known.put_service(
        read_service(make.service("d", "", type="ExternalName", externalName="a.default.svc.cluster.local"))
    )
    answer = await ask(dns, "d.default.svc.cluster.local")
    assert data(answer) == [f"{name}.default.svc.cluster.local." for name in ("a", "b", "web")] + ["10.96.0.20"]
    assert data(await ask(dns, "c.default.svc.cluster.local")) == ["c.default.svc.cluster.local."]


async def test_the_search_path_of_a_known_pod_is_followed_for_it_alone(dns: DnsServer) -> None:
    async with name_servers(1) as (server,):
        server.answers["a.example."] = [address("a.example", ttl=7)]
        server.answers["db.corp.example."] = [address("db.corp.example")]
        dns.upstream.use(Options(upstreams=(server.server,), autopath=True))
        dns._known.pods["10.244.0.7"] = "default"
        search = ".default.svc.cluster.local"
        pod = {"client": "10.244.0.7"}
        answer = await ask(dns, f"a.example{search}", **pod)
        assert (data(answer), {record.ttl for record in answer.rr}) == (["a.example.", "203.0.113.5"], {7})
        assert data(await ask(dns, f"db{search}", **pod)) == ["db.corp.example.", "203.0.113.5"]
        assert data(await ask(dns, f"web.default{search}", **pod)) == ["web.default.svc.cluster.local.", "10.96.0.20"]
        assert server.names == ["a.example.corp.example.", "a.example.", "db.corp.example."]
        for asking in ({"client": "10.244.0.8"}, {"kind": "SRV", **pod}):
            assert (await ask(dns, f"a.example{search}", **asking)).header.rcode == RCODE.NXDOMAIN
        assert (await ask(dns, f"nowhere.example{search}", **pod)).header.rcode == RCODE.NXDOMAIN
        assert (await ask(dns, "a.example.other.svc.cluster.local", **pod)).header.rcode == RCODE.NXDOMAIN


async def test_a_host_of_the_options_is_answered_without_asking_anybody(dns: DnsServer) -> None:
    text = "192.0.2.7 Printer.corp.example printer # by the door\n2001:db8::7\tprinter\n\n192.0.2.8 first.example\n"
    options, faults = parse_options({"data": {"hosts": text}})
    assert not faults
    async with name_servers(1) as (server,):
        dns.upstream.use(dataclasses.replace(options, upstreams=(server.server,)))
        assert data(await ask(dns, "printer.CORP.example")) == ["192.0.2.7"]
        assert data(await ask(dns, "printer", "AAAA")) == ["2001:db8::7"]
        nothing = await ask(dns, "printer.corp.example", "AAAA")
        assert (nothing.header.rcode, nothing.rr, nothing.auth) == (RCODE.NOERROR, [], [])
        assert data(await ask(dns, "out.default.svc.cluster.local")) == ["first.example.", "192.0.2.8"]
        assert not server.asked


def test_names_ahead_are_those_of_the_kubelets_search_path() -> None:
    ahead = autopath.names_ahead("x.y.shop.svc.cluster.local", "shop", "cluster.local", ("Corp.example.", "."))
    assert ahead == ("x.y.svc.cluster.local", "x.y.cluster.local", "x.y.corp.example", "x.y")
    assert autopath.names_ahead("x.svc.cluster.local", "", "cluster.local", ()) == ()


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from(["stubDomains", "upstreamNameservers", "upstreamPolicy", "cacheSeconds", "autopath", "x"]),
        st.text(),
    )
)
def test_options_may_say_anything(written: dict[str, str]) -> None:
    options, faults = parse_options({"data": written})
    assert len(faults) <= len(written)
    assert options == Options() or len(faults) < len(written)


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("stubDomains", '{"a..b": ["192.0.2.1"]}', '"a..b" is not a domain'),
        ("stubDomains", '{"corp": []}', "write one to 15 name servers"),
        ("upstreamNameservers", '["dns.example"]', '"dns.example" is not the address of a name server'),
        ("upstreamNameservers", '["[2001:db8::1]:99999"]', "is not the address"),
        ("upstreamNameservers", "192.0.2.1", "not JSON"),
        ("upstreamPolicy", "first", "choose sequential, random, round_robin"),
        ("cacheSeconds", "-1", "write 0 to 3600 seconds"),
        ("cacheSeconds", "000000999999", "write 0 to 3600 seconds"),
        ("cacheSeconds", "0" * 6 + "9" * 5000, "write 0 to 3600 seconds"),
        ("autopath", "yes", "write true or false"),
        ("hosts", "printer 192.0.2.7", '"printer" is not an address'),
        ("hosts", "fe80::7%eth0 printer", '"fe80::7%eth0" is not an address'),
        ("hosts", "\n".join(f"192.0.2.{n} printer" for n in range(65)), "more than 64 addresses of one name"),
        ("federations", "{}", "nothing acts on this key"),
    ],
)
def test_an_option_that_is_none_is_named_and_the_others_count(key: str, value: str, fault: str) -> None:
    options, (said,) = parse_options({"data": {key: value, "negativeCacheSeconds": "7"}})
    assert said.startswith(f"{key}: ") and fault in said
    assert options == Options(negative_seconds=7)


async def test_options_are_followed_as_they_change_and_faults_are_told_once(api: Any, client: Client) -> None:
    used: list[Any] = []
    follower = Follower(client, options_kind(used.append), random.Random(1))
    job = tasks.detach(follower.run(), "options")
    await follower.synced.wait()
    held = {"metadata": {"name": "kube-dns", "namespace": "kube-system"}, "data": {"autopath": "maybe"}}
    api.add(CONFIG_MAPS, held)
    api.add(CONFIG_MAPS, {"metadata": {"name": "kube-dns", "namespace": "other"}, "data": {"autopath": "true"}})
    async with asyncio.timeout(20):
        while not used[1:]:  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0)
    for _ in range(2):
        await tell_faults(client, SystemClock(), used[1], parse_options(used[1])[1])
    (event,) = api.all(EVENTS)
    assert (event["reason"], event["message"]) == ("InvalidConfiguration", "autopath: write true or false")
    api.remove(CONFIG_MAPS, "kube-system", "kube-dns")
    async with asyncio.timeout(20):
        while used[-1] is not None:  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0)
    assert [each and each["metadata"]["namespace"] for each in used] == [None, "kube-system", None]
    await tasks.cancel_and_wait(job)


async def test_pods_of_the_node_are_known_by_their_addresses_while_they_run(api: Any, client: Client) -> None:
    known = Known()
    follower = Follower(client, pods_kind(known, "node1"), random.Random(1))
    api.add(NAMESPACES, make.namespace("default"))
    here, there = make.pod("here", "10.244.0.2"), make.pod("there", "10.244.1.2", node="node2")
    for each in (here, there, make.pod("host", "192.0.2.1", hostNetwork=True)):
        each["status"]["podIPs"] = [{"ip": each["status"]["podIP"]}]
        api.add(PODS, each)
    job = tasks.detach(follower.run(), "pods")
    await follower.synced.wait()
    assert known.pods == {"10.244.0.2": "default"}
    api.change(PODS, "default", "here", lambda held: held["status"].update(phase="Succeeded"))
    async with asyncio.timeout(20):
        while known.pods:  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0)
    await tasks.cancel_and_wait(job)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 30), st.integers(0, 400))))
def test_the_cache_stays_within_its_bounds_and_gives_nothing_that_has_ended(steps: list[tuple[int, int, int]]) -> None:
    cache, now = Cache(8, 8000), 0.0
    ends: dict[bytes, float] = {}
    for number, ttl, text in steps:
        now += 1
        name = f"n{number}.example"
        question = DNSRecord.question(name)
        asked = bytes(question.pack())[12:]
        reply = question.reply()
        reply.add_answer(RR(name, QTYPE.TXT, ttl=ttl, rdata=AAAA("2001:db8::1")))
        packet = bytes(reply.pack()) + bytes(text)
        answer = read_answer(packet, asked)
        cache.put(asked, answer, now, positive_seconds=20, negative_seconds=5)
        ends[asked] = now + min(ttl, 20)
        assert len(cache) <= 8 and cache.bytes <= 8000
        for key, end in ends.items():
            found = cache.get(key, now)
            assert found is None or (end > now and found.age_seconds < 20)
    for key in list(ends):
        cache.forget(key)
    assert (len(cache), cache.bytes) == (0, 0)
