"""What the scheduler is for, on simulated nodes and through stock kubectl: priority, preemption, budgets, gates,
gangs, spreading over zones, packing.

One cluster of ``sampan up --simulate``. Each subject has nodes of its own, with a label; a test leaves them empty.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from client_harness import PROGRAMS, Program, Served, eventually
from up_harness import Sampan, nobodys, own_ports

#: ``wide`` has the most room by far, so that whoever looks at room alone goes there
SHAPES = """
nodes:
- {name: full, count: 2, labels: {use: preemption}, capacity: {cpu: 2, memory: 4Gi}}
- {name: zone-a, count: 2, labels: {use: spreading, topology.kubernetes.io/zone: a}}
- {name: zone-b, count: 1, labels: {use: spreading, topology.kubernetes.io/zone: b}}
- {name: zone-c, count: 1, labels: {use: spreading, topology.kubernetes.io/zone: c}}
- {name: small-x, labels: {use: defaults, topology.kubernetes.io/zone: x}, capacity: {cpu: 4, memory: 8Gi}}
- {name: small-y, labels: {use: defaults, topology.kubernetes.io/zone: y}, capacity: {cpu: 4, memory: 8Gi}}
- {name: wide-z, labels: {use: defaults, topology.kubernetes.io/zone: z}, capacity: {cpu: 64, memory: 128Gi}}
- {name: gang, count: 2, labels: {use: gangs}, capacity: {cpu: 2, memory: 4Gi}}
- {name: pack, count: 4, labels: {use: packing}, capacity: {cpu: 4, memory: 8Gi}}
"""
NODES = 15
CONFIGURATION = Path(__file__).parents[2] / "examples" / "scheduler-packing" / "config.yaml"
#: a profile that spreads nothing by itself, to see what the defaults do
UNSPREAD = {
    "schedulerName": "unspread",
    "pluginConfig": [{"name": "PodTopologySpread", "args": {"defaultingType": "List", "defaultConstraints": []}}],
}
PRIORITIES = (10, 20, 50, 60, 100)


@pytest.fixture(scope="module")
def sampan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sampan]:
    with nobodys(tmp_path_factory.mktemp("scheduling")) as made:
        configuration = yaml.safe_load(CONFIGURATION.read_text())
        configuration["profiles"].append(UNSPREAD)
        shapes, scheduler = made.home / "nodes.yaml", made.home / "scheduler.yaml"
        shapes.write_text(SHAPES)
        scheduler.write_text(json.dumps(configuration))
        gangs = ("--feature-gates", "GenericWorkload=true", "--runtime-config", "scheduling.k8s.io/v1beta1=true")
        made(
            "up", "--name", "sim", "--simulate", str(shapes), "--scheduler-config", str(scheduler), *gangs, *own_ports()
        )
        yield made


@pytest.fixture(scope="module")
def classes(sampan: Sampan) -> Program:
    """kubectl, and the classes p10, p20 ... of those priorities; pods of ``patientN`` wait instead of preempting."""
    kubectl = Program(PROGRAMS / "kubectl-1.37", Served(sampan.kubeconfig, sampan.home))
    names = [(f"p{value}", value, "PreemptLowerPriority") for value in PRIORITIES]
    names += [(f"patient{value}", value, "Never") for value in PRIORITIES]
    made = [
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
         "preemptionPolicy": policy}
        for name, value, policy in names
    ]  # fmt: skip
    create(kubectl, *made)
    return kubectl


@pytest.fixture
def kubectl(classes: Program) -> Iterator[Program]:
    yield classes
    if "pod/cheap" in classes("get", "pods", "-o", "name"):  # with a finalizer, if its test did not come to its end
        classes("patch", "pod", "cheap", "-p", '{"metadata": {"finalizers": null}}')
    classes("delete", "deployments,replicasets,pods,pdb", "--all", "--cascade=foreground", "--timeout=100s")


def create(kubectl: Program, *objects: Any) -> None:
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def spec(use: str, cpu: str = "", **more: Any) -> dict[str, Any]:
    """Of a pod for the nodes of a subject."""
    container = {"name": "c", "image": "any"} | ({"resources": {"requests": {"cpu": cpu}}} if cpu else {})
    return {"nodeSelector": {"use": use}, "containers": [container], **more}


def pod(name: str, pod_spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": pod_spec}


def on(node: str, cpu: str, priority: str) -> dict[str, Any]:
    """Of a pod that fits one node."""
    found = spec("preemption", cpu, priorityClassName=priority)
    found["nodeSelector"]["kubernetes.io/hostname"] = node
    return found


def deployment(name: str, replicas: int, pod_spec: dict[str, Any], kind: str = "Deployment") -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod_spec}
    body = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": body}


def running(kubectl: Program, *names: str) -> None:
    kubectl("wait", "--for=condition=Ready", "--timeout=100s", *(f"pod/{name}" for name in names))


def node_of(kubectl: Program, name: str) -> str:
    return kubectl("get", "pod", name, "-o", "jsonpath={.spec.nodeName}")


def nodes_of(kubectl: Program, app: str) -> Counter[str]:
    """How many pods of an application each node has; "": those that have none."""
    items = kubectl.json("get", "pods", "-l", f"app={app}")["items"]
    return Counter(item["spec"].get("nodeName", "") for item in items)


def zones_of(kubectl: Program, app: str) -> Counter[str]:
    """By zone: ``zone-a-1`` is in a; "" as above."""
    found: Counter[str] = Counter()
    for node, count in nodes_of(kubectl, app).items():
        found[node.partition("-")[2][:1]] += count
    return found


def events(kubectl: Program, name: str, reason: str) -> list[str]:
    of = f"--field-selector=involvedObject.name={name},reason={reason}"
    return [event["message"] for event in kubectl.json("get", "events", of)["items"]]


def waits(kubectl: Program, name: str) -> str:
    """Why it is not scheduled, as its condition has it."""
    conditions = eventually(lambda: kubectl.json("get", "pod", name)["status"].get("conditions"))
    (found,) = (each for each in conditions if each["type"] == "PodScheduled")
    assert found["status"] == "False", found
    return f"{found['reason']}: {found.get('message', '')}"


@contextmanager
def watching(kubectl: Program, path: str) -> Iterator[Any]:
    """``kubectl get pods --watch``: yields what gives the lines that it wrote so far, one a change."""
    log = kubectl.served.home / "watched"
    with log.open("w") as written:
        command = [kubectl.path, "get", "pods", "--watch", "-o", f"jsonpath={path}"]
        process = subprocess.Popen(command, stdout=written, env=kubectl.served.environment)
    try:
        yield lambda: log.read_text().splitlines()
    finally:
        process.kill()
        process.wait()


def test_of_pods_that_wait_the_one_of_the_highest_priority_is_tried_first(kubectl: Program, sampan: Sampan) -> None:
    """A scheduler that starts finds all three in its queue; there is room for one."""
    profile = {"schedulerName": "late"}
    config = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    file = sampan.home / "late.yaml"
    file.write_text(json.dumps({**config, "profiles": [profile]}))
    order = ("p20", "p60", "p100")
    for name in order:
        create(kubectl, pod(name, on("full-0", "2", f"patient{name[1:]}") | {"schedulerName": "late"}))
    with sampan.started("scheduler", "--config", str(file), "--kubeconfig", str(sampan.kubeconfig),
                        "--leader-elect=false", "--secure-port", "0"):  # fmt: skip
        for place, name in enumerate(order[::-1]):
            running(kubectl, name)
            assert [node_of(kubectl, other) for other in order[::-1][place + 1 :]] == [""] * (2 - place)
            kubectl("delete", "pod", name, "--now")


def test_a_preemptor_evicts_the_cheapest_pods_and_no_more_than_it_must(kubectl: Program) -> None:
    """[sig-scheduling] SchedulerPreemption [Serial] validates basic preemption works [Conformance];
    SchedulerPreemption [Serial] validates pod disruption condition is added to the preempted pod [Conformance]"""
    create(
        kubectl,
        pod("cheap", on("full-0", "1", "p10"), finalizers=["example.com/hold"]),
        pod("dearer", on("full-0", "1", "p20")),
        pod("dearest", on("full-1", "2", "p50")),
    )
    running(kubectl, "cheap", "dearer", "dearest")
    line = "{.metadata.name} {.status.nominatedNodeName}/{.spec.nodeName}{'\\n'}"
    with watching(kubectl, line) as lines:
        eventually(lambda: len(lines()) >= 3)
        create(kubectl, pod("urgent", spec("preemption", "1", priorityClassName="p100")))
        running(kubectl, "urgent")
        seen = [found.partition(" ")[2] for found in eventually(lines) if found.startswith("urgent ")]
    assert node_of(kubectl, "urgent") == "full-0"
    assert "full-0/" in seen, seen
    assert kubectl("get", "pod", "urgent", "-o", "jsonpath={.status.nominatedNodeName}") == ""

    victim = kubectl.json("get", "pod", "cheap")
    assert victim["metadata"]["deletionTimestamp"]
    (told,) = (each for each in victim["status"]["conditions"] if each["type"] == "DisruptionTarget")
    assert (told["status"], told["reason"]) == ("True", "PreemptionByScheduler")
    assert told["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
    uid = kubectl("get", "pod", "urgent", "-o", "jsonpath={.metadata.uid}")
    told = eventually(lambda: events(kubectl, "cheap", "Preempted"))
    assert told == [f"Preempted by pod {uid} on node full-0"]
    others = f"{NODES - 2} node(s) didn't match Pod's node affinity/selector"
    full = f"0/{NODES} nodes are available: {others}, 2 Insufficient cpu."
    eventually(lambda: full in events(kubectl, "urgent", "FailedScheduling"))
    kubectl("patch", "pod", "cheap", "--type=json", "-p", '[{"op": "remove", "path": "/metadata/finalizers"}]')
    running(kubectl, "dearer", "dearest")
    assert all(events(kubectl, name, "Preempted") == [] for name in ("dearer", "dearest"))


def test_whoever_is_critical_to_the_cluster_takes_the_room_of_others(kubectl: Program) -> None:
    """[sig-scheduling] SchedulerPreemption [Serial] validates lower priority pod preemption by critical pod
    [Conformance]"""
    create(kubectl, pod("cheap", on("full-0", "2", "p10")), pod("dearer", on("full-1", "2", "p100")))
    running(kubectl, "cheap", "dearer")
    create(kubectl, pod("critical", spec("preemption", "2", priorityClassName="system-cluster-critical")))
    running(kubectl, "critical", "dearer")
    assert node_of(kubectl, "critical") == "full-0"
    assert "NotFound" in kubectl.fails("get", "pod", "cheap")


def test_replica_sets_of_lower_priority_make_room_and_wait(kubectl: Program) -> None:
    """[sig-scheduling] SchedulerPreemption [Serial] PreemptionExecutionPath runs ReplicaSets to verify preemption
    running path [Conformance]"""
    low = [deployment(f"rs-{p}", 1, on("full-0", cpu, p), "ReplicaSet") for p, cpu in (("p10", "1"), ("p20", "500m"))]
    create(kubectl, *low, deployment("rs-p50", 1, on("full-0", "500m", "p50"), "ReplicaSet"))
    apps = ("rs-p10", "rs-p20", "rs-p50")
    eventually(lambda: all(nodes_of(kubectl, app) == {"full-0": 1} for app in apps))
    create(kubectl, deployment("rs-p100", 1, on("full-0", "1500m", "p100"), "ReplicaSet"))
    eventually(lambda: nodes_of(kubectl, "rs-p100") == {"full-0": 1})
    eventually(lambda: all(nodes_of(kubectl, app) == {"": 1} for app in apps[:2]))
    assert nodes_of(kubectl, "rs-p50") == {"full-0": 1}


def test_a_budget_is_respected_while_others_can_go_and_broken_where_nothing_else_helps(kubectl: Program) -> None:
    create(
        kubectl,
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "all"},
         "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}}},
        pod("guarded", on("full-0", "2", "p10"), labels={"app": "guarded"}),
        pod("free", on("full-1", "2", "p50")),
    )  # fmt: skip
    running(kubectl, "guarded", "free")
    eventually(lambda: kubectl.json("get", "pdb", "all")["status"].get("currentHealthy") == 1)
    assert "disruption budget" in kubectl.fails("drain", "full-0", "--force", "--timeout=1s")
    kubectl("uncordon", "full-0")

    create(kubectl, pod("first", spec("preemption", "2", priorityClassName="p100")))
    running(kubectl, "first", "guarded")
    assert node_of(kubectl, "first") == "full-1"
    assert len(eventually(lambda: events(kubectl, "free", "Preempted"))) == 1

    create(kubectl, pod("second", spec("preemption", "2", priorityClassName="p60")))
    running(kubectl, "second", "first")
    assert node_of(kubectl, "second") == "full-0"
    assert len(eventually(lambda: events(kubectl, "guarded", "Preempted"))) == 1


def test_a_pod_is_not_tried_before_its_last_gate_is_gone(kubectl: Program) -> None:
    gates = [{"name": "example.com/licence"}, {"name": "example.com/quota"}]
    create(kubectl, pod("gated", spec("packing", schedulingGates=gates)))
    reason = "SchedulingGated: Scheduling is blocked due to non-empty scheduling gates"
    assert waits(kubectl, "gated") == reason
    assert "SchedulingGated" in kubectl("get", "pod", "gated")
    said = kubectl.fails("patch", "pod", "gated", "--type=json", "-p", json.dumps(
        [{"op": "add", "path": "/spec/schedulingGates/-", "value": {"name": "example.com/more"}}]))  # fmt: skip
    assert "only deletion is allowed, but found new scheduling gate 'example.com/more'" in said
    remove = ("patch", "pod", "gated", "--type=json", "-p")
    kubectl(*remove, '[{"op": "remove", "path": "/spec/schedulingGates/0"}]')
    create(kubectl, pod("later", spec("packing")))
    running(kubectl, "later")
    assert waits(kubectl, "gated") == reason
    kubectl(*remove, '[{"op": "remove", "path": "/spec/schedulingGates"}]')
    running(kubectl, "gated")
    assert events(kubectl, "gated", "FailedScheduling") == []


def test_a_gang_is_placed_as_a_whole_or_waits_as_a_whole(kubectl: Program) -> None:
    """Two nodes of two cores: five pods of a core are one too many, four fit, and one alone waits for the others."""
    names = [f"rank-{number}" for number in range(5)]
    create(
        kubectl,
        {"apiVersion": "scheduling.k8s.io/v1beta1", "kind": "PodGroup", "metadata": {"name": "ranks"},
         "spec": {"schedulingPolicy": {"gang": {"minCount": 5}}}},
    )  # fmt: skip
    member = spec("gangs", "1", schedulingGroup={"podGroupName": "ranks"})
    create(kubectl, *(pod(name, member) for name in names))
    said = "minCount (5) cannot be satisfied: 4 scheduled, 0 remaining"
    state = ('-o=jsonpath={range .status.conditions[?(@.type=="PodGroupInitiallyScheduled")]}'
             "{.status} {.reason}: {.message}{end}")  # fmt: skip
    eventually(lambda: kubectl("get", "podgroup", "ranks", state) == f"False Unschedulable: {said}")
    assert [node_of(kubectl, name) for name in names] == [""] * 5
    kubectl("patch", "podgroup", "ranks", "--type=merge", "-p",
            '{"spec": {"schedulingPolicy": {"gang": {"minCount": 4}}}}')  # fmt: skip
    eventually(lambda: sum(bool(node_of(kubectl, name)) for name in names) == 4)
    eventually(lambda: kubectl("get", "podgroup", "ranks", state).startswith("True Scheduled"))
    kubectl("delete", "podgroup", "ranks")


def test_zones_differ_by_no_more_than_the_skew_and_a_pod_waits_rather_than_break_it(kubectl: Program) -> None:
    constraint = {
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }  # fmt: skip
    create(kubectl, deployment("web", 6, spec("spreading", topologySpreadConstraints=[constraint])))
    kubectl("rollout", "status", "deployment/web", "--timeout=100s")
    assert zones_of(kubectl, "web") == {"a": 2, "b": 2, "c": 2}

    kubectl("cordon", "zone-c-0")
    try:
        kubectl("scale", "deployment/web", "--replicas=9")
        eventually(lambda: zones_of(kubectl, "web") == {"a": 3, "b": 3, "c": 2, "": 1})
        (waiting,) = kubectl("get", "pods", "--field-selector=spec.nodeName=", "-o", "name").split()
        said = eventually(lambda: waits(kubectl, waiting.removeprefix("pod/")))
        assert "3 node(s) didn't match pod topology spread constraints" in said
        assert "1 node(s) were unschedulable" in said
    finally:
        kubectl("uncordon", "zone-c-0")
    eventually(lambda: zones_of(kubectl, "web") == {"a": 3, "b": 3, "c": 3})


def test_a_deployment_that_says_nothing_is_spread_over_zones(kubectl: Program) -> None:
    create(
        kubectl,
        deployment("spread", 0, spec("defaults", "100m")),
        deployment("heap", 0, spec("defaults", "100m", schedulerName="unspread")),
    )
    eventually(lambda: len(kubectl("get", "replicasets", "-o", "name").split()) == 2)
    for name in ("spread", "heap"):
        kubectl("scale", f"deployment/{name}", "--replicas=6")
        kubectl("rollout", "status", f"deployment/{name}", "--timeout=100s")
    assert zones_of(kubectl, "spread") == {"x": 2, "y": 2, "z": 2}
    assert nodes_of(kubectl, "heap") == {"wide-z-0": 6}


@pytest.mark.parametrize(
    ("scheduler", "nodes"), [("default-scheduler", 4), ("most-allocated", 2), ("requested-to-capacity", 2)]
)
def test_packing_fills_the_fewest_nodes_where_the_default_takes_all(
    kubectl: Program, scheduler: str, nodes: int
) -> None:
    """Eight pods of a core each, nodes of four cores; ``examples/scheduler-packing`` has the profiles."""
    create(kubectl, deployment("batch", 8, spec("packing", "1", schedulerName=scheduler)))
    kubectl("rollout", "status", "deployment/batch", "--timeout=100s")
    assert len(nodes_of(kubectl, "batch")) == nodes
