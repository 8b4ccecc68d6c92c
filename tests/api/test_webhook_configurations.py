"""The two webhook configurations: what is filled in, and every refusal to the word."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.registry import registry

GROUP = "admissionregistration.k8s.io"
KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def rule(**changes: Any) -> dict[str, Any]:
    return {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], **changes}


def webhook(**changes: Any) -> dict[str, Any]:
    return {
        "name": "hook.example.com",
        "clientConfig": {"url": "https://example.com/x"},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "rules": [rule()],
        **changes,
    }


def messages(*hooks: dict[str, Any], kind: str = KINDS[0]) -> list[str]:
    declared = registry().by_gvk(GROUP, "v1", kind)
    assert declared is not None
    return [error.message() for error in declared.validate({"metadata": {"name": "c"}, "webhooks": list(hooks)})]


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_filled_in(kind: str) -> None:
    declared = registry().by_gvk(GROUP, "v1", kind)
    assert declared is not None
    service = {"name": "s", "namespace": "n"}
    obj = {"webhooks": [webhook(clientConfig={"service": service})]}
    declared.default(obj)
    hook = obj["webhooks"][0]
    assert (hook["failurePolicy"], hook["matchPolicy"], hook["timeoutSeconds"]) == ("Fail", "Equivalent", 10)
    assert (hook["namespaceSelector"], hook["objectSelector"]) == ({}, {})
    assert (hook["rules"][0]["scope"], service["port"]) == ("*", 443)
    assert hook.get("reinvocationPolicy") == ("Never" if kind == KINDS[0] else None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_webhook_is_accepted(kind: str) -> None:
    service = {"name": "s", "namespace": "n", "port": 8443, "path": "/a/b/"}
    rules = [rule(operations=["*"], resources=["*/*"]), rule(resources=["pods", "pods/*", "*/status"], scope="Cluster")]
    second = webhook(name="b.example.com", clientConfig={"service": service}, rules=rules)
    assert messages(webhook(), second, kind=kind) == []


SUBDOMAIN = "a lowercase RFC 1123 subdomain must consist of"
FORM = "; desired format: https://host[/path]"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": ""}, "name: Required value"),
        (
            {"name": "a.b"},
            'name: Invalid value: "a.b": should be a domain with at least three segments separated by dots',
        ),
        ({"sideEffects": None}, "sideEffects: Required value: must specify one of None, NoneOnDryRun"),
        (
            {"sideEffects": "Some"},
            'sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"',
        ),
        ({"failurePolicy": "X"}, 'failurePolicy: Unsupported value: "X": supported values: "Fail", "Ignore"'),
        ({"matchPolicy": "X"}, 'matchPolicy: Unsupported value: "X": supported values: "Equivalent", "Exact"'),
        (
            {"reinvocationPolicy": "X"},
            'reinvocationPolicy: Unsupported value: "X": supported values: "IfNeeded", "Never"',
        ),
        (
            {"timeoutSeconds": 31},
            "timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
        ),
        (
            {"admissionReviewVersions": []},
            "admissionReviewVersions: Required value: must specify one of v1, v1beta1",
        ),
        (
            {"admissionReviewVersions": ["v2"]},
            'admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1',
        ),
        (
            {"admissionReviewVersions": ["v1", "v1"]},
            'admissionReviewVersions[1]: Invalid value: "v1": duplicate version',
        ),
        ({"clientConfig": {}}, "clientConfig: Required value: exactly one of url or service is required"),
        (
            {"clientConfig": {"url": "http://example.com"}},
            f"clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme{FORM}",
        ),
        (
            {"clientConfig": {"url": "https:///x"}},
            f'clientConfig.url: Invalid value: "": host must be provided{FORM}',
        ),
        (
            {"clientConfig": {"url": "https://u@h/"}},
            'clientConfig.url: Invalid value: "u": user information is not permitted in the URL',
        ),
        (
            {"clientConfig": {"url": "https://h/#f"}},
            'clientConfig.url: Invalid value: "f": fragments are not permitted in the URL',
        ),
        (
            {"clientConfig": {"url": "https://h/?q=1"}},
            'clientConfig.url: Invalid value: "q=1": query parameters are not permitted in the URL',
        ),
        (
            {"clientConfig": {"service": {"namespace": "n"}}},
            "clientConfig.service.name: Required value: service name is required",
        ),
        (
            {"clientConfig": {"service": {"name": "n"}}},
            "clientConfig.service.namespace: Required value: service namespace is required",
        ),
        (
            {"clientConfig": {"service": {"name": "n", "namespace": "n", "port": 70000}}},
            "clientConfig.service.port: Invalid value: 70000: "
            "port is not valid: must be between 1 and 65535, inclusive",
        ),
        (
            {"clientConfig": {"service": {"name": "n", "namespace": "n", "path": "ab"}}},
            "clientConfig.service.path: Invalid value: \"ab\": must start with a '/'",
        ),
        (
            {"clientConfig": {"service": {"name": "n", "namespace": "n", "path": "/a//b"}}},
            'clientConfig.service.path: Invalid value: "/a//b": segment[1] may not be empty',
        ),
        ({"rules": [rule(operations=[])]}, "rules[0].operations: Required value"),
        (
            {"rules": [rule(operations=["*", "CREATE"])]},
            'rules[0].operations: Invalid value: ["*","CREATE"]: '
            "if '*' is present, must not specify other operations",
        ),
        (
            {"rules": [rule(operations=["GET"])]},
            'rules[0].operations[0]: Unsupported value: "GET": '
            'supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"',
        ),
        ({"rules": [rule(apiGroups=[])]}, "rules[0].apiGroups: Required value"),
        (
            {"rules": [rule(apiGroups=["*", "a"])]},
            'rules[0].apiGroups: Invalid value: ["*","a"]: if \'*\' is present, must not specify other API groups',
        ),
        ({"rules": [rule(apiVersions=[])]}, "rules[0].apiVersions: Required value"),
        (
            {"rules": [rule(apiVersions=["v1", "*"])]},
            'rules[0].apiVersions: Invalid value: ["v1","*"]: if \'*\' is present, must not specify other API versions',
        ),
        ({"rules": [rule(apiVersions=[""])]}, "rules[0].apiVersions[0]: Required value"),
        ({"rules": [rule(resources=[])]}, "rules[0].resources: Required value"),
        ({"rules": [rule(resources=[""])]}, "rules[0].resources[0]: Required value"),
        (
            {"rules": [rule(resources=["*/*", "pods"])]},
            'rules[0].resources: Invalid value: ["*/*","pods"]: '
            "if '*/*' is present, must not specify other resources",
        ),
        (
            {"rules": [rule(resources=["*", "pods"])]},
            'rules[0].resources: Invalid value: ["*","pods"]: '
            "if '*' is present, must not specify other resources without subresources",
        ),
        (
            {"rules": [rule(resources=["pods/*", "pods/status"])]},
            'rules[0].resources[1]: Invalid value: "pods/status": '
            "if 'pods/*' is present, must not specify pods/status",
        ),
        (
            {"rules": [rule(resources=["*/status", "pods/status"])]},
            'rules[0].resources[1]: Invalid value: "pods/status": '
            "if '*/status' is present, must not specify pods/status",
        ),
        (
            {"rules": [rule(scope="Some")]},
            'rules[0].scope: Unsupported value: "Some": supported values: "*", "Cluster", "Namespaced"',
        ),
    ],
)
def test_what_is_wrong_is_told_to_the_word(changes: dict[str, Any], expected: str) -> None:
    assert messages(webhook(**changes)) == [f"webhooks[0].{expected}"]


def test_a_name_that_is_no_domain() -> None:
    assert messages(webhook(name="Hook.example.com"))[0].startswith(
        f'webhooks[0].name: Invalid value: "Hook.example.com": {SUBDOMAIN}'
    )


def test_names_are_told_apart() -> None:
    assert messages(webhook(), webhook()) == ['webhooks[1].name: Duplicate value: "hook.example.com"']


def test_a_validating_webhook_has_no_second_round_to_name() -> None:
    assert messages(webhook(reinvocationPolicy="X"), kind=KINDS[1]) == []
