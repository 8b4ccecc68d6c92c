"""What releases of kubectl print of workloads, word for word: get, describe, rollout, scale, set image, create."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from client_harness import Program, eventually

#: hashes, times and what follows from them
_HASH = re.compile(r"\bw-[0-9a-f]{6,10}\b|\bw-[bcdfghjklmnpqrstvwxz2456789]{5,10}\b")
_DEPLOYED = {"name": "w", "labels": {"app": "w"}}


def words(text: str) -> list[str]:
    return text.split()


def table(text: str) -> list[list[str]]:
    """Columns are two blanks apart; ages are not looked at."""
    return [re.split(r"\s{2,}", line.strip())[:-1] for line in text.strip().splitlines()]


def lines(text: str) -> list[str]:
    """Without what a describer fills up with blanks."""
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]


def messages(text: str) -> list[str]:
    """Of the Events that a describer shows, with their reasons; hashes are ``#``."""
    found = []
    for line in text.partition("Events:\n")[2].splitlines()[2:]:
        parts = re.split(r"\s{2,}", line.strip())
        found.append(_HASH.sub("w-#", f"{parts[0]} {parts[1]} {parts[3]}: {parts[4]}"))
    return found


def workload(kind: str, **spec: Any) -> str:
    container = {"name": "a", "image": "example.com/a:1"}
    template = {
        "metadata": {"labels": {"app": "w"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    wanted = {"selector": {"matchLabels": {"app": "w"}}, "template": template, **spec}
    return json.dumps({"apiVersion": "apps/v1", "kind": kind, "metadata": _DEPLOYED, "spec": wanted})


def test_a_deployment(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    assert kubectl("create", "-f", "-", stdin=workload("Deployment", replicas=2)) == "deployment.apps/w created\n"
    rolled = kubectl("rollout", "status", "deployment/w", "--timeout=100s")
    assert rolled.endswith('deployment "w" successfully rolled out\n')
    assert set(rolled.splitlines()[:-1]) <= {
        "Waiting for deployment spec update to be observed...",
        'Waiting for deployment "w" rollout to finish: 0 out of 2 new replicas have been updated...',
        'Waiting for deployment "w" rollout to finish: 0 of 2 updated replicas are available...',
        'Waiting for deployment "w" rollout to finish: 1 of 2 updated replicas are available...',
    }
    assert table(kubectl("get", "deployments")) == [
        ["NAME", "READY", "UP-TO-DATE", "AVAILABLE"], ["w", "2/2", "2", "2"],
    ]  # fmt: skip
    wide = kubectl("get", "deployment", "w", "-o", "wide").splitlines()
    assert words(wide[0])[5:] == ["CONTAINERS", "IMAGES", "SELECTOR"]
    assert words(wide[1])[5:] == ["a", "example.com/a:1", "app=w"]
    [head, row] = table(kubectl("get", "replicasets"))
    assert (head, row[1:]) == (["NAME", "DESIRED", "CURRENT", "READY"], ["2", "2", "2"])
    assert words(kubectl("rollout", "history", "deployment/w")) == [
        "deployment.apps/w", "REVISION", "CHANGE-CAUSE", "1", "<none>",
    ]  # fmt: skip
    first = kubectl("rollout", "history", "deployment/w", "--revision=1")
    assert first.startswith("deployment.apps/w with revision #1\nPod Template:\n  Labels:\tapp=w\n\tpod-template-hash=")

    assert kubectl("set", "image", "deployment/w", "a=example.com/a:2") == "deployment.apps/w image updated\n"
    kubectl("rollout", "status", "deployment/w", "--timeout=100s")
    assert kubectl("rollout", "undo", "deployment/w") == "deployment.apps/w rolled back\n"
    kubectl("rollout", "status", "deployment/w", "--timeout=100s")
    assert kubectl("rollout", "undo", "deployment/w", "--to-revision=3") == (
        "deployment.apps/w skipped rollback (current template already matches revision 3)\n"
    )
    missing = kubectl.fails("rollout", "undo", "deployment/w", "--to-revision=77")
    assert missing == "error: unable to find specified revision 77 in history\n"
    assert words(kubectl("rollout", "history", "deployment/w"))[3:] == ["2", "<none>", "3", "<none>"]
    assert kubectl("rollout", "pause", "deployment/w") == "deployment.apps/w paused\n"
    again = kubectl.fails("rollout", "pause", "deployment/w")
    assert again == 'error: deployments.apps "w" is already paused\n'
    assert kubectl.fails("rollout", "restart", "deployment/w") == (
        'error: deployments.apps "w" can\'t restart paused deployment (run rollout resume first)\n'
    )
    assert kubectl("scale", "deployment/w", "--replicas=3") == "deployment.apps/w scaled\n"
    eventually(lambda: table(kubectl("get", "deployments"))[1] == ["w", "3/3", "3", "3"])
    described = kubectl("describe", "deployment/w")
    for line in (
        "Replicas: 3 desired | 3 updated | 3 total | 3 available | 0 unavailable",
        "StrategyType: RollingUpdate",
        "RollingUpdateStrategy: 25% max unavailable, 25% max surge",
        "Available True MinimumReplicasAvailable",
        "Progressing Unknown DeploymentPaused",
    ):
        assert line in lines(described), described
    scaled = "Normal ScalingReplicaSet deployment-controller: Scaled up replica set w-# from"
    eventually(lambda: {f"{scaled} 0 to 2", f"{scaled} 2 to 3"} <= {*messages(kubectl("describe", "deployment/w"))})
    assert kubectl("rollout", "resume", "deployment/w") == "deployment.apps/w resumed\n"
    assert kubectl.fails("rollout", "resume", "deployment/w") == 'error: deployments.apps "w" is not paused\n'
    wrong = kubectl.fails("scale", "deployment/w", "--replicas=5", "--current-replicas=9")
    assert wrong == "error: Expected replicas to be 9, was 3\n"
    assert kubectl("rollout", "restart", "deployment/w") == "deployment.apps/w restarted\n"
    kubectl("rollout", "status", "deployment/w", "--timeout=100s")


def test_a_daemon_set_and_a_stateful_set(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    kubectl("create", "-f", "-", stdin=workload("DaemonSet"))
    kubectl("create", "-f", "-", stdin=workload("StatefulSet", serviceName="s", replicas=2))
    daemons = kubectl("rollout", "status", "daemonset/w", "--timeout=100s")
    assert daemons.endswith('daemon set "w" successfully rolled out\n')
    stateful = kubectl("rollout", "status", "statefulset/w", "--timeout=100s")
    assert stateful.endswith("partitioned roll out complete: 2 new pods have been updated...\n")
    [head, row] = table(kubectl("get", "daemonsets"))
    assert head == ["NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "NODE SELECTOR"]
    assert len(set(row[1:6])) == 1 and row[6] == "<none>"
    assert table(kubectl("get", "statefulsets")) == [["NAME", "READY"], ["w", "2/2"]]
    for kind, group in (("daemonset", "daemonset.apps"), ("statefulset", "statefulset.apps")):
        assert kubectl("set", "image", f"{kind}/w", "a=example.com/a:2") == f"{group}/w image updated\n"
        kubectl("rollout", "status", f"{kind}/w", "--timeout=100s")
        numbers = [word for word in words(kubectl("rollout", "history", f"{kind}/w")) if word.isdigit()]
        assert numbers == ["1", "2"]
        assert kubectl("rollout", "undo", f"{kind}/w") == f"{group}/w rolled back\n"
        kubectl("rollout", "status", f"{kind}/w", "--timeout=100s")
        assert kubectl("rollout", "restart", f"{kind}/w") == f"{group}/w restarted\n"
        kubectl("rollout", "status", f"{kind}/w", "--timeout=100s")
        paused = kubectl.fails("rollout", "pause", f"{kind}/w")
        assert paused == f'error: {kind}s.apps "w" pausing is not supported\n'
    assert kubectl("scale", "statefulset/w", "--replicas=1") == "statefulset.apps/w scaled\n"
    eventually(lambda: table(kubectl("get", "statefulsets"))[1] == ["w", "1/1"])
    described = lines(kubectl("describe", "statefulset/w"))
    for line in ("Replicas: 1 desired | 1 total", "Update Strategy: RollingUpdate", "Partition: 0",
                 "Pods Status: 1 Running / 0 Waiting / 0 Succeeded / 0 Failed"):  # fmt: skip
        assert line in described, described
    told = "statefulset-controller: Create Pod w-0 in StatefulSet w successful"
    eventually(lambda: any(told in each for each in messages(kubectl("describe", "statefulset/w"))))
    described = lines(kubectl("describe", "daemonset/w"))
    assert f"Desired Number of Nodes Scheduled: {row[1]}" in described
    assert f"Number of Nodes Scheduled with Up-to-date Pods: {row[1]}" in described
    assert f"Pods Status: {row[1]} Running / 0 Waiting / 0 Succeeded / 0 Failed" in described


def test_jobs_and_cron_jobs(each_kubectl: Program) -> None:
    kubectl, old = each_kubectl, "1.20" in each_kubectl.path.name
    assert kubectl("create", "job", "w", "--image=example.com/a:1") == "job.batch/w created\n"
    eventually(lambda: words(kubectl("get", "jobs"))[5:8] == ["w", "Running", "0/1"])
    assert words(kubectl("get", "jobs"))[:5] == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]
    running = "Pods Statuses: 1 Running / 0 Succeeded / 0 Failed"
    if not old:
        running = "Pods Statuses: 1 Active (1 Ready) / 0 Succeeded / 0 Failed"
    # An Event is written after what it tells of.
    described = eventually(lambda: running in lines(text := kubectl("describe", "job/w")) and messages(text) and text)
    newer = () if old else ("Completion Mode: NonIndexed",)
    for line in ("Parallelism: 1", "Completions: 1", *newer):
        assert line in lines(described), described
    assert [each[: each.index(": w-")] for each in messages(described)] == [
        "Normal SuccessfulCreate job-controller: Created pod"
    ]

    made = kubectl("create", "cronjob", "w", "--image=example.com/a:1", "--schedule=0 0 1 1 *")
    assert made == "cronjob.batch/w created\n"
    [head, row] = table(kubectl("get", "cronjobs"))
    assert head == ["NAME", "SCHEDULE", "TIMEZONE", "SUSPEND", "ACTIVE", "LAST SCHEDULE"]
    assert row == ["w", "0 0 1 1 *", "<none>", "False", "0", "<none>"]
    described = kubectl("describe", "cronjob/w")
    for line in (
        "Schedule: 0 0 1 1 *", "Concurrency Policy: Allow", "Suspend: False", "Successful Job History Limit: 3",
        "Failed Job History Limit: 1", "Starting Deadline Seconds: <unset>", "Last Schedule Time: <unset>",
        "Active Jobs: <none>", "Events: <none>",
    ):  # fmt: skip
        assert line in lines(described), described
    if old:
        return  # it cannot read a CronJob of batch/v1, whoever serves it
    assert kubectl("create", "job", "now", "--from=cronjob/w") == "job.batch/now created\n"
    now = kubectl.json("get", "job", "now")
    assert now["metadata"]["annotations"] == {"cronjob.kubernetes.io/instantiate": "manual"}
    [owner] = now["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("CronJob", "w", True)
    told = "Warning UnexpectedJob cronjob-controller: Saw a job that the controller did not create or forgot: now"
    eventually(lambda: told in messages(kubectl("describe", "cronjob/w")))


@pytest.mark.parametrize("kind", ["job", "cronjob"])
def test_a_name_that_is_taken(kubectl: Program, kind: str) -> None:
    more = ("--schedule=* * * * *",) if kind == "cronjob" else ()
    kubectl("create", kind, "w", "--image=example.com/a:1", *more)
    again = kubectl.fails("create", kind, "w", "--image=example.com/a:1", *more)
    assert again == f'error: failed to create {kind}: {kind}s.batch "w" already exists\n'
