"""Random names, Gateways and routes: the plan agrees with what the specification says in plain words."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.edge.gateway.world import CLASS, World, asked, gateway, http, listener, observed, path, rule, service, to

from sampan.edge.gateway.hostnames import Names, covers, intersection, shared

_LABELS = st.lists(st.sampled_from(("a", "b", "cc")), min_size=1, max_size=4).map(".".join)
PATTERNS = st.one_of(_LABELS, _LABELS.map("*.{}".format), st.just(""))


def takes(pattern: str, name: str) -> bool:
    """In plain words: the name itself, or some labels before the suffix; "" takes all."""
    if pattern.startswith("*."):
        return name.endswith(pattern[1:]) and name != pattern[1:]
    return not pattern or pattern == name


@given(PATTERNS, PATTERNS, _LABELS)
def test_an_intersection_takes_exactly_what_both_take(one: str, other: str, name: str) -> None:
    both = intersection(one, other)
    assert (both is not None and takes(both, name)) == (takes(one, name) and takes(other, name))


@given(PATTERNS, PATTERNS, _LABELS)
def test_what_covers_takes_all_that_the_other_takes(wide: str, narrow: str, name: str) -> None:
    if covers(wide, narrow) and takes(narrow, name):
        assert takes(wide, name)


@given(st.lists(PATTERNS, max_size=6), PATTERNS)
def test_a_set_of_names_knows_whether_one_shares_something_with_it(many: list[str], one: str) -> None:
    names = Names()
    for each in many:
        names.add(each)
    assert names.meets(one) == any(intersection(each, one) is not None for each in many)


_PATHS = st.sampled_from(("/", "/a", "/a/b", "/a/b/c", "/b"))
_HOSTS = st.lists(PATTERNS.filter(bool), max_size=3, unique=True)


@st.composite
def routes(draw: Any) -> list[Any]:
    found = []
    for number in range(draw(st.integers(1, 5))):
        matches = [path(draw(_PATHS), draw(st.sampled_from(("Exact", "PathPrefix"))))]
        hosts = draw(_HOSTS)
        section = draw(st.sampled_from(("", "one", "two", "three")))
        parent: dict[str, Any] = {"name": "edge"} | ({"sectionName": section} if section else {})
        more = {"hostnames": hosts} if hosts else {}
        found.append(http(f"r{number}", rule(to(f"s{number}"), matches=matches), parentRefs=[parent], **more))
    return found


@given(st.lists(PATTERNS, min_size=3, max_size=3, unique=True), routes(), _LABELS, _PATHS)
@settings(max_examples=20)
def test_a_request_goes_where_listeners_hosts_and_paths_say(
    hosts: list[str], given_routes: list[Any], name: str, target: str
) -> None:
    names = ("one", "two", "three")
    edge = gateway(
        "edge",
        *(listener(each, **({"hostname": host} if host else {})) for each, host in zip(names, hosts, strict=True)),
    )
    services = [service(f"s{number}") for number in range(5)]
    seen = World(observed(CLASS, edge, *given_routes, services=services))
    (found,) = seen.plan.plane.listeners
    expected = _expected(dict(zip(names, hosts, strict=True)), given_routes, name, target)
    answer = asked(found, f"{name}{target}")
    assert (answer.backend if answer.status == 200 else answer.status) == expected


def _expected(listeners: dict[str, str], given_routes: list[Any], name: str, target: str) -> Any:
    """The listener whose host fits best, the route's host that fits best, the most exact path, the oldest route."""
    fitting = [each for each, host in listeners.items() if takes(host, name)]
    if not fitting:
        return 404
    chosen = min(fitting, key=lambda each: _rank(listeners[each]))
    candidates = []
    for number, route in enumerate(given_routes):
        spec = route["spec"]
        section = spec["parentRefs"][0].get("sectionName")
        if section not in (None, chosen):
            continue
        reached = [host for host in shared(listeners[chosen], spec.get("hostnames", ())) if takes(host, name)]
        if reached:
            candidates.append((min(map(_rank, reached)), number, spec["rules"][0]["matches"][0]["path"]))
    if not candidates:
        return 404
    best = min(rank for rank, _, _ in candidates)
    matching = []
    for rank, number, wanted in candidates:
        exact, value = wanted["type"] == "Exact", wanted["value"]
        fits = target == value if exact else (target + "/").startswith(value.rstrip("/") + "/")
        if rank == best and fits:
            matching.append((not exact, -len(value.rstrip("/")), number))
    return f"s{min(matching)[2]}" if matching else 404


def _rank(host: str) -> tuple[bool, int]:
    return host.startswith("*") or not host, -len(host)
