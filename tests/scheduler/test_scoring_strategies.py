"""Scores of NodeResourcesFit and its neighbour, worked out by hand from the documented formulas."""

import pytest

from sampan.scheduler.framework import CycleState
from sampan.scheduler.plugins.noderesources import NodeResourcesBalancedAllocation, NodeResourcesFit, ScoringStrategy

MEMORY = (("cpu", 1), ("memory", 3))
RISING, FALLING, BENT = ((0, 0), (100, 10)), ((0, 10), (100, 0)), ((0, 0), (40, 8), (100, 10))
#: a node of 4 cores and 8 GiB with 1 core and 1 GiB taken; the pod asks for 1 core and 3 GiB
CASES = [
    # free: 2/4 -> 50, 4/8 -> 50
    ("LeastAllocated", (("cpu", 1), ("memory", 1)), RISING, 50),
    ("MostAllocated", (("cpu", 1), ("memory", 1)), RISING, 50),
    ("LeastAllocated", (("cpu", 5), ("memory", 1)), RISING, 50),
    # used: 50 % and 50 % -> 5 of 10
    ("RequestedToCapacityRatio", (("cpu", 1), ("memory", 1)), RISING, 50),
    ("RequestedToCapacityRatio", (("cpu", 1), ("memory", 1)), FALLING, 50),
    # between (40, 80) and (100, 100): 80 + 20 * 10 / 60, cut off
    ("RequestedToCapacityRatio", (("cpu", 1), ("memory", 1)), BENT, 83),
]


@pytest.mark.parametrize(("kind", "resources", "shape", "score"), CASES, ids=[str(i) for i in range(len(CASES))])
def test_half_full_nodes_have_these_scores(world, pod, kind, resources, shape, score):
    world.node("a")
    world.pod("x", "a", cpu="1", memory="1Gi")
    plugin = NodeResourcesFit(ScoringStrategy(kind, resources, shape))
    asked = pod(cpu="1", memory="3Gi")
    state = CycleState()
    at = world.cluster.nodes.all()
    assert plugin.score(state, asked, world.cluster, at).tolist() == [score]
    assert plugin.score_slot(state, asked, world.cluster, 0) == score


@pytest.mark.parametrize(("cpu", "memory", "least", "most"), [
    # (4000 - 900) * 100 // 4000 = 77, (8 - 3) * 100 // 8 = 62; used 22 and 37
    ("900m", "3Gi", (77 + 62 * 3) // 4, (22 + 37 * 3) // 4),
    # what asks for no memory counts as 200 MiB: (8192 - 200) * 100 // 8192 = 97
    ("900m", None, (77 + 97 * 3) // 4, (22 + 2 * 3) // 4),
    # and for no cpu as 100m: (4000 - 100) * 100 // 4000 = 97
    (None, "3Gi", (97 + 62 * 3) // 4, (2 + 37 * 3) // 4),
])  # fmt: skip
def test_weights_and_what_is_counted_for_who_asks_for_nothing(world, pod, cpu, memory, least, most):
    world.node("a")
    asked = pod(**{name: value for name, value in (("cpu", cpu), ("memory", memory)) if value})
    for kind, score in (("LeastAllocated", least), ("MostAllocated", most)):
        plugin = NodeResourcesFit(ScoringStrategy(kind, MEMORY))  # type: ignore[arg-type]
        assert plugin.score(CycleState(), asked, world.cluster, world.cluster.nodes.all()).tolist() == [score]


@pytest.mark.parametrize(("held", "asked", "score"), [
    (("0", "0"), ("1", "2Gi"), 75),  # 25 % and 25 %: as even as before
    (("0", "0"), ("2", "2Gi"), 68),  # 50 % and 25 %: 1 - 0.125, cut off to 87, was 100
    (("0", "0"), ("4", "0"), 50),  # 100 % and none: nothing is worse
    (("4", "0"), ("0", "8Gi"), 100),  # the other way round
    (("2", "2Gi"), ("0", "2Gi"), 81),  # 87 before, 100 now
    (("0", "0"), ("8", "4Gi"), 62),  # more than there is counts as all of it
])  # fmt: skip
def test_balance_is_how_much_evener_the_node_is_with_the_pod(world, pod, held, asked, score):
    world.node("a")
    world.pod("other", "a", cpu=held[0], memory=held[1])
    plugin, asking = NodeResourcesBalancedAllocation(), pod(cpu=asked[0], memory=asked[1])
    assert plugin.score(CycleState(), asking, world.cluster, world.cluster.nodes.all()).tolist() == [score]
    assert plugin.score_slot(CycleState(), asking, world.cluster, 0) == score


def test_three_resources_have_a_standard_deviation(world, pod):
    world.node("a", **{"example.com/gpu": "4"})
    plugin = NodeResourcesBalancedAllocation(("cpu", "memory", "example.com/gpu"))
    asked = pod(cpu="2", memory="2Gi", requests={"example.com/gpu": "4"})  # 50 %, 25 %, 100 %: deviation 0.3118
    assert plugin.score(CycleState(), asked, world.cluster, world.cluster.nodes.all()).tolist() == [50 + (50 - 32) // 2]


def test_ignored_resources_and_groups_do_not_keep_a_pod_away(new_world, pod):
    asked = {"requests": {"example.com/foo": "1", "example.org/bar": "2"}}
    plain = new_world()
    plain.node("a")
    assert "Insufficient example.com/foo" in plain.why(**asked)
    ignoring = new_world(ignored_resources=("example.com/foo",), ignored_groups=("example.org",))
    ignoring.node("a")
    assert ignoring.decide(**asked).node == "a"


def test_default_constraints_of_a_list_are_rules_and_wishes(new_world):
    from sampan.api.labels import from_map

    rule = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    world = new_world(default_spreading=False, default_constraints=(rule,))
    world.cluster.default_selector = lambda pod: from_map({"app": "web"})
    for name, zone in (("a", "x"), ("b", "y")):
        world.node(name, labels={"zone": zone})
    world.pod("one", "a", labels={"app": "web"})
    assert world.feasible(labels={"app": "web"}) == {"b"}
