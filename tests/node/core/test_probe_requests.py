"""What a probe or hook sends, byte for byte, and how what comes back counts. A raw server records and plays."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.api.clock import SystemClock
from sampan.node import runtime
from sampan.node.cri.pb import health_pb2
from sampan.node.probes.check import Outcome, Target, check
from sampan.node.probes.http_get import plan_request
from sampan.node.simulated import SimulatedRuntime

OURS = ["User-Agent: kube-probe/1.37", "Accept: */*"]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Raw:
    """Each connection reads one head, keeps it, and gets the next answer."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.answers: list[bytes | None] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            answer = self.answers.pop(0) if self.answers else OK
            if answer is None:
                await reader.read()  # until the probe gives up
            else:
                writer.write(answer.replace(b"PORT", str(self.port).encode()))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def raw() -> AsyncIterator[Raw]:
    made = Raw()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


TARGET = Target("c", {"name": "main", "ports": [{"name": "web", "containerPort": 80}]}, "127.0.0.1")


async def run(raw: Raw, action: Any = None, *, timeout: float = 30.0, purpose: Any = "probe") -> Outcome:
    action = {"httpGet": {"port": raw.port, **(action or {})}}
    return await check(action, TARGET, SimulatedRuntime(SystemClock()), timeout, purpose)


def headers(*pairs: tuple[str, str]) -> Any:
    return {"httpHeaders": [{"name": name, "value": value} for name, value in pairs]}


# What is sent.


@pytest.mark.parametrize(
    ("action", "line", "fields"),
    [
        ({}, "GET / HTTP/1.1", OURS),
        ({"path": "/a?b=c&d"}, "GET /a?b=c&d HTTP/1.1", None),
        ({"path": "healthz"}, "GET /healthz HTTP/1.1", None),
        ({"path": "/a%20b/%2F/ü x#part"}, "GET /a%20b/%2F/%C3%BC%20x HTTP/1.1", None),
        ({"path": "http://other.example/x"}, "GET /x HTTP/1.1", None),
        ({"path": "//other.example/x"}, "GET /x HTTP/1.1", None),
        (
            headers(("X-A", "1"), ("x-a", "2"), ("X-Other", ""), ("X-A", "1")),
            None,
            [*OURS, "X-A: 1", "X-A: 2", "X-A: 1", "X-Other: "],
        ),
        (headers(("user-agent", "mine")), None, ["User-Agent: mine", "Accept: */*"]),
        (headers(("User-Agent", "")), None, ["Accept: */*"]),
        (headers(("Accept", "text/plain")), None, ["User-Agent: kube-probe/1.37", "Accept: text/plain"]),
        (headers(("Accept", "")), None, ["User-Agent: kube-probe/1.37"]),
        (headers(("Accept-Encoding", "gzip")), None, [*OURS, "Accept-Encoding: gzip"]),
        (headers(("Content-Length", "7")), None, OURS),
        (headers(("Authorization", "Bearer x")), None, [*OURS, "Authorization: Bearer x"]),
    ],
)  # fmt: skip
async def test_a_probe_sends_what_was_asked_and_nothing_else(
    raw: Raw, action: Any, line: str | None, fields: list[str] | None
) -> None:
    assert await run(raw, action) == Outcome("success", "ok")
    [head] = raw.heads
    sent = head.decode().removesuffix("\r\n\r\n").split("\r\n")
    assert sent[0] == (line or "GET / HTTP/1.1")
    assert sent[1] == f"Host: 127.0.0.1:{raw.port}"
    assert sent[2:] == [*(fields or OURS), "Connection: close"]


async def test_the_host_header_is_the_pods_to_choose(raw: Raw) -> None:
    await run(raw, headers(("host", "app.example")))
    assert raw.heads[0].count(b"Host: ") == 1
    assert b"\r\nHost: app.example\r\n" in raw.heads[0]


async def test_a_hook_says_that_it_is_one(raw: Raw) -> None:
    await run(raw, purpose="lifecycle")
    assert b"User-Agent: kube-lifecycle/1.37\r\n" in raw.heads[0]


async def test_a_header_that_no_request_can_carry_is_told(raw: Raw) -> None:
    found = await run(raw, headers(("X-A", "1\r\nInjected: yes")))
    assert found.result == "failure"
    assert found.output.endswith('net/http: invalid header field value for "X-A"')
    assert raw.heads == []


@given(
    path=st.text(max_size=40),
    fields=st.lists(st.tuples(st.sampled_from(["X-A", "x-a", "Host", "Accept", "User-Agent"]), st.text(max_size=10))),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_path_reaches_another_host_or_ends_the_request_line(path: str, fields: list[tuple[str, str]]) -> None:
    request = plan_request({"port": 80, "path": path, **headers(*fields)}, TARGET, "probe")
    assert (
        request.url.startswith(("http://127.0.0.1:80/", "http://127.0.0.1:80?")) or request.url == "http://127.0.0.1:80"
    )
    assert all(32 < ord(sign) < 127 for sign in request.url)


# How answers count.


@pytest.mark.parametrize(
    ("answer", "result", "output"),
    [
        (OK, "success", "ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", "success", "until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "success", ""),
        (b"HTTP/1.1 399 Odd\r\nContent-Length: 0\r\n\r\n", "success", "Probe terminated redirects, Response body: "),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", "failure", "HTTP probe failed with statuscode: 400"),
        (b"HTTP/1.1 500 Bad\r\nContent-Length: 3\r\n\r\nwhy", "failure", "HTTP probe failed with statuscode: 500"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            "success",
            "abc",
        ),
        (b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 30_000 + b"\r\nContent-Length: 0\r\n\r\n", "success", ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "failure", "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nraw", "success", "raw"),
    ],
)
async def test_an_answer_counts_by_its_status(raw: Raw, answer: bytes, result: str, output: str) -> None:
    raw.answers = [answer]
    found = await run(raw)
    assert (found.result, found.output) == (result, output)


async def test_ten_kibibytes_of_an_answer_are_read(raw: Raw) -> None:
    raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000]
    found = await run(raw)
    assert (found.result, len(found.output)) == ("success", 10 << 10)


async def test_a_server_that_says_nothing_runs_into_the_timeout(raw: Raw) -> None:
    raw.answers = [None]
    found = await run(raw, timeout=0.1)
    url = f"http://127.0.0.1:{raw.port}"
    text = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    assert found == Outcome("failure", f'Get "{url}": {text}')


async def test_a_hook_is_content_with_any_answer(raw: Raw) -> None:
    raw.answers = [b"HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n"]
    assert await run(raw, purpose="lifecycle") == Outcome("success")


async def test_a_hook_over_https_goes_on_in_plain_http_without_its_secrets(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = asyncio.StreamReader.readuntil

    async def readuntil(reader: asyncio.StreamReader, end: bytes = b"\n") -> bytes:
        first = await reader.read(1)
        return first if first == b"\x16" else first + await read(reader, end)  # a TLS handshake is answered in plain

    monkeypatch.setattr(asyncio.StreamReader, "readuntil", readuntil)
    action = {"scheme": "HTTPS", **headers(("Authorization", "Bearer x"), ("X-A", "1"))}
    assert await run(raw, action, purpose="lifecycle") == Outcome("success")
    assert raw.heads[0] == b"\x16"
    assert b"X-A: 1" in raw.heads[1]
    assert b"Authorization" not in raw.heads[1]
    raw.heads.clear()
    assert (await run(raw, action)).result == "failure"
    assert raw.heads == [b"\x16"]


def expired_certificate(folder: Path) -> ssl.SSLContext:
    """Nobody's, for another name, and over."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elsewhere.example")])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "pem").write_bytes(certificate.public_bytes(pem) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem")
    return context


async def test_certificates_are_not_verified(tmp_path: Path) -> None:
    made = Raw()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=expired_certificate(tmp_path)) as server:
        made.port = server.sockets[0].getsockname()[1]
        assert await run(made, {"scheme": "HTTPS"}) == Outcome("success", "ok")


# Redirects.


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\nhere".encode()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_on_the_same_host_is_followed_with_the_same_headers(raw: Raw, status: int) -> None:
    raw.answers = [redirect("/next?a=b", status), OK]
    assert await run(raw, {"path": "/first", **headers(("X-A", "1"), ("Host", "app.example"))}) == Outcome(
        "success", "ok"
    )
    assert raw.heads[1].startswith(b"GET /next?a=b HTTP/1.1\r\nHost: app.example\r\n")
    assert b"X-A: 1\r\n" in raw.heads[1]


async def test_an_absolute_redirect_on_the_same_host_loses_the_chosen_host_header(raw: Raw) -> None:
    raw.answers = [redirect("http://127.0.0.1:PORT/next"), OK]
    await run(raw, headers(("Host", "app.example")))
    assert f"Host: 127.0.0.1:{raw.port}\r\n".encode() in raw.heads[1]


@pytest.mark.parametrize(
    "answer", [redirect("http://192.0.2.99:1/"), b"HTTP/1.1 302 Found\r\nContent-Length: 4\r\n\r\nhere"]
)
async def test_a_redirect_elsewhere_or_nowhere_is_a_success_with_a_warning(raw: Raw, answer: bytes) -> None:
    raw.answers = [answer]
    found = await run(raw)
    assert found == Outcome("success", "Probe terminated redirects, Response body: here", warning=True)
    assert len(raw.heads) == 1


@pytest.mark.parametrize(
    ("location", "words"),
    [("ftp://127.0.0.1/x", 'unsupported protocol scheme "ftp"'), ("http://[", "failed to parse Location header")],
)
async def test_a_redirect_that_leads_nowhere_is_told(raw: Raw, location: str, words: str) -> None:
    raw.answers = [redirect(location)]
    found = await run(raw)
    assert found.result == "failure"
    assert words in found.output


# Ports, commands, gRPC.


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("nope", 'strconv.Atoi: parsing "nope": invalid syntax'),
        ("²", 'strconv.Atoi: parsing "²": invalid syntax'),
        ("70000", "invalid port number: 70000"),
        (0, "invalid port number: 0"),
    ],
)
async def test_a_port_that_is_none_is_neither_success_nor_failure(port: Any, words: str) -> None:
    for kind in ("httpGet", "tcpSocket"):
        found = await check({kind: {"port": port}}, TARGET, SimulatedRuntime(SystemClock()), 1.0)
        assert found == Outcome("unknown", words)


async def test_ten_kibibytes_of_a_commands_output_are_kept() -> None:
    simulated = SimulatedRuntime(SystemClock())
    simulated.add_image("a")
    config = runtime.SandboxConfig(name="p", uid="u", namespace="n")
    sandbox = await simulated.run_sandbox(config)
    made = await simulated.create_container(sandbox, runtime.ContainerConfig(name="c", image="a"), config)
    await simulated.start_container(made)
    simulated.exec_handler = lambda container, command: runtime.ExecResult(b"o" * 9000, b"e" * 9000, 1)
    found = await check({"exec": {"command": ["x"]}}, Target(made, {"name": "c"}, ""), simulated, 1.0)
    assert found == Outcome("failure", "o" * 9000 + "e" * 1240)


Answer = Callable[[Any, Any], Any]


async def _serving(request: Any, context: Any) -> Any:
    known = {"": health_pb2.HealthCheckResponse.SERVING, "down": health_pb2.HealthCheckResponse.NOT_SERVING}
    if request.service == "hang":
        await asyncio.Event().wait()
    if request.service not in known:
        await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return health_pb2.HealthCheckResponse(status=known[request.service])


@pytest.mark.parametrize(
    ("service", "outcome"),
    [
        ("", Outcome("success", "service healthy")),
        ("down", Outcome("failure", 'service unhealthy (responded with "NOT_SERVING")')),
        (
            "odd",
            Outcome("failure", "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"),
        ),
        ("hang", Outcome("failure", "timeout: health rpc did not complete within 0.5s")),
    ],
)
async def test_a_grpc_probe_asks_the_health_service(service: str, outcome: Outcome) -> None:
    before = asyncio.all_tasks()
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        _serving, health_pb2.HealthCheckRequest.FromString, health_pb2.HealthCheckResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        seconds = 0.5 if service == "hang" else 30.0
        action = {"grpc": {"port": port, "service": service}}
        assert await check(action, TARGET, SimulatedRuntime(SystemClock()), seconds) == outcome
    finally:
        await server.stop(None)
        # gRPC's tasks for a call outlive the server's end by a moment: one that is cancelled with the loop is logged.
        if rest := asyncio.all_tasks() - before:
            await asyncio.wait(rest, timeout=10)


async def test_a_grpc_server_without_the_health_service_is_told() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        found = await check({"grpc": {"port": port}}, TARGET, SimulatedRuntime(SystemClock()), 30.0)
    finally:
        await server.stop(None)
    assert found.output.startswith(
        "error: this server does not implement the grpc health protocol (grpc.health.v1.Health):"
    )


async def test_a_grpc_port_nobody_listens_on_runs_into_the_timeout() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    found = await check({"grpc": {"port": port}}, TARGET, SimulatedRuntime(SystemClock()), 0.2)
    words = f'timeout: failed to connect service "127.0.0.1:{port}" within 0.2s: context deadline exceeded'
    assert found == Outcome("failure", words)


@pytest.mark.parametrize("kind", ["tcpSocket", "httpGet"])
async def test_names_that_nobody_answers_for_hold_up_no_other_work_of_the_node(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, asked, answered = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    real = socket.getaddrinfo

    def slow(host: Any, *args: Any, **more: Any) -> Any:
        if host != "slow.example" or more.get("flags", 0) & socket.AI_NUMERICHOST:
            return real(host, *args, **more)
        loop.call_soon_threadsafe(asked.set)
        answered.wait(60)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    action = {kind: {"host": "slow.example", "port": 80}}
    probe = asyncio.create_task(check(action, TARGET, SimulatedRuntime(SystemClock()), 60))
    try:
        async with asyncio.timeout(60):
            await asked.wait()
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(lambda: "done") == "done"
    finally:
        answered.set()
    outcome = await probe
    assert outcome.output.endswith("dial tcp: lookup slow.example: no such host")


async def test_a_host_with_a_name_is_asked_by_its_name(raw: Raw) -> None:
    async with asyncio.timeout(60):
        outcome = await run(raw, {"host": "localhost"})
        assert outcome.result == "success"
        action = {"tcpSocket": {"host": "localhost", "port": raw.port}}
        assert (await check(action, TARGET, SimulatedRuntime(SystemClock()), 30)).result == "success"
    assert f"Host: localhost:{raw.port}".encode() in raw.heads[0]
