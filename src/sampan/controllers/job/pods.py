"""The pods that a Job makes: their template, index by index, and which of them are too many. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sampan.api import objects
from sampan.api.reading import part, parts
from sampan.api.resources import JOBS
from sampan.api.types import Obj
from sampan.controllers.job import facts
from sampan.controllers.workload.pods import pod_from_template
from sampan.controllers.workload.ranking import first_to_go, ranked_for_deletion

#: what a generated name leaves for its prefix
_LONGEST_PREFIX: Final = 58
_VARIABLE: Final = "JOB_COMPLETION_INDEX"


def make(job: Obj, index: int | None, replaces: Obj | None) -> Obj:
    """The pod of an index, or any (None). ``replaces``: the failed pod of the same index, if there was one."""
    pod = pod_from_template(part(facts.spec(job), "template"), job, JOBS)
    meta, spec, name = pod["metadata"], pod["spec"], job["metadata"]["name"]
    meta["finalizers"] = [*meta.get("finalizers", ()), facts.FINALIZER]
    if index is None:
        return pod
    suffix = f"-{index}-"
    meta["generateName"] = f"{name[: _LONGEST_PREFIX - len(suffix)]}{suffix}"
    meta.setdefault("annotations", {})[facts.INDEX] = str(index)
    meta.setdefault("labels", {})[facts.INDEX] = str(index)
    spec["hostname"] = f"{name}-{index}"
    for field in ("initContainers", "containers"):
        for container in parts(spec, field):
            _add_variable(container)
    if facts.per_index_limit(job) is not None:
        judged = None if replaces is None else facts.judge_failure(job, replaces)
        counted, ignored = (0, 0) if replaces is None or judged is None else facts.failures_after(replaces, judged)
        meta["annotations"][facts.FAILURES] = str(counted)
        if ignored:
            meta["annotations"][facts.IGNORED_FAILURES] = str(ignored)
    return pod


def _add_variable(container: Obj) -> None:
    variables = container.setdefault("env", [])
    if not any(variable.get("name") == _VARIABLE for variable in variables):
        source = {"fieldRef": {"fieldPath": f"metadata.labels['{facts.INDEX}']"}}
        variables.append({"name": _VARIABLE, "valueFrom": source})


def too_many(job: Obj, active: Sequence[Obj], at_least: int, now: datetime) -> list[Obj]:
    """Active pods to delete: of an indexed Job all but one of each index, and those of no index; then, of what is
    left, as many as it takes to have deleted ``at_least``."""
    removed: list[Obj] = []
    left = list(active)
    if facts.is_indexed(job):
        total = facts.completions(job) or 0
        by_index: dict[int | None, list[Obj]] = {}
        for pod in active:
            index = facts.index_of(pod)
            by_index.setdefault(index if index is not None and index < total else None, []).append(pod)
        left = []
        for index, pods in sorted(by_index.items(), key=lambda item: -1 if item[0] is None else item[0]):
            if len(pods) == 1 and index is not None:
                left += pods
                continue
            ranked = ranked_for_deletion(pods, pods, now)
            keep = 0 if index is None else 1
            removed += ranked[: len(ranked) - keep]
            left += ranked[len(ranked) - keep :]
    missing = at_least - len(removed)
    if missing > 0:
        removed += first_to_go(left, missing, left, now)
    return removed


def without_tracking(pod: Obj) -> Obj:
    """The patch that lets a pod go."""
    return {"metadata": {"uid": objects.uid(pod), "$deleteFromPrimitiveList/finalizers": [facts.FINALIZER]}}
