"""What the Job controller tells in metrics, under upstream's names and labels."""

from __future__ import annotations

from typing import Final, Literal

from sampan.api.types import Obj
from sampan.controllers.job import facts
from sampan.controllers.workload import conditions
from sampan.metrics import Counter, Distribution, Registry
from sampan.metrics.counting import exponential

Action = Literal["reconciling", "tracking", "pods_created", "pods_deleted"]

_SYNC: Final = ("completion_mode", "result", "action")
_FINISHED: Final = ("completion_mode", "result", "reason")
_BOUNDS: Final = exponential(0.004, 2, 15)


class JobMetrics:
    def __init__(self, registry: Registry) -> None:
        syncs, seconds = "job_controller_job_syncs", "job_controller_job_sync_duration_seconds"
        self._syncs = registry.of(syncs, lambda: Counter(syncs, "The number of job syncs", _SYNC))
        self._seconds = registry.of(
            seconds, lambda: Distribution(seconds, "The time it took to sync a job", _BOUNDS, _SYNC)
        )
        finished = "job_controller_jobs_finished"
        self._finished = registry.of(finished, lambda: Counter(finished, "The number of finished jobs", _FINISHED))

    def synced(self, job: Obj, action: Action, seconds: float, *, well: bool) -> None:
        labels = (_mode(job), "success" if well else "error", action)
        self._syncs.add(*labels)
        self._seconds.observe(seconds, *labels)

    def finished(self, job: Obj, status: Obj) -> None:
        """By the condition with which it ended."""
        for kind, result in (("Complete", "succeeded"), ("Failed", "failed")):
            found = conditions.find(status.get("conditions"), kind)
            if found is not None and found.get("status") == "True":
                self._finished.add(_mode(job), result, found.get("reason") or "")


def _mode(job: Obj) -> str:
    return "Indexed" if facts.is_indexed(job) else "NonIndexed"
