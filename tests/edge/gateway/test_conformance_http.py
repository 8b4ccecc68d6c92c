"""The published conformance cases of HTTPRoute, by their names: what objects are told, and where requests go."""

from __future__ import annotations

import pytest
from tests.edge.gateway.case import Ask, Case, gateways_of
from tests.edge.gateway.cases import CASES
from tests.edge.gateway.world import CLASS, World, asked, observed

from sampan.edge.model import Listener


def world_of(case: Case) -> World:
    return World(observed(CLASS, *gateways_of(case), *case.objects, services=case.services))


def listener_of(world: World, port: int) -> Listener:
    return next(each for each in world.plan.plane.listeners if each.port == port)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_conformance(case: Case) -> None:
    world = world_of(case)
    for name, reason in case.accepted.items():
        assert world.parent(name)["Accepted"] == (str(reason == "Accepted"), reason)
    for name, reason in case.resolved.items():
        told = world.parent(name)
        assert told["ResolvedRefs"] == (str(reason == "ResolvedRefs"), reason)
        assert told["Accepted"] == ("True", "Accepted")
    found = listener_of(world, case.listener)
    for ask in case.asks:
        _check(found, ask)
    again = World(world.settled())
    assert again.plan.writes == ()
    assert again.plan.plane == world.plan.plane


def _check(found: Listener, ask: Ask) -> None:
    seen = asked(found, ask.url, ask.method, ask.headers)
    if isinstance(ask.expected, int):
        assert seen.status == ask.expected, ask
    else:
        assert (seen.status, seen.backend) == (200, ask.expected), ask
    if ask.path:
        assert seen.path == ask.path, ask
    if ask.host:
        assert seen.host == ask.host, ask
    if ask.location:
        assert seen.location == ask.location.format(port=""), ask
