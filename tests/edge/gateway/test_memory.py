"""What is remembered between plans changes what they cost, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.edge.gateway.world import (
    APPS,
    CLASS,
    NOW,
    SITE,
    Obj,
    applying,
    gateway,
    grant,
    http,
    listener,
    observed,
    path,
    rule,
    service,
    to,
)

from sampan.edge.gateway import memory as remembering
from sampan.edge.gateway.memory import Memory
from sampan.edge.gateway.observed import Observed
from sampan.edge.gateway.plan import plan

SAME = gateway("same-namespace", listener())
ROUTE = http(
    "one",
    rule(to("v1"), to("v2", weight=3), matches=[path("/a")]),
    rule({"name": "app-backend-v1", "namespace": APPS, "port": 8080}, filters=[applying("URLRewrite", hostname="b.c")]),
)
OTHER = http("two", rule(to("v3")), hostnames=["two.example"])
CHANGES = ("endpoints", "service", "grant", "spec", "gone", "again", "protocol", "nothing")


def _seen(done: list[str]) -> Observed:
    """The world after these changes."""
    route, other = copy.deepcopy(ROUTE), copy.deepcopy(OTHER)
    route["metadata"]["generation"] = 1 + done.count("spec")
    route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1 + done.count("spec")
    services: list[tuple[Obj, Obj]] = [service("infra-backend-v2"), service("app-backend-v1", APPS)]
    if done.count("service") % 2 == 0:
        services.append(service("infra-backend-v1", app_protocol="kubernetes.io/h2c" if "protocol" in done else ""))
    services.append(service("infra-backend-v3"))
    services[0][1]["endpoints"] = [{"addresses": [f"10.0.0.{number}"]} for number in range(done.count("endpoints"))]
    objects: list[Any] = [CLASS, SAME, other]
    if done.count("gone") <= done.count("again"):
        objects.append(route)
    if done.count("grant") % 2:
        objects.append(grant(APPS))
    return observed(*objects, services=services, site=SITE)


@given(st.lists(st.sampled_from(CHANGES), min_size=1, max_size=6))
@settings(max_examples=15)
def test_plans_with_and_without_memory_are_the_same(changes: list[str]) -> None:
    memory, done = Memory(), []
    for change in changes:
        done.append(change)
        seen = _seen(done)
        assert plan(seen, NOW, memory) == plan(seen, NOW)


def test_a_route_that_nobody_touched_is_not_translated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    translated: list[str] = []
    real = remembering.translate

    def counted(route: Obj, kind: str, resolver: Any) -> Any:
        translated.append(route["metadata"]["name"])
        return real(route, kind, resolver)

    monkeypatch.setattr(remembering, "translate", counted)
    memory = Memory()
    plan(_seen([]), NOW, memory)
    assert sorted(translated) == ["one", "two"]
    plan(_seen(["endpoints"]), NOW, memory)  # of a Service that "one" leads to
    plan(_seen(["endpoints", "grant"]), NOW, memory)
    assert translated[2:] == ["one", "one"]
    plan(_seen(["endpoints", "grant", "gone"]), NOW, memory)
    plan(_seen(["endpoints", "grant"]), NOW, memory)  # it is forgotten with the object
    assert translated[4:] == ["one"]
