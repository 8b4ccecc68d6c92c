"""The four kinds of admission policies as resources."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import GROUP, rules

CONSTRAINTS = {"matchConstraints": rules("configmaps")}
MUTATION = {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/x'}]"}}
KINDS = {
    "validatingadmissionpolicies": {**CONSTRAINTS, "validations": [{"expression": "true"}]},
    "validatingadmissionpolicybindings": {"policyName": "p", "validationActions": ["Deny"]},
    "mutatingadmissionpolicies": {**CONSTRAINTS, "reinvocationPolicy": "Never", "mutations": [MUTATION]},
    "mutatingadmissionpolicybindings": {"policyName": "p"},
}
MERGE = {"content-type": "application/merge-patch+json"}


@pytest.mark.parametrize("plural", KINDS)
async def test_a_kind_supports_every_operation(api: Any, plural: str) -> None:
    """ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support ValidatingAdmissionPolicy API operations;
    ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support ValidatingAdmissionPolicyBinding API operations;
    MutatingAdmissionPolicy [Privileged:ClusterAdmin] should support MutatingAdmissionPolicy API operations;
    MutatingAdmissionPolicy [Privileged:ClusterAdmin] should support MutatingAdmissionPolicyBinding API operations"""
    groups = (await api("GET", "/apis")).obj["groups"]
    assert "admissionregistration.k8s.io" in [each["name"] for each in groups]
    versions = (await api("GET", "/apis/admissionregistration.k8s.io")).obj["versions"]
    assert f"{GROUP.removeprefix('/apis/')}" in [each["groupVersion"] for each in versions]
    resources = {each["name"]: each for each in (await api("GET", GROUP)).obj["resources"]}
    verbs = {"create", "get", "list", "watch", "update", "patch", "delete", "deletecollection"}
    assert verbs <= set(resources[plural]["verbs"])
    assert plural != "validatingadmissionpolicies" or f"{plural}/status" in resources

    path = f"{GROUP}/{plural}"
    for name in ("a", "b", "c"):
        body = {"metadata": {"name": name, "labels": {"of": "test"}}, "spec": KINDS[plural]}
        assert (await api("POST", path, body)).status == 201
    made = (await api("GET", f"{path}/a")).obj
    assert made["metadata"]["generation"] == 1
    assert len((await api("GET", f"{path}?labelSelector=of%3Dtest")).obj["items"]) == 3
    made["metadata"]["annotations"] = {"updated": "true"}
    assert (await api("PUT", f"{path}/a", made)).obj["metadata"]["annotations"] == {"updated": "true"}
    patched = await api("PATCH", f"{path}/a", {"metadata": {"annotations": {"patched": "true"}}}, **MERGE)
    assert patched.obj["metadata"]["annotations"] == {"updated": "true", "patched": "true"}
    assert (await api("DELETE", f"{path}/a")).status == 200
    assert (await api("GET", f"{path}/a")).status == 404
    assert (await api("DELETE", f"{path}?labelSelector=of%3Dtest")).status == 200
    assert (await api("GET", path)).obj["items"] == []


async def test_the_status_of_a_validating_policy_is_written_apart(api: Any) -> None:
    path = f"{GROUP}/validatingadmissionpolicies"
    body = {
        "metadata": {"name": "p"},
        "spec": KINDS["validatingadmissionpolicies"],
        "status": {"observedGeneration": 7},
    }
    made = (await api("POST", path, body)).obj
    assert "observedGeneration" not in made.get("status", {})
    made["status"] = {"observedGeneration": 1}
    written = await api("PUT", f"{path}/p/status", made)
    assert written.obj["status"]["observedGeneration"] == 1
    assert written.obj["metadata"]["generation"] == 1
