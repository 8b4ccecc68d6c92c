"""What a Job does next, and why it ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.controllers.job import facts
from sampan.controllers.job.plan import Observed, failures_in_a_row, plan
from sampan.controllers.job.tracking import settle, track

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
LONG_AGO = "2026-01-01T00:00:00Z"
Obj = dict[str, Any]


def job(status: Obj | None = None, *, restart: str = "Never", **spec: Any) -> Obj:
    template = {
        "metadata": {"labels": {"job-name": "j"}},
        "spec": {"restartPolicy": restart, "containers": [{"name": "c"}]},
    }
    wanted = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "template": template,
    }
    meta = {"name": "j", "namespace": "default", "uid": "job"}
    return {"metadata": meta, "spec": {**wanted, **spec}, "status": {"startTime": LONG_AGO, **(status or {})}}


def pod(
    name: str, phase: str = "Running", *, index: int | None = None, code: int | None = None, conditions: Any = (),
    failures: int | None = None, ended: str = LONG_AGO, **meta: Any,
) -> Obj:  # fmt: skip
    annotations: Obj = {} if index is None else {facts.INDEX: str(index)}
    if failures is not None:
        annotations[facts.FAILURES] = str(failures)
    made: Obj = {
        "metadata": {
            "name": name, "namespace": "default", "uid": name, "finalizers": [facts.FINALIZER],
            "annotations": annotations, "creationTimestamp": LONG_AGO, **meta,
        },
        "spec": {"nodeName": "n"},
        "status": {"phase": phase, "conditions": list(conditions)},
    }  # fmt: skip
    if phase in ("Failed", "Succeeded"):
        exit_code = (1 if phase == "Failed" else 0) if code is None else code
        state = {"terminated": {"exitCode": exit_code, "finishedAt": ended}}
        made["status"]["containerStatuses"] = [{"name": "c", "state": state}]
    return made


def look(owner: Obj, *pods: Obj, **more: Any) -> Observed:
    return Observed(owner, pods, NOW, **more)


def created(observed: Observed) -> int:
    return len(plan(observed).create)


def ending(observed: Observed) -> tuple[str, str, str] | None:
    found = plan(observed).ending
    return None if found is None else (found["type"], found["reason"], found["message"])


class TestHowMany:
    @pytest.mark.parametrize(
        ("parallelism", "completions", "pods", "count"),
        [
            (1, 1, [], 1),
            (3, 10, [], 3),
            (3, 10, [pod("a"), pod("b", "Pending")], 1),
            (3, 2, [], 2),
            (5, 3, [pod("a", "Succeeded"), pod("b")], 1),
            (0, 3, [], 0),
            (2, None, [], 2),
            (2, None, [pod("a", "Succeeded"), pod("b")], 0),
            (1000, 1000, [], 500),
        ],
    )
    def test_pods_are_made_up_to_parallelism_and_what_is_left(
        self, parallelism: int, completions: int | None, pods: list[Obj], count: int
    ) -> None:
        assert created(look(job(parallelism=parallelism, completions=completions), *pods)) == count

    def test_too_many_go_and_never_happened(self) -> None:
        found = plan(look(job(parallelism=1, completions=5), pod("a"), pod("b", "Pending")))
        assert ([each["metadata"]["name"] for each in found.delete], found.counted) == (["b"], False)

    def test_a_job_that_goes_makes_none(self) -> None:
        owner = job()
        owner["metadata"]["deletionTimestamp"] = LONG_AGO
        assert created(look(owner)) == 0

    def test_replacements_wait_for_the_end_if_asked_to(self) -> None:
        leaving = pod("a", deletionTimestamp=LONG_AGO)
        later = {"failures": (0, None)}
        assert created(look(job(podReplacementPolicy="Failed"), leaving, **later)) == 0
        owner = job(podReplacementPolicy="TerminatingOrFailed")
        assert created(look(owner, leaving, **later)) == 1

    @pytest.mark.parametrize(("row", "ago", "waits"), [(1, 0, 10), (1, 10, 0), (2, 10, 10), (3, 0, 40), (9, 0, 600)])
    def test_after_failures_it_pauses(self, row: int, ago: int, waits: int) -> None:
        last = datetime(2026, 1, 1, 0, 59, 60 - ago) if ago else NOW
        found = plan(look(job(backoffLimit=20), failures=(row, last.replace(tzinfo=UTC))))
        assert (found.wait or 0, len(found.create)) == (waits, 0 if waits else 1)

    def test_a_success_ends_the_row_of_failures(self) -> None:
        pods = [pod("a", "Failed", ended="2026-01-01T00:10:00Z"), pod("b", "Succeeded", ended="2026-01-01T00:20:00Z")]
        assert failures_in_a_row(look(job(), *pods, failures=(3, NOW)))[0] == 0
        again = pod("c", "Failed", ended="2026-01-01T00:30:00Z")
        count, last = failures_in_a_row(look(job(), *pods, again, failures=(3, NOW)))
        assert (count, last) == (1, datetime(2026, 1, 1, 0, 30, tzinfo=UTC))


class TestIndexed:
    def owner(self, **spec: Any) -> Obj:
        return job(completionMode="Indexed", **{"completions": 5, "parallelism": 3, **spec})

    def test_the_lowest_open_indexes_come_first(self) -> None:
        observed = look(self.owner(), pod("a", index=1), pod("b", "Succeeded", index=0))
        made = plan(observed).create
        assert [facts.index_of(each) for each in made] == [2, 3]
        first = made[0]
        assert first["metadata"]["generateName"] == "j-2-"
        assert first["metadata"]["labels"][facts.INDEX] == "2"
        assert first["spec"]["hostname"] == "j-2"
        [variable] = first["spec"]["containers"][0]["env"]
        assert variable["name"] == "JOB_COMPLETION_INDEX"
        assert variable["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{facts.INDEX}']"

    def test_two_of_an_index_are_one_too_many(self) -> None:
        found = plan(look(self.owner(), pod("a", index=1), pod("b", "Pending", index=1), pod("c"), pod("d", index=7)))
        assert sorted(each["metadata"]["name"] for each in found.delete) == ["b", "c", "d"]

    def test_each_index_has_its_own_limit_and_its_own_pause(self) -> None:
        owner = self.owner(backoffLimitPerIndex=1, backoffLimit=2**31 - 1)
        fresh = pod("a", "Failed", index=0, failures=0, ended="2026-01-01T00:59:55Z")
        found = plan(look(owner, fresh, pod("b", index=1), pod("c", index=2)))
        assert (found.create, found.wait) == ([], 5.0)
        older = pod("a", "Failed", index=0, failures=0)
        [made] = plan(look(owner, older, pod("b", index=1), pod("c", index=2))).create
        assert made["metadata"]["annotations"][facts.FAILURES] == "1"
        over = pod("a", "Failed", index=0, failures=1)
        observed = look(owner, over, pod("b", index=1), pod("c", index=2))
        assert str(observed.failed_indexes) == "0"
        assert [facts.index_of(each) for each in plan(observed).create] == [3]

    def test_a_failed_pod_stays_until_its_replacement_bears_its_number(self) -> None:
        owner = self.owner(backoffLimitPerIndex=3, backoffLimit=2**31 - 1)
        failed = pod("a", "Failed", index=0, failures=0)
        observed = look(owner, failed)
        assert track(observed, plan(observed), observed).release == []
        replaced = look(owner, failed, pod("b", index=0, failures=1))
        assert [each["metadata"]["name"] for each in track(replaced, plan(replaced), replaced).release] == ["a"]


class TestEnds:
    def test_enough_successes(self) -> None:
        status = {"succeeded": 1, "uncountedTerminatedPods": {"succeeded": ["x"]}}
        owner = job(status, completions=3)
        assert ending(look(owner, pod("a", "Succeeded"))) == (
            "SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods",
        )  # fmt: skip
        assert ending(look(owner)) is None
        queue = job(completions=None, parallelism=2)
        assert ending(look(queue, pod("a", "Succeeded"), pod("b"))) is None
        assert ending(look(queue, pod("a", "Succeeded"), pod("b", "Failed"))) is not None

    def test_too_many_failures(self) -> None:
        owner = job({"failed": 2}, backoffLimit=2)
        assert ending(look(owner)) is None
        reason = ("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        assert ending(look(owner, pod("a", "Failed"))) == reason
        restarting = pod("a")
        restarting["status"]["containerStatuses"] = [{"name": "c", "restartCount": 2}]
        assert ending(look(job(backoffLimit=2, restart="OnFailure"), restarting)) == reason
        assert ending(look(job(backoffLimit=2), restarting)) is None

    def test_the_deadline(self) -> None:
        reason = ("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")
        assert ending(look(job(activeDeadlineSeconds=3600), pod("a"))) == reason
        assert plan(look(job(activeDeadlineSeconds=3700), pod("a"))).wait == 100
        assert ending(look(job(activeDeadlineSeconds=3600, suspend=True))) is None

    def test_a_deadline_beyond_all_clocks_is_one_that_never_comes(self) -> None:
        found = plan(look(job(activeDeadlineSeconds=2**63 - 1)))
        assert (len(found.create), found.ending) == (1, None)

    def test_what_somebody_wrote_into_annotations_stops_no_job(self) -> None:
        owner = job(completions=2, completionMode="Indexed", backoffLimitPerIndex=1)
        strange = pod("a", "Failed", index=0, ended="9999-12-31T23:59:59Z")
        for key in (facts.INDEX, facts.FAILURES):
            strange["metadata"]["annotations"][key] = "9" * 5000
        assert [made["metadata"]["labels"][facts.INDEX] for made in plan(look(owner, strange)).create] == ["0"]

    def test_a_failure_at_the_end_of_time_stops_no_job(self) -> None:
        later = plan(look(job(), pod("a", "Failed", ended="9999-12-31T23:59:59Z")))
        assert later.create == []
        assert later.wait is not None

    @pytest.mark.parametrize(
        ("rule", "failed", "said"),
        [
            (
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}, pod("a", "Failed", code=42),
                "Container c for pod default/a failed with exit code 42 matching FailJob rule at index 0",
            ),
            ({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}, pod("a", "Failed", code=1), ""),
            (
                {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [42]}}, pod("a", "Failed", code=1),
                "Container c for pod default/a failed with exit code 1 matching FailJob rule at index 0",
            ),
            (
                {"action": "FailJob", "onExitCodes": {"containerName": "x", "operator": "In", "values": [1]}},
                pod("a", "Failed"), "",
            ),
            (
                {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                pod("a", "Failed", conditions=[{"type": "DisruptionTarget", "status": "True"}]),
                "Pod default/a has condition DisruptionTarget matching FailJob rule at index 0",
            ),
        ],
    )  # fmt: skip
    def test_a_rule_that_fails_the_job(self, rule: Obj, failed: Obj, said: str) -> None:
        owner = job(podFailurePolicy={"rules": [rule]}, podReplacementPolicy="Failed")
        assert ending(look(owner, failed)) == (("FailureTarget", "PodFailurePolicy", said) if said else None)

    def test_ignored_failures_are_none(self) -> None:
        rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        owner = job(podFailurePolicy={"rules": [rule]}, podReplacementPolicy="Failed", backoffLimit=0)
        ignored = pod("a", "Failed", conditions=[{"type": "DisruptionTarget", "status": "True"}])
        observed = look(owner, ignored)
        steps = plan(observed)
        assert steps.ending is None
        assert track(observed, steps, observed).status["uncountedTerminatedPods"] == {}
        assert ending(look(owner, pod("b", "Failed"))) is not None

    def test_failed_indexes_are_written(self) -> None:
        spec: Obj = {"completionMode": "Indexed", "completions": 5, "parallelism": 5, "backoffLimitPerIndex": 0}
        owner = job({"failedIndexes": "0"}, **spec)
        observed = look(owner, *(pod(f"p{n}", "Failed", index=n, failures=0) for n in (1, 3)), pod("c", index=2))
        assert track(observed, plan(observed), observed).status["failedIndexes"] == "0,1,3"

    def test_failed_indexes(self) -> None:
        spec: Obj = {"completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimitPerIndex": 0}
        failed = [pod(f"p{n}", "Failed", index=n, failures=0) for n in range(2)]
        last = pod("c", "Succeeded", index=2)
        assert ending(look(job(**spec), *failed, pod("c", index=2))) is None
        assert ending(look(job(**spec), *failed, last)) == ("FailureTarget", "FailedIndexes", "Job has failed indexes")
        assert ending(look(job(**spec, maxFailedIndexes=1), *failed, pod("c", index=2))) == (
            "FailureTarget", "MaxFailedIndexesExceeded",
            "Job has exceeded the specified maximal number of failed indexes",
        )  # fmt: skip
        rule = {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}
        at_once = job(**{**spec, "backoffLimitPerIndex": 5}, podFailurePolicy={"rules": [rule]})
        assert str(look(at_once, pod("a", "Failed", index=1, code=42, failures=0)).failed_indexes) == "1"

    @pytest.mark.parametrize(
        ("rules", "said"),
        [
            ([{"succeededIndexes": "0,2"}], "Matched rules at index 0"),
            ([{"succeededIndexes": "1-3", "succeededCount": 1}], "Matched rules at index 0"),
            ([{"succeededIndexes": "1,3"}, {"succeededCount": 2}], "Matched rules at index 1"),
            ([{"succeededCount": 3}], ""),
        ],
    )
    def test_a_rule_of_success(self, rules: list[Obj], said: str) -> None:
        owner = job(completionMode="Indexed", completions=5, parallelism=5, successPolicy={"rules": rules})
        pods = [pod("a", "Succeeded", index=0), pod("c", "Succeeded", index=2), pod("d", index=3)]
        assert ending(look(owner, *pods)) == (("SuccessCriteriaMet", "SuccessPolicy", said) if said else None)
        if said:
            steps = plan(look(owner, *pods))
            assert ([each["metadata"]["name"] for each in steps.delete], steps.counted) == (["d"], False)


class TestSuspending:
    def test_pods_go_and_the_condition_tells(self) -> None:
        found = plan(look(job(suspend=True), pod("a")))
        assert ([each["metadata"]["name"] for each in found.delete], found.counted) == (["a"], False)
        assert found.suspended is not None
        assert (found.suspended["status"], found.suspended["reason"]) == ("True", "JobSuspended")
        assert found.events == [("Normal", "Suspended", "Job suspended")]

    def test_who_goes_on_starts_anew(self) -> None:
        rested = job({"conditions": [{"type": "Suspended", "status": "True"}]})
        observed = look(rested)
        steps = plan(observed)
        assert (len(steps.create), steps.events) == (1, [("Normal", "Resumed", "Job resumed")])
        status = track(observed, steps, observed).status
        assert status["startTime"] == "2026-01-01T01:00:00Z"
        assert [(c["type"], c["status"]) for c in status["conditions"]] == [("Suspended", "False")]

    def test_who_never_started_has_no_start(self) -> None:
        owner = job(suspend=True)
        del owner["status"]["startTime"]
        observed = look(owner)
        assert "startTime" not in track(observed, plan(observed), observed).status


class TestCounting:
    def test_uids_come_first_numbers_after_and_nothing_counts_twice(self) -> None:
        owner = job({"succeeded": 1}, completions=5, parallelism=3)
        observed = look(owner, pod("a", "Succeeded"), pod("b", "Failed"), pod("c"))
        steps = plan(observed)
        first = track(observed, steps, observed)
        assert first.status["uncountedTerminatedPods"] == {"succeeded": ["a"], "failed": ["b"]}
        assert first.status["succeeded"] == 1
        assert [each["metadata"]["name"] for each in first.release] == ["a", "b"]
        second = settle(observed, first, steps, {"b", "c"}, 1)
        assert (second["succeeded"], second.get("failed"), second["uncountedTerminatedPods"]) == (
            2,
            None,
            {"failed": ["b"]},
        )
        # It died before b's finalizer went: the next one finds b noted.
        again = look({**owner, "status": second}, pod("b", "Failed"), pod("c"))
        assert (again.succeeded, again.failed) == (2, 1)
        steps = plan(again)
        third = settle(again, track(again, steps, again), steps, {"c"}, 1)
        assert (third["succeeded"], third["failed"], third["uncountedTerminatedPods"]) == (2, 1, {})

    def test_a_job_ends_when_all_are_counted_and_gone(self) -> None:
        observed = look(job(), pod("a", "Succeeded"))
        steps = plan(observed)
        first = track(observed, steps, observed)
        assert [c["type"] for c in first.status["conditions"]] == ["SuccessCriteriaMet"]
        assert [c["type"] for c in settle(observed, first, steps, {"a"}, 0)["conditions"]] == ["SuccessCriteriaMet"]
        assert [c["type"] for c in settle(observed, first, steps, set(), 1)["conditions"]] == ["SuccessCriteriaMet"]
        last = settle(observed, first, steps, set(), 0)
        assert [(c["type"], c["reason"]) for c in last["conditions"]] == [
            ("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached"),
        ]  # fmt: skip
        assert (last["succeeded"], last["completionTime"]) == (1, "2026-01-01T01:00:00Z")

    def test_what_still_runs_when_a_job_fails_has_failed(self) -> None:
        owner = job({"failed": 6}, parallelism=2, completions=9)
        observed = look(owner, pod("a", "Failed"), pod("b"))
        steps = plan(observed)
        assert (steps.counted, [each["metadata"]["name"] for each in steps.delete]) == (True, ["b"])
        status = settle(observed, track(observed, steps, look(owner)), steps, set(), 0)
        assert (status["failed"], [c["type"] for c in status["conditions"]]) == (8, ["FailureTarget", "Failed"])

    def test_indexes_are_counted_once_whatever_their_pods(self) -> None:
        owner = job({"completedIndexes": "0", "succeeded": 1}, completionMode="Indexed", completions=4, parallelism=4)
        observed = look(
            owner, pod("a", "Succeeded", index=0), pod("b", "Succeeded", index=2), pod("c", "Succeeded", index=2)
        )
        status = track(observed, plan(observed), observed).status
        assert (status["completedIndexes"], status["succeeded"]) == ("0,2", 2)
