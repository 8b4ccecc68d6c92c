"""Extenders over HTTP: what they are asked, what comes of it, and that a dead one ends its own pods' attempts."""

import asyncio
import base64
import ssl
from contextlib import asynccontextmanager
from datetime import timedelta

import orjson
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sampan.api.clock import SystemClock
from sampan.cluster.apart.selfsigned import load_into
from sampan.scheduler.extending import messages
from sampan.scheduler.extending.client import Extender, ExtenderFailed, encoded
from sampan.scheduler.extending.settings import ExtenderConfig, TlsConfig
from sampan.scheduler.podinfo import PodInfo

pytestmark = pytest.mark.timeout(120)


class Program:
    """An extender: answers by verb, each a function of the request's body; remembers what it was asked."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    async def handle(self, request):
        verb, body = request.match_info["verb"], await request.json()
        self.asked.append((verb, body))
        answer = self.answers[verb](body)
        if isinstance(answer, web.Response):
            return answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            answer = {}
        return web.json_response(answer)

    @asynccontextmanager
    async def listening(self, tls=None):
        app = web.Application()
        app.router.add_post("/scheduler/{verb}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/scheduler"
        finally:
            await runner.cleanup()


def keep(*names):
    return lambda body: {"NodeNames": [n for n in body["NodeNames"] if n in names], "FailedNodes": {}}


def extender(url, **more):
    return ExtenderConfig(url, node_cache_capable=True, **more)


async def test_a_filter_narrows_nodes_and_a_score_chooses_among_them(running):
    program = Program(
        filter=keep("a", "b"), prioritize=lambda body: [{"Host": "a", "Score": 1}, {"Host": "b", "Score": 10}]
    )
    async with program.listening() as url:
        config = extender(url, filter_verb="filter", prioritize_verb="prioritize", weight=5)
        async with running(extenders=(config,)) as cluster:
            for name in ("a", "b", "c"):
                await cluster.add_node(name)
            await cluster.add_pod("p")
            assert (await cluster.scheduled("p"))["spec"]["nodeName"] == "b"
    (verb, body), (_, second) = program.asked
    assert verb == "filter" and sorted(body["NodeNames"]) == ["a", "b", "c"] and body["Nodes"] is None
    assert body["Pod"]["metadata"]["name"] == "p"
    assert sorted(second["NodeNames"]) == ["a", "b"]


async def test_without_a_cache_of_its_own_it_gets_the_nodes_themselves(running):
    program = Program(filter=lambda body: {"Nodes": {"items": body["Nodes"]["items"][:1]}})
    async with program.listening() as url, running(extenders=(ExtenderConfig(url, filter_verb="filter"),)) as cluster:
        await cluster.add_node("a")
        await cluster.add_pod("p")
        await cluster.scheduled("p")
    assert program.asked[0][1]["Nodes"]["items"][0]["metadata"]["name"] == "a"
    assert program.asked[0][1]["NodeNames"] is None


@pytest.mark.parametrize("count", [0, 99, 100, 101, 250])
async def test_many_nodes_are_written_in_pieces_and_others_get_their_turn(node, count):
    nodes = [node(f"n{number}") for number in range(count)]
    tricky = {"metadata": {"annotations": {"a": '"items":[]'}}}
    body = messages.arguments(tricky, [], nodes)
    turns, pieces = [], []

    async def other():
        while True:
            turns.append(len(pieces))
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    async for piece in encoded(body):
        pieces.append(piece)
    beside.cancel()
    assert orjson.loads(b"".join(pieces)) == body
    assert len(turns) >= (count - 1) // 100 and max(map(len, pieces)) < 100 * 1000


async def test_a_request_of_many_pieces_tells_its_length(node, pod):
    told = []

    async def handle(request):
        told.append((request.content_length, request.headers.get("Transfer-Encoding")))
        body = await request.json()
        return web.json_response({"Nodes": {"items": body["Nodes"]["items"][:1]}, "FailedNodes": {}})

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/filter", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    asking = Extender(
        ExtenderConfig(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}", filter_verb="filter")
    )
    try:
        names = [f"n{number}" for number in range(300)]
        answer = await asking.filter(pod().obj, names, [node(name) for name in names])
    finally:
        await asking.close()
        await runner.cleanup()
    assert answer.names == ("n0",)
    ((length, encoding),) = told
    assert length > 10_000 and encoding is None


async def test_why_it_refused_nodes_is_told_and_a_change_brings_another_try(running):
    allowed = set()
    program = Program(
        filter=lambda body: {
            "NodeNames": [n for n in body["NodeNames"] if n in allowed],
            "FailedNodes": {n: "no licence" for n in body["NodeNames"] if n not in allowed},
        }
    )
    async with program.listening() as url, running(extenders=(extender(url, filter_verb="filter"),)) as cluster:
        await cluster.add_node("a")
        await cluster.add_pod("p")
        assert "1 no licence" in (await cluster.unschedulable("p"))["message"]
        assert cluster.attempts.latest("default", "p").rejections[0].plugin == "Extender"
        allowed.add("b")
        await cluster.add_node("b")
        assert (await cluster.scheduled("p"))["spec"]["nodeName"] == "b"


async def test_it_binds_in_place_of_the_scheduler(running):
    bound = []

    def bind(body):
        bound.append((body["PodNamespace"], body["PodName"], body["Node"]))
        return {"Error": ""}

    program = Program(bind=bind)
    async with program.listening() as url, running(extenders=(extender(url, bind_verb="bind"),)) as cluster:
        await cluster.add_node("a")
        await cluster.add_pod("p")
        await cluster.event("p", "Scheduled")
    assert bound == [("default", "p", "a")]


async def test_what_it_does_not_manage_does_not_concern_it(running):
    program = Program(filter=lambda body: web.Response(status=500))
    async with program.listening() as url:
        config = extender(url, filter_verb="filter", managed_resources=frozenset(("example.com/gpu",)))
        async with running(extenders=(config,)) as cluster:
            await cluster.add_node("a")
            await cluster.add_pod("p")
            await cluster.scheduled("p")
    assert program.asked == []


GPU = {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"example.com/gpu": "1"}, "requests": {"example.com/gpu": "1"}}}]}  # fmt: skip  # noqa: E501
LIES = {
    "an error": lambda body: {"Error": "out of order"},
    "another status": lambda body: web.Response(status=503),
    "no JSON": lambda body: web.Response(text="<html>"),
    "a node that nobody asked about": lambda body: {"NodeNames": ["elsewhere"]},
    "no object": lambda body: [1, 2],
    "no list": lambda body: {"NodeNames": 7},
}


@pytest.mark.parametrize("lie", LIES, ids=str)
async def test_a_failing_one_ends_the_attempts_of_its_own_pods_alone(running, lie):
    program = Program(filter=LIES[lie])
    async with program.listening() as url:
        managed = frozenset(("example.com/gpu",))
        config = extender(url, filter_verb="filter", managed_resources=managed, ignored_resources=managed)
        async with running(extenders=(config,)) as cluster:
            await cluster.add_node("a")
            await cluster.add_pod("concerned", **GPU)
            condition = await cluster.unschedulable("concerned")
            assert condition["reason"] == "SchedulerError"
            await cluster.add_pod("other")
            await cluster.scheduled("other")
            assert cluster.attempts.latest("default", "concerned").result == "error"


async def test_one_that_does_not_answer_holds_up_nobody_else(running):
    never = asyncio.Event()
    program = Program(filter=lambda body: never)
    async with program.listening() as url:
        managed = frozenset(("example.com/gpu",))
        config = extender(
            url, filter_verb="filter", managed_resources=managed, ignored_resources=managed, timeout_seconds=60.0
        )
        async with running(extenders=(config,), max_bindings=2) as cluster:
            await cluster.add_node("a")
            for number in range(4):
                await cluster.add_pod(f"concerned-{number}", **GPU)
            for number in range(3):
                await cluster.add_pod(f"other-{number}")
                await cluster.scheduled(f"other-{number}")
        never.set()


async def test_one_that_may_be_ignored_is_left_out_when_it_fails(running, caplog):
    async with running(extenders=(extender("http://127.0.0.1:1", filter_verb="filter", ignorable=True),)) as cluster:
        await cluster.add_node("a")
        await cluster.add_pod("p")
        await cluster.scheduled("p")


async def test_victims_are_what_the_extender_leaves_of_them(running):
    def preempt(body):
        victims = body["NodeNameToMetaVictims"]
        return {"NodeNameToMetaVictims": {n: v for n, v in victims.items() if n == "b"}}

    program = Program(preempt=preempt)
    async with program.listening() as url, running(extenders=(extender(url, preempt_verb="preempt"),)) as cluster:
        for name in ("a", "b"):
            await cluster.add_node(name, cpu="1")
            await cluster.add_pod(f"low-{name}", cpu="1", nodeSelector={"kubernetes.io/hostname": name})
            await cluster.scheduled(f"low-{name}")
        await cluster.add_pod("high", cpu="1", priorityClassName="system-cluster-critical")
        await cluster.event("low-b", "Preempted")
        assert "low-a" in {pod["metadata"]["name"] for pod in cluster.pods.list()}


async def test_a_victim_that_is_not_there_ends_the_attempt(running):
    program = Program(
        preempt=lambda body: {"NodeNameToMetaVictims": {"a": {"Pods": [{"UID": "nobody"}], "NumPDBViolations": 0}}}
    )
    async with program.listening() as url, running(extenders=(extender(url, preempt_verb="preempt"),)) as cluster:
        await cluster.add_node("a", cpu="1")
        await cluster.add_pod("low", cpu="1")
        await cluster.scheduled("low")
        await cluster.add_pod("high", cpu="1", priorityClassName="system-cluster-critical")
        assert "claims to preempt pod" in (await cluster.unschedulable("high"))["message"]


async def test_https_with_a_name_and_without_a_ca(node, pod):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_into(tls, "extender")
    program = Program(filter=keep("a"))
    async with program.listening(tls) as url:
        for config in (
            extender(url, filter_verb="filter", https=True),
            extender(url, filter_verb="filter", tls=TlsConfig(insecure=True, server_name="extender")),
        ):
            asked = Extender(config)
            try:
                answer = await asked.filter(pod().obj, ["a", "b"], ())
                assert answer.names == ("a",)
            finally:
                await asked.close()
        checking = Extender(extender(url, filter_verb="filter", tls=TlsConfig()))
        try:
            with pytest.raises(ExtenderFailed):
                await checking.filter(pod().obj, ["a"], ())
        finally:
            await checking.close()


def self_signed(directory, name):
    """The paths of a certificate for localhost, which is a CA, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = SystemClock().now()
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = directory / f"{name}.crt", directory / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


async def test_a_ca_that_is_named_is_the_only_one_that_is_believed(pod, tmp_path, monkeypatch):
    """Also where the machine trusts the other one, as it trusts public CAs."""
    certificate, key = self_signed(tmp_path, "public")
    other, _ = self_signed(tmp_path, "ours")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    async with Program(filter=keep("a")).listening(tls) as url:
        url = url.replace("127.0.0.1", "localhost")

        async def asks(config):
            asked = Extender(extender(url, filter_verb="filter", https=True, tls=config))
            try:
                return (await asked.filter(pod().obj, ["a"], ())).names
            finally:
                await asked.close()

        assert await asks(TlsConfig(ca_file=str(certificate))) == ("a",)
        assert await asks(TlsConfig(ca_data=base64.b64encode(certificate.read_bytes()).decode())) == ("a",)
        with pytest.raises(ExtenderFailed, match="tls: "):
            await asks(TlsConfig(ca_file=str(other)))


def test_limits_and_init_containers_concern_it_too():
    asked = Extender(extender("http://x", filter_verb="f", managed_resources=frozenset(("example.com/gpu",))))
    inside = {"name": "c", "resources": {"limits": {"example.com/gpu": "1"}}}
    for kind in ("containers", "initContainers"):
        assert asked.is_interested(PodInfo({"metadata": {"name": "p"}, "spec": {kind: [inside]}}))
    assert not asked.is_interested(PodInfo({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}))
