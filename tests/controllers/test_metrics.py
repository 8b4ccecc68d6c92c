"""What controllers tell in metrics, under the reference's names."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from sampan.api.errors import ServiceUnavailable
from sampan.api.resources import CRON_JOBS, JOBS, PODS, REPLICA_SETS
from sampan.client.client import Client
from sampan.controllers.context import ControllersConfig
from sampan.controllers.cronjob.controller import CronJobController
from sampan.controllers.job.controller import JobController
from sampan.controllers.manager import CONTROLLERS, run_controllers
from sampan.controllers.replicaset.adapters import REPLICA_SET
from sampan.controllers.replicaset.controller import ReplicaSetController
from sampan.controllers.workload.ranking import age_ratios, traits
from sampan.metrics import Registry, use
from sampan.metrics.text import text

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


@pytest.fixture
def registry():
    made = Registry()
    with use(made):
        yield made


def shown(registry):
    lines = text(registry.copy()()).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def job(**spec):
    meta = {"name": "j", "namespace": "n", "uid": "job"}
    selector = {"matchLabels": {"a": "b"}}
    defaults = {"parallelism": 1, "completions": 1, "backoffLimit": 0, "completionMode": "NonIndexed"}
    return {"metadata": meta, "spec": {**defaults, "selector": selector, "template": TEMPLATE, **spec}}


@pytest.mark.parametrize(
    ("phase", "result", "reason"),
    [("Succeeded", "succeeded", "CompletionsReached"), ("Failed", "failed", "BackoffLimitExceeded")],
)
async def test_jobs_are_counted_by_how_they_end_and_their_syncs_by_what_they_did(
    api, registry, context, running, wait, phase, result, reason
):
    api.add(JOBS, job())
    async with running(JobController(context)):
        await wait.until(lambda: api.all(PODS))
        await wait.quiet(api)
        pod = api.all(PODS)[0]["metadata"]
        api.change(PODS, "n", pod["name"], lambda obj: obj.setdefault("status", {}).update(phase=phase))
        await wait.quiet(api, turns=200)
    found = shown(registry)
    labels = f'completion_mode="NonIndexed",reason="{reason}",result="{result}"'
    assert found[f"job_controller_jobs_finished_total{{{labels}}}"] == 1
    created = 'action="pods_created",completion_mode="NonIndexed",result="success"'
    assert found[f"job_controller_job_syncs_total{{{created}}}"] == 1
    assert found[f"job_controller_job_sync_duration_seconds_count{{{created}}}"] == 1
    assert found['workqueue_adds_total{name="job-controller"}'] >= 2


async def test_a_sync_that_fails_is_told_as_an_error(api, registry, context, running, wait):
    api.fail_next = [("POST", "pods", ServiceUnavailable("no"))]
    api.add(JOBS, job())
    async with running(JobController(context)):
        await wait.quiet(api, turns=200)
    errors = [name for name, value in shown(registry).items() if 'result="error"' in name and value]
    assert any(name.startswith("job_controller_job_syncs_total") for name in errors)


async def test_how_late_a_job_of_a_cron_job_is_made_is_told(api, registry, context, running, wait):
    template = {"spec": {"template": TEMPLATE}}
    created = "2026-01-01T00:30:00Z"
    meta = {"name": "c", "namespace": "n", "uid": "cron", "creationTimestamp": created}
    spec = {"schedule": "59 * * * *", "concurrencyPolicy": "Allow", "suspend": False, "jobTemplate": template}
    api.now = created
    api.add(CRON_JOBS, {"metadata": meta, "spec": spec})
    async with running(CronJobController(context)):
        await wait.until(lambda: api.all(JOBS))
        await wait.quiet(api)
    found = shown(registry)
    assert found["cronjob_controller_job_creation_skew_duration_seconds_count"] == 1
    assert found["cronjob_controller_job_creation_skew_duration_seconds_sum"] == 60


def pod(name, age_seconds, ready=True):
    created = (NOW - timedelta(seconds=age_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    return {"metadata": {"name": name, "creationTimestamp": created}, "spec": {"nodeName": "x"}, "status": status}


def test_ages_of_pods_that_go_are_told_by_that_of_the_youngest():
    pods = [traits(each) for each in (pod("a", 10), pod("b", 35), pod("c", 100), pod("d", 5, ready=False))]
    assert age_ratios(pods, [pods[1], pods[2], pods[3]], NOW) == [3, 10]
    assert age_ratios([pods[3]], [pods[3]], NOW) == []
    assert age_ratios([traits(pod("e", 0))], [traits(pod("e", 0))], NOW) == []


async def test_a_replica_set_that_shrinks_tells_the_ages(api, registry, context, running, set_pods, wait):
    meta = {"name": "r", "namespace": "n", "uid": "rs"}
    spec = {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}
    api.add(REPLICA_SETS, {"metadata": meta, "spec": spec})
    async with running(ReplicaSetController(context, REPLICA_SET)):
        await wait.until(lambda: len(api.all(PODS)) == 3)
        set_pods()
        await wait.quiet(api)
        api.change(REPLICA_SETS, "n", "r", lambda obj: obj["spec"].update(replicas=1))
        await wait.quiet(api)
    assert shown(registry)["replicaset_controller_sorting_deletion_age_ratio_count"] == 2


async def test_which_controllers_run_is_told(api, registry, clock, wait):
    runs = "serviceaccount-controller"
    started = asyncio.Event()
    config = ControllersConfig(disabled=frozenset(CONTROLLERS) - {runs})
    work = asyncio.ensure_future(
        run_controllers(Client(api), clock=clock, random=random.Random(1), config=config, started=started)
    )
    await started.wait()
    name = f'running_managed_controllers{{manager="kube-controller-manager",name="{runs}"}}'
    assert {key: value for key, value in shown(registry).items() if key.startswith("running_")} == {name: 1}
    work.cancel()
    await asyncio.wait([work])
    assert shown(registry)[name] == 0
