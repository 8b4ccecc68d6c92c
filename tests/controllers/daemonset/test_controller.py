"""The DaemonSet controller over the API: revisions, rollback, nodes that come, go and change."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.api.resources import CONTROLLER_REVISIONS, DAEMON_SETS, EVENTS, JOBS, NODES, PODS
from sampan.controllers.daemonset.controller import DaemonSetController, FailedPods
from sampan.controllers.job.controller import JobController
from sampan.testing import virtual

Obj = dict[str, Any]


def daemon_set(image: str = "v1", **spec: Any) -> Obj:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    meta = {"name": "d", "namespace": "default", "uid": "d", "generation": 1}
    wanted = {"selector": {"matchLabels": {"app": "d"}}, "template": template, "updateStrategy": strategy}
    return {"metadata": meta, "spec": {**wanted, "revisionHistoryLimit": 10, **spec}}


def node(name: str, **labels: str) -> Obj:
    return {"metadata": {"name": name, "labels": labels}, "spec": {}}


def images(api: Any) -> list[str]:
    return [each["spec"]["containers"][0]["image"] for each in api.all(PODS)]


def hashes(api: Any) -> set[str]:
    return {each["metadata"]["labels"]["controller-revision-hash"] for each in api.all(PODS)}


async def test_nodes_get_their_pod_as_they_come_and_lose_it_as_they_change(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    api.add(NODES, node("n1"))
    api.add(DAEMON_SETS, daemon_set())
    async with running(DaemonSetController(context)):
        await wait.quiet(api)
        assert len(api.all(PODS)) == 1
        api.add(NODES, node("n2"))
        await wait.quiet(api)
        assert len(api.all(PODS)) == 2
        taint = {"key": "x", "effect": "NoExecute"}
        api.change(NODES, "", "n1", lambda obj: obj["spec"].update(taints=[taint]))
        await wait.quiet(api)
    [left] = api.all(PODS)
    [term] = left["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term["matchFields"][0]["values"] == ["n2"]
    status = api.get(DAEMON_SETS, "default", "d")["status"]
    assert (status["desiredNumberScheduled"], status["currentNumberScheduled"]) == (1, 1)
    told = [(each["reason"], each["source"]["component"]) for each in api.all(EVENTS)]
    assert ("SuccessfulCreate", "daemonset-controller") in told


async def test_heartbeats_of_nodes_concern_nobody(api: Any, context: Any, running: Any, wait: Any) -> None:
    api.add(NODES, node("n1"))
    api.add(DAEMON_SETS, daemon_set())
    controller = DaemonSetController(context)
    async with running(controller):
        await wait.quiet(api)
        synced = []
        controller._controller.enqueue = lambda key, pause: synced.append(key)
        api.change(
            NODES, "", "n1", lambda obj: obj.update(status={"conditions": [{"type": "Ready", "status": "True"}]})
        )
        await wait.quiet(api)
        assert synced == []
        api.change(NODES, "", "n1", lambda obj: obj["spec"].update(taints=[{"key": "x", "effect": "NoSchedule"}]))
        await wait.quiet(api)
        assert [str(key) for key in synced] == ["default/d"]


async def test_a_change_rolls_node_by_node_and_undo_goes_back_to_the_same_revision(
    api: Any, context: Any, running: Any, wait: Any, set_pods: Any
) -> None:
    """[sig-apps] Daemon set [Serial] should rollback without unnecessary restarts"""
    for name in ("n1", "n2", "n3"):
        api.add(NODES, node(name))
    api.add(DAEMON_SETS, daemon_set())
    async with running(DaemonSetController(context)):
        await played(api, wait)
        self_made = {each["metadata"]["name"] for each in api.all(PODS)}
        first = hashes(api)
        # The new image does not start: the roll stops at its first pod.
        change_image(api, "v2")
        await played(api, wait, start=False)
        assert sorted(images(api)) == ["v1", "v1", "v2"]
        kept = {each["metadata"]["name"] for each in api.all(PODS)} & self_made
        change_image(api, "v1")
        await played(api, wait)
    assert images(api) == ["v1"] * 3
    assert kept <= {each["metadata"]["name"] for each in api.all(PODS)}, "nobody restarts who was right already"
    assert hashes(api) == first
    revisions = sorted((each["revision"], each["metadata"]["labels"]["app"]) for each in api.all(CONTROLLER_REVISIONS))
    assert revisions == [(2, "d"), (3, "d")]


async def test_history_is_kept_within_its_limit(api: Any, context: Any, running: Any, wait: Any) -> None:
    api.add(NODES, node("n1"))
    api.add(DAEMON_SETS, daemon_set(revisionHistoryLimit=1))
    async with running(DaemonSetController(context)):
        await played(api, wait)
        for image in ("v2", "v3", "v4"):
            change_image(api, image)
            await played(api, wait)
    assert images(api) == ["v4"]
    assert sorted(each["revision"] for each in api.all(CONTROLLER_REVISIONS)) == [3, 4]
    newest = max(api.all(CONTROLLER_REVISIONS), key=lambda each: each["revision"])
    assert newest["data"]["spec"]["template"]["$patch"] == "replace"
    assert newest["data"]["spec"]["template"]["spec"]["containers"][0]["image"] == "v4"


async def test_orphans_are_adopted_and_what_selects_all_makes_nothing(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    api.add(NODES, node("n1"))
    made = daemon_set()
    orphan = {
        "metadata": {"name": "orphan", "namespace": "default", "uid": "o", "labels": {"app": "d"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "v1"}]},
        "status": {"phase": "Running"},
    }
    api.add(PODS, orphan)
    made["spec"]["updateStrategy"] = {"type": "OnDelete"}
    api.add(DAEMON_SETS, made)
    all_of_them = daemon_set(selector={})
    all_of_them["metadata"] |= {"name": "all", "uid": "all"}
    api.add(DAEMON_SETS, all_of_them)
    async with running(DaemonSetController(context)):
        await wait.quiet(api)
    [pod] = api.all(PODS)
    assert pod["metadata"]["ownerReferences"][0]["name"] == "d"
    assert "SelectingAll" in {each["reason"] for each in api.all(EVENTS)}


async def test_failed_pods_are_replaced_later_each_time(clock: Any) -> None:
    class Timeline:
        moment = 1000.0

        def monotonic(self) -> float:
            return self.moment

    timeline = Timeline()
    failed = FailedPods(timeline)
    waits = []
    for _ in range(12):
        failed.note("u", "n")
        waits.append(failed.wait("u", "n"))
        timeline.moment += waits[-1]
        assert failed.wait("u", "n") == 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]
    assert failed.wait("u", "other") == 0
    timeline.moment += 31 * 60
    failed.note("u", "n")
    assert failed.wait("u", "n") == 1


def change_image(api: Any, image: str) -> None:
    def edit(obj: Obj) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = image
        obj["metadata"]["generation"] += 1

    api.change(DAEMON_SETS, "default", "d", edit)


async def played(api: Any, wait: Any, *, start: bool = True) -> None:
    """What scheduler and nodes do, until nothing moves: each pod runs where its affinity says, and ends when told."""
    while True:
        await wait.quiet(api)
        before = api.revision
        for each in api.all(PODS):
            name = each["metadata"]["name"]
            if "deletionTimestamp" in each["metadata"]:
                api.remove(PODS, "default", name)
            elif start and each.get("status", {}).get("phase") != "Running":
                api.change(PODS, "default", name, run)
        if api.revision == before:
            return


def run(pod: Obj) -> None:
    required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    pod["spec"]["nodeName"] = required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    pod["status"] = {"phase": "Running", "conditions": [ready]}


@pytest.mark.parametrize("build", [DaemonSetController, JobController])
def test_news_of_many_pods_cost_one_look_at_their_owner(
    make_api: Any, make_context: Any, run_with: Any, wait: Any, build: Any
) -> None:
    """A look costs as much as there are pods: one for each of their events would cost the square."""
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}

    async def scenario() -> None:
        api = make_api()
        context = make_context(api)
        controller = build(context)
        looks = []
        look = controller._controller._sync

        async def counted(key: Any) -> Any:
            looks.append(key)
            return await look(key)

        controller._controller._sync = counted
        for number in range(60):
            api.add(NODES, node(f"n{number}"))
        labels = {"app": "d"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": []}}
        spec = {"selector": {"matchLabels": labels}, "template": template, "parallelism": 60, "completions": 60}
        api.add(JOBS, {"metadata": {"name": "j", "namespace": "default"}, "spec": spec})
        api.add(DAEMON_SETS, daemon_set())
        async with run_with(context, controller):
            await asyncio.sleep(10)
            assert len(api.all(PODS)) == 60
            looks.clear()
            for each in api.all(PODS):
                name = each["metadata"]["name"]
                api.change(PODS, "default", name, lambda pod: pod.update(status={"conditions": [ready]}))
                await wait.quiet(api, turns=5)
            await asyncio.sleep(10)
            assert len(looks) <= 3  # the news, and what the look itself writes

    virtual.run(scenario())
