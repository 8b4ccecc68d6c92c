"""Jobs as upstream requires them of the API, with the official client and kubectl, on a simulated node."""

from __future__ import annotations

from typing import Any

import pytest
from client_harness import Program, eventually
from kubernetes import client as k8s

# Third-party clients warn of their own dependencies; that is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")


def job(image: str = "example.com/a:1", **spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": image}]}
    return {"metadata": {"name": "j"}, "spec": {"template": {"spec": pod}, **spec}}


@pytest.fixture
def batch(official: Any) -> Any:
    return k8s.BatchV1Api(official)


@pytest.fixture
def core(official: Any) -> Any:
    return k8s.CoreV1Api(official)


def pods(core: Any, namespace: str) -> list[Any]:
    found: list[Any] = core.list_namespaced_pod(namespace, label_selector="job-name=j").items
    return found


def test_the_pods_go_with_the_job(core: Any, batch: Any, namespace: str) -> None:
    """Job should delete a job"""
    batch.create_namespaced_job(namespace, job(parallelism=2, completions=4))
    eventually(lambda: [pod.status.phase for pod in pods(core, namespace)] == ["Running"] * 2)
    batch.delete_namespaced_job("j", namespace, propagation_policy="Foreground")
    eventually(lambda: not batch.list_namespaced_job(namespace).items)
    assert not core.list_namespaced_pod(namespace).items


def test_orphans_are_adopted_again_and_strangers_released(core: Any, batch: Any, namespace: str) -> None:
    """Job should adopt matching orphans and release non-matching pods"""
    batch.create_namespaced_job(namespace, job(parallelism=2, completions=4))
    eventually(lambda: len(pods(core, namespace)) == 2)
    name = pods(core, namespace)[0].metadata.name
    core.patch_namespaced_pod(name, namespace, [{"op": "remove", "path": "/metadata/ownerReferences"}])
    eventually(lambda: core.read_namespaced_pod(name, namespace).metadata.owner_references)
    core.patch_namespaced_pod(name, namespace, [{"op": "remove", "path": "/metadata/labels"}])
    eventually(lambda: not core.read_namespaced_pod(name, namespace).metadata.owner_references)
    assert not core.read_namespaced_pod(name, namespace).metadata.finalizers


def test_a_status_is_patched_and_replaced(batch: Any, namespace: str) -> None:
    """Job should apply changes to a job status"""
    batch.create_namespaced_job(namespace, job(parallelism=2, completions=4, backoffLimit=6))
    eventually(lambda: batch.read_namespaced_job("j", namespace).status.active == 2)
    patch = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"startTime": "2026-01-01T00:00:00Z"}}
    with pytest.raises(k8s.ApiException) as refused:  # of a Job that runs
        batch.patch_namespaced_job_status("j", namespace, patch)
    assert refused.value.status == 422
    del patch["status"]
    assert batch.patch_namespaced_job_status("j", namespace, patch).metadata.annotations["patchedstatus"] == "true"

    def replaced() -> bool:
        found = batch.read_namespaced_job_status("j", namespace)
        found.status.conditions = [
            k8s.V1JobCondition(type="CustomConditionType", status="True", reason="E2E", message="Set from e2e")
        ]
        try:
            batch.replace_namespaced_job_status("j", namespace, found)
        except k8s.ApiException as error:
            assert error.status == 409, error
            return False
        return True

    eventually(replaced)
    found = batch.read_namespaced_job_status("j", namespace).status.conditions
    assert "CustomConditionType" in {each.type for each in found}


def test_the_life_of_a_suspended_job(core: Any, batch: Any, kubectl: Program, namespace: str) -> None:
    """Job should manage the lifecycle of a job"""
    made = job(suspend=True, completions=1)
    made["metadata"]["labels"] = {"job-test": namespace}
    batch.create_namespaced_job(namespace, made)
    eventually(
        lambda: (
            [(c.type, c.status) for c in batch.read_namespaced_job("j", namespace).status.conditions or ()]
            == [("Suspended", "True")]
        )
    )
    assert kubectl("get", "job", "j", "--no-headers").split()[:3] == ["j", "Suspended", "0/1"]
    patched = batch.patch_namespaced_job("j", namespace, {"metadata": {"labels": {"patched": "yes"}}})
    assert patched.metadata.labels["patched"] == "yes"
    patched.metadata.annotations = {"updated": "true"}
    assert batch.replace_namespaced_job("j", namespace, patched).metadata.annotations["updated"] == "true"
    [found] = batch.list_job_for_all_namespaces(label_selector=f"job-test={namespace}").items
    assert found.metadata.name == "j"
    assert pods(core, namespace) == []
    kubectl("patch", "job", "j", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    eventually(lambda: len(pods(core, namespace)) == 1)
    batch.delete_collection_namespaced_job(namespace, label_selector="patched=yes", propagation_policy="Background")
    eventually(lambda: not batch.list_namespaced_job(namespace).items)
    eventually(lambda: not pods(core, namespace))


def test_a_job_of_many_pods_counts_each(core: Any, batch: Any, namespace: str) -> None:
    batch.create_namespaced_job(namespace, job("example.com/succeeds:1", parallelism=20, completions=60))
    done = eventually(lambda: batch.read_namespaced_job("j", namespace).status.completion_time)
    assert done
    assert batch.read_namespaced_job("j", namespace).status.succeeded == 60
    assert not any(pod.metadata.finalizers for pod in pods(core, namespace))


def test_failing_pods_are_tried_until_the_limit(batch: Any, namespace: str) -> None:
    batch.create_namespaced_job(namespace, job("example.com/fails:1", backoffLimit=1))
    found = eventually(
        lambda: next(
            (c for c in batch.read_namespaced_job("j", namespace).status.conditions or () if c.type == "Failed"), None
        )
    )
    assert (found.reason, found.message) == ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    assert batch.read_namespaced_job("j", namespace).status.failed == 2
