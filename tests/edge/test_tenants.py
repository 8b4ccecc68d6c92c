"""What one tenant writes takes nothing from another, and stops nothing for others."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import signal
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from edge_lab import ADDRESS, HTTP, OWNER, ask, lab
from ingress_world import World, ingress, path, rule, secret

from sampan.edge.certificates import BadCertificate
from sampan.edge.certificates import pair as pair_of
from sampan.edge.haproxy import runtime, sections
from sampan.edge.haproxy.program import running
from sampan.edge.ingress.reading import MOST_RULES
from sampan.edge.model import Backend, Endpoint, Listener, Match, PathMatch, Plane, Route, VirtualHost, Weighted

MALLORY = "mallory"


def _of_mallory(name: str, *rules: Any, **rest: Any) -> dict[str, Any]:
    made = ingress(name, *rules, **rest)
    made["metadata"]["namespace"] = MALLORY
    return made


@pytest.mark.parametrize("annotations", [{"canary-weight": "100"}, {"canary-by-header": "x-a"}])
def test_a_canary_gets_no_requests_of_another_namespaces_ingress(annotations: dict[str, str]) -> None:
    world = World()
    world.serve("bank"), world.serve("evil")
    world.ingresses = [
        ingress("bank", rule("bank.io", path("/", "bank")), age=5),
        _of_mallory("thief", rule("bank.io", path("/", "evil")), annotations={"canary": "true"} | annotations),
    ]
    planned = world.plan()
    names = {
        share.backend.name
        for listener in planned.listeners
        for host in listener.hosts
        for route in host.routes
        for share in route.backends
        if share.backend
    }
    assert names == {"default/bank:80"}
    assert [(note.owner.name, note.reason) for note in planned.notes] == [("thief", "Conflict")]


@pytest.mark.parametrize(("namespace", "taken"), [(MALLORY, False), ("default", True)])
def test_connections_for_a_host_that_an_older_ingress_of_another_namespace_has_are_not_passed_on(
    namespace: str, taken: bool
) -> None:
    world = World()
    world.serve("bank"), world.serve("evil")
    through = _of_mallory("thief", rule("bank.io", path("/", "evil")), annotations={"ssl-passthrough": "true"})
    through["metadata"]["namespace"] = namespace
    world.ingresses = [ingress("bank", rule("bank.io", path("/", "bank")), age=5), through]
    planned = world.plan()
    assert bool(planned.listeners[1].tls_routes) is taken
    assert [(note.owner.name, note.reason) for note in planned.notes] == ([] if taken else [("thief", "Conflict")])


def test_a_certificate_that_openssl_refuses_is_refused_before_the_proxy_sees_it() -> None:
    """Reproduced: with one key of 1024 bits in any namespace, HAProxy refused every later change of anybody's."""
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak.io")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(start).not_valid_after(start.replace(year=2046))
    chain = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(BadCertificate, match="OpenSSL refuses: ee key too small"):
        pair_of(secret(tls_crt=chain, tls_key=private.decode()))


BCRYPT = "2y$%s$abcdefghijklmnopqrstuuPrLRgQf6WZGcKKDuYkKhLq8ke9PGd5C"
SHA = "5$rounds=%s$abcdefgh$" + "a" * 43


@pytest.mark.parametrize(
    ("hashed", "taken"),
    [(BCRYPT % "05", True), (BCRYPT % "12", True), (BCRYPT % "13", False), (BCRYPT % "31", False),
     (SHA % "5000", True), (SHA % "999999999", False), ("2y$garbage!garbage", False), ("6$abc", False)],
)  # fmt: skip
def test_a_hash_that_would_hold_the_proxy_for_long_lets_nobody_in(hashed: str, taken: bool) -> None:
    """Reproduced: HAProxy tries each hash while it starts; a bcrypt of cost 31 takes it days."""
    world = World(secrets={"users": secret(auth=f"joe:${hashed}")})
    world.serve("web")
    guard = {"auth-type": "basic", "auth-secret": "users"}
    world.ingresses = [ingress("web", rule("a.io", path("/", "web")), annotations=guard)]
    planned = world.plan()
    auth = planned.listeners[0].hosts[0].routes[0].access.auth
    assert auth is not None and [user for user, _ in auth.users] == (["joe"] if taken else [])
    assert [note.reason for note in planned.notes] == ([] if taken else ["SecretRefused"])


class _Names(asyncio.DatagramProtocol):
    """A DNS server: every name leads to one address."""

    def __init__(self, address: str) -> None:
        self.address = ipaddress.ip_address(address).packed

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, sender: Any) -> None:
        end = data.index(b"\0", 12) + 5
        known = int.from_bytes(data[end - 4 : end - 2], "big") == 1
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + self.address if known else b""
        self.transport.sendto(data[:2] + b"\x81\x80\0\1\0" + bytes([known]) + b"\0" * 4 + data[12:end] + answer, sender)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "169.254.169.254", "192.0.2.77"])
async def test_an_external_name_that_resolves_to_the_node_itself_is_answered_with_503(address: str) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Names(address), local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    try:
        async with lab(resolvers=(f"127.0.0.1:{port}",), own=("192.0.2.77",)) as made:
            there = await made.backend("secret")
            backend = Backend("default/out:80", (Endpoint("inner.example.com", there.port),))
            route = Route("r", OWNER, Match(), (Weighted(backend),))
            hosts = (VirtualHost("a.io", (route,)),)
            assert await made.plane.apply(Plane((Listener("http", HTTP, "http", ADDRESS, hosts),))) == []
            assert (await ask("a.io", "/")).status == 503
    finally:
        transport.close()


async def test_an_external_name_that_resolves_to_somebody_else_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "_OWN", ("169.254.0.0/16",))  # only loopback is sure to be here
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Names("127.0.0.1"), local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    try:
        async with lab(resolvers=(f"127.0.0.1:{port}",)) as made:
            there = await made.backend("out")
            backend = Backend("default/out:80", (Endpoint("out.example.com", there.port),))
            route = Route("r", OWNER, Match(), (Weighted(backend),))
            hosts = (VirtualHost("a.io", (route,)),)
            assert await made.plane.apply(Plane((Listener("http", HTTP, "http", ADDRESS, hosts),))) == []
            assert (await ask("a.io", "/")).got["backend"] == "out"
    finally:
        transport.close()


async def test_what_only_a_proxy_says_is_not_taken_from_a_client_and_nobody_tunnels_past_the_rules() -> None:
    async with lab() as made:
        route = Route("r", OWNER, Match(), (Weighted(Backend("web", (await made.backend("web"),))),))
        hosts = (VirtualHost("a.io", (route,)),)
        assert await made.plane.apply(Plane((Listener("http", HTTP, "http", ADDRESS, hosts),))) == []
        names = (
            "X-Forwarded-For", "X_Forwarded_For", "X_Real_IP", "Forwarded", "Proxy", "X-Forwarded-Proto",
            "X-Forwarded-Scheme", "x-scheme", "X-Forwarded-Host",
        )  # fmt: skip
        spoofed = dict.fromkeys(names, "spoofed")
        upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQ"}
        got = (await ask("a.io", "/", headers=spoofed | upgrade)).got["headers"]
        assert "spoofed" not in got.values()
        assert "upgrade" not in got and "http2-settings" not in got
        assert (got["x-forwarded-proto"], got["x-forwarded-host"]) == ("http", "a.io")


async def test_expressions_that_backtrack_take_no_thread_for_long() -> None:
    """Reproduced: a request with forty of them took 0.6 s of a thread, and the program ends itself after two."""
    async with lab() as made:
        backend = Weighted(Backend("web", (await made.backend("web"),)))
        # The second way out fits, after each of 2^17 ways to share the letters out was tried.
        texts = ("/slow/(?:(a{1,30}){1,30}x|.*)$", "/fast/[a-z]+/.*[.]php$")
        routes = tuple(Route(text, OWNER, Match(PathMatch("regex", text)), (backend,)) for text in texts)
        hosts = (VirtualHost("a.io", routes),)
        assert await made.plane.apply(Plane((Listener("http", HTTP, "http", ADDRESS, hosts),))) == []
        assert (await ask("a.io", f"/slow/{'a' * 18}b")).status == 404
        assert (await ask("a.io", "/slow/aaab")).status == 200
        assert (await ask("a.io", f"/fast/abc/{'d' * 3000}.php")).status == 200


async def test_a_port_of_another_proxy_is_not_shared_with_it() -> None:
    """Reproduced: by SO_REUSEPORT both listened, and each got some of the other's connections."""
    async with lab() as first, lab() as second:
        for made, name in ((first, "one"), (second, "two")):
            route = Route(name, OWNER, Match(), (Weighted(Backend(name, (await made.backend(name),))),))
            plane = Plane((Listener("http", HTTP, "http", ADDRESS, (VirtualHost("a.io", (route,)),)),))
            problems = await made.plane.apply(plane)
            told = [problem.text for problem in problems]
            assert told == ([] if name == "one" else [f"port {HTTP} of the node is taken by another program"])
        answers = [await ask("a.io", "/") for _ in range(8)]
        assert {answer.got["backend"] for answer in answers} == {"one"}


async def test_a_program_that_hangs_is_replaced_and_has_no_connection_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reproduced: it kept listening beside the new one, and half of all connections waited for it."""
    monkeypatch.setattr(runtime, "ANSWER_SECONDS", 0.3)
    async with lab() as made:
        for number in range(2):
            shares = (Weighted(Backend("web", (await made.backend("web"),))),)
            routes = tuple(Route(f"r{each}", OWNER, Match(PathMatch("exact", f"/{each}")), shares) for each in "ab")
            hosts = (VirtualHost("a.io", routes[: number + 1]),)
            assert await made.plane.apply(Plane((Listener("http", HTTP, "http", ADDRESS, hosts),))) == []
            if number == 0:
                hung = made.program.pid
                assert hung is not None
                os.kill(hung, signal.SIGSTOP)
                await asyncio.to_thread(os.waitid, os.P_PID, hung, os.WSTOPPED | os.WNOWAIT)
        assert running(made.program.files) == [made.program.pid]
        assert [(await ask("a.io", "/b")).status for _ in range(8)] == [200] * 8


def test_aliases_times_paths_are_bounded_and_told() -> None:
    world = World()
    world.serve("web")
    paths = [path(f"/{number}", "web") for number in range(100)]
    names = ",".join(f"h{number}.io" for number in range(1000))
    world.ingresses = [ingress("web", rule("a.io", *paths), annotations={"server-alias": names})]
    planned = world.plan()
    assert sum(len(host.routes) for host in planned.listeners[0].hosts) == MOST_RULES
    assert [note.reason for note in planned.notes] == ["TooManyRules"]
