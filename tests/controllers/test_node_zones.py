"""How fast pods of silent nodes are evicted, zone by zone, over hours of virtual time."""

from collections import Counter

import pytest

from sampan.api.resources import EVENTS, LEASES, NODES, PODS
from sampan.controllers.node.lifecycle import NodeLifecycleController
from sampan.controllers.node.lifecycle_plan import plan_labels, plan_taints
from sampan.controllers.node.zones import Rates, State, Zones, counts, state_of, zone_of
from sampan.metrics import Counter as MetricCounter
from sampan.metrics import current
from sampan.testing import virtual

RATES = Rates(0.1, 0.01, 50, 0.55)
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, ""),
        ({"topology.kubernetes.io/zone": "a"}, ":a"),
        ({"topology.kubernetes.io/region": "r"}, "r:"),
        ({"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "a"}, "r:a"),
        ({"failure-domain.beta.kubernetes.io/zone": "a"}, ":a"),
    ],
)
def test_a_zone_is_region_and_zone(labels, expected):
    assert zone_of({"metadata": {"labels": labels}}) == expected


@pytest.mark.parametrize(
    ("ready", "ill", "expected"),
    [
        (1, 0, State.NORMAL), (0, 1, State.FULL), (0, 9, State.FULL), (1, 2, State.NORMAL), (2, 3, State.PARTIAL),
        (3, 3, State.NORMAL), (45, 55, State.PARTIAL), (46, 54, State.NORMAL), (0, 0, State.NORMAL),
    ],
)  # fmt: skip
def test_the_state_of_a_zone(ready, ill, expected):
    assert state_of(ready, ill, 0.55) is expected


def zones(**sizes):
    """Of each zone so many (ready, ill) nodes, the ill ones waiting."""
    made = Zones(RATES)
    for zone, (ready, ill) in sizes.items():
        for number in range(ready + ill):
            made.note(f"{zone}{number}", zone, ready=number >= ill, counts=True)
    made.judge(0.0)
    for zone, (_, ill) in sizes.items():
        for number in range(ill):
            made.wait(f"{zone}{number}")
    return made


def turns(made, zone, until):
    """When the zone's nodes have their turns, on a clock of whole seconds."""
    found = []
    for now in range(until):
        while (name := made.head(zone)) and made.seconds_to_wait(zone, now) <= 0:
            found.append(now)
            made.took(zone, now)
            made.release(name)
    return found


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"a": (3, 3)}, [0, 10, 20]),
        ({"a": (2, 3)}, []),
        ({"a": (0, 3), "b": (1, 0)}, [0, 10, 20]),
        ({"a": (0, 3), "b": (0, 1)}, []),
        ({"a": (20, 31)}, [0, 100, 200]),
        ({"a": (20, 30)}, []),
    ],
    ids=["well", "small and ill in part", "ill as a whole", "every zone ill", "large and ill in part", "at the limit"],
)
def test_a_zone_s_nodes_are_evicted_at_the_rate_of_its_state(sizes, expected):
    made = zones(**sizes)
    assert turns(made, "a", 300)[:3] == expected
    assert made.stopped is all(not ready for ready, _ in sizes.values())


def test_a_zone_that_slows_down_or_begins_again_waits_a_whole_turn():
    made = zones(a=(30, 25))
    assert turns(made, "a", 5) == [0]
    for number in range(25, 35):
        made.note(f"a{number}", "a", ready=False, counts=True)
    assert not made.judge(5.0)
    assert made.seconds_to_wait("a", 5.0) == 100.0
    made.note("b0", "b", ready=False, counts=True)
    for number in range(55):
        made.note(f"a{number}", "a", ready=False, counts=True)
    assert made.judge(6.0)
    assert made.stopped and made.head("a") == ""
    made.note("a40", "a", ready=True, counts=True)
    assert made.judge(7.0)
    assert not made.stopped and made.head("b") == "" and made.seconds_to_wait("b", 7.0) == 10.0


def test_excluded_nodes_say_nothing_of_their_zone():
    assert not counts({"metadata": {"labels": {"node.kubernetes.io/exclude-disruption": ""}}})
    made = zones(a=(1, 1))
    for number in range(10, 20):
        made.note(f"a{number}", "a", ready=False, counts=False)
    made.judge(0.0)
    assert made.head("a") == "a0" and not made.stopped
    made.note("a1", "a", ready=False, counts=True)
    assert made.judge(0.0) and made.stopped


def test_a_node_that_moves_to_another_zone_waits_there_and_empty_zones_are_forgotten():
    made = zones(a=(0, 1), b=(1, 0))
    made.note("a0", "b", ready=False, counts=True)
    made.judge(0.0)
    assert made.head("b") == "a0" and made.names() == ["b"]
    made.forget("a0")
    made.forget("b0")
    assert made.names() == []


@pytest.mark.parametrize(
    ("ready", "present", "due", "expected", "waits"),
    [
        ("False", [], False, [], True),
        ("False", [], True, [NOT_READY], False),
        ("Unknown", [NOT_READY], False, [UNREACHABLE], False),
        ("False", [UNREACHABLE], False, [NOT_READY], False),
        ("Unknown", [UNREACHABLE], False, [UNREACHABLE], False),
        ("True", [UNREACHABLE], False, [], False),
        ("True", [NOT_READY], True, [], False),
    ],
)
def test_taints_of_eviction_come_in_turn_change_at_once_and_go_at_once(ready, present, due, expected, waits, now):
    taints = [{"key": key, "effect": "NoExecute"} for key in present]
    node = {"metadata": {}, "spec": {"taints": taints}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}
    planned = plan_taints(node, now, evict=True, due=due)
    assert [taint["key"] for taint in planned.wanted if taint["effect"] == "NoExecute"] == expected
    assert planned.waits is waits
    assert not [
        taint for taint in plan_taints(node, now, evict=False, due=True).wanted if taint["effect"] == "NoExecute"
    ]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (None, {}),
        ({"other": "x"}, {}),
        ({"kubernetes.io/os": "linux"}, {"beta.kubernetes.io/os": "linux"}),
        ({"kubernetes.io/arch": "arm64", "beta.kubernetes.io/arch": "amd64"}, {"beta.kubernetes.io/arch": "arm64"}),
        ({"kubernetes.io/os": "linux", "beta.kubernetes.io/os": "linux"}, {}),
        ({"beta.kubernetes.io/os": "linux"}, {}),
    ],
)
def test_former_labels_follow_today_s(labels, expected):
    assert plan_labels({"metadata": {"labels": labels}}) == expected


class World:
    """Nodes of two zones that renew their leases every ten seconds while they live."""

    def __init__(self, api, clock, **sizes):
        self.api, self.clock = api, clock
        self.alive = {f"{zone}{number}" for zone, size in sizes.items() for number in range(size)}
        for name in sorted(self.alive):
            labels = {"topology.kubernetes.io/zone": name[0], "kubernetes.io/os": "linux"}
            ready = [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]
            metadata = {"name": name, "uid": name, "labels": labels}
            api.add(NODES, {"metadata": metadata, "spec": {}, "status": {"conditions": ready}})
            lease = {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"renewTime": "0"}}
            api.add(LEASES, lease)

    async def live(self, seconds):
        for _ in range(seconds // 10):
            for name in sorted(self.alive):
                renewed = str(self.clock.monotonic())
                self.api.change(
                    LEASES, "kube-node-lease", name, lambda obj, renewed=renewed: obj["spec"].update(renewTime=renewed)
                )
            await self.clock.sleep(10)

    def come_back(self, name):
        """The node agent says that it is ready again."""
        ready = [{"type": "Ready", "status": "True", "lastHeartbeatTime": str(self.clock.now())}]
        self.api.change(NODES, "", name, lambda obj: obj.update(status={"conditions": ready}))
        self.alive.add(name)

    def evicted(self):
        """So many nodes of each zone."""
        found = Counter()
        for node in self.api.all(NODES):
            for taint in node["spec"].get("taints") or ():
                found[node["metadata"]["name"][0]] += taint["effect"] == "NoExecute"
        return dict(+found)

    def unschedulable(self):
        return sum(
            any(taint["effect"] == "NoSchedule" for taint in node["spec"].get("taints") or ())
            for node in self.api.all(NODES)
        )


def run(make_api, make_context, run_with, virtual_clock, scenario, **sizes):
    async def whole():
        api, clock = make_api(), virtual_clock()
        world = World(api, clock, **sizes)
        context = make_context(api, clock)
        async with run_with(context, NodeLifecycleController(context)):
            await world.live(60)
            assert world.evicted() == {} and world.unschedulable() == 0
            await scenario(world)

    virtual.run(whole())


def evictions():
    """By the metrics of this process."""
    counted = current().of("node_collector_evictions", lambda: MetricCounter("node_collector_evictions", "", ("zone",)))
    return counted.value(":a")


def test_a_zone_that_dies_is_evicted_a_node_each_ten_seconds(make_api, make_context, run_with, virtual_clock):
    before_all = evictions()

    async def scenario(world):
        world.alive -= {f"a{number}" for number in range(6)}
        await world.live(60)
        assert world.unschedulable() == 6, "each node is closed at once"
        assert world.evicted() == {"a": 1} or world.evicted() == {"a": 2}
        before = world.evicted()["a"]
        await world.live(20)
        assert world.evicted() == {"a": before + 2}
        await world.live(60)
        assert world.evicted() == {"a": 6}
        assert evictions() == before_all + 6
        world.come_back("a3")
        await world.live(10)
        assert world.evicted() == {"a": 5}, "who is heard again loses his taint at once"

    run(make_api, make_context, run_with, virtual_clock, scenario, a=6, b=6)


def test_nobody_is_evicted_while_every_node_is_silent_and_each_gets_its_whole_time_afterwards(
    make_api, make_context, run_with, virtual_clock
):
    async def scenario(world):
        world.alive.clear()
        await world.live(300)
        assert world.evicted() == {} and world.unschedulable() == 8
        for name in ("b0", "b1", "b2", "b3"):
            world.come_back(name)
        await world.live(10)
        assert world.evicted().get("a", 0) <= 1
        await world.live(60)
        assert world.evicted() == {"a": 4}

    run(make_api, make_context, run_with, virtual_clock, scenario, a=4, b=4)


def test_a_small_zone_that_is_ill_in_part_is_not_evicted(make_api, make_context, run_with, virtual_clock):
    async def scenario(world):
        world.alive -= {f"a{number}" for number in range(4)}
        await world.live(600)
        assert world.unschedulable() == 4
        assert world.evicted().get("a", 0) <= 2, "those before the zone was known to be ill"

    run(make_api, make_context, run_with, virtual_clock, scenario, a=6, b=1)


def test_silent_nodes_are_told_once_labels_are_reconciled_and_new_pods_there_are_not_ready(
    make_api, make_context, run_with, virtual_clock
):
    async def scenario(world):
        assert world.api.get(NODES, "", "a0")["metadata"]["labels"]["beta.kubernetes.io/os"] == "linux"
        world.alive -= {"a0"}
        await world.live(120)
        told = [event for event in world.api.all(EVENTS) if event["reason"] == "NodeNotReady"]
        assert [event["message"] for event in told] == ["Node a0 status is now: NodeNotReady"]
        ready = [{"type": "Ready", "status": "True"}]
        status = {"phase": "Running", "conditions": ready}
        world.api.add(PODS, {"metadata": {"name": "p", "namespace": "x"}, "spec": {"nodeName": "a0"}, "status": status})
        await world.live(10)
        [condition] = world.api.get(PODS, "x", "p")["status"]["conditions"]
        assert condition["status"] == "False"

    run(make_api, make_context, run_with, virtual_clock, scenario, a=2)


def test_a_node_agent_that_says_itself_that_it_is_not_ready_keeps_its_pods_word(
    make_api, make_context, run_with, virtual_clock
):
    """It still reports on its pods: only who is not heard is spoken for."""

    async def scenario(world):
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        world.api.add(PODS, {"metadata": {"name": "p", "namespace": "x"}, "spec": {"nodeName": "a0"}, "status": status})
        ill = [{"type": "Ready", "status": "False", "lastHeartbeatTime": "2026-01-01T02:00:00Z"}]
        world.api.change(NODES, "", "a0", lambda obj: obj.update(status={"conditions": ill}))
        await world.live(20)
        assert world.evicted() == {"a": 1}
        assert world.api.get(PODS, "x", "p")["status"]["conditions"] == status["conditions"]
        assert not [event for event in world.api.all(EVENTS) if event["reason"] == "NodeNotReady"]

    run(make_api, make_context, run_with, virtual_clock, scenario, a=2)
