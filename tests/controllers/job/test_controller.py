"""The Job controller over the API: whole lives, with pods that end as chance has it and a controller that dies."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sampan.api.errors import NotFound
from sampan.api.resources import EVENTS, JOBS, PODS
from sampan.controllers.job import facts
from sampan.controllers.job.controller import JobController

Obj = dict[str, Any]


def job(name: str = "j", **spec: Any) -> Obj:
    labels = {"job-name": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
    }
    wanted = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "template": template,
    }
    wanted["selector"] = {"matchLabels": labels}
    return {"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": {**wanted, **spec}}


def end(api: Any, pod: Obj, phase: str, code: int = 0) -> None:
    def edit(obj: Obj) -> None:
        state = {"terminated": {"exitCode": code, "finishedAt": "2026-01-01T00:00:00Z"}}
        obj["status"] = {"phase": phase, "containerStatuses": [{"name": "c", "state": state}]}

    api.change(PODS, "default", pod["metadata"]["name"], edit)


def status(api: Any, name: str = "j") -> Obj:
    found: Obj = api.get(JOBS, "default", name).get("status") or {}
    return found


def over(api: Any, name: str = "j") -> str:
    kinds = [c["type"] for c in status(api, name).get("conditions", ()) if c["status"] == "True"]
    return next((kind for kind in kinds if kind in ("Complete", "Failed")), "")


def going(api: Any) -> list[Obj]:
    living = [pod for pod in api.all(PODS) if "deletionTimestamp" not in pod["metadata"]]
    return [pod for pod in living if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]


async def test_a_job_runs_its_pod_and_completes(api: Any, context: Any, running: Any, wait: Any) -> None:
    api.add(JOBS, job())
    async with running(JobController(context)):
        await wait.quiet(api)
        [pod] = api.all(PODS)
        assert pod["metadata"]["finalizers"] == [facts.FINALIZER]
        assert (status(api)["active"], status(api)["ready"], status(api)["uncountedTerminatedPods"]) == (1, 0, {})
        end(api, pod, "Succeeded")
        await wait.quiet(api)
    assert over(api) == "Complete"
    assert (status(api)["succeeded"], status(api).get("active")) == (1, None)
    [pod] = api.all(PODS)
    assert not pod["metadata"].get("finalizers")
    told = {(each["reason"], each["message"]) for each in api.all(EVENTS)}
    assert ("Completed", "Job completed") in told


async def test_suspending_deletes_without_counting_and_resuming_starts_anew(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    api.add(JOBS, job(parallelism=2, completions=2))
    async with running(JobController(context)):
        await wait.quiet(api)
        api.change(JOBS, "default", "j", lambda obj: obj["spec"].update(suspend=True))
        await wait.quiet(api)
        assert api.all(PODS) == []
        assert (status(api).get("failed"), status(api).get("active")) == (None, None)
        api.change(JOBS, "default", "j", lambda obj: obj["spec"].update(suspend=False))
        await wait.quiet(api)
        assert len(api.all(PODS)) == 2
    reasons = [each["reason"] for each in api.all(EVENTS)]
    assert {"Suspended", "Resumed"} <= set(reasons)


async def test_another_managers_job_is_left_alone(api: Any, context: Any, running: Any, wait: Any) -> None:
    api.add(JOBS, job(managedBy="example.com/queue"))
    async with running(JobController(context)):
        await wait.quiet(api)
    assert api.all(PODS) == []
    assert status(api) == {}


async def test_orphans_are_adopted_with_their_finalizer_and_let_go_without(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    """Job should adopt matching orphans and release non-matching pods"""
    api.add(JOBS, job(parallelism=2, completions=2))
    async with running(JobController(context)):
        await wait.quiet(api)
        first = api.all(PODS)[0]["metadata"]["name"]
        api.change(PODS, "default", first, lambda obj: obj["metadata"].pop("ownerReferences"))
        await wait.quiet(api)
        adopted = api.get(PODS, "default", first)["metadata"]
        assert [ref["name"] for ref in adopted["ownerReferences"]] == ["j"]
        api.change(PODS, "default", first, lambda obj: obj["metadata"].update(labels={}))
        await wait.quiet(api)
        released = api.get(PODS, "default", first)["metadata"]
        assert (released.get("ownerReferences"), released.get("finalizers")) in ((None, None), ([], []))
        assert len(api.all(PODS)) == 3


async def test_pods_of_a_job_that_is_gone_are_let_go(api: Any, context: Any, running: Any, wait: Any) -> None:
    api.add(JOBS, job(parallelism=2, completions=2))
    async with running(JobController(context)):
        await wait.quiet(api)
        api.remove(JOBS, "default", "j")
        await wait.quiet(api)
    assert [pod["metadata"].get("finalizers") or [] for pod in api.all(PODS)] == [[], []]


SHAPES: dict[str, tuple[Obj, str, int]] = {
    # spec, how it ends, successes
    "parallel": ({"parallelism": 3, "completions": 7, "backoffLimit": 100}, "Complete", 7),
    "a queue": ({"parallelism": 3, "completions": None, "backoffLimit": 100}, "Complete", 3),
    "indexed": ({"parallelism": 3, "completions": 6, "backoffLimit": 100, "completionMode": "Indexed"}, "Complete", 6),
    "fails": ({"parallelism": 2, "completions": 50, "backoffLimit": 2}, "Failed", -1),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(6))
async def test_whenever_it_dies_each_pod_is_counted_once(
    make_api: Any, make_context: Any, run_with: Any, wait: Any, shape: str, seed: int
) -> None:
    """Pods end as chance has it; after each few writes the controller is gone and another takes its place. The counts
    of the end are those of the pods that there were."""
    spec, how, wanted = SHAPES[shape]
    api, chance = make_api(), random.Random(seed)
    api.add(JOBS, job(**spec))
    succeeded: set[str] = set()
    failed: set[str] = set()
    for _ in range(400):
        context = make_context(api)
        limit = len(api.log) + chance.randint(1, 5)
        async with run_with(context, JobController(context)):
            calm = 0
            while len(api.log) < limit and calm < 60:
                before = api.revision
                await wait.quiet(api, turns=1)
                calm = calm + 1 if api.revision == before else 0
        if over(api):
            break
        for pod in going(api):
            if chance.random() < 0.4:
                good = chance.random() < (0.2 if shape == "fails" else 0.7)
                (succeeded if good else failed).add(pod["metadata"]["uid"])
                end(api, pod, "Succeeded" if good else "Failed", 0 if good else 1)
        for pod in api.all(PODS):
            if "deletionTimestamp" in pod["metadata"] and not pod["metadata"].get("finalizers"):
                api.remove(PODS, "default", pod["metadata"]["name"])
    assert over(api) == how
    found = status(api)
    assert found.get("uncountedTerminatedPods") in ({}, None)
    assert not any(facts.FINALIZER in pod["metadata"].get("finalizers", ()) for pod in api.all(PODS))
    assert "active" not in found
    if how == "Failed":
        # What still ran has failed with the Job.
        assert found.get("succeeded", 0) == len(succeeded)
        assert found["failed"] >= len(failed) > 2
        return
    assert found["succeeded"] == len(succeeded)
    assert found.get("failed", 0) == len(failed)
    if shape != "a queue":
        assert found["succeeded"] == wanted
    if shape == "indexed":
        assert found["completedIndexes"] == "0-5"


async def test_a_pod_that_loses_its_job_while_both_go_keeps_no_finalizer(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    """``kubectl delete job --cascade=orphan``: references go before the Job does, and nobody looks for it after."""
    api.add(JOBS, job(parallelism=2, completions=2))
    async with running(JobController(context)):
        await wait.quiet(api)
        one, other = (pod["metadata"]["name"] for pod in api.all(PODS))

        def orphan(obj: Obj) -> None:
            del obj["metadata"]["ownerReferences"]
            obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

        api.change(PODS, "default", one, orphan)
        await wait.quiet(api)
        assert one not in [pod["metadata"]["name"] for pod in api.all(PODS)], "nobody adopts what is going"
        api.change(JOBS, "default", "j", lambda obj: obj["spec"].update(suspend=True, managedBy="example.com/queue"))
        await wait.quiet(api)
        api.change(PODS, "default", other, lambda obj: obj["metadata"].pop("ownerReferences"))
        await wait.quiet(api)
        assert not api.get(PODS, "default", other)["metadata"].get("finalizers"), "nor does a Job of another manager"


async def test_pods_keep_what_they_are_counted_by_while_jobs_are_turned_off(
    api: Any, context: Any, running: Any, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--runtime-config=batch/v1=false``: when it is on again, what has finished meanwhile is not run once more."""
    served, view = api.call, api.cache_view

    async def call(call: Any) -> Any:
        if "/jobs" in call.path:
            raise NotFound("the server could not find the requested resource")
        return await served(call)

    monkeypatch.setattr(api, "call", call)
    monkeypatch.setattr(api, "cache_view", lambda resource: None if resource is JOBS else view(resource))
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j", "controller": True}
    meta = {"name": "p", "namespace": "default", "finalizers": [facts.FINALIZER], "ownerReferences": [owner]}
    api.add(PODS, {"metadata": meta, "spec": {}, "status": {"phase": "Succeeded"}})
    async with running(JobController(context)):
        await wait.quiet(api)
    assert api.get(PODS, "default", "p")["metadata"]["finalizers"] == [facts.FINALIZER]


async def test_pods_of_other_managers_and_other_kinds_of_job_keep_their_finalizers(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    finished = {"conditions": [{"type": "Complete", "status": "True"}]}
    api.add(JOBS, {**job(managedBy="example.com/queue"), "status": finished})
    for name, version in (("theirs", "batch/v1"), ("foreign", "batch.example.com/v1")):
        owner = {"apiVersion": version, "kind": "Job", "name": "j", "uid": "j", "controller": True}
        meta = {"name": name, "namespace": "default", "finalizers": [facts.FINALIZER], "ownerReferences": [owner]}
        api.add(PODS, {"metadata": meta, "spec": {"containers": []}, "status": {"phase": "Running"}})
    async with running(JobController(context)):
        await wait.quiet(api)
    assert [pod["metadata"]["finalizers"] for pod in api.all(PODS)] == [[facts.FINALIZER]] * 2


async def test_nothing_is_remembered_of_jobs_that_are_over(api: Any, context: Any, running: Any, wait: Any) -> None:
    api.add(JOBS, job())
    controller = JobController(context)
    async with running(controller):
        await wait.quiet(api)
        end(api, api.all(PODS)[0], "Succeeded")
        await wait.quiet(api)
        assert over(api) == "Complete"
        assert controller.remembered == 0


async def test_one_success_too_many_is_told_once(api: Any, context: Any, running: Any, wait: Any) -> None:
    api.add(JOBS, {**job(parallelism=2, completions=1), "status": {"succeeded": 1}})
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j", "controller": True}
    for name in ("a", "b"):
        meta = {
            "name": name, "namespace": "default", "uid": name, "labels": {"job-name": "j"},
            "finalizers": [facts.FINALIZER], "ownerReferences": [owner],
        }  # fmt: skip
        api.add(PODS, {"metadata": meta, "spec": {"containers": []}, "status": {"phase": "Succeeded"}})
    async with running(JobController(context)):
        await wait.quiet(api)
    told = [(each["reason"], each["count"]) for each in api.all(EVENTS)]
    assert told == [("TooManySucceededPods", 1), ("Completed", 1)]
