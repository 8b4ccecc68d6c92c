"""Jobs that failed or wait, and CronJobs that start none."""

from __future__ import annotations

from sampan.api.clock import parse_time
from sampan.api.objects import is_controlled_by, is_deleting
from sampan.api.reading import flag, part, parts, text, whole
from sampan.api.resources import CRON_JOBS, JOBS
from sampan.api.types import Obj
from sampan.why.model import Action, Cause, Fix, Lead, ref_of
from sampan.why.rules.rollouts import pods_of
from sampan.why.states import condition_of
from sampan.why.table import Found, rule
from sampan.why.templates import change, holder
from sampan.why.world import World


def _anew(world: World, job: Obj, words: str, **spec: object) -> Fix:
    """A Job that ended is made anew; of a CronJob's, the CronJob makes another in time."""
    fix = change(holder(world, JOBS, job), words, lambda template: None)
    for action in fix.actions:
        if action.verb == "replace":
            action.body["spec"] = {
                key: value for key, value in (action.body["spec"] | spec).items() if value is not None
            }
            return fix
    return Fix(words)


def _failed(job: Obj, reason: str) -> Obj:
    for kind in ("Failed", "FailureTarget"):
        found = condition_of(job, kind)
        if found.get("status") == "True" and text(found, "reason") == reason:
            return found
    return {}


@rule("job-backoff", JOBS, says="failures of its pods, against backoffLimit")
def backoff(world: World, job: Obj) -> Found:
    found = _failed(job, "BackoffLimitExceeded")
    if not found:
        return
    limit = whole(part(job, "spec"), "backoffLimit")
    pods = [pod for pod in pods_of(world, job) if text(part(pod, "status"), "phase") == "Failed"]
    ended = [
        f"pod {text(part(pod, 'metadata'), 'name')}: container {text(status, 'name')} ended with exit code "
        f"{whole(part(part(status, 'state'), 'terminated'), 'exitCode') or 0}"
        for pod in pods[-3:]
        for status in parts(part(pod, "status"), "containerStatuses")
        if part(part(status, "state"), "terminated")
    ]
    ref = ref_of(JOBS, job)
    yield Cause(
        f"{ref.place} failed: its pods ended with an error {whole(part(job, 'status'), 'failed') or 0} times, more "
        f"than its backoffLimit of {6 if limit is None else limit} allows.",
        (text(found, "message"), *ended),
        _anew(
            world,
            job,
            f"see what they said (`kubectl logs -n {ref.namespace} job/{ref.name}`), mend that, and make the Job anew",
        ),
        rank=0,
    )


@rule("job-deadline", JOBS, says="activeDeadlineSeconds of a Job")
def deadline(world: World, job: Obj) -> Found:
    found = _failed(job, "DeadlineExceeded")
    if found:
        seconds = whole(part(job, "spec"), "activeDeadlineSeconds") or 0
        yield Cause(
            f"{ref_of(JOBS, job).place} was ended because it took longer than its activeDeadlineSeconds ({seconds} s).",
            (text(found, "message"),),
            _anew(world, job, "make it anew with more time", activeDeadlineSeconds=None),
            rank=0,
        )


@rule("job-policy", JOBS, says="the pod failure policy of a Job")
def policy(world: World, job: Obj) -> Found:
    found = _failed(job, "PodFailurePolicy")
    if found:
        yield Cause(
            f"{ref_of(JOBS, job).place} failed at once: its podFailurePolicy says so of the way in which a pod ended.",
            (text(found, "message"),),
            _anew(world, job, "mend what made the pod end so, and make the Job anew"),
            rank=0,
        )


@rule("job-suspended", JOBS, says="whether a Job is suspended")
def suspended(world: World, job: Obj) -> Found:
    if flag(part(job, "spec"), "suspend"):
        ref = ref_of(JOBS, job)
        yield Cause(
            f"{ref.place} has no pods because it is suspended.",
            ("spec.suspend is true",),
            Fix("resume it", (Action("patch", ref, {"spec": {"suspend": False}}),)),
            rank=0,
        )


@rule("cron-suspended", CRON_JOBS, says="whether a CronJob is suspended")
def cron_suspended(world: World, cron_job: Obj) -> Found:
    if flag(part(cron_job, "spec"), "suspend"):
        ref = ref_of(CRON_JOBS, cron_job)
        yield Cause(
            f"{ref.place} starts no Jobs because it is suspended.",
            ("spec.suspend is true",),
            Fix("resume it", (Action("patch", ref, {"spec": {"suspend": False}}),)),
            rank=0,
        )


@rule("cron-busy", CRON_JOBS, says="Jobs that are still active where only one may be")
def cron_busy(world: World, cron_job: Obj) -> Found:
    """concurrencyPolicy Forbid."""
    active = parts(part(cron_job, "status"), "active")
    if text(part(cron_job, "spec"), "concurrencyPolicy") != "Forbid" or not active:
        return
    ref = ref_of(CRON_JOBS, cron_job)
    waits = [
        text(each, "message")
        for each in world.events_of(CRON_JOBS, cron_job)
        if text(each, "reason") == "JobAlreadyActive"
    ]
    if not waits:
        return
    job = text(active[0], "name")
    yield Cause(
        f"{ref.place} starts no new Job while {job} is active (concurrencyPolicy Forbid).",
        tuple(waits[:1]),
        Fix(
            f"end the Job that is still active (`sampan why job/{job} -n {ref.namespace}` says why), or allow several",
            (Action("patch", ref, {"spec": {"concurrencyPolicy": "Allow"}}),),
        ),
        rank=1,
    )


@rule("cron-missed", CRON_JOBS, says="starts that were missed")
def cron_missed(world: World, cron_job: Obj) -> Found:
    """Too late for startingDeadlineSeconds, or too many to be counted."""
    ref = ref_of(CRON_JOBS, cron_job)
    last = text(part(cron_job, "status"), "lastScheduleTime")
    for event in world.events_of(CRON_JOBS, cron_job):
        reason, at = text(event, "reason"), text(event, "lastTimestamp") or text(event, "eventTime")
        if reason == "SuccessfulCreate" or (last and at and parse_time(at) < parse_time(last)):
            return
        if reason in ("MissSchedule", "TooManyMissedTimes", "UnparseableSchedule"):
            seconds = whole(part(cron_job, "spec"), "startingDeadlineSeconds")
            bound = f" later than startingDeadlineSeconds ({seconds} s)" if seconds is not None else ""
            yield Cause(
                f"{ref.place} missed a start{bound}."
                if reason != "UnparseableSchedule"
                else f"{ref.place} starts no Jobs: its schedule cannot be read.",
                (text(event, "message"), f"spec.schedule is {text(part(cron_job, 'spec'), 'schedule')}"),
                Fix(
                    "let a start be late",
                    (Action("patch", ref, {"spec": {"startingDeadlineSeconds": None}}),),
                )
                if seconds is not None
                else Fix("look at spec.schedule and spec.timeZone"),
                rank=2,
            )
            return


@rule("cron-jobs", CRON_JOBS, says="its last Jobs")
def cron_jobs(world: World, cron_job: Obj) -> Found:
    jobs = [
        job for job in world.all(JOBS, text(part(cron_job, "metadata"), "namespace")) if is_controlled_by(job, cron_job)
    ]
    newest = sorted(jobs, key=lambda job: text(part(job, "metadata"), "creationTimestamp"))[-1:]
    for job in newest:
        if condition_of(job, "Complete").get("status") != "True" and not is_deleting(job):
            yield Lead(ref_of(JOBS, job), "made")
