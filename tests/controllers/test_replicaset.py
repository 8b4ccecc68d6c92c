from datetime import timedelta

import pytest

from sampan.api.clock import format_time
from sampan.api.errors import Forbidden
from sampan.api.resources import EVENTS, PODS, REPLICA_SETS, REPLICATION_CONTROLLERS
from sampan.controllers.replicaset.adapters import REPLICA_SET, REPLICATION_CONTROLLER
from sampan.controllers.replicaset.controller import ReplicaSetController
from sampan.controllers.replicaset.plan import Observed, plan, plan_status
from sampan.controllers.workload.pods import slow_start
from sampan.controllers.workload.ranking import ranked_for_deletion


def replica_set(replicas=2, **spec):
    return {
        "kind": "ReplicaSet",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
            **spec,
        },
    }


def pod(
    name, *, node="n1", phase="Running", ready=True, restarts=0, sidecar=0, cost=None, created=3600, now=None, **meta
):
    since = format_time(now - timedelta(seconds=created))
    obj = {
        "metadata": {"name": name, "namespace": "default", "uid": name, "creationTimestamp": since, **meta},
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": phase, "containerStatuses": [{"restartCount": restarts}]},
    }
    if sidecar:
        obj["spec"]["initContainers"] = [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}]
        obj["status"]["initContainerStatuses"] = [
            {"name": "s", "restartCount": sidecar}, {"name": "i", "restartCount": 99},
        ]  # fmt: skip
    if ready:
        obj["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]
    if cost is not None:
        obj["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": str(cost)}
    return obj


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"node": ""}, {}),
        ({"phase": "Pending"}, {"phase": "Running"}),
        ({"ready": False}, {"ready": True}),
        ({"cost": -5}, {"cost": 10}),
        ({"created": 60}, {"created": 6000}),
        ({"restarts": 7}, {"restarts": 1}),
        ({"sidecar": 3}, {"sidecar": 0}),
        ({"restarts": 1}, {"sidecar": 9}),
    ],
)
def test_deletion_order(first, second, now):
    stays, goes = pod("a", now=now, **second), pod("go", now=now, **first)  # by uid alone "a" would go
    victims = ranked_for_deletion([stays, goes], [], now)
    assert victims[0]["metadata"]["name"] == "go"


def test_pods_that_share_a_node_go_first(now):
    alone, shared = pod("alone", node="a", now=now), pod("shared", node="b", now=now)
    related = [alone, shared, pod("other", node="b", now=now)]
    assert ranked_for_deletion([alone, shared], related, now)[0] is shared


def test_finished_pods_are_replaced_and_deleting_sets_do_nothing(now):
    owner = replica_set(2)
    pods = [pod("a", now=now), pod("b", phase="Failed", now=now)]
    assert plan(Observed(owner, pods, pods), now).create == 1
    owner["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert plan(Observed(owner, pods, pods), now).create == 0


def test_min_ready_seconds_delays_availability(now):
    owner = replica_set(1, minReadySeconds=30)
    status, wait = plan_status(Observed(owner, [pod("a", created=10, now=now)], []), None, now)
    assert status["readyReplicas"] == 1
    assert "availableReplicas" not in status
    assert wait == 20


def test_where_all_go_none_is_ranked_and_where_some_go_their_ages_are_told(now):
    pods = [pod(f"p{number}", created=100 * (number + 1), now=now) for number in range(4)]
    everything = plan(Observed(replica_set(0), pods, pods), now)
    assert list(everything.delete) == pods
    assert not everything.age_ratios, "as upstream: nothing was chosen"
    some = plan(Observed(replica_set(2), pods, pods), now)
    assert [each["metadata"]["name"] for each in some.delete] == ["p0", "p1"]
    assert some.age_ratios == (1, 2)


async def test_slow_start_stops_at_the_first_failing_batch():
    tried = []

    async def step(index):
        tried.append(index)
        if index == 1:
            raise Forbidden("quota")

    outcome = await slow_start(100, step)
    assert tried == [0, 1, 2]
    assert outcome.succeeded == 2
    assert isinstance(outcome.error, Forbidden)


async def test_orphans_are_adopted_and_strangers_released(api, context, running, wait):
    template = replica_set()["spec"]["template"]
    for name in ("one", "two", "three"):
        api.add(PODS, {"metadata": {"name": name, "namespace": "default", **template["metadata"]}, "spec": {}})
    async with running(ReplicaSetController(context, REPLICA_SET)):
        api.add(REPLICA_SETS, replica_set(3))
        await wait.quiet(api)
        assert {pod["metadata"]["name"] for pod in api.all(PODS)} == {"one", "two", "three"}
        assert all(pod["metadata"]["ownerReferences"][0]["name"] == "web" for pod in api.all(PODS))
        api.change(PODS, "default", "one", lambda obj: obj["metadata"].update(labels={"app": "debug"}))
        await wait.quiet(api)
    assert len(api.all(PODS)) == 4
    assert not api.get(PODS, "default", "one")["metadata"].get("ownerReferences")


@pytest.mark.parametrize("kind", [REPLICA_SET, REPLICATION_CONTROLLER], ids=["set", "controller"])
async def test_pods_that_have_ended_are_neither_adopted_nor_released(api, context, running, wait, kind):
    """Else they would go with an owner that never made them."""
    owner = replica_set(1)
    resource = REPLICA_SETS if kind is REPLICA_SET else REPLICATION_CONTROLLERS
    owner["kind"] = resource.kind
    if kind is REPLICATION_CONTROLLER:
        owner["spec"]["selector"] = {"app": "web"}
    web = {"namespace": "default", "labels": {"app": "web"}}
    for phase in ("Failed", "Succeeded", "Running"):
        api.add(PODS, {"metadata": {"name": phase.lower(), **web}, "spec": {}, "status": {"phase": phase}})
    async with running(ReplicaSetController(context, kind)):
        api.add(resource, owner)
        await wait.quiet(api)
        assert len(api.all(PODS)) == 3, "the one that runs counts"
        owned = {pod["metadata"]["name"] for pod in api.all(PODS) if pod["metadata"].get("ownerReferences")}
        assert owned == {"running"}
        api.change(PODS, "default", "running", lambda pod: pod["status"].update(phase="Failed"))
        await wait.quiet(api)
        assert len(api.all(PODS)) == 4, "and is replaced when it has ended"
        api.change(PODS, "default", "running", lambda pod: pod["metadata"].update(labels={"app": "debug"}))
        await wait.quiet(api)
    assert api.get(PODS, "default", "running")["metadata"]["ownerReferences"]


async def test_scale_down_deletes_and_tells(api, context, running, wait, set_pods):
    async with running(ReplicaSetController(context, REPLICA_SET)):
        api.add(REPLICA_SETS, replica_set(3))
        await wait.quiet(api)
        set_pods()
        api.change(REPLICA_SETS, "default", "web", lambda obj: obj["spec"].update(replicas=1))
        await wait.quiet(api)
    assert sum("deletionTimestamp" in pod["metadata"] for pod in api.all(PODS)) == 2
    assert api.get(REPLICA_SETS, "default", "web")["status"]["terminatingReplicas"] == 2
    reasons = [event["reason"] for event in api.all(EVENTS)]
    assert reasons.count("SuccessfulCreate") == 3
    assert reasons.count("SuccessfulDelete") == 2


async def test_refused_creates_become_a_condition_that_goes_again(api, context, running, wait):
    api.fail_next = [("POST", "pods", Forbidden("exceeded quota"))]
    seen = []

    def record(method, resource, name):
        status = (api.get(REPLICA_SETS, "default", "web") or {}).get("status", {})
        seen.extend(entry["reason"] for entry in status.get("conditions", ()))

    api.on_write = record
    async with running(ReplicaSetController(context, REPLICA_SET)):
        api.add(REPLICA_SETS, replica_set(2))
        await wait.until(lambda: len(api.all(PODS)) == 2, turns=200_000)
        await wait.quiet(api)
    assert "FailedCreate" in seen
    assert "conditions" not in api.get(REPLICA_SETS, "default", "web")["status"]


async def test_restart_in_the_middle_makes_no_pod_twice(api, context, running, wait):
    owner = api.add(REPLICA_SETS, replica_set(4))
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "controller": True}
    reference["uid"] = owner["metadata"]["uid"]
    for name in ("a", "b"):  # what a crashed predecessor had already made
        meta = {"name": name, "namespace": "default", "labels": {"app": "web"}, "ownerReferences": [reference]}
        api.add(PODS, {"metadata": meta, "spec": {}})
    async with running(ReplicaSetController(context, REPLICA_SET)):
        await wait.quiet(api)
    assert len(api.all(PODS)) == 4


async def test_replication_controller_keeps_its_pods(api, context, running, wait):
    spec = {"replicas": 2, "selector": {"app": "web"}, "template": replica_set()["spec"]["template"]}
    async with running(ReplicaSetController(context, REPLICATION_CONTROLLER)):
        api.add(REPLICATION_CONTROLLERS, {"metadata": {"name": "rc", "namespace": "default"}, "spec": spec})
        await wait.quiet(api)
    assert len(api.all(PODS)) == 2
    assert "terminatingReplicas" not in api.get(REPLICATION_CONTROLLERS, "default", "rc")["status"]
