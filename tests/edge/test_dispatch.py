"""Hosts, paths, headers, methods and parameters: the real program takes the route that the model says."""

from __future__ import annotations

import random

from edge_lab import ADDRESS, HTTP, OWNER, connected, lab

from sampan.edge.matching import Request, route_of
from sampan.edge.model import (
    Backend,
    HeaderEdit,
    Listener,
    Match,
    PathMatch,
    Plane,
    Route,
    ValueMatch,
    VirtualHost,
    Weighted,
)

_PATHS = ("/", "/foo", "/foo/", "/foo/bar", "/foo/bar/", "/foobar", "/foo/bar/baz", "/a/b/c", "/Foo", "/x.y", "/%20z")
_ASKED = (*_PATHS, "/foo/barx", "/food", "/b", "/a/b", "/a/b/c/d", "/foo/bar/baz/1", "/x_y", "/}", "/foo//bar")
_EXPRESSIONS = ("/foo/[a-z]+$", "/foo.*", "/(a|b)/", "/x.y$", "/FOO")


def _match(chance: random.Random) -> Match:
    kind = chance.choice(("exact", "prefix", "prefix", "begins", "regex"))
    value = chance.choice(_EXPRESSIONS if kind == "regex" else _PATHS)
    path = PathMatch(kind, value, ignore_case=kind == "regex" and chance.random() < 0.3)  # type: ignore[arg-type]
    conditional = chance.random() < 0.5
    pick = chance.random
    return Match(
        path,
        method="POST" if conditional and pick() < 0.4 else "",
        headers=(ValueMatch("X-A", chance.choice(("1", "}", "-i")), "exact"),) if conditional and pick() < 0.5 else (),
        queries=(ValueMatch("q", "[ab]+", "regex"),) if conditional and pick() < 0.3 else (),
        cookies=(ValueMatch("c", "", "present"),) if conditional and pick() < 0.3 else (),
    )


def _hosts(chance: random.Random, backend: Backend) -> tuple[VirtualHost, ...]:
    names = [*(f"h{number}.example" for number in range(30)), "*.example", "*.deep.example", "x.deep.example", ""]
    made = []
    for number, name in enumerate(names):
        routes = []
        for serial in range(chance.randrange(1, 8)):
            label = f"r{number}-{serial}"
            routes.append(
                Route(
                    label,
                    OWNER,
                    _match(chance),
                    (Weighted(backend),),
                    response_headers=HeaderEdit(set=(("x-route", label),)),
                    age=("", "", serial),
                )
            )
        made.append(VirtualHost(name, tuple(routes), deep=name == "*.deep.example"))
    return tuple(made)


def _requests(chance: random.Random, hosts: tuple[VirtualHost, ...]) -> list[Request]:
    names = [host.name for host in hosts if host.name and "*" not in host.name]
    names += ["new.example", "a.b.example", "a.deep.example", "a.b.deep.example", "other", "H1.EXAMPLE:80"]
    found = []
    for _ in range(600):
        headers = {"x-a": chance.choice(("1", "}", "-i", "2"))} if chance.random() < 0.5 else {}
        if chance.random() < 0.3:
            headers["cookie"] = chance.choice(("c=1", "d=2; c=", "d=1"))
        query = chance.choice(("", "", "q=ab", "q=x", "p=1&q=a"))
        found.append(
            Request(chance.choice(names), chance.choice(_ASKED), chance.choice(("GET", "POST")), headers, query)
        )
    return found


async def test_the_program_takes_the_route_that_the_model_says() -> None:
    chance = random.Random(11)
    async with lab() as made:
        hosts = _hosts(chance, Backend("default/web:80", (await made.backend("web"),)))
        listener = Listener("http", HTTP, address=ADDRESS, hosts=hosts)
        assert await made.plane.apply(Plane((listener,))) == []
        seen = set()
        async with connected() as connection:
            for request in _requests(chance, hosts):
                path = f"{request.path}?{request.query}" if request.query else request.path
                answer = await connection.ask(request.host, path, request.method, request.headers)
                wanted = route_of(listener, request)
                taken = answer.headers.get("x-route", "")
                assert (answer.status, taken) == ((200, wanted.name) if wanted else (404, "")), request
                seen.add(taken)
        assert len(seen) > 50
