"""What each filter turns down, and what the message says."""

import pytest

TAINT = {"key": "team", "value": "a", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("node", "pod", "reason"),
    [
        ({"cordoned": True}, {}, "node(s) were unschedulable"),
        ({"taints": [TAINT]}, {}, "node(s) had untolerated taint(s)"),
        (
            {"labels": {"disk": "hdd"}},
            {"nodeSelector": {"disk": "ssd"}},
            "node(s) didn't match Pod's node affinity/selector",
        ),
        ({"cpu": "1"}, {"cpu": "1100m"}, "Insufficient cpu"),
        ({"memory": "1Gi"}, {"memory": "2Gi"}, "Insufficient memory"),
        ({"pods": "0"}, {}, "Too many pods"),
        ({}, {"requests": {"nvidia.com/gpu": "1"}}, "Insufficient nvidia.com/gpu"),
        ({}, {"node": "other"}, "node(s) didn't match the requested node name"),
    ],
)
def test_a_filter_names_its_reason(world, node, pod, reason):
    world.node("n", **node)
    assert world.why(**pod) == f"0/1 nodes are available: 1 {reason}."


def test_reasons_are_counted_and_sorted_as_text(world):
    world.node("a", taints=[TAINT])
    world.node("b", cpu="1", memory="1Gi")
    world.node("c", cpu="1")
    assert world.why(cpu="2", memory="2Gi") == (
        "0/3 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint(s), 2 Insufficient cpu."
    )


def test_without_nodes_the_message_is_short(world):
    assert world.why() == "no nodes available to schedule pods"


def test_only_the_first_filter_that_fails_is_counted(world):
    world.node("a", cordoned=True, taints=[TAINT], cpu="0")
    decision = world.decide(cpu="1")
    assert [(verdict.plugin, nodes) for verdict, nodes in decision.ruled_out.items()] == [("NodeUnschedulable", 1)]


def test_the_record_names_the_taint_though_the_message_does_not(world):
    world.node("a", taints=[TAINT])
    assert [verdict.detail for verdict in world.decide().ruled_out] == ["{team: a}"]


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "team", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "team", "value": "a"}, True),
        ({"key": "team", "value": "b"}, False),
        ({"key": "team", "value": "a", "effect": "NoSchedule"}, True),
        ({"key": "team", "value": "a", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations(world, toleration, tolerated):
    world.node("n", taints=[TAINT])
    assert bool(world.decide(tolerations=[toleration]).node) is tolerated


def required(*terms):
    node_affinity = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": node_affinity}}


def expression(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("terms", "nodes"),
    [
        ([expression("zone", "In", "a", "b")], {"n1", "n2"}),
        ([expression("zone", "NotIn", "a")], {"n2", "n3"}),
        ([expression("zone", "Exists")], {"n1", "n2"}),
        ([expression("zone", "DoesNotExist")], {"n3"}),
        ([expression("cores", "Gt", "8")], {"n2"}),
        ([expression("cores", "Lt", "8")], {"n1"}),
        ([expression("zone", "In", "a"), expression("cores", "Gt", "8")], {"n1", "n2"}),
        ([{}], set()),
        ([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n3"]}]}], {"n3"}),
    ],
)
def test_required_node_affinity(world, terms, nodes):
    world.node("n1", labels={"zone": "a", "cores": "4"})
    world.node("n2", labels={"zone": "b", "cores": "16"})
    world.node("n3")
    assert world.feasible(**required(*terms)) == nodes


def test_nodes_that_match_fields_leave_out_are_counted_apart(world):
    world.node("n1", cpu="1")
    world.node("n2")
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
    assert world.why(cpu="2", **required(term)) == (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )


def test_added_affinity_holds_for_every_pod_of_the_profile(new_world):
    added = required(expression("zone", "In", "a"))["affinity"]["nodeAffinity"]
    world = new_world(added_affinity=added)
    world.node("n1", labels={"zone": "b"})
    assert world.why() == "0/1 nodes are available: 1 node(s) didn't match scheduler-enforced node affinity."


@pytest.mark.parametrize(
    ("held", "wanted", "free"),
    [
        ({"hostPort": 80}, {"hostPort": 80}, False),
        ({"hostPort": 80}, {"hostPort": 81}, True),
        ({"hostPort": 80, "protocol": "UDP"}, {"hostPort": 80}, True),
        ({"hostPort": 80, "hostIP": "10.0.0.1"}, {"hostPort": 80, "hostIP": "10.0.0.2"}, True),
        ({"hostPort": 80, "hostIP": "10.0.0.1"}, {"hostPort": 80}, False),
    ],
)
def test_host_ports(world, held, wanted, free):
    world.node("n")
    world.pod("other", "n", ports=[held])
    decision = world.decide(ports=[wanted])
    assert bool(decision.node) is free
    if not free:
        assert "1 node(s) didn't have free ports for the requested pod ports" in decision.message


def test_ports_and_room_come_back_when_a_pod_goes(world):
    world.node("n", cpu="1")
    other = world.pod("other", "n", cpu="1", ports=[{"hostPort": 80}])
    assert not world.decide(cpu="1", ports=[{"hostPort": 80}]).node
    world.cluster.drop_pod(other.uid)
    assert world.decide(cpu="1", ports=[{"hostPort": 80}]).node == "n"


def test_a_node_that_goes_is_no_longer_counted(world):
    world.node("a", cpu="1")
    world.node("b", cpu="1")
    assert world.why(cpu="2").startswith("0/2")
    world.cluster.drop_node("a")
    assert world.why(cpu="2") == "0/1 nodes are available: 1 Insufficient cpu."
