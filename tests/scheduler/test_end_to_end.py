"""The scheduler against the API server in one process."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from sampan.api.clock import SystemClock
from sampan.api.resources import EVENTS, NODES, PODS, PRIORITY_CLASSES
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import Informer
from sampan.scheduler.decision import Decisions
from sampan.scheduler.scheduler import run_scheduler
from sampan.server.app import Server
from sampan.server.config import ServerConfig


def node_body(name, cpu="4", **spec):
    amounts = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": spec,
        "status": {"capacity": amounts, "allocatable": amounts},
    }


def pod_body(name, cpu="100m", **spec):
    container = {"name": "c", "image": "busybox", "resources": {"requests": {"cpu": cpu}}}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container], **spec},
    }


class Cluster:
    def __init__(self, client, pods, decisions):
        self.client, self.pods, self.decisions = client, pods, decisions

    async def add_node(self, name, cpu="4", **spec):
        """Without the taint that admission gives to new nodes, which the node lifecycle controller takes away."""
        node = await self.client.create(NODES, node_body(name, cpu, **spec))
        taints = [t for t in node["spec"].get("taints", ()) if t["key"] != "node.kubernetes.io/not-ready"]
        await self.client.patch(NODES, name, {"spec": {"taints": taints or None}})

    async def add_pod(self, name, cpu="100m", **spec):
        await self.client.create(PODS, pod_body(name, cpu, **spec))

    async def scheduled(self, name):
        await self.pods.wait_until(lambda: bool(self.pods.get("default", name)["spec"].get("nodeName")))
        return self.pods.get("default", name)

    def condition(self, name):
        conditions = (self.pods.get("default", name).get("status") or {}).get("conditions") or ()
        return next((c for c in conditions if c["type"] == "PodScheduled"), {})

    async def unschedulable(self, name):
        await self.pods.wait_until(lambda: bool(self.condition(name)))
        return self.condition(name)

    async def event(self, name, reason):
        while True:
            events = await self.client.list(EVENTS, "default", field_selector=f"involvedObject.name={name}")
            for event in events["items"]:
                if event["reason"] == reason:
                    return event
            await asyncio.sleep(0)


@asynccontextmanager
async def running():
    config = ServerConfig(
        port=0, bind_address="127.0.0.1", store="memory", openapi=False, disable_admission_plugins=("ServiceAccount",)
    )
    async with Server(config) as server:
        admin = Client(server.local_transport())
        client = Client(server.local_transport("system:kube-scheduler"))
        pods, decisions, started = Informer(admin, PODS), Decisions(), asyncio.Event()
        work = [
            tasks.detach(pods.run(), "pods"),
            tasks.detach(
                run_scheduler(
                    client, clock=SystemClock(), random=random.Random(1), started=started, decisions=decisions
                ),
                "scheduler",
            ),
        ]
        try:
            await started.wait()
            yield Cluster(admin, pods, decisions)
        finally:
            await tasks.cancel_and_wait(*work)


pytestmark = pytest.mark.timeout(120)


async def test_a_pod_is_bound_and_an_event_says_where():
    async with running() as cluster:
        await cluster.add_node("n1")
        await cluster.add_pod("a")
        pod = await cluster.scheduled("a")
        event = await cluster.event("a", "Scheduled")
    assert pod["spec"]["nodeName"] == "n1"
    assert event["message"] == "Successfully assigned default/a to n1"
    assert event["source"]["component"] == "default-scheduler"


async def test_a_pod_that_fits_nowhere_is_told_why_and_scheduled_once_a_node_comes():
    async with running() as cluster:
        await cluster.add_node("small", cpu="1")
        await cluster.add_pod("a", cpu="2")
        condition = await cluster.unschedulable("a")
        event = await cluster.event("a", "FailedScheduling")
        await cluster.add_node("large", cpu="4")
        pod = await cluster.scheduled("a")
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"].startswith("0/1 nodes are available: 1 Insufficient cpu.")
    assert event["message"] == condition["message"]
    assert pod["spec"]["nodeName"] == "large"


async def test_without_nodes_the_pod_waits_for_the_first():
    async with running() as cluster:
        await cluster.add_pod("a")
        condition = await cluster.unschedulable("a")
        await cluster.add_node("n1")
        await cluster.scheduled("a")
    assert condition["message"] == "no nodes available to schedule pods"


async def test_deleting_a_pod_makes_room():
    async with running() as cluster:
        await cluster.add_node("n1", cpu="1")
        await cluster.add_pod("a", cpu="1")
        await cluster.scheduled("a")
        await cluster.add_pod("b", cpu="1")
        await cluster.unschedulable("b")
        await cluster.client.delete(PODS, "a", "default", grace_period_seconds=0)
        await cluster.scheduled("b")


async def test_a_gated_pod_waits_until_its_gates_are_gone():
    async with running() as cluster:
        await cluster.add_node("n1")
        await cluster.add_pod("a", schedulingGates=[{"name": "example.com/wait"}])
        await cluster.add_pod("b")
        await cluster.scheduled("b")
        assert cluster.condition("a")["reason"] == "SchedulingGated"
        await cluster.client.patch(PODS, "a", {"spec": {"schedulingGates": None}}, "default")
        await cluster.scheduled("a")


async def test_pods_of_another_scheduler_are_left_alone():
    async with running() as cluster:
        await cluster.add_node("n1")
        await cluster.add_pod("a", schedulerName="mine")
        await cluster.add_pod("b")
        await cluster.scheduled("b")
        assert not cluster.pods.get("default", "a")["spec"].get("nodeName")


async def test_many_pods_never_overfill_a_node():
    async with running() as cluster:
        for number in range(3):
            await cluster.add_node(f"n{number}", cpu="1")
        for number in range(31):
            await cluster.add_pod(f"p{number}", cpu="100m")
        await cluster.pods.wait_until(
            lambda: (
                sum(bool(p["spec"].get("nodeName")) for p in cluster.pods.list()) == 30
                and any(cluster.condition(p["metadata"]["name"]).get("status") == "False" for p in cluster.pods.list())
            )
        )
        used = [p["spec"].get("nodeName") for p in cluster.pods.list()]
    assert all(used.count(f"n{number}") == 10 for number in range(3))


async def test_a_pod_of_higher_priority_takes_the_room_of_another():
    async with running() as cluster:
        await cluster.add_node("n1", cpu="1")
        await cluster.add_pod("low", cpu="1", terminationGracePeriodSeconds=0)
        await cluster.scheduled("low")
        high = {"kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1", "metadata": {"name": "high"}, "value": 9}
        await cluster.client.create(PRIORITY_CLASSES, high)
        await cluster.add_pod("high", cpu="1", priorityClassName="high")
        pod = await cluster.scheduled("high")
        event = await cluster.event("low", "Preempted")
        assert cluster.pods.get("default", "low") is None
    assert event["message"] == f"Preempted by pod {pod['metadata']['uid']} on node n1"
