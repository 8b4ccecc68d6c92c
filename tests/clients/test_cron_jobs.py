"""CronJobs as upstream requires them of the API, with the official client and kubectl, on a simulated node.

What takes minutes is in ``tests/testing/test_cron_jobs.py``, in virtual time.
"""

from __future__ import annotations

from typing import Any

import pytest
from client_harness import Program, eventually
from kubernetes import client as k8s
from kubernetes import watch

# Third-party clients warn of their own dependencies; that is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")

#: at New Year only
RARELY = "0 0 1 1 *"
#: within seconds, and then once a minute, for a minute makes one Job
SOON = "@every 1s"


def cron_job(name: str = "c", schedule: str = RARELY, **spec: Any) -> dict[str, Any]:
    pod = {
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "example.com/a:1"}],
    }  # fmt: skip
    template = {"metadata": {"annotations": {"of": "template"}}, "spec": {"template": {"spec": pod}}}
    metadata = {"name": name, "labels": {"special-label": name}}
    return {"metadata": metadata, "spec": {"schedule": schedule, "jobTemplate": template, **spec}}


@pytest.fixture
def batch(official: Any) -> Any:
    return k8s.BatchV1Api(official)


def test_every_operation_of_the_api(batch: Any, namespace: str) -> None:
    """[sig-apps] CronJob should support CronJob API operations"""
    made = batch.create_namespaced_cron_job(namespace, cron_job())
    assert (made.spec.concurrency_policy, made.spec.suspend) == ("Allow", False)
    assert batch.read_namespaced_cron_job("c", namespace).metadata.uid == made.metadata.uid
    selector = "special-label=c"
    assert len(batch.list_namespaced_cron_job(namespace, label_selector=selector).items) == 1
    everywhere = batch.list_cron_job_for_all_namespaces(label_selector=selector).items
    assert namespace in {each.metadata.namespace for each in everywhere}

    patched = batch.patch_namespaced_cron_job("c", namespace, {"metadata": {"annotations": {"patched": "true"}}})
    assert patched.metadata.annotations["patched"] == "true"
    seen = watch.Watch().stream(
        batch.list_namespaced_cron_job, namespace, resource_version=made.metadata.resource_version, timeout_seconds=30
    )
    assert next(event for event in seen if "patched" in (event["object"].metadata.annotations or {}))

    patched.metadata.annotations["updated"] = "true"
    updated = batch.replace_namespaced_cron_job("c", namespace, patched)
    assert updated.metadata.annotations["updated"] == "true"

    when = "2026-01-01T00:00:00Z"
    patch = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"lastScheduleTime": when}}
    status = batch.patch_namespaced_cron_job_status("c", namespace, patch)
    assert status.status.last_schedule_time.isoformat() == "2026-01-01T00:00:00+00:00"
    assert status.metadata.annotations["patchedstatus"] == "true"
    eventually(lambda: with_status(batch, namespace, "2026-02-01T00:00:00Z"))
    found = batch.read_namespaced_cron_job_status("c", namespace)
    assert found.status.last_schedule_time.isoformat() == "2026-02-01T00:00:00+00:00"

    batch.create_namespaced_cron_job(namespace, cron_job("d"))
    batch.delete_namespaced_cron_job("c", namespace)
    assert [each.metadata.name for each in batch.list_namespaced_cron_job(namespace).items] == ["d"]
    batch.delete_collection_namespaced_cron_job(namespace, label_selector="special-label=d")
    assert batch.list_namespaced_cron_job(namespace).items == []


def with_status(batch: Any, namespace: str, when: str) -> bool:
    found = batch.read_namespaced_cron_job("c", namespace)
    found.status.last_schedule_time = when
    try:
        batch.replace_namespaced_cron_job_status("c", namespace, found)
    except k8s.ApiException as error:
        assert error.status == 409, error
        return False
    return True


def test_a_schedule_makes_its_job_which_runs_and_goes_with_it(batch: Any, kubectl: Program, namespace: str) -> None:
    batch.create_namespaced_cron_job(namespace, cron_job(schedule=SOON))
    job = eventually(lambda: batch.list_namespaced_job(namespace).items)[0].metadata
    owner = job.owner_references[0]
    assert (owner.kind, owner.name, owner.controller) == ("CronJob", "c", True)
    assert job.annotations["of"] == "template"
    assert job.annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"].endswith("Z")
    assert job.name.startswith("c-") and job.name[2:].isdigit()
    found = eventually(lambda: with_active(batch, namespace, job.name))
    assert found.status.last_schedule_time is not None
    eventually(lambda: kubectl("get", "pods", "--no-headers", "-o", "custom-columns=P:.status.phase") == "Running\n")
    row = kubectl("get", "cronjob", "c", "--no-headers").split()
    assert row[:6] == ["c", "@every", "1s", "<none>", "False", str(len(found.status.active))]
    made = f"Created job {job.name}"
    described = eventually(lambda: made in (text := kubectl("describe", "cronjob", "c")) and text)
    assert "Concurrency Policy:            Allow" in described
    kubectl("delete", "cronjob", "c")
    eventually(lambda: not batch.list_namespaced_job(namespace).items)
    eventually(lambda: kubectl("get", "pods", "-o", "name") == "")


def with_active(batch: Any, namespace: str, name: str) -> Any:
    found = batch.read_namespaced_cron_job("c", namespace)
    return found if name in {each.name for each in found.status.active or ()} else None


def test_kubectl_makes_one_and_runs_its_job_at_once(kubectl: Program, namespace: str) -> None:
    made = kubectl("create", "cronjob", "c", "--image=example.com/a:1", "--schedule", RARELY, "--", "sleep", "9")
    assert made == "cronjob.batch/c created\n"
    row = kubectl("get", "cronjob", "c", "--no-headers").split()
    assert row[:9] == ["c", *RARELY.split(), "<none>", "False", "0"] and row[9] == "<none>"
    assert kubectl("create", "job", "now", "--from=cronjob/c") == "job.batch/now created\n"
    found = kubectl.json("get", "job", "now")
    assert found["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual"
    assert found["metadata"]["ownerReferences"][0]["name"] == "c"
    assert found["spec"]["template"]["spec"]["containers"][0]["command"] == ["sleep", "9"]
    message = "Saw a job that the controller did not create or forgot: now"
    eventually(lambda: message in kubectl("get", "events", "--field-selector=reason=UnexpectedJob"))
    kubectl("patch", "cronjob", "c", "-p", '{"spec":{"suspend":true,"timeZone":"Europe/Berlin"}}')
    assert kubectl("get", "cronjob", "c", "--no-headers").split()[6:8] == ["Europe/Berlin", "True"]


def test_what_was_stored_is_warned_of_no_more(kubectl: Program) -> None:
    made = kubectl.run("create", "cronjob", "c", "--image=example.com/a:1", "--schedule", RARELY)
    assert made.stderr == ""


def test_a_finished_job_goes_when_its_time_to_live_has_passed(batch: Any, namespace: str) -> None:
    made = cron_job()["spec"]["jobTemplate"]
    made["metadata"] = {"name": "short"}
    made["spec"] |= {"ttlSecondsAfterFinished": 0, "activeDeadlineSeconds": 1}
    batch.create_namespaced_job(namespace, made)
    eventually(lambda: not batch.list_namespaced_job(namespace).items)
