"""What the scheduler keeps and does is bounded, and a change costs what it concerns."""

import asyncio
import random

import pytest

from sampan.api import labels
from sampan.api.selectorindex import SelectorIndex
from sampan.scheduler import podinfo
from sampan.scheduler.changes import Changes
from sampan.scheduler.framework import SUCCESS, Event, Verdicts
from sampan.scheduler.podcounts import Interest
from sampan.scheduler.queue import SchedulingQueue

IMAGE = {"names": ["app:1"], "sizeBytes": 500 * 1024 * 1024}


class RaisesLater:
    """A filter that is content until it was asked so many times about one node."""

    name = "RaisesLater"
    local = False
    wakes = frozenset()

    def __init__(self):
        self.left = None

    def pre_filter(self, state, pod, cluster):
        return SUCCESS

    def filter(self, state, pod, cluster, at):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyError("a plug-in's own words")


@pytest.mark.parametrize("asked", range(2))
def test_a_step_of_a_dry_run_is_taken_back_when_a_plugin_raises(new_world, asked):
    plugin = RaisesLater()
    world = new_world(extra={plugin.name: lambda client, config: plugin})
    world.node("a", cpu="1")
    world.pod("low", "a", cpu="400m")
    world.pod("lower", "a", cpu="400m", priority=-1)
    before = world.cluster.nodes.requested.copy()
    plugin.left = 1 + asked  # the first look is at all nodes
    with pytest.raises(KeyError):
        world.preempt(cpu="500m", priority=10)
    assert (world.cluster.nodes.requested == before).all()
    world.cluster.check_invariants()


def test_a_table_of_verdicts_that_is_full_is_replaced_and_decisions_stay_right(world, monkeypatch):
    monkeypatch.setattr(Verdicts, "LIMIT", 8)
    for number in range(40):
        world.node(f"n{number}", taints=[{"key": f"k{number}", "effect": "NoSchedule"}])
        assert world.decide(f"p{number}").message == (
            f"0/{number + 1} nodes are available: {number + 1} node(s) had untolerated taint(s)."
        )
    world.node("free")
    assert world.decide("p").node == "free"
    world.node("free2")
    assert len(world.cluster.verdicts._all) <= 50


def test_a_second_world_has_verdicts_of_its_own(new_world):
    one, other = new_world(), new_world()
    one.node("a", cordoned=True)
    assert "unschedulable" in one.why()
    assert len(other.cluster.verdicts._all) == 1


def test_a_resource_that_no_node_knows_makes_no_array_grow(world):
    world.node("a")
    rows = len(world.cluster.nodes.resources)
    for number in range(5):
        assert f"Insufficient example.com/r{number}" in world.why(requests={f"example.com/r{number}": "1"})
    assert len(world.cluster.nodes.resources) == rows


def test_shapes_are_remembered_up_to_a_size(pod):
    large = pod("p", requests={f"example.com/{number:0300}": "1" for number in range(20)})
    assert large.requests["pods"] == 1
    assert all(len(key) <= 4096 for key in podinfo._shapes)


def test_the_report_of_an_image_leaves_classes_that_do_not_run_it_as_they_are(world, pod, node):
    world.node("a")
    world.node("b")
    with_it, without = pod("p", image="app:1"), pod("q", image="other:1")
    first = [world.profile.class_of(info, world.cluster) for info in (with_it, without)]
    world.cluster.put_node(node("b", images=[IMAGE]))
    second = [world.profile.class_of(info, world.cluster) for info in (with_it, without)]
    assert second[1] is first[1]
    assert second[0] is not first[0]
    assert world.decide(image="app:1").node == "b"
    world.cluster.put_node(node("b"))
    assert world.profile.class_of(with_it, world.cluster) is not second[0]


def counted(world, interest):
    vector = world.cluster.counts.of(interest)
    return {name: int(vector[slot]) for name, slot in world.cluster.nodes.slot_of.items() if vector[slot]}


def test_counts_follow_pods_that_come_and_go(world):
    world.node("a")
    everywhere = Interest(None, labels.parse("app in (x,y)"))
    here = Interest(frozenset(("default",)), labels.parse("app=x,tier!=back"))
    some = Interest(frozenset(("default", "other")), labels.parse("app"))
    assert not any(counted(world, interest) for interest in (everywhere, here, some))
    world.pod("1", "a", labels={"app": "x"})
    world.pod("2", "a", labels={"app": "y"}, namespace="other")
    world.pod("3", "a", labels={"app": "x", "tier": "back"}, namespace="third")
    assert [counted(world, i) for i in (everywhere, here, some)] == [{"a": 3}, {"a": 1}, {"a": 2}]
    world.cluster.drop_pod("uid-1")
    assert [counted(world, i) for i in (everywhere, here, some)] == [{"a": 2}, {}, {"a": 1}]


def test_a_pod_meets_only_the_interests_that_match_it(world, pod):
    asked = []
    world.node("a")
    for number in range(300):
        selector = labels.parse(f"app=x{number}")
        interest = Interest(frozenset(("default",)), selector)
        world.cluster.counts.of(interest)
        plain = selector.matches
        object.__setattr__(selector, "matches", lambda found, plain=plain: asked.append(1) or plain(found))
    world.pod("p", "a", labels={"app": "x7"})
    assert len(asked) == 1


@pytest.mark.parametrize("seed", range(20))
def test_an_index_finds_what_asking_every_selector_finds(seed):
    rng = random.Random(seed)
    texts = ["a=1", "a in (1,2)", "a notin (1)", "b", "!b", "a=1,b=2", "a=2,b in (1,2,3)", "", "a in (1,1)"]
    index, plain = SelectorIndex(), {}
    for number in range(60):
        key = rng.randrange(12)
        if rng.random() < 0.25:
            index.drop(key)
            plain.pop(key, None)
        else:
            selector = labels.parse(rng.choice(texts))
            namespaces = rng.choice([None, ("x",), ("x", "y"), ("y",), ()])
            index.put(key, namespaces, selector)
            plain[key] = namespaces, selector
        namespace = rng.choice("xyz")
        own = {key: str(rng.randrange(4)) for key in "ab" if rng.random() < 0.7}
        found = list(index.matching(namespace, own))
        wanted = {k for k, (where, s) in plain.items() if (where is None or namespace in where) and s.matches(own)}
        assert set(found) == wanted, number
        assert len(found) == len(wanted)


def test_a_change_asks_once_a_template_however_many_pods_wait(virtual, world, pod):
    async def scenario():
        world.node("a", cpu="1")
        queue = SchedulingQueue(lambda info, enqueued: enqueued)
        asked = []

        class Profile:
            scheduler_name = "default-scheduler"
            plugins = ()

            def may_help(self, info, *rest):
                asked.append(info.name)
                return info.name.startswith("b")

        class Bindings:
            def reject(self, uid, why):
                pass

        changes = Changes(world.cluster, queue, Bindings(), {"default-scheduler": Profile()}, None)
        for name in [f"a{n}" for n in range(50)] + [f"b{n}" for n in range(50)]:
            queue.add(pod(name, cpu="2", labels={"app": name[0]}))
        while (item := queue.pop_nowait()) is not None:
            key = world.profile.hint_key(item.pod, frozenset(("NodeResourcesFit", "InterPodAffinity")))
            queue.failed(item, frozenset(("NodeResourcesFit", "InterPodAffinity")), group=key)
        changes.wake(Event.NODE_UPDATE, 0)
        assert len(asked) == 2
        assert sum(len(group) for group in queue.unschedulable()) == 50
        queue.check_invariants()
        for number in range(50):
            queue.remove(f"uid-a{number}")
        assert queue.unschedulable() == []
        queue.close()

    virtual(scenario())


def test_a_pod_with_a_damaged_wish_for_company_counts_where_it_is_and_finds_no_node_itself(world):
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchExpressions": [{"operator": "Near"}]}}
    damaged = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term, 3]}}
    world.node("a", cpu="1")
    world.pod("odd", "a", cpu="800m", affinity=damaged)
    world.cluster.check_invariants()
    assert '"Near" is not a valid label selector operator' in world.why(affinity=damaged)
    assert "Insufficient cpu" in world.why(cpu="800m")


async def test_handlers_of_a_scheduler_that_ended_are_gone(running):
    from sampan.api.clock import SystemClock
    from sampan.client import tasks
    from sampan.client.informer import InformerFactory
    from sampan.scheduler.scheduler import run_scheduler

    async with running() as cluster:
        factory = InformerFactory(cluster.client)
        work = tasks.detach(factory.run(), "informers")
        for _ in range(2):
            started = asyncio.Event()
            scheduler = tasks.detach(
                run_scheduler(
                    cluster.client, clock=SystemClock(), random=random.Random(1), started=started, informers=factory
                ),
                "scheduler",
            )
            await started.wait()
            await tasks.cancel_and_wait(scheduler)
        assert not any(informer._handlers for informer in factory._informers.values())
        await tasks.cancel_and_wait(work)
