"""The shell of the Job controller: snapshot, plan, pods, then the count in its two steps.

Pods that nobody counts any more (their Job is gone, or over) are let go by a second, small loop.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sampan.api import labels, objects
from sampan.api.errors import ApiError, NotFound
from sampan.api.pods import status as podstatus
from sampan.api.reading import part
from sampan.api.resources import JOBS, PODS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.client.keys import ObjectKey, key_of
from sampan.client.workqueue import loop_time
from sampan.controllers.context import Context
from sampan.controllers.job import facts, pods
from sampan.controllers.job.metrics import Action, JobMetrics
from sampan.controllers.job.plan import Observed, Plan, failures_in_a_row, plan
from sampan.controllers.job.tracking import Tracking, ended, settle, track
from sampan.controllers.workload import claims
from sampan.controllers.workload.owner import PodOwner
from sampan.controllers.workload.pods import Outcome, is_terminating_namespace, slow_start
from sampan.controllers.workload.remembered import Remembered
from sampan.metrics import current

NAME: Final = "job-controller"
_AT_ONCE: Final = 0.001


class JobController:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        self._owner = PodOwner(
            context.informers, self._client, self._recorder, JOBS, _selector, finalizer=facts.FINALIZER
        )
        #: what is known of each Job's pods, by its UID: of a Job only the completions change, and its being suspended
        self._readers: dict[str, Remembered[facts.Said]] = {}
        #: failures in a row and the last one's time, by the Job's UID
        self._failures: dict[str, tuple[int, datetime | None]] = {}
        self._metrics = JobMetrics(current())
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync)
        self._orphans: Controller[ObjectKey] = Controller(
            f"{NAME} of orphans", self.let_go, informers=[self._owner.pods, self._owner.owners]
        )
        self._owner.feed(self._controller)
        self._owner.owners.add_handler(self._job_changed)
        self._owner.pods.add_handler(self._pod_changed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), orphans=self._orphans.run(), events=self._recorder.run())

    @property
    def remembered(self) -> int:
        """Of how many Jobs something is kept that the API does not know."""
        return len(self._failures.keys() | self._readers.keys())

    def _job_changed(self, kind: ChangeType, job: Obj, previous: Obj | None) -> None:
        if kind == "DELETED" or facts.is_finished(job):
            self._failures.pop(objects.uid(job), None)
            self._readers.pop(objects.uid(job), None)
            for pod in self._owner.pods.by_index(claims.CONTROLLER_INDEX, objects.uid(job)):
                if facts.is_tracked(pod):
                    self._orphans.enqueue(key_of(pod))

    def _pod_changed(self, kind: ChangeType, pod: Obj, previous: Obj | None) -> None:
        if kind != "DELETED" and facts.is_tracked(pod) and self._is_orphan(pod):
            self._orphans.enqueue(key_of(pod))

    def _is_orphan(self, pod: Obj) -> bool:
        controller = objects.controller_of(pod)
        if controller is None:
            return True
        if controller.get("kind") != JOBS.kind or controller.get("apiVersion") != JOBS.api_version:
            return False
        job = self._owner.owners.get(pod["metadata"]["namespace"], controller["name"])
        if job is None or objects.uid(job) != controller.get("uid"):
            return True
        return facts.is_ours(job) and facts.is_finished(job)

    async def let_go(self, key: ObjectKey) -> Result:
        """Takes the finalizer from a pod that nobody will count."""
        pod = self._owner.pods.get(*key)
        if pod is None or not facts.is_tracked(pod) or not self._is_orphan(pod):
            return DONE
        if not self._owner.owners.revision:
            return DONE  # nobody answers for Jobs (``--runtime-config``): the one that counts it may be stored
        # One without a controller may be adopted yet: it gets the finalizer again then. Were it to keep this one, and
        # nobody adopts it, it could never go.
        await self._release(pod, unchanged=objects.controller_of(pod) is None)
        return DONE

    async def sync(self, key: ObjectKey) -> Result:
        job = self._owner.owners.get(*key)
        if job is None or not facts.is_ours(job) or facts.is_finished(job):
            return DONE
        began, well = loop_time(), False
        action: Action = "reconciling"
        try:
            action, result = await self._sync(key, job)
            well = True
        finally:
            self._metrics.synced(job, action, loop_time() - began, well=well)
        return result

    async def _sync(self, key: ObjectKey, job: Obj) -> tuple[Action, Result]:
        uid = objects.uid(job)
        if (read := self._readers.get(uid)) is None:
            read = self._readers[uid] = Remembered(facts.reader(job))
        owned = await self._owner.claim(job)
        await read.learn(owned, facts.judged)
        observed = Observed(job, owned, self._clock.now(), self._failures.get(uid, (0, None)), read)
        steps = plan(observed)
        error = await self._apply(job, steps)
        action: Action = "pods_deleted" if steps.delete else "pods_created" if steps.create else "reconciling"
        if error is not None and is_terminating_namespace(error):
            return action, DONE
        after = Observed(job, self._owner.owned(job), observed.now, read=read)
        tracking = track(observed, steps, after)
        if tracking.release and not objects.equal_semantics(tracking.status, part(job, "status")):
            await self._owner.write_status(job, tracking.status)
        released = await slow_start(len(tracking.release), lambda index: self._release(tracking.release[index]), 16)
        for event in steps.events:
            self._recorder.event(job, *event)
        if not await self._settle(key, observed, steps, tracking):
            self._failures[uid] = failures_in_a_row(observed)
        if (first := error or released.error) is not None:
            raise first
        if action == "reconciling" and tracking.release:
            action = "tracking"
        return action, Result(_AT_ONCE if tracking.more else steps.wait)

    async def _settle(self, key: ObjectKey, observed: Observed, steps: Plan, tracking: Tracking) -> bool:
        """Counts what has been let go; ends the Job when nothing is left. Whether it is over, or gone."""
        job = self._owner.owners.get(*key)
        if job is None or objects.uid(job) != objects.uid(observed.job):
            return True
        owned = self._owner.owned(job)
        tracked = {objects.uid(pod) for pod in owned if facts.is_tracked(pod)}
        left = sum(not podstatus.is_terminal(pod) for pod in owned)
        status = settle(observed, tracking, steps, tracked, left)
        await self._owner.write_status(job, status)
        told = ended(job, status)
        for event in told:
            self._recorder.event(job, *event)
        if told:
            self._metrics.finished(job, status)
        return bool(told) or self._owner.owners.get(*key) is None

    async def _apply(self, job: Obj, steps: Plan) -> ApiError | None:
        deleted = Outcome()
        if steps.delete:
            delete = self._delete_counted if steps.counted else self._delete_uncounted
            deleted = await slow_start(len(steps.delete), lambda index: delete(job, steps.delete[index]), 16)
        created = await slow_start(
            len(steps.create), lambda index: self._owner.control.create(job, steps.create[index])
        )
        return deleted.error or created.error

    async def _delete_counted(self, job: Obj, pod: Obj) -> None:
        """It keeps its finalizer until it is counted as a failure."""
        await self._owner.control.delete(job, pod)

    async def _delete_uncounted(self, job: Obj, pod: Obj) -> None:
        """It never happened: nobody waits to count it."""
        await self._release(pod)
        await self._owner.control.delete(job, pod)

    async def _release(self, pod: Obj, *, unchanged: bool = False) -> None:
        """``unchanged``: only if nobody has written the pod since."""
        if not facts.is_tracked(pod):
            return
        meta = pod["metadata"]
        patch = pods.without_tracking(pod)
        if unchanged:
            patch["metadata"]["resourceVersion"] = meta["resourceVersion"]
        try:
            written = await self._client.patch(PODS, meta["name"], patch, meta["namespace"], patch_type="strategic")
        except NotFound:
            return
        await observe(self._owner.pods, written, meta["namespace"])


def _selector(job: Obj) -> labels.Selector:
    return labels.from_label_selector(part(facts.spec(job), "selector"))
