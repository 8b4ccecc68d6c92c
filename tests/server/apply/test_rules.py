"""Rules of managed fields and apply that the recorded scripts do not show."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

CMS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
HPAS = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
APPLY = {"content_type": "application/apply-patch+yaml"}
MERGE = {"content_type": "application/merge-patch+json"}
JSON_PATCH = {"content_type": "application/json-patch+json"}


def cm(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


def a_pod(**meta: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", **meta}, "spec": spec}


def owners(obj: Any) -> dict[tuple[str, str, str], Any]:
    found = obj["metadata"].get("managedFields", [])
    return {(e["manager"], e["operation"], e["apiVersion"]): e["fieldsV1"] for e in found}


async def test_what_admission_changes_belongs_to_nobody(api: Any) -> None:
    made = (await api("POST", PODS, a_pod(), user_agent="m/1")).obj
    assert "tolerations" in made["spec"]
    assert "f:tolerations" not in owners(made)["m", "Update", "v1"]["f:spec"]


async def test_a_user_agent_of_any_form_names_a_manager(api: Any) -> None:
    made = (await api("POST", CMS, cm(a="1"), user_agent="")).obj
    assert list(owners(made)) == [("unknown", "Update", "v1")]
    made = (await api("PUT", f"{CMS}/c", cm(a="2"), user_agent="x\x01y" + "z" * 200 + "/1")).obj
    assert owners(made)["xy" + "z" * 126, "Update", "v1"] == {"f:data": {"f:a": {}}}


async def test_a_change_moves_the_time_and_no_change_keeps_it(api: Any) -> None:
    await api("POST", CMS, cm(a="1"), user_agent="m/1")
    api.clock.set(api.clock.now() + timedelta(minutes=1))
    same = (await api("PUT", f"{CMS}/c", cm(a="1"), user_agent="m/1")).obj
    assert same["metadata"]["managedFields"][0]["time"] == "2026-11-21T12:00:00Z"
    changed = (await api("PUT", f"{CMS}/c", cm(a="2"), user_agent="m/1")).obj
    assert changed["metadata"]["managedFields"][0]["time"] == "2026-11-21T12:01:00Z"


async def test_only_removing_takes_no_time(api: Any) -> None:
    await api("POST", CMS, cm(a="1", b="2"), user_agent="m/1")
    api.clock.set(api.clock.now() + timedelta(minutes=1))
    left = (await api("PUT", f"{CMS}/c", cm(a="1"), user_agent="m/1")).obj
    assert left["metadata"]["managedFields"][0]["time"] == "2026-11-21T12:00:00Z"
    assert owners(left)["m", "Update", "v1"] == {"f:data": {".": {}, "f:a": {}}}


async def test_two_versions_of_a_kind_are_owned_each_in_its_own(api: Any) -> None:
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3}
    one = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}, "spec": spec}
    two = {**one, "apiVersion": "autoscaling/v2"}
    v1, v2 = HPAS.format("v1") + "/h", HPAS.format("v2") + "/h"
    made = await api(
        "PATCH", f"{v1}?fieldManager=one", {**one, "spec": {**spec, "targetCPUUtilizationPercentage": 50}}, **APPLY
    )
    assert made.status == 201
    resource = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    metrics = {"metrics": [{"type": "Resource", "resource": resource}]}
    refused = await api("PATCH", f"{v2}?fieldManager=two", {**two, "spec": {**spec, **metrics}}, **APPLY)
    assert (refused.status, refused.message) == (
        409,
        'Apply failed with 1 conflict: conflict with "one": .spec.targetCPUUtilizationPercentage',
    )
    forced = await api("PATCH", f"{v2}?fieldManager=two&force=true", {**two, "spec": {**spec, **metrics}}, **APPLY)
    found = owners(forced.obj)
    assert found["one", "Apply", "autoscaling/v1"]["f:spec"].keys() == {"f:maxReplicas", "f:scaleTargetRef"}
    assert "f:metrics" in found["two", "Apply", "autoscaling/v2"]["f:spec"]
    # an applier that changes the version it speaks gives up what it leaves out, as the other version sees it
    moved = await api("PATCH", f"{v1}?fieldManager=two", one, **APPLY)
    assert moved.status == 200, moved.obj
    assert moved.obj["spec"]["targetCPUUtilizationPercentage"] == 80, "the default of v2"
    assert ("two", "Apply", "autoscaling/v1") in owners(moved.obj)


async def test_two_versions_of_a_custom_resource_share_their_owners(with_foos: Any) -> None:
    url = "/apis/mf.io/{}/namespaces/mf/foos/f"

    def foo(version: str, **spec: Any) -> Any:
        return {"apiVersion": f"mf.io/{version}", "kind": "Foo", "metadata": {"name": "f"}, "spec": spec}

    made = await with_foos("PATCH", url.format("v1") + "?fieldManager=a", foo("v1", n=1, g={"x": "1"}), **APPLY)
    assert made.status == 201
    refused = await with_foos("PATCH", url.format("v2") + "?fieldManager=b", foo("v2", n=2), **APPLY)
    assert (refused.status, refused.message) == (409, 'Apply failed with 1 conflict: conflict with "a": .spec.n')
    moved = await with_foos("PATCH", url.format("v2") + "?fieldManager=a", foo("v2", g={"x": "1"}), **APPLY)
    assert moved.status == 200
    assert "n" not in moved.obj["spec"]
    assert list(owners(moved.obj)) == [("a", "Apply", "mf.io/v2")]


async def test_managed_fields_that_a_client_writes_are_taken_and_what_makes_no_sense_is_not(api: Any) -> None:
    made = (await api("POST", CMS, cm(a="1"), user_agent="m/1")).obj
    entry = {**made["metadata"]["managedFields"][0], "manager": "renamed"}
    taken = (await api("PATCH", f"{CMS}/c", {"metadata": {"managedFields": [entry]}}, user_agent="m/1", **MERGE)).obj
    assert list(owners(taken)) == [("renamed", "Update", "v1")]
    nonsense = {"metadata": {"managedFields": [{**entry, "operation": "Steal"}]}}
    kept = await api("PATCH", f"{CMS}/c", nonsense, user_agent="m/1", **MERGE)
    assert (kept.status, list(owners(kept.obj))) == (200, [("renamed", "Update", "v1")])
    long = {"metadata": {"managedFields": [{**entry, "manager": "m" * 200}]}}
    refused = await api("PATCH", f"{CMS}/c", long, user_agent="m/1", **MERGE)
    assert (refused.status, refused.causes) == (422, [("FieldValueTooLong", "metadata.managedFields[0].manager")])


async def test_a_manager_whose_name_was_taken_away_is_shown_without_one_and_goes_on_owning(api: Any) -> None:
    await api("POST", CMS, cm(a="1"), user_agent="m/1")
    unnamed = [{"op": "remove", "path": "/metadata/managedFields/0/manager"}]
    taken = (await api("PATCH", f"{CMS}/c", unnamed, user_agent="m/1", **JSON_PATCH)).obj
    (entry,) = taken["metadata"]["managedFields"]
    assert ("manager" in entry, entry["fieldsV1"]["f:data"]) == (False, {".": {}, "f:a": {}})
    same = (await api("PUT", f"{CMS}/c", taken, user_agent="m/1")).obj
    assert same == taken
    changed = (await api("PUT", f"{CMS}/c", cm(a="1", b="2"), user_agent="m/1")).obj
    assert [each.get("manager") for each in changed["metadata"]["managedFields"]] == [None, "m"]


@pytest.mark.parametrize("patch", [[{"op": "replace", "path": "/metadata/managedFields", "value": []}],
                                   [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]])  # fmt: skip
async def test_an_empty_list_takes_all_owners_away(api: Any, patch: Any) -> None:
    await api("POST", CMS, cm(a="1"), user_agent="m/1")
    answer = await api("PATCH", f"{CMS}/c", patch, user_agent="m/1", **JSON_PATCH)
    assert (answer.status, owners(answer.obj)) == (200, {})
    later = await api("PUT", f"{CMS}/c", cm(a="2"), user_agent="m/1")
    assert owners(later.obj) == {}


async def test_a_patch_within_managed_fields_changes_no_other_objects(api: Any) -> None:
    first = (await api("POST", CMS, cm(a="1"), user_agent="m/1")).obj
    second = {**cm(a="1"), "metadata": {"name": "d"}}
    await api("POST", CMS, second, user_agent="m/1")
    inner = [{"op": "add", "path": "/metadata/managedFields/0/fieldsV1/f:data/f:zz", "value": {}}]
    changed = await api("PATCH", f"{CMS}/d", inner, user_agent="m/1", **JSON_PATCH)
    assert "f:zz" in owners(changed.obj)["m", "Update", "v1"]["f:data"]
    assert (await api("GET", f"{CMS}/c")).obj == first


async def test_an_object_that_would_be_too_large_goes_without_its_owners(api: Any) -> None:
    keys = {f"{number:06d}" + "k" * 100: "" for number in range(9_000)}
    made = await api("POST", CMS, cm(**keys), user_agent="m/1")
    assert (made.status, owners(made.obj)) == (201, {})


async def test_binding_and_deletion_change_no_owners(api: Any) -> None:
    made = (await api("POST", PODS, a_pod(finalizers=["a.b/c"]), user_agent="m/1")).obj
    binding = {"target": {"kind": "Node", "name": "n"}, "metadata": {"name": "p"}}
    assert (await api("POST", f"{PODS}/p/binding", binding, user_agent="scheduler/1")).status == 201
    await api("DELETE", f"{PODS}/p", user_agent="gone/1")
    after = (await api("GET", f"{PODS}/p")).obj
    assert owners(after) == owners(made)


async def test_an_apply_of_cbor_is_not_understood(api: Any) -> None:
    answer = await api("PATCH", f"{CMS}/c?fieldManager=m", b"\xa0", content_type="application/apply-patch+cbor")
    assert answer.status == 415


async def test_a_configuration_may_be_yaml_and_a_key_given_twice_is_told(api: Any) -> None:
    """Server side field validation, typed object"""
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  a: '1'\n  a: '2'\n"
    strict = await api("PATCH", f"{CMS}/c?fieldManager=m&fieldValidation=Strict", text, **APPLY)
    assert (strict.status, strict.message) == (400, 'error strict decoding YAML: duplicate field "data.a"')
    warned = await api("PATCH", f"{CMS}/c?fieldManager=m", text, **APPLY)
    assert (warned.status, warned.warnings) == (201, ['duplicate field "data.a"'])
    assert (await api("PATCH", f"{CMS}/c?fieldManager=m", b"a: [", **APPLY)).message.startswith("error decoding YAML: ")


async def test_applying_with_an_old_resource_version_is_a_conflict(api: Any) -> None:
    made = (await api("PATCH", f"{CMS}/c?fieldManager=m", cm(a="1"), **APPLY)).obj
    await api("PUT", f"{CMS}/c", cm(a="1", b="2"), user_agent="n/1")
    pinned = cm(a="2") | {"metadata": {"name": "c", "resourceVersion": made["metadata"]["resourceVersion"]}}
    assert (await api("PATCH", f"{CMS}/c?fieldManager=m", pinned, **APPLY)).status == 409


async def test_nothing_is_made_of_a_configuration_that_knows_a_uid(api: Any) -> None:
    known = cm(a="1") | {"metadata": {"name": "c", "uid": "u"}}
    answer = await api("PATCH", f"{CMS}/c?fieldManager=m", known, **APPLY)
    assert answer.status == 409
    assert "uid mismatch: the provided object specified uid u, and no existing object was found" in answer.message


async def test_a_status_cannot_be_applied_to_what_is_not_there(api: Any) -> None:
    answer = await api("PATCH", f"{PODS}/p/status?fieldManager=m", a_pod(), **APPLY)
    assert answer.status == 404


async def test_a_dry_run_applies_nothing(api: Any) -> None:
    await api("PATCH", f"{CMS}/c?fieldManager=m", cm(a="1"), **APPLY)
    tried = await api("PATCH", f"{CMS}/c?fieldManager=m&dryRun=All", cm(a="2"), **APPLY)
    assert (tried.status, tried.obj["data"]) == (200, {"a": "2"})
    assert (await api("GET", f"{CMS}/c")).obj["data"] == {"a": "1"}
