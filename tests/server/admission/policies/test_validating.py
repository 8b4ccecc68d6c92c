"""ValidatingAdmissionPolicy on a whole server."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import DEPLOYMENTS, GROUP, MAPS, Policies, config_map, deployment, rules


async def test_a_deployment_is_refused_that_breaks_a_policy(api: Any, policies: Policies) -> None:
    """ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should validate against a Deployment"""
    await policies.validating(
        "deployment.policy.example.com",
        matchConstraints=rules("deployments", group="apps"),
        validations=[{"expression": "object.spec.replicas > 1", "messageExpression": "'wants ' + string(2)"}],
    )
    refused = await api("POST", DEPLOYMENTS, deployment())
    told = "ValidatingAdmissionPolicy 'deployment.policy.example.com' with binding"
    told += " 'deployment.policy.example.com-b' denied request: wants 2"
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert refused.message == f'deployments.apps "d" is forbidden: {told}'
    assert refused.obj["details"]["causes"] == [{"message": told}]
    assert (await api("POST", DEPLOYMENTS, deployment(replicas=2))).status == 201


async def test_expressions_refer_to_variables(api: Any, policies: Policies) -> None:
    """ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should allow expressions to refer variables."""
    await policies.validating(
        matchConstraints=rules("deployments", group="apps"),
        variables=[
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
        ],
        validations=[
            {"expression": "variables.replicas > 1"},
            {"expression": "variables.oddReplicas", "message": "odd ones only"},
        ],
    )
    assert "failed expression: variables.replicas > 1" in (await api("POST", DEPLOYMENTS, deployment())).message
    assert (await api("POST", DEPLOYMENTS, deployment(replicas=2))).message.endswith("denied request: odd ones only")
    assert (await api("POST", DEPLOYMENTS, deployment(replicas=3))).status == 201


@pytest.mark.parametrize(("reason", "status"), [("Forbidden", 403), ("Invalid", 422), ("RequestEntityTooLarge", 413)])
async def test_a_denial_has_the_reason_that_the_validation_names(
    api: Any, policies: Policies, reason: str, status: int
) -> None:
    await policies.validating(validations=[{"expression": "false", "message": " no ", "reason": reason}])
    refused = await api("POST", MAPS, config_map())
    assert (refused.status, refused.reason, refused.obj["code"]) == (status, reason, status)
    assert refused.message.endswith("denied request: no")


async def test_what_warns_lets_pass(api: Any, policies: Policies) -> None:
    await policies.validating(
        validations=[{"expression": "false", "message": "hm"}], binding={"validationActions": ["Warn", "Audit"]}
    )
    answer = await api("POST", MAPS, config_map())
    assert answer.status == 201
    assert answer.warnings == ["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p-b': hm"]


async def test_an_expression_that_fails_denies_unless_failures_are_ignored(api: Any, policies: Policies) -> None:
    rule = "object.data.missing == 'x'"
    await policies.validating("a", validations=[{"expression": rule}], failurePolicy="Ignore")
    assert (await api("POST", MAPS, config_map())).status == 201
    await policies.validating("b", validations=[{"expression": rule}])
    refused = await api("POST", MAPS, config_map("d"))
    assert refused.status == 422
    assert refused.message.endswith(f"expression '{rule}' resulted in error: no such key: missing")


async def test_an_expression_that_costs_too_much_is_ended(api: Any, policies: Policies) -> None:
    keys = "object.data"
    rule = f"{keys}.all(a, {keys}.all(b, {keys}.all(c, {keys}.all(d, a + b + c + d != 'x'))))"
    await policies.validating(validations=[{"expression": rule}])
    refused = await api("POST", MAPS, config_map(data={f"key{n:03}": "v" for n in range(60)}))
    assert refused.status == 422
    assert refused.message.endswith("operation cancelled: actual cost limit exceeded")


async def test_conditions_decide_whether_a_policy_looks_at_a_write(api: Any, policies: Policies) -> None:
    await policies.validating(
        validations=[{"expression": "false"}],
        matchConditions=[{"name": "labelled", "expression": "object.metadata.labels['look'] == 'yes'"}],
    )
    assert (await api("POST", MAPS, config_map("a", look="no"))).status == 201
    assert (await api("POST", MAPS, config_map("b", look="yes"))).status == 422
    refused = await api("POST", MAPS, config_map("c", other="x"))
    assert (
        "expression 'object.metadata.labels['look'] == 'yes'' resulted in error: no such key: look" in refused.message
    )


async def test_a_delete_is_seen_by_its_old_object(api: Any, policies: Policies) -> None:
    await api("POST", MAPS, config_map("a", keep="yes"))
    await policies.validating(
        matchConstraints=rules("configmaps", operations=("DELETE",)),
        validations=[{"expression": "object == null && !has(oldObject.metadata.labels)", "message": "kept"}],
    )
    assert (await api("DELETE", f"{MAPS}/a")).status == 422
    await api("POST", MAPS, config_map("b"))
    assert (await api("DELETE", f"{MAPS}/b")).status == 200


async def test_the_request_and_its_namespace_are_seen(api: Any, policies: Policies) -> None:
    seen = [
        "request.operation == 'CREATE'",
        "request.kind.kind == 'ConfigMap' && request.resource.resource == 'configmaps'",
        "request.namespace == 'default' && request.name == 'c'",
        "request.userInfo.username != '' && !request.dryRun",
        "oldObject == null",
        "namespaceObject.metadata.name == 'default'",
        "namespaceObject.metadata.creationTimestamp < timestamp('2200-01-01T00:00:00Z')",
        "namespaceObject.status.phase == 'Active'",
    ]
    await policies.validating(validations=[{"expression": each} for each in seen])
    answer = await api("POST", MAPS, config_map())
    assert answer.status == 201, answer.message


async def test_a_policy_is_about_what_its_rules_and_selectors_say(api: Any, policies: Policies) -> None:
    constraints = rules("configmaps")
    constraints["excludeResourceRules"] = [{**constraints["resourceRules"][0], "resourceNames": ["spared"]}]
    constraints["objectSelector"] = {"matchLabels": {"judged": "yes"}}
    await policies.validating(
        matchConstraints=constraints,
        validations=[{"expression": "false"}],
        binding={"matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}},
    )
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    assert (await api("POST", MAPS, config_map("a", judged="yes"))).status == 422
    assert (await api("POST", MAPS, config_map("spared", judged="yes"))).status == 201
    assert (await api("POST", MAPS, config_map("b", judged="no"))).status == 201
    assert (await api("POST", MAPS.replace("default", "other"), config_map("a", judged="yes"))).status == 201


async def test_parameters_are_found_by_name_or_selector(api: Any, policies: Policies) -> None:
    for name, limit, team in (("low", "1", "red"), ("high", "3", "red"), ("other", "0", "blue")):
        await api("POST", MAPS, config_map(name, {"limit": limit}, team=team))
    await policies.validating(
        matchConstraints=rules("secrets"),
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        validations=[
            {
                "expression": "object.data.size() <= int(params.data.limit)",
                "messageExpression": "string(params.metadata.name)",
            }
        ],
        binding={"paramRef": {"name": "high", "parameterNotFoundAction": "Deny"}},
    )
    secrets = "/api/v1/namespaces/default/secrets"
    two = {"stringData": {"a": "1", "b": "2"}}
    assert (await api("POST", secrets, {"metadata": {"name": "a"}, **two})).status == 201
    selector = {"matchLabels": {"team": "red"}}
    await policies.bind("s", paramRef={"selector": selector, "parameterNotFoundAction": "Deny"})
    refused = await api("POST", secrets, {"metadata": {"name": "b"}, **two})
    assert refused.message.endswith("with binding 's' denied request: low")


@pytest.mark.parametrize(("action", "status"), [("Deny", 422), ("Allow", 201)])
async def test_a_parameter_that_is_missing_denies_if_the_binding_says_so(
    api: Any, policies: Policies, action: str, status: int
) -> None:
    await policies.validating(
        paramKind={"apiVersion": "v1", "kind": "Secret"},
        validations=[{"expression": "params != null"}],
        binding={"paramRef": {"name": "none", "namespace": "default", "parameterNotFoundAction": action}},
    )
    answer = await api("POST", MAPS, config_map())
    assert answer.status == status
    told = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    assert status == 201 or answer.message.endswith(told)


async def test_a_kind_of_parameters_that_is_not_served_is_told(api: Any, policies: Policies) -> None:
    await policies.validating(
        paramKind={"apiVersion": "example.com/v1", "kind": "Limit"}, validations=[{"expression": "true"}]
    )
    told = "ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource "
    told += "referenced by paramKind: 'example.com/v1, Kind=Limit'"
    assert (await api("POST", MAPS, config_map())).message.endswith(told)


async def test_authorizers_are_asked(api: Any, policies: Policies) -> None:
    asked = [
        "authorizer.group('').resource('pods').namespace('default').check('create').allowed()",
        "authorizer.requestResource.check('delete').allowed()",
        "authorizer.path('/healthz').check('get').allowed()",
        "authorizer.serviceAccount('default', 'default').group('').resource('pods').check('get').error() == ''",
    ]
    await policies.validating(validations=[{"expression": each} for each in asked])
    answer = await api("POST", MAPS, config_map())
    assert answer.status == 201, answer.message


async def test_policies_themselves_are_not_judged(api: Any, policies: Policies) -> None:
    everything = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}
    await policies.validating(matchConstraints={"resourceRules": [everything]}, validations=[{"expression": "false"}])
    assert (await api("POST", MAPS, config_map())).status == 422
    assert (await api("DELETE", f"{GROUP}/validatingadmissionpolicies/p")).status == 200
    assert (await api("POST", MAPS, config_map())).status == 201


async def test_a_change_of_a_policy_counts_for_the_next_write(api: Any, policies: Policies) -> None:
    await policies.validating(validations=[{"expression": "false"}])
    assert (await api("POST", MAPS, config_map())).status == 422
    path = f"{GROUP}/validatingadmissionpolicies/p"
    policy = (await api("GET", path)).obj
    policy["spec"]["validations"] = [{"expression": "true"}]
    assert (await api("PUT", path, policy)).status == 200
    assert (await api("POST", MAPS, config_map())).status == 201


async def test_a_policy_sees_the_version_that_its_rules_name(api: Any, policies: Policies) -> None:
    autoscalers = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    constraints = rules("horizontalpodautoscalers", group="autoscaling")
    constraints["resourceRules"][0]["apiVersions"] = ["v2"]
    await policies.validating(
        matchConstraints=constraints,
        validations=[{"expression": "object.apiVersion == 'autoscaling/v2' && has(object.spec.metrics)"}],
    )
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    spec = {"maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 50}
    answer = await api("POST", autoscalers, {"metadata": {"name": "h"}, "spec": spec})
    assert answer.status == 201, answer.message


async def test_annotations_for_the_audit_log_fail_with_their_policy(api: Any, policies: Policies) -> None:
    await policies.validating(
        validations=[{"expression": "true"}],
        auditAnnotations=[{"key": "k", "valueExpression": "string(object.data.missing)"}],
    )
    assert (await api("POST", MAPS, config_map())).status == 422
