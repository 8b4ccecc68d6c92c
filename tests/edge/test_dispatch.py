"""Hosts, paths, headers, methods and parameters: the real program takes the route that the model says."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from edge_lab import ADDRESS, HTTP, OWNER, connected, lab

from sampan.edge.haproxy import dispatch
from sampan.edge.matching import Request, in_order, route_of
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


def test_what_may_take_the_requests_of_a_path_is_what_the_model_says() -> None:
    """Against the plain reading: all routes are looked at for each path."""
    for seed in range(300):
        chance = random.Random(seed)
        made = [
            Route(f"r{number}", OWNER, _match(chance), age=("", "", number)) for number in range(chance.randint(1, 14))
        ]
        host = VirtualHost("", tuple(made))
        found = dispatch._leaves(host)
        routes = in_order(host.routes)
        assert set(found) == {dispatch._canonical(route.match.path) for route in routes}
        for leaf, candidates in found.items():
            assert candidates == list(_plainly(leaf, routes))


def _plainly(leaf: PathMatch, routes: Sequence[Route]) -> Iterator[tuple[Route, bool]]:
    reached = False
    for route in routes:
        path = dispatch._canonical(route.match.path)
        open_path = False
        if path == leaf:
            reached = True
        elif path.kind == "exact" or not reached or (path.kind == "regex" and leaf.kind == "begins"):
            continue
        elif path.kind == "regex" or leaf.kind == "regex":
            open_path = True
        elif not (leaf.value + ("/" if leaf.kind == "exact" else "")).startswith(path.value):
            continue
        yield route, open_path
        if not open_path and not route.match.conditional:
            return


def test_a_path_more_costs_no_look_at_all_others() -> None:
    looks = []
    for many in (50, 400):
        made = [
            Route(f"r{number}", OWNER, Match(PathMatch("begins", f"/p{number:04}")), age=("", "", number))
            for number in range(many)
        ]
        steps = 0

        def counted(frame: Any, event: str, argument: Any) -> Any:
            nonlocal steps
            steps += 1
            return counted

        before = sys.gettrace()
        sys.settrace(counted)
        try:
            dispatch._leaves(VirtualHost("", tuple(made)))
        finally:
            sys.settrace(before)
        looks.append(steps)
    assert looks[1] < looks[0] * 12  # and not 64 times as much
