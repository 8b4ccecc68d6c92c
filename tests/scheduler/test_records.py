"""What is kept of attempts: made of decisions, bounded in bytes and age, answered to who asks."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from sampan.api.errors import BadRequest, Forbidden
from sampan.api.pods import status
from sampan.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, PODS
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import Informer
from sampan.scheduler import recording
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.records import PATH, AttemptRecord, Attempts, PodName
from sampan.testing.cluster import Cluster

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def recorded(world, pod, **more):
    decision = world.profile.decide(pod, world.cluster, world.random)
    return recording.record(decision, pod, world.profile, world.cluster, NOW, **more)


def attempt(name="p", *, seconds=0, message="", namespace="d"):
    return AttemptRecord(
        PodName(namespace, name, f"uid-{name}"), NOW + timedelta(seconds=seconds), "default-scheduler",
        "unschedulable", message=message,
    )  # fmt: skip


def test_who_ruled_out_how_many_nodes_with_one_of_them_as_an_example(world, pod):
    world.node("a", cordoned=True)
    world.node("b", taints=[{"key": "team", "value": "x", "effect": "NoSchedule"}])
    world.node("c", cpu="1")
    world.node("d", cpu="1")
    found = recorded(world, pod(cpu="2"))
    assert found.result == "unschedulable"
    assert [(r.plugin, r.nodes, r.reason, r.example, r.detail) for r in found.rejections] == [
        ("NodeResourcesFit", 2, "Insufficient cpu", "c", ""),
        ("NodeUnschedulable", 1, "node(s) were unschedulable", "a", ""),
        ("TaintToleration", 1, "node(s) had untolerated taint(s)", "b", "{team: x}"),
    ]


def test_the_nearest_node_passed_the_most_filters_and_lacks_least(world, pod):
    world.node("full", cpu="2", memory="1Gi")
    world.node("nearly", cpu="2", memory="3Gi")
    world.node("cordoned", cpu="64", cordoned=True)
    world.pod("x", "nearly", cpu="500m")
    found = recorded(world, pod(cpu="2", memory="3Gi")).nearest
    assert (found.node, found.plugin, dict(found.lacking)) == ("nearly", "NodeResourcesFit", {"cpu": "500m"})


def test_a_node_that_only_its_taint_keeps_away_is_nearer_than_a_cordoned_one(world, pod):
    world.node("cordoned", cordoned=True)
    world.node("tainted", taints=[{"key": "k", "effect": "NoSchedule"}])
    found = recorded(world, pod()).nearest
    assert (found.node, found.plugin, dict(found.lacking)) == ("tainted", "TaintToleration", {})


def test_scores_of_the_best_nodes_are_kept(world, pod):
    for name in "abcd":
        world.node(name)
    found = recorded(world, pod())
    assert found.result == "scheduled" and found.node in "abcd"
    assert found.feasible == 4 and len(found.top_scores) == 3


def test_preemption_says_whom_it_chose(world):
    world.node("a", cpu="1")
    world.pod("low", "a", cpu="1")
    info = PodInfo({
        "metadata": {"name": "p", "namespace": "default", "uid": "u"},
        "spec": {"priority": 5, "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
    })  # fmt: skip
    plan = world.profile.post_filter.post_filter(info, world.profile, world.cluster, (), world.random)
    found = recorded(world, info, preemption=plan).preemption
    assert (found.node, found.victims) == ("a", ("default/low",))


def test_json_and_back_is_the_same(world, pod):
    world.node("a", cpu="1")
    record = recorded(world, pod(cpu="2"))
    assert AttemptRecord.from_json(record.to_json()) == record


def test_the_newest_attempt_comes_first_and_only_so_many_of_a_pod_are_kept():
    attempts = Attempts(of_a_pod=3)
    for number in range(5):
        attempts.put(attempt(seconds=number, message=str(number)))
    attempts.put(attempt("q", seconds=9))
    answer = attempts.answer({"namespace": "d", "pod": "p"})
    assert [item["message"] for item in answer["items"]] == ["4", "3", "2"]
    assert [item["pod"]["name"] for item in attempts.answer({"limit": "2"})["items"]] == ["q", "p"]


def test_records_are_forgotten_by_age_and_by_bytes():
    attempts = Attempts(kept_bytes=20_000)
    attempts.put(attempt("old"))
    attempts.put(attempt("new", seconds=90_000))
    assert attempts.latest("d", "old") is None
    for number in range(200):
        attempts.put(attempt(f"p{number}", seconds=90_000, message="x" * 400))
    assert 0 < len(attempts) < 25
    assert attempts.latest("d", "p199") is not None


@pytest.mark.parametrize("limit", ["no", "0", "501"])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(BadRequest, match="limit"):
        Attempts().answer({"limit": limit})


def test_errors_are_attempts_too(world, pod):
    assert recording.failed(pod(), world.profile, NOW, "broken").to_json()["result"] == "error"


async def test_a_cluster_answers_whom_rbac_allows(tmp_path):
    async with Cluster(tmp_path, nodes=1, listen=False) as cluster:
        body = {"metadata": {"name": "p"}, "spec": {"nodeSelector": {"no": "such"}, "containers": [
            {"name": "c", "image": "i"}]}}  # fmt: skip
        await cluster.client.raw("POST", "/api/v1/namespaces/default/pods", body)
        query = {"namespace": "default", "pod": "p"}
        pods = Informer(cluster.client, PODS)
        following = tasks.detach(pods.run(), "pods")
        await pods.wait_until(lambda: any(map(is_told, pods.list())))
        await tasks.cancel_and_wait(following)
        items = (await cluster.client.raw("GET", PATH, query=query))["items"]
        assert items[0]["rejections"][0]["plugin"] == "NodeAffinity"
        anna = cluster.client_for("anna", ("system:authenticated",))
        with pytest.raises(Forbidden):
            await anna.raw("GET", PATH, query=query)
        await allow(cluster.client, "anna")
        while True:
            try:
                found = await anna.raw("GET", PATH, query=query)
                break
            except Forbidden:  # the authorizer has not seen the new role yet
                await asyncio.sleep(0)
        assert found["items"]


def is_told(pod):
    return pod["metadata"]["name"] == "p" and status.condition(pod, "PodScheduled") is not None


async def allow(client: Client, user: str):
    rule = {"nonResourceURLs": [PATH], "verbs": ["get"]}
    await client.create(CLUSTER_ROLES, {"metadata": {"name": "why"}, "rules": [rule]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "why"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    binding = {"metadata": {"name": "why"}, "roleRef": role, "subjects": [subject]}
    await client.create(CLUSTER_ROLE_BINDINGS, binding)
