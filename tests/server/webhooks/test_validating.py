"""ValidatingAdmissionWebhook on a whole server: denials, failure policies, selectors, all the verbs that write."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from sampan.api.transport import Call

from .conftest import CONFIGURATIONS, Configured, Hook, OneService, allow, deny, patched, rule, webhook

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


def config_map(name: str = "c", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "data": {"a": "b"}}


def pod(name: str = "p") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


@pytest.mark.parametrize(
    ("status", "code", "reason", "message"),
    [
        ({}, 400, "", " without explanation"),
        ({"message": "not today"}, 400, "", ": not today"),
        ({"reason": "Because", "code": 418}, 418, "Because", ": Because"),
        ({"message": "m", "reason": "Forbidden", "code": 403}, 403, "Forbidden", ": m"),
        ({"message": "m", "code": 200, "status": "Success"}, 400, "", ": m"),
    ],
)
async def test_a_denial_is_told_with_the_webhooks_own_code_and_reason(
    api: Any, configured: Configured, hook: Hook, status: Any, code: int, reason: str, message: str
) -> None:
    hook.reply = lambda review: deny(review, **status)
    await configured.validating(webhook(hook.by_url()))
    answer = await api("POST", MAPS, config_map())
    assert (answer.status, answer.reason, answer.obj["code"]) == (code, reason, code)
    assert answer.message == f'admission webhook "hook.example.com" denied the request{message}'
    assert answer.obj["status"] == "Failure"


async def test_details_of_a_denial_are_kept(api: Any, configured: Configured, hook: Hook) -> None:
    causes = [{"reason": "FieldValueInvalid", "field": "data.a", "message": "bad"}]
    hook.reply = lambda review: deny(review, code=422, reason="Invalid", details={"causes": causes})
    await configured.validating(webhook(hook.by_url()))
    assert (await api("POST", MAPS, config_map())).causes == [("FieldValueInvalid", "data.a")]


async def test_all_are_asked_at_the_same_time_and_the_first_refusal_counts(
    api: Any, configured: Configured, hook: Hook
) -> None:
    everybody = asyncio.Barrier(3)

    async def meet(review: Any) -> Any:
        await everybody.wait()
        return deny(review, message="no") if review["request"]["uid"] else allow(review)

    hook.reply = meet
    await configured.validating(*(webhook(hook.by_url(), name=f"hook{n}.example.com") for n in range(3)))
    answer = await api("POST", MAPS, config_map())
    assert answer.message.endswith(" denied the request: no") and len(hook.asked) == 3


async def test_it_sees_what_mutation_left_and_may_not_patch(api: Any, configured: Configured, hook: Hook) -> None:
    operation = {"op": "add", "path": "/data/m", "value": "x"}
    hook.replies = {"/m": lambda review: patched(review, operation), "/v": lambda review: patched(review, operation)}
    await configured.mutating(webhook(hook.by_url("/m")))
    await configured.validating(webhook(hook.by_url("/v")))
    answer = await api("POST", MAPS, config_map())
    assert hook.requests[1]["object"]["data"] == {"a": "b", "m": "x"}
    text = "received invalid webhook response: validating webhook may not return response.patch"
    assert answer.message == f'Internal error occurred: failed calling webhook "hook.example.com": {text}'


async def test_warnings_reach_the_client_and_annotations_are_kept(api: Any, configured: Configured, hook: Hook) -> None:
    hook.reply = lambda review: allow(review, warnings=["careful"], auditAnnotations={"key": "value"})
    await configured.validating(webhook(hook.by_url()))
    request = api.request("POST", MAPS, config_map())
    assert (await api.server.handler(request)).status == 201
    assert request.warnings == ["careful"]
    assert request.audit_annotations == {"hook.example.com/key": "value"}


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_a_webhook_that_cannot_be_reached_is_judged_by_its_failure_policy(
    api: Any, configured: Configured, hook: Hook, unused_port: int, policy: str
) -> None:
    config = {"url": f"https://127.0.0.1:{unused_port}/x"}
    await configured.validating(webhook(config, failurePolicy=policy))
    answer = await api("POST", MAPS, config_map())
    if policy == "Ignore":
        assert answer.status == 201
        return
    assert (answer.status, answer.reason) == (500, "InternalError")
    assert answer.message == (
        'Internal error occurred: failed calling webhook "hook.example.com": failed to call webhook: '
        f'Post "https://127.0.0.1:{unused_port}/x?timeout=10s": dial tcp 127.0.0.1:{unused_port}: '
        "connect: connection refused"
    )


async def test_a_webhook_that_fails_open_still_denies_what_it_denies(
    api: Any, configured: Configured, hook: Hook
) -> None:
    hook.reply = deny
    await configured.validating(webhook(hook.by_url(), failurePolicy="Ignore"))
    assert (await api("POST", MAPS, config_map())).status == 400


async def test_a_service_that_is_not_there_is_named(api: Any, configured: Configured, hook: Hook) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should unconditionally reject operations on fail closed webhook"""
    service = {"service": {"namespace": "default", "name": "nobody", "path": "/v"}}
    await configured.validating(webhook(service))
    answer = await api("POST", MAPS, config_map())
    assert (answer.status, answer.message) == (
        500,
        'Internal error occurred: failed calling webhook "hook.example.com": failed to call webhook: '
        'Post "https://nobody.default.svc:443/v?timeout=10s": service "nobody" not found',
    )


async def test_a_dry_run_is_refused_where_a_webhook_has_side_effects(
    api: Any, configured: Configured, hook: Hook
) -> None:
    """No such webhook can be created: one that was stored before is held to it all the same."""
    stored = {
        "kind": "ValidatingWebhookConfiguration",
        "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": {"name": "v"},
        "webhooks": [webhook(hook.by_url(), sideEffects="Some")],
    }
    key = "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/v"
    await api.server.store.commit(key, 0, orjson.dumps(stored))
    answer = await api("POST", f"{MAPS}?dryRun=All", config_map())
    assert (answer.status, answer.reason) == (400, "BadRequest")
    assert answer.message == 'admission webhook "hook.example.com" does not support dry run'
    assert not hook.asked
    assert (await api("POST", MAPS, config_map())).status == 201 and len(hook.asked) == 1


@pytest.mark.parametrize(("namespace", "asked"), [("watched", 1), ("default", 0)])
async def test_only_namespaces_that_are_selected_are_asked_about(
    api: Any, configured: Configured, hook: Hook, namespace: str, asked: int
) -> None:
    body = {"metadata": {"name": "watched", "labels": {"watch": "yes"}}}
    await api("POST", "/api/v1/namespaces", body)
    selector = {"matchLabels": {"watch": "yes"}}
    await configured.validating(webhook(hook.by_url(), namespaceSelector=selector))
    assert (await api("POST", f"/api/v1/namespaces/{namespace}/configmaps", config_map())).status == 201
    assert len(hook.asked) == asked


async def test_a_namespace_is_selected_by_its_own_labels(api: Any, configured: Configured, hook: Hook) -> None:
    selector = {"matchLabels": {"watch": "yes"}}
    await configured.validating(webhook(hook.by_url(), rule("namespaces"), namespaceSelector=selector))
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "a", "labels": {"watch": "yes"}}})
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "b"}})
    assert [(seen["name"], seen["namespace"]) for seen in hook.requests] == [("a", "a")]


async def test_an_object_is_selected_by_what_it_is_or_was(api: Any, configured: Configured, hook: Hook) -> None:
    await configured.validating(webhook(hook.by_url(), objectSelector={"matchLabels": {"x": "1"}}))
    await api("POST", MAPS, config_map())
    assert not hook.asked
    await api("PUT", f"{MAPS}/c", config_map(x="1"))
    await api("PUT", f"{MAPS}/c", config_map())
    await api("PUT", f"{MAPS}/c", config_map())
    await api("DELETE", f"{MAPS}/c")
    assert len(hook.asked) == 2


async def test_a_deletion_shows_what_goes(api: Any, configured: Configured, hook: Hook) -> None:
    await api("POST", MAPS, config_map())
    hook.reply = lambda review: deny(review, message="stay")
    await configured.validating(webhook(hook.by_url(), rule("configmaps", operations=("DELETE",))))
    answer = await api("DELETE", f"{MAPS}/c?gracePeriodSeconds=7&propagationPolicy=Orphan")
    assert answer.message == 'admission webhook "hook.example.com" denied the request: stay'
    seen = hook.requests[0]
    assert (seen["object"], seen["oldObject"]["metadata"]["name"], seen["name"]) == (None, "c", "c")
    assert seen["options"] == {
        "kind": "DeleteOptions",
        "apiVersion": "meta.k8s.io/v1",
        "gracePeriodSeconds": 7,
        "propagationPolicy": "Orphan",
    }
    assert (await api("GET", f"{MAPS}/c")).status == 200


async def test_each_object_of_a_collection_is_asked_about(api: Any, configured: Configured, hook: Hook) -> None:
    for name in ("a", "b"):
        await api("POST", MAPS, config_map(name))
    hook.reply = lambda review: deny(review) if review["request"]["name"] == "b" else allow(review)
    await configured.validating(webhook(hook.by_url(), rule("configmaps", operations=("DELETE",))))
    assert (await api("DELETE", MAPS)).status == 400
    assert (await api("GET", f"{MAPS}/b")).status == 200
    hook.reply = allow
    assert (await api("DELETE", MAPS)).status == 200
    assert {seen["name"] for seen in hook.requests} == {"a", "b"}
    assert (await api("GET", MAPS)).obj["items"] == []


@pytest.mark.parametrize("subresource", ["exec", "attach", "portforward", "proxy"])
async def test_a_connection_to_a_pod_can_be_denied(
    api: Any, configured: Configured, hook: Hook, subresource: str
) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny attaching pod"""
    await api("POST", PODS, pod())
    hook.reply = lambda review: deny(review, message=f"no {subresource}")
    connect = rule(f"pods/{subresource}", operations=("CONNECT",))
    await configured.validating(webhook(hook.by_url(), connect))
    answer = await api("GET", f"{PODS}/p/{subresource}?stdout=1&command=ls&container=c")
    assert answer.message == f'admission webhook "hook.example.com" denied the request: no {subresource}'
    seen = hook.requests[0]
    kinds = {"exec": "Exec", "attach": "Attach", "portforward": "PortForward", "proxy": "Proxy"}
    assert seen["kind"] == {"group": "", "version": "v1", "kind": f"Pod{kinds[subresource]}Options"}
    assert seen["resource"] == {"group": "", "version": "v1", "resource": "pods"}
    assert (seen["operation"], seen["subResource"], seen["name"]) == ("CONNECT", subresource, "p")
    assert seen["options"] is None and seen["oldObject"] is None
    if subresource == "exec":
        assert seen["object"]["command"] == ["ls"]


@pytest.mark.parametrize("resources", ["pods", "pods/status", "pods/*", "*/*", "*"])
async def test_subresources_are_asked_about_by_their_names(
    api: Any, configured: Configured, hook: Hook, resources: str
) -> None:
    await api("POST", PODS, pod())
    await configured.validating(webhook(hook.by_url(), rule(resources, operations=("UPDATE",))))
    stored = (await api("GET", f"{PODS}/p")).obj
    stored["status"]["phase"] = "Running"
    assert (await api("PUT", f"{PODS}/p/status", stored)).status == 200
    assert len(hook.asked) == (1 if "/" in resources else 0)
    if hook.asked:
        assert (hook.requests[0]["kind"]["kind"], hook.requests[0]["subResource"]) == ("Pod", "status")


async def test_an_eviction_can_be_denied(api: Any, configured: Configured, hook: Hook) -> None:
    await api("POST", PODS, pod())
    hook.reply = deny
    await configured.validating(webhook(hook.by_url(), rule("pods/eviction")))
    body = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "p", "namespace": "default"}}
    assert (await api("POST", f"{PODS}/p/eviction", body)).status == 400
    assert hook.requests[0]["kind"] == {"group": "policy", "version": "v1", "kind": "Eviction"}
    assert (await api("GET", f"{PODS}/p")).status == 200


@pytest.mark.parametrize(("scope", "seen"), [("*", ["n", "c"]), ("Namespaced", ["c"]), ("Cluster", ["n"])])
async def test_a_rule_may_be_about_one_scope(
    api: Any, configured: Configured, hook: Hook, scope: str, seen: list[str]
) -> None:
    await configured.validating(webhook(hook.by_url(), rule("*", operations=("CREATE",)) | {"scope": scope}))
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
    await api("POST", MAPS, config_map())
    assert [request["name"] for request in hook.requests] == seen


@pytest.mark.parametrize(("policy", "asked"), [("Exact", 0), ("Equivalent", 1)])
async def test_another_version_of_the_resource_matches_unless_it_must_be_exact(
    api: Any, configured: Configured, hook: Hook, policy: str, asked: int
) -> None:
    hpa = rule("horizontalpodautoscalers", group="autoscaling", version="v2")
    await configured.validating(webhook(hook.by_url(), hpa, matchPolicy=policy))
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    body = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}}
    path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    assert (await api("POST", path, body)).status == 201
    assert len(hook.asked) == asked
    if asked:
        seen = hook.requests[0]
        assert seen["resource"] == {"group": "autoscaling", "version": "v2", "resource": "horizontalpodautoscalers"}
        assert seen["requestResource"]["version"] == "v1"
        assert seen["object"]["apiVersion"] == "autoscaling/v2"


async def test_what_the_server_writes_for_itself_is_nobodys_to_refuse(
    api: Any, configured: Configured, hook: Hook
) -> None:
    hook.reply = deny
    await configured.validating(webhook(hook.by_url(), rule("*")))
    assert (await api("POST", MAPS, config_map("theirs"))).status == 400
    body = {**config_map("own"), "kind": "ConfigMap", "apiVersion": "v1"}
    await api.server.local_transport().call(Call("POST", MAPS, body=body))
    assert (await api("GET", f"{MAPS}/own")).status == 200 and len(hook.asked) == 1


async def test_a_change_of_a_configuration_is_in_force_with_the_next_write(
    api: Any, configured: Configured, hook: Hook
) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] patching/updating a validating webhook should work"""
    hook.reply = deny
    made = await configured.validating(webhook(hook.by_url(), rule("configmaps", operations=("CREATE",))))
    path = f"{CONFIGURATIONS}/validatingwebhookconfigurations/v"
    assert (await api("POST", MAPS, config_map("a"))).status == 400
    made["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]
    assert (await api("PUT", path, made)).status == 200
    assert (await api("POST", MAPS, config_map("b"))).status == 201
    patch = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]
    assert (await api("PATCH", path, patch, content_type="application/json-patch+json")).status == 200
    assert (await api("POST", MAPS, config_map("c"))).status == 400
    assert (await api("DELETE", path)).status == 200
    assert (await api("POST", MAPS, config_map("d"))).status == 201


async def test_a_webhook_is_found_by_its_service(
    api: Any, configured: Configured, hook: Hook, service: OneService
) -> None:
    """An ExternalName leads from the Service to this machine; the certificate is the Service's."""
    body = {"metadata": {"name": "hook"}, "spec": {"type": "ExternalName", "externalName": "localhost"}}
    assert (await api("POST", "/api/v1/namespaces/default/services", body)).status == 201
    config = hook.by_service("/path")
    config["service"]["port"] = hook.port
    await configured.validating(webhook(config))
    answer = await api("POST", MAPS, config_map())
    assert answer.status == 201, answer.message
    assert [path for path, _, _ in hook.asked] == ["/path?timeout=10s"]


async def test_a_write_that_takes_something_asks_nobody_any_more_when_its_client_is_gone(
    api: Any, configured: Configured, hook: Hook
) -> None:
    """A Service's address is settled whatever becomes of the request; a silent webhook must not keep it waiting."""
    services = "/api/v1/namespaces/default/services"
    service = {"metadata": {"name": "s"}, "spec": {"clusterIP": "10.96.0.77", "ports": [{"port": 80}]}}
    hook.reply = hook.silence
    await configured.validating(webhook(hook.by_url(), rule("services"), timeoutSeconds=30))
    hook.reached.clear()
    request = asyncio.ensure_future(api("POST", services, service))
    await hook.reached.wait()
    (write,) = [task for task in asyncio.all_tasks() if task.get_name() == "write"]
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    done, _ = await asyncio.wait([write], timeout=10)
    assert done and write.cancelled()
    hook.reply = allow
    assert (await api("POST", services, service)).status == 201
