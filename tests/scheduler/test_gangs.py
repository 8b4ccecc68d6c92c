"""Gangs (PodGroup, KEP-4671): all that are needed of a group's pods are bound, or none."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from sampan.api.resources import POD_GROUPS, PODS
from sampan.api.resources import PRIORITY_CLASSES as PRIORITY
from sampan.client import tasks
from sampan.scheduler.binding import Bindings
from sampan.scheduler.cache import Cluster
from sampan.scheduler.changes import Changes
from sampan.scheduler.extending.settings import ExtenderConfig
from sampan.scheduler.framework import Verdicts
from sampan.scheduler.outcomes import Outcomes
from sampan.scheduler.profile import Profile
from sampan.scheduler.queue import SchedulingQueue

SERVER = {"runtime_config": "scheduling.k8s.io/v1beta1=true", "feature_gates": "GenericWorkload=true"}


def group_body(name="g", least=2, **spec):
    return {
        "apiVersion": "scheduling.k8s.io/v1beta1",
        "kind": "PodGroup",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"schedulingPolicy": {"gang": {"minCount": least}} if least else {"basic": {}}, **spec},
    }


class Gangs:
    """A running cluster, and what is asked of its groups."""

    def __init__(self, cluster):
        self.client, self.pods, self.scheduler = cluster.client, cluster.pods, cluster.scheduler
        self.add_node, self.add_pod = cluster.add_node, cluster.add_pod
        self.scheduled, self.unschedulable = cluster.scheduled, cluster.unschedulable

    async def add_group(self, name="g", least=2, **spec):
        await self.client.create(POD_GROUPS, group_body(name, least, **spec))

    async def add_class(self, name, **fields):
        await self.client.create(PRIORITY, {"metadata": {"name": name}, "value": 1000, **fields})

    async def add_member(self, name, cpu="1", group="g", **spec):
        await self.add_pod(name, cpu, schedulingGroup={"podGroupName": group}, **spec)

    def node_of(self, name):
        return (self.pods.get("default", name) or {}).get("spec", {}).get("nodeName", "")

    def placed(self, *names):
        return {name for name in names if self.node_of(name)}

    async def all_placed(self, *names):
        await self.pods.wait_until(lambda: self.placed(*names) == set(names))

    async def group_condition(self, wanted, name="g"):
        while True:
            found = await self.client.get(POD_GROUPS, name, "default")
            for condition in found.get("status", {}).get("conditions", ()):
                if condition["type"] == "PodGroupInitiallyScheduled" and condition["status"] == wanted:
                    return condition
            await asyncio.sleep(0)


@pytest.fixture
def gangs(running):
    @asynccontextmanager
    async def run(**config):
        async with running(server=SERVER, groups=True, **config) as cluster, asyncio.timeout(30):
            yield Gangs(cluster)
            cluster.scheduler.cluster.check_invariants()
            cluster.scheduler.queue.check_invariants()

    return run


async def test_a_gang_that_fits_is_bound_as_a_whole(gangs):
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="2")
        await cluster.add_node("b", cpu="2")
        await cluster.add_group(least=3)
        for number in range(3):
            await cluster.add_member(f"m{number}")
        await cluster.all_placed("m0", "m1", "m2")
        condition = await cluster.group_condition("True")
        assert condition["reason"] == "Scheduled"
        cluster.scheduler.cluster.check_invariants()


async def test_a_gang_that_fits_in_part_takes_nothing_from_others(gangs):
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="2")
        await cluster.add_group(least=3)
        for number in range(3):
            await cluster.add_member(f"m{number}")
        condition = await cluster.group_condition("False")
        assert (condition["reason"], condition["message"]) == (
            "Unschedulable",
            "minCount (3) cannot be satisfied: 2 scheduled, 0 remaining",
        )
        told = await cluster.unschedulable("m2")
        assert told["message"].startswith("0/1 nodes are available: 1 Insufficient cpu.")
        assert (await cluster.unschedulable("m0"))["message"] == condition["message"]
        assert not cluster.placed("m0", "m1", "m2")
        await cluster.add_pod("alone", cpu="2")
        await cluster.scheduled("alone")


async def test_a_node_that_comes_lets_the_whole_gang_go(gangs):
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="1")
        await cluster.add_group(least=2)
        await cluster.add_member("m0")
        await cluster.add_member("m1")
        await cluster.group_condition("False")
        await cluster.add_node("b", cpu="1")
        await cluster.all_placed("m0", "m1")
        await cluster.group_condition("True")


async def test_pods_wait_for_their_group_and_for_enough_of_them(gangs):
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="4")
        await cluster.add_member("m0")
        await cluster.add_pod("alone")
        await cluster.scheduled("alone")
        assert not cluster.placed("m0")
        await cluster.add_group(least=2)
        await cluster.add_pod("after")
        await cluster.scheduled("after")
        assert not cluster.placed("m0")
        await cluster.add_member("m1")
        await cluster.all_placed("m0", "m1")


async def test_more_pods_than_a_gang_needs_are_bound_as_there_is_room(gangs):
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="3")
        await cluster.add_group(least=2)
        for number in range(4):
            await cluster.add_member(f"m{number}")
        await cluster.pods.wait_until(lambda: len(cluster.placed("m0", "m1", "m2", "m3")) == 3)
        (left,) = {"m0", "m1", "m2", "m3"} - cluster.placed("m0", "m1", "m2", "m3")
        await cluster.unschedulable(left)
        await cluster.add_node("b", cpu="1")
        await cluster.scheduled(left)


async def test_a_group_without_a_gang_policy_is_placed_pod_by_pod(gangs):
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="1")
        await cluster.add_group(least=0)
        await cluster.add_member("m0")
        await cluster.scheduled("m0")
        await cluster.add_member("m1")
        await cluster.unschedulable("m1")
        assert cluster.placed("m0", "m1") == {"m0"}


async def test_a_gang_makes_room_by_preemption_for_all_or_for_nobody(gangs):
    async with gangs() as cluster:
        for name in ("a", "b"):
            await cluster.add_node(name, cpu="1")
        for name in ("low-a", "low-b"):
            await cluster.add_pod(name, cpu="1", terminationGracePeriodSeconds=0)
        await cluster.all_placed("low-a", "low-b")
        await cluster.add_class("high")
        high = {"priorityClassName": "high"}
        await cluster.add_group("big", 3, **high)
        for number in range(3):
            await cluster.add_member(f"big{number}", group="big", **high)
        await cluster.group_condition("False", "big")
        assert cluster.placed("low-a", "low-b") == {"low-a", "low-b"}
        assert not cluster.scheduler.cluster.nominated
        await cluster.add_group("fits", 2, **high)
        for number in range(2):
            await cluster.add_member(f"fits{number}", group="fits", **high)
        await cluster.all_placed("fits0", "fits1")
        assert cluster.pods.get("default", "low-a") is None
        assert cluster.pods.get("default", "low-b") is None


async def test_a_gang_that_never_preempts_waits(gangs):
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="1")
        await cluster.add_pod("low", cpu="1")
        await cluster.scheduled("low")
        await cluster.add_class("patient", preemptionPolicy="Never")
        await cluster.add_group(least=1, priorityClassName="patient")
        await cluster.add_member("m0", priorityClassName="patient")
        await cluster.unschedulable("m0")
        assert cluster.placed("low") == {"low"}


async def test_pods_of_another_priority_than_their_group_are_refused_with_it(gangs):
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="4")
        await cluster.add_class("high")
        await cluster.add_group(least=2)
        await cluster.add_member("m0")
        await cluster.add_member("m1", priorityClassName="high")
        said = await cluster.unschedulable("m0")
        assert said["message"] == (
            "all pods in a single pod group should have the same priority as the pod group's priority, got 1000 and 0"
        )
        assert not cluster.placed("m0", "m1")


async def test_a_member_that_goes_while_its_gang_waits_is_not_waited_for(gangs):
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="2")
        await cluster.add_group(least=2)
        await cluster.add_member("big", cpu="2")
        await cluster.add_member("m0")
        await cluster.group_condition("False")
        await cluster.client.delete(PODS, "big", "default")
        await cluster.add_member("m1")
        await cluster.all_placed("m0", "m1")


async def test_a_gang_whose_minimum_falls_goes(gangs):
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="2")
        await cluster.add_group(least=3)
        await cluster.add_member("m0")
        await cluster.add_member("m1")
        await cluster.add_pod("alone", cpu="100m")
        await cluster.client.patch(
            POD_GROUPS, "g", {"spec": {"schedulingPolicy": {"gang": {"minCount": 1}}}}, "default"
        )
        await cluster.pods.wait_until(lambda: bool(cluster.placed("m0", "m1")))


async def test_a_gang_larger_than_the_places_for_bindings_is_bound(gangs):
    async with gangs(max_bindings=2) as cluster:
        await cluster.add_node("a", cpu="64")
        await cluster.add_group(least=20)
        names = [f"m{number}" for number in range(20)]
        for name in names:
            await cluster.add_member(name)
        await cluster.all_placed(*names)


async def test_a_pod_that_goes_makes_way_for_others_of_its_gang(gangs):
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="2")
        await cluster.add_group(least=2)
        await cluster.add_member("big", cpu="2")
        await cluster.add_member("m0")
        await cluster.group_condition("False")
        await cluster.add_member("m1")
        await cluster.unschedulable("m1")
        await cluster.client.delete(PODS, "big", "default")
        await cluster.all_placed("m0", "m1")


async def test_no_node_is_kept_for_a_gang_that_cannot_have_what_it_needs_any_more(gangs):
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="1")
        await cluster.add_node("b", cpu="1")
        on_b = {"nodeSelector": {"kubernetes.io/hostname": "b"}}
        await cluster.add_pod("low", cpu="1", terminationGracePeriodSeconds=600, **on_b)
        await cluster.scheduled("low")
        await cluster.add_class("high")
        high = {"priorityClassName": "high"}
        await cluster.add_group(least=2, **high)
        await cluster.add_member("m0", **high)
        await cluster.add_member("m1", **high)
        pods = cluster.pods

        def promised():
            return {
                (pods.get("default", name) or {}).get("status", {}).get("nominatedNodeName") for name in ("m0", "m1")
            }

        await pods.wait_until(lambda: promised() == {"a", "b"})
        await cluster.client.delete(PODS, "m1", "default")
        await pods.wait_until(lambda: promised() == {None})
        assert not cluster.scheduler.cluster.nominated
        await cluster.add_pod("alone", cpu="1", **high)
        assert (await cluster.scheduled("alone"))["spec"]["nodeName"] == "a"


async def test_pods_whose_group_is_deleted_keep_no_node_from_others(gangs):
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="1")
        await cluster.add_pod("low", cpu="1", terminationGracePeriodSeconds=600)
        await cluster.scheduled("low")
        await cluster.add_class("high")
        high = {"priorityClassName": "high"}
        await cluster.add_group(least=1, **high)
        await cluster.add_member("m0", **high)
        nominated = cluster.scheduler.cluster.nominated
        await cluster.pods.wait_until(lambda: bool(nominated))
        await cluster.client.delete(POD_GROUPS, "g", "default")
        await cluster.client.delete(PODS, "low", "default", grace_period_seconds=0)
        await cluster.add_pod("alone", cpu="1")
        assert (await cluster.scheduled("alone"))["spec"]["nodeName"] == "a"
        assert not nominated
        assert not cluster.placed("m0")


async def test_a_gang_is_told_what_it_lacks_though_the_table_of_verdicts_was_renewed(gangs, monkeypatch):
    monkeypatch.setattr(Verdicts, "LIMIT", 1)
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="1")
        await cluster.add_node("b", unschedulable=True)
        await cluster.add_node("c", taints=[{"key": "k", "effect": "NoSchedule"}])
        await cluster.add_class("patient", preemptionPolicy="Never")
        patient = {"priorityClassName": "patient"}
        await cluster.add_member("m0", cpu="2", **patient)
        await cluster.add_member("m1", cpu="1", **patient)
        await cluster.add_member("m2", nodeSelector={"z": "y"}, tolerations=[{"operator": "Exists"}], **patient)
        await cluster.add_pod("before", cpu="8", **patient)
        await cluster.unschedulable("before")
        await cluster.add_group(least=2, **patient)
        told = await cluster.unschedulable("m0")
        assert "Insufficient cpu" in told["message"]
        await cluster.add_pod("alone", cpu="1")
        await cluster.scheduled("alone")


async def test_no_pod_of_a_gang_goes_where_an_extender_would_have_to_be_asked_about_another(gangs):
    url = "http://127.0.0.1:9/nobody"
    asked = ExtenderConfig(url, filter_verb="filter", managed_resources=frozenset(("example.com/gpu",)))
    async with gangs(extenders=(asked,)) as cluster:
        await cluster.add_node("a", cpu="4")
        await cluster.add_group(least=2)
        await cluster.add_member("leader")
        resources = {"limits": {"example.com/gpu": "1"}}
        await cluster.add_member("worker", containers=[{"name": "c", "image": "busybox", "resources": resources}])
        told = await cluster.group_condition("False")
        assert told["message"] == "pods of a gang are not scheduled where an extender is to be asked about them"
        assert (await cluster.unschedulable("leader"))["message"] == told["message"]


async def test_a_change_of_a_pod_that_is_tried_with_its_gang_is_not_lost(pod):
    cluster, queue = Cluster(), SchedulingQueue(lambda pod, enqueued: enqueued)
    changes = Changes(
        cluster, queue, Bindings(1, 1.0), {"default-scheduler": Profile("default-scheduler", (), ())}, print
    )
    before = pod("m0", labels={"app": "a"})
    changes.pod_changed("ADDED", before.obj, None)
    item = queue.pop_nowait()
    cluster.assume(before, "a")
    after = pod("m0", labels={"app": "b"})
    changes.pod_changed("MODIFIED", after.obj, before.obj)
    assert item.again and item.pod.labels == {"app": "b"}
    going = pod("m0", labels={"app": "b"})
    going.obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    changes.pod_changed("MODIFIED", going.obj, after.obj)
    assert queue.find("uid-m0") is None and cluster.is_assumed("uid-m0")


async def test_others_have_their_turn_while_the_pods_of_a_large_gang_are_told(gangs, monkeypatch):
    told, in_a_row = [0], Outcomes.wait

    def wait(self, *arguments):
        told[-1] += 1
        in_a_row(self, *arguments)

    async def others():
        while True:
            told.append(0)
            await asyncio.sleep(0)

    monkeypatch.setattr(Outcomes, "wait", wait)
    async with gangs() as cluster:
        await cluster.add_node("a", cpu="1")
        for number in range(40):
            await cluster.add_member(f"m{number}")
        turns = tasks.detach(others(), "others")
        await cluster.add_group(least=40)
        await cluster.pods.wait_until(lambda: sum(told) >= 40)
        await tasks.cancel_and_wait(turns)
    assert max(told) <= 16
