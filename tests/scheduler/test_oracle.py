"""Arrays and oracle agree: who fits where, with which message, at which score, and who is preempted for it.

``SAMPAN_ORACLE_WORLDS=5000`` tries that many random clusters instead of the suite's sample.
"""

import os
import random

import numpy as np
import pytest
from naive_scheduler import HOST, ZONE, Node, Pod, World, best_victims, preempt, totals, verdict
from naive_volumes import DRIVER, WAITING, Claim, Disks, Volume

from sampan.client.client import Client
from sampan.scheduler.cache import Cluster
from sampan.scheduler.config import ProfileConfig, build_profile
from sampan.scheduler.decision import fit_error
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.storage import Storage

WORLDS = int(os.environ.get("SAMPAN_ORACLE_WORLDS", "120"))
A_TEST = 30
APPS = ("a", "b", "c")
CLAIMS = 8
EFFECTS = ("NoSchedule", "NoExecute", "PreferNoSchedule")


def a_node(chance, number):
    name = f"n{number}"
    labels = {HOST: name}
    if chance.random() < 0.9:
        labels[ZONE] = chance.choice(("x", "y", "z"))
    taints = [
        (chance.choice(("red", "blue")), "", chance.choice(EFFECTS)) for _ in range(chance.choice((0, 0, 0, 1, 2)))
    ]
    return Node(
        name, cpu=chance.choice((1000, 2000, 4000)), memory=chance.choice((1024, 2048, 4096)),
        pods=chance.choice((3, 5, 110)), gpus=chance.choice((None, None, 2)), labels=labels, taints=taints,
        cordoned=chance.random() < 0.08, images={"big:1": 700 * 2**20} if chance.random() < 0.3 else {},
    )  # fmt: skip


def a_pod(chance, name):
    pod = Pod(
        name, cpu=chance.choice((0, 250, 500, 1000)), memory=chance.choice((0, 128, 512, 1024)),
        labels={"app": chance.choice(APPS)}, priority=chance.choice((0, 0, 5, 10)), started=chance.randrange(60),
        image=chance.choice(("none:1", "big:1")), gpus=chance.choice((0,) * 9 + (1,)),
        port=chance.choice((0,) * 6 + (80,)),
    )  # fmt: skip
    if chance.random() < 0.3:
        pod.tolerations = [(chance.choice(("red", "blue")), chance.choice((*EFFECTS, "")))]
    if chance.random() < 0.15:
        pod.selector = {ZONE: chance.choice(("x", "y"))}
    if chance.random() < 0.15:
        pod.required_zones = chance.choice((["x"], ["x", "y"], ["nowhere"]))
    if chance.random() < 0.25:
        pod.preferred = [(chance.choice(("x", "y", "z")), chance.choice((1, 30, 100))) for _ in range(2)]
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        kind, hard = chance.choice(("together", "apart", "apart")), chance.random() < 0.4
        pod.terms.append((kind, hard, chance.choice((HOST, ZONE)), chance.choice(APPS), chance.choice((1, 50, 100))))
    for key in (HOST, ZONE):
        if chance.random() < 0.15:
            hard = chance.random() < 0.5
            rule = (hard, key, chance.choice((1, 2)), chance.choice(APPS), chance.choice((0, 0, 3)))
            pod.spread.append(rule)
    if chance.random() < 0.3:
        pod.claims = chance.sample([f"c{number}" for number in range(CLAIMS + 1)], chance.choice((1, 1, 2)))
    if chance.random() < 0.1:
        pod.disk = chance.choice(("d1", "d2"))
    return pod


class Table:
    """What an informer shows."""

    def __init__(self):
        self.objects = {}

    def get(self, namespace, name):
        return self.objects.get((namespace, name))

    def put(self, obj):
        self.objects[obj["metadata"].get("namespace", ""), obj["metadata"]["name"]] = obj
        return obj


def a_class(name, zone):
    """Volumes are made in ``zone``, "": in any, "nowhere": not at all."""
    provisioner = "kubernetes.io/no-provisioner" if zone == "nowhere" else DRIVER
    body = {"metadata": {"name": name}, "provisioner": provisioner}
    if name in WAITING:
        body["volumeBindingMode"] = "WaitForFirstConsumer"
    if zone not in ("", "nowhere"):
        body["allowedTopologies"] = [{"matchLabelExpressions": [{"key": ZONE, "values": [zone]}]}]
    return body


class Pair:
    """The same cluster twice: as arrays, through whatever happened to it, and as the oracle sees it."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.cluster, self.profile = Cluster(), build_profile(ProfileConfig(), Client(None))
        self.nodes, self.placed, self.serial = {}, {}, 0
        self.disks, self.claims, self.volumes, classes = Disks(), Table(), Table(), Table()
        self.cluster.storage = Storage(self.claims, self.volumes, classes)
        for name, zone in {**WAITING, "at-once": ""}.items():
            classes.put(a_class(name, zone))
        for number in range(CLAIMS):
            self.put_claim(f"c{number}")
        for number in range(4):
            self.put_volume(Volume(f"free{number}", 1 + number, host=self.chance.choice(("", "n0", "n1", "n2"))))
        self.budgets = [(app, self.chance.choice((0, 1, 2))) for app in self.chance.sample(APPS, 2)]
        for number in range(self.chance.randrange(2, 9)):
            self.put_node(number)
        for _ in range(self.chance.randrange(0, 16)):
            self.put_pod()

    @property
    def world(self):
        return World(self.nodes.values(), self.placed.values(), self.disks)

    def put_claim(self, name):
        chance = self.chance
        claim = Claim(name, chance.choice((*WAITING, "at-once")), chance.choice((1, 2, 3)))
        claim.one_pod, claim.deleted = chance.random() < 0.2, chance.random() < 0.05
        if chance.random() < 0.6:
            claim.volume = f"of-{name}"
            host, zone = chance.choice(("", "", "n0", "n1")), chance.choice(("", "", "x", "y"))
            volume = Volume(claim.volume, claim.size, claim.kind, host, zone, chance.random() < 0.6, name)
            if chance.random() < 0.9:
                self.put_volume(volume)
        self.disks.claims[name] = claim
        self.claims.put(claim.to_object())

    def put_volume(self, volume):
        self.disks.volumes[volume.name] = volume
        self.cluster.storage.volume_changed(self.volumes.put(volume.to_object()))

    def put_node(self, number):
        node = a_node(self.chance, number)
        self.nodes[node.name] = node
        self.cluster.put_node(node.to_object())
        if self.chance.random() < 0.5:
            limit = self.disks.limits[node.name] = self.chance.choice((0, 1, 2))
            driver = {"name": DRIVER, "allocatable": {"count": limit}}
            self.cluster.storage.csi_node_changed({"metadata": {"name": node.name}, "spec": {"drivers": [driver]}})

    def put_pod(self):
        self.serial += 1
        pod, where = a_pod(self.chance, f"p{self.serial}"), self.chance.choice(sorted(self.nodes))
        self.placed[pod.name] = (pod, where)
        self.cluster.put_pod(PodInfo(pod.to_object(where)))

    def change(self):
        match self.chance.randrange(5):
            case 0:
                self.put_node(self.chance.randrange(9))
            case 1 if len(self.nodes) > 1:
                name = self.chance.choice(sorted(self.nodes))
                del self.nodes[name]
                self.cluster.drop_node(name)
            case 2 if self.placed:
                name = self.chance.choice(sorted(self.placed))
                del self.placed[name]
                self.cluster.drop_pod(name)
            case _:
                self.put_pod()

    def check(self, pod):
        world, info = self.world, PodInfo(pod.to_object())
        told = {name: verdict(pod, node, world) for name, node in world.nodes.items()}
        fits = sorted(name for name, found in told.items() if found is None)
        decision = self.profile.decide(info, self.cluster, self.chance)
        assert (decision.node in fits) if fits else not decision.node
        assert decision.feasible == len(fits)
        reasons = [reason for found in told.values() if found is not None for reason in found[0]]
        counted = {reason: reasons.count(reason) for reason in reasons}
        assert dict(decision.reasons()) == counted
        if fits:
            self.check_scores(pod, info, fits, decision.node)
        else:
            assert decision.message == fit_error(len(told), counted, world.disks.nowhere(pod))
            self.check_preemption(pod, info)

    def check_scores(self, pod, info, fits, chosen):
        expected = totals(pod, fits, self.world)
        assert expected[chosen] == max(expected.values())
        slots = np.array([self.cluster.nodes.slot_of[name] for name in fits])
        if len(fits) > 1:
            found = dict(zip(fits, self.profile.scores_on(info, self.cluster, slots).tolist(), strict=True))
            # A plug-in that has nothing to say of any node is left out, which lifts or lowers all of them alike.
            base, other = expected[chosen], found[chosen]
            assert {n: v - other for n, v in found.items()} == {n: v - base for n, v in expected.items()}

    def check_preemption(self, pod, info):
        budgets = [
            {
                "metadata": {"namespace": "d", "name": app}, "status": {"disruptionsAllowed": allowed},
                "spec": {"selector": {"matchLabels": {"app": app}}},
            } for app, allowed in self.budgets
        ]  # fmt: skip
        plan = self.profile.post_filter.post_filter(info, self.profile, self.cluster, budgets, self.chance)
        candidates = preempt(pod, self.world, self.budgets)
        if not candidates:
            assert not plan.node
            return
        assert plan.node in best_victims(candidates)
        assert {victim.name for victim in plan.victims} == {victim.name for victim in candidates[plan.node][0]}


@pytest.mark.parametrize("first", range(0, WORLDS, A_TEST))
def test_arrays_and_oracle_agree_on_random_clusters(first):
    for seed in range(first, min(first + A_TEST, WORLDS)):
        pair = Pair(seed)
        templates = [a_pod(pair.chance, f"new{number}") for number in range(3)]
        for step in range(6):
            pair.check(templates[step % 3])
            pair.change()
            if step % 2:
                pair.check(a_pod(pair.chance, f"once{step}"))
        pair.cluster.check_invariants()
