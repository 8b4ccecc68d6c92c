"""Jobs in real containers, through stock kubectl: upstream's requirements on how they succeed and fail."""

from __future__ import annotations

import json
from typing import Any

from e2e_harness import Kubectl, described, eventually
from e2e_manifests import IMAGE

BY_INDEX = "exit $((JOB_COMPLETION_INDEX % 2))"


def job(command: str, *, restart: str = "Never", **spec: Any) -> str:
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", command]}
    pod = {"restartPolicy": restart, "terminationGracePeriodSeconds": 1, "containers": [container]}
    wanted = {"template": {"spec": pod}, **spec}
    return json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": wanted})


def indexed(command: str, completions: int, **spec: Any) -> str:
    whole = {"completionMode": "Indexed", "completions": completions, "parallelism": completions, **spec}
    return job(command, **whole)


def conditions(kubectl: Kubectl) -> dict[str, str]:
    """Of the Job: the reasons of those that hold, by type."""
    found = kubectl.json("get", "job", "j")["status"].get("conditions", ())
    return {each["type"]: each.get("reason", "") for each in found if each["status"] == "True"}


def run(kubectl: Kubectl, manifest: str, ends: str = "Complete") -> Any:
    """The status of the Job once it has ended like this."""
    kubectl("apply", "-f", "-", stdin=manifest)
    eventually(lambda: {"Complete", "Failed"} & conditions(kubectl).keys())
    assert ends in conditions(kubectl)
    return kubectl.json("get", "job", "j")["status"]


def test_a_job_completes_and_tells_so(kubectl: Kubectl) -> None:
    kubectl("create", "job", "j", f"--image={IMAGE}", "--", "sh", "-c", "echo done")
    kubectl("wait", "job/j", "--for=condition=Complete", "--timeout=90s")
    assert kubectl("logs", "job/j") == "done\n"
    assert kubectl("get", "job", "j", "--no-headers").split()[:3] == ["j", "Complete", "1/1"]
    statuses = "Pods Statuses:    0 Active (0 Ready) / 1 Succeeded / 0 Failed"
    described(kubectl, "job", "j", says=[statuses, "Job completed"])


def test_tasks_that_fail_at_first_are_restarted_where_they_are(kubectl: Kubectl) -> None:
    """Job should run a job to completion when tasks sometimes fail and are locally restarted"""
    volume = {"name": "d", "emptyDir": {}}
    manifest = json.loads(
        job("[ -e /d/seen ] && exit 0; touch /d/seen; exit 1", restart="OnFailure", completions=2, parallelism=2)
    )
    pod = manifest["spec"]["template"]["spec"]
    pod["volumes"] = [volume]
    pod["containers"][0]["volumeMounts"] = [{"name": "d", "mountPath": "/d"}]
    status = run(kubectl, json.dumps(manifest))
    assert (status["succeeded"], status.get("failed", 0)) == (2, 0)


def test_each_pod_of_an_indexed_job_knows_its_index(kubectl: Kubectl) -> None:
    """Job should create pods for an Indexed job with completion indexes and specified hostname"""
    status = run(kubectl, indexed("echo $JOB_COMPLETION_INDEX $(hostname)", 4, parallelism=2))
    assert (status["succeeded"], status["completedIndexes"]) == (4, "0-3")
    pods = kubectl.json("get", "pods", "-l", "job-name=j")["items"]
    indexes = sorted(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] for pod in pods)
    assert indexes == ["0", "1", "2", "3"]
    said = sorted(kubectl("logs", pod["metadata"]["name"]).strip() for pod in pods)
    assert said == ["0 j-0", "1 j-1", "2 j-2", "3 j-3"]


def test_indexes_that_fail_hold_up_no_others(kubectl: Kubectl) -> None:
    """Job should execute all indexes despite some failing when using backoffLimitPerIndex"""
    status = run(kubectl, indexed(BY_INDEX, 4, backoffLimitPerIndex=1), "Failed")
    assert (status["failedIndexes"], status["completedIndexes"]) == ("1,3", "0,2")
    assert (status["failed"], status["succeeded"]) == (4, 2)
    assert conditions(kubectl)["Failed"] == "FailedIndexes"


def test_too_many_failed_indexes_end_it(kubectl: Kubectl) -> None:
    """Job should terminate job execution when the number of failed indexes exceeds maxFailedIndexes"""
    limits = {"backoffLimitPerIndex": 0, "maxFailedIndexes": 0}
    run(kubectl, indexed("[ $JOB_COMPLETION_INDEX = 1 ] && exit 1; sleep 300", 3, **limits), "Failed")
    assert conditions(kubectl)["Failed"] == "MaxFailedIndexesExceeded"
    eventually(lambda: "Running" not in kubectl("get", "pods", "-l", "job-name=j"))


def test_a_rule_fails_an_index_for_good(kubectl: Kubectl) -> None:
    """Job should mark indexes as failed when the FailIndex action is matched in podFailurePolicy"""
    rule = {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}
    command = "[ $JOB_COMPLETION_INDEX = 0 ] && exit 42; exit 0"
    limits = {"backoffLimitPerIndex": 5, "podFailurePolicy": {"rules": [rule]}}
    status = run(kubectl, indexed(command, 2, **limits), "Failed")
    assert (status["failedIndexes"], status["failed"], status["completedIndexes"]) == ("0", 1, "1")


def test_an_exit_code_ends_it_early(kubectl: Kubectl) -> None:
    """Job should allow to use the pod failure policy on exit code to fail the job early"""
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}
    status = run(kubectl, job("exit 1", backoffLimit=6, podFailurePolicy={"rules": [rule]}), "Failed")
    assert status["failed"] == 1
    assert conditions(kubectl)["Failed"] == "PodFailurePolicy"


def test_disruptions_are_ignored_if_a_rule_says_so(kubectl: Kubectl) -> None:
    """Job should allow to use a pod failure policy to ignore failure matching on DisruptionTarget condition"""
    rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    kubectl("apply", "-f", "-", stdin=job("sleep 300", backoffLimit=0, podFailurePolicy={"rules": [rule]}))
    eventually(
        lambda: kubectl("get", "pods", "-l", "job-name=j", "-o", "jsonpath={.items[*].status.phase}") == "Running"
    )
    [name] = kubectl("get", "pods", "-l", "job-name=j", "-o", "jsonpath={.items[*].metadata.name}").split()
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": kubectl.namespace},
    }
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{name}/eviction"
    kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))

    def replaced() -> bool:
        pods = kubectl.json("get", "pods", "-l", "job-name=j")["items"]
        return any(pod["metadata"]["name"] != name and pod["status"]["phase"] == "Running" for pod in pods)

    eventually(replaced)
    status = kubectl.json("get", "job", "j")["status"]
    assert (status.get("failed", 0), status["active"]) == (0, 1)
    assert not {"Failed", "FailureTarget"} & conditions(kubectl).keys()


def test_a_policy_of_success_that_is_met_by_all(kubectl: Kubectl) -> None:
    """Job with successPolicy should succeeded when all indexes succeeded"""
    status = run(kubectl, indexed("exit 0", 2, successPolicy={"rules": [{"succeededIndexes": "0-1"}]}))
    assert conditions(kubectl)["SuccessCriteriaMet"] == "SuccessPolicy"
    assert status["completedIndexes"] == "0,1"


def test_some_indexes_are_enough(kubectl: Kubectl) -> None:
    """Job with successPolicy succeededIndexes rule should succeeded even when some indexes remain pending"""
    command = "[ $JOB_COMPLETION_INDEX = 0 ] && exit 0; sleep 300"
    status = run(kubectl, indexed(command, 3, successPolicy={"rules": [{"succeededIndexes": "0"}]}))
    assert conditions(kubectl) == {"SuccessCriteriaMet": "SuccessPolicy", "Complete": "SuccessPolicy"}
    assert (status["completedIndexes"], status.get("active", 0), status["terminating"]) == ("0", 0, 0)


def test_so_many_successes_are_enough(kubectl: Kubectl) -> None:
    """Job with successPolicy succeededCount rule should succeeded even when some indexes remain pending"""
    command = "[ $JOB_COMPLETION_INDEX = 2 ] && sleep 300; exit 0"
    status = run(kubectl, indexed(command, 3, successPolicy={"rules": [{"succeededCount": 2}]}))
    assert conditions(kubectl)["Complete"] == "SuccessPolicy"
    assert status["succeeded"] == 2
