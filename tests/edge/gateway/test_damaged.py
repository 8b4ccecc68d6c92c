"""Objects that no definition of ours would let through: each harms itself, and the plan of all others is made."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
from tests.edge.gateway import pem
from tests.edge.gateway.world import (
    CLASS,
    INFRA,
    World,
    allowing,
    applying,
    asked,
    gateway,
    grpc,
    http,
    listener,
    named,
    observed,
    path,
    rule,
    tls,
    to,
)

from sampan.edge.checking import check
from sampan.edge.gateway import references

JUNK: tuple[Any, ...] = (
    None, 5, -1, "", [], {}, "x" * 5000, "a b", "\n", True, 1.5, [None], ["a"], {"a": 1}, "*.", "..", "*", "{", "%s",
    "a=b", [[]], [{}], {"": None}, "99999999999h", {"matchLabels": 5}, {"matchLabels": ["a"]},
    {"matchLabels": {"a": 1}}, {"matchExpressions": [5]},
    {"matchExpressions": [{"key": "a", "operator": "In", "values": 5}]},
)  # fmt: skip


def _objects() -> list[Any]:
    authority = {"validation": {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}]}}
    pair = {"certificateRefs": [{"name": "pair"}]}
    selected = listener(allowedRoutes=allowing("Selector", a="b"))
    edit = applying("RequestHeaderModifier", set=[{"name": "a", "value": "b"}])
    first = rule(
        to("v1"),
        to("v2", weight=3, filters=[edit]),
        matches=[path("/a"), path("/b.*", "RegularExpression", **named(x="1")), named("queryParams", q="1")],
        filters=[applying("URLRewrite", hostname="x.y")],
        timeouts={"request": "10s"},
    )
    return [
        CLASS,
        gateway(
            "edge",
            selected,
            listener("https", 443, "HTTPS", tls=pair, hostname="*.a.example"),
            listener("tls", 8443, "TLS", tls={"mode": "Passthrough"}),
            tls={"frontend": {"default": authority}},
        ),
        http("web", first, rule(filters=[applying("RequestRedirect", hostname="a.b")]), hostnames=["a.example", "*.b"]),
        grpc("calls", rule(to("v1"), matches=[{"method": {"service": "a", "method": "b"}}])),
        tls("tls", rule(to("v1")), parent="edge", hostnames=["t.example"]),
    ]


def _places(obj: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    inner = obj.items() if isinstance(obj, dict) else enumerate(obj) if isinstance(obj, list) else ()
    for key, value in inner:
        yield from _places(value, (*place, key))


def _damaged(objects: list[Any], chance: random.Random) -> list[Any]:
    found = copy.deepcopy(objects)
    for _ in range(chance.randint(1, 4)):
        target = chance.choice(found)
        *way, last = chance.choice([place for place in _places(target) if place[:1] == ("spec",)] + [("status",)])
        for key in way:
            target = target[key]
        target[last] = copy.deepcopy(chance.choice(JUNK))
    return found


def test_damaged_objects_take_nothing_from_others() -> None:
    chain, key = pem.pair()
    secret, authority = pem.secret("pair", INFRA, chain, key), pem.config_map("ca", INFRA, **{"ca.crt": chain})
    whole = [gateway("fine", listener(port=8080)), http("fine", rule(to("v3")), parent="fine")]
    objects = _objects()
    for seed in range(80):
        damaged = _damaged(objects, random.Random(seed))
        seen = World(observed(CLASS, *whole, *damaged[1:], secrets=[secret], config_maps=[authority]))
        found = next(each for each in check(seen.plan.plane)[0].listeners if each.port == 8080)
        assert asked(found, "any.example/").backend == "infra-backend-v3", seed
        list(references.wanted_secrets(seen.seen.gateways, references.Grants(())))


@pytest.mark.parametrize("selector", [each for each in JUNK if isinstance(each, dict) and "match" in str(each)])
def test_a_selector_that_is_none_selects_no_namespace(selector: Any) -> None:
    edge = gateway("edge", listener(allowedRoutes=allowing("Selector", a="b")))
    edge["spec"]["listeners"][0]["allowedRoutes"]["namespaces"]["selector"] = selector
    seen = World(observed(CLASS, edge, http("web", rule(to("v1")), parent="edge")))
    assert seen.parent("web")["Accepted"] == ("False", "NotAllowedByListeners")
