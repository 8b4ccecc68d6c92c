"""The rollout planner against a small simulation of ReplicaSets and pods: safety and convergence."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.controllers.deployment import facts
from sampan.controllers.deployment.plan import AnnotateSet, CreateSet, DeleteSet, Observed, ScaleSet, SetRevision, plan


def deployment(replicas=3, image="v1", surge="25%", unavailable="25%", **spec):
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    return {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "d", "generation": 1, "annotations": {}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": rolling,
            "revisionHistoryLimit": 2,
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"image": image}]}},
            **spec,
        },
    }


class World:
    """Sets and their available pods. ReplicaSets obey at once; availability comes when the test says so."""

    def __init__(self, obj):
        self.deployment = obj
        self.sets = {}
        self.available = Counter()
        self.count = 0

    def observed(self):
        for name, rs in self.sets.items():
            size = rs["spec"]["replicas"]
            self.available[name] = min(self.available[name], size)
            rs["status"] = {
                "replicas": size,
                "availableReplicas": self.available[name],
                "observedGeneration": rs["metadata"]["generation"],
            }
        return Observed(self.deployment, list(self.sets.values()), {})

    def apply(self, action):
        match action:
            case CreateSet(rs):
                self.count += 1
                rs["metadata"] |= {"uid": f"rs{self.count}", "generation": 1, "creationTimestamp": f"{self.count:05d}"}
                assert rs["metadata"]["name"] not in self.sets
                self.sets[rs["metadata"]["name"]] = rs
            case ScaleSet(rs, size):
                assert size >= 0
                rs["spec"]["replicas"] = size
                rs["metadata"]["annotations"].update(facts.replicas_annotations(self.deployment))
            case AnnotateSet(rs, annotations, _):
                rs["metadata"]["annotations"].update(annotations)
            case DeleteSet(rs):
                del self.sets[rs["metadata"]["name"]]
            case SetRevision(revision):
                self.deployment["metadata"]["annotations"][facts.REVISION] = revision

    def step(self):
        """One plan, wholly applied. True when there was anything to do."""
        actions = plan(self.observed())
        for action in actions:
            self.apply(action)
        return bool(actions)

    def settle(self):
        for _ in range(500):
            if not self.step():
                before = dict(self.available)
                for name, rs in self.sets.items():
                    self.available[name] = rs["spec"]["replicas"]
                if before == dict(self.available):
                    return
        raise AssertionError("the rollout does not converge")

    def sizes(self):
        return {rs["metadata"]["uid"]: rs["spec"]["replicas"] for rs in self.sets.values() if rs["spec"]["replicas"]}


def rollout(obj, image):
    obj["spec"]["template"]["spec"]["containers"][0]["image"] = image


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (3, "25%", "25%", (1, 0)),
        (10, "25%", "25%", (3, 2)),
        (1, "0%", "1%", (0, 1)),
        (4, 1, 0, (1, 0)),
        (10, "0%", 3, (0, 3)),
    ],
)
def test_surge_rounds_up_and_unavailable_down(replicas, surge, unavailable, expected):
    assert facts.fenceposts(deployment(replicas, surge=surge, unavailable=unavailable)) == expected


def test_first_set_gets_all_replicas_and_revision_one():
    world = World(deployment(3))
    world.settle()
    (rs,) = world.sets.values()
    assert rs["spec"]["replicas"] == 3
    assert rs["metadata"]["annotations"][facts.REVISION] == "1"
    assert world.deployment["metadata"]["annotations"][facts.REVISION] == "1"
    code = rs["metadata"]["labels"]["pod-template-hash"]
    assert rs["metadata"]["name"] == f"web-{code}"
    assert rs["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": code}


def test_who_must_be_ready_longer_says_so_in_its_sets():
    world = World(deployment(2, minReadySeconds=5))
    world.settle()
    (rs,) = world.sets.values()
    assert rs["spec"]["minReadySeconds"] == 5
    world.deployment["spec"]["minReadySeconds"] = 9
    changes = [(each.replica_set, each.min_ready_seconds) for each in plan(world.observed())]
    assert changes == [(rs, 9)], "no rollout: the same set"


def test_rollback_reuses_the_old_set_under_a_new_revision():
    world = World(deployment(2))
    world.settle()
    rollout(world.deployment, "v2")
    world.settle()
    rollout(world.deployment, "v1")
    world.settle()
    assert world.sizes() == {"rs1": 2}
    first = next(rs for rs in world.sets.values() if rs["metadata"]["uid"] == "rs1")
    assert first["metadata"]["annotations"][facts.REVISION] == "3"
    assert first["metadata"]["annotations"][facts.REVISION_HISTORY] == "1"
    assert world.deployment["metadata"]["annotations"][facts.REVISION] == "3"


def test_history_keeps_the_newest_sets():
    world = World(deployment(1))
    for image in ("v1", "v2", "v3", "v4", "v5"):
        rollout(world.deployment, image)
        world.settle()
    assert sorted(rs["metadata"]["uid"] for rs in world.sets.values()) == ["rs3", "rs4", "rs5"]


def test_recreate_waits_until_no_old_pod_runs():
    world = World(deployment(2, strategy={"type": "Recreate"}))
    world.settle()
    rollout(world.deployment, "v2")
    world.step()
    assert world.sizes() == {}
    observed = world.observed()
    running = Observed(observed.deployment, observed.sets, {"rs1": [{"metadata": {}, "status": {"phase": "Running"}}]})
    assert plan(running) == []
    world.settle()
    assert world.sizes() == {"rs2": 2}


def test_paused_scales_but_does_not_roll_out():
    world = World(deployment(2))
    world.settle()
    rollout(world.deployment, "v2")
    world.deployment["spec"] |= {"paused": True, "replicas": 5}
    world.settle()
    assert world.sizes() == {"rs1": 5}


def test_resize_in_a_rollout_keeps_proportions():
    world = World(deployment(10, surge=3, unavailable=2))
    world.settle()
    rollout(world.deployment, "v2")
    while world.step():  # the new pods never get ready
        pass
    assert world.sizes() == {"rs1": 8, "rs2": 5}
    world.deployment["spec"]["replicas"] = 15
    world.step()
    assert world.sizes() == {"rs1": 11, "rs2": 7}


@settings(max_examples=60, deadline=None)  # two seconds on a slow machine
@given(
    replicas=st.integers(0, 12),
    surge=st.integers(0, 4) | st.sampled_from(["25%", "50%", "0%"]),
    unavailable=st.integers(0, 4) | st.sampled_from(["25%", "50%", "0%"]),
    script=st.lists(st.tuples(st.sampled_from(["step", "ready", "image", "resize"]), st.integers(0, 12)), max_size=25),
)
def test_rolling_is_safe_after_every_action_and_converges(replicas, surge, unavailable, script):
    world = World(deployment(replicas, surge=surge, unavailable=unavailable))
    world.settle()
    for what, number in script:
        if what == "image":
            rollout(world.deployment, f"v{number % 4}")
        elif what == "resize":
            world.deployment["spec"]["replicas"] = number
            while world.step():
                pass
        elif what == "ready":
            names = sorted(world.sets)
            name = names[number % len(names)]
            world.available[name] = min(world.available[name] + number, world.sets[name]["spec"]["replicas"])
        else:
            wanted = facts.replicas(world.deployment)
            minimum = wanted - facts.max_unavailable(world.deployment)
            observed = world.observed()
            before = sum(world.available.values())
            total = facts.total(observed.sets)
            for action in plan(observed):
                world.apply(action)
                world.observed()
                after = sum(world.available[name] for name in world.sets)
                assert after >= min(before, minimum), "fewer available pods than allowed"
                limit = max(total, wanted + facts.max_surge(world.deployment))
                assert facts.total(world.sets.values()) <= limit, "more pods than allowed"
    world.settle()
    wanted = facts.replicas(world.deployment)
    new = facts.find_new(world.deployment, world.sets.values())
    assert world.sizes() == ({new["metadata"]["uid"]: wanted} if wanted else {})
