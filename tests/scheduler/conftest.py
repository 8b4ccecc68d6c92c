"""Fixtures: nodes and pods as small dicts, a default profile over them, virtual time."""

import asyncio
import random

import pytest

from sampan.client.client import Client
from sampan.scheduler.cache import Cluster
from sampan.scheduler.config import ProfileConfig, build_profile
from sampan.scheduler.podinfo import PodInfo


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
