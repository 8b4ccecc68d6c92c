"""What a Job and its pods say: indexes, ends, policies, pauses after failures. Pure.

Source: the batch/v1 API reference; upstream ``pkg/controller/job``; KEP-2307 (finalizers), KEP-3329 (failure policy),
KEP-3850 (back-off of each index), KEP-3939 (replacement), KEP-3998 (success policy).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from sampan.api import objects
from sampan.api.clock import parse_time
from sampan.api.pods import status as podstatus
from sampan.api.reading import flag, part, parts, text, text_map, whole
from sampan.api.types import Obj
from sampan.controllers.job.indexes import Indexes, whole_number

#: on each pod until it is counted
FINALIZER: Final = "batch.kubernetes.io/job-tracking"
INDEX: Final = "batch.kubernetes.io/job-completion-index"
FAILURES: Final = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES: Final = "batch.kubernetes.io/job-index-ignored-failure-count"
#: who else may do a Job's work, and its value when it is us
MANAGER: Final = "kubernetes.io/job-controller"

_FIRST_PAUSE: Final = 10.0
_LONGEST_PAUSE: Final = 600.0


def spec(job: Obj) -> Obj:
    return part(job, "spec")


def is_ours(job: Obj) -> bool:
    return text(spec(job), "managedBy") in ("", MANAGER)


def parallelism(job: Obj) -> int:
    wanted = whole(spec(job), "parallelism")
    return 1 if wanted is None else wanted


def completions(job: Obj) -> int | None:
    """None: it is over when one pod has succeeded and none is left."""
    return whole(spec(job), "completions")


def is_indexed(job: Obj) -> bool:
    return text(spec(job), "completionMode") == "Indexed"


def is_suspended(job: Obj) -> bool:
    return flag(spec(job), "suspend")


def per_index_limit(job: Obj) -> int | None:
    return whole(spec(job), "backoffLimitPerIndex")


def waits_for_ended(job: Obj) -> bool:
    """A pod is replaced when it has ended, not already when it is being deleted (podReplacementPolicy)."""
    return text(spec(job), "podReplacementPolicy") == "Failed"


def condition(job: Obj, kind: str) -> Obj | None:
    found = (each for each in parts(part(job, "status"), "conditions") if each.get("type") == kind)
    return next((each for each in found if each.get("status") == "True"), None)


def is_finished(job: Obj) -> bool:
    return condition(job, "Complete") is not None or condition(job, "Failed") is not None


def is_tracked(pod: Obj) -> bool:
    return FINALIZER in objects.finalizers(pod)


def index_of(pod: Obj) -> int | None:
    return whole_number(text_map(part(pod, "metadata"), "annotations").get(INDEX, ""))


def valid_index(job: Obj, pod: Obj) -> int | None:
    """None too for one beyond the completions, which may have been lowered."""
    index = index_of(pod)
    return index if index is not None and index < (completions(job) or 0) else None


def is_succeeded(pod: Obj) -> bool:
    return podstatus.phase(pod) == "Succeeded"


def is_failed(job: Obj, pod: Obj) -> bool:
    """Unless it is replaced only when it has ended, a pod that is being deleted counts as failed: it may never say."""
    if podstatus.phase(pod) == "Failed":
        return True
    return not waits_for_ended(job) and podstatus.is_terminating(pod) and not is_succeeded(pod)


def finished_at(pod: Obj) -> datetime:
    """When its last container ended; if none says so, when it was marked for it, deleted, or made."""
    ends = [
        moment
        for field in ("containerStatuses", "initContainerStatuses")
        for status in parts(part(pod, "status"), field)
        if (moment := _moment(text(part(part(status, "state"), "terminated"), "finishedAt"))) is not None
    ]
    if ends:
        return max(ends)
    ready = podstatus.condition(pod, "Ready") or {}
    metadata = part(pod, "metadata")
    for written in (
        text(ready, "lastTransitionTime"),
        text(metadata, "deletionTimestamp"),
        text(metadata, "creationTimestamp"),
    ):
        if (moment := _moment(written)) is not None:
            return moment
    return datetime.min.replace(tzinfo=UTC)


def _moment(written: str) -> datetime | None:
    try:
        return parse_time(written) if written else None
    except ValueError:
        return None


class Failure(NamedTuple):
    """What the pod failure policy makes of a failed pod. ``action``: "" without a rule that matches."""

    action: str
    message: str = ""

    @property
    def counts(self) -> bool:
        return self.action != "Ignore"


class _Rule(NamedTuple):
    """One of ``podFailurePolicy``, as it is asked of pods: of codes or of conditions."""

    number: int
    action: str
    #: of which container, which codes, whether they are to be among these; None: a rule of conditions
    codes: tuple[str, frozenset[int], bool] | None
    #: types and statuses, any of which is enough, in the order in which they are told of
    conditions: tuple[tuple[str, str], ...]


class FailurePolicy:
    """The ``podFailurePolicy`` of a Job, read once for all its pods."""

    def __init__(self, job: Obj) -> None:
        self._rules = tuple(self._read(job))

    @staticmethod
    def _read(job: Obj) -> Iterator[_Rule]:
        for number, rule in enumerate(parts(part(spec(job), "podFailurePolicy"), "rules")):
            action = text(rule, "action")
            if action == "FailIndex" and per_index_limit(job) is None:
                continue
            if codes := part(rule, "onExitCodes"):
                values = codes.get("values")
                listed = frozenset(each for each in values if isinstance(each, int)) if isinstance(values, list) else ()
                asked = text(codes, "containerName"), frozenset(listed), text(codes, "operator") == "In"
                yield _Rule(number, action, asked, ())
            else:
                yield _Rule(number, action, None, tuple(map(_type_and_status, parts(rule, "onPodConditions"))))

    def judge(self, pod: Obj) -> Failure:
        """By the first rule that matches; the pod's end must be known for one to."""
        if not self._rules:
            return Failure("")
        ends, conditions = list(_exit_codes(pod)), set(map(_type_and_status, parts(part(pod, "status"), "conditions")))
        for rule in self._rules:
            where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            if rule.codes is None:
                kind = next((pair[0] for pair in rule.conditions if pair in conditions), None)
                if kind is not None:
                    said = f"Pod {where} has condition {kind} matching {rule.action} rule at index {rule.number}"
                    return Failure(rule.action, said)
                continue
            named, codes, among = rule.codes
            for name, code in ends:
                if (not named or name == named) and (code in codes) is among:
                    said = f"Container {name} for pod {where} failed with exit code {code} matching {rule.action} rule at index {rule.number}"  # noqa: E501 - upstream's sentence
                    return Failure(rule.action, said)
        return Failure("")


def judge_failure(job: Obj, pod: Obj) -> Failure:
    """For one pod alone."""
    return FailurePolicy(job).judge(pod)


def _exit_codes(pod: Obj) -> Iterator[tuple[str, int]]:
    """Of the containers that failed."""
    for field in ("containerStatuses", "initContainerStatuses"):
        for status in parts(part(pod, "status"), field):
            if code := whole(part(part(status, "state"), "terminated"), "exitCode"):
                yield text(status, "name"), code


def _type_and_status(condition: Obj) -> tuple[str, str]:
    return text(condition, "type"), text(condition, "status")


def matching_success_rule(job: Obj, succeeded: Indexes) -> str | None:
    """The message of the first rule of ``successPolicy`` that is fulfilled."""
    total = completions(job) or 0
    for number, rule in enumerate(parts(part(spec(job), "successPolicy"), "rules")):
        count = whole(rule, "succeededCount")
        if written := text(rule, "succeededIndexes"):
            wanted = Indexes.parse(written, total)
            have = succeeded.common(wanted)
            met = have >= (len(wanted) if count is None else count)
        else:
            met = count is not None and len(succeeded) >= count
        if met:
            return f"Matched rules at index {number}"
    return None


class Said:
    """What one state of a pod says to its Job, of which the completions alone may change. Read once."""

    __slots__ = (
        "_ended", "_judged", "_policy", "index", "is_active", "is_failed", "is_leaving", "is_succeeded", "is_tracked",
        "pod", "uid",
    )  # fmt: skip

    def __init__(self, job: Obj, policy: FailurePolicy, pod: Obj) -> None:
        """``policy``: the Job's."""
        phase, is_terminating = podstatus.phase(pod), podstatus.is_terminating(pod)
        is_terminal = podstatus.is_terminal_phase(phase)
        self._policy, self.pod, self.uid = policy, pod, objects.uid(pod)
        self.is_tracked = is_tracked(pod)
        self.is_succeeded = phase == "Succeeded"
        self.is_failed = is_failed(job, pod)
        self.is_active = not is_terminal and not is_terminating
        #: it is being deleted, and has not ended yet
        self.is_leaving = is_terminating and not is_terminal
        #: whatever the completions
        self.index = index_of(pod)
        self._judged: Failure | None = None
        self._ended: datetime | None = None

    @property
    def judged(self) -> Failure:
        """What the failure policy makes of it."""
        if self._judged is None:
            self._judged = self._policy.judge(self.pod)
        return self._judged

    @property
    def ended(self) -> datetime:
        if self._ended is None:
            self._ended = finished_at(self.pod)
        return self._ended


def reader(job: Obj) -> Callable[[Obj], Said]:
    """Reads one pod after the other for a Job."""
    policy = FailurePolicy(job)
    return lambda pod: Said(job, policy, pod)


def judged(pod: Said) -> None:
    """Works out now what costs most, and is asked of a failed one sooner or later."""
    _ = pod.is_failed and pod.judged


def restarts_beyond_limit(job: Obj, pods: Iterable[Obj]) -> bool:
    """Of pods that restart by themselves, restarts count against ``backoffLimit``."""
    if text(part(part(spec(job), "template"), "spec"), "restartPolicy") != "OnFailure":
        return False
    total = sum(
        whole(status, "restartCount") or 0
        for pod in pods
        if podstatus.phase(pod) in ("Running", "Pending")
        for field in ("initContainerStatuses", "containerStatuses")
        for status in parts(part(pod, "status"), field)
    )
    limit = backoff_limit(job)
    return total > 0 if limit == 0 else total >= limit


def backoff_limit(job: Obj) -> int:
    limit = whole(spec(job), "backoffLimit")
    return 6 if limit is None else limit


def pause(failures: int, last: datetime, now: datetime) -> float:
    """Seconds until the next pod after so many failures in a row, the last of which was then."""
    if failures <= 0:
        return 0.0
    wanted = min(_FIRST_PAUSE * 2.0 ** min(failures - 1, 16), _LONGEST_PAUSE)
    seconds: float = wanted - (now - last).total_seconds()
    return max(0.0, seconds)


def failures_of_index(pod: Obj) -> tuple[int, int]:
    """How often its index had failed before it: (counted, ignored)."""
    annotations = text_map(part(pod, "metadata"), "annotations")
    return whole_number(annotations.get(FAILURES, "")) or 0, whole_number(annotations.get(IGNORED_FAILURES, "")) or 0


def failures_after(pod: Obj, judged: Failure) -> tuple[int, int]:
    """The same, for the pod that replaces this failed one."""
    counted, ignored = failures_of_index(pod)
    return (counted + 1, ignored) if judged.counts else (counted, ignored + 1)


def is_index_failed(job: Obj, pod: Obj, judged: Failure) -> bool:
    """With the end of this pod its index has failed for good."""
    limit = per_index_limit(job)
    return judged.action == "FailIndex" or (limit is not None and failures_after(pod, judged)[0] > limit)
