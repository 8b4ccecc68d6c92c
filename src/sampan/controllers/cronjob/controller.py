"""The shell of the CronJob controller: snapshot, plan, apply, status. The next time is a timer of the queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sampan.api import objects
from sampan.api.errors import AlreadyExists, ApiError, Invalid, NotFound
from sampan.api.reading import part, text
from sampan.api.resources import CRON_JOBS, JOBS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.client.keys import ObjectKey, key_of
from sampan.controllers.context import Context
from sampan.controllers.cronjob import due, facts
from sampan.controllers.cronjob.plan import DeleteJob, Observed, Plan, StartJob, Tell, plan
from sampan.controllers.workload import claims
from sampan.controllers.workload.pods import is_terminating_namespace
from sampan.metrics import Distribution, current
from sampan.metrics.counting import exponential

NAME: Final = "cronjob-controller"
SKEW: Final = "cronjob_controller_job_creation_skew_duration_seconds"


#: so many Jobs of a status that are not there are asked for in one sync, and the rest so much later: anybody who may
#: write a status may write thousands
_LOOKS: Final = 50
_AGAIN_SECONDS: Final = 1.0


class CronJobController:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        self._cron_jobs = context.informers.informer(CRON_JOBS)
        self._jobs = context.informers.informer(JOBS)
        claims.add_claim_indexes(self._jobs)
        self._skew = current().of(
            SKEW,
            lambda: Distribution(
                SKEW,
                "Time between when a cronjob is scheduled to be run, and when the corresponding job is created",
                exponential(1, 2, 10),
            ),
        )
        informers = [self._cron_jobs, self._jobs]
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, informers=informers)
        self._cron_jobs.add_handler(self._changed)
        self._jobs.add_handler(self._job_changed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    def _changed(self, kind: ChangeType, cron_job: Obj, previous: Obj | None) -> None:
        """A new schedule does not start what it would have started before it was written: it is looked at when its next
        time comes. The status is this controller's own."""
        key = key_of(cron_job)
        if kind == "MODIFIED" and previous is not None and _wanted(cron_job) == _wanted(previous):
            return
        if kind != "MODIFIED" or previous is None or _timing(cron_job) == _timing(previous):
            self._controller.enqueue(key)
            return
        try:
            wait = due.next_in_seconds(cron_job, due.times(cron_job), self._clock.now())
        except due.Unusable:
            message = f"unparseable schedule for cronjob: {text(part(cron_job, 'spec'), 'schedule')}"
            self._recorder.event(cron_job, "Warning", "UnParseableCronJobSchedule", message)
            return
        self._controller.queue.add_after(key, wait or 0.0)

    def _job_changed(self, kind: ChangeType, job: Obj, previous: Obj | None) -> None:
        """What a Job counts while it runs concerns no CronJob: only that it comes, ends, goes, or changes hands. Nor
        does that a Job of this controller's came, or that one went which had ended before."""
        now = _telling(job)
        if kind == "DELETED" and now.ended:
            return
        if kind == "ADDED" and not now.ended and now.owner is not None and facts.started_for(now.owner.name, job):
            return
        before = _telling(previous) if kind == "MODIFIED" and previous is not None else None
        if now == before:
            return
        for told in (now, before or now):
            if told.owner is not None:
                self._controller.enqueue(told.owner)

    async def sync(self, key: ObjectKey) -> Result:
        cron_job = self._cron_jobs.get(*key)
        if cron_job is None:
            return DONE
        jobs = list(self._jobs.by_index(claims.CONTROLLER_INDEX, cron_job["metadata"]["uid"]))
        listed = facts.listed(part(cron_job, "status"))
        if any(job["metadata"]["uid"] not in listed and not facts.finished(job) for job in jobs):
            # A status older than the Jobs would start one twice.
            uid = cron_job["metadata"]["uid"]
            cron_job = await self._client.get(CRON_JOBS, key.name, key.namespace)
            if cron_job["metadata"]["uid"] != uid:
                return DONE
        unseen = _unseen(cron_job, jobs)
        missing = await self._missing(key.namespace, unseen[:_LOOKS])
        steps = plan(Observed(cron_job, jobs, missing, self._clock.now()))
        status, error = await self._apply(cron_job, steps)
        await self._write_status(cron_job, status)
        if error is not None and not isinstance(error, Invalid) and not is_terminating_namespace(error):
            raise error  # else trying again would not help: the next time may
        return Result(_AGAIN_SECONDS if len(unseen) > _LOOKS else steps.wait)

    async def _missing(self, namespace: str, unseen: Iterable[Obj]) -> frozenset[str]:
        """Of Jobs that run by the status, those that the server does not know either."""
        missing = set()
        for reference in unseen:
            name, uid = text(reference, "name"), text(reference, "uid")
            if not await self._is_there(namespace, name, uid):
                missing.add(uid)
        return frozenset(missing)

    async def _is_there(self, namespace: str, name: str, uid: str) -> bool:
        if not name or not uid:
            return False
        try:
            job = await self._client.get(JOBS, name, namespace)
        except NotFound:
            return False
        return bool(job["metadata"]["uid"] == uid)

    async def _apply(self, cron_job: Obj, steps: Plan) -> tuple[Obj, ApiError | None]:
        """In order, up to the first that must not fail and does; the status that is true then."""
        status = steps.status
        for action in steps.actions:
            try:
                match action:
                    case Tell():
                        self._recorder.event(cron_job, action.kind, action.reason, action.message)
                    case DeleteJob():
                        await self._delete(cron_job, action)
                        status = facts.without(status, (action.uid,))
                    case StartJob():
                        job = await self._start(cron_job, action)
                        if job is not None and job["metadata"]["uid"] not in facts.listed(status):
                            status = facts.with_started(status, job, action.scheduled)
            except ApiError as error:
                if not isinstance(action, DeleteJob) or action.must:
                    return status, error
        return status, None

    async def _delete(self, cron_job: Obj, doomed: DeleteJob) -> None:
        try:
            answer = await self._client.delete(
                JOBS, doomed.name, doomed.namespace, uid=doomed.uid, propagation="Background"
            )
        except NotFound:
            return
        except ApiError as error:
            self._recorder.event(cron_job, "Warning", "FailedDelete", f"Deleted job: {error.message}")
            raise
        self._recorder.event(cron_job, "Normal", "SuccessfulDelete", f"Deleted job {doomed.name}")
        await observe(self._jobs, answer, doomed.namespace)

    async def _start(self, cron_job: Obj, start: StartJob) -> Obj | None:
        """The Job that runs for this time; None: somebody else's has its name, so this time is left out."""
        meta = start.job["metadata"]
        try:
            job = await self._client.create(JOBS, start.job)
        except AlreadyExists:  # made before a crash, when the status did not come to be written
            job = await self._client.get(JOBS, meta["name"], meta["namespace"])
            return job if objects.is_controlled_by(job, cron_job) else None
        except ApiError as error:
            if not is_terminating_namespace(error):
                self._recorder.event(cron_job, "Warning", "FailedCreate", f"Error creating job: {error.message}")
            raise
        self._skew.observe((self._clock.now() - start.scheduled).total_seconds())
        self._recorder.event(cron_job, "Normal", "SuccessfulCreate", f"Created job {meta['name']}")
        await observe(self._jobs, job)
        return job

    async def _write_status(self, cron_job: Obj, status: Obj) -> None:
        if status == part(cron_job, "status"):
            return
        try:
            written = await self._client.update_status(CRON_JOBS, {**cron_job, "status": status})
        except NotFound:
            return
        await observe(self._cron_jobs, written)


def _unseen(cron_job: Obj, jobs: Iterable[Obj]) -> Sequence[Obj]:
    """References of the status to Jobs that are not among these."""
    known = {job["metadata"]["uid"] for job in jobs}
    return [each for each in facts.active(part(cron_job, "status")) if each.get("uid") not in known]


class _Telling(NamedTuple):
    """Of a Job: the CronJob that it belongs to, how it ended (""; not yet), whether it goes."""

    owner: ObjectKey | None
    ended: str
    goes: bool


def _telling(job: Obj) -> _Telling:
    owner = objects.controller_of(job)
    if owner is None or owner.get("kind") != CRON_JOBS.kind or owner.get("apiVersion") != CRON_JOBS.api_version:
        return _Telling(None, "", False)
    key = ObjectKey(job["metadata"]["namespace"], owner["name"])
    return _Telling(key, facts.finished(job), objects.is_deleting(job))


def _wanted(cron_job: Obj) -> tuple[Obj, bool]:
    return part(cron_job, "spec"), objects.is_deleting(cron_job)


def _timing(cron_job: Obj) -> tuple[str, str]:
    spec = part(cron_job, "spec")
    return text(spec, "schedule"), text(spec, "timeZone")
