"""Which node is preferred."""

import numpy as np
import pytest

from sampan.scheduler.plugins.noderesources import (
    NodeResourcesBalancedAllocation,
    NodeResourcesFit,
    ScoringStrategy,
)

MIB = 1024 * 1024


def test_the_emptier_node_is_preferred(world):
    world.node("full")
    world.node("empty")
    world.pod("other", "full", cpu="2", memory="4Gi")
    assert world.decide(cpu="1", memory="1Gi").node == "empty"


def test_between_nodes_that_are_as_full_a_pod_goes_where_it_makes_the_balance_better(world):
    world.node("cpu-heavy")
    world.node("even")
    world.pod("a", "cpu-heavy", cpu="3", memory="1Gi")
    world.pod("b", "even", cpu="2", memory="3Gi")
    assert world.decide(cpu="100m", memory="2Gi").node == "cpu-heavy"


@pytest.mark.parametrize(
    ("strategy", "scores"),
    [("LeastAllocated", [50, 0]), ("MostAllocated", [50, 100]), ("RequestedToCapacityRatio", [50, 100])],
)
def test_strategies(world, pod, strategy, scores):
    world.node("half")
    world.node("all")
    world.pod("a", "half", cpu="1", memory="2Gi")
    world.pod("b", "all", cpu="3", memory="6Gi")
    plugin = NodeResourcesFit(ScoringStrategy(strategy))
    info = pod(cpu="1", memory="2Gi")
    assert plugin.score(None, info, world.cluster, world.cluster.nodes.all()).tolist() == scores


def test_prefer_no_schedule_is_avoided(world):
    world.node("tainted", taints=[{"key": "k", "effect": "PreferNoSchedule"}])
    world.node("clean")
    world.pod("other", "clean", cpu="2", memory="4Gi")
    assert world.decide().node == "clean"


def test_preferred_node_affinity_pulls(world):
    world.node("a", labels={"disk": "ssd"})
    world.node("b")
    world.pod("other", "a", cpu="2", memory="4Gi")
    term = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 10, "preference": term}]}
    assert world.decide(affinity={"nodeAffinity": preferred}).node == "a"


def test_a_large_image_that_is_there_pulls(world):
    world.node("a", images=[{"names": ["app:latest"], "sizeBytes": 900 * MIB}])
    world.node("b")
    assert world.decide().node == "a"


def test_equal_nodes_are_chosen_at_random(world):
    for number in range(4):
        world.node(f"n{number}")
    assert len({world.decide().node for _ in range(60)}) == 4


def test_a_class_keeps_its_scores_and_repairs_them(world):
    world.node("a")
    world.node("b")
    first = world.decide("p1", cpu="1", memory="2Gi").node
    world.pod("p1", first, cpu="1", memory="2Gi")
    second = world.decide("p2", cpu="1", memory="2Gi").node
    assert {first, second} == {"a", "b"}


@pytest.mark.parametrize("plugin", [NodeResourcesFit(), NodeResourcesBalancedAllocation()])
def test_one_node_alone_scores_as_among_all(world, pod, plugin):
    world.node("a", cpu="7", memory="3Gi")
    world.node("b", cpu="0")
    world.node("c", cpu="1", memory="5Gi")
    world.pod("other", "c", cpu="700m", memory="1Gi")
    info, nodes = pod(cpu="300m", memory="1300Mi"), world.cluster.nodes
    alone = [plugin.score(None, info, world.cluster, np.array([slot])).item() for slot in range(nodes.size)]
    assert plugin.score(None, info, world.cluster, nodes.all()).tolist() == alone
