"""The StatefulSet controller over the API: order, claims, rolls, rollbacks, adoption, and a crash at any point."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.errors import Forbidden
from sampan.api.resources import CONTROLLER_REVISIONS, EVENTS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from sampan.controllers.statefulset.controller import StatefulSetController

Obj = dict[str, Any]


def stateful_set(replicas: int = 3, image: str = "v1", **spec: Any) -> Obj:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    meta = {"name": "web", "namespace": "default", "uid": "set", "generation": 1}
    wanted = {
        "replicas": replicas,
        "serviceName": "svc",
        "selector": {"matchLabels": {"app": "web"}},
        "template": template,
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "revisionHistoryLimit": 10,
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
    }
    return {"metadata": meta, "spec": {**wanted, **spec}}


async def played(api: Any, wait: Any) -> list[tuple[str, str]]:
    """What nodes do, until nothing moves. In which order pods began and were told to end."""
    seen: list[tuple[str, str]] = []
    while True:
        await wait.quiet(api)
        before = api.revision
        for each in sorted(api.all(PODS), key=lambda pod: pod["metadata"]["name"]):
            name = each["metadata"]["name"]
            if "deletionTimestamp" in each["metadata"]:
                seen.append(("-", name))
                api.remove(PODS, "default", name)
            elif each.get("status", {}).get("phase") != "Running":
                seen.append(("+", name))
                api.change(PODS, "default", name, run)
        if api.revision == before:
            return seen


def run(pod: Obj) -> None:
    pod["spec"]["nodeName"] = "n1"
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    pod["status"] = {"phase": "Running", "conditions": [ready]}


def names(api: Any, resource: Any = PODS) -> list[str]:
    return sorted(each["metadata"]["name"] for each in api.all(resource))


def images(api: Any) -> dict[str, str]:
    return {each["metadata"]["name"]: each["spec"]["containers"][0]["image"] for each in api.all(PODS)}


def edit(api: Any, change: Any) -> None:
    def both(obj: Obj) -> None:
        change(obj["spec"])
        obj["metadata"]["generation"] += 1

    api.change(STATEFUL_SETS, "default", "web", both)


def set_image(api: Any, image: str) -> None:
    edit(api, lambda spec: spec["template"]["spec"]["containers"][0].update(image=image))


async def test_pods_come_in_order_go_in_reverse_and_their_claims_stay(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    api.add(STATEFUL_SETS, stateful_set())
    async with running(StatefulSetController(context)):
        assert await played(api, wait) == [("+", "web-0"), ("+", "web-1"), ("+", "web-2")]
        edit(api, lambda spec: spec.update(replicas=1))
        assert await played(api, wait) == [("-", "web-2"), ("-", "web-1")]
    assert names(api) == ["web-0"]
    assert names(api, PERSISTENT_VOLUME_CLAIMS) == ["data-web-0", "data-web-1", "data-web-2"]
    status = api.get(STATEFUL_SETS, "default", "web")["status"]
    assert (status["replicas"], status["readyReplicas"], status["observedGeneration"]) == (1, 1, 2)
    told = {(each["reason"], each["message"]) for each in api.all(EVENTS)}
    assert ("SuccessfulCreate", "Create Pod web-0 in StatefulSet web successful") in told
    assert ("SuccessfulCreate", "Create Claim data-web-0 Pod web-0 in StatefulSet web success") in told
    assert ("SuccessfulDelete", "Delete Pod web-2 in StatefulSet web successful") in told


async def test_a_roll_goes_from_the_last_to_the_first_and_a_rollback_takes_the_old_revision(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    """StatefulSet should perform rolling updates and roll backs of template modifications"""
    api.add(STATEFUL_SETS, stateful_set())
    async with running(StatefulSetController(context)):
        await played(api, wait)
        first = api.get(STATEFUL_SETS, "default", "web")["status"]["currentRevision"]
        set_image(api, "v2")
        steps = await played(api, wait)
        assert [name for sign, name in steps if sign == "-"] == ["web-2", "web-1", "web-0"]
        status = api.get(STATEFUL_SETS, "default", "web")["status"]
        assert status["currentRevision"] == status["updateRevision"] != first
        set_image(api, "v1")
        await played(api, wait)
    assert set(images(api).values()) == {"v1"}
    assert api.get(STATEFUL_SETS, "default", "web")["status"]["currentRevision"] == first
    assert sorted(each["revision"] for each in api.all(CONTROLLER_REVISIONS)) == [2, 3]


async def test_a_pod_below_the_partition_that_is_deleted_comes_back_as_it_was(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    api.add(STATEFUL_SETS, stateful_set())
    async with running(StatefulSetController(context)):
        await played(api, wait)
        edit(api, lambda spec: spec["updateStrategy"].update(rollingUpdate={"partition": 2}))
        set_image(api, "v2")
        await played(api, wait)
        assert images(api) == {"web-0": "v1", "web-1": "v1", "web-2": "v2"}
        api.remove(PODS, "default", "web-0")
        await played(api, wait)
    assert images(api) == {"web-0": "v1", "web-1": "v1", "web-2": "v2"}


async def test_only_pods_with_a_name_of_its_own_are_adopted(api: Any, context: Any, running: Any, wait: Any) -> None:
    for name in ("web-0", "other-7"):
        meta = {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}}
        api.add(PODS, {"metadata": meta, "spec": {"containers": [{"name": "c", "image": "v1"}]}, "status": {}})
        api.change(PODS, "default", name, run)
    api.add(STATEFUL_SETS, stateful_set(1, updateStrategy={"type": "OnDelete"}, volumeClaimTemplates=[]))
    async with running(StatefulSetController(context)):
        await played(api, wait)
    owned = {each["metadata"]["name"]: bool(each["metadata"].get("ownerReferences")) for each in api.all(PODS)}
    assert owned == {"web-0": True, "other-7": False}
    repaired = api.get(PODS, "default", "web-0")["metadata"]["labels"]
    assert repaired["statefulset.kubernetes.io/pod-name"] == "web-0"


async def test_a_name_that_somebody_else_has_stops_the_set_until_it_is_free(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    """StatefulSet Should recreate evicted statefulset"""
    meta = {"name": "web-0", "namespace": "default", "uid": "x", "labels": {"app": "stranger"}}
    api.add(
        PODS, {"metadata": meta, "spec": {"containers": [{"name": "c", "image": "x"}]}, "status": {"phase": "Running"}}
    )
    api.add(STATEFUL_SETS, stateful_set(1))
    async with running(StatefulSetController(context)):
        await wait.quiet(api)
        assert images(api) == {"web-0": "x"}
        api.remove(PODS, "default", "web-0")
        await wait.until(lambda: images(api) == {"web-0": "v1"}, turns=200_000)


async def test_a_refused_create_is_told_and_tried_again(api: Any, context: Any, running: Any, wait: Any) -> None:
    api.add(STATEFUL_SETS, stateful_set(1))
    api.fail_next = [("POST", "pods", Forbidden("exceeded quota"))]
    async with running(StatefulSetController(context)):
        await wait.until(lambda: names(api) == ["web-0"], turns=200_000)
        await wait.quiet(api)
    told = {(each["type"], each["reason"], each["message"]) for each in api.all(EVENTS)}
    assert ("Warning", "FailedCreate", "Create Pod web-0 in StatefulSet web failed error: exceeded quota") in told


@pytest.mark.parametrize("after", range(1, 16))
async def test_whenever_it_is_killed_the_next_one_arrives(
    make_api: Any, make_context: Any, run_with: Any, wait: Any, after: int
) -> None:
    """A roll and a change of size, with the controller gone after so many writes and another in its place."""
    api = make_api()
    api.add(STATEFUL_SETS, stateful_set(2))
    context = make_context(api)
    async with run_with(context, StatefulSetController(context)):
        await played(api, wait)
    edit(api, lambda spec: spec.update(replicas=3))
    set_image(api, "v2")
    limit = len(api.log) + after
    context = make_context(api)
    async with run_with(context, StatefulSetController(context)):
        for _ in range(400):
            if len(api.log) >= limit:
                break
            await wait.quiet(api, turns=1)
    context = make_context(api)
    async with run_with(context, StatefulSetController(context)):
        await played(api, wait)
    assert images(api) == {"web-0": "v2", "web-1": "v2", "web-2": "v2"}
    assert names(api, PERSISTENT_VOLUME_CLAIMS) == ["data-web-0", "data-web-1", "data-web-2"]
    assert len(api.all(CONTROLLER_REVISIONS)) == 2
    status = api.get(STATEFUL_SETS, "default", "web")["status"]
    assert (status["replicas"], status["updatedReplicas"], status["readyReplicas"]) == (3, 3, 3)


async def test_a_set_that_goes_in_the_foreground_makes_no_revision_again(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    """The garbage collector deletes its revision while its pods end: made anew it would be deleted again, for ever."""
    api.add(STATEFUL_SETS, stateful_set(1))
    async with running(StatefulSetController(context)):
        await played(api, wait)
        going = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"]}
        api.change(STATEFUL_SETS, "default", "web", lambda obj: obj["metadata"].update(going))
        await wait.quiet(api)
        for name in names(api, CONTROLLER_REVISIONS):
            api.remove(CONTROLLER_REVISIONS, "default", name)
        api.remove(PODS, "default", "web-0")
        await wait.quiet(api)
    assert (names(api, CONTROLLER_REVISIONS), names(api)) == ([], [])
    assert api.get(STATEFUL_SETS, "default", "web")["status"]["replicas"] == 0
