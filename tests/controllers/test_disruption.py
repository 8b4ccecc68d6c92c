"""What PodDisruptionBudgets allow, from the pods that are there and those that should be."""

from datetime import timedelta

import pytest

from sampan.api.clock import format_time
from sampan.api.resources import DEPLOYMENTS, POD_DISRUPTION_BUDGETS, PODS, REPLICA_SETS
from sampan.controllers.disruption.controller import DisruptionController
from sampan.controllers.disruption.plan import Disrupted, plan_disrupted, plan_expected, plan_status

NOBODY = Disrupted({}, (), None)


def budget(status=None, **spec):
    selector = {"matchLabels": {"app": "web"}}
    meta = {"name": "b", "namespace": "default", "uid": "b", "generation": 2}
    return {"metadata": meta, "spec": {"selector": selector, **spec}, "status": status or {}}


def pod(name, ready="True", owner=None, **meta):
    references = [{"kind": "ReplicaSet", "apiVersion": "apps/v1", "name": owner, "uid": owner, "controller": True}]
    meta = {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}, **meta}
    if owner:
        meta["ownerReferences"] = references
    return {"metadata": meta, "spec": {}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


@pytest.mark.parametrize(
    ("spec", "pods", "scale", "expected"),
    [
        ({"minAvailable": 2}, 3, 0, (3, 2)),
        ({"minAvailable": "50%"}, 1, 5, (5, 3)),
        ({"maxUnavailable": 1}, 1, 5, (5, 4)),
        ({"maxUnavailable": "30%"}, 1, 5, (5, 3)),
        ({"maxUnavailable": 9}, 1, 5, (5, 0)),
        ({"maxUnavailable": 0}, 5, 5, (5, 5)),
    ],
)
def test_how_many_are_expected_and_must_be_healthy(spec, pods, scale, expected):
    found = plan_expected(budget(**spec), pods, scale)
    assert (found.pods, found.healthy) == expected


def test_only_ready_pods_that_stay_count(now):
    pods = [pod("a"), pod("b", ready="False"), pod("c", deletionTimestamp="x"), pod("d"), pod("e")]
    leaving = Disrupted({"e": "2026-01-01T00:59:30Z"}, (), 90.0)
    status = plan_status(budget(), pods, plan_expected(budget(minAvailable=1), 5, 0), leaving, now)
    assert (status["currentHealthy"], status["disruptionsAllowed"], status["observedGeneration"]) == (2, 1, 2)
    assert status["disruptedPods"] == leaving.pods
    assert (status["conditions"][0]["status"], status["conditions"][0]["reason"]) == ("True", "SufficientPods")


def test_a_budget_without_pods_allows_nothing(now):
    status = plan_status(budget(), [], plan_expected(budget(minAvailable=0), 0, 0), NOBODY, now)
    assert status["disruptionsAllowed"] == 0
    assert status["conditions"][0]["reason"] == "InsufficientPods"


def test_evicted_pods_are_forgotten_when_gone_and_told_of_when_they_stay(now):
    noted = {name: format_time(now - timedelta(seconds=ago)) for name, ago in (("a", 30), ("b", 200), ("gone", 5))}
    found = plan_disrupted(budget({"disruptedPods": noted}), [pod("a"), pod("b"), pod("c")], now)
    assert found == Disrupted({"a": noted["a"]}, ("b",), 90.0)


async def test_the_status_follows_pods_and_the_deployments_size(api, context, running, wait):
    api.add(DEPLOYMENTS, {"metadata": {"name": "web", "namespace": "default", "uid": "d"}, "spec": {"replicas": 3}})
    above = [{"kind": "Deployment", "apiVersion": "apps/v1", "name": "web", "uid": "d", "controller": True}]
    meta = {"name": "rs", "namespace": "default", "uid": "rs", "ownerReferences": above}
    api.add(REPLICA_SETS, {"metadata": meta, "spec": {"replicas": 3}})
    for name in ("a", "b", "c"):
        api.add(PODS, pod(name, owner="rs"))
    api.add(POD_DISRUPTION_BUDGETS, budget(maxUnavailable=1))
    async with running(DisruptionController(context)):
        await wait.quiet(api)
        status = api.get(POD_DISRUPTION_BUDGETS, "default", "b")["status"]
        assert (status["expectedPods"], status["desiredHealthy"], status["disruptionsAllowed"]) == (3, 2, 1)
        api.change(PODS, "default", "a", lambda obj: obj["status"].update(conditions=[]))
        await wait.quiet(api)
    assert api.get(POD_DISRUPTION_BUDGETS, "default", "b")["status"]["disruptionsAllowed"] == 0


async def test_pods_of_something_without_a_size_block_evictions_and_say_so(api, context, running, wait):
    foreign = pod("a", owner="x")
    foreign["metadata"]["ownerReferences"][0].update(kind="Job", apiVersion="batch/v1")
    api.add(PODS, foreign)
    api.add(POD_DISRUPTION_BUDGETS, budget({"disruptionsAllowed": 1}, maxUnavailable=1))
    async with running(DisruptionController(context)):
        await wait.quiet(api)
    status = api.get(POD_DISRUPTION_BUDGETS, "default", "b")["status"]
    assert status["disruptionsAllowed"] == 0
    assert status["conditions"][0]["reason"] == "SyncFailed"
