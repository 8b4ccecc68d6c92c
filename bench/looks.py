"""What one look at an owner of many pods takes of the event loop: planning, and the status, with nothing to write.

    python bench/looks.py [--pods 1000] [--rounds 15] [--only NAME ...]

Each look is what a controller's ``sync`` does between two waits, on pods that are all as they should be (and a Job's
that have all failed, judged by the longest failure policy there may be). ``after one change``: one pod's news came in
since the last look, as is usual; ``first``: nothing of the owner was known, it is read in pieces between which others
have their turn. Processor time, the best of the rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sampan.api import labels
from sampan.controllers.daemonset import facts as daemon_facts
from sampan.controllers.daemonset import plan as daemons
from sampan.controllers.job import facts as job_facts
from sampan.controllers.job import plan as jobs
from sampan.controllers.job import tracking
from sampan.controllers.replicaset import plan as replicas
from sampan.controllers.statefulset import facts as set_facts
from sampan.controllers.statefulset import plan as sets
from sampan.controllers.workload.claims import judging, sort_claims
from sampan.controllers.workload.remembered import Remembered

Obj = dict[str, Any]

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WRITTEN = "2026-01-01T00:00:00Z"
SELECTOR = {"matchLabels": {"app": "x"}}
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "any"}]}}

Pods = list[Obj]


@dataclass(frozen=True)
class Case:
    """``look``: one look at the pods. ``learning``: what a controller reads before it, in pieces."""

    pods: Pods
    look: Callable[[Pods], object]
    learning: Sequence[Callable[[Pods], Coroutine[Any, Any, None]]]


def owner(kind: str, spec: Obj, version: str = "apps/v1") -> Obj:
    return {
        "apiVersion": version, "kind": kind, "metadata": {"name": "x", "namespace": "n", "uid": "u", "generation": 1},
        "spec": {"selector": SELECTOR, "template": TEMPLATE, **spec}, "status": {"startTime": WRITTEN},
    }  # fmt: skip


def pod(kind: str, number: int, **more: Any) -> Obj:
    meta: Obj = {
        "name": f"x-{number}", "namespace": "n", "uid": f"u{number}", "creationTimestamp": WRITTEN,
        "labels": {
            "app": "x", "controller-revision-hash": "r", "statefulset.kubernetes.io/pod-name": f"x-{number}",
            "apps.kubernetes.io/pod-index": str(number),
        },
        "annotations": {"batch.kubernetes.io/job-completion-index": str(number)},
        "ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": "x", "uid": "u", "controller": True}],
        **more.pop("metadata", {}),
    }  # fmt: skip
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    conditions = [{"type": each, "status": "True", "lastTransitionTime": WRITTEN} for each in kinds]
    status = {"phase": "Running", "conditions": conditions, "startTime": WRITTEN, **more.pop("status", {})}
    return {"metadata": meta, "spec": {"nodeName": f"node-{number}", "containers": [{"name": "c"}]}, "status": status}


class Claims:
    def __init__(self, of: Obj) -> None:
        self.judge = Remembered(judging(of, labels.from_label_selector(SELECTOR)))

    def __call__(self, pods: Pods) -> Pods:
        return sort_claims(zip(pods, self.judge(pods), strict=True)).owned


def replica_set(count: int) -> Case:
    of = owner("ReplicaSet", {"replicas": count})
    claimed, read = Claims(of), Remembered(replicas.reader(of))

    def look(pods: Pods) -> object:
        observed = replicas.Observed(of, claimed(pods), (), read)
        return replicas.plan(observed, NOW), replicas.plan_status(observed, None, NOW)

    pods = [pod("ReplicaSet", number) for number in range(count)]
    return Case(pods, look, (claimed.judge.learn, read.learn))


def stateful_set(policy: str) -> Callable[[int], Case]:
    def made(count: int) -> Case:
        of = owner("StatefulSet", {"replicas": count, "podManagementPolicy": policy, "serviceName": "x"})
        claimed, read = Claims(of), Remembered(lambda pod: set_facts.standing(of, pod))

        def look(pods: Pods) -> object:
            observed = sets.Observed(of, claimed(pods), lambda name: None, "r", "r", TEMPLATE, NOW, read)
            return sets.plan(observed), sets.plan_status(observed)

        pods = [pod("StatefulSet", number) for number in range(count)]
        return Case(pods, look, (claimed.judge.learn, read.learn))

    return made


def daemon_set(count: int) -> Case:
    of = owner("DaemonSet", {"updateStrategy": {"type": "RollingUpdate"}})
    nodes: dict[str, Obj] = {
        f"node-{number}": {"metadata": {"name": f"node-{number}", "labels": {"zone": "a"}}, "spec": {}, "status": {}}
        for number in range(count)
    }
    claimed, placement = Claims(of), daemon_facts.Placement(of)

    def look(pods: Pods) -> object:
        observed = daemons.Observed(of, nodes, claimed(pods), "r", NOW, placement=placement)
        return daemons.plan(observed), daemons.plan_status(observed)

    pods = [pod("DaemonSet", number) for number in range(count)]
    return Case(pods, look, (claimed.judge.learn, lambda pods: placement.learn(nodes.values())))


def look_at_job(of: Obj, pods: Pods) -> Case:
    claimed, read = Claims(of), Remembered(job_facts.reader(of))

    def look(pods: Pods) -> object:
        observed = jobs.Observed(of, claimed(pods), NOW, read=read)
        steps = jobs.plan(observed)
        found = tracking.track(observed, steps, observed)
        return tracking.settle(observed, found, steps, {""}, 0), jobs.failures_in_a_row(observed)

    return Case(pods, look, (claimed.judge.learn, lambda pods: read.learn(pods, job_facts.judged)))


def job(count: int) -> Case:
    of = owner("Job", {"completions": count, "parallelism": count, "completionMode": "Indexed"}, "batch/v1")
    tracked = {"finalizers": [job_facts.FINALIZER]}
    return look_at_job(of, [pod("Job", number, metadata=tracked) for number in range(count)])


def failed_job(count: int) -> Case:
    """20 rules of 255 exit codes or 20 conditions each, none of which matches."""
    codes = {"onExitCodes": {"operator": "In", "values": list(range(2, 257))}, "action": "Ignore"}
    conditions = [{"type": f"t{number}", "status": "True"} for number in range(20)]
    rules = [codes if number % 2 else {"onPodConditions": conditions, "action": "Ignore"} for number in range(20)]
    spec = {
        "completions": count, "parallelism": count, "completionMode": "Indexed", "backoffLimitPerIndex": 5,
        "podFailurePolicy": {"rules": rules},
    }  # fmt: skip
    tracked = {"finalizers": [job_facts.FINALIZER]}
    ended = {"name": "c", "state": {"terminated": {"exitCode": 1, "finishedAt": WRITTEN}}}
    status = {"phase": "Failed", "containerStatuses": [ended]}
    pods = [pod("Job", number, metadata=tracked, status=status) for number in range(count)]
    return look_at_job(owner("Job", spec, "batch/v1"), pods)


SCENARIOS = {
    "replicaset": replica_set,
    "statefulset": stateful_set("OrderedReady"),
    "parallel-statefulset": stateful_set("Parallel"),
    "daemonset": daemon_set,
    "job": job,
    "failed-job": failed_job,
}


def milliseconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000


def pieces(work: Coroutine[Any, Any, None]) -> Iterator[float]:
    """What it takes between two of its waits, which are others' turns."""
    done = False

    def step() -> None:
        nonlocal done
        try:
            work.send(None)
        except StopIteration:
            done = True

    while not done:
        yield milliseconds(step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", action="append", choices=list(SCENARIOS))
    given = parser.parse_args()
    title = f"a look at {given.pods:,} pods"
    print(f"{title:<28}{'first':>10}{'longest piece':>18}{'after one change':>20}")
    for name in given.only or SCENARIOS:
        whole, longest, later = [], [], []
        for turn in range(given.rounds):
            case = SCENARIOS[name](given.pods)
            look = partial(case.look, case.pods)
            first = [each for learn in case.learning for each in pieces(learn(case.pods))]
            first.append(milliseconds(look))
            whole.append(sum(first))
            longest.append(max(first))
            case.pods[turn] = {**case.pods[turn]}
            later.append(milliseconds(look))
        print(f"{name:<28}{min(whole):7.1f} ms{min(longest):15.1f} ms{min(later):17.1f} ms", flush=True)


if __name__ == "__main__":
    main()
