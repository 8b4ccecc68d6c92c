"""What upstream requires of scheduling, in whole clusters of two simulated nodes and in virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from sampan.api import quantity
from sampan.api.errors import Invalid, NotFound
from sampan.api.resources import EVENTS, NODES, PODS, PRIORITY_CLASSES, REPLICA_SETS
from sampan.testing.virtual_cluster import VirtualCluster

pytestmark = pytest.mark.timeout(120)

Obj = dict[str, Any]


@pytest.fixture(scope="module")
def sampan_virtual_prepared() -> Iterator[VirtualCluster]:
    with VirtualCluster(nodes=2) as cluster:
        yield cluster


def share(cluster: VirtualCluster, thousandths: int) -> str:
    """So much of a node's processors."""
    allocatable = cluster.get(NODES, "node-0")["status"]["allocatable"]["cpu"]
    return f"{quantity.millis(allocatable) * thousandths // 1000}m"


def spec(cpu: str = "", **more: Any) -> Obj:
    resources = {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}} if cpu else {}
    container = {"name": "c", "image": "any", "resources": resources}
    return {"terminationGracePeriodSeconds": 0, "containers": [container], **more}


def pod(name: str, cpu: str = "", *, namespace: str = "default", **more: Any) -> Obj:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": spec(cpu, **more),
    }  # fmt: skip


def priority(name: str, value: int) -> Obj:
    return {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}


def on(node: str) -> Obj:
    return {"nodeSelector": {"kubernetes.io/hostname": node}}


def node_of(cluster: VirtualCluster, name: str, namespace: str = "default") -> str:
    found: str = cluster.get(PODS, name, namespace)["spec"].get("nodeName", "")
    return found


def runs(cluster: VirtualCluster, name: str, namespace: str = "default") -> bool:
    return bool(cluster.get(PODS, name, namespace)["status"]["phase"] == "Running")


def stays_pending(cluster: VirtualCluster, name: str, why: str) -> None:
    """Longer than what cannot be scheduled waits for nothing, and it is told for which reason."""
    cluster.advance(400)
    found = cluster.get(PODS, name)
    (told,) = (each for each in found["status"]["conditions"] if each["type"] == "PodScheduled")
    assert (found["status"]["phase"], told["status"], told["reason"]) == ("Pending", "False", "Unschedulable")
    events = [e for e in cluster.list(EVENTS, "default") if e["involvedObject"]["name"] == name]
    assert why in told["message"] and {e["reason"] for e in events} == {"FailedScheduling"}


def is_gone(cluster: VirtualCluster, name: str, namespace: str = "default") -> bool:
    try:
        cluster.get(PODS, name, namespace)
    except NotFound:
        return True
    return False


def test_more_than_the_nodes_have_is_not_given(sampan_virtual: VirtualCluster) -> None:
    """SchedulerPredicates [Serial] validates resource limits of pods that are allowed to run"""
    cluster = sampan_virtual
    for name in ("node-0", "node-1"):
        cluster.create(PODS, pod(f"filler-{name}", share(cluster, 700), **on(name)))
    cluster.run_until(lambda: all(runs(cluster, f"filler-{name}") for name in ("node-0", "node-1")))
    cluster.create(PODS, pod("additional", share(cluster, 500)))
    stays_pending(cluster, "additional", "2 Insufficient cpu")


def test_a_pod_goes_to_the_node_that_its_selector_names(sampan_virtual: VirtualCluster) -> None:
    """SchedulerPredicates [Serial] validates that NodeSelector is respected if matching"""
    cluster = sampan_virtual
    cluster.patch(NODES, "node-1", {"metadata": {"labels": {"example.com/e2e": "42"}}})
    for number in range(5):
        cluster.create(PODS, pod(f"labelled-{number}", nodeSelector={"example.com/e2e": "42"}))
    cluster.run_until(lambda: all(runs(cluster, f"labelled-{n}") for n in range(5)))
    assert {node_of(cluster, f"labelled-{n}") for n in range(5)} == {"node-1"}


def test_a_pod_whose_selector_names_no_node_goes_nowhere(sampan_virtual: VirtualCluster) -> None:
    """SchedulerPredicates [Serial] validates that NodeSelector is respected if not matching"""
    sampan_virtual.create(PODS, pod("restricted", nodeSelector={"label": "nonempty"}))
    stays_pending(sampan_virtual, "restricted", "2 node(s) didn't match Pod's node affinity/selector")


def test_a_port_of_all_addresses_is_one_of_each(sampan_virtual: VirtualCluster) -> None:
    """SchedulerPredicates [Serial] validates that there exists conflict between pods with same hostPort and protocol
    but one using 0.0.0.0 hostIP"""
    cluster = sampan_virtual

    def wanting(name: str, address: str, protocol: str = "TCP") -> Obj:
        made = pod(name, **on("node-0"))
        port = {"containerPort": 80, "hostPort": 54322, "hostIP": address, "protocol": protocol}
        made["spec"]["containers"][0]["ports"] = [port]
        return made

    cluster.create(PODS, wanting("everywhere", "0.0.0.0"))
    cluster.run_until(lambda: runs(cluster, "everywhere"))
    cluster.create(PODS, wanting("loopback", "127.0.0.1"))
    cluster.create(PODS, wanting("datagrams", "127.0.0.1", "UDP"))
    cluster.run_until(lambda: runs(cluster, "datagrams"))
    stays_pending(cluster, "loopback", "1 node(s) didn't have free ports for the requested pod ports")


def fill(cluster: VirtualCluster, **more: Any) -> None:
    """Pods of low and middling priority have the most of both nodes."""
    cluster.create(PRIORITY_CLASSES, priority("low", 1))
    cluster.create(PRIORITY_CLASSES, priority("medium", 100))
    cluster.create(PRIORITY_CLASSES, priority("high", 1000))
    low = pod("low", share(cluster, 600), priorityClassName="low", **on("node-0"))
    low["metadata"].update(more)
    cluster.create(PODS, low)
    cluster.create(PODS, pod("medium", share(cluster, 600), priorityClassName="medium", **on("node-1")))
    cluster.run_until(lambda: runs(cluster, "low") and runs(cluster, "medium"))


def test_the_least_important_pod_makes_room(sampan_virtual: VirtualCluster) -> None:
    """SchedulerPreemption [Serial] validates basic preemption works"""
    cluster = sampan_virtual
    fill(cluster)
    cluster.create(PODS, pod("high", share(cluster, 600), priorityClassName="high"))
    cluster.run_until(lambda: runs(cluster, "high"))
    assert is_gone(cluster, "low") and node_of(cluster, "high") == "node-0"
    assert runs(cluster, "medium")


def test_a_critical_pod_is_made_room_for(sampan_virtual: VirtualCluster) -> None:
    """SchedulerPreemption [Serial] validates lower priority pod preemption by critical pod"""
    cluster = sampan_virtual
    fill(cluster)
    critical = pod(
        "critical", share(cluster, 600), namespace="kube-system", priorityClassName="system-cluster-critical"
    )
    cluster.create(PODS, critical)
    cluster.run_until(lambda: runs(cluster, "critical", "kube-system"))
    assert is_gone(cluster, "low") and node_of(cluster, "critical", "kube-system") == "node-0"
    assert runs(cluster, "medium")


def test_the_pod_that_makes_room_says_why_it_ends(sampan_virtual: VirtualCluster) -> None:
    """SchedulerPreemption [Serial] validates pod disruption condition is added to the preempted pod"""
    cluster = sampan_virtual
    fill(cluster, finalizers=["example.com/test-finalizer"])
    cluster.create(PODS, pod("high", share(cluster, 600), priorityClassName="high"))
    cluster.run_until(lambda: cluster.get(PODS, "low")["metadata"].get("deletionTimestamp"))
    conditions = cluster.get(PODS, "low")["status"]["conditions"]
    (disruption,) = (each for each in conditions if each["type"] == "DisruptionTarget")
    assert (disruption["status"], disruption["reason"]) == ("True", "PreemptionByScheduler")
    cluster.patch(PODS, "low", {"metadata": {"finalizers": None}})
    cluster.run_until(lambda: runs(cluster, "high"))
    assert is_gone(cluster, "low")


def test_sets_of_four_priorities_share_a_node(sampan_virtual: VirtualCluster) -> None:
    """SchedulerPreemption [Serial] PreemptionExecutionPath runs ReplicaSets to verify preemption running path"""
    cluster = sampan_virtual
    sets = {"p1": (5, 40), "p2": (4, 50), "p3": (4, 95), "p4": (1, 400)}
    for value, name in enumerate(sets, start=1):
        cluster.create(PRIORITY_CLASSES, priority(name, value))

    def create(name: str) -> None:
        replicas, thousandths = sets[name]
        template = {
            "metadata": {"labels": {"set": name}},
            "spec": spec(share(cluster, thousandths), priorityClassName=name, **on("node-0")),
        }
        selector = {"matchLabels": {"set": name}}
        wanted = {"replicas": replicas, "selector": selector, "template": template}
        made = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "namespace": "default"}}
        cluster.create(REPLICA_SETS, {**made, "spec": wanted})

    def ready() -> dict[str, int]:
        found = {each["metadata"]["name"]: each["status"] for each in cluster.list(REPLICA_SETS, "default")}
        return {name: status.get("readyReplicas", 0) for name, status in found.items()}

    for name in ("p1", "p2", "p3"):
        create(name)
    cluster.run_until(lambda: ready() == {"p1": 5, "p2": 4, "p3": 4})
    create("p4")
    cluster.run_until(lambda: ready()["p4"] == 1)
    cluster.advance(60)  # and so it stays: those that made room are made anew and wait
    # 180 thousandths were missing: of the least important pods, of which each has 40
    assert ready() == {"p1": 0, "p2": 4, "p3": 4, "p4": 1}
    assert Counter(each["status"]["phase"] for each in cluster.list(PODS, "default")) == {"Running": 9, "Pending": 5}


def test_a_priority_keeps_its_value_and_nothing_else(sampan_virtual: VirtualCluster) -> None:
    """SchedulerPreemption [Serial] PriorityClass endpoints verify PriorityClass endpoints can be operated with
    different HTTP methods"""
    cluster = sampan_virtual
    for name, value in (("p1", 1), ("p2", 2)):
        cluster.create(PRIORITY_CLASSES, priority(name, value))
    assert {"p1", "p2"} <= {each["metadata"]["name"] for each in cluster.list(PRIORITY_CLASSES)}
    with pytest.raises(Invalid):
        cluster.patch(PRIORITY_CLASSES, "p1", {"value": 10})
    found = cluster.get(PRIORITY_CLASSES, "p1", None)
    with pytest.raises(Invalid):
        cluster.run(cluster.client.update(PRIORITY_CLASSES, {**found, "value": 10}))
    patched = cluster.patch(PRIORITY_CLASSES, "p1", {"description": "patched"})
    updated = cluster.run(cluster.client.update(PRIORITY_CLASSES, {**patched, "description": "updated"}))
    assert (updated["description"], updated["value"]) == ("updated", 1)
