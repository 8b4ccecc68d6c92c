"""One attempt of the shell, without a server."""

import random

from sampan.api.clock import SystemClock
from sampan.client.client import Client
from sampan.scheduler.config import SchedulerConfig
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
