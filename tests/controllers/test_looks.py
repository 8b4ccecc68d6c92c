"""A look at an owner of many pods reads the pods that changed, and decides as if it had read them all."""

from __future__ import annotations

import asyncio
import random
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan.api import labels
from sampan.api.pods import status as podstatus
from sampan.api.resources import REPLICA_SETS
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import Informer
from sampan.controllers.daemonset import facts as daemon_facts
from sampan.controllers.daemonset import plan as daemons
from sampan.controllers.job import facts as job_facts
from sampan.controllers.job import plan as jobs
from sampan.controllers.job import tracking
from sampan.controllers.replicaset import plan as replicas
from sampan.controllers.statefulset import facts as set_facts
from sampan.controllers.statefulset import plan as sets
from sampan.controllers.workload import claims
from sampan.controllers.workload.remembered import MANY, PIECE, Readers, Remembered

Obj = dict[str, Any]
NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
WRITTEN = "2026-01-01T00:59:50Z"
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def owner(kind: str, **spec: Any) -> Obj:
    meta = {"name": "x", "namespace": "n", "uid": "u", "generation": 1}
    wanted = {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE, **spec}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, "spec": wanted, "status": {"startTime": WRITTEN}}


def pod(chance: random.Random, number: int) -> Obj:
    """In any state, of any revision."""
    phase = chance.choice(["Pending", "Running", "Running", "Running", "Succeeded", "Failed"])
    labels = {"app": "x", "controller-revision-hash": chance.choice(["r", "r", "old"])}
    if chance.random() < 0.9:
        labels |= {set_facts.NAME_LABEL: f"x-{number}", set_facts.INDEX_LABEL: str(number)}
    meta: Obj = {
        "name": f"x-{number}", "namespace": "n", "uid": f"u{number}", "creationTimestamp": WRITTEN, "labels": labels,
        "annotations": {job_facts.INDEX: str(number)},
        "finalizers": [job_facts.FINALIZER] if chance.random() < 0.8 else [],
    }  # fmt: skip
    if chance.random() < 0.15:
        meta["deletionTimestamp"] = WRITTEN
    ready = {"type": "Ready", "status": chance.choice(["True", "True", "False"]), "lastTransitionTime": WRITTEN}
    disrupted = {"type": "DisruptionTarget", "status": chance.choice(["True", "False"])}
    status: Obj = {"phase": phase, "conditions": [ready, disrupted]}
    if phase in ("Succeeded", "Failed"):
        ended = {"exitCode": chance.randint(1, 4) if phase == "Failed" else 0, "finishedAt": WRITTEN}
        status["containerStatuses"] = [{"name": "c", "state": {"terminated": ended}}]
    return {
        "metadata": meta,
        "spec": {"nodeName": f"node-{number % 12}", "containers": [{"name": "c"}]},
        "status": status,
    }


def histories(chance: random.Random, looks: int) -> Any:
    """The pods of an owner at one look after the other: the same objects but for what changed between."""
    pods = {number: pod(chance, number) for number in range(14)}
    for turn in range(looks):
        yield list(pods.values()), NOW + timedelta(seconds=7 * turn)
        for number in chance.sample(range(16), chance.randint(0, 4)):
            if number in pods and chance.random() < 0.3:
                del pods[number]
            else:
                pods[number] = pod(chance, number)


@pytest.mark.parametrize("seed", range(40))
def test_a_set_is_planned_from_what_is_remembered_as_from_all_its_pods(seed):
    chance = random.Random(seed)
    policy = chance.choice(["Parallel", "OrderedReady"])
    of = owner("StatefulSet", replicas=12, podManagementPolicy=policy, minReadySeconds=chance.choice([0, 20]))
    read = Remembered(lambda each: set_facts.standing(of, each))
    for pods, now in histories(chance, 8):
        known, fresh = (
            sets.Observed(of, pods, lambda name: None, "old", "r", TEMPLATE, now, reader) for reader in (read, None)
        )
        assert sets.plan(known) == sets.plan(fresh)
        assert sets.plan_status(known) == sets.plan_status(fresh)


@pytest.mark.parametrize("seed", range(40))
def test_a_replica_set_is_planned_and_counted_from_what_is_remembered_as_from_all_its_pods(seed):
    chance = random.Random(seed)
    more = {"template": {**TEMPLATE, "metadata": {"labels": {"app": "x", set_facts.INDEX_LABEL: "3"}}}}
    of = owner("ReplicaSet", replicas=12, minReadySeconds=chance.choice([0, 20]), **(more if seed % 2 else {}))
    read = Remembered(replicas.reader(of))
    for pods, now in histories(chance, 8):
        known, fresh = (replicas.Observed(of, pods, pods, reader) for reader in (read, None))
        assert replicas.plan(known, now) == replicas.plan(fresh, now)
        status, wait = replicas.plan_status(known, None, now)
        assert (status, wait) == replicas.plan_status(fresh, None, now)
        # counted as it is said, one after the other
        active = [each for each in pods if podstatus.is_active(each)]
        waits = [podstatus.available_in_seconds(each, of["spec"]["minReadySeconds"], now) for each in active]
        assert status["replicas"] == len(active)
        assert status.get("readyReplicas", 0) == sum(wait is not None for wait in waits)
        assert status.get("availableReplicas", 0) == waits.count(0)
        assert wait == min((wait for wait in waits if wait), default=None)


@pytest.mark.parametrize("seed", range(20))
def test_claims_are_sorted_from_verdicts_that_are_remembered_as_from_all_pods(seed):
    chance = random.Random(seed)
    of, selector = owner("ReplicaSet"), labels.from_label_selector({"matchLabels": {"app": "x"}})
    if chance.random() < 0.2:
        of["metadata"]["deletionTimestamp"] = WRITTEN
    judge = Remembered(claims.judging(of, selector))
    for pods, _ in histories(chance, 8):
        for each in pods:  # those that are new
            if "owner" not in each:
                each["owner"] = uid = chance.choice(["u", "u", "other", ""])
                each["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "uid": uid, "controller": bool(uid)}]
                each["metadata"]["labels"] = {"app": chance.choice("xxy")}
        assert claims.sort_claims(zip(pods, judge(pods), strict=True)) == claims.plan_claims(of, selector, pods)


@pytest.mark.parametrize("seed", range(40))
def test_a_daemon_set_is_planned_from_verdicts_that_are_remembered_as_from_all_nodes(seed):
    chance = random.Random(seed)
    of = owner("DaemonSet", updateStrategy={"type": "RollingUpdate"}, minReadySeconds=chance.choice([0, 20]))
    of["spec"]["template"] = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "nodeSelector": {"zone": "a"}}}

    def node(number: int) -> Obj:
        meta = {"name": f"node-{number}", "labels": {"zone": chance.choice("aaab")}}
        taints = [{"key": "k", "effect": chance.choice(["NoSchedule", "NoExecute"])}] if chance.random() < 0.2 else []
        return {"metadata": meta, "spec": {"taints": taints}}

    placement, nodes = daemon_facts.Placement(of), {f"node-{number}": node(number) for number in range(14)}
    for pods, now in histories(chance, 8):
        known, fresh = (daemons.Observed(of, dict(nodes), pods, "r", now, placement=each) for each in (placement, None))
        assert daemons.plan(known) == daemons.plan(fresh)
        assert daemons.plan_status(known) == daemons.plan_status(fresh)
        number = chance.randrange(14)
        if chance.random() < 0.3:
            nodes.pop(f"node-{number}", None)
        else:
            nodes[f"node-{number}"] = node(number)


@pytest.mark.parametrize("seed", range(40))
def test_a_job_is_planned_and_counted_from_what_is_remembered_as_from_all_its_pods(seed):
    chance = random.Random(seed)
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": chance.choice(["Count", "FailIndex", "FailJob"]), "onExitCodes": {"operator": "In", "values": [3]}},
    ]
    indexed = chance.random() < 0.6
    more: Obj = (
        {"completionMode": "Indexed", "backoffLimitPerIndex": 2} if indexed else {"completionMode": "NonIndexed"}
    )
    of = owner("Job", completions=14, parallelism=6, podFailurePolicy={"rules": rules}, **more)
    read = Remembered(job_facts.reader(of))
    for pods, now in histories(chance, 8):
        found = []
        for reader in (read, None):
            observed = jobs.Observed(of, pods, now, read=reader)
            steps = jobs.plan(observed)
            counted = tracking.track(observed, steps, observed)
            settled = tracking.settle(observed, counted, steps, {"u1", "u2"}, 1)
            found.append((steps, counted, settled, jobs.failures_in_a_row(observed)))
        assert found[0] == found[1]
        of["spec"]["completions"] = chance.randint(8, 14)  # it may change with the parallelism


def test_what_is_remembered_is_read_once_for_each_state_and_forgotten_with_its_object():
    asked: list[str] = []

    def name(obj: Obj) -> str:
        asked.append(obj["metadata"]["name"])
        return asked[-1].upper()

    read, first, second = Remembered(name), {"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}
    assert read([first, second]) == ["A", "B"]
    assert read([second, first]) == ["B", "A"]
    assert asked == ["a", "b"]
    assert read([first, {**second}]) == ["A", "B"]
    assert asked == ["a", "b", "b"], "another state of the same object"
    assert read([second]) == ["B"]
    assert asked == ["a", "b", "b", "b"], "nothing is kept of what was not there at the last look"


async def test_a_first_look_at_many_is_read_in_pieces_between_which_others_have_their_turn():
    asked, turns = 0, [0]

    def name(obj: Obj) -> str:
        nonlocal asked
        asked += 1
        turns[-1] += 1
        return str(obj["metadata"]["name"])

    async def others() -> None:
        while asked < len(pods):
            turns.append(0)
            await asyncio.sleep(0)

    pods = [pod(random.Random(1), number) for number in range(5 * PIECE)]
    read, beside = Remembered(name), asyncio.ensure_future(others())
    await read.learn(pods)
    await beside
    assert max(turns) == PIECE
    assert len(read(pods)) == asked == len(pods), "and nothing twice"


async def test_what_is_remembered_of_an_owner_goes_with_it_with_its_spec_and_with_its_pods(api: Any) -> None:
    client = Client(api)
    owners = Informer(client, REPLICA_SETS)
    running = asyncio.ensure_future(owners.run())
    readers: Readers[str] = Readers(owners, lambda of: lambda pod: f"{of['metadata']['generation']}")
    await owners.synced()

    await client.create(REPLICA_SETS, {"metadata": {"name": "x", "namespace": "n", "generation": 1}, "spec": {}})
    await owners.wait_until(lambda: owners.get("n", "x") is not None)
    of = owners.get("n", "x") or {}
    assert readers.of(of, MANY) is readers.of(of, MANY)
    changed = {**of, "metadata": {**of["metadata"], "generation": 2}}
    assert readers.of(changed, MANY) is not readers.of(of, MANY)
    leaving = {**of, "metadata": {**of["metadata"], "deletionTimestamp": WRITTEN}}
    assert readers.of(leaving, MANY) is not readers.of(of, MANY)
    assert len(readers) == 1
    readers.of(of, MANY - 1)
    assert not len(readers), "of few pods nothing is kept"
    readers.of(of, MANY)
    await client.delete(REPLICA_SETS, "x", "n")
    await owners.wait_until(lambda: owners.get("n", "x") is None)
    assert not len(readers)
    readers.of(of, MANY)
    assert not len(readers), "nobody would forget it"
    await tasks.cancel_and_wait(running)


def calls(work: Any) -> int:
    """Of functions of Python: what work costs, whatever machine does it."""
    count = 0

    def told(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(told)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def running(number: int) -> Obj:
    made = pod(random.Random(1), number)
    labels = {"app": "x", "controller-revision-hash": "r"}
    labels |= {set_facts.NAME_LABEL: f"x-{number}", set_facts.INDEX_LABEL: str(number)}
    made["metadata"] |= {"labels": labels, "finalizers": [job_facts.FINALIZER]}
    made["metadata"].pop("deletionTimestamp", None)
    made["spec"]["nodeName"] = f"node-{number}"
    made["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return made


PODS = 400


def look_at_set() -> Any:
    of = owner("StatefulSet", replicas=PODS)
    read = Remembered(lambda each: set_facts.standing(of, each))

    def look(pods: list[Obj]) -> None:
        observed = sets.Observed(of, pods, lambda name: None, "r", "r", TEMPLATE, NOW, read)
        assert sets.plan(observed) == []
        assert sets.plan_status(observed)[0]["availableReplicas"] == PODS

    return look


def look_at_replica_set() -> Any:
    of = owner("ReplicaSet", replicas=PODS)
    judge = Remembered(claims.judging(of, labels.from_label_selector({"matchLabels": {"app": "x"}})))
    read = Remembered(replicas.reader(of))

    def look(pods: list[Obj]) -> None:
        claims.sort_claims(zip(pods, judge(pods), strict=True))
        observed = replicas.Observed(of, pods, (), read)
        assert replicas.plan(observed, NOW) == replicas.Plan()
        assert replicas.plan_status(observed, None, NOW)[0]["availableReplicas"] == PODS

    return look


def look_at_daemon_set() -> Any:
    of = owner("DaemonSet", updateStrategy={"type": "RollingUpdate"})
    placement = daemon_facts.Placement(of)
    nodes = {f"node-{number}": {"metadata": {"name": f"node-{number}"}, "spec": {}} for number in range(PODS)}

    def look(pods: list[Obj]) -> None:
        observed = daemons.Observed(of, nodes, pods, "r", NOW, placement=placement)
        assert daemons.plan(observed).empty
        assert daemons.plan_status(observed)[0]["numberAvailable"] == PODS

    return look


def look_at_job(**more: Any) -> Any:
    of = owner("Job", completions=PODS, parallelism=PODS, completionMode="Indexed", **more)
    read = Remembered(job_facts.reader(of))

    def look(pods: list[Obj]) -> None:
        observed = jobs.Observed(of, pods, NOW, read=read)
        steps = jobs.plan(observed)
        tracking.settle(observed, tracking.track(observed, steps, observed), steps, set(), 0)

    return look


@pytest.mark.parametrize(
    ("look", "most"),
    [(look_at_set(), 11), (look_at_daemon_set(), 16), (look_at_job(), 19), (look_at_replica_set(), 0.5)],
    ids=["set", "daemons", "job", "replicas"],
)
def test_a_look_after_one_pods_news_costs_a_few_calls_a_pod(look, most):
    pods = [running(number) for number in range(PODS)]
    look(pods)
    pods[7] = {**pods[7]}
    assert calls(lambda: look(pods)) < most * PODS


def test_a_thousand_failures_are_judged_once_and_a_policy_is_read_once_for_all():
    codes = {"onExitCodes": {"operator": "In", "values": list(range(2, 257))}, "action": "Ignore"}
    kinds = {"onPodConditions": [{"type": f"t{n}", "status": "True"} for n in range(20)], "action": "Ignore"}
    look = look_at_job(backoffLimitPerIndex=5, podFailurePolicy={"rules": [codes, kinds] * 10})
    pods = [running(number) for number in range(PODS)]
    ended = {"name": "c", "state": {"terminated": {"exitCode": 1, "finishedAt": WRITTEN}}}
    for each in pods:
        each["status"] = {"phase": "Failed", "conditions": [], "containerStatuses": [ended]}
    first = calls(lambda: look(pods))
    assert first < 90 * PODS, "with 20 rules of 255 codes or 20 conditions"
    assert calls(lambda: look(pods)) < 35 * PODS


def test_a_pod_that_is_ready_since_the_end_of_time_is_not_available_yet_and_breaks_no_look() -> None:
    one = pod(random.Random(1), 0)
    since = {"type": "Ready", "status": "True", "lastTransitionTime": "9999-12-31T23:59:59Z"}
    one["status"] = {"phase": "Running", "conditions": [since]}
    assert set_facts.standing(owner("StatefulSet", minReadySeconds=10), one).is_unavailable(NOW)
    assert (podstatus.available_in_seconds(one, 10, NOW) or 0) > 0
