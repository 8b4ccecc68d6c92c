"""Plug-ins that wait, refuse or raise: what they do to their pod, and that they do nothing to any other."""

import asyncio
import logging

import pytest

from sampan.api.resources import PODS
from sampan.scheduler.config import ProfileConfig
from sampan.scheduler.framework import SUCCESS, Code, Event, Status
from sampan.scheduler.plugins.defaultbinder import DefaultBinder

pytestmark = pytest.mark.timeout(120)


def profile(plugin):
    def build(client, config):
        plugin.client = client
        return plugin

    return (ProfileConfig(extra={plugin.name: build}),)


class Gang:
    """Lets pods whose name starts with ``gang`` go when all of them have a node."""

    name = "Gang"

    def __init__(self, size):
        self.size, self.waiting = size, set()
        self.complete, self.changed = asyncio.Event(), asyncio.Condition()

    async def permit(self, pod, node):
        if pod.name.startswith("gang"):
            self.waiting.add(pod.name)
            async with self.changed:
                self.changed.notify_all()
            if len(self.waiting) == self.size:
                self.complete.set()
            try:
                await self.complete.wait()
            finally:
                self.waiting.discard(pod.name)
        return SUCCESS

    async def until(self, number):
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.waiting) == number)


async def test_a_gang_larger_than_the_places_for_bindings_is_bound_and_others_go_by_meanwhile(running):
    gang = Gang(6)
    async with running(profiles=profile(gang), max_bindings=2) as cluster:
        await cluster.add_node("a")
        for number in range(5):
            await cluster.add_pod(f"gang-{number}")
        await cluster.pods.wait_until(lambda: len(cluster.pods.list()) == 5)
        await gang.until(5)
        await cluster.add_pod("single")
        await cluster.scheduled("single")
        await cluster.add_pod("gang-5")
        for number in range(6):
            await cluster.scheduled(f"gang-{number}")


async def test_a_pod_whose_permit_does_not_come_in_time_is_told_so_and_its_room_is_given_to_another(running):
    async with running(profiles=profile(Gang(2)), permit_seconds=0.05) as cluster:
        await cluster.add_node("a", cpu="1")
        await cluster.add_pod("gang-0", cpu="800m")
        condition = await cluster.unschedulable("gang-0")
        assert condition["reason"] == "Unschedulable"
        assert condition["message"] == (
            "pod gang-0 rejected: rejected due to timeout after waiting 0.05s at plugin Gang"
        )
        await cluster.add_pod("single", cpu="800m")
        await cluster.scheduled("single")


async def test_a_pod_that_is_deleted_while_it_waits_for_its_permit_frees_its_room_at_once(running):
    gang = Gang(2)
    async with running(profiles=profile(gang)) as cluster:
        await cluster.add_node("a", cpu="1")
        await cluster.add_pod("gang-0", cpu="800m")
        await gang.until(1)
        await cluster.client.delete(PODS, "gang-0", "default")
        await cluster.add_pod("single", cpu="800m")
        await cluster.scheduled("single")
        assert not gang.waiting


async def test_a_waiting_pod_makes_room_for_a_more_important_one_and_is_not_deleted(running):
    gang = Gang(2)
    async with running(profiles=profile(gang)) as cluster:
        await cluster.add_node("a", cpu="1")
        await cluster.add_pod("gang-0", cpu="800m")
        await gang.until(1)
        await cluster.add_pod("first", cpu="800m", priorityClassName="system-cluster-critical")
        await cluster.scheduled("first")
        condition = await cluster.unschedulable("gang-0")
        assert "gang-0" in {pod["metadata"]["name"] for pod in cluster.pods.list()}
        assert condition["reason"] == "Unschedulable"


class Raising:
    """Raises at one extension point on pods named ``bad``."""

    name = "Raising"
    local = False
    normalized = False
    wakes = frozenset((Event.NODE_ADD,))

    def __init__(self, point):
        self.point = point

    def __getattr__(self, name):
        raise AttributeError(name)

    def blow(self, point, pod):
        if self.point == point and pod.name == "bad":
            raise KeyError("a plug-in's own words")


class AtFilter(Raising):
    def pre_filter(self, state, pod, cluster):
        self.blow("pre_filter", pod)
        return SUCCESS

    def filter(self, state, pod, cluster, at):
        self.blow("filter", pod)


class AtScore(Raising):
    def pre_score(self, state, pod, cluster):
        self.blow("pre_score", pod)
        return True

    def score(self, state, pod, cluster, at):
        self.blow("score", pod)
        return cluster.nodes.nonzero[0][at] * 0.0

    def normalize(self, state, scores):
        return scores


class AtReserve(Raising):
    def reserve(self, pod, node):
        self.blow("reserve", pod)
        return SUCCESS

    def unreserve(self, pod, node):
        self.blow("unreserve", pod)
        self.blow("reserve", pod)


class AtPermit(Raising):
    async def permit(self, pod, node):
        self.blow("permit", pod)
        return SUCCESS


class AtPreBind(Raising):
    async def pre_bind(self, pod, node):
        self.blow("pre_bind", pod)
        return SUCCESS


class AtBind(Raising):
    """In place of DefaultBinder."""

    name = "DefaultBinder"

    async def bind(self, pod, node):
        self.blow("bind", pod)
        return await DefaultBinder(self.client).bind(pod, node)


class AtPreEnqueue(Raising):
    def pre_enqueue(self, pod):
        self.blow("pre_enqueue", pod)
        return SUCCESS


class AtUnreserve(AtReserve):
    """Refuses after it reserved, and raises when it has to give back."""

    def reserve(self, pod, node):
        return Status(Code.UNSCHEDULABLE, ("no",)) if pod.name == "bad" else SUCCESS


RAISING = [
    AtFilter("pre_filter"), AtFilter("filter"), AtScore("pre_score"), AtScore("score"), AtReserve("reserve"),
    AtPermit("permit"), AtPreBind("pre_bind"), AtBind("bind"), AtPreEnqueue("pre_enqueue"),
]  # fmt: skip


@pytest.mark.parametrize("plugin", RAISING, ids=lambda plugin: plugin.point)
async def test_a_plugin_that_raises_costs_that_pod_alone(running, plugin, caplog):
    caplog.set_level(logging.CRITICAL, "sampan.scheduler")
    async with running(profiles=profile(plugin)) as cluster:
        await cluster.add_node("a")
        await cluster.add_node("b")  # scores are asked for only where there is a choice
        await cluster.add_pod("bad")
        condition = await cluster.unschedulable("bad")
        assert condition["reason"] == "SchedulerError"
        assert condition["message"].removeprefix("binding rejected: ") == "an internal error; the log has it"
        await cluster.event("bad", "FailedScheduling")
        await cluster.add_pod("good")
        await cluster.scheduled("good")


async def test_a_plugin_that_raises_in_giving_back_costs_nobody_else(running, caplog):
    caplog.set_level(logging.CRITICAL, "sampan.scheduler")
    async with running(profiles=profile(AtUnreserve("unreserve"))) as cluster:
        await cluster.add_node("a")
        await cluster.add_pod("bad")
        assert (await cluster.unschedulable("bad"))["message"] == "no"
        await cluster.add_pod("good")
        await cluster.scheduled("good")


class AtPostFilter:
    """In place of DefaultPreemption."""

    name = "DefaultPreemption"

    def post_filter(self, pod, profile, cluster, budgets, random):
        raise KeyError("a plug-in's own words")


async def test_a_post_filter_that_raises_costs_that_pod_alone(running, caplog):
    caplog.set_level(logging.CRITICAL, "sampan.scheduler")
    async with running(profiles=profile(AtPostFilter())) as cluster:
        await cluster.add_node("a")
        await cluster.add_pod("bad", cpu="99")
        assert (await cluster.unschedulable("bad"))["reason"] == "SchedulerError"
        await cluster.add_pod("good")
        await cluster.scheduled("good")


class AtPostBind:
    name = "AtPostBind"

    def post_bind(self, pod, node):
        raise KeyError("a plug-in's own words")


async def test_a_post_bind_that_raises_ends_nothing(running, caplog):
    caplog.set_level(logging.CRITICAL, "sampan.scheduler")
    async with running(profiles=profile(AtPostBind())) as cluster:
        await cluster.add_node("a")
        for name in ("one", "two"):
            await cluster.add_pod(name)
            await cluster.scheduled(name)


class Unsorted:
    name = "PrioritySort"

    def sort_key(self, pod, enqueued):
        if pod.name == "bad":
            raise KeyError("a plug-in's own words")
        return enqueued


async def test_a_pod_that_cannot_be_put_in_order_comes_last_and_comes(running, caplog):
    caplog.set_level(logging.CRITICAL, "sampan.scheduler")
    async with running(profiles=profile(Unsorted())) as cluster:
        for name in ("bad", "good"):
            await cluster.add_pod(name)
        await cluster.add_node("a")
        for name in ("bad", "good"):
            await cluster.scheduled(name)
