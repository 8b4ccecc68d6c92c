"""Writes: resourceVersion, generation, no-ops, dry runs, generated names, deletion."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sampan.api.resources import CONFIG_MAPS
from sampan.client.client import Client

pytestmark = pytest.mark.every_store

CMS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
MERGE = {"content_type": "application/merge-patch+json"}


def cm(name: str = "a", **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **meta}, "data": {"k": "v"}}


def a_pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


async def test_create_fills_in_what_only_the_server_may_set(api: Any) -> None:
    given = cm(uid="mine", deletionTimestamp="2020-01-01T00:00:00Z", selfLink="x")
    meta = (await api("POST", CMS, given)).obj["metadata"]
    assert meta["uid"] != "mine"
    assert meta["creationTimestamp"] == "2026-11-21T12:00:00Z"
    assert not {"deletionTimestamp", "selfLink"} & meta.keys()


async def test_a_write_that_changes_nothing_keeps_the_resource_version(api: Any) -> None:
    stored = (await api("POST", CMS, cm())).obj
    again = (await api("PUT", f"{CMS}/a", stored)).obj
    patched = (await api("PATCH", f"{CMS}/a", {"data": {"k": "v"}}, **MERGE)).obj
    assert stored == again == patched


async def test_update_without_resource_version_is_unconditional(api: Any) -> None:
    await api("POST", CMS, cm())
    answer = await api("PUT", f"{CMS}/a", {"metadata": {"name": "a"}, "data": {"k": "w"}})
    assert (answer.status, answer.obj["data"]) == (200, {"k": "w"})


async def test_generate_name_appends_five_characters(api: Any) -> None:
    answer = await api("POST", CMS, {"metadata": {"generateName": "x-"}})
    assert answer.status == 201
    assert len(answer.obj["metadata"]["name"]) == 7


async def test_dry_run_stores_nothing(api: Any) -> None:
    answer = await api("POST", f"{CMS}?dryRun=All", cm())
    assert answer.status == 201
    assert answer.obj["metadata"]["uid"]
    assert "resourceVersion" not in answer.obj["metadata"]
    assert (await api("GET", f"{CMS}/a")).status == 404
    await api("POST", CMS, cm())
    changed = await api("PATCH", f"{CMS}/a?dryRun=All", {"data": {"k": "w"}}, **MERGE)
    assert changed.obj["data"] == {"k": "w"}
    await api("DELETE", f"{CMS}/a?dryRun=All")
    assert (await api("GET", f"{CMS}/a")).obj["data"] == {"k": "v"}


async def test_generation_counts_spec_changes_only(api: Any) -> None:
    url = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    body = {
        "metadata": {"name": "d", "generation": 7},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    created = await api("POST", url, body)
    assert created.status == 201, created.obj
    assert created.obj["metadata"]["generation"] == 1
    labelled = await api("PATCH", f"{url}/d", {"metadata": {"labels": {"x": "y"}}}, **MERGE)
    assert labelled.obj["metadata"]["generation"] == 1
    status = await api("PATCH", f"{url}/d/status", {"status": {"replicas": 2}, "spec": {"replicas": 9}}, **MERGE)
    assert (status.obj["metadata"]["generation"], status.obj["spec"]["replicas"]) == (1, 1)
    assert status.obj["status"]["replicas"] == 2
    scaled = await api("PATCH", f"{url}/d/scale", {"spec": {"replicas": 3}}, **MERGE)
    assert (scaled.obj["kind"], scaled.obj["spec"]["replicas"], scaled.obj["status"]["selector"]) == ("Scale", 3, "a=b")
    after = (await api("GET", f"{url}/d")).obj
    assert (after["metadata"]["generation"], after["status"]["replicas"]) == (2, 2)
    negative = await api("PATCH", f"{url}/d/scale", {"spec": {"replicas": -1}}, **MERGE)
    assert (negative.status, negative.obj["details"]["kind"]) == (422, "Scale")


async def test_the_generation_of_an_endpoint_slice_counts_its_labels_too(api: Any) -> None:
    url = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    made = await api("POST", url, {"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": []})
    changes = [({"metadata": {"annotations": {"a": "b"}}}, 1), ({"metadata": {"labels": {"a": "b"}}}, 2)]
    assert made.obj["metadata"]["generation"] == 1
    for change, generation in changes:
        answer = await api("PATCH", f"{url}/s", change, **MERGE)
        assert answer.obj["metadata"]["generation"] == generation


async def test_strategic_merge_uses_merge_keys(api: Any) -> None:
    await api("POST", PODS, a_pod())
    patch = {"spec": {"containers": [{"name": "c", "image": "new"}]}}
    answer = await api("PATCH", f"{PODS}/p", patch, content_type="application/strategic-merge-patch+json")
    assert answer.status == 200, answer.obj
    assert [c["image"] for c in answer.obj["spec"]["containers"]] == ["new"]


async def test_delete_without_finalizers_answers_with_a_status(api: Any) -> None:
    stored = (await api("POST", CMS, cm())).obj
    answer = await api("DELETE", f"{CMS}/a")
    assert (answer.status, answer.obj["status"]) == (200, "Success")
    assert answer.obj["details"] == {"name": "a", "kind": "configmaps", "uid": stored["metadata"]["uid"]}
    assert (await api("GET", f"{CMS}/a")).status == 404


async def test_finalizers_hold_an_object_until_the_last_is_gone(api: Any) -> None:
    await api("POST", CMS, cm(finalizers=["x.io/f"]))
    answer = await api("DELETE", f"{CMS}/a")
    meta = answer.obj["metadata"]
    assert (answer.status, meta["deletionTimestamp"], meta["deletionGracePeriodSeconds"]) == (
        200,
        "2026-11-21T12:00:00Z",
        0,
    )
    added = await api("PATCH", f"{CMS}/a", {"metadata": {"finalizers": ["x.io/f", "x.io/g"]}}, **MERGE)
    assert (added.status, added.causes[0]) == (422, ("FieldValueForbidden", "metadata.finalizers"))
    again = await api("POST", CMS, cm())
    assert again.message.startswith("object is being deleted: ")
    freed = await api("PATCH", f"{CMS}/a", {"metadata": {"finalizers": None}}, **MERGE)
    assert freed.status == 200
    assert (await api("GET", f"{CMS}/a")).status == 404


@pytest.mark.parametrize(
    ("options", "status", "finalizer"),
    [
        ({"propagationPolicy": "Foreground"}, 200, "foregroundDeletion"),
        ({"propagationPolicy": "Orphan"}, 200, "orphan"),
        ({"orphanDependents": True}, 200, "orphan"),
    ],
)
async def test_propagation_policies_add_their_finalizer(api: Any, options: Any, status: int, finalizer: str) -> None:
    await api("POST", CMS, cm())
    answer = await api("DELETE", f"{CMS}/a", options)
    assert (answer.status, answer.obj["metadata"]["finalizers"]) == (status, [finalizer])


async def test_an_unscheduled_pod_goes_at_once(api: Any) -> None:
    await api("POST", PODS, a_pod())
    assert (await api("DELETE", f"{PODS}/p")).obj["kind"] == "Pod"
    assert (await api("GET", f"{PODS}/p")).status == 404


async def test_a_running_pod_gets_its_grace_which_can_only_shorten(api: Any) -> None:
    await api("POST", PODS, a_pod(terminationGracePeriodSeconds=20))
    bound = await api("POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}})
    assert (bound.status, bound.obj["status"]) == (201, "Success")
    marked = (await api("DELETE", f"{PODS}/p")).obj["metadata"]
    assert (marked["deletionTimestamp"], marked["deletionGracePeriodSeconds"]) == ("2026-11-21T12:00:20Z", 20)
    api.clock.set(api.clock.now() + timedelta(seconds=5))
    longer = (await api("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 60})).obj["metadata"]
    assert longer == marked
    shorter = (await api("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 10})).obj["metadata"]
    assert (shorter["deletionTimestamp"], shorter["deletionGracePeriodSeconds"]) == ("2026-11-21T12:00:10Z", 10)
    assert (await api("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})).status == 200
    assert (await api("GET", f"{PODS}/p")).status == 404


@pytest.mark.parametrize("grace", [10**10, 2**63 - 1])
async def test_a_grace_beyond_all_dates_keeps_no_pod_from_being_deleted(api: Any, grace: int) -> None:
    await api("POST", PODS, a_pod(terminationGracePeriodSeconds=grace))
    await api("POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}})
    marked = await api("DELETE", f"{PODS}/p")
    meta = marked.obj["metadata"]
    assert (marked.status, meta["deletionTimestamp"][:4], meta["deletionGracePeriodSeconds"]) == (200, "2319", grace)
    assert (await api("DELETE", f"{PODS}/p")).obj["metadata"] == meta
    shorter = (await api("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 10})).obj["metadata"]
    assert (shorter["deletionTimestamp"], shorter["deletionGracePeriodSeconds"]) == ("2026-11-21T12:00:10Z", 10)


async def test_binding_sets_node_and_condition_once(api: Any) -> None:
    await api("POST", PODS, a_pod())
    target = {"target": {"kind": "Node", "name": "n"}}
    assert (await api("POST", f"{PODS}/p/binding", {})).status == 400
    assert (await api("POST", f"{PODS}/p/binding", target)).status == 201
    stored = (await api("GET", f"{PODS}/p")).obj
    assert stored["spec"]["nodeName"] == "n"
    assert stored["status"]["conditions"][0]["type"] == "PodScheduled"
    twice = await api("POST", f"{PODS}/p/binding", target)
    assert (twice.status, twice.reason) == (409, "Conflict")
    assert 'pod p is already assigned to node "n"' in twice.message
    assert (await api("POST", f"{PODS}/q/binding", target)).status == 404


async def test_eviction_asks_the_budget(api: Any) -> None:
    await api("POST", PODS, {**a_pod(), "metadata": {"name": "p", "labels": {"app": "x"}}})
    pdbs = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    pdb = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}}
    made = await api("POST", pdbs, pdb)
    assert made.status == 201, made.obj
    running = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    assert (await api("PATCH", f"{PODS}/p/status", running, **MERGE)).status == 200
    generation = made.obj["metadata"].get("generation", 0)
    await api(
        "PATCH", f"{pdbs}/b/status", {"status": {"observedGeneration": generation, "disruptionsAllowed": 0}}, **MERGE
    )
    wrong = await api("POST", f"{PODS}/p/eviction", {"metadata": {"name": "other"}})
    assert (wrong.status, wrong.message) == (400, "name in URL does not match name in Eviction object")
    blocked = await api("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}})
    assert (blocked.status, blocked.causes[0][0]) == (429, "DisruptionBudget")
    await api("PATCH", f"{pdbs}/b/status", {"status": {"disruptionsAllowed": 1}}, **MERGE)
    evicted = await api("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}})
    assert evicted.status == 201
    assert (await api("GET", f"{PODS}/p")).status == 404
    assert (await api("GET", f"{pdbs}/b")).obj["status"]["disruptionsAllowed"] == 0


async def test_deletecollection_honours_selectors_and_answers_with_the_list(api: Any) -> None:
    for name, label in [("a", "x"), ("b", "x"), ("c", "y")]:
        await api("POST", CMS, cm(name, labels={"l": label}))
    answer = await api("DELETE", f"{CMS}?labelSelector=l%3Dx")
    assert answer.obj["kind"] == "ConfigMapList"
    assert sorted(item["metadata"]["name"] for item in answer.obj["items"]) == ["a", "b"]
    assert [item["metadata"]["name"] for item in (await api("GET", CMS)).obj["items"]] == ["c"]


async def test_a_namespace_terminates_until_it_is_finalized(api: Any) -> None:
    url = "/api/v1/namespaces"
    created = (await api("POST", url, {"metadata": {"name": "n"}})).obj
    assert (created["spec"]["finalizers"], created["status"]["phase"]) == (["kubernetes"], "Active")
    marked = (await api("DELETE", f"{url}/n")).obj
    assert marked["status"]["phase"] == "Terminating"
    refused = await api("POST", f"{url}/n/configmaps", cm())
    assert (refused.status, refused.causes[0][0]) == (403, "NamespaceTerminating")
    await api("PUT", f"{url}/n/finalize", {**marked, "spec": {"finalizers": []}})
    assert (await api("GET", f"{url}/n")).status == 404


async def test_every_version_of_a_kind_shares_its_storage(api: Any) -> None:
    hpa = {
        "metadata": {"name": "h"},
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "d"},
            "targetCPUUtilizationPercentage": 50,
        },
    }
    one = await api("POST", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", hpa)
    assert one.status == 201, one.obj
    assert one.obj["spec"]["targetCPUUtilizationPercentage"] == 50
    two = (await api("GET", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h")).obj
    assert two["apiVersion"] == "autoscaling/v2"
    assert two["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    listed = (await api("GET", "/apis/autoscaling/v1/horizontalpodautoscalers")).obj
    assert listed["items"][0]["spec"]["targetCPUUtilizationPercentage"] == 50


async def test_what_a_component_writes_is_copied_unless_it_says_that_it_may_be_shared(api: Any) -> None:
    client = Client(api.server.local_transport())
    given = cm(namespace="default", labels={"a": "b"})
    answer = await client.create(CONFIG_MAPS, given)
    view = client.cache_view(CONFIG_MAPS)
    assert view is not None
    answer["data"]["k"] = given["data"]["k"] = answer["metadata"]["labels"]["a"] = "mine"
    await client.get(CONFIG_MAPS, "a", "default")  # the cache has caught up
    stored = view.get("default", "a")
    assert stored is not None
    assert (stored["data"], stored["metadata"]["labels"]) == ({"k": "v"}, {"a": "b"})
    given = cm("b", namespace="default")
    shared = await client.create(CONFIG_MAPS, given, shared=True)
    assert shared["data"] is given["data"]
