"""The scheduler against the API server in one process."""

import pytest

from sampan.api.resources import PODS, PRIORITY_CLASSES

pytestmark = pytest.mark.timeout(120)


async def test_a_pod_is_bound_and_an_event_says_where(running):
    async with running() as cluster:
        await cluster.add_node("n1")
        await cluster.add_pod("a")
        pod = await cluster.scheduled("a")
        event = await cluster.event("a", "Scheduled")
    assert pod["spec"]["nodeName"] == "n1"
    assert event["message"] == "Successfully assigned default/a to n1"
    assert event["source"]["component"] == "default-scheduler"


async def test_a_pod_that_fits_nowhere_is_told_why_and_scheduled_once_a_node_comes(running):
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


async def test_without_nodes_the_pod_waits_for_the_first(running):
    async with running() as cluster:
        await cluster.add_pod("a")
        condition = await cluster.unschedulable("a")
        await cluster.add_node("n1")
        await cluster.scheduled("a")
    assert condition["message"] == "no nodes available to schedule pods"


async def test_deleting_a_pod_makes_room(running):
    async with running() as cluster:
        await cluster.add_node("n1", cpu="1")
        await cluster.add_pod("a", cpu="1")
        await cluster.scheduled("a")
        await cluster.add_pod("b", cpu="1")
        await cluster.unschedulable("b")
        await cluster.client.delete(PODS, "a", "default", grace_period_seconds=0)
        await cluster.scheduled("b")


async def test_a_gated_pod_waits_until_its_gates_are_gone(running):
    async with running() as cluster:
        await cluster.add_node("n1")
        await cluster.add_pod("a", schedulingGates=[{"name": "example.com/wait"}])
        await cluster.add_pod("b")
        await cluster.scheduled("b")
        assert cluster.condition("a")["reason"] == "SchedulingGated"
        await cluster.client.patch(PODS, "a", {"spec": {"schedulingGates": None}}, "default")
        await cluster.scheduled("a")


async def test_pods_of_another_scheduler_are_left_alone(running):
    async with running() as cluster:
        await cluster.add_node("n1")
        await cluster.add_pod("a", schedulerName="mine")
        await cluster.add_pod("b")
        await cluster.scheduled("b")
        assert not cluster.pods.get("default", "a")["spec"].get("nodeName")


async def test_many_pods_never_overfill_a_node(running):
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


async def test_a_pod_of_higher_priority_takes_the_room_of_another(running):
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
