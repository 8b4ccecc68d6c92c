"""Fixtures: nodes and pods as small dicts, a default profile over them, virtual time."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from sampan.api.clock import SystemClock
from sampan.api.resources import EVENTS, NODES, PODS
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import Informer
from sampan.scheduler.cache import Cluster
from sampan.scheduler.config import ProfileConfig, SchedulerConfig, build_profile
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.scheduler import Scheduler
from sampan.server.app import Server
from sampan.server.config import ServerConfig


def make_node(name, *, cpu="4", memory="8Gi", pods="110", labels=None, taints=(), images=(), cordoned=False, **other):
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": {"taints": list(taints), "unschedulable": cordoned},
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": pods, **other}, "images": list(images)},
    }


def make_pod(name, *, node="", namespace="default", labels=None, status=None, ports=(), image="app", **spec):
    requests = {key: spec.pop(key) for key in ("cpu", "memory") if key in spec}
    requests |= spec.pop("requests", {})
    container = {"name": "c", "image": image, "resources": {"requests": requests}, "ports": list(ports)}
    body = {"containers": [container], **spec}
    if node:
        body["nodeName"] = node
    meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": labels or {}}
    return {"metadata": meta, "spec": body, "status": status or {}}


class World:
    """A cluster and a profile; ``decide`` and ``why`` ask about one pod."""

    def __init__(self, **config):
        self.cluster = Cluster()
        self.profile = build_profile(ProfileConfig(**config), Client(None))
        self.random = random.Random(1)

    def node(self, name, **parts):
        self.cluster.put_node(make_node(name, **parts))

    def pod(self, name, node, **parts):
        """A pod that is on a node."""
        info = PodInfo(make_pod(name, node=node, **parts))
        self.cluster.put_pod(info)
        return info

    def decide(self, name="p", **parts):
        return self.profile.decide(PodInfo(make_pod(name, **parts)), self.cluster, self.random)

    def why(self, **parts):
        return self.decide(**parts).message

    def feasible(self, **parts):
        info = PodInfo(make_pod("p", **parts))
        verdicts = self.profile.verdicts(info, self.cluster)
        return {name for name, slot in self.cluster.nodes.slot_of.items() if verdicts[slot] == 0}

    def preempt(self, budgets=(), **parts):
        info = PodInfo(make_pod("p", **parts))
        return self.profile.post_filter.post_filter(info, self.profile, self.cluster, budgets, self.random)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def new_world():
    return World


@pytest.fixture
def pod():
    return lambda name="p", **parts: PodInfo(make_pod(name, **parts))


@pytest.fixture
def node():
    return make_node


class JumpingLoop(asyncio.SelectorEventLoop):
    """Time jumps to the next timer whenever nothing else is ready."""

    def __init__(self):
        super().__init__()
        self._offset = 0.0
        select = self._selector.select

        def jump(timeout=None):
            events = select(0)
            if not events and timeout:
                self._offset += timeout
            return events

        self._selector.select = jump

    def time(self):
        return self._offset


@pytest.fixture
def virtual():
    def run(coroutine):
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            return runner.run(coroutine)

    return run


def node_body(name, cpu="4", **spec):
    amounts = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": spec,
        "status": {"capacity": amounts, "allocatable": amounts},
    }


def pod_body(name, cpu="100m", **spec):
    container = {"name": "c", "image": "busybox", "resources": {"requests": {"cpu": cpu}}}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container], **spec},
    }


class RunningCluster:
    def __init__(self, client, pods, scheduler):
        self.client, self.pods, self.scheduler = client, pods, scheduler
        self.attempts = scheduler.attempts

    async def add_node(self, name, cpu="4", **spec):
        """Without the taint that admission gives to new nodes, which the node lifecycle controller takes away."""
        node = await self.client.create(NODES, node_body(name, cpu, **spec))
        taints = [t for t in node["spec"].get("taints", ()) if t["key"] != "node.kubernetes.io/not-ready"]
        await self.client.patch(NODES, name, {"spec": {"taints": taints or None}})

    async def add_pod(self, name, cpu="100m", **spec):
        await self.client.create(PODS, pod_body(name, cpu, **spec))

    async def scheduled(self, name):
        await self.pods.wait_until(lambda: bool(self.pods.get("default", name)["spec"].get("nodeName")))
        return self.pods.get("default", name)

    def condition(self, name):
        conditions = (self.pods.get("default", name).get("status") or {}).get("conditions") or ()
        return next((c for c in conditions if c["type"] == "PodScheduled"), {})

    async def unschedulable(self, name):
        await self.pods.wait_until(lambda: bool(self.condition(name)))
        return self.condition(name)

    async def event(self, name, reason):
        while True:
            events = await self.client.list(EVENTS, "default", field_selector=f"involvedObject.name={name}")
            for event in events["items"]:
                if event["reason"] == reason:
                    return event
            await asyncio.sleep(0)


@asynccontextmanager
async def run_cluster(*, server=None, **config):
    server_config = ServerConfig(
        port=0,
        bind_address="127.0.0.1",
        store="memory",
        openapi=False,
        disable_admission_plugins=("ServiceAccount",),
        **(server or {}),
    )
    async with Server(server_config) as api:
        admin = Client(api.local_transport())
        client = Client(api.local_transport("system:kube-scheduler"))
        pods, started = Informer(admin, PODS), asyncio.Event()
        scheduler = Scheduler(client, SystemClock(), random.Random(1), SchedulerConfig(**config))
        work = [tasks.detach(pods.run(), "pods"), tasks.detach(scheduler.run(started), "scheduler")]
        try:
            await started.wait()
            yield RunningCluster(admin, pods, scheduler)
        finally:
            await tasks.cancel_and_wait(*work)


@pytest.fixture
def running():
    """A server (``server``: what it is configured with beyond the usual) and a scheduler with this configuration."""
    return run_cluster
