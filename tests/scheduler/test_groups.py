"""Nodes in groups of equals: a decision on one node of each is the decision on all nodes, whatever happened between.

``SAMPAN_ORACLE_WORLDS=2000`` tries that many random clusters instead of the suite's sample.
"""

import os
import random

import numpy as np
import pytest
from naive_scheduler import ZONE
from test_oracle import APPS, a_node, a_pod

from sampan.api import labels
from sampan.client.client import Client
from sampan.scheduler import nodegroups
from sampan.scheduler.cache import Cluster
from sampan.scheduler.config import ProfileConfig, build_profile
from sampan.scheduler.podinfo import PodInfo

WORLDS = int(os.environ.get("SAMPAN_ORACLE_WORLDS", "60")) // 4
PARTS = 4
NEVER = 10**9


class Template:
    """Pods that differ in their names; ``selector`` is what a Service would select them by."""

    def __init__(self, chance, number):
        self.pod, self.serial, self.number = a_pod(chance, ""), 0, number
        self.pod.priority = 0
        self.selector = labels.from_map({"app": chance.choice(APPS)}) if chance.random() < 0.3 else None

    def next(self, node=""):
        self.serial += 1
        self.pod.name = f"t{self.number}-{self.serial}"
        return PodInfo(self.pod.to_object(node))


class Run:
    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.cluster = Cluster()
        self.grouped, self.whole = (
            build_profile(ProfileConfig(), Client(None)),
            build_profile(ProfileConfig(), Client(None)),
        )
        self.grouped.grouped_after, self.whole.grouped_after = 0, NEVER
        self.placed = []
        for number in range(self.chance.randrange(2, 14)):
            self.cluster.put_node(a_node(self.chance, number).to_object())
        self.templates = [Template(self.chance, number) for number in range(4)]

    def step(self):
        match self.chance.randrange(12):
            case 0:
                self.cluster.put_node(a_node(self.chance, self.chance.randrange(14)).to_object())
            case 1 if self.cluster.nodes.count > 2:
                self.cluster.drop_node(self.chance.choice(sorted(self.cluster.nodes.slot_of)))
            case 2 | 3 if self.placed:
                self.cluster.drop_pod(self.placed.pop(self.chance.randrange(len(self.placed))))
        self.decide(self.chance.choice(self.templates))

    def decide(self, template):
        self.cluster.default_selector = lambda pod: template.selector
        pod = template.next()
        one = self.grouped.decide(pod, self.cluster, random.Random(1))
        other = self.whole.decide(pod, self.cluster, random.Random(1))
        for groups in self.grouped._groups.values():
            groups.check_invariants()
        assert (one.feasible, one.ruled_out, one.pre_filter) == (other.feasible, other.ruled_out, other.pre_filter)
        assert [score for _, score in one.top] == [score for _, score in other.top]
        assert bool(one.node) == bool(other.node)
        if not one.node:
            return
        slots = np.flatnonzero(self.whole.verdicts(pod, self.cluster) == 0)
        scores = self.whole.scores_on(pod, self.cluster, slots)
        names = [self.cluster.nodes.names[slot] for slot in slots]
        assert one.node in [name for name, score in zip(names, scores, strict=True) if score == scores.max()]
        assert dict(one.top).items() <= dict(zip(names, scores, strict=True)).items()
        if self.chance.random() < 0.8:
            self.cluster.assume(pod, one.node)
            self.placed.append(pod.uid)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("domains", [nodegroups.DOMAINS, 1], ids=["few-domains", "many-domains"])
def test_a_look_at_each_group_decides_as_a_look_at_each_node(part, domains, monkeypatch):
    monkeypatch.setattr(nodegroups, "DOMAINS", domains)
    for seed in range(part, WORLDS, PARTS):
        run = Run(seed)
        for _ in range(24):
            run.step()


def test_the_next_pods_of_a_template_are_decided_in_groups(world):
    for number in range(9):
        world.node(f"n{number}", labels={ZONE: f"z{number % 3}"})
    for number in range(6):
        decision = world.decide(f"p{number}")
        world.pod(f"p{number}", decision.node)
    [groups] = world.profile._groups.values()
    assert sum(len(group.slots) for group in groups.groups.values()) == 9
    assert len(groups.groups) == 2  # with a pod, and without


def test_what_a_plugin_from_elsewhere_looks_at_is_not_known(new_world):
    class Elsewhere:
        name, local, wakes = "Elsewhere", False, frozenset()

        def pre_filter(self, state, pod, cluster):
            from sampan.scheduler.framework import SUCCESS

            return SUCCESS

        def filter(self, state, pod, cluster, at):
            return None

    world = new_world(extra={"Elsewhere": lambda client, config: Elsewhere()})
    world.node("a")
    for number in range(6):
        assert world.decide(f"p{number}").node == "a"
    assert not world.profile._groups
