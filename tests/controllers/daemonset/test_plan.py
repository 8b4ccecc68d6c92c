"""What a DaemonSet decides: where its pods belong, which go, how it rolls; and that it gets there from anywhere."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.controllers.daemonset import facts
from sampan.controllers.daemonset.plan import Observed, Plan, plan, plan_status

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
LONG_AGO = "2026-01-01T00:00:00Z"
Obj = dict[str, Any]


def daemon_set(*, rolling: Obj | None = None, kind: str = "RollingUpdate", spec: Obj | None = None, **more: Any) -> Obj:
    strategy: Obj = {"type": kind}
    if kind == "RollingUpdate":
        strategy["rollingUpdate"] = rolling or {"maxUnavailable": 1, "maxSurge": 0}
    template = {
        "metadata": {"labels": {"app": "d"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], **(spec or {})},
    }
    meta = {"name": "d", "namespace": "default", "uid": "u", "generation": 3}
    return {"metadata": meta, "spec": {"template": template, "updateStrategy": strategy, **more}}


def node(name: str, taints: tuple[tuple[str, str], ...] = (), **labels: str) -> Obj:
    listed = [{"key": key, "effect": effect} for key, effect in taints]
    return {"metadata": {"name": name, "labels": labels}, "spec": {"taints": listed} if listed else {}}


def pod(
    name: str,
    on: str,
    *,
    revision: str = "new",
    ready: bool = True,
    phase: str = "Running",
    bound: bool = True,
    **meta: Any,
) -> Obj:
    made = facts.for_node(facts.template(daemon_set(), revision), on)
    labels = {**made["metadata"]["labels"], "controller-revision-hash": revision}
    spec = {**made["spec"], **({"nodeName": on} if bound else {})}
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": LONG_AGO}
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": name,
            "labels": labels,
            "creationTimestamp": LONG_AGO,
            **meta,
        },
        "spec": spec,
        "status": {"phase": phase, "conditions": [condition] if phase == "Running" else []},
    }


def observed(owner: Obj, nodes: list[Obj], pods: list[Obj], **more: Any) -> Observed:
    return Observed(owner, {each["metadata"]["name"]: each for each in nodes}, pods, "new", NOW, **more)


def names(found: Plan) -> tuple[list[str], list[str]]:
    return sorted(found.create), sorted(each["metadata"]["name"] for each in found.delete)


NODES = [node("a"), node("b"), node("c")]


class TestPlaces:
    @pytest.mark.parametrize(
        ("where", "spec", "verdict"),
        [
            (node("a"), {}, (True, True)),
            (node("a", (("other", "NoSchedule"),)), {}, (False, True)),
            (node("a", (("other", "NoExecute"),)), {}, (False, False)),
            (node("a", (("other", "PreferNoSchedule"),)), {}, (True, True)),
            (node("a", (("other", "NoExecute"),)), {"tolerations": [{"operator": "Exists"}]}, (True, True)),
            (node("a", (("node.kubernetes.io/not-ready", "NoExecute"),)), {}, (True, True)),
            (node("a", (("node.kubernetes.io/unschedulable", "NoSchedule"),)), {}, (True, True)),
            (node("a", (("node.kubernetes.io/disk-pressure", "NoSchedule"),)), {}, (True, True)),
            (node("a", (("node.kubernetes.io/network-unavailable", "NoSchedule"),)), {}, (False, True)),
            (
                node("a", (("node.kubernetes.io/network-unavailable", "NoSchedule"),)),
                {"hostNetwork": True},
                (True, True),
            ),
            (node("a", disk="ssd"), {"nodeSelector": {"disk": "ssd"}}, (True, True)),
            (node("a"), {"nodeSelector": {"disk": "ssd"}}, (False, False)),
            (node("a"), {"nodeName": "b"}, (False, False)),
            (
                node("a", zone="z"),
                {
                    "affinity": {
                        "nodeAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": {
                                "nodeSelectorTerms": [
                                    {"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["z"]}]}
                                ]
                            }
                        }
                    }
                },
                (False, False),
            ),
        ],
    )
    def test_taints_labels_and_affinity_decide(self, where: Obj, spec: Obj, verdict: tuple[bool, bool]) -> None:
        assert facts.Placement(daemon_set(spec=spec)).verdict(where) == verdict

    def test_a_pod_names_its_node_and_tolerates_what_daemons_do(self) -> None:
        own = [
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
        ]
        made = facts.for_node(facts.template(daemon_set(spec={"tolerations": own}), "abc"), "n1")
        assert made["metadata"]["labels"] == {"app": "d", "controller-revision-hash": "abc"}
        [term] = made["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ]
        assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
        assert [
            (each["key"].partition("/")[2], each["effect"], each.get("tolerationSeconds"))
            for each in made["spec"]["tolerations"]
        ] == [
            ("not-ready", "NoExecute", None),
            ("unreachable", "NoExecute", None),
            ("disk-pressure", "NoSchedule", None),
            ("memory-pressure", "NoSchedule", None),
            ("pid-pressure", "NoSchedule", None),
            ("unschedulable", "NoSchedule", None),
        ]


class TestManaging:
    def test_every_node_gets_one(self) -> None:
        assert names(plan(observed(daemon_set(), NODES, [pod("p", "b")]))) == (["a", "c"], [])

    def test_of_several_on_a_node_the_oldest_that_has_it_stays(self) -> None:
        pods = [
            pod("young", "a", creationTimestamp="2026-01-01T00:30:00Z"),
            pod("unbound", "a", bound=False, creationTimestamp="2025-01-01T00:00:00Z"),
            pod("old", "a"),
        ]
        assert names(plan(observed(daemon_set(), [node("a")], pods))) == ([], ["unbound", "young"])

    def test_what_may_not_stay_goes_and_what_may_stays(self) -> None:
        nodes = [node("a", (("x", "NoExecute"),)), node("b", (("x", "NoSchedule"),))]
        assert names(plan(observed(daemon_set(), nodes, [pod("p", "a"), pod("q", "b")]))) == ([], ["p"])

    def test_pods_for_nodes_that_are_gone_go_unless_they_were_bound(self) -> None:
        pods = [pod("waiting", "gone", bound=False), pod("bound", "gone")]
        assert names(plan(observed(daemon_set(), [], pods))) == ([], ["waiting"])

    def test_ended_pods_are_replaced_failed_ones_after_a_while(self) -> None:
        pods = [
            pod("failed", "a", phase="Failed"),
            pod("done", "b", phase="Succeeded"),
            pod("again", "c", phase="Failed"),
        ]
        found = plan(observed(daemon_set(), NODES, pods, backoff=lambda name: 4.0 if name == "c" else 0.0))
        assert names(found) == ([], ["done", "failed"])
        assert found.wait == 4.0

    def test_a_pod_on_its_way_out_holds_its_node(self) -> None:
        assert names(plan(observed(daemon_set(), [node("a")], [pod("p", "a", deletionTimestamp=LONG_AGO)]))) == ([], [])
        gone = pod("p", "a", phase="Succeeded", deletionTimestamp=LONG_AGO)
        assert names(plan(observed(daemon_set(), [node("a")], [gone]))) == (["a"], [])

    def test_no_more_at_once_than_the_burst(self) -> None:
        many = [node(f"n{number}") for number in range(600)]
        assert len(plan(observed(daemon_set(), many, [])).create) == 250


class TestRolling:
    def test_as_many_old_pods_go_as_may_be_missing(self) -> None:
        pods = [pod(each, each, revision="old") for each in "abc"]
        for allowed, count in ((1, 1), (2, 2), ("50%", 2), ("10%", 1), (9, 3)):
            owner = daemon_set(rolling={"maxUnavailable": allowed})
            assert len(plan(observed(owner, NODES, pods)).delete) == count, allowed

    def test_old_pods_that_serve_nobody_go_first_and_all(self) -> None:
        pods = [
            pod("a", "a", revision="old", ready=False),
            pod("b", "b", revision="old", ready=False),
            pod("c", "c", revision="old"),
        ]
        assert names(plan(observed(daemon_set(), NODES, pods))) == ([], ["a", "b"])

    def test_nothing_goes_while_a_new_one_is_not_available(self) -> None:
        pods = [pod("a", "a", ready=False), pod("b", "b", revision="old"), pod("c", "c", revision="old")]
        assert plan(observed(daemon_set(), NODES, pods)).empty
        pods[0] = pod("a", "a")
        waits = daemon_set(minReadySeconds=2 * 3600)
        assert plan(observed(waits, NODES, pods)).delete, "an old pod is not available either, so it goes"

    def test_on_delete_waits_for_somebody_to_delete(self) -> None:
        pods = [pod(each, each, revision="old") for each in "abc"]
        assert plan(observed(daemon_set(kind="OnDelete"), NODES, pods)).empty

    def test_a_surge_makes_the_new_pod_first(self) -> None:
        owner = daemon_set(rolling={"maxSurge": 1, "maxUnavailable": 0})
        old = [pod(f"old-{each}", each, revision="old") for each in "abc"]
        first = plan(observed(owner, NODES, old))
        assert (len(first.create), first.delete) == (1, [])
        starting = [*old, pod("new-a", "a", ready=False)]
        assert plan(observed(owner, NODES, starting)).empty
        done = plan(observed(owner, NODES, [*old, pod("new-a", "a")]))
        assert names(done) == ([], ["old-a"])

    def test_a_surge_replaces_at_once_what_serves_nobody(self) -> None:
        owner = daemon_set(rolling={"maxSurge": 1, "maxUnavailable": 0})
        old = [pod(f"old-{each}", each, revision="old", ready=False) for each in "abc"]
        assert names(plan(observed(owner, NODES, old))) == (["a", "b", "c"], [])

    def test_with_a_surge_a_misplaced_pod_waits_for_one_that_is_available(self) -> None:
        owner = daemon_set(rolling={"maxSurge": 1, "maxUnavailable": 0})
        nodes = [node("a", (("x", "NoSchedule"),)), node("b")]
        old = pod("old", "a", revision="old")
        assert names(plan(observed(owner, nodes, [old]))) == (["b"], [])
        assert plan(observed(owner, nodes, [old, pod("new", "b", ready=False)])).empty
        assert names(plan(observed(owner, nodes, [old, pod("new", "b")]))) == ([], ["old"])


def test_the_status_counts_nodes() -> None:
    nodes = [*NODES, node("d", (("x", "NoSchedule"),))]
    pods = [pod("a", "a"), pod("b", "b", ready=False), pod("d", "d", revision="old")]
    status, wait = plan_status(observed(daemon_set(), nodes, pods))
    assert status == {
        "currentNumberScheduled": 2,
        "numberMisscheduled": 1,
        "desiredNumberScheduled": 3,
        "numberReady": 1,
        "observedGeneration": 3,
        "updatedNumberScheduled": 2,
        "numberAvailable": 1,
        "numberUnavailable": 2,
    }
    assert wait is None
    status, wait = plan_status(observed(daemon_set(minReadySeconds=3660), nodes, pods))
    assert ("numberAvailable" in status, wait) == (False, 60.0)


SOME_NODES = st.lists(
    st.tuples(st.sampled_from(["", "NoSchedule", "NoExecute"]), st.booleans()), min_size=0, max_size=5
).map(
    lambda many: [
        node(f"n{index}", ((("x", taint),) if taint else ()), **({"wanted": "yes"} if wanted else {}))
        for index, (taint, wanted) in enumerate(many)
    ]
)
SOME_PODS = st.lists(
    st.tuples(
        st.integers(0, 6), st.sampled_from(["new", "old"]), st.booleans(), st.booleans(),
        st.sampled_from(["Running", "Running", "Failed", "Succeeded", "Pending"]), st.booleans(),
    ),
    max_size=10,
).map(
    lambda many: [
        pod(f"p{index}", f"n{on}", revision=revision, ready=ready, phase=phase, bound=bound,
            **({"deletionTimestamp": LONG_AGO} if going else {}))
        for index, (on, revision, ready, bound, phase, going) in enumerate(many)
    ]
)  # fmt: skip
STRATEGIES = st.one_of(
    st.integers(1, 3).map(lambda most: {"maxUnavailable": most}),
    st.integers(1, 3).map(lambda most: {"maxSurge": most, "maxUnavailable": 0}),
    st.just({"maxUnavailable": "40%"}),
)


def carried_out(pods: list[Obj], found: Plan, turn: int) -> list[Obj]:
    gone = {each["metadata"]["name"] for each in found.delete}
    left = [each for each in pods if each["metadata"]["name"] not in gone]
    return left + [pod(f"made-{turn}-{name}", name) for name in found.create]


@settings(max_examples=60, deadline=None)
@given(SOME_NODES, SOME_PODS, STRATEGIES, st.booleans())
def test_from_anywhere_it_ends_with_one_new_pod_on_each_node_and_never_does_too_much(
    nodes: list[Obj], pods: list[Obj], rolling: Obj, choosy: bool
) -> None:
    owner = daemon_set(rolling=rolling, spec={"nodeSelector": {"wanted": "yes"}} if choosy else {})
    verdicts = observed(owner, nodes, pods).verdicts
    desired = sum(verdict.starts for verdict in verdicts.values())
    _, unavailable = facts.fenceposts(owner, desired)
    for turn in range(40):
        before = copy.deepcopy(pods)
        seen = observed(owner, nodes, pods)
        found = plan(seen)
        assert pods == before, "a plan changes nothing"
        assert plan(seen).create == found.create, "twice the same"
        on = facts.by_node(pods)
        assert all(verdicts[name].starts for name in found.create)
        assert all(
            len([p for p in on.get(name, ()) if "deletionTimestamp" not in p["metadata"]]) <= 1 for name in found.create
        )
        if not rolling.get("maxSurge"):
            removed = [p for p in found.delete if plan_status(observed(owner, nodes, [p]))[0].get("numberAvailable")]
            alone = [p for p in removed if len(on[facts.target_node(p)]) == 1]
            assert len(alone) <= unavailable
        staying = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
        if found.empty and len(staying) == len(pods):
            break
        pods = staying if found.empty else carried_out(pods, found, turn)
        for each in pods:  # in time all run and are ready
            if each["status"]["phase"] in ("Pending", "Running"):
                ready = {"type": "Ready", "status": "True", "lastTransitionTime": LONG_AGO}
                each["status"] = {"phase": "Running", "conditions": [ready]}
    final = facts.by_node(pods)
    for name, verdict in verdicts.items():
        here = final.get(name, [])
        assert len(here) <= 1
        if verdict.starts:
            assert [facts.is_updated(p, owner, "new") for p in here] == [True], name
        if not verdict.stays:
            assert here == []
