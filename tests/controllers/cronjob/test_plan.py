"""What a CronJob decides: which time is due, what the policies do with it, what goes; and that no crash breaks it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api import objects
from sampan.api.clock import format_time
from sampan.controllers.cronjob import due, facts
from sampan.controllers.cronjob.plan import DeleteJob, Observed, Plan, StartJob, Tell, plan

Obj = dict[str, Any]
MADE = datetime(2026, 1, 1, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return MADE + timedelta(minutes=minutes)


def cron_job(schedule: str = "*/10 * * * *", *, status: Obj | None = None, **spec: Any) -> Obj:
    template = {
        "metadata": {"labels": {"app": "c"}, "annotations": {"of": "template"}},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
    }
    meta = {"name": "c", "namespace": "default", "uid": "cron", "creationTimestamp": format_time(MADE)}
    limits = {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1}
    wanted = {"schedule": schedule, "concurrencyPolicy": "Allow", "suspend": False, **limits, **spec}
    return {"metadata": meta, "spec": {**wanted, "jobTemplate": template}, "status": status or {}}


def job(name: str, ended: str = "", *, started: int = 0, **meta: Any) -> Obj:
    moment = format_time(at(started))
    made: Obj = {
        "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": "1", **meta},
        "status": {"startTime": moment},
    }
    if ended:
        made["status"]["conditions"] = [{"type": ended, "status": "True", "lastTransitionTime": moment}]
    if ended == "Complete":
        made["status"]["completionTime"] = moment
    return made


def running(*jobs: Obj, last: float | None = None) -> Obj:
    status: Obj = {"active": [{"name": j["metadata"]["name"], "namespace": "default", "uid": j["metadata"]["uid"]}
                              for j in jobs]}  # fmt: skip
    return status if last is None else {**status, "lastScheduleTime": format_time(at(last))}


def decide(wanted: Obj, now: float, jobs: Iterable[Obj] = (), missing: Iterable[str] = ()) -> Plan:
    return plan(Observed(wanted, list(jobs), frozenset(missing), at(now)))


def started(found: Plan) -> list[float]:
    """For which minutes a Job starts."""
    return [(each.scheduled - MADE) / timedelta(minutes=1) for each in found.actions if isinstance(each, StartJob)]


def deleted(found: Plan) -> list[str]:
    return [each.name for each in found.actions if isinstance(each, DeleteJob)]


def told(found: Plan) -> list[tuple[str, str, str]]:
    return [(each.kind, each.reason, each.message) for each in found.actions if isinstance(each, Tell)]


class TestDue:
    def test_nothing_starts_before_its_time(self) -> None:
        found = decide(cron_job(), 9.5)
        assert (started(found), found.wait) == ([], 30.1)

    def test_a_time_that_has_come_starts_its_job(self) -> None:
        found = decide(cron_job(), 10)
        [start] = [each for each in found.actions if isinstance(each, StartJob)]
        assert start.job["metadata"] == {
            "name": "c-29453770",
            "namespace": "default",
            "labels": {"app": "c"},
            "annotations": {
                "of": "template",
                "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-01-01T00:10:00Z",
            },
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": "cron",
                    "controller": True, "blockOwnerDeletion": True,
                }
            ],
        }  # fmt: skip
        assert start.job["spec"] == cron_job()["spec"]["jobTemplate"]["spec"]
        assert found.wait == 600.1

    def test_a_time_zone_decides_when_and_is_shown_in_the_annotation(self) -> None:
        found = decide(cron_job("5 9 * * *", timeZone="Asia/Tokyo"), 5)
        [start] = [each for each in found.actions if isinstance(each, StartJob)]
        assert start.job["metadata"]["annotations"][facts.SCHEDULED] == "2026-01-01T09:05:00+09:00"
        assert found.wait == 24 * 3600 + 0.1
        assert started(decide(cron_job("5 9 * * *", timeZone="Asia/Tokyo"), 4)) == []

    def test_of_several_missed_times_the_newest_starts(self) -> None:
        found = decide(cron_job(status={"lastScheduleTime": format_time(at(10))}), 45)
        assert (started(found), told(found), found.wait) == ([40], [], 300.1)

    def test_more_than_a_hundred_missed_times_are_told_of(self) -> None:
        found = decide(cron_job("* * * * *"), 100.5)
        assert (started(found), told(found)) == ([100], [])
        found = decide(cron_job("* * * * *"), 101.5)
        message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        assert (started(found), told(found)) == ([101], [("Warning", "TooManyMissedTimes", message)])
        assert told(decide(cron_job("* * * * *", startingDeadlineSeconds=300), 101.5)) == []

    def test_what_was_missed_before_a_long_pause_of_the_schedule_is_given_up(self) -> None:
        # Six, ten and fourteen o'clock: at five the next day the last is further back than one step.
        found = decide(cron_job("30 6-16/4 * * *"), 29 * 60)
        assert (started(found), found.wait) == ([], 90 * 60 + 0.1)

    def test_a_deadline_ends_what_may_still_start(self) -> None:
        assert started(decide(cron_job(startingDeadlineSeconds=60), 10.5)) == [10]
        assert started(decide(cron_job(startingDeadlineSeconds=60), 11)) == []
        assert started(decide(cron_job(startingDeadlineSeconds=60), 12)) == []
        assert decide(cron_job(startingDeadlineSeconds=60), 12).wait == 480.1
        assert started(decide(cron_job(startingDeadlineSeconds=2**62), 12)) == [10]

    def test_a_deadline_counts_to_the_moment(self) -> None:
        wanted = cron_job(startingDeadlineSeconds=30)
        assert not due.is_too_late(wanted, at(10), at(10.5))
        assert due.is_too_late(wanted, at(10), at(10.5) + timedelta(microseconds=1))
        assert not due.is_too_late(cron_job(), at(10), at(10**6))

    def test_a_time_is_done_once(self) -> None:
        done = cron_job(status={"lastScheduleTime": format_time(at(10))})
        assert (started(decide(done, 10.5)), decide(done, 10.5).wait) == ([], 570.1)

    def test_a_suspended_one_waits_for_nothing(self) -> None:
        found = decide(cron_job(suspend=True), 10)
        assert (found.actions, found.wait) == ([], None)

    def test_one_that_goes_starts_nothing(self) -> None:
        going = cron_job()
        going["metadata"]["deletionTimestamp"] = format_time(at(5))
        assert (decide(going, 10).actions, decide(going, 10).wait) == ([], None)

    @pytest.mark.parametrize(
        ("spec", "reason", "message"),
        [
            ({"timeZone": "Ma/rs"}, "UnknownTimeZone", 'invalid timeZone: "Ma/rs": unknown time zone Ma/rs'),
            (
                {"schedule": "61 * * * *"},
                "UnparseableSchedule",
                'unparseable schedule: "61 * * * *" : end of range (61) above maximum (59): 61',
            ),
            (
                {"schedule": "0 0 31 2 *"},
                "InvalidSchedule",
                "invalid schedule: 0 0 31 2 * : time difference between two schedules is less than 1 second",
            ),
        ],
    )  # fmt: skip
    def test_what_cannot_be_reckoned_is_told_of_and_waits_for_a_change(
        self, spec: Obj, reason: str, message: str
    ) -> None:
        found = decide(cron_job(**{"schedule": "* * * * *", **spec}), 10)
        assert (told(found), started(found), found.wait) == ([("Warning", reason, message)], [], None)

    def test_a_zone_in_the_schedule_counts_and_is_told_of(self) -> None:
        found = decide(cron_job("TZ=Asia/Tokyo 5 9 * * *"), 5)
        [(kind, reason, message)] = told(found)
        assert (kind, reason) == ("Warning", "UnsupportedSchedule")
        assert message == (
            'CRON_TZ or TZ used in schedule "TZ=Asia/Tokyo 5 9 * * *" is not officially supported, see '
            "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        )
        assert started(found) == [5]


class TestPolicies:
    def test_allow_starts_beside_what_runs(self) -> None:
        slow = job("slow")
        found = decide(cron_job(status=running(slow, last=0)), 10, [slow])
        assert (started(found), deleted(found)) == ([10], [])

    def test_forbid_waits_for_the_next_time_and_says_so(self) -> None:
        slow = job("slow")
        found = decide(cron_job(concurrencyPolicy="Forbid", status=running(slow, last=0)), 10, [slow])
        message = "Not starting job because prior execution is running and concurrency policy is Forbid"
        assert (started(found), told(found)) == ([], [("Normal", "JobAlreadyActive", message)])
        assert found.wait == 600.1

    def test_replace_deletes_what_runs_first(self) -> None:
        slow = job("slow")
        found = decide(cron_job(concurrencyPolicy="Replace", status=running(slow, last=0)), 10, [slow])
        assert [type(each) for each in found.actions] == [DeleteJob, StartJob]
        assert (deleted(found), started(found)) == (["slow"], [10])

    def test_replace_deletes_only_what_is_its_own(self) -> None:
        stranger = job("stranger")
        found = decide(cron_job(concurrencyPolicy="Replace", status=running(stranger, last=0)), 10, [])
        assert (deleted(found), started(found)) == ([], [10])

    def test_a_missed_forbidden_time_starts_once_the_job_has_ended(self) -> None:
        ended = job("slow", "Failed")
        found = decide(cron_job(concurrencyPolicy="Forbid", status=running(ended, last=0)), 13, [ended])
        assert started(found) == [10]


class TestLookingAfter:
    def test_a_finished_job_leaves_the_active_ones_and_is_told_of(self) -> None:
        good, bad = job("good", "Complete", started=4), job("bad", "Failed")
        found = decide(cron_job(status=running(good, bad, last=0)), 5, [good, bad])
        assert told(found) == [
            ("Normal", "SawCompletedJob", "Saw completed job: good, condition: Complete"),
            ("Normal", "SawCompletedJob", "Saw completed job: bad, condition: Failed"),
        ]
        assert found.status == {"lastScheduleTime": format_time(at(0)), "lastSuccessfulTime": format_time(at(4))}

    def test_the_last_success_is_the_latest_and_never_goes_back(self) -> None:
        jobs = [job("a", "Complete", started=3), job("b", "Complete", started=1)]
        assert decide(cron_job(), 5, jobs).status == {"lastSuccessfulTime": format_time(at(3))}
        known = {"lastSuccessfulTime": format_time(at(4))}
        assert decide(cron_job(status=known), 5, jobs).status == known

    def test_a_job_that_is_gone_leaves_the_active_ones(self) -> None:
        gone = job("gone")
        found = decide(cron_job(status=running(gone)), 5, [], missing=["gone"])
        assert told(found) == [("Normal", "MissingJob", "Active job went missing: gone")]
        assert found.status == {}

    def test_a_job_of_somebody_else_is_told_of_and_counts_for_no_policy(self) -> None:
        manual = job("manual", annotations={"cronjob.kubernetes.io/instantiate": "manual"})
        found = decide(cron_job(concurrencyPolicy="Forbid"), 10, [manual])
        message = "Saw a job that the controller did not create or forgot: manual"
        assert told(found) == [("Warning", "UnexpectedJob", message)]
        assert started(found) == [10]

    def test_history_keeps_so_many_of_each_sort_the_oldest_go(self) -> None:
        good = [job(f"good-{number}", "Complete", started=number) for number in range(5)]
        bad = [job(f"bad-{number}", "Failed", started=number) for number in range(3)]
        assert deleted(decide(cron_job(suspend=True), 9, [*reversed(good), *bad])) == [
            "good-0", "good-1", "bad-0", "bad-1",
        ]  # fmt: skip
        none_kept = cron_job(suspend=True, successfulJobsHistoryLimit=0, failedJobsHistoryLimit=0)
        assert len(deleted(decide(none_kept, 9, [*good, *bad, job("runs")]))) == 8
        unlimited = cron_job(suspend=True)
        del unlimited["spec"]["successfulJobsHistoryLimit"], unlimited["spec"]["failedJobsHistoryLimit"]
        assert deleted(decide(unlimited, 9, [*good, *bad])) == []


# -- a world in which controllers crash --------------------------------------------------------------------------


class World:
    """One CronJob and its Jobs; a plan may be carried out in part only, as by a controller that is killed."""

    def __init__(self, policy: str) -> None:
        self.cron_job = cron_job("* * * * *", concurrencyPolicy=policy)
        self.jobs: dict[str, Obj] = {}
        self.starts: list[str] = []

    def observed(self, now: float) -> Observed:
        listed = facts.active(self.cron_job["status"])
        missing = frozenset(each["uid"] for each in listed if each["name"] not in self.jobs)
        return Observed(self.cron_job, [self.jobs[name] for name in sorted(self.jobs)], missing, at(now))

    def carry_out(self, found: Plan, most: int) -> None:
        """At most so many actions, and the status only if there is one to spare."""
        status = found.status
        for action in found.actions[:most]:
            if isinstance(action, DeleteJob):
                self.jobs.pop(action.name, None)
                status = facts.without(status, {action.uid})
            elif isinstance(action, StartJob):
                made = objects.deep_copy(action.job)
                name = made["metadata"]["name"]
                made["metadata"] |= {"uid": name, "resourceVersion": "1"}
                if name not in self.jobs:
                    self.jobs[name] = made
                    self.starts.append(name)
                status = facts.with_started(status, self.jobs[name], action.scheduled)
            self.check()
        if most > len(found.actions):
            self.cron_job["status"] = status

    def finish(self, which: int, outcome: str) -> None:
        unfinished = self.unfinished()
        if unfinished:
            made = unfinished[which % len(unfinished)]
            made["status"] = {"conditions": [{"type": outcome, "status": "True"}]}

    def unfinished(self) -> list[Obj]:
        return [made for made in self.jobs.values() if not facts.finished(made)]

    def check(self) -> None:
        if self.cron_job["spec"]["concurrencyPolicy"] != "Allow":
            assert len(self.unfinished()) <= 1, "two Jobs run at once"
        assert len(set(self.starts)) == len(self.starts), "a time came twice"


STEPS = st.lists(
    st.tuples(
        st.floats(0, 2.5), st.one_of(st.integers(0, 4), st.just(99)), st.integers(-2, 2),
        st.sampled_from(["Complete", "Failed"]),
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=60)
@given(st.sampled_from(["Allow", "Forbid", "Replace"]), STEPS)
def test_no_crash_starts_a_time_twice_or_breaks_the_policy(
    policy: str, steps: list[tuple[float, int, int, str]]
) -> None:
    world, now = World(policy), 0.0
    for pause, most, which, outcome in steps:
        now += pause
        if which >= 0:
            world.finish(which, outcome)
        world.carry_out(plan(world.observed(now)), most)
    # Left alone, it comes to rest: nothing is left to do, and the status names what runs.
    for _ in range(3):
        world.carry_out(plan(world.observed(now)), 99)
    rest = plan(world.observed(now))
    assert not [each for each in rest.actions if not isinstance(each, Tell)]
    assert rest.status == world.cron_job["status"]
    names = sorted(each["name"] for each in facts.active(rest.status))
    assert names == sorted(made["metadata"]["name"] for made in world.unfinished())
    assert rest.wait is not None and 0 < rest.wait <= 60.1
    kept = [facts.finished(made) for made in world.jobs.values()]
    assert kept.count("Complete") <= 3 and kept.count("Failed") <= 1
