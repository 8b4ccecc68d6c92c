"""Admission policies and bindings as they are judged when they are written."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.groups.admissionregistration import policies
from sampan.api.groups.admissionregistration.webhooks import validate_webhooks
from sampan.api.types import Obj

RULES = {
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
    "resourceRules": [
        {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    ],
}


def validating(**spec: Any) -> Obj:
    whole = {"failurePolicy": "Fail", "matchConstraints": RULES, "validations": [{"expression": "true"}], **spec}
    return {"metadata": {"name": "p"}, "spec": whole}


def mutating(**spec: Any) -> Obj:
    mutation = {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/a'}]"}}
    whole = {"failurePolicy": "Fail", "matchConstraints": RULES, "mutations": [mutation], "reinvocationPolicy": "Never"}
    return {"metadata": {"name": "p"}, "spec": {**whole, **spec}}


def told(found: list[Any]) -> list[str]:
    return [f"{error.field}: {error.detail}" for error in found]


def test_a_policy_that_is_right_has_no_faults() -> None:
    assert told(policies.validate_validating(validating())) == []
    assert told(policies.validate_mutating(mutating())) == []


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"failurePolicy": "No"}, 'spec.failurePolicy: Unsupported value: "No": supported values: "Fail", "Ignore"'),
        ({"matchConstraints": None}, "spec.matchConstraints: Required value"),
        (
            {"matchConstraints": {**RULES, "resourceRules": []}},
            "spec.matchConstraints.resourceRules: Required value",
        ),
        (
            {"validations": []},
            "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
        ),
        ({"validations": [{"expression": " "}]}, "spec.validations[0].expression: Required value: expression is not"),
        (
            {"validations": [{"expression": "object.x +"}]},
            'spec.validations[0].expression: Invalid value: "object.x +": compilation failed: ERROR: <input>:1:11: ',
        ),
        (
            {"validations": [{"expression": "object.replicas"}]},
            'spec.validations[0].expression: Invalid value: "object.replicas": must evaluate to bool but got dyn',
        ),
        (
            {"validations": [{"expression": "params.x == 1"}]},
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')",
        ),
        (
            {"validations": [{"expression": "true", "messageExpression": "1"}]},
            'spec.validations[0].messageExpression: Invalid value: "1": must evaluate to string but got int',
        ),
        (
            {"validations": [{"expression": "true", "messageExpression": "string(authorizer)"}]},
            "undeclared reference to 'authorizer'",
        ),
        (
            {"validations": [{"expression": "true", "message": "a\nb"}]},
            "message must not contain line breaks",
        ),
        (
            {"validations": [{"expression": "true", "reason": "Because"}]},
            'spec.validations[0].reason: Unsupported value: "Because": supported values: "Forbidden", "Invalid", ',
        ),
        (
            {"variables": [{"name": "a", "expression": "variables.b"}, {"name": "b", "expression": "1"}]},
            "spec.variables[0].expression: ",
        ),
        (
            {"variables": [{"name": "a", "expression": "1"}], "validations": [{"expression": "variables.a == 'x'"}]},
            "found no matching overload for '_==_' applied to '(int, string)'",
        ),
        ({"variables": [{"name": "in", "expression": "1"}]}, "name is not a valid CEL identifier"),
        (
            {"matchConditions": [{"name": "a", "expression": "true"}, {"name": "a", "expression": "1"}]},
            'spec.matchConditions[1].name: Duplicate value: "a"',
        ),
        ({"matchConditions": [{"name": "a", "expression": "1"}]}, "must evaluate to bool but got int"),
        (
            {"auditAnnotations": [{"key": "k", "valueExpression": "1"}]},
            "must evaluate to one of [string null_type] but",
        ),
        ({"paramKind": {"apiVersion": "a/b/c", "kind": "X"}}, "unexpected GroupVersion string: a/b/c"),
        ({"paramKind": {"apiVersion": "v1", "kind": "No-"}}, "may have mixed case, but should otherwise match"),
    ],
)
def test_a_validating_policy_is_refused_with_the_words_of_upstream(spec: Obj, fault: str) -> None:
    assert any(fault in text for text in told(policies.validate_validating(validating(**spec)))), spec


def test_parameters_are_known_to_policies_that_name_their_kind() -> None:
    spec = {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [{"expression": "params.x == 1"}]}
    assert told(policies.validate_validating(validating(**spec))) == []


@pytest.mark.parametrize(
    ("mutation", "fault"),
    [
        ({"patchType": "Merge"}, "spec.mutations[0].patchType: Unsupported value"),
        ({"patchType": "JSONPatch"}, "spec.mutations[0].jsonPatch: Required value"),
        (
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "1"}},
            "must evaluate to Object but got int",
        ),
        (
            {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{operation: 'add'}]"}},
            "undefined field 'operation'",
        ),
        (
            {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 1}]"}},
            "expected type of field 'op' is 'string' but provided type is 'int'",
        ),
    ],
)
def test_a_mutation_is_refused_that_gives_no_patch(mutation: Obj, fault: str) -> None:
    assert any(fault in text for text in told(policies.validate_mutating(mutating(mutations=[mutation])))), mutation


def test_mutations_are_objects_by_their_paths_and_operations() -> None:
    apply = "Object{metadata: Object.metadata{labels: Object.metadata.labels{a: 'b'}}}"
    patch = "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: dyn(1)}]"
    mutations = [
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": apply}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression": patch}},
    ]
    assert told(policies.validate_mutating(mutating(mutations=mutations))) == []


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"policyName": ""}, "spec.policyName: Required value"),
        ({"validationActions": []}, "spec.validationActions: Required value: at least one validation action"),
        ({"validationActions": ["Deny", "Warn"]}, "must not contain both Deny and Warn"),
        ({"validationActions": ["Deny", "Deny"]}, 'spec.validationActions[1]: Duplicate value: "Deny"'),
        ({"paramRef": {"parameterNotFoundAction": "Deny"}}, "one of name or selector must be specified"),
        (
            {"paramRef": {"name": "a", "selector": {}, "parameterNotFoundAction": "Deny"}},
            "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
        ),
    ],
)
def test_a_binding_is_refused_with_the_words_of_upstream(spec: Obj, fault: str) -> None:
    binding = {"spec": {"policyName": "p", "validationActions": ["Deny"], **spec}}
    assert any(fault in text for text in told(policies.validate_validating_binding(binding))), spec


@pytest.mark.parametrize("mutates", [True, False])
def test_match_conditions_of_webhooks_have_to_compile(mutates: bool) -> None:
    """AdmissionWebhook: Creates a mutating (validating) webhook configuration with an invalid CEL expression"""
    hook = {
        "name": "a.b.c",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://a/"},
        "matchConditions": [{"name": "c", "expression": "... [] bad"}],
    }
    found = told(validate_webhooks({"webhooks": [hook]}, reinvocation=mutates))
    start = 'webhooks[0].matchConditions[0].expression: Invalid value: "... [] bad": compilation failed: ERROR: <input>'
    assert any(text.startswith(start) for text in found), found
