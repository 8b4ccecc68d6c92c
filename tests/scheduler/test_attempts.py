"""One attempt of the shell, without a server."""

import asyncio
import random

import pytest

from sampan.api.clock import SystemClock
from sampan.client.client import Client
from sampan.scheduler.config import SchedulerConfig
from sampan.scheduler.framework import Status
from sampan.scheduler.scheduler import Scheduler


class NoTransport:
    def cache_view(self, resource):
        return None


def test_a_pod_that_goes_while_it_waits_for_its_turn_is_not_decided_on(virtual, pod):
    async def scenario():
        scheduler = Scheduler(Client(NoTransport()), SystemClock(), random.Random(1), SchedulerConfig())
        scheduler.queue.add(pod("a"))
        item = scheduler.queue.pop_nowait()
        scheduler._pod_gone("uid-a", item.pod.obj)
        assert not scheduler._attempt(item)
        assert not scheduler.decisions
        assert not scheduler.queue
        scheduler.queue.close()

    virtual(scenario())


class Breaks:
    """A plugin with a bug in one place."""

    name = "Breaks"

    def __init__(self, place):
        self.place = place
        self.reserved = []

    def post_filter(self, *arguments):
        raise RuntimeError("a bug")

    def reserve(self, pod, node):
        self.reserved.append(pod.uid)
        if self.place == "reserve":
            raise RuntimeError("a bug")
        return Status()

    def unreserve(self, pod, node):
        self.reserved.remove(pod.uid)


@pytest.mark.parametrize("place", ["reserve", "post_filter"])
def test_a_plugins_bug_costs_the_pod_its_turn_and_not_the_scheduler(virtual, pod, node, place, caplog):
    async def scenario():
        scheduler = Scheduler(Client(NoTransport()), SystemClock(), random.Random(1), SchedulerConfig())
        profile = scheduler.profiles["default-scheduler"]
        broken = Breaks(place)
        if place == "reserve":
            profile.plugins.append(broken)
        else:
            profile.post_filter = broken
        async with asyncio.TaskGroup() as group:
            scheduler._group = group
            scheduler._patch_status = told = []
            scheduler._spawn = lambda work, name: told.append(name)
            scheduler._patch_status = lambda pod, patch: None
            scheduler.cluster.put_node(node("n1", cpu="1"))
            scheduler.queue.add(pod("a", cpu="2" if place == "post_filter" else "1"))
            item = scheduler.queue.pop_nowait()
            assert not scheduler._attempt(item)
        assert told == [f"status of {item.pod.key}"]
        assert not scheduler.cluster.is_assumed(item.pod.uid) and not broken.reserved
        again = await scheduler.queue.pop()  # after its back-off, alone
        assert again is item and asyncio.get_running_loop().time() >= 1
        scheduler.queue.close()

    virtual(scenario())
    assert "scheduling default/a failed" in caplog.text
