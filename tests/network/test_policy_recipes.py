"""Situations that people publish policies for, each with real connections: what it stops and what it lets through."""

import asyncio

import network_lab
import policy_worlds as make
import pytest
from policy_lab import NAMES, Enforced, reaches, serving

pytestmark = pytest.mark.timeout(120)

WEB, SHOP, MONITOR = network_lab.PODS.values()
OUTSIDE = network_lab.OUTSIDE_ADDRESS
EVERYBODY = {"podSelector": {}}


def pods(**labels):
    return {"podSelector": {"matchLabels": labels}}


def namespaces(**labels):
    return {"namespaceSelector": {"matchLabels": labels} if labels else {}}


def deny(name="deny", **more):
    return make.policy(name, ingress=[], **more)


#: what it is for: (policies, connections that arrive, connections that do not); (source, target, port)
RECIPES = {
    "an application that nobody may reach": (
        [deny(selector={"app": "web"})],
        [(WEB, SHOP, 80), (WEB, OUTSIDE, 80)],
        [(SHOP, WEB, 80), (MONITOR, WEB, 80), (OUTSIDE, WEB, 80)],
    ),
    "an application that some others may reach": (
        [make.policy("limit", {"app": "web"}, ingress=[{"from": [pods(app="shop")]}])],
        [(SHOP, WEB, 80)],
        [(MONITOR, WEB, 80), (OUTSIDE, WEB, 80)],
    ),
    "an application that all may reach, whatever else is denied": (
        [deny(), make.policy("open", {"app": "web"}, ingress=[{}])],
        [(SHOP, WEB, 80), (MONITOR, WEB, 80), (OUTSIDE, WEB, 80)],
        [(WEB, SHOP, 80)],
    ),
    "a namespace in which nothing arrives that is not allowed": (
        [deny()],
        [(WEB, MONITOR, 80), (SHOP, OUTSIDE, 80)],
        [(SHOP, WEB, 80), (WEB, SHOP, 80), (MONITOR, SHOP, 80)],
    ),
    "a namespace that others do not reach": (
        [make.policy("own", ingress=[{"from": [EVERYBODY]}])],
        [(SHOP, WEB, 80), (WEB, SHOP, 80)],
        [(MONITOR, WEB, 80), (OUTSIDE, SHOP, 80)],
    ),
    "an application that all namespaces reach, and nobody from outside": (
        [deny(), make.policy("all", {"app": "web"}, ingress=[{"from": [namespaces()]}])],
        [(SHOP, WEB, 80), (MONITOR, WEB, 80)],
        [(OUTSIDE, WEB, 80), (MONITOR, SHOP, 80)],
    ),
    "an application that one other namespace reaches": (
        [make.policy("operations", {"app": "web"}, ingress=[{"from": [namespaces(team="operations")]}])],
        [(MONITOR, WEB, 80)],
        [(SHOP, WEB, 80), (OUTSIDE, WEB, 80)],
    ),
    "an application that some pods of another namespace reach": (
        [
            make.policy(
                "monitor",
                {"app": "web"},
                ingress=[{"from": [{**namespaces(team="operations"), **pods(type="monitor")}]}],
            )
        ],
        [(MONITOR, WEB, 80)],
        [(SHOP, WEB, 80)],
    ),
    "pods of another namespace with the right label in the wrong namespace": (
        [make.policy("m", {"app": "web"}, ingress=[{"from": [{**namespaces(team="other"), **pods(type="monitor")}]}])],
        [],
        [(MONITOR, WEB, 80), (SHOP, WEB, 80)],
    ),
    "an application that takes calls from outside the cluster": (
        [deny(), make.policy("external", {"app": "web"}, ingress=[{"from": []}])],
        [(OUTSIDE, WEB, 80), (MONITOR, WEB, 80)],
        [(OUTSIDE, SHOP, 80)],
    ),
    "an application of which one port is open": (
        [make.policy("port", {"app": "web"}, ingress=[{"from": [pods(app="shop")], "ports": [{"port": 8080}]}])],
        [(SHOP, WEB, 8080)],
        [(SHOP, WEB, 80), (MONITOR, WEB, 8080)],
    ),
    "a port that goes by its name": (
        [make.policy("port", {"app": "web"}, ingress=[{"ports": [{"port": "admin"}]}])],
        [(SHOP, WEB, 8080), (OUTSIDE, WEB, 8080)],
        [(SHOP, WEB, 80)],
    ),
    "callers of several sorts": (
        [
            make.policy(
                "several",
                {"app": "web"},
                ingress=[{"from": [pods(app="shop")]}, {"from": [namespaces(team="operations")]}],
            )
        ],
        [(SHOP, WEB, 80), (MONITOR, WEB, 80)],
        [(OUTSIDE, WEB, 80)],
    ),
    "an application that reaches nothing": (
        [make.policy("out", {"app": "shop"}, egress=[])],
        [(WEB, SHOP, 80), (OUTSIDE, SHOP, 80)],
        [(SHOP, WEB, 80), (SHOP, OUTSIDE, 80)],
    ),
    "a namespace that reaches nothing but what is allowed": (
        [make.policy("out", egress=[]), make.policy("to-web", {"app": "shop"}, egress=[{"to": [pods(app="web")]}])],
        [(SHOP, WEB, 80), (MONITOR, SHOP, 80)],
        [(SHOP, OUTSIDE, 80), (WEB, SHOP, 80), (SHOP, MONITOR, 80)],
    ),
    "an application that reaches the cluster and not the world": (
        [make.policy("inside", {"app": "shop"}, egress=[{"to": [namespaces()]}])],
        [(SHOP, WEB, 80), (SHOP, MONITOR, 80)],
        [(SHOP, OUTSIDE, 80)],
    ),
    "an application that reaches the world and not the cluster": (
        [
            make.policy(
                "world",
                {"app": "shop"},
                egress=[{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.244.0.0/16"]}}]}],
            )
        ],
        [(SHOP, OUTSIDE, 80)],
        [(SHOP, WEB, 80), (SHOP, MONITOR, 80)],
    ),
    "callers from outside by address, but for some": (
        [
            make.policy(
                "block",
                {"app": "web"},
                ingress=[{"from": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.2/32"]}}]}],
            )
        ],
        [],
        [(OUTSIDE, WEB, 80), (SHOP, WEB, 80)],
    ),
    "what the cluster's administrator denies, whatever its owner allows": (
        [
            make.policy("open", ingress=[{}]),
            make.cluster_policy(
                "a", ingress=[{"action": "Deny", "from": [{"namespaces": {"matchLabels": {"team": "operations"}}}]}]
            ),
        ],
        [(SHOP, WEB, 80), (OUTSIDE, WEB, 80)],
        [(MONITOR, WEB, 80)],
    ),
    "what the administrator leaves to its owner, and what he denies to the rest": (
        [
            make.policy("shop", {"app": "web"}, ingress=[{"from": [pods(app="shop")]}]),
            make.cluster_policy(
                "a",
                ingress=[
                    {"action": "Pass", "from": [{"namespaces": {"matchLabels": {"team": "sales"}}}]},
                    {"action": "Deny", "from": [{"namespaces": {}}]},
                ],
            ),
        ],
        [(SHOP, WEB, 80), (OUTSIDE, SHOP, 80)],
        [(MONITOR, WEB, 80), (OUTSIDE, WEB, 80)],
    ),
    "what is denied where nobody says otherwise": (
        [
            make.policy("shop", {"app": "web"}, ingress=[{"from": [namespaces()]}]),
            make.cluster_policy("base", "Baseline", ingress=[{"action": "Deny", "from": [{"namespaces": {}}]}]),
        ],
        [(SHOP, WEB, 80), (MONITOR, WEB, 80), (OUTSIDE, SHOP, 80)],
        [(WEB, SHOP, 80)],
    ),
}


@pytest.fixture(scope="module")
def node(lab):
    made = Enforced(lab)
    made.put(
        make.namespace("default", team="sales"),
        make.namespace("operations", team="operations"),
        make.pod("web", WEB, {"app": "web"}, ports=[("admin", "TCP", 8080)]),
        make.pod("shop", SHOP, {"app": "shop"}),
        make.pod("monitor", MONITOR, {"type": "monitor"}, namespace="operations"),
    )
    return made


@pytest.mark.parametrize("situation", RECIPES)
async def test_a_recipe_stops_what_it_is_for_and_nothing_else(lab, node, situation):
    policies, arrive, stay_away = RECIPES[situation]
    node.put(*policies)
    await node.enforce(whole=True)
    try:
        async with serving(lab):
            expected = [True] * len(arrive) + [False] * len(stay_away)
            questions = arrive + stay_away
            found = await asyncio.gather(
                *(
                    reaches(lab, source, target, "TCP", port, wanted)
                    for (source, target, port), wanted in zip(questions, expected, strict=True)
                )
            )
        named = [(NAMES[source], NAMES[target], port) for source, target, port in questions]
        assert dict(zip(named, found, strict=True)) == dict(zip(named, expected, strict=True))
        world = node.world()
        assert [world.allowed(source, target, "TCP", port) for source, target, port in questions] == expected
    finally:
        for key in [*node.policies]:
            node.drop(key)
        await node.nft.remove()
