"""CronJobs in real containers, through stock kubectl: each minute, by each policy."""

from __future__ import annotations

from typing import Any

from e2e_harness import Kubectl, described, eventually
from e2e_manifests import IMAGE

#: what a minute's wait may take, and then some
LONG = 150


def cron_job(name: str, command: str, policy: str) -> str:
    return f"""
apiVersion: batch/v1
kind: CronJob
metadata: {{name: {name}}}
spec:
  schedule: "* * * * *"
  concurrencyPolicy: {policy}
  successfulJobsHistoryLimit: 1
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: 1
          containers: [{{name: c, image: "{IMAGE}", command: [sh, -c, "{command}"]}}]
---
"""


def jobs(kubectl: Kubectl, name: str) -> dict[int, Any]:
    """Of a CronJob, by the minute that they stand for."""
    found = kubectl.json("get", "jobs")["items"]
    own = [each for each in found if each["metadata"]["ownerReferences"][0]["name"] == name]
    return {int(each["metadata"]["name"].rpartition("-")[2]): each for each in own}


def running(kubectl: Kubectl, name: str) -> dict[str, str]:
    """The pods that run, by Job."""
    pods = kubectl.json("get", "pods")["items"]
    return {
        pod["metadata"]["labels"]["job-name"]: pod["metadata"]["name"]
        for pod in pods
        if pod["metadata"]["labels"]["job-name"].startswith(f"{name}-") and pod["status"]["phase"] == "Running"
    }


def test_each_minute_makes_a_job_as_the_policy_says(kubectl: Kubectl) -> None:
    slow = "sleep 3600"
    manifest = (
        cron_job("allow", slow, "Allow") + cron_job("forbid", slow, "Forbid") + cron_job("replace", slow, "Replace")
    )
    kubectl("apply", "-f", "-", stdin=manifest + cron_job("quick", "echo done", "Allow"))
    first = min(eventually(lambda: jobs(kubectl, "allow"), seconds=LONG))
    eventually(lambda: len(running(kubectl, "allow")) >= 2, seconds=LONG)
    assert sorted(jobs(kubectl, "allow"))[:2] == [first, first + 1]
    assert int(kubectl("get", "cronjob", "allow", "--no-headers").split()[8]) >= 2
    eventually(lambda: list(running(kubectl, "replace")) == [f"replace-{max(jobs(kubectl, 'allow'))}"])
    assert first not in jobs(kubectl, "replace")
    assert list(jobs(kubectl, "forbid")) == [first]
    described(kubectl, "cronjob", "forbid", says=["JobAlreadyActive"])

    eventually(lambda: first not in jobs(kubectl, "quick"), seconds=LONG)
    done = eventually(lambda: [name for name, job in jobs(kubectl, "quick").items() if job["status"].get("succeeded")])
    assert kubectl("logs", f"job/quick-{done[0]}") == "done\n"
    assert kubectl.json("get", "cronjob", "quick")["status"]["lastSuccessfulTime"]


def test_a_finished_job_goes_with_its_pods_after_its_time_to_live(kubectl: Kubectl) -> None:
    kubectl("create", "cronjob", "c", f"--image={IMAGE}", "--schedule=0 0 1 1 *", "--", "true")
    kubectl("patch", "cronjob", "c", "-p", '{"spec":{"jobTemplate":{"spec":{"ttlSecondsAfterFinished":3}}}}')
    kubectl("create", "job", "now", "--from=cronjob/c")
    kubectl("wait", "job/now", "--for=condition=Complete", "--timeout=90s")
    eventually(lambda: kubectl("get", "jobs,pods", "-o", "name") == "")
