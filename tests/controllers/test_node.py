import asyncio
from datetime import timedelta

import pytest

from sampan.api.resources import EVENTS, LEASES, NODES, PODS
from sampan.controllers.node.eviction import TaintEvictionController, plan_eviction
from sampan.controllers.node.ipam import NodeIpamController, Parts
from sampan.controllers.node.lifecycle import NodeLifecycleController
from sampan.controllers.node.lifecycle_plan import plan_silent, plan_taints

UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-01-01T00:59:00Z"}


def node(name="n1", ready="True", **spec):
    ready = [{"type": "Ready", "status": ready, "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]
    return {"metadata": {"name": name, "uid": name}, "spec": spec, "status": {"conditions": ready}}


def test_silent_node_has_unknown_conditions(now):
    by_type = {entry["type"]: entry for entry in plan_silent(node(), now)}
    assert by_type["Ready"]["status"] == "Unknown"
    assert by_type["Ready"]["reason"] == "NodeStatusUnknown"
    assert by_type["Ready"]["message"] == "Kubelet stopped posting node status."
    assert by_type["MemoryPressure"]["reason"] == "NodeStatusNeverUpdated"


@pytest.mark.parametrize(
    ("ready", "evict", "expected"),
    [
        ("True", True, set()),
        ("False", True, {("not-ready", "NoSchedule"), ("not-ready", "NoExecute")}),
        ("Unknown", True, {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}),
        ("Unknown", False, {("unreachable", "NoSchedule")}),
    ],
)
def test_taints_follow_readiness(now, ready, evict, expected):
    taints = plan_taints(node(ready=ready), now, evict=evict, due=True).wanted
    assert {(taint["key"].removeprefix("node.kubernetes.io/"), taint["effect"]) for taint in taints} == expected


def test_own_taints_go_and_those_of_people_stay(now):
    mine = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
    planned = plan_taints(node(taints=[mine, UNREACHABLE], unschedulable=True), now, evict=True, due=False)
    assert [taint["key"] for taint in planned.wanted] == ["dedicated", "node.kubernetes.io/unschedulable"]
    assert not plan_taints(node(taints=[mine]), now, evict=True, due=False).changed


@pytest.mark.parametrize(
    ("tolerations", "expected"),
    [
        ([], 0.0),
        ([{"operator": "Exists"}], None),
        ([{"operator": "Exists", "tolerationSeconds": 300}], 240.0),
        ([{"operator": "Exists", "tolerationSeconds": 30}], 0.0),
    ],
)
def test_eviction_time_counts_from_the_taint(tolerations, expected, now):
    assert plan_eviction({"spec": {"tolerations": tolerations}}, [UNREACHABLE], now) == expected


@pytest.mark.parametrize(("waited", "expected"), [(None, 4.0), (0, 4.0), (3, 1.0), (4, 0.0), (60, 0.0)])
def test_a_taint_without_a_time_counts_from_when_the_pod_was_first_seen_under_it(waited, expected, now):
    """kubectl taint sets no ``timeAdded``."""
    taint = {"key": "k", "value": "v", "effect": "NoExecute"}
    pod = {"spec": {"tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 4}]}}
    first_seen = None if waited is None else now - timedelta(seconds=waited)
    assert plan_eviction(pod, [taint], now, first_seen) == expected


def parts_of(cluster_cidr, mask_size, taken):
    parts = Parts(cluster_cidr, mask_size)
    for cidr in taken:
        parts.occupy(cidr)
    return parts


def test_lowest_free_part_of_the_range():
    assert parts_of("10.244.0.0/16", 24, ["10.244.0.0/24", "10.244.2.0/24"]).lowest_free() == "10.244.1.0/24"
    assert parts_of("10.0.0.0/31", 32, ["10.0.0.0/32", "10.0.0.1/32"]).lowest_free() is None


def test_a_part_that_was_given_back_is_the_lowest_again():
    parts = parts_of("10.0.0.0/16", 24, [f"10.0.{number}.0/24" for number in range(256)])
    assert parts.lowest_free() is None
    for number in (7, 3, 200):
        parts.release(f"10.0.{number}.0/24")
    assert parts.lowest_free() == "10.0.3.0/24"
    parts.occupy("10.0.3.0/24")
    assert parts.lowest_free() == "10.0.7.0/24"
    parts.release("10.0.0.0/24")
    assert parts.lowest_free() == "10.0.0.0/24"


def test_ranges_that_somebody_else_chose_count_as_far_as_they_lie_in_it():
    taken = ["10.0.0.0/23", "10.0.2.128/25", "10.0.2.0/25", "192.168.0.0/24", "fd00::/64", "nonsense"]
    parts = parts_of("10.0.0.0/16", 24, taken)
    assert parts.lowest_free() == "10.0.3.0/24"
    parts.release("10.0.2.128/25")
    assert parts.lowest_free() == "10.0.3.0/24"
    parts.release("10.0.2.0/25")
    assert parts.lowest_free() == "10.0.2.0/24"


async def test_two_nodes_never_get_one_range_while_nodes_come_and_go(api, context, running, wait):
    async with running(NodeIpamController(context)):
        for turn in range(20):
            api.add(NODES, node(f"n{turn}"))
            if turn % 3 == 2:
                await wait.quiet(api)
                api.remove(NODES, "", f"n{turn - 1}")
        await wait.quiet(api)
    ranges = [obj["spec"]["podCIDR"] for obj in api.all(NODES)]
    assert len(ranges) == len(set(ranges)) == 14
    assert max(int(cidr.split(".")[2]) for cidr in ranges) < 20


async def test_each_node_gets_its_own_range(api, context, running, wait):
    async with running(NodeIpamController(context)):
        for name in ("a", "b", "c"):
            api.add(NODES, node(name))
        await wait.quiet(api)
    assert sorted(obj["spec"]["podCIDR"] for obj in api.all(NODES)) == [
        "10.244.0.0/24",
        "10.244.1.0/24",
        "10.244.2.0/24",
    ]


async def test_silent_node_is_tainted_its_pods_unready_then_evicted(api, context, running, wait):
    loop = asyncio.get_running_loop()
    lifecycle = NodeLifecycleController(context)
    api.add(NODES, node("dead"))
    api.add(NODES, node("alive"))
    condition = {"type": "Ready", "status": "True"}
    pod = {"metadata": {"name": "p", "namespace": "default"}, "spec": {"nodeName": "dead"}}
    api.add(PODS, {**pod, "status": {"phase": "Running", "conditions": [condition]}})
    lease = {"metadata": {"name": "alive", "namespace": "kube-node-lease"}, "spec": {"renewTime": "1"}}
    api.add(LEASES, lease)
    async with running(lifecycle, TaintEvictionController(context)):
        await wait.quiet(api)
        assert "taints" not in api.get(NODES, "", "dead")["spec"]
        lifecycle._heard["dead"] = loop.time() - 51
        api.change(NODES, "", "dead", lambda obj: obj["spec"].update(unschedulable=True))
        await wait.quiet(api)
    dead = api.get(NODES, "", "dead")
    assert {condition["status"] for condition in dead["status"]["conditions"]} == {"Unknown"}
    assert ("node.kubernetes.io/unreachable", "NoExecute") in {(t["key"], t["effect"]) for t in dead["spec"]["taints"]}
    left = api.get(PODS, "default", "p")
    by_type = {entry["type"]: entry for entry in left["status"]["conditions"]}
    assert by_type["Ready"]["status"] == "False"
    assert by_type["DisruptionTarget"]["reason"] == "DeletionByTaintManager"
    assert "deletionTimestamp" in left["metadata"]
    assert "taints" not in api.get(NODES, "", "alive")["spec"]


async def test_nodes_that_come_and_go_are_told(api, context, running, wait):
    async with running(NodeLifecycleController(context)):
        api.add(NODES, node("n1"))
        await wait.quiet(api)
        api.change(NODES, "", "n1", lambda obj: obj["spec"].update(unschedulable=True))
        await wait.quiet(api)
        api.remove(NODES, "", "n1")
        await wait.quiet(api)
    events = [(obj["reason"], obj["message"], obj["source"]["component"]) for obj in api.all(EVENTS)]
    assert events == [
        ("RegisteredNode", "Node n1 event: Registered Node n1 in Controller", "node-controller"),
        ("RemovingNode", "Node n1 event: Removing Node n1 from Controller", "node-controller"),
    ]


async def test_leases_of_nodes_that_are_not_there_leave_nothing_behind(api, context, running, wait):
    lifecycle = NodeLifecycleController(context)
    async with running(lifecycle):
        api.add(NODES, node("n1"))
        for name in ("n1", "stranger"):
            lease = {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"renewTime": "1"}}
            api.add(LEASES, lease)
        await wait.quiet(api)
        assert set(lifecycle._heard) == {"n1"}
        api.remove(NODES, "", "n1")
        await wait.quiet(api)
        api.change(LEASES, "kube-node-lease", "n1", lambda obj: obj["spec"].update(renewTime="2"))
        await wait.quiet(api)
        assert not lifecycle._heard
