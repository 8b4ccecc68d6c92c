"""The DNS process: what it learns from the API server, what it keeps while that is away, what it tells of itself."""

import asyncio
import contextlib
import random
import subprocess
import sys

import network_objects as make
import orjson
import pytest
from dnslib import DNSRecord

from sampan.api.errors import NotFound, ServiceUnavailable
from sampan.api.resources import ENDPOINT_SLICES, NAMESPACES, SERVICES
from sampan.api.transport import Call
from sampan.client import tasks
from sampan.client.client import Client
from sampan.keeping import Keeper, Patience
from sampan.network.dns import api as dns_api
from sampan.network.dns import program
from sampan.network.dns.api import ApiTransport
from sampan.network.dns.config import DnsConfig, ProcessConfig
from sampan.network.dns.follow import Follower, kinds
from sampan.network.dns.known import Known
from sampan.network.dns.program import DnsProgram
from sampan.network.dns.records import NamedEndpoint, read_service, read_slice
from sampan.network.dns.snapshot import Snapshot


async def until(condition):
    while not condition():  # noqa: ASYNC110 (what is waited for has no event)
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def following(client, known):
    followers = [Follower(client, kind, random.Random(1)) for kind in kinds(known)]
    jobs = [tasks.detach(follower.run(), "follower") for follower in followers]
    for follower in followers:
        await follower.synced.wait()
    try:
        yield followers
    finally:
        await tasks.cancel_and_wait(*jobs)


def some_cluster(api):
    api.add(NAMESPACES, make.namespace("default"))
    api.add(SERVICES, make.service("web"))
    api.add(SERVICES, make.service("db", "None"))
    api.add(ENDPOINT_SLICES, make.endpoint_slice("db", [make.endpoint("10.244.0.2", hostname="db-0")]))


# What is known


async def test_changes_are_followed(api, client):
    some_cluster(api)
    known = Known()
    async with following(client, known):
        assert known.names_of("10.244.0.2") == ["db-0.db.default"]
        api.change(ENDPOINT_SLICES, "default", "db-x", lambda obj: obj.update(endpoints=[make.endpoint("10.244.0.3")]))
        await until(lambda: known.names_of("10.244.0.3"))
        assert known.names_of("10.244.0.2") == []
        assert [endpoint.ip for endpoint in known.endpoints("default", "db")] == ["10.244.0.3"]
        api.remove(SERVICES, "default", "db")
        await until(lambda: known.service("default", "db") is None)
        assert known.names_of("10.244.0.3") == []


async def test_an_object_that_nobody_foresaw_costs_itself_alone(api, client):
    known = Known()
    bad = make.service("bad", "10.96.0.66", ports=[{"name": "x", "protocol": 7, "port": 1}])
    api.add(SERVICES, bad)
    api.add(ENDPOINT_SLICES, make.endpoint_slice("bad", [{"addresses": None}]))
    some_cluster(api)
    async with following(client, known):
        assert known.service("default", "bad") is None
        assert known.service("default", "web").cluster_ips == ("10.96.0.20",)
        api.change(SERVICES, "default", "bad", lambda obj: obj["spec"].update(ports=[make.port()]))
        await until(lambda: known.service("default", "bad"))
        api.change(SERVICES, "default", "web", lambda obj: obj["spec"].update(ports="nonsense"))
        await until(lambda: known.service("default", "web") is None)


async def test_what_went_while_nobody_looked_is_forgotten_at_the_next_list(api, client):
    known = Known()
    known.put_namespace("gone")
    known.put_service(read_service(make.service("gone", "10.96.0.9")))
    known.put_slice(read_slice(make.endpoint_slice("gone", [make.endpoint("10.244.0.9")])))
    some_cluster(api)
    async with following(client, known):
        assert not known.namespace_exists("gone")
        assert known.service("default", "gone") is None
        assert known.names_of("10.96.0.9") == known.names_of("10.244.0.9") == []


def test_addresses_that_are_none_are_left_out():
    entries = [make.endpoint("10.244.0.2"), make.endpoint("nonsense"), make.endpoint("10.244.0.3", hostname="a.b")]
    assert [address.ip for address in read_slice(make.endpoint_slice("db", entries)).addresses] == ["10.244.0.2"]


def test_a_change_that_means_nothing_to_names_is_none():
    known = Known()
    known.put_service(read_service(make.service("web")))
    version = known.version
    known.put_service(read_service(make.service("web", type="NodePort")))
    assert known.version == version


def test_whatever_comes_and_goes_the_indexes_are_as_if_made_anew():
    chance = random.Random(11)
    known = Known()
    services, slices = {}, {}
    for _ in range(2000):
        name = f"s{chance.randrange(6)}"
        match chance.randrange(4):
            case 0:
                services[name] = read_service(
                    make.service(name, chance.choice(["None", f"10.96.0.{chance.randrange(4)}"]))
                )
                known.put_service(services[name])
            case 1 if services:
                name = chance.choice(sorted(services))
                services.pop(name)
                known.drop_service(("default", name))
            case 2:
                suffix = str(chance.randrange(2))
                ends = [make.endpoint(f"10.244.0.{chance.randrange(5)}") for _ in range(chance.randrange(4))]
                made = read_slice(make.endpoint_slice(name, ends, suffix=suffix))
                slices[made.name] = made
                known.put_slice(made)
            case 3 if slices:
                name = chance.choice(sorted(slices))
                slices.pop(name)
                known.drop_slice(("default", name))
        fresh = Known()
        for service in services.values():
            fresh.put_service(service)
        for each in slices.values():
            fresh.put_slice(each)
        for ip in (*(f"10.96.0.{n}" for n in range(4)), *(f"10.244.0.{n}" for n in range(5))):
            assert sorted(known.names_of(ip)) == sorted(fresh.names_of(ip))
        for number in range(6):
            ends = [known.endpoints("default", f"s{number}"), fresh.endpoints("default", f"s{number}")]
            assert {end.ip for end in ends[0]} == {end.ip for end in ends[1]}


# The file


async def filled(path):
    known = Known()
    known.options = {"stubDomains": '{"corp.example": ["192.0.2.53"]}'}
    known.put_namespace("default")
    known.put_service(read_service(make.service("web", ports=[make.port(80, name="http")])))
    known.put_service(read_service(make.service("out", "", type="ExternalName", externalName="example.com")))
    known.put_service(read_service(make.service("db", "None")))
    known.put_slice(read_slice(make.endpoint_slice("db", [make.endpoint("10.244.0.2", hostname="db-0")])))
    await Snapshot(path, known).write()
    return known


async def test_what_was_known_is_known_after_a_restart(tmp_path):
    path = tmp_path / "run" / "names.jsonl"
    before, after = await filled(path), Known()
    assert Snapshot(path, after).load()
    assert (after.services, after.slices, after.namespaces) == (before.services, before.slices, before.namespaces)
    assert after.endpoints("default", "db") == before.endpoints("default", "db")
    assert isinstance(after.endpoints("default", "db")[0], NamedEndpoint)


async def test_what_was_heard_meanwhile_is_newer_than_the_file(tmp_path):
    path = tmp_path / "names.jsonl"
    await filled(path)
    known = Known()
    known.put_service(read_service(make.service("web", "10.96.0.99")))
    Snapshot(path, known).load()
    assert known.service("default", "web").cluster_ips == ("10.96.0.99",)


async def test_a_file_that_is_damaged_is_none(tmp_path):
    path = tmp_path / "names.jsonl"
    await filled(path)
    good = path.read_bytes()
    chance = random.Random(5)
    others = [b"", b"\n", b"{}", b'["sampan-dns-3"]\n', good[:-9], good.replace(b'"web"', b"7"), bytes(100)]
    others += [good[: chance.randrange(len(good) - 2)] for _ in range(50)]
    for other in others:
        path.write_bytes(other)
        known = Known()
        assert not Snapshot(path, known).load()
        assert known.version == 0
    path.unlink()
    assert not Snapshot(path, Known()).load()


# The process


@pytest.fixture
def config(tmp_path):
    return ProcessConfig(
        dns=DnsConfig(address="127.0.0.1", port=0, resolv_conf=tmp_path / "resolv.conf"),
        server="http://127.0.0.1:1",
        ca=tmp_path / "ca",
        certificate=tmp_path / "crt",
        key=tmp_path / "key",
        snapshot=tmp_path / "names.jsonl",
        health_socket=tmp_path / "dns.sock",
    )


async def health(config, path):
    reader, writer = await asyncio.open_unix_connection(config.health_socket)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body.decode()


async def lookup(port, name):
    loop = asyncio.get_running_loop()
    received = loop.create_future()

    class Asker(asyncio.DatagramProtocol):
        def datagram_received(self, data, addr):
            received.set_result(data)

    transport, _ = await loop.create_datagram_endpoint(Asker, remote_addr=("127.0.0.1", port))
    transport.sendto(DNSRecord.question(name).pack())
    answer = DNSRecord.parse(await received)
    transport.close()
    return [str(record.rdata) for record in answer.rr]


@contextlib.asynccontextmanager
async def running(config):
    made = DnsProgram(config)
    job = tasks.detach(made.run(), "dns program")
    try:
        await until(lambda: made.server.port and config.health_socket.exists())
        yield made
    finally:
        await tasks.cancel_and_wait(job)


async def test_after_a_restart_without_the_api_server_names_are_as_they_were(config, monkeypatch):
    monkeypatch.setattr(program, "_PATIENCE_SECONDS", 0.05)
    await filled(config.snapshot)
    async with running(config) as made:
        assert await lookup(made.server.port, "web.default.svc.cluster.local") == ["10.96.0.20"]
        assert await health(config, "/readyz") == (200, "ok")
        assert made.server.upstream.options.servers_for("db.corp.example") == (("192.0.2.53", 53),)


async def test_without_api_server_and_file_questions_wait_instead_of_being_answered_wrongly(config, monkeypatch):
    monkeypatch.setattr(program, "_PATIENCE_SECONDS", 0.05)
    async with running(config) as made:
        asking = asyncio.ensure_future(lookup(made.server.port, "web.default.svc.cluster.local"))
        assert (await health(config, "/healthz"))[0] == 200
        assert (await health(config, "/readyz"))[0] == 503
        assert not asking.done()
        made._known.put_service(read_service(make.service("web")))
        for follower in made._followers.values():
            follower.synced.set()
        assert await asking == ["10.96.0.20"]


async def test_metrics_say_what_was_answered_and_how_long_the_api_server_is_silent(config, monkeypatch):
    monkeypatch.setattr(program, "_PATIENCE_SECONDS", 0.05)
    await filled(config.snapshot)
    async with running(config) as made:
        await lookup(made.server.port, "web.default.svc.cluster.local")
        code, text = await health(config, "/metrics")
    assert code == 200
    where = 'server="dns://:53",zone=".",view=""'
    assert f'coredns_dns_responses_total{{{where},rcode="NOERROR"}} 1' in text
    assert f'coredns_dns_requests_total{{{where},proto="udp",family="1",type="A"}} 1' in text
    assert f'coredns_dns_request_duration_seconds_bucket{{{where},le="+Inf"}} 1' in text
    assert f'coredns_dns_request_size_bytes_count{{{where},proto="udp"}} 1' in text
    assert f'coredns_dns_response_size_bytes_bucket{{{where},proto="udp",le="0"}} 0' in text
    assert f'coredns_dns_response_size_bytes_bucket{{{where},proto="udp",le="511"}} 1' in text
    assert 'sampan_dns_known{resource="services"} 3' in text
    assert "sampan_dns_api_silence_seconds -1" in text


async def test_a_corefile_acts_beside_the_options_and_stays_over_a_restart(config, monkeypatch):
    monkeypatch.setattr(program, "_PATIENCE_SECONDS", 0.05)
    await filled(config.snapshot)
    corefile = {"Corefile": ".:53 {\n forward . 192.0.2.1\n}\ncorp.example {\n forward . 192.0.2.77\n}\n"}
    own = {"data": {"stubDomains": '{"own.example": ["192.0.2.53"]}'}}
    async with running(config) as made:
        await until(made._ready.is_set)
        before = made.server.upstream.options
        made._hear("coredns", {"data": corefile})
        # What the other one says is not known yet: nobody is asked meanwhile who is not to be.
        assert made.server.upstream.options == before
        made._hear("kube-dns", own)
        options = made.server.upstream.options
        assert options.upstreams == (("192.0.2.1", 53),)
        assert options.servers_for("a.own.example") == (("192.0.2.53", 53),)  # its key goes before the Corefile's
        made._hear("kube-dns", None)
        assert made.server.upstream.options.servers_for("a.corp.example") == (("192.0.2.77", 53),)
        assert made._known.options == corefile
        made._hear("coredns", None)
        assert not made.server.upstream.options.upstreams


async def by_http(port, *written):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in written:
            writer.write(part)
            await writer.drain()
        return await reader.read()
    finally:
        writer.close()


async def test_pods_read_health_and_metrics_where_they_ask_for_names(config, monkeypatch):
    """The port that the cluster's DNS address leads to, 53 and 9153: paths are CoreDNS'."""
    monkeypatch.setattr(program, "_PATIENCE_SECONDS", 0.05)
    await filled(config.snapshot)
    async with running(config) as made:
        assert await lookup(made.server.port, "web.default.svc.cluster.local") == ["10.96.0.20"]
        for path, body in (("health", b"OK"), ("ready", b"OK"), ("metrics", b"coredns_dns_responses_total")):
            answer = await by_http(made.server.port, b"G", f"ET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and body in answer
        assert (await by_http(made.server.port, b"GET /else HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        # What is no request ends its own connection.
        with contextlib.suppress(ConnectionError):
            assert await by_http(made.server.port, b"GE", b"x" * 100_000) == b""
        assert await by_http(made.server.port, b"POST / HTTP/1.1\r\n\r\n") == b""
        assert await lookup(made.server.port, "web.default.svc.cluster.local") == ["10.96.0.20"]


@pytest.mark.logs_errors("snapshot failed")
async def test_a_part_that_fails_is_started_again_and_the_others_go_on(config, monkeypatch, caplog):
    monkeypatch.setattr(program, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(program, "Keeper", lambda: Keeper(patience=Patience(first_seconds=0.01)))
    await filled(config.snapshot)
    failing = [RuntimeError("worst moment"), RuntimeError("again")]

    async def write(self):
        if failing:
            raise failing.pop()
        await asyncio.Event().wait()

    monkeypatch.setattr(Snapshot, "run", write)
    async with running(config) as made:
        await until(lambda: not failing)
        assert await lookup(made.server.port, "web.default.svc.cluster.local") == ["10.96.0.20"]
        assert 'sampan_component_failures_total{component="snapshot"} 2' in (await health(config, "/metrics"))[1]


# The transport


@contextlib.asynccontextmanager
async def http_server(answer):
    seen = []

    async def serve(reader, writer):
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(answer if isinstance(answer, bytes) else answer(seen[-1]))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield ApiTransport(f"http://127.0.0.1:{port}", None, user_agent="test"), seen
    finally:
        server.close()


def plain(body, code=200):
    return f"HTTP/1.1 {code} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(*parts):
    body = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


async def test_a_list_is_a_get_with_its_query():
    async with http_server(plain(b'{"items":[]}')) as (transport, seen):
        assert await Client(transport).list(SERVICES, limit=5) == {"items": []}
    assert seen[0].startswith("GET /api/v1/services?limit=5 HTTP/1.1\r\n")


async def test_events_come_line_by_line_however_they_were_cut():
    lines = b"".join(orjson.dumps({"type": "ADDED", "object": {"n": n}}) + b"\n" for n in range(5))
    parts = [lines[at : at + 7] for at in range(0, len(lines), 7)]
    async with http_server(chunked(*parts)) as (transport, _), transport.watch(Call("GET", "/x")) as events:
        assert [event.object["n"] async for event in events] == list(range(5))


async def test_refusals_are_the_api_s_own_errors():
    body = orjson.dumps({"kind": "Status", "reason": "NotFound", "message": "gone", "code": 404})
    async with http_server(plain(body, 404)) as (transport, _):
        with pytest.raises(NotFound, match="gone"):
            await transport.call(Call("GET", "/x"))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
    ],
)
async def test_an_answer_that_is_none_is_a_server_that_is_away(answer):
    async with http_server(answer) as (transport, _):
        with pytest.raises(ServiceUnavailable) as raised:
            await transport.call(Call("GET", "/x"))
    assert "Errno" not in raised.value.message


async def test_nobody_there_is_a_server_that_is_away():
    transport = ApiTransport("http://127.0.0.1:1", None, user_agent="test")
    with pytest.raises(ServiceUnavailable, match="GET /x: connection refused"):
        await transport.call(Call("GET", "/x"))
    assert not await transport.listening()


@pytest.mark.parametrize(
    "answer", [plain(b"x" * 5000), chunked(*[b"x" * 100] * 50), b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000]
)
async def test_an_answer_without_end_is_not_kept(answer, monkeypatch):
    monkeypatch.setattr(dns_api, "MAX_BODY_BYTES", 1000)
    monkeypatch.setattr(dns_api, "MAX_EVENT_BYTES", 1000)
    async with http_server(answer) as (transport, _):
        with pytest.raises(ServiceUnavailable, match="too long"):
            await transport.call(Call("GET", "/x"))
        with pytest.raises(ServiceUnavailable, match="too long"):
            async with transport.watch(Call("GET", "/x")) as events:
                async for _ in events:
                    pass


def test_the_process_stays_small():
    """What is imported is in memory on every node: no library beyond orjson, and nothing large that goes unused."""
    script = "import sys, sampan.cluster.dns_process; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"aiohttp", "grpc", "google", "numpy", "typer", "uvloop", "yaml", "dnslib", "prometheus_client"}
    assert not loaded & {"decimal", "fractions", "hashlib", "multiprocessing", "sqlite3"}


async def test_what_was_deleted_while_the_other_lists_were_awaited_does_not_come_back(tmp_path):
    path = tmp_path / "names.jsonl"
    await filled(path)
    known = Known()
    Snapshot(path, known).load(listed=["services"])
    assert known.service("default", "web") is None
    assert known.namespace_exists("default")
    assert known.slices


async def test_the_file_brings_back_nothing_of_what_was_listed_whole(config, monkeypatch):
    await filled(config.snapshot)
    monkeypatch.setattr("sampan.network.dns.program._PATIENCE_SECONDS", 0.0)
    made = program.DnsProgram(config)
    made._followers["services"].synced.set()
    await made._know()
    assert not made._known.services
    assert made._known.slices
