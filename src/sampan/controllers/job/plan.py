"""Decides for one Job what comes next: pods to create and delete, which to count, and whether it is over. Pure.

How pods are counted is in ``tracking``. The shell is ``controller.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final

from sampan.api import objects
from sampan.api.clock import format_time, parse_time
from sampan.api.reading import part, parts, text, texts, whole
from sampan.api.types import Obj
from sampan.client.events import EventKind
from sampan.controllers.job import facts, pods
from sampan.controllers.job.facts import Said
from sampan.controllers.job.indexes import Indexes

#: At most this many creates or deletes a sync, and UIDs in a status; the rest follows in the next.
BURST: Final = 500
#: A deadline may be farther away than any clock reaches.
_LONGEST_WAIT: Final = 24 * 3600.0

#: of an Event: type, reason, message
Told = tuple[EventKind, str, str]


@dataclass(frozen=True)
class Observed:
    """One snapshot. ``pods``: those that are the Job's. ``failures``: how many failed in a row before these, and when
    the last of them did."""

    job: Obj
    pods: Sequence[Obj]
    now: datetime
    failures: tuple[int, datetime | None] = (0, None)
    #: what may remember what it said before; None reads each pod
    read: Callable[[Sequence[Obj]], Sequence[Said]] | None = None

    @cached_property
    def said(self) -> Sequence[Said]:
        if self.read is not None:
            return self.read(self.pods)
        return list(map(facts.reader(self.job), self.pods))

    @cached_property
    def completions(self) -> int:
        return facts.completions(self.job) or 0

    @cached_property
    def is_indexed(self) -> bool:
        return facts.is_indexed(self.job)

    def index(self, said: Said) -> int | None:
        """None too for one beyond the completions, which may have been lowered."""
        return said.index if said.index is not None and said.index < self.completions else None

    @cached_property
    def active(self) -> list[Obj]:
        return [said.pod for said in self.said if said.is_active]

    @cached_property
    def terminating(self) -> int:
        return sum(said.is_leaving for said in self.said)

    @cached_property
    def uncounted(self) -> dict[str, list[str]]:
        found = part(part(self.job, "status"), "uncountedTerminatedPods")
        return {kind: list(texts(found, kind)) for kind in ("succeeded", "failed")}

    def _new(self, known: Sequence[str], ended: list[Said]) -> list[Said]:
        """Those that are neither counted nor about to be."""
        counted = set(known)
        return [
            said
            for said in ended
            if said.is_tracked and said.uid not in counted and (not self.is_indexed or self.index(said) is not None)
        ]

    @cached_property
    def new_succeeded(self) -> list[Said]:
        return self._new(self.uncounted["succeeded"], [said for said in self.said if said.is_succeeded])

    @cached_property
    def failed_pods(self) -> list[Said]:
        return [said for said in self.said if said.is_failed]

    @cached_property
    def new_failed(self) -> list[Said]:
        return self._new(self.uncounted["failed"], self.failed_pods)

    @cached_property
    def counted_failures(self) -> int:
        """Of the new ones, those that the policy does not ignore."""
        return sum(said.judged.counts for said in self.new_failed)

    @cached_property
    def succeeded_before(self) -> Indexes:
        written = text(part(self.job, "status"), "completedIndexes")
        return Indexes.parse(written, self.completions)

    @cached_property
    def succeeded_indexes(self) -> Indexes:
        own = map(self.index, self.new_succeeded)
        return self.succeeded_before | Indexes.of(index for index in own if index is not None)

    @cached_property
    def failed_indexes(self) -> Indexes:
        written = text(part(self.job, "status"), "failedIndexes")
        before = Indexes.parse(written, self.completions)
        new = [
            index
            for said in self.failed_pods
            if (index := self.index(said)) is not None and facts.is_index_failed(self.job, said.pod, said.judged)
        ]
        return before | Indexes.of(new)

    @cached_property
    def succeeded(self) -> int:
        if facts.is_indexed(self.job):
            return len(self.succeeded_indexes)
        status = part(self.job, "status")
        return (whole(status, "succeeded") or 0) + len(self.uncounted["succeeded"]) + len(self.new_succeeded)

    @cached_property
    def failed(self) -> int:
        status = part(self.job, "status")
        return (whole(status, "failed") or 0) + len(self.uncounted["failed"]) + self.counted_failures

    @cached_property
    def replaced(self) -> dict[int, Obj]:
        """Of each index that is to be tried again, the failed pod that says how often it has been (KEP-3850): it stays
        until the next one bears the number."""
        if facts.per_index_limit(self.job) is None:
            return {}
        active = {self.index(said) for said in self.said if said.is_active}
        found: dict[int, Obj] = {}
        for said in self.failed_pods:
            index, pod = self.index(said), said.pod
            if index is None or not said.is_tracked or index in active:
                continue
            if index in self.succeeded_indexes or index in self.failed_indexes:
                continue
            if index not in found or sum(facts.failures_of_index(found[index])) < sum(facts.failures_of_index(pod)):
                found[index] = pod
        return found

    @cached_property
    def held(self) -> set[str]:
        """The UIDs of those."""
        return {objects.uid(pod) for pod in self.replaced.values()}


@dataclass(slots=True)
class Plan:
    """``create``: whole pods. ``delete``: active ones that are too many; ``counted``: they are failures (the Job has
    failed), and did not never happen. ``ending``: the condition that ends the Job, once all is counted."""

    create: list[Obj] = field(default_factory=list)
    delete: list[Obj] = field(default_factory=list)
    counted: bool = False
    ending: Obj | None = None
    events: list[Told] = field(default_factory=list)
    #: the Job goes on or rests: its condition ``Suspended``
    suspended: Obj | None = None
    resumed: bool = False
    #: seconds until something is due that no event tells of
    wait: float | None = None

    def look_again(self, seconds: float) -> None:
        self.wait = seconds if self.wait is None else min(self.wait, seconds)


def condition(kind: str, reason: str, message: str, now: datetime, status: str = "True") -> Obj:
    moment = format_time(now)
    return {
        "type": kind,
        "status": status,
        "lastProbeTime": moment,
        "lastTransitionTime": moment,
        "reason": reason,
        "message": message,
    }


def plan(observed: Observed) -> Plan:
    job, found = observed.job, Plan()
    found.ending = _failure(observed, found) or _success_by_policy(observed)
    if found.ending is not None:
        found.delete, found.counted = list(observed.active), found.ending["type"] == "FailureTarget"
        return found
    if not objects.is_deleting(job):
        _manage(observed, found)
    if _is_complete(observed, found):
        message = "Reached expected number of succeeded pods"
        found.ending = condition("SuccessCriteriaMet", "CompletionsReached", message, observed.now)
        found.create.clear()
        return found
    if not objects.is_deleting(job):
        _suspend_or_resume(observed, found)
    return found


def _failure(observed: Observed, found: Plan) -> Obj | None:
    """The condition ``FailureTarget``, there already or now due."""
    job, now = observed.job, observed.now
    if facts.condition(job, "SuccessCriteriaMet") is not None:
        return None
    if (present := facts.condition(job, "FailureTarget")) is not None:
        return present
    for said in observed.failed_pods:
        if said.judged.action == "FailJob":
            return condition("FailureTarget", "PodFailurePolicy", said.judged.message, now)
    if observed.failed > facts.backoff_limit(job) or facts.restarts_beyond_limit(job, observed.pods):
        return condition("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit", now)
    deadline = whole(facts.spec(job), "activeDeadlineSeconds")
    started = text(part(job, "status"), "startTime")
    if deadline is not None and started and not facts.is_suspended(job):
        left = deadline - (now - parse_time(started)).total_seconds()
        if left <= 0:
            return condition("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline", now)
        found.look_again(min(left, _LONGEST_WAIT))
    if facts.is_indexed(job) and facts.per_index_limit(job) is not None:
        return _failure_of_indexes(observed)
    return None


def _failure_of_indexes(observed: Observed) -> Obj | None:
    job, failed = observed.job, len(observed.failed_indexes)
    most = whole(facts.spec(job), "maxFailedIndexes")
    if most is not None and failed > most:
        message = "Job has exceeded the specified maximal number of failed indexes"
        return condition("FailureTarget", "MaxFailedIndexesExceeded", message, observed.now)
    if failed and failed + len(observed.succeeded_indexes) >= (facts.completions(job) or 0):
        return condition("FailureTarget", "FailedIndexes", "Job has failed indexes", observed.now)
    return None


def _success_by_policy(observed: Observed) -> Obj | None:
    job = observed.job
    if (present := facts.condition(job, "SuccessCriteriaMet")) is not None:
        return present
    message = facts.matching_success_rule(job, observed.succeeded_indexes) if facts.is_indexed(job) else None
    if message is None:
        return None
    return condition("SuccessCriteriaMet", "SuccessPolicy", message, observed.now)


def _wanted_active(observed: Observed) -> int:
    completions, parallelism = facts.completions(observed.job), facts.parallelism(observed.job)
    if completions is None:
        # After the first success nothing new starts, and what runs goes on.
        return len(observed.active) if observed.succeeded else parallelism
    return max(0, min(completions - observed.succeeded - len(observed.failed_indexes), parallelism))


def _manage(observed: Observed, found: Plan) -> None:
    """Either deletes or creates; deletes come first."""
    job, active = observed.job, observed.active
    if facts.is_suspended(job):
        found.delete = active[:BURST]
        return
    wanted = _wanted_active(observed)
    surplus = pods.too_many(job, active, max(0, len(active) - wanted), observed.now)
    if surplus:
        found.delete = surplus[:BURST]
        return
    leaving = observed.terminating if facts.waits_for_ended(job) else 0
    missing = min(wanted - leaving - len(active), BURST)
    if missing <= 0:
        return
    if facts.per_index_limit(job) is None:
        count, last = _failures_in_a_row(observed)
        wait = facts.pause(count, last, observed.now) if last is not None else 0.0
        if wait > 0:
            found.look_again(wait)
            return
    if not facts.is_indexed(job):
        found.create = [pods.make(job, None, None) for _ in range(missing)]
        return
    for index in _pending(observed, missing):
        before = observed.replaced.get(index)
        if before is not None:
            wait = facts.pause(sum(facts.failures_of_index(before)) + 1, facts.finished_at(before), observed.now)
            if wait > 0:
                found.look_again(wait)
                continue
        found.create.append(pods.make(job, index, before))


def _pending(observed: Observed, count: int) -> list[int]:
    """The lowest indexes without a pod that are neither done nor failed."""
    job = observed.job
    held = {observed.index(said) for said in observed.said if said.is_active}
    if facts.waits_for_ended(job):
        held |= {observed.index(said) for said in observed.said if said.is_leaving}
    over = observed.succeeded_indexes | observed.failed_indexes
    found: list[int] = []
    for index in over.missing(facts.completions(job) or 0):
        if len(found) == count:
            break
        if index not in held:
            found.append(index)
    return found


def _failures_in_a_row(observed: Observed) -> tuple[int, datetime | None]:
    """With those that are new, after the last success."""
    count, last = observed.failures
    ends = [(said.ended, True) for said in observed.new_failed]
    ends += [(said.ended, False) for said in observed.new_succeeded]
    for moment, failed in sorted(ends):
        count, last = (count + 1, moment) if failed else (0, last)
    return count, last


def failures_in_a_row(observed: Observed) -> tuple[int, datetime | None]:
    """What the next look has to know of what this one counts."""
    return _failures_in_a_row(observed)


def _is_complete(observed: Observed, found: Plan) -> bool:
    completions = facts.completions(observed.job)
    if completions is None:
        return observed.succeeded > 0 and not observed.active and not found.create
    if observed.succeeded < completions:
        return False
    return len(observed.active) <= len(found.delete)


def _suspend_or_resume(observed: Observed, found: Plan) -> None:
    job, now = observed.job, observed.now
    present = next((each for each in parts(part(job, "status"), "conditions") if each.get("type") == "Suspended"), None)
    if facts.is_suspended(job):
        if present is None or present.get("status") != "True":
            found.suspended = condition("Suspended", "JobSuspended", "Job suspended", now)
            found.events.append(("Normal", "Suspended", "Job suspended"))
    elif present is not None and present.get("status") == "True":
        found.suspended = condition("Suspended", "JobResumed", "Job resumed", now, "False")
        found.events.append(("Normal", "Resumed", "Job resumed"))
        found.resumed = True
