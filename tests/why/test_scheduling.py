"""Pods without a node: the first cause is what keeps them off, and the fix, applied, gives them one."""

from __future__ import annotations

from typing import Any

from situations import Situation, pod, workload

from sampan.api.resources import NODES, PODS
from sampan.api.types import Obj

REQUIRED, HOSTNAME = "requiredDuringSchedulingIgnoredDuringExecution", "kubernetes.io/hostname"


def asks(**amounts: str) -> Obj:
    return {"resources": {"requests": amounts}}


def node_patch(situation: Situation, patch: Any) -> None:
    for node in situation.cluster.list(NODES):
        situation.cluster.patch(NODES, node["metadata"]["name"], patch)


def test_more_cpu_than_any_node_has(situation: Situation) -> None:
    situation.make(workload(container=asks(cpu="64")))
    situation.wait()
    cause = situation.first("deployment/web", "node-resources", "no node is that large: the largest has 4")
    situation.mended(cause, "deployment/web")


def test_cpu_that_other_pods_hold(situation: Situation) -> None:
    situation.make(
        *(pod(f"big-{number}", container=asks(cpu="3")) for number in range(3)), workload(container=asks(cpu="2"))
    )
    situation.wait()
    cause = situation.first("deployment/web", "node-resources", "asks for 2 cpu, and all 3 nodes have less free: 1 ")
    assert any("held on node-" in each and "default/big-" in each for each in cause.evidence)
    situation.mended(cause, "deployment/web")


def test_too_little_memory(situation: Situation) -> None:
    situation.make(pod(container=asks(memory="20Gi")))
    situation.wait()
    cause = situation.first("pod/p", "node-resources", "20Gi memory, and no node is that large: the largest has ")
    situation.mended(cause, "pod/p")


def test_a_device_that_no_node_has(situation: Situation) -> None:
    gpu = {"resources": {"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "1"}}}
    situation.make(workload(container=gpu))
    situation.wait()
    cause = situation.first("deployment/web", "node-resources", "no node has any example.com/gpu")
    situation.mended(cause, "deployment/web")


def test_pods_that_wait_for_the_same_are_told_once(situation: Situation) -> None:
    situation.make(workload(replicas=3, nodeSelector={"disk": "sdd"}))
    situation.wait()
    [cause] = situation.why("deployment/web").causes
    assert cause.rule == "node-selector" and cause.evidence[-1].startswith("so it is with pod/web-")


def test_a_taint(situation: Situation) -> None:
    node_patch(situation, {"spec": {"taints": [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]}})
    situation.make(pod())
    situation.wait()
    cause = situation.first("pod/p", "node-taint", "all 3 nodes have the taint dedicated=db:NoSchedule")
    situation.mended(cause, "pod/p")


def test_a_taint_of_a_deployment(situation: Situation) -> None:
    node_patch(situation, {"spec": {"taints": [{"key": "dedicated", "effect": "NoSchedule"}]}})
    situation.make(workload())
    situation.wait()
    situation.mended(situation.first("deployment/web", "node-taint"), "deployment/web")


def test_a_node_selector_that_is_a_slip(situation: Situation) -> None:
    situation.make(workload(nodeSelector={"disk": "sdd"}))
    situation.wait()
    cause = situation.first("deployment/web", "node-selector", "nodes with disk=sdd, and none has it")
    assert cause.fix is not None and "ssd" in cause.fix.text
    situation.mended(cause, "deployment/web")


def test_a_node_selector_of_a_label_that_no_node_has(situation: Situation) -> None:
    situation.make(pod(nodeSelector={"gpu": "yes"}))
    situation.wait()
    situation.mended(situation.first("pod/p", "node-selector", "gpu=yes"), "pod/p")


def test_impossible_node_affinity(situation: Situation) -> None:
    term = {"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["z"]}]}
    situation.make(workload(affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [term]}}}))
    situation.wait()
    cause = situation.first("deployment/web", "node-affinity", "topology.kubernetes.io/zone In z")
    situation.mended(cause, "deployment/web")


def test_pods_to_be_near_that_are_not_there(situation: Situation) -> None:
    term = {"labelSelector": {"matchLabels": {"app": "cache"}}, "topologyKey": HOSTNAME}
    situation.make(workload(affinity={"podAffinity": {REQUIRED: [term]}}))
    situation.wait()
    cause = situation.first("deployment/web", "node-pod-affinity", "near pods with app=cache, and there are none")
    situation.mended(cause, "deployment/web")


def test_more_replicas_than_nodes_under_anti_affinity(situation: Situation) -> None:
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": HOSTNAME}
    situation.make(workload(replicas=4, affinity={"podAntiAffinity": {REQUIRED: [term]}}))
    situation.wait()
    cause = situation.first("deployment/web", "node-anti-affinity", "all 3 nodes have such a pod")
    situation.mended(cause, "deployment/web")


def test_a_spread_that_no_node_keeps_even(situation: Situation) -> None:
    for number in (1, 2):
        situation.cluster.patch(NODES, f"node-{number}", {"spec": {"unschedulable": True}})
    spread = {
        "maxSkew": 1, "topologyKey": HOSTNAME, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }  # fmt: skip
    situation.make(workload(replicas=3, topologySpreadConstraints=[spread]))
    situation.wait()
    found = situation.why("deployment/web")
    assert {"node-cordoned", "node-spread"} <= {cause.rule for cause in found.causes}
    situation.mended(next(each for each in found.causes if each.rule == "node-spread"), "deployment/web")


def test_a_host_port_that_is_taken(situation: Situation) -> None:
    port = {"ports": [{"containerPort": 80, "hostPort": 8080}]}
    situation.make(*(pod(f"edge-{number}", container=port) for number in range(3)), workload(container=port))
    situation.wait()
    cause = situation.first(
        "deployment/web", "node-port", "port 8080/TCP is taken on all 3 nodes, as by pod default/edge-"
    )
    situation.mended(cause, "deployment/web")


def test_cordoned_nodes(situation: Situation) -> None:
    node_patch(situation, {"spec": {"unschedulable": True}})
    situation.make(pod())
    situation.wait()
    situation.mended(situation.first("pod/p", "node-cordoned", "all 3 nodes are cordoned"), "pod/p")


def test_a_scheduling_gate(situation: Situation) -> None:
    situation.make(pod(schedulingGates=[{"name": "example.com/approval"}]))
    situation.wait()
    situation.mended(situation.first("pod/p", "gate", "example.com/approval"), "pod/p")


def test_a_scheduler_that_is_not_there(situation: Situation) -> None:
    situation.make(workload(schedulerName="packer"))
    situation.wait()
    situation.mended(situation.first("deployment/web", "scheduler", "asks for the scheduler packer"), "deployment/web")


def test_a_claim_that_does_not_exist(situation: Situation) -> None:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    situation.make(pod(volumes=volumes))
    situation.wait()
    situation.mended(
        situation.first("pod/p", "claim-of-pod", "PersistentVolumeClaim data, which does not exist"), "pod/p"
    )


def test_a_node_that_does_not_exist(situation: Situation) -> None:
    situation.make(pod(nodeName="node-9"))
    situation.wait(5)
    situation.mended(situation.first("pod/p", "node-of-pod", "node node-9, which does not exist"), "pod/p")


def test_a_claim_that_one_pod_alone_may_use(situation: Situation) -> None:
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "1Gi"}}},
    }  # fmt: skip
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    situation.make(claim, pod("first", volumes=volumes))
    situation.wait()
    situation.make(pod("second", volumes=volumes))
    situation.wait()
    cause = situation.first("pod/second", "access-mode", "pod default/first has the claim data")
    situation.mended(cause, "pod/second")


def test_a_healthy_pod_is_told_with_what_was_looked_at(situation: Situation) -> None:
    situation.make(pod())
    situation.wait()
    found = situation.why("pod/p")
    assert found.healthy and found.state.text == "Pod default/p runs and is ready"
    assert "taints of nodes" in found.checked


def test_a_name_that_is_a_slip_is_told_with_what_is_near(situation: Situation) -> None:
    situation.make(pod("web-1"))
    found = situation.why("pod/wbe-1")
    assert not found.found and found.near == ("web-1",)
    assert situation.cluster.list(PODS, "default")
