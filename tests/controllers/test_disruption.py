"""What PodDisruptionBudgets allow, from the pods that are there and those that should be."""

from datetime import timedelta

import pytest

from sampan.api.clock import format_time
from sampan.api.resources import (
    DEPLOYMENTS,
    EVENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    Resource,
)
from sampan.controllers.disruption.controller import DisruptionController
from sampan.controllers.disruption.plan import Disrupted, plan_disrupted, plan_expected, plan_status
from sampan.controllers.disruption.stale import seconds_left
from sampan.testing import virtual

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
    assert status["conditions"][0]["message"] == "jobs.batch does not implement the scale subresource"
    said = [(event["reason"], event["message"]) for event in api.all(EVENTS)]
    failed = "Failed to calculate the number of expected pods: jobs.batch does not implement the scale subresource"
    assert said == [("CalculateExpectedPodCountFailed", failed)]


def owned(name, kind, api_version, owner, uid=""):
    made = pod(name, owner=owner)
    made["metadata"]["ownerReferences"][0].update(kind=kind, apiVersion=api_version, uid=uid or owner)
    return made


@pytest.mark.parametrize(
    ("resource", "uid", "expected"),
    [
        (REPLICATION_CONTROLLERS, "keeper", 4),
        (STATEFUL_SETS, "keeper", 4),
        (REPLICA_SETS, "keeper", 4),
        (STATEFUL_SETS, "another of the name", None),
        (REPLICA_SETS, "another of the name", None),
    ],
)
async def test_the_size_is_that_of_whoever_keeps_the_pods(api, context, running, wait, resource, uid, expected):
    api.add(resource, {"metadata": {"name": "keeper", "namespace": "default", "uid": uid}, "spec": {"replicas": 4}})
    api.add(PODS, owned("a", resource.kind, resource.api_version, "keeper"))
    api.add(POD_DISRUPTION_BUDGETS, budget(maxUnavailable="50%"))
    async with running(DisruptionController(context)):
        await wait.quiet(api)
    status = api.get(POD_DISRUPTION_BUDGETS, "default", "b")["status"]
    assert status.get("expectedPods") == expected
    if expected is None:
        assert status["conditions"][0]["message"] == 'found no controllers for pod "a"'
    else:
        assert status["desiredHealthy"] == 2


DISCOVERED = {
    "metadata": {"name": "example.com"},
    "versions": [
        {
            "version": "v1",
            "resources": [
                {
                    "resource": f"{kind.lower()}s",
                    "responseKind": {"group": "example.com", "version": "v1", "kind": kind},
                    "scope": "Namespaced",
                    "verbs": ["list", "watch", "delete", "get"],
                    "subresources": subresources,
                }
                for kind, subresources in (("Fleet", [{"subresource": "scale"}]), ("Rock", [{"subresource": "status"}]))
            ],
        }
    ],
}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Fleet", (5, 3, "")),
        ("Rock", (None, None, "rocks.example.com does not implement the scale subresource")),
        ("Ghost", (None, None, 'no matches for kind "Ghost" in version "example.com/v1"')),
    ],
)
async def test_custom_resources_with_a_scale_count_by_it(api, context, running, wait, kind, expected):
    api.discovery = [DISCOVERED]
    fleets = Resource("example.com", "v1", "fleets", "Fleet", True)
    api.add(fleets, {"metadata": {"name": "own", "namespace": "default", "uid": "own"}, "spec": {"replicas": 5}})
    api.add(PODS, owned("a", kind, "example.com/v1", "own"))
    api.add(POD_DISRUPTION_BUDGETS, budget(minAvailable="50%"))
    async with running(DisruptionController(context)):
        await wait.quiet(api)
    status = api.get(POD_DISRUPTION_BUDGETS, "default", "b")["status"]
    message = status["conditions"][0]["message"]
    assert (status.get("expectedPods"), status.get("desiredHealthy"), message) == expected


async def test_pods_that_nobody_keeps_are_told_of_where_a_size_is_asked_for(api, context, running, wait):
    api.add(PODS, pod("a"))
    api.add(POD_DISRUPTION_BUDGETS, budget(minAvailable="50%"))
    async with running(DisruptionController(context)):
        await wait.quiet(api)
    [event] = api.all(EVENTS)
    selector = "&LabelSelector{MatchLabels:map[string]string{app: web,},MatchExpressions:[]LabelSelectorRequirement{},}"
    assert event["reason"] == "UnmanagedPods"
    assert event["message"] == (
        f"Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, "
        "the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for "
        'these pods please set ".spec.minAvailable" field of the PDB to an integer value.'
    )
    status = api.get(POD_DISRUPTION_BUDGETS, "default", "b")["status"]
    assert (status["expectedPods"], status["disruptionsAllowed"]) == (0, 0)


async def test_a_pod_of_two_budgets_is_told_of(api, context, running, wait):
    other = budget(minAvailable=1)
    other["metadata"] |= {"name": "c", "uid": "c"}
    api.add(POD_DISRUPTION_BUDGETS, budget(minAvailable=1))
    api.add(POD_DISRUPTION_BUDGETS, other)
    async with running(DisruptionController(context)):
        await wait.quiet(api)
        api.add(PODS, pod("a"))
        await wait.quiet(api)
    [event] = [event for event in api.all(EVENTS) if event["reason"] == "MultiplePodDisruptionBudgets"]
    start = 'Pod "default"/"a" matches multiple PodDisruptionBudgets.  Chose "'
    assert event["message"] in (f'{start}b" arbitrarily.', f'{start}c" arbitrarily.')


def targeted(ago, now, reason="EvictionByEvictionAPI", status="True", **meta):
    said = {"type": "DisruptionTarget", "status": status, "reason": reason, "message": "m"}
    made = pod("a", **meta)
    made["status"]["conditions"] = [{**said, "lastTransitionTime": format_time(now - timedelta(seconds=ago))}]
    return made


@pytest.mark.parametrize(
    ("ago", "more", "expected"),
    [
        (0, {}, 120.0),
        (119, {}, 1.0),
        (300, {}, 0.0),
        (300, {"status": "False"}, None),
        (300, {"reason": "TerminationByKubelet"}, None),
        (300, {"deletionTimestamp": "2026-01-01T00:00:00Z"}, None),
    ],
)
def test_when_it_is_stale_that_a_pod_is_to_be_disrupted(ago, more, expected, now):
    assert seconds_left(targeted(ago, now, **more), now) == expected


def test_pods_that_have_ended_are_left_alone(now):
    ended = targeted(300, now)
    ended["status"]["phase"] = "Succeeded"
    assert seconds_left(ended, now) is None


def test_what_was_said_of_a_pod_that_stays_is_taken_back_after_two_minutes(
    make_api, make_context, run_with, virtual_clock
):
    async def scenario():
        api, clock = make_api(), virtual_clock()
        context = make_context(api, clock)
        async with run_with(context, DisruptionController(context)):
            api.add(PODS, targeted(0, clock.now()))
            await clock.sleep(119)
            assert api.get(PODS, "default", "a")["status"]["conditions"][0]["status"] == "True"
            await clock.sleep(2)
            [condition] = api.get(PODS, "default", "a")["status"]["conditions"]
        assert {key: condition.get(key) for key in ("type", "status", "reason", "message")} == {
            "type": "DisruptionTarget", "status": "False", "reason": None, "message": None,
        }  # fmt: skip

    virtual.run(scenario())


def test_an_eviction_that_is_said_to_be_at_the_end_of_time_is_waited_for(now):
    found = plan_disrupted(budget({"disruptedPods": {"a": "9999-12-31T23:59:59Z"}}), [pod("a")], now)
    assert set(found.pods) == {"a"} and found.overdue == ()
