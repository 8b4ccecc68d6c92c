"""PodTopologySpread and InterPodAffinity."""

import pytest

from sampan.api.labels import from_map

ZONE = "zone"
APP = {"app": "web"}


@pytest.fixture
def zones(world):
    for name, zone in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        world.node(name, labels={ZONE: zone})
    return world


def spread(**other):
    constraint = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule"}
    return {"topologySpreadConstraints": [constraint | {"labelSelector": {"matchLabels": APP}} | other]}


def affinity(kind, **other):
    term = {"topologyKey": ZONE, "labelSelector": {"matchLabels": APP}, **other}
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


def test_the_fuller_zone_is_closed(zones):
    zones.pod("x", "a1", labels=APP)
    assert zones.feasible(labels=APP, **spread()) == {"b1"}


def test_a_pod_that_does_not_count_itself_may_join(zones):
    zones.pod("x", "a1", labels=APP)
    assert zones.feasible(**spread()) == {"a1", "a2", "b1"}


def test_terminating_pods_and_other_namespaces_do_not_count(zones):
    zones.pod("x", "a1", labels=APP, namespace="other")
    assert zones.feasible(labels=APP, **spread()) == {"a1", "a2", "b1"}


def test_nodes_without_the_label_are_out(zones):
    zones.node("c1")
    zones.pod("x", "b1", labels=APP)
    for name in ("a1", "a2"):
        zones.cluster.drop_node(name)
    assert zones.feasible(labels=APP, **spread(minDomains=2)) == set()
    assert zones.why(labels=APP, **spread(minDomains=2)) == (
        "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, "
        "1 node(s) didn't match pod topology spread constraints (missing required label)."
    )


def test_only_nodes_the_pod_may_use_are_compared(zones):
    zones.pod("x", "a1", labels=APP)
    assert zones.feasible(labels=APP, nodeSelector={ZONE: "a"}, **spread()) == {"a1", "a2"}


def test_wishes_pull_to_the_emptier_zone(zones):
    zones.pod("x", "a1", labels=APP)
    zones.pod("heavy", "b1", cpu="1", memory="2Gi")
    assert zones.decide(labels=APP, **spread(whenUnsatisfiable="ScheduleAnyway")).node == "b1"


def test_pods_of_a_workload_spread_by_default(zones, pod):
    zones.cluster.default_selector = lambda pod: from_map(APP)
    nodes = []
    for number in range(3):
        nodes.append(zones.decide(f"p{number}", labels=APP).node)
        zones.pod(f"p{number}", nodes[-1], labels=APP)
    assert sorted(nodes) == ["a1", "a2", "b1"]


def test_anti_affinity_keeps_apart(zones):
    zones.pod("x", "a1", labels=APP)
    assert zones.feasible(labels=APP, **affinity("podAntiAffinity")) == {"b1"}
    zones.pod("y", "b1", labels=APP)
    assert zones.why(**affinity("podAntiAffinity")) == (
        "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
    )


def test_pods_on_nodes_keep_others_away(zones):
    zones.pod("x", "a1", labels={"app": "db"}, **affinity("podAntiAffinity"))
    assert zones.feasible(labels=APP) == {"b1"}
    assert zones.feasible() == {"a1", "a2", "b1"}
    zones.cluster.drop_node("b1")
    assert zones.why(labels=APP) == (
        "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules."
    )


def test_affinity_keeps_together(zones):
    zones.pod("x", "b1", labels=APP)
    assert zones.feasible(**affinity("podAffinity")) == {"b1"}


def test_affinity_without_a_match_is_refused_unless_the_pod_matches_itself(zones):
    assert zones.why(**affinity("podAffinity")) == (
        "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."
    )
    assert zones.feasible(labels=APP, **affinity("podAffinity")) == {"a1", "a2", "b1"}


def test_terms_reach_other_namespaces_by_name_and_by_label(zones):
    zones.cluster.namespace_labels = {"other": {"team": "x"}}
    zones.pod("x", "b1", labels=APP, namespace="other")
    assert zones.feasible(**affinity("podAffinity")) == set()
    assert zones.feasible(**affinity("podAffinity", namespaces=["other"])) == {"b1"}
    chosen = {"matchLabels": {"team": "x"}}
    assert zones.feasible(**affinity("podAffinity", namespaceSelector=chosen)) == {"b1"}


def test_preferred_affinity_pulls_and_preferred_anti_affinity_pushes(zones):
    zones.pod("x", "b1", labels=APP)
    term = {"weight": 100, "podAffinityTerm": {"topologyKey": ZONE, "labelSelector": {"matchLabels": APP}}}
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [term]}
    assert zones.decide(affinity={"podAffinity": preferred}).node == "b1"
    assert zones.decide(affinity={"podAntiAffinity": preferred}).node in ("a1", "a2")
