"""``matchConditions``: what an expression says of a write, and what becomes of it when it cannot say."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import CONFIGURATIONS, Configured, Hook, deny, patched, rule, webhook

MAPS = "/api/v1/namespaces/default/configmaps"
KINDS = ("mutating", "validating")


def config_map(name: str = "c", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data or {"a": "b"}}


def condition(expression: str, name: str = "when") -> dict[str, str]:
    return {"name": name, "expression": expression}


def conditional(hook: Hook, *expressions: str, **others: Any) -> Any:
    conditions = [condition(each, f"when-{number}") for number, each in enumerate(expressions)]
    return webhook(hook.by_url(), matchConditions=conditions, **others)


@pytest.mark.parametrize("kind", KINDS)
async def test_conditions_are_kept_as_written_and_may_be_changed(
    api: Any, configured: Configured, hook: Hook, kind: str
) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should be able to create and update mutating webhook configurations
    with match conditions; AdmissionWebhook [Privileged:ClusterAdmin] should be able to create and update validating
    webhook configurations with match conditions"""
    made = await getattr(configured, kind)(conditional(hook, "object.kind == 'Pod'"), name="c")
    assert made["webhooks"][0]["matchConditions"] == [condition("object.kind == 'Pod'", "when-0")]
    made["webhooks"][0]["matchConditions"] = [condition("true", "always")]
    path = f"{CONFIGURATIONS}/{kind}webhookconfigurations/c"
    assert (await api("PUT", path, made)).status == 200
    assert (await api("GET", path)).obj["webhooks"][0]["matchConditions"] == [condition("true", "always")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("expression", ["... [] bad expression", "object.", "unknown.field == 1"])
async def test_what_does_not_compile_is_refused(api: Any, hook: Hook, kind: str, expression: str) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should reject mutating webhook configurations with invalid match
    conditions; AdmissionWebhook [Privileged:ClusterAdmin] should reject validating webhook configurations with invalid
    match conditions"""
    body = {"metadata": {"name": "c"}, "webhooks": [conditional(hook, expression)]}
    answer = await api("POST", f"{CONFIGURATIONS}/{kind}webhookconfigurations", body)
    assert answer.status == 422 and "compilation failed" in answer.message
    assert answer.causes[0] == ("FieldValueInvalid", "webhooks[0].matchConditions[0].expression")


async def test_all_but_one_name_are_mutated(api: Any, configured: Configured, hook: Hook) -> None:
    """AdmissionWebhook [Privileged:ClusterAdmin] should mutate everything except 'skip-me' configmaps"""
    hook.reply = lambda review: patched(review, {"op": "add", "path": "/data/mutated", "value": "yes"})
    await configured.mutating(conditional(hook, 'object.metadata.name != "skip-me"'))
    assert "mutated" not in (await api("POST", MAPS, config_map("skip-me"))).obj["data"]
    assert (await api("POST", MAPS, config_map("other"))).obj["data"]["mutated"] == "yes"


@pytest.mark.parametrize(
    ("expressions", "asked"),
    [
        (["request.operation == 'CREATE'", "request.namespace == 'default'"], True),
        (["true", "false"], False),
        (["request.userInfo.username == 'root' && 'admins' in request.userInfo.groups"], True),
        (["request.resource.resource == 'configmaps' && request.kind.kind == 'ConfigMap'"], True),
        (["oldObject == null && !request.dryRun && request.name == 'c'"], True),
        (["authorizer.requestResource.check('create').allowed()"], True),
        (["authorizer.serviceAccount('default', 'x').group('').resource('configmaps').check('get').allowed()"], False),
        (["false", "object.missing == 1"], False),
        (["object.missing == 1", "false"], False),
        (["object.data.all(key, key.size() < 3)"], True),
    ],
)
async def test_a_webhook_is_asked_when_all_its_conditions_hold(
    guarded_api: Any, hook: Hook, expressions: list[str], asked: bool
) -> None:
    await Configured(guarded_api).validating(conditional(hook, *expressions))
    answer = await guarded_api("POST", MAPS, config_map())
    assert answer.status == 201, answer.message
    assert len(hook.asked) == asked


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_a_condition_that_fails_is_judged_by_the_failure_policy(
    api: Any, configured: Configured, hook: Hook, policy: str
) -> None:
    await configured.validating(conditional(hook, "true", "object.missing == 1", failurePolicy=policy))
    answer = await api("POST", MAPS, config_map())
    assert not hook.asked
    if policy == "Ignore":
        assert answer.status == 201
    else:
        assert (answer.status, answer.reason) == (403, "Forbidden")
        text = "expression 'object.missing == 1' resulted in error: no such key: missing"
        assert answer.message == f'configmaps "c" is forbidden: {text}'


async def test_a_deletion_is_judged_by_what_goes(api: Any, configured: Configured, hook: Hook) -> None:
    await api("POST", MAPS, config_map("keep"))
    await api("POST", MAPS, config_map("drop"))
    hook.reply = deny
    kept = "object == null && oldObject.metadata.name == 'keep'"
    delete = rule("configmaps", operations=("DELETE",))
    await configured.validating(webhook(hook.by_url(), delete, matchConditions=[condition(kept)]))
    assert (await api("DELETE", f"{MAPS}/drop")).status == 200
    assert (await api("DELETE", f"{MAPS}/keep")).status == 400


async def test_a_condition_sees_the_version_that_the_rule_names(api: Any, configured: Configured, hook: Hook) -> None:
    hpa = rule("horizontalpodautoscalers", group="autoscaling", version="v2")
    seen = condition("object.apiVersion == 'autoscaling/v2' && request.requestKind.version == 'v1'")
    await configured.validating(webhook(hook.by_url(), hpa, matchConditions=[seen]))
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    body = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}}
    path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    assert (await api("POST", path, body)).status == 201 and len(hook.asked) == 1


async def test_a_hostile_condition_ends_its_own_writes_only(api: Any, configured: Configured, hook: Hook) -> None:
    """It runs in a thread until its budget is spent, while others are answered."""
    many = "object.data.all(a, object.data.all(b, object.data.all(c, a + b + c != '')))"
    await configured.validating(conditional(hook, many))
    data = {f"k{number}": "v" for number in range(400)}
    answer = await api("POST", MAPS, config_map(**data))
    assert answer.status == 403 and "cost" in answer.message
    assert (await api("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})).status == 201


async def test_a_false_condition_and_one_that_fails_are_counted(api: Any, configured: Configured, hook: Hook) -> None:
    await configured.validating(conditional(hook, "false"))
    await configured.mutating(conditional(hook, "object.missing == 1", failurePolicy="Ignore"))
    await api("POST", MAPS, config_map())
    lines = (await api("GET", "/metrics")).obj.splitlines()
    name, prefix = 'kind="webhook",name="hook.example.com",operation="CREATE"', "apiserver_admission_match_condition_"
    assert f'{prefix}exclusions_total{{{name},type="validating"}} 1.0' in lines
    assert f'{prefix}exclusions_total{{{name},type="admit"}} 1.0' in lines
    assert f'{prefix}evaluation_errors_total{{{name},type="admit"}} 1.0' in lines
