"""Hosts, paths and TLS of Ingresses: one table, held against the model's meaning and against the real program."""

from __future__ import annotations

import pytest
from edge_lab import HTTP, HTTPS, Connection, connected, lab
from ingress_world import World, backend, ingress, path, rule, tls_secret

from sampan.edge.matching import Request, route_of
from sampan.edge.merging import merge
from sampan.edge.model import Listener, Plane

SERVICES = ("one", "two", "three", "four", "five", "six", "young", "fallback", "shop", "api", "re1", "re2", "any")
EXACT, BEGINS = "Exact", "ImplementationSpecific"

INGRESSES = [
    ingress("exact", rule("exact.io", path("/foo", "one", EXACT), path("/foo/bar", "two", EXACT)), age=9),
    ingress("prefix", rule("prefix.io", path("/aaa/bbb", "one"), path("/aaa", "two"), path("/ccc/", "three"))),
    ingress("root", rule("root.io", path("/", "one"), path("/aaa", "two"), path("/aaa/bb", "three", EXACT))),
    ingress("mixed", rule("mixed.io", path("/foo", "one"), path("/foo", "two", EXACT), path("/fo", "three", BEGINS))),
    ingress("begins", rule("begins.io", path("/app", "one", BEGINS), path("/app/v2", "two", BEGINS))),
    ingress("star", rule("*.star.io", path("/", "one")), rule("known.star.io", path("/x", "two"))),
    ingress("default", rule("fallback.io", path("/own", "one")), default=backend("fallback")),
    ingress("old", rule("fight.io", path("/", "one"), path("/a", "two")), age=8),
    ingress("young", rule("fight.io", path("/", "young"), path("/b", "young")), age=1),
    ingress(
        "regex",
        rule("regex.io", path("/item/[0-9]+$", "re1", BEGINS), path("/item/.*", "re2", BEGINS)),
        annotations={"use-regex": "true"},
    ),
    ingress(
        "shop",
        rule("shop.io", path("/", "shop"), path("/api", "api")),
        tls=[{"hosts": ["shop.io"], "secretName": "shop"}],
    ),
    ingress(
        "clear",
        rule("clear.io", path("/", "shop")),
        tls=[{"hosts": ["clear.io"], "secretName": "clear"}],
        annotations={"ssl-redirect": "false"},
    ),
    ingress("wild-tls", rule("a.wild.io", path("/", "four")), tls=[{"hosts": ["*.wild.io"], "secretName": "wild"}]),
    ingress("forced", rule("forced.io", path("/", "five")), annotations={"force-ssl-redirect": "true"}),
    ingress("alias", rule("main.io", path("/", "six")), annotations={"server-alias": "alias.io, other-alias.io"}),
    ingress("named", rule("named.io", path("/", "one", port="http"))),
    ingress("moved", rule("moved.io", path("/", "one")), annotations={"permanent-redirect": "https://new.io/x"}),
    ingress("rooted", rule("rooted.io", path("/", "one")), annotations={"app-root": "/app"}),
    ingress("lost", rule("lost.io", path("/", "nobody"), path("/port", "one", port=81))),
]

CASES = [
    # Exact
    ("http", "exact.io", "/foo", "one"), ("http", "exact.io", "/foo/", "fallback"),
    ("http", "exact.io", "/foo/bar", "two"),
    ("http", "exact.io", "/FOO", "fallback"), ("http", "exact.io", "/", "fallback"),
    ("http", "exact.io", "/foobar", "fallback"), ("http", "exact.io", "/foo?x=1", "one"),
    ("http", "EXACT.io", "/foo", "one"), ("http", "exact.io:9180", "/foo", "one"),
    ("http", "exact.io", "/%66oo", "one"), ("http", "exact.io", "/x/../foo", "one"),
    # Prefix: the table of the API's documentation
    ("http", "prefix.io", "/aaa", "two"), ("http", "prefix.io", "/aaa/", "two"),
    ("http", "prefix.io", "/aaa/ccc", "two"),
    ("http", "prefix.io", "/aaa/bbb", "one"), ("http", "prefix.io", "/aaa/bbb/", "one"),
    ("http", "prefix.io", "/aaa/bbb/ccc", "one"), ("http", "prefix.io", "/aaa/bbbxyz", "two"),
    ("http", "prefix.io", "/aaaxyz", "fallback"), ("http", "prefix.io", "/ccc", "three"),
    ("http", "prefix.io", "/ccc/", "three"), ("http", "prefix.io", "/ccc/x", "three"),
    ("http", "prefix.io", "/cccx", "fallback"), ("http", "prefix.io", "/", "fallback"),
    ("http", "root.io", "/", "one"), ("http", "root.io", "/aaa", "two"), ("http", "root.io", "/aab", "one"),
    ("http", "root.io", "/aaa/bb", "three"), ("http", "root.io", "/aaa/bbb", "two"), ("http", "root.io", "/ccc", "one"),
    ("http", "root.io", "/aaa/bb/", "two"), ("http", "root.io", "/aaa/../zzz", "one"),
    # both
    ("http", "mixed.io", "/foo", "two"), ("http", "mixed.io", "/foo/", "one"), ("http", "mixed.io", "/foo/x", "one"),
    ("http", "mixed.io", "/food", "three"), ("http", "mixed.io", "/f", "fallback"),
    ("http", "mixed.io", "/fo", "three"), ("http", "begins.io", "/app", "one"), ("http", "begins.io", "/apple", "one"),
    ("http", "begins.io", "/app/v1", "one"),
    ("http", "begins.io", "/app/v2", "two"), ("http", "begins.io", "/app/v22", "two"),
    ("http", "begins.io", "/ap", "fallback"),
    # hosts
    ("http", "a.star.io", "/", "one"), ("http", "A.STAR.IO", "/q", "one"), ("http", "a.b.star.io", "/", "fallback"),
    ("http", "star.io", "/", "fallback"), ("http", "known.star.io", "/x", "two"),
    ("http", "known.star.io", "/y", "fallback"), ("http", "nobody.io", "/", "fallback"), ("http", "", "/", "fallback"),
    ("http", "127.0.0.1", "/", "fallback"), ("http", "[::1]:80", "/", "fallback"), ("http", "main.io", "/", "six"),
    ("http", "alias.io", "/", "six"), ("http", "other-alias.io", "/", "six"), ("http", "x.alias.io", "/", "fallback"),
    # default back ends
    ("http", "fallback.io", "/own", "one"), ("http", "fallback.io", "/other", "fallback"),
    ("http", "fallback.io", "/own/x", "one"),
    # conflicts: the oldest has it
    ("http", "fight.io", "/", "one"), ("http", "fight.io", "/a", "two"), ("http", "fight.io", "/b", "young"),
    ("http", "fight.io", "/c", "one"),
    # regular expressions
    ("http", "regex.io", "/item/42", "re1"), ("http", "regex.io", "/ITEM/42", "re1"),
    ("http", "regex.io", "/item/42x", "re2"), ("http", "regex.io", "/x/item/42", "fallback"),
    # TLS
    ("http", "shop.io", "/", "308 https://shop.io:9543/"),
    ("http", "shop.io", "/api?a=1", "308 https://shop.io:9543/api?a=1"),
    ("https", "shop.io", "/", "shop"), ("https", "shop.io", "/api/x", "api"), ("https", "clear.io", "/", "shop"),
    ("http", "clear.io", "/", "shop"), ("http", "a.wild.io", "/x", "308 https://a.wild.io:9543/x"),
    ("https", "a.wild.io", "/", "four"), ("https", "exact.io", "/foo", "one"), ("https", "nobody.io", "/", "fallback"),
    ("http", "forced.io", "/y", "308 https://forced.io:9543/y"), ("https", "forced.io", "/", "five"),
    # redirects, ports, faults
    ("http", "moved.io", "/a", "301 https://new.io/x"), ("http", "rooted.io", "/", "302 /app"),
    ("http", "rooted.io", "/app", "one"), ("http", "named.io", "/", "one"), ("http", "lost.io", "/", "503"),
    ("http", "lost.io", "/port/x", "503"), ("https", "rooted.io", "/", "302 /app"),
]  # fmt: skip

NAMES = [("shop.io", "shop"), ("a.wild.io", "wild"), ("clear.io", "clear"), ("b.a.wild.io", ""), ("nobody.io", "")]


def _meant(listeners: list[Listener], scheme: str, host: str, asked: str) -> str:
    """What the model says of a request, as the table has it; a path as a back end would read it."""
    listener = next(each for each in listeners if each.protocol == scheme)
    plain, _, query = asked.partition("?")
    plain = {"/%66oo": "/foo", "/x/../foo": "/foo", "/aaa/../zzz": "/zzz"}.get(plain, plain)
    route = route_of(listener, Request(host, plain, query=query))
    if route is None:
        return "404"
    if route.redirect is not None:
        name = host.partition(":")[0].lower()
        place = route.redirect.location or f"https://{name}:{route.redirect.port}{asked}"
        return f"{route.redirect.status} {place}"
    if not route.backends or route.backends[0].backend is None:
        return str(route.fault_status)
    return route.backends[0].backend.name.removeprefix("default/").partition(":")[0]


def test_the_table_has_eighty_cases_and_the_model_says_what_it_says() -> None:
    assert len(CASES) + len(NAMES) >= 80
    world = World(ingresses=list(INGRESSES))
    for name in SERVICES:
        world.serve(name)
    for name in ("shop", "clear", "wild"):
        world.secrets[name] = tls_secret(name)
    listeners = list(world.plan().listeners)
    wrong = [(*case, meant) for case in CASES if (meant := _meant(listeners, case[0], case[1], case[2])) != case[3]]
    assert wrong == []


async def _shown(connection: Connection) -> str:
    """The common name of the certificate that a connection was shown."""
    from cryptography import x509

    raw = connection.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return str(x509.load_der_x509_certificate(raw).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


async def test_the_program_does_what_the_table_says() -> None:
    async with lab() as made:
        world = World(ingresses=list(INGRESSES))
        for name in SERVICES:
            world.serve(name, await made.backend(name))
        for name in ("shop", "clear", "wild"):
            world.secrets[name] = tls_secret(name)
        plane, problems = merge(world.plan().listeners)
        assert problems == [] and await made.plane.apply(plane) == []
        async with connected(HTTP) as plain, connected(HTTPS, tls="") as safe:
            wrong = []
            for scheme, host, asked, wanted in CASES:
                if not host:  # a request without a host, and so of HTTP/1.0: a connection of its own
                    async with connected(HTTP) as old:
                        answer = await old.ask(host, asked)
                else:
                    answer = await (plain if scheme == "http" else safe).ask(host, asked)
                got = answer.got["backend"] if answer.status == 200 else str(answer.status)
                got += f" {answer.headers['location']}" if "location" in answer.headers else ""
                if got != wanted:
                    wrong.append((scheme, host, asked, wanted, got))
            assert wrong == []
        for name, certificate in NAMES:
            async with connected(HTTPS, tls=name) as connection:
                assert await _shown(connection) == (certificate or "fake"), name


def test_a_resource_as_a_back_end_is_refused_by_an_event_and_its_path_is_answered_with_503() -> None:
    world = World()
    world.ingresses = [
        ingress(
            "bucket",
            rule("b.io", {"path": "/", "pathType": "Prefix", "backend": {"resource": {"kind": "B", "name": "b"}}}),
        )
    ]
    planned = world.plan()
    assert [note.reason for note in planned.notes] == ["ResourceBackend"]
    assert _meant(list(planned.listeners), "http", "b.io", "/") == "503"


def test_conflicts_missing_services_ports_and_secrets_are_told() -> None:
    world = World(ingresses=list(INGRESSES))
    for name in SERVICES:
        world.serve(name)
    told = {(note.owner.name, note.reason) for note in world.plan().notes}
    assert told == {
        ("young", "Conflict"), ("lost", "ServiceNotFound"), ("lost", "PortNotFound"), ("shop", "SecretNotFound"),
        ("clear", "SecretNotFound"), ("wild-tls", "SecretNotFound"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "leads_to"), [("example.com", "example.com"), ("localhost", ""), ("a.localhost.", ""), ("127.0.0.1", "")]
)
def test_an_external_name_is_a_back_end_unless_it_is_the_nodes_own(name: str, leads_to: str) -> None:
    world = World(ingresses=[ingress("out", rule("out.io", path("/", "out")))])
    world.serve("out", type="ExternalName", externalName=name)
    planned = world.plan()
    backend_ = planned.listeners[0].hosts[0].routes[0].backends[0].backend
    assert backend_ is not None
    assert [endpoint.address for endpoint in backend_.endpoints] == ([leads_to] if leads_to else [])
    assert [note.reason for note in planned.notes] == ([] if leads_to else ["ServiceRefused"])


def test_no_ingress_no_listener() -> None:
    assert merge(World().plan().listeners) == (Plane(()), [])
