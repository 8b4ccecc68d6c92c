"""A search for victims over many nodes gives others their turns, and what happens meanwhile counts."""

import random

import pytest

from sampan.api.clock import SystemClock
from sampan.client.client import Client
from sampan.scheduler.config import SchedulerConfig
from sampan.scheduler.plugins.defaultpreemption import Budgets, Preemption
from sampan.scheduler.preempting import preempt
from sampan.scheduler.queue import Place
from sampan.scheduler.scheduler import Scheduler

NODES = 120


class NoTransport:
    def cache_view(self, resource):
        return None


def fill(cluster, node, pod, count=NODES):
    for number in range(count):
        cluster.put_node(node(f"n{number}", cpu="1"))
        cluster.put_pod(pod(f"low{number}", node=f"n{number}", cpu="1", priority=number))


def to_its_first_pause(coroutine):
    assert coroutine.send(None) is None
    return coroutine


def finish(coroutine):
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value


def planning(world, asked):
    return preempt(asked, world.profile, world.cluster, [], world.random)


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([{"containerPort": 80, "hostPort": 80}], 3),  # two verdicts a node, a pause after fifty where more is to come
        ([], 1),  # only room matters: that is reckoned
    ],
    ids=["verdicts", "room"],
)
def test_a_search_stops_between_nodes_and_puts_all_back(world, node, pod, ports, expected):
    fill(world.cluster, node, pod)
    search = world.profile.post_filter.search(
        pod("high", cpu="1", priority=1000, ports=ports), world.profile, world.cluster, Budgets([]), world.random
    )
    pauses = 0
    for _ in search:
        pauses += 1
        world.cluster.check_invariants()
    assert pauses == expected  # of 100 candidates


def test_whom_it_chose_is_looked_at_once_more(world, node, pod):
    fill(world.cluster, node, pod, 60)
    asked = pod("high", cpu="1", priority=1000)
    plan = to_its_first_pause(planning(world, asked))
    world.cluster.drop_node("n0")  # the best: nobody is less important than its pod
    world.cluster.drop_pod("uid-low1")
    world.cluster.put_pod(pod("kept", node="n1", cpu="1", priority=2000))
    outcome = finish(plan)
    assert outcome.paused and not outcome.outdated
    assert (outcome.found.node, [victim.name for victim in outcome.found.victims]) == ("n2", ["low2"])


def test_where_all_of_it_changed_the_pod_is_to_be_tried_again(world, node, pod):
    fill(world.cluster, node, pod, 60)
    plan = to_its_first_pause(planning(world, pod("high", cpu="1", priority=1000)))
    for number in range(60):
        world.cluster.drop_pod(f"uid-low{number}")
        world.cluster.put_pod(pod(f"kept{number}", node=f"n{number}", cpu="1", priority=2000))
    outcome = finish(plan)
    assert outcome.outdated and not outcome.found.node


class Says:
    def __init__(self, name, found):
        self.name, self.found, self.asked = name, found, 0

    def post_filter(self, pod, profile, cluster, budgets, random):
        self.asked += 1
        return self.found


def test_post_filters_are_asked_until_one_finds_something(new_world, node, pod):
    first, second, third = Says("A", Preemption(message="a")), Says("B", Preemption("n0")), Says("C", None)
    world = new_world(
        disabled=frozenset(("DefaultPreemption",)),
        extra={each.name: lambda client, config, each=each: each for each in (first, second, third)},
    )
    fill(world.cluster, node, pod, 1)
    asked = pod("high", cpu="1")
    assert finish(planning(world, asked)).found.node == "n0"
    assert (first.asked, second.asked, third.asked) == (1, 1, 0)
    second.found = Preemption(message="b", keep=True)
    assert finish(planning(world, asked)).found == Preemption(message="a, b", keep=True)
    assert third.asked == 1


class Quiet(Scheduler):
    """Starts no tasks: what it would write is not the question."""

    def _spawn(self, work, name):
        work.close()


def tried(node, pod):
    """A scheduler, and its attempt on a pod, in the middle of its search for victims."""
    scheduler = Quiet(Client(NoTransport()), SystemClock(), random.Random(1), SchedulerConfig())
    fill(scheduler.cluster, node, pod)
    scheduler.queue.add(pod("high", cpu="1", priority=1000))
    item = scheduler.queue.pop_nowait()
    return scheduler, item, to_its_first_pause(scheduler._attempt(item))


def test_nobody_has_to_go_where_room_was_made_meanwhile(virtual, node, pod):
    async def scenario():
        scheduler, _, attempt = tried(node, pod)
        scheduler._changes.pod_gone("uid-low7", pod("low7", node="n7", cpu="1").obj)
        assert finish(attempt)
        assert scheduler.cluster.node_of("uid-high") == "n7" and not len(scheduler.queue)
        assert scheduler.attempts.latest("default", "high").result == "scheduled"

    virtual(scenario())


def test_a_change_during_an_attempt_is_not_lost(virtual, node, pod):
    """A node comes that the pod could be given after a preemption, when all candidates are chosen already."""

    async def scenario():
        scheduler, item, attempt = tried(node, pod)
        scheduler._changes.node_changed("ADDED", node("late", cpu="1"), None)
        scheduler.cluster.put_pod(pod("other", node="late", cpu="1", priority=2000))
        assert not finish(attempt)
        assert item.place is Place.BACKOFF
        scheduler.queue.check_invariants()
        scheduler.queue.close()

    virtual(scenario())


def test_without_a_change_it_waits(virtual, node, pod):
    async def scenario():
        scheduler, item, attempt = tried(node, pod)
        assert not finish(attempt)
        assert item.place is Place.UNSCHEDULABLE
        assert scheduler.cluster.nominated["uid-high"][1]
        scheduler.queue.check_invariants()
        scheduler.queue.close()

    virtual(scenario())


def test_a_pod_that_changes_or_goes_meanwhile_gets_no_victims(virtual, node, pod):
    async def scenario():
        scheduler, item, attempt = tried(node, pod)
        changed = pod("high", cpu="1", priority=1000, labels={"new": "1"})
        scheduler._changes.pod_changed("MODIFIED", changed.obj, item.pod.obj)
        assert not finish(attempt)
        assert item.place is Place.ACTIVE and not scheduler.cluster.nominated and not scheduler.attempts
        scheduler.queue.check_invariants()
        scheduler, item, attempt = tried(node, pod)
        scheduler._changes.pod_gone("uid-high", item.pod.obj)
        assert not finish(attempt)
        assert not len(scheduler.queue) and not scheduler.cluster.nominated and not scheduler.attempts
        scheduler.queue.close()

    virtual(scenario())


def test_a_pod_whose_gates_go_keeps_the_node_that_its_status_names(virtual, node, pod):
    async def scenario():
        scheduler = Quiet(Client(NoTransport()), SystemClock(), random.Random(1), SchedulerConfig())
        fill(scheduler.cluster, node, pod, 1)
        promised = {"nominatedNodeName": "n0"}
        gated = pod("p", status=promised, schedulingGates=[{"name": "wait"}]).obj
        scheduler._changes.pod_changed("ADDED", gated, None)
        scheduler._changes.pod_changed("MODIFIED", {**gated, "status": {**promised, "phase": "Pending"}}, gated)
        assert not scheduler.cluster.nominated
        scheduler._changes.pod_changed("MODIFIED", pod("p", status=promised).obj, gated)
        assert scheduler.cluster.nominated["uid-p"][1] == "n0"
        scheduler.queue.close()

    virtual(scenario())


@pytest.mark.parametrize("goes", ["pod", "group"])
def test_who_goes_while_its_gang_is_tried_is_promised_nothing_again(virtual, node, pod, goes):
    async def scenario():
        scheduler = Quiet(Client(NoTransport()), SystemClock(), random.Random(1), SchedulerConfig(groups=True))
        fill(scheduler.cluster, node, pod)
        ports = [{"containerPort": 80, "hostPort": 80}]  # not only room: the search has pauses
        group = {"metadata": {"name": "g", "namespace": "default"}}
        group["spec"] = {"schedulingPolicy": {"gang": {"minCount": 1}}, "priority": 1000}
        scheduler._changes.pod_group_changed("ADDED", group, None)
        named = {"schedulingGroup": {"podGroupName": "g"}}
        member = pod("m", cpu="1", priority=1000, ports=ports, status={"nominatedNodeName": "n3"}, **named)
        scheduler._changes.pod_changed("ADDED", member.obj, None)
        assert scheduler.cluster.nominated["uid-m"][1] == "n3"
        attempt = to_its_first_pause(scheduler._attempt(scheduler.queue.pop_nowait()))
        if goes == "pod":
            scheduler._changes.pod_changed("DELETED", member.obj, member.obj)
        else:
            scheduler._changes.pod_group_changed("DELETED", group, group)
        assert not finish(attempt)
        assert not scheduler.cluster.nominated
        scheduler.queue.check_invariants()
        scheduler.queue.close()

    virtual(scenario())


@pytest.mark.parametrize("goes", ["gone", "gated"])
def test_who_waits_for_a_node_that_was_promised_is_tried_when_nobody_is_promised_it_any_more(virtual, node, pod, goes):
    async def scenario():
        scheduler = Quiet(Client(NoTransport()), SystemClock(), random.Random(1), SchedulerConfig())
        scheduler.cluster.put_node(node("n0", cpu="1"))
        promised = pod("promised", cpu="1", priority=1000, status={"nominatedNodeName": "n0"}).obj
        scheduler._changes.pod_changed("ADDED", promised, None)
        assert scheduler.queue.take(scheduler.queue.find("uid-promised"))  # it is tried for as long as this lasts
        scheduler.queue.add(pod("low", cpu="1"))
        item = scheduler.queue.pop_nowait()
        assert not await scheduler._attempt(item)
        assert item.place is Place.UNSCHEDULABLE
        if goes == "gone":
            scheduler._changes.pod_changed("DELETED", promised, promised)
        else:
            gates = [{"name": "wait"}]
            gated = pod("promised", cpu="1", priority=1000, status=promised["status"], schedulingGates=gates).obj
            scheduler._changes.pod_changed("MODIFIED", gated, promised)
        assert item.place is Place.BACKOFF
        assert await scheduler._attempt(scheduler.queue.pop_nowait())
        assert scheduler.cluster.node_of("uid-low") == "n0"
        scheduler.queue.close()

    virtual(scenario())
