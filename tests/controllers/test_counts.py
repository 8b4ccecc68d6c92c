"""What workloads count in their status, field by field, and what only their controllers can show."""

from datetime import UTC, datetime

import pytest

from sampan.api.errors import Forbidden
from sampan.api.resources import (
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
)
from sampan.controllers.daemonset.controller import DaemonSetController
from sampan.controllers.deployment.controller import DeploymentController
from sampan.controllers.job.controller import JobController
from sampan.controllers.replicaset.adapters import REPLICA_SET, REPLICATION_CONTROLLER
from sampan.controllers.replicaset.controller import ReplicaSetController
from sampan.controllers.replicaset.plan import Failure, Observed, plan_status
from sampan.controllers.statefulset.controller import StatefulSetController

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
LABELS = {"app": "w"}


def workload(**spec):
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "v1"}]}}
    meta = {"name": "w", "namespace": "default", "uid": "w", "generation": 1}
    wanted = {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": template, "revisionHistoryLimit": 10}
    return {"metadata": meta, "spec": {**wanted, **spec}}


def pod(name, *, ready_for=3600, labels=LABELS, **meta):
    since = datetime.fromtimestamp(NOW.timestamp() - ready_for, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
    made = {"name": name, "namespace": "default", "uid": name, "labels": dict(labels), **meta}
    return {"metadata": made, "spec": {"nodeName": "n"}, "status": {"phase": "Running", "conditions": [ready]}}


@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
def test_sets_count_their_pods(kind):
    owner = {**workload(minReadySeconds=60), "kind": kind}
    wanted = {**LABELS, "tier": "front"}
    leaving = pod("d", deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=30)
    pods = [pod("a", labels=wanted), pod("b"), pod("c", ready_for=10), leaving]
    owner["spec"]["template"] = {"metadata": {"labels": wanted}}
    status, wait = plan_status(Observed(owner, pods, ()), None, NOW)
    expected = {
        "replicas": 3, "fullyLabeledReplicas": 1, "readyReplicas": 3, "availableReplicas": 2, "observedGeneration": 1,
    }  # fmt: skip
    if kind == "ReplicaSet":
        expected["terminatingReplicas"] = 1
    assert (status, wait) == (expected, 50.0)


@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
def test_a_failure_is_a_condition_until_it_is_over(kind):
    owner = {**workload(), "kind": kind}
    failure = Failure("FailedCreate", "exceeded quota")
    status, _ = plan_status(Observed(owner, [], ()), failure, NOW)
    [condition] = status["conditions"]
    assert condition == {
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota",
        "lastTransitionTime": "2026-01-01T01:00:00Z",
    }  # fmt: skip
    owner["status"] = status
    assert "conditions" not in plan_status(Observed(owner, [], ()), None, NOW)[0]


async def test_a_refused_pod_of_a_replication_controller_is_told_and_made_later(api, context, running, wait):
    api.fail_next = [("POST", "pods", Forbidden("exceeded quota"))]
    api.add(REPLICATION_CONTROLLERS, workload(selector=LABELS))
    seen = []
    api.on_write = lambda *call: seen.extend(
        entry["reason"] for entry in (api.all(REPLICATION_CONTROLLERS)[0].get("status") or {}).get("conditions", ())
    )
    async with running(ReplicaSetController(context, REPLICATION_CONTROLLER)):
        await wait.until(lambda: len(api.all(PODS)) == 2, turns=200_000)
        await wait.quiet(api)
    assert "FailedCreate" in seen
    status = api.get(REPLICATION_CONTROLLERS, "default", "w")["status"]
    assert (status["replicas"], status.get("conditions")) == (2, None)


async def test_a_deployment_counts_what_is_not_available(api, context, running, wait, set_pods):
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    async with running(DeploymentController(context), ReplicaSetController(context, REPLICA_SET)):
        api.add(DEPLOYMENTS, workload(strategy=strategy, progressDeadlineSeconds=600))
        await wait.quiet(api)
        assert api.get(DEPLOYMENTS, "default", "w")["status"]["unavailableReplicas"] == 2
        first = api.all(PODS)[0]["metadata"]["name"]
        set_pods(only=lambda pod: pod["metadata"]["name"] == first)
        await wait.quiet(api)
        status = api.get(DEPLOYMENTS, "default", "w")["status"]
        assert (status["unavailableReplicas"], status["availableReplicas"], status["readyReplicas"]) == (1, 1, 1)
        set_pods()
        await wait.quiet(api)
    status = api.get(DEPLOYMENTS, "default", "w")["status"]
    assert "unavailableReplicas" not in status
    assert (status["replicas"], status["updatedReplicas"], status["terminatingReplicas"]) == (2, 2, 0)
    assert status["observedGeneration"] == 1
    assert len(api.all(REPLICA_SETS)) == 1


@pytest.mark.parametrize(
    ("resource", "controller"),
    [(DAEMON_SETS, DaemonSetController), (STATEFUL_SETS, StatefulSetController)],
    ids=["daemons", "stateful"],
)
async def test_a_revision_of_somebody_else_counts_a_collision(api, context, running, wait, resource, controller):
    strategy = {"type": "RollingUpdate", "rollingUpdate": {}}
    api.add(NODES, {"metadata": {"name": "n", "labels": {}}, "spec": {}})
    async with running(controller(context)):
        api.add(resource, workload(updateStrategy=strategy, serviceName="s", podManagementPolicy="Parallel"))
        await wait.quiet(api)
        [revision] = api.all(CONTROLLER_REVISIONS)

        def disown(obj):
            obj["metadata"].update(ownerReferences=[], labels={"app": "other"})
            obj["data"] = {"spec": {"template": {"foreign": True}}}

        api.change(CONTROLLER_REVISIONS, "default", revision["metadata"]["name"], disown)
        await wait.quiet(api)
    assert api.get(resource, "default", "w")["status"]["collisionCount"] == 1
    assert len(api.all(CONTROLLER_REVISIONS)) == 2


async def test_a_job_counts_the_pods_that_run_are_ready_and_are_going(api, context, running, wait):
    template = {"metadata": {"labels": LABELS}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}
    spec = {"template": template, "parallelism": 2, "completions": 2, "backoffLimit": 6, "completionMode": "NonIndexed"}
    async with running(JobController(context)):
        api.add(JOBS, workload(**spec, manualSelector=True))
        await wait.quiet(api)
        one, other = (each["metadata"]["name"] for each in api.all(PODS))
        ready = [{"type": "Ready", "status": "True"}]

        def run(obj):
            obj["spec"]["nodeName"], obj["status"] = "n", {"phase": "Running", "conditions": ready}

        api.change(PODS, "default", one, run)
        api.change(PODS, "default", other, run)
        await wait.quiet(api)
        status = api.get(JOBS, "default", "w")["status"]
        assert (status["active"], status["ready"], status.get("terminating", 0)) == (2, 2, 0)
        going = {"deletionTimestamp": "2026-01-01T01:00:00Z", "deletionGracePeriodSeconds": 30}
        api.change(PODS, "default", one, lambda obj: obj["metadata"].update(going))
        await wait.quiet(api)
    status = api.get(JOBS, "default", "w")["status"]
    assert (status["terminating"], status["startTime"]) == (1, "2026-01-01T01:00:00Z")
