import pytest

from sampan.api.errors import Conflict, Forbidden, ServiceUnavailable
from sampan.api.resources import DEPLOYMENTS, EVENTS, PODS, REPLICA_SETS
from sampan.controllers.deployment.controller import DeploymentController
from sampan.controllers.replicaset.adapters import REPLICA_SET
from sampan.controllers.replicaset.controller import ReplicaSetController


def deployment(replicas=3, image="v1", **spec):
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            "template": template,
            **spec,
        },
    }


@pytest.fixture
def controllers(context):
    return DeploymentController(context), ReplicaSetController(context, REPLICA_SET)


def messages(api, reason):
    return [event["message"] for event in api.all(EVENTS) if event["reason"] == reason]


def condition(api, kind):
    status = api.get(DEPLOYMENTS, "default", "web").get("status", {})
    return next((c for c in status.get("conditions", ()) if c["type"] == kind), None)


async def test_deployment_makes_a_set_that_makes_pods(api, running, controllers, wait, set_pods):
    async with running(*controllers):
        api.add(DEPLOYMENTS, deployment())
        await wait.quiet(api)
        assert len(api.all(PODS)) == 3
        assert condition(api, "Progressing")["reason"] in ("NewReplicaSetCreated", "ReplicaSetUpdated")
        assert condition(api, "Available")["reason"] == "MinimumReplicasUnavailable"
        set_pods()
        await wait.quiet(api)
    (rs,) = api.all(REPLICA_SETS)
    name = rs["metadata"]["name"]
    assert messages(api, "ScalingReplicaSet") == [f"Scaled up replica set {name} from 0 to 3"]
    assert condition(api, "Progressing")["reason"] == "NewReplicaSetAvailable"
    assert condition(api, "Progressing")["message"] == f'ReplicaSet "{name}" has successfully progressed.'
    assert condition(api, "Available")["message"] == "Deployment has minimum availability."
    status = api.get(DEPLOYMENTS, "default", "web")["status"]
    assert {key: status[key] for key in ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas")} == {
        "replicas": 3,
        "readyReplicas": 3,
        "updatedReplicas": 3,
        "availableReplicas": 3,
    }


async def test_rolling_update_replaces_pods_and_never_drops_below_the_minimum(
    api, running, controllers, wait, set_pods
):
    async with running(*controllers):
        api.add(DEPLOYMENTS, deployment())
        await wait.quiet(api)
        set_pods()
        await wait.quiet(api)
        template = deployment(image="v2")["spec"]["template"]
        api.change(DEPLOYMENTS, "default", "web", lambda obj: obj["spec"].update(template=template))
        for _ in range(10):
            await wait.quiet(api)
            active = [pod for pod in api.all(PODS) if "deletionTimestamp" not in pod["metadata"]]
            ready = [pod for pod in active if pod.get("status", {}).get("phase") == "Running"]
            assert len(ready) >= 3
            assert len(active) <= 4
            for pod in api.all(PODS):
                if "deletionTimestamp" in pod["metadata"]:
                    api.remove(PODS, "default", pod["metadata"]["name"])
            set_pods()
        await wait.quiet(api)
    assert {pod["spec"]["containers"][0]["image"] for pod in api.all(PODS)} == {"v2"}
    assert condition(api, "Progressing")["reason"] == "NewReplicaSetAvailable"
    assert api.get(DEPLOYMENTS, "default", "web")["metadata"]["annotations"] == {
        "deployment.kubernetes.io/revision": "2"
    }


async def test_nothing_is_written_when_all_is_well(api, running, controllers, wait, set_pods):
    async with running(*controllers):
        api.add(DEPLOYMENTS, deployment())
        await wait.quiet(api)
        set_pods()
        await wait.quiet(api)
        api.log.clear()
        api.change(DEPLOYMENTS, "default", "web", lambda obj: obj["metadata"].update(labels={"a": "b"}))
        await wait.quiet(api)
    assert api.log == []


async def test_conflicts_and_faults_lead_to_the_same_end_without_duplicates(api, running, controllers, wait):
    api.fail_next = [
        ("POST", "replicasets", ServiceUnavailable("down")),
        ("PUT", "deployments", Conflict("changed")),
        ("PUT", "deployments", Conflict("changed")),
        ("POST", "pods", ServiceUnavailable("down")),
        ("PUT", "replicasets", Conflict("changed")),
    ]
    async with running(*controllers):
        api.add(DEPLOYMENTS, deployment(5))
        await wait.until(lambda: len(api.all(PODS)) == 5 and not api.fail_next, turns=200_000)
        await wait.quiet(api)
    assert len(api.all(REPLICA_SETS)) == 1
    assert len(api.all(PODS)) == 5


async def test_name_taken_by_another_template_counts_a_collision(api, running, controllers, wait):
    async with running(controllers[0]):
        api.add(DEPLOYMENTS, deployment(1))
        await wait.quiet(api)
        (rs,) = api.all(REPLICA_SETS)
        name = rs["metadata"]["name"]

        def disown(obj):
            obj["metadata"]["ownerReferences"] = []
            obj["metadata"]["labels"] = {"app": "other"}
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = "foreign"

        api.change(REPLICA_SETS, "default", name, disown)
        await wait.quiet(api)
    assert api.get(DEPLOYMENTS, "default", "web")["status"]["collisionCount"] == 1
    assert len(api.all(REPLICA_SETS)) == 2


async def test_pause_and_resume_show_in_conditions(api, running, controllers, wait):
    async with running(controllers[0]):
        api.add(DEPLOYMENTS, deployment(1, paused=True))
        await wait.quiet(api)
        assert condition(api, "Progressing")["reason"] == "DeploymentPaused"
        assert api.all(REPLICA_SETS) == []
        api.change(DEPLOYMENTS, "default", "web", lambda obj: obj["spec"].pop("paused"))
        await wait.quiet(api)
        assert condition(api, "Progressing")["reason"] != "DeploymentPaused"
        assert len(api.all(REPLICA_SETS)) == 1


async def test_passed_deadline_is_reported(api, running, controllers, wait, clock, now):
    from datetime import timedelta

    async with running(*controllers):
        api.add(DEPLOYMENTS, deployment(1))
        await wait.quiet(api)
        clock.set(now + timedelta(seconds=700))
        api.change(DEPLOYMENTS, "default", "web", lambda obj: obj["metadata"].update(labels={"a": "b"}))
        await wait.quiet(api)
    name = api.all(REPLICA_SETS)[0]["metadata"]["name"]
    assert condition(api, "Progressing")["reason"] == "ProgressDeadlineExceeded"
    assert condition(api, "Progressing")["message"] == f'ReplicaSet "{name}" has timed out progressing.'


async def test_failed_set_creation_is_a_condition_and_an_event(api, running, controllers, wait):
    api.fail_next = [("POST", "replicasets", Forbidden("exceeded quota"))]
    seen = []
    api.on_write = lambda method, resource, name: seen.append(condition(api, "Progressing"))
    async with running(controllers[0]):
        api.add(DEPLOYMENTS, deployment(1))
        await wait.until(lambda: api.all(REPLICA_SETS), turns=200_000)
        await wait.quiet(api)
    assert "ReplicaSetCreateError" in {entry["reason"] for entry in seen if entry}
    assert any("exceeded quota" in message for message in messages(api, "ReplicaSetCreateError"))


@pytest.mark.parametrize("writes", range(1, 9))
async def test_crash_after_any_write_leads_to_the_same_end(make_api, make_context, run_with, wait, writes):
    """The controllers die right after their n-th write, and successors that know nothing take over."""
    api = make_api()
    api.add(DEPLOYMENTS, deployment(3))
    first = make_context(api)
    async with run_with(first, DeploymentController(first), ReplicaSetController(first, REPLICA_SET)):
        await wait.until(lambda: len([entry for entry in api.log if "events" not in entry[1]]) >= writes)
    second = make_context(api)
    async with run_with(second, DeploymentController(second), ReplicaSetController(second, REPLICA_SET)):
        await wait.quiet(api)
    assert len(api.all(REPLICA_SETS)) == 1
    assert len(api.all(PODS)) == 3
    assert api.get(DEPLOYMENTS, "default", "web")["status"]["replicas"] == 3
