"""Upstream's conformance requirements on admission webhooks, against a real HTTPS webhook; each test names its own.

Those that are shown elsewhere: "fail closed", "deny attach", "update validating webhook" in ``test_validating``,
"ordered mutation", "mutation with defaulting" in ``test_mutating``.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.server.extensions.conftest import Sea, definition, version

from .conftest import CONFIGURATIONS, Configured, Hook, allow, deny, patched, rule, webhook

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
BOATS = "/apis/example.com/v1/namespaces/default/boats"
MUTATING = f"{CONFIGURATIONS}/mutatingwebhookconfigurations"
VALIDATING = f"{CONFIGURATIONS}/validatingwebhookconfigurations"


def config_map(name: str = "c", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data or {"a": "b"}}


def pod(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def mark(review: Any) -> Any:
    return patched(review, {"op": "add", "path": "/data/mutated", "value": "yes"})


@pytest.fixture
def sea(api: Any) -> Sea:
    return Sea(api)


async def test_listed_mutating_webhooks_act_until_the_collection_is_deleted(
    api: Any, configured: Configured, hook: Hook
) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] listing mutating webhooks should work"""
    hook.reply = mark
    for number in range(10):
        await configured.mutating(webhook(hook.by_url()), name=f"m{number}")
    assert len((await api("GET", f"{MUTATING}?labelSelector=by%3Dtest")).obj["items"]) == 10
    assert (await api("POST", MAPS, config_map("a"))).obj["data"]["mutated"] == "yes"
    assert (await api("DELETE", f"{MUTATING}?labelSelector=by%3Dtest")).status == 200
    assert (await api("GET", MUTATING)).obj["items"] == []
    assert (await api("POST", MAPS, config_map("b"))).obj["data"] == {"a": "b"}


async def test_listed_validating_webhooks_act_until_the_collection_is_deleted(
    api: Any, configured: Configured, hook: Hook
) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] listing validating webhooks should work"""
    hook.reply = deny
    for number in range(10):
        await configured.validating(webhook(hook.by_url()), name=f"v{number}")
    assert len((await api("GET", f"{VALIDATING}?labelSelector=by%3Dtest")).obj["items"]) == 10
    assert (await api("POST", MAPS, config_map("a"))).status == 400
    assert (await api("DELETE", f"{VALIDATING}?labelSelector=by%3Dtest")).status == 200
    assert (await api("POST", MAPS, config_map("a"))).status == 201


async def test_a_mutating_webhook_that_is_changed_acts_as_changed(api: Any, configured: Configured, hook: Hook) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] patching/updating a mutating webhook should work"""
    hook.reply = mark
    made = await configured.mutating(webhook(hook.by_url(), rule("configmaps", operations=("CREATE",))))
    made["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]
    assert (await api("PUT", f"{MUTATING}/m", made)).status == 200
    assert "mutated" not in (await api("POST", MAPS, config_map("a"))).obj["data"]
    patch = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]
    assert (await api("PATCH", f"{MUTATING}/m", patch, content_type="application/json-patch+json")).status == 200
    assert (await api("POST", MAPS, config_map("b"))).obj["data"]["mutated"] == "yes"


async def test_pods_and_config_maps_that_do_not_comply_are_denied(api: Any, configured: Configured, hook: Hook) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny pod and configmap creation"""

    def judge(review: Any) -> Any:
        data = review["request"]["object"].get("data") or {}
        return deny(review, message="the configmap contains unwanted key and value") if "bad" in data else allow(review)

    async def judge_pod(review: Any) -> Any:
        if review["request"]["object"]["metadata"]["name"] == "hanging":
            return await hook.silence(review)
        return deny(review, message="the pod contains unwanted container name")

    hook.replies = {"/configmaps": judge, "/pods": judge_pod}
    body = {"metadata": {"name": "exempt", "labels": {"skip": "yes"}}}
    await api("POST", "/api/v1/namespaces", body)
    selector = {"matchExpressions": [{"key": "skip", "operator": "NotIn", "values": ["yes"]}]}
    both = {"namespaceSelector": selector}
    await configured.validating(
        webhook(hook.by_url("/pods"), rule("pods"), name="pods.example.com", timeoutSeconds=1, **both),
        webhook(hook.by_url("/configmaps"), name="configmaps.example.com", **both),
    )
    answer = await api("POST", PODS, pod("p"))
    assert "the pod contains unwanted container name" in answer.message and answer.status == 400
    hanging = await api("POST", PODS, pod("hanging"))
    assert hanging.status == 500 and hanging.message.endswith(": context deadline exceeded")
    assert "the configmap contains unwanted key" in (await api("POST", MAPS, config_map(bad="x"))).message
    assert (await api("POST", MAPS, config_map(good="x"))).status == 201
    assert (await api("PUT", f"{MAPS}/c", config_map(bad="x"))).status == 400
    merge = {"content_type": "application/merge-patch+json"}
    assert (await api("PATCH", f"{MAPS}/c", {"data": {"bad": "x"}}, **merge)).status == 400
    exempt = "/api/v1/namespaces/exempt/configmaps"
    assert (await api("POST", exempt, config_map(bad="x"))).status == 201


async def test_a_definition_of_custom_resources_can_be_denied(api: Any, configured: Configured, hook: Hook) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should deny crd creation"""
    hook.reply = lambda review: deny(review, message="the crd contains unwanted label")
    await configured.validating(
        webhook(hook.by_url(), rule("*", operations=("CREATE",), group="apiextensions.k8s.io", version="*"))
    )
    answer = await api("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition())
    assert "the crd contains unwanted label" in answer.message
    assert hook.requests[0]["kind"]["kind"] == "CustomResourceDefinition"


@pytest.mark.parametrize(
    ("seconds", "policy", "status"), [(1, "Fail", 500), (1, "Ignore", 201), (10, "Fail", 201), (10, "Ignore", 201)]
)
async def test_a_slow_webhook_has_the_time_that_is_configured(
    api: Any, configured: Configured, hook: Hook, seconds: int, policy: str, status: int
) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should honor timeout. The webhook of ten seconds answers once its
    write waits for it."""

    async def answer_late(review: Any) -> Any:
        await asyncio.sleep(0)
        return allow(review)

    hook.reply = hook.silence if seconds == 1 else answer_late
    await configured.validating(webhook(hook.by_url(), timeoutSeconds=seconds, failurePolicy=policy))
    loop = asyncio.get_running_loop()
    started = loop.time()
    answer = await api("POST", MAPS, config_map())
    assert answer.status == status, answer.message
    if seconds == 1:
        assert loop.time() - started >= 1
    assert hook.asked[0][0].endswith(f"?timeout={seconds}s")


async def test_discovery_names_the_webhook_resources(api: Any) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should include webhook resources in discovery documents"""
    groups = {group["name"]: group for group in (await api("GET", "/apis")).obj["groups"]}
    versions = groups["admissionregistration.k8s.io"]["versions"]
    assert {"groupVersion": "admissionregistration.k8s.io/v1", "version": "v1"} in versions
    listed = (await api("GET", CONFIGURATIONS)).obj["resources"]
    names = {resource["name"] for resource in listed}
    assert {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} <= names


async def test_webhook_configurations_are_nobodys_to_change_or_keep(
    api: Any, configured: Configured, hook: Hook
) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should not be able to mutate or prevent deletion of webhook
    configuration objects"""
    own = rule("*", group="admissionregistration.k8s.io", version="*")
    everything = rule("*/*", group="*", version="*")
    label = {"op": "add", "path": "/metadata/labels/changed", "value": "yes"}
    hook.replies = {"/m": lambda review: patched(review, label), "/v": deny}
    await configured.mutating(webhook(hook.by_url("/m"), own, everything))
    await configured.validating(webhook(hook.by_url("/v"), own, everything))
    for create, path in ((configured.mutating, MUTATING), (configured.validating, VALIDATING)):
        made = await create(webhook(hook.by_url()), name="other")
        assert made["metadata"]["labels"] == {"by": "test"}
        assert (await api("DELETE", f"{path}/other")).status == 200
    assert not hook.asked


async def test_custom_resources_can_be_denied(sea: Sea, configured: Configured, hook: Hook) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny custom resource creation, update and
    deletion"""
    await sea.define(definition())

    def judge(review: Any) -> Any:
        request = review["request"]
        seen = request["object"] or request["oldObject"]
        unwanted = seen["spec"].get("colour") == "unwanted" or request["operation"] == "DELETE"
        return deny(review, message="the custom resource contains unwanted data") if unwanted else allow(review)

    hook.reply = judge
    await configured.validating(webhook(hook.by_url(), rule("boats", group="example.com", version="*")))
    boat = {"metadata": {"name": "b"}, "spec": {"colour": "red"}, "kind": "Boat", "apiVersion": "example.com/v1"}
    bad = {**boat, "spec": {"colour": "unwanted"}}
    assert "the custom resource contains unwanted data" in (await sea("POST", BOATS, bad)).message
    assert (await sea("POST", BOATS, boat)).status == 201
    merge = {"content_type": "application/merge-patch+json"}
    assert (await sea("PATCH", f"{BOATS}/b", {"spec": {"colour": "unwanted"}}, **merge)).status == 400
    assert (await sea("DELETE", f"{BOATS}/b")).status == 400
    assert (await sea("GET", f"{BOATS}/b")).obj["spec"] == {"colour": "red"}


async def test_a_custom_resource_is_mutated_and_pruned(sea: Sea, configured: Configured, hook: Hook) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should mutate custom resource; AdmissionWebhook
    [Privileged:ClusterAdmin] should mutate custom resource with pruning"""
    await sea.define(definition())

    def first(review: Any) -> Any:
        return patched(review, {"op": "add", "path": "/spec/colour", "value": "blue"})

    def second(review: Any) -> Any:
        assert review["request"]["object"]["spec"]["colour"] == "blue"
        return patched(review, {"op": "add", "path": "/spec/unknown", "value": "x"})

    hook.replies = {"/1": first, "/2": second}
    boats = rule("boats", operations=("CREATE",), group="example.com", version="*")
    hooks = [webhook(hook.by_url(f"/{number}"), boats, name=f"hook{number}.example.com") for number in (1, 2)]
    await configured.mutating(*hooks)
    boat = {"metadata": {"name": "b"}, "spec": {"masts": 1}, "kind": "Boat", "apiVersion": "example.com/v1"}
    answer = await sea("POST", BOATS, boat)
    assert (answer.status, answer.obj["spec"]) == (201, {"masts": 1, "colour": "blue"}), answer.obj


async def test_a_custom_resource_stored_in_another_version_is_mutated(
    sea: Sea, configured: Configured, hook: Hook
) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should mutate custom resource with different stored version"""
    await sea.define(definition("boats", version("v1"), version("v2", storage=False)))
    hook.reply = lambda review: patched(review, {"op": "add", "path": "/spec/colour", "value": "blue"})
    await configured.mutating(webhook(hook.by_url(), rule("boats", group="example.com", version="v1")))
    boat = {"metadata": {"name": "b"}, "spec": {"masts": 1}, "kind": "Boat", "apiVersion": "example.com/v1"}
    assert (await sea("POST", BOATS, boat)).obj["spec"]["colour"] == "blue"
    swapped = [version("v1", storage=False), version("v2")]
    await sea.change("boats.example.com", {"spec": {"versions": swapped}})
    merge = {"content_type": "application/merge-patch+json"}

    async def patched_in_v2() -> bool:
        path = BOATS.replace("/v1/", "/v2/")
        answer = await sea("PATCH", f"{path}/b", {"spec": {"masts": 2}}, **merge)
        assert answer.status == 200, answer.obj
        return bool(answer.obj["spec"] == {"masts": 2, "colour": "blue"})

    await sea.eventually(patched_in_v2)
    seen = hook.requests[-1]
    assert (seen["kind"]["version"], seen["requestKind"]["version"]) == ("v1", "v2")
    assert seen["object"]["apiVersion"] == "example.com/v1"
