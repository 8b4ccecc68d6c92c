"""MutatingAdmissionWebhook on a whole server: order, patches, defaults after them, the second round."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from .conftest import Configured, Hook, allow, deny, patched, rule, webhook

MAPS = "/api/v1/namespaces/default/configmaps"


def add(key: str, value: Any = "yes") -> dict[str, Any]:
    return {"op": "add", "path": f"/data/{key}", "value": value}


def config_map(name: str = "c", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data or {"a": "b"}}


async def test_a_patch_changes_what_is_stored(api: Any, configured: Configured, hook: Hook) -> None:
    hook.reply = lambda review: patched(review, add("mutated"))
    await configured.mutating(webhook(hook.by_url(), rule("configmaps", operations=("CREATE",))))
    answer = await api("POST", MAPS, config_map())
    assert (answer.status, answer.obj["data"]) == (201, {"a": "b", "mutated": "yes"})
    assert (await api("GET", f"{MAPS}/c")).obj["data"]["mutated"] == "yes"


async def test_a_patch_may_make_a_truth_of_a_number(api: Any, configured: Configured, hook: Hook) -> None:
    """Python says that ``1 == True``: JSON does not."""
    hook.reply = lambda review: patched(review, {"op": "replace", "path": "/data/on", "value": True})
    await configured.mutating(webhook(hook.by_url(), rule("controllerrevisions", group="apps")))
    revision = {"metadata": {"name": "r"}, "revision": 1, "data": {"on": 1}}
    answer = await api("POST", "/apis/apps/v1/namespaces/default/controllerrevisions", revision)
    assert answer.status == 201, answer.obj
    assert answer.obj["data"]["on"] is True


async def test_webhooks_are_asked_in_order_each_about_what_the_last_one_left(
    api: Any, configured: Configured, hook: Hook
) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should mutate configmap"""

    def second(review: Any) -> Any:
        there = "stage-1" in review["request"]["object"]["data"]
        return patched(review, add("stage-2")) if there else allow(review)

    hook.replies = {"/1": lambda review: patched(review, add("stage-1")), "/2": second}
    hooks = [webhook(hook.by_url(f"/{number}"), name=f"hook{number}.example.com") for number in (1, 2)]
    await configured.mutating(*hooks)
    answer = await api("POST", MAPS, config_map(start="yes"))
    assert answer.obj["data"] == {"start": "yes", "stage-1": "yes", "stage-2": "yes"}


async def test_configurations_are_asked_by_their_names(api: Any, configured: Configured, hook: Hook) -> None:
    for name in ("b", "c", "a"):
        await configured.mutating(webhook(hook.by_url(f"/{name}")), name=name)
    await api("POST", MAPS, config_map())
    assert [path.partition("?")[0] for path, _, _ in hook.asked] == ["/a", "/b", "/c"]


async def test_a_container_that_a_webhook_adds_gets_its_defaults(api: Any, configured: Configured, hook: Hook) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should mutate pod and apply defaults after mutation"""
    container = {"name": "added", "image": "i"}
    operation = {"op": "add", "path": "/spec/initContainers", "value": [container]}
    hook.reply = lambda review: patched(review, operation)
    await configured.mutating(webhook(hook.by_url(), rule("pods", operations=("CREATE",))))
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    answer = await api("POST", "/api/v1/namespaces/default/pods", pod)
    added = answer.obj["spec"]["initContainers"][0]
    assert added["name"] == "added"
    assert (added["terminationMessagePolicy"], added["imagePullPolicy"]) == ("File", "Always")


async def test_a_field_that_nobody_knows_does_not_come_in_by_a_patch(
    api: Any, configured: Configured, hook: Hook
) -> None:
    hook.reply = lambda review: patched(review, {"op": "add", "path": "/unknown", "value": 1}, add("known"))
    await configured.mutating(webhook(hook.by_url()))
    answer = await api("POST", MAPS, config_map())
    assert "unknown" not in answer.obj and answer.obj["data"]["known"] == "yes"


async def test_an_update_and_a_patch_are_mutated(api: Any, configured: Configured, hook: Hook) -> None:
    await api("POST", MAPS, config_map())
    hook.reply = lambda review: patched(review, add("seen"))
    await configured.mutating(webhook(hook.by_url(), rule("configmaps", operations=("UPDATE",))))
    answer = await api("PUT", f"{MAPS}/c", config_map())
    assert answer.obj["data"] == {"a": "b", "seen": "yes"}
    merge = {"content_type": "application/merge-patch+json"}
    answer = await api("PATCH", f"{MAPS}/c", {"data": {"seen": None, "x": "y"}}, **merge)
    assert answer.obj["data"] == {"a": "b", "x": "y", "seen": "yes"}
    assert [request["operation"] for request in hook.requests] == ["UPDATE", "UPDATE"]


async def test_a_denial_ends_it_before_the_next_webhook(api: Any, configured: Configured, hook: Hook) -> None:
    hook.replies = {"/1": lambda review: deny(review, message="no", code=403, reason="Forbidden")}
    hooks = [webhook(hook.by_url(f"/{number}"), name=f"hook{number}.example.com") for number in (1, 2)]
    await configured.mutating(*hooks)
    answer = await api("POST", MAPS, config_map())
    assert (answer.status, answer.reason) == (403, "Forbidden")
    assert answer.message == 'admission webhook "hook1.example.com" denied the request: no'
    assert len(hook.asked) == 1 and (await api("GET", f"{MAPS}/c")).status == 404


@pytest.mark.parametrize(
    ("operations", "text"),
    [
        (
            [{"op": "remove", "path": "/data/missing/deeper"}],
            'remove operation does not apply: doc is missing path: "/data/missing/deeper": missing value',
        ),
        ([{"op": "fly"}], "Unexpected kind: fly"),
        ([{"op": "replace", "path": "/kind", "value": "Secret"}], "the patch changes the kind or apiVersion"),
        ([{"op": "add", "path": "/data/a", "value": 1}], 'ConfigMap in version "v1" cannot be handled as a ConfigMap'),
        ({"op": "add"}, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        (["add"], "json: cannot unmarshal string into Go value of type jsonpatch.Operation"),
    ],
)
async def test_a_patch_that_makes_no_object_fails_the_write_whatever_the_policy(
    api: Any, configured: Configured, hook: Hook, operations: Any, text: str
) -> None:
    encoded = base64.b64encode(orjson.dumps(operations)).decode()
    hook.reply = lambda review: allow(review, patchType="JSONPatch", patch=encoded)
    await configured.mutating(webhook(hook.by_url(), failurePolicy="Ignore"))
    answer = await api("POST", MAPS, config_map())
    assert (answer.status, answer.reason) == (500, "InternalError")
    assert answer.message.startswith(f"Internal error occurred: {text}")


async def test_a_patch_that_makes_the_object_invalid_is_told_by_its_fields(
    api: Any, configured: Configured, hook: Hook
) -> None:
    labels = {"op": "add", "path": "/metadata/labels", "value": {"not a label": "x"}}
    hook.reply = lambda review: patched(review, labels)
    await configured.mutating(webhook(hook.by_url()))
    answer = await api("POST", MAPS, config_map())
    assert (answer.status, answer.causes) == (422, [("FieldValueInvalid", "metadata.labels")])


async def test_an_object_stays_in_the_namespace_of_the_request(api: Any, configured: Configured, hook: Hook) -> None:
    place = {"op": "replace", "path": "/metadata/namespace", "value": "kube-system"}
    hook.reply = lambda review: patched(review, place)
    await configured.mutating(webhook(hook.by_url()))
    answer = await api("POST", MAPS, config_map())
    assert answer.status == 400
    assert answer.message == "the namespace of the provided object does not match the namespace sent on the request"


async def test_a_name_that_a_webhook_changes_in_an_update_is_refused(
    api: Any, configured: Configured, hook: Hook
) -> None:
    await api("POST", MAPS, config_map())
    hook.reply = lambda review: patched(review, {"op": "replace", "path": "/metadata/name", "value": "other"})
    await configured.mutating(webhook(hook.by_url()))
    answer = await api("PUT", f"{MAPS}/c", config_map())
    assert answer.status in (400, 422) and (await api("GET", f"{MAPS}/other")).status == 404


async def test_a_patch_of_a_deletion_has_nothing_to_change(api: Any, configured: Configured, hook: Hook) -> None:
    await api("POST", MAPS, config_map())
    hook.reply = lambda review: patched(review, add("x"))
    await configured.mutating(webhook(hook.by_url(), rule("configmaps", operations=("DELETE",))))
    answer = await api("DELETE", f"{MAPS}/c")
    assert answer.status == 500
    assert answer.message == (
        'Internal error occurred: admission webhook "hook.example.com" attempted to modify the object, '
        "which is not supported for this operation"
    )


async def test_who_asked_for_it_is_asked_again_when_a_later_one_changed_something(
    api: Any, configured: Configured, hook: Hook
) -> None:
    """Once: what is changed in the second round makes no third. Each is shown what the others have changed."""
    counted = iter(range(10))
    hook.replies = {
        "/first": lambda review: patched(review, add(f"first{next(counted)}")),
        "/once": lambda review: allow(review),
        "/last": lambda review: patched(review, add("last")),
    }
    await configured.mutating(
        webhook(hook.by_url("/first"), name="first.example.com", reinvocationPolicy="IfNeeded"),
        webhook(hook.by_url("/once"), name="once.example.com"),
        webhook(hook.by_url("/last"), name="last.example.com", reinvocationPolicy="IfNeeded"),
    )
    answer = await api("POST", MAPS, config_map())
    asked = [path.partition("?")[0] for path, _, _ in hook.asked]
    assert asked == ["/first", "/once", "/last", "/first", "/last"]
    assert answer.obj["data"] == {"a": "b", "first0": "yes", "last": "yes", "first1": "yes"}
    assert hook.requests[3]["object"]["data"]["last"] == "yes"


async def test_nobody_is_asked_again_when_nothing_changed(api: Any, configured: Configured, hook: Hook) -> None:
    hook.reply = lambda review: patched(review, {"op": "replace", "path": "/data/a", "value": "b"})
    await configured.mutating(
        *(webhook(hook.by_url(f"/{n}"), name=f"hook{n}.example.com", reinvocationPolicy="IfNeeded") for n in (1, 2))
    )
    await api("POST", MAPS, config_map())
    assert len(hook.asked) == 2


async def test_the_servers_own_plugins_see_what_a_webhook_added(api: Any, configured: Configured, hook: Hook) -> None:
    """In the second round: the priority of a class that a webhook set is looked up."""
    await api("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "high"}, "value": 77})

    def reply(review: Any) -> Any:
        spec = review["request"]["object"]["spec"]
        if spec.get("priorityClassName") == "high":
            return allow(review)
        operations = [{"op": "add", "path": "/spec/priorityClassName", "value": "high"}]
        operations += [{"op": "remove", "path": f"/spec/{key}"} for key in ("priority",) if key in spec]
        return patched(review, *operations)

    hook.reply = reply
    await configured.mutating(webhook(hook.by_url(), rule("pods", operations=("CREATE",))))
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    answer = await api("POST", "/api/v1/namespaces/default/pods", pod)
    assert (answer.status, answer.obj["spec"].get("priority")) == (201, 77), answer.obj


async def test_a_generated_name_is_none_yet(api: Any, configured: Configured, hook: Hook) -> None:
    hook.reply = lambda review: patched(review, add("mutated"))
    await configured.mutating(webhook(hook.by_url()))
    await configured.validating(webhook(hook.by_url("/v")))
    hook.replies = {"/v": allow}
    answer = await api("POST", MAPS, {"metadata": {"generateName": "g-"}, "data": {"a": "b"}})
    assert answer.obj["data"]["mutated"] == "yes"
    before, after = hook.requests
    assert "name" not in before and before["object"]["metadata"].get("name") is None
    assert after["name"] == answer.obj["metadata"]["name"] == after["object"]["metadata"]["name"]


async def test_a_dry_run_asks_webhooks_without_side_effects_and_is_told_so(
    api: Any, configured: Configured, hook: Hook
) -> None:
    hook.reply = lambda review: patched(review, add("mutated"))
    await configured.mutating(webhook(hook.by_url(), sideEffects="NoneOnDryRun"))
    answer = await api("POST", f"{MAPS}?dryRun=All", config_map())
    assert (answer.status, answer.obj["data"]["mutated"]) == (201, "yes")
    assert hook.requests[0]["dryRun"] is True and hook.requests[0]["options"]["dryRun"] == ["All"]
    assert (await api("GET", f"{MAPS}/c")).status == 404


async def test_the_replicas_of_a_scale_are_mutated(api: Any, configured: Configured, hook: Hook) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    await api("POST", deployments, {"metadata": {"name": "d"}, "spec": spec})
    hook.reply = lambda review: patched(review, {"op": "replace", "path": "/spec/replicas", "value": 3})
    await configured.mutating(webhook(hook.by_url(), rule("deployments/scale", group="apps")))
    body = {"metadata": {"name": "d", "namespace": "default"}, "spec": {"replicas": 9}}
    answer = await api("PUT", f"{deployments}/d/scale", body)
    assert (answer.status, answer.obj["spec"]["replicas"]) == (200, 3)
    seen = hook.requests[0]
    assert seen["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert (seen["subResource"], seen["object"]["spec"], seen["oldObject"]["spec"]) == (
        "scale",
        {"replicas": 9},
        {"replicas": 1},
    )


async def test_a_mutation_in_another_version_reaches_what_is_stored(
    api: Any, configured: Configured, hook: Hook
) -> None:
    """A webhook on autoscaling/v2 sees a write of autoscaling/v1 in v2, and what it changes is changed."""
    hook.reply = lambda review: patched(review, {"op": "replace", "path": "/spec/maxReplicas", "value": 7})
    await configured.mutating(
        webhook(hook.by_url(), rule("horizontalpodautoscalers", group="autoscaling", version="v2"))
    )
    path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
    answer = await api("POST", path, {"metadata": {"name": "h"}, "spec": spec})
    assert (answer.status, answer.obj["apiVersion"]) == (201, "autoscaling/v1")
    assert (answer.obj["spec"]["maxReplicas"], answer.obj["spec"]["targetCPUUtilizationPercentage"]) == (7, 50)
    seen = hook.requests[0]
    assert (seen["kind"]["version"], seen["requestKind"]["version"]) == ("v2", "v1")
    assert seen["object"]["apiVersion"] == "autoscaling/v2" and seen["object"]["spec"]["metrics"]


async def test_who_owns_which_field_stays_told_whatever_a_webhook_does_to_it(
    api: Any, configured: Configured, hook: Hook
) -> None:
    nonsense = [{"manager": "nobody", "operation": "Perhaps"}]
    hook.reply = lambda review: patched(
        review, {"op": "add", "path": "/metadata/managedFields", "value": nonsense}, add("mutated")
    )
    await configured.mutating(webhook(hook.by_url()))
    answer = await api("POST", f"{MAPS}?fieldManager=me", config_map())
    assert answer.status == 201 and answer.obj["data"]["mutated"] == "yes"
    assert [entry["manager"] for entry in answer.obj["metadata"]["managedFields"]] == ["me"]
    assert hook.requests[0]["object"]["metadata"]["managedFields"][0]["manager"] == "me"


async def test_managed_fields_of_a_webhook_keep_nobody_from_changing_the_object(
    api: Any, configured: Configured, hook: Hook
) -> None:
    """Entries without a manager, elements of a kind that nobody knows: the next write must not stumble over them."""
    entry = {"operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1"}
    fields = {"f:data": {"g:foo": {}, 'k:{"a":1}': {}, "f:a": {}}}
    value = [{**entry, "fieldsV1": fields}, {**entry, "manager": "b", "fieldsV1": {"f:data": {}}}]
    operation = {"op": "add", "path": "/metadata/managedFields", "value": value}
    hook.reply = lambda review: patched(review, operation)
    await configured.mutating(webhook(hook.by_url(), rule("configmaps", operations=("CREATE",))))
    assert (await api("POST", MAPS, config_map())).status == 201
    answer = await api("PUT", f"{MAPS}/c", config_map(a="c"), user_agent="m/1")
    assert (answer.status, answer.obj["data"]) == (200, {"a": "c"})
