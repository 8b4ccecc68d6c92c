"""Gangs among all that goes on in ``churn.py``: groups and pods come in any order, grow, lose pods, are deleted.

Two rules are looked at. Bindings of a gang begin only when as many of its pods are about to be bound as it lacks (the
schedulers' transport hears of each binding as it is asked for; all of one decision come in one moment of virtual time).
And in the end no gang waits, whole or with a part of it bound, that is sure to find its places: whatever node each pod
in turn might have been given, enough of them fit. A part stays bound where bindings failed, a scheduler died or a node
went and what is left has no room, as with upstream.
"""

from dataclasses import dataclass, field
from itertools import permutations
from typing import ClassVar

from churn import Churn
from naive_scheduler import HOST, Pod, World, verdict

from sampan.api.resources import POD_GROUPS, PRIORITY_CLASSES

#: of gangs that make room; the system's own classes are not for groups
HIGH = ("high", 1000)
API = "scheduling.k8s.io/v1beta1"
#: bindings of one decision are asked for within this
MOMENT_SECONDS = 0.005


@dataclass
class Gang:
    """``least`` 0: its pods are placed one by one. ``disturbed``: when something happened to it last."""

    name: str
    least: int
    scheduler: int
    high: bool
    shape: Pod
    pods: list = field(default_factory=list)
    exists: bool = False
    disturbed: float = -1.0
    burst: object = None


@dataclass
class Burst:
    """Bindings of a gang that are asked for in one moment, and how many it lacked before."""

    at: float
    lacked: int
    excused: bool
    asked: set = field(default_factory=set)


class GangChurn(Churn):
    steps = 90
    server_config: ClassVar = {"runtime_config": f"{API}=true", "feature_gates": "GenericWorkload=true"}
    scheduler_config: ClassVar = {"groups": True}

    def __init__(self, server, seed, clock):
        super().__init__(server, seed, clock)
        self.gangs, self.gang_of = {}, {}
        #: bursts that were judged, and those of them that were a whole gang's first
        self.judged = self.whole = 0

    def pod_changed(self, kind, obj, previous):
        gang = self.gang_of.get(obj["metadata"]["name"])
        if gang is not None and (kind == "DELETED" or obj["metadata"].get("deletionTimestamp")):
            self.disturb(gang)  # by a preemption, too
        super().pod_changed(kind, obj, previous)

    # What happens

    async def prepare(self):
        name, value = HIGH
        await self.admin.create(PRIORITY_CLASSES, {"metadata": {"name": name}, "value": value})

    async def happen(self):
        match self.chance.randrange(20):
            case 0 | 1 | 2:
                await self.add_gang()
            case 3 | 4:
                await self.add_member(self.a_gang())
            case 5:
                await self.change_least(self.a_gang())
            case 6:
                await self.drop_group(self.a_gang())
            case 7:
                await self.create_group(self.a_gang())
            case 8 | 9:
                await self.delete_pod()
            case _:
                await super().happen()
        self.judge_bursts()

    def a_gang(self):
        return self.chance.choice(list(self.gangs.values())) if self.gangs else None

    async def add_gang(self):
        name = f"g{len(self.gangs)}"
        self.serial += 1
        shape = self.shape()
        if self.chance.random() < 0.2:
            shape.terms = [("apart", True, HOST, shape.labels["app"], 1)]
        gang = Gang(
            name, self.chance.choice((0, 2, 2, 3, 3, 4)), self.chance.randrange(2), self.chance.random() < 0.2, shape
        )
        self.gangs[name] = gang
        late = self.chance.random() < 0.4
        if not late:
            await self.create_group(gang)
        for _ in range(max(gang.least, 1) + self.chance.choice((-1, 0, 0, 0, 1))):
            await self.add_member(gang)
            if self.chance.random() < 0.2:
                await self.clock.sleep(self.chance.choice((0.01, 2.0)))
        if late:
            await self.create_group(gang)
        await self.clock.sleep(self.chance.choice((0.0, 0.01, 0.01)))

    async def create_group(self, gang):
        if gang is None or gang.exists:
            return
        policy = {"gang": {"minCount": gang.least}} if gang.least else {"basic": {}}
        spec = {"schedulingPolicy": policy, **({"priorityClassName": HIGH[0]} if gang.high else {})}
        body = {"kind": "PodGroup", "apiVersion": API, "metadata": {"name": gang.name}, "spec": spec}
        gang.exists = True
        self.disturb(gang)
        await self.admin.create(POD_GROUPS, body, "default")

    async def drop_group(self, gang):
        if gang is not None and gang.exists:
            gang.exists = False
            self.disturb(gang)
            await self.admin.delete(POD_GROUPS, gang.name, "default")

    async def change_least(self, gang):
        if gang is None or not gang.least or not gang.exists:
            return
        gang.least = self.chance.choice((1, 2, 3))
        self.disturb(gang)
        patch = {"spec": {"schedulingPolicy": {"gang": {"minCount": gang.least}}}}
        await self.admin.patch(POD_GROUPS, gang.name, patch, "default")

    async def add_member(self, gang):
        if gang is None or len(self.waiting(gang)) >= 4:
            return
        self.serial += 1
        pod = self.shape()
        if self.chance.random() < 0.75:  # mostly all of a gang are alike
            pod.cpu, pod.memory, pod.port = gang.shape.cpu, gang.shape.memory, gang.shape.port
            pod.labels, pod.terms = gang.shape.labels, gang.shape.terms
        self.gang_of[pod.name] = gang
        gang.pods.append(pod.name)
        group = {"schedulingGroup": {"podGroupName": gang.name}}
        await self.create(pod, gang.scheduler, HIGH if gang.high else None, **group)

    async def remove(self, name):
        if name in self.gang_of:
            self.disturb(self.gang_of[name])
        await super().remove(name)

    async def kill(self):
        for gang in self.gangs.values():
            self.disturb(gang)
        await super().kill()

    def disturb(self, gang):
        gang.disturbed = self.clock.monotonic()
        if gang.burst is not None and gang.disturbed - gang.burst.at <= MOMENT_SECONDS:
            gang.burst.excused = True

    # All or none

    def binding_asked(self, name):
        gang = self.gang_of.get(name)
        if gang is None or not gang.least:
            return
        now = self.clock.monotonic()
        if gang.burst is not None and now - gang.burst.at > MOMENT_SECONDS:
            self.judge(gang)
        if gang.burst is None:
            excused = now - gang.disturbed <= MOMENT_SECONDS
            gang.burst = Burst(now, gang.least - len(self.bound(gang)), excused)
        gang.burst.asked.add(name)

    def judge_bursts(self):
        for gang in self.gangs.values():
            if gang.burst is not None and self.clock.monotonic() - gang.burst.at > MOMENT_SECONDS:
                self.judge(gang)

    def judge(self, gang):
        """Unless something happened to the gang in that moment: what the scheduler knew of it is not known then."""
        burst, gang.burst = gang.burst, None
        if burst.excused:
            return
        self.judged += 1
        self.whole += burst.lacked == gang.least > 1
        if len(burst.asked) < burst.lacked:
            self.faults.append(f"{gang.name} lacked {burst.lacked} pods, and only {sorted(burst.asked)} were bound")

    def living(self, gang):
        found = (self.pods.get("default", name) for name in gang.pods)
        return [pod for pod in found if pod is not None and not pod["metadata"].get("deletionTimestamp")]

    def bound(self, gang):
        return [pod["metadata"]["name"] for pod in self.living(gang) if pod["spec"].get("nodeName")]

    def waiting(self, gang):
        return [pod["metadata"]["name"] for pod in self.living(gang) if not pod["spec"].get("nodeName")]

    # Nobody waits

    def check_nobody_waits(self):
        self.judge_bursts()
        assert not self.faults, self.faults
        super().check_nobody_waits()
        world = self.world()
        for gang in self.gangs.values():
            waiting, bound = self.waiting(gang), self.bound(gang)
            lacks = max(gang.least - len(bound), 1)
            if gang.exists and len(waiting) >= lacks:
                shapes = [self.shapes[name] for name in waiting]
                assert not self.sure(shapes, lacks, world), f"{gang.name} waits with {waiting}, {bound} are bound"

    def may_wait(self, name):
        """A pod of a gang waits with it."""
        return name in self.gang_of

    def sure(self, shapes, lacks, world):
        """Whether in any order, and whatever node each gets, so many of these pods find their places."""
        kinds = {
            shape.name: (shape.cpu, shape.memory, shape.port, str(shape.terms), str(shape.labels)) for shape in shapes
        }
        orders = {tuple(kinds[shape.name] for shape in order): order for order in permutations(shapes)}
        return all(self._sure(order, lacks, world) for order in orders.values())

    def _sure(self, shapes, lacks, world):
        if not lacks:
            return True
        if len(shapes) < lacks:
            return False
        first, rest = shapes[0], shapes[1:]
        fitting = [name for name, node in world.nodes.items() if verdict(first, node, world) is None]
        if not fitting:
            return self._sure(rest, lacks, world)
        return all(
            self._sure(rest, lacks - 1, World(world.nodes.values(), [*world.placed, (first, name)])) for name in fitting
        )
