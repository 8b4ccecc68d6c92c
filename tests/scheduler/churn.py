"""Nodes and pods that come, go and change, bindings that fail, schedulers that die: one seed of it, in virtual time.

An API server in memory; one scheduler with two profiles or, with odd seeds, two schedulers with nodes of their own; a
kubelet that removes what is deleted. Every binding is judged by the oracle as it happens; in the end, when nothing has
changed for longer than the queue's flush, whoever waits must not fit.
"""

import os
import random
from datetime import UTC, datetime
from typing import ClassVar

from naive_scheduler import HOST, ZONE, Node, Pod, World, verdict

from sampan.api.errors import NotFound, ServerTimeout
from sampan.api.resources import NODES, PODS
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import Informer
from sampan.client.timeline import VirtualTimeline
from sampan.scheduler.config import ProfileConfig, SchedulerConfig
from sampan.scheduler.scheduler import run_scheduler
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.testing import virtual

#: how many seeds a test runs
SEEDS = int(os.environ.get("SAMPAN_CHURN_SEEDS", "0"))
FLUSH_SECONDS = 300.0
NAMES = ("default-scheduler", "second")
#: what a pod of each app takes and wants; its scheduler goes by its number
APPS = ("a", "b", "c")
#: a class of priority, and its value
CRITICAL = ("system-cluster-critical", 2_000_000_000)


class Failing:
    """A transport whose bindings fail now and then, before or after they were done. ``asked`` hears of each."""

    def __init__(self, inner, chance, asked):
        self._inner, self._chance, self._asked = inner, chance, asked

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def call(self, call):
        luck = 1.0
        if call.path.endswith("/binding"):
            luck = self._chance.random()
            self._asked(call.path.split("/")[-2])
        if luck < 0.1:
            raise ServerTimeout("the binding did not come through")
        answer = await self._inner.call(call)
        if luck < 0.2:
            raise ServerTimeout("the answer did not come through")
        return answer


class Churn:
    steps = 120
    #: what the server and the schedulers are configured with besides
    server_config: ClassVar = {}
    scheduler_config: ClassVar = {}

    def __init__(self, server, seed, clock):
        self.server, self.clock = server, clock
        self.chance = random.Random(seed)
        self.admin = Client(server.local_transport())
        self.pods, self.nodes = Informer(self.admin, PODS), Informer(self.admin, NODES)
        self.pods.add_handler(self.pod_changed)
        self.shapes, self.where, self.faults = {}, {}, []
        self.running, self.serial = {}, 0
        self.node_shapes = {}
        #: whether each name has a scheduler of its own
        self.two = seed % 2 == 1

    # What is looked at with every change

    def pod_changed(self, kind, obj, previous):
        name, node = obj["metadata"]["name"], obj["spec"].get("nodeName")
        if kind == "DELETED":
            self.where.pop(name, None)
            return
        before = self.where.get(name)
        if before and node != before:
            self.faults.append(f"{name} was on {before} and is on {node}")
        if node and not before:
            self.check_binding(name, node)
            self.where[name] = node

    def check_binding(self, name, node):
        pod, shape = self.shapes[name], self.node_shapes[node]
        found = verdict(pod, shape, self.world([shape]))
        if found is not None:
            self.faults.append(f"{name} was bound to {node}: {found[0]}")

    def world(self, also=()):
        known = {node["metadata"]["name"] for node in self.nodes.list()} | {shape.name for shape in also}
        shapes = [shape for name, shape in self.node_shapes.items() if name in known]
        return World(shapes, [(self.shapes[name], where) for name, where in self.where.items()])

    def binding_asked(self, name):
        """A scheduler is about to bind this pod."""

    # What happens

    async def prepare(self):
        """Before anything else is there."""

    async def step(self):
        await self.happen()
        self.revive()
        await self.clock.sleep(self.chance.choice((0.0, 0.0, 0.01, 0.3)))

    async def happen(self):
        match self.chance.randrange(12):
            case 0:
                await self.add_node()
            case 1:
                await self.drop_node()
            case 2 | 3:
                await self.delete_pod()
            case 4:
                await self.label_node()
            case 5:
                await self.kill()
            case 6:
                await self.clock.sleep(self.chance.choice((1.0, 5.0, 40.0)))
            case _:
                await self.add_pod()

    async def add_node(self):
        """A name is used once, with one shape: what a binding is judged by does not change under it."""
        name = f"n{len(self.node_shapes)}"
        labels = {HOST: name, ZONE: self.chance.choice(("x", "y"))}
        shape = Node(name, cpu=self.chance.choice((1000, 2000)), memory=4096, pods=6, labels=labels)
        if len(self.nodes.list()) >= 6:
            return
        self.node_shapes[name] = shape
        body = shape.to_object()
        body["status"]["capacity"] = body["status"]["allocatable"]
        body["status"].pop("images")
        await self.admin.create(NODES, {"kind": "Node", "apiVersion": "v1", **body})

    async def drop_node(self):
        names = [node["metadata"]["name"] for node in self.nodes.list()]
        if len(names) > 2:
            name = self.chance.choice(names)
            await self.admin.delete(NODES, name)
            for pod, where in list(self.where.items()):
                if where == name:
                    await self.remove(pod)

    async def label_node(self):
        names = [node["metadata"]["name"] for node in self.nodes.list()]
        if names:
            patch = {"metadata": {"labels": {"step": str(self.chance.randrange(9))}}}
            await self.admin.patch(NODES, self.chance.choice(names), patch)

    async def add_pod(self):
        self.serial += 1
        pod = self.shape()
        if self.chance.random() < 0.25:
            pod.terms = [("apart", True, self.chance.choice((HOST, ZONE)), pod.labels["app"], 1)]
        if self.chance.random() < 0.2:
            pod.required_zones = [self.chance.choice(("x", "y"))]
        await self.create(pod, self.serial % 2, CRITICAL if self.chance.random() < 0.2 else None)

    def shape(self):
        return Pod(
            f"p{self.serial}", cpu=self.chance.choice((100, 400, 900)), memory=self.chance.choice((128, 1024)),
            labels={"app": self.chance.choice(APPS)}, port=self.chance.choice((0,) * 5 + (80,)),
        )  # fmt: skip

    async def create(self, pod, which, priority=None, **spec):
        """``which``: of the schedulers' names."""
        if self.two:
            # Each scheduler has its own nodes, for two that share them may overtake each other (as upstream's).
            pod.required_zones, pod.selector = None, {ZONE: "xy"[which]}
        self.shapes[pod.name] = pod
        body = pod.to_object()
        body["metadata"] = {"name": pod.name, "labels": pod.labels}
        body["spec"].pop("priority")
        body["spec"] |= {"schedulerName": NAMES[which], **spec}
        if priority is not None:
            body["spec"]["priorityClassName"], pod.priority = priority
        body.pop("status")
        await self.admin.create(PODS, {"kind": "Pod", "apiVersion": "v1", **body}, "default")

    async def delete_pod(self):
        names = [pod["metadata"]["name"] for pod in self.pods.list()]
        if names:
            await self.remove(self.chance.choice(names))

    async def remove(self, name):
        try:
            await self.admin.delete(PODS, name, "default", grace_period_seconds=0)
        except NotFound:
            pass

    # Schedulers, and what a kubelet does

    async def kill(self):
        name = self.chance.choice(NAMES)
        if (task := self.running.pop(name, None)) is not None:
            await tasks.cancel_and_wait(task)

    def revive(self, *, all_of_them=False):
        for name in NAMES if self.two else NAMES[:1]:
            if name not in self.running and (all_of_them or self.chance.random() < 0.3):
                transport = self.server.local_transport("system:kube-scheduler")
                client = Client(Failing(transport, self.chance, self.binding_asked))
                profiles = (name,) if self.two else NAMES
                config = SchedulerConfig(profiles=tuple(map(ProfileConfig, profiles)), **self.scheduler_config)
                work = run_scheduler(client, clock=self.clock, random=self.chance, config=config)
                self.running[name] = tasks.detach(work, name)

    async def kubelet(self):
        while True:
            await self.clock.sleep(0.5)
            for pod in self.pods.list():
                if pod["metadata"].get("deletionTimestamp"):
                    await self.remove(pod["metadata"]["name"])

    async def run(self):
        following = [tasks.detach(each.run(), "informer") for each in (self.pods, self.nodes)]
        await self.pods.synced()
        await self.nodes.synced()
        following.append(tasks.detach(self.kubelet(), "kubelet"))
        await self.prepare()
        for _ in range(3):
            await self.add_node()
        for _ in range(self.steps):
            await self.step()
            assert not self.faults, self.faults
        self.revive(all_of_them=True)
        await self.clock.sleep(2 * FLUSH_SECONDS + 60)
        assert not self.faults, self.faults
        self.check_nobody_waits()
        await tasks.cancel_and_wait(*self.running.values(), *following)

    def check_nobody_waits(self):
        world = self.world()
        for pod in self.pods.list():
            if not pod["spec"].get("nodeName") and not self.may_wait(pod["metadata"]["name"]):
                shape = self.shapes[pod["metadata"]["name"]]
                fitting = [name for name, node in world.nodes.items() if verdict(shape, node, world) is None]
                assert not fitting, f"{shape.name} waits and fits {fitting}"

    def may_wait(self, name):
        """Whether it may wait for other pods, however much room there is."""
        return False


def live(kind, seed):
    """One seed of ``kind``, a Churn, from its first node to its end; what was seen of it."""
    seen = []

    async def scenario():
        clock = VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC))
        config = ServerConfig(
            listen=False, store="memory", openapi=False, clock=clock, random=random.Random(seed),
            footprint_interval_seconds=3600.0,
            disable_admission_plugins=("ServiceAccount", "TaintNodesByCondition"), **kind.server_config,
        )  # fmt: skip
        async with Server(config) as server:
            seen.append(kind(server, seed, clock))
            await seen[0].run()

    virtual.run(scenario(), seed=seed)
    return seen[0]
