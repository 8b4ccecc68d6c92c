"""Pods that name their nodes, as those of DaemonSets do: only these nodes are looked at."""

import pytest


def only(*names, **more):
    tests = [{"key": "metadata.name", "operator": "In", "values": [name]} for name in names]
    terms = [{"matchFields": [test], **more} for test in tests]
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    }


@pytest.fixture
def three(world):
    for name in "abc":
        world.node(name, cpu="1")
    return world


def test_a_pod_goes_to_the_node_it_names(three):
    found = three.decide(**only("b"))
    assert (found.node, found.feasible) == ("b", 1)


def test_the_others_are_told_of_in_upstreams_words(three):
    three.pod("x", "b", cpu="1")
    assert three.why(cpu="1", **only("b")) == (
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )


def test_a_node_that_is_not_there_leaves_none(three):
    assert three.why(**only("z")) == "0/3 nodes are available: 3 node(s) didn't satisfy plugin(s) [NodeAffinity]."


def test_of_several_named_nodes_the_better_one_is_taken(three):
    three.pod("x", "a", cpu="800m")
    assert three.decide(cpu="100m", memory="1Gi", **only("a", "b")).node == "b"


def test_labels_beside_the_name_count_too(three):
    three.node("b", cpu="1", labels={"disk": "ssd"})
    ssd = [{"key": "disk", "operator": "In", "values": ["ssd"]}]
    assert three.decide(**only("b", matchExpressions=ssd)).node == "b"
    assert not three.decide(**only("a", matchExpressions=ssd)).node


def test_less_important_pods_make_room_on_the_named_node_alone(three):
    for name in "abc":
        three.pod(f"low-{name}", name, cpu="1")
    plan = three.preempt(cpu="1", priority=10, **only("b"))
    assert (plan.node, [victim.name for victim in plan.victims]) == ("b", ["low-b"])


def test_a_thousand_of_them_keep_no_class_each(three):
    for _ in range(100):
        for name in "abc":
            three.decide(**only(name))
    assert not three.profile._classes
