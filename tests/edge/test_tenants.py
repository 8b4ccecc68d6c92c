"""What one tenant writes takes nothing from another, and stops nothing for others."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from ingress_world import World, ingress, path, rule, secret

from sampan.edge.certificates import BadCertificate
from sampan.edge.certificates import pair as pair_of

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
