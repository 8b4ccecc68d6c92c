"""One attempt of the shell, without a server."""

import random

import pytest

from sampan.api.clock import SystemClock
from sampan.client.client import Client
from sampan.scheduler import binding
from sampan.scheduler.config import SchedulerConfig
from sampan.scheduler.framework import Code, Status
from sampan.scheduler.profile import Profile
from sampan.scheduler.scheduler import Scheduler


class NoTransport:
    def cache_view(self, resource):
        return None


def test_a_pod_that_goes_while_it_waits_for_its_turn_is_not_decided_on(virtual, pod):
    async def scenario():
        scheduler = Scheduler(Client(NoTransport()), SystemClock(), random.Random(1), SchedulerConfig())
        scheduler.queue.add(pod("a"))
        item = scheduler.queue.pop_nowait()
        scheduler._changes.pod_gone("uid-a", item.pod.obj)
        assert not await scheduler._attempt(item)
        assert not scheduler.attempts
        assert not scheduler.queue
        scheduler.queue.close()

    virtual(scenario())


class Reserves:
    def __init__(self, name, outcome, held):
        self.name, self.outcome, self.held = name, outcome, held

    def reserve(self, pod, node):
        self.held.append(self.name)
        if self.outcome is None:
            raise RuntimeError("a bug")
        return self.outcome

    def unreserve(self, pod, node):
        self.held.remove(self.name)


@pytest.mark.parametrize("outcome", [None, Status(Code.UNSCHEDULABLE, ("no",))])
def test_what_plugins_reserved_is_given_back_when_one_refuses_or_raises(pod, outcome):
    held = []
    plugins = [Reserves("first", Status(), held), Reserves("second", outcome, held), Reserves("third", Status(), held)]
    profile = Profile("x", [], [], plugins)
    if outcome is None:
        with pytest.raises(RuntimeError):
            binding.reserve(profile, pod(), "a")
    else:
        assert binding.reserve(profile, pod(), "a") == Status(Code.UNSCHEDULABLE, ("no",), "second")
    assert not held
