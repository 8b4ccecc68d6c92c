"""What the API server refuses, as its controllers meet it and as people paste it."""

from __future__ import annotations

from typing import Any

import pytest
from situations import Situation, workload

from sampan.api.errors import ApiError
from sampan.api.resources import NAMESPACES, PODS
from sampan.api.types import Obj
from sampan.why import reader
from sampan.why.model import Explanation


def said(situation: Situation, message: str, namespace: str = "default") -> Explanation:
    ask = reader.Reader(situation.cluster.client).ask
    return situation.cluster.run(reader.explain_refusal(ask, message, namespace, situation.cluster.now))


def of(kind: str, name: str, version: str = "v1", **rest: Any) -> Obj:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **rest}


def test_a_quota_that_is_used_up(situation: Situation) -> None:
    situation.make(of("ResourceQuota", "few", spec={"hard": {"pods": "1"}}))
    situation.wait(5)
    situation.make(workload(replicas=3))
    situation.wait(10)
    cause = situation.first(
        "deployment/web", "quota", "the ResourceQuota few of namespace default is used up (pods 1 of 1)"
    )
    assert cause.fix is not None and "raise the quota to pods 3" in cause.fix.text
    # Deployment and ReplicaSet say the same, and one change mends both.
    assert [each.rule for each in situation.why("deployment/web").causes] == ["quota"]
    situation.mended(cause, "deployment/web", seconds=900)


def test_a_quota_that_asks_for_requests(situation: Situation) -> None:
    situation.make(of("ResourceQuota", "cpu", spec={"hard": {"requests.cpu": "2", "limits.memory": "2Gi"}}))
    situation.wait(5)
    situation.make(workload())
    situation.wait(10)
    cause = situation.first("deployment/web", "quota-asks", "asks every container for limits.memory, requests.cpu")
    situation.mended(cause, "deployment/web")


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_pod_security(situation: Situation, level: str) -> None:
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}}
    situation.cluster.patch(NAMESPACES, "default", label)
    situation.make(workload(container={"securityContext": {"privileged": True}}))
    situation.wait(10)
    cause = situation.first("deployment/web", "pod-security", f"enforces the Pod Security level {level}")
    situation.mended(cause, "deployment/web")


def test_a_service_account_that_does_not_exist(situation: Situation) -> None:
    situation.make(workload(serviceAccountName="robot"))
    situation.wait(10)
    cause = situation.first("deployment/web", "service-account", "the ServiceAccount robot does not exist")
    situation.mended(cause, "deployment/web", seconds=900)


def test_a_priority_class_that_does_not_exist(situation: Situation) -> None:
    situation.make(workload(priorityClassName="urgent"))
    situation.wait(10)
    cause = situation.first("deployment/web", "priority-class", "there is no PriorityClass urgent")
    situation.mended(cause, "deployment/web", seconds=900)


def test_a_runtime_class_that_does_not_exist(situation: Situation) -> None:
    situation.make(workload(runtimeClassName="gvisor"))
    situation.wait(10)
    situation.mended(situation.first("deployment/web", "runtime-class", "no RuntimeClass gvisor"), "deployment/web")


def test_a_limit_range(situation: Situation) -> None:
    limits = [{"type": "Container", "max": {"cpu": "1"}}]
    situation.make(of("LimitRange", "small", spec={"limits": limits}))
    situation.wait(5)
    situation.make(workload(container={"resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}}))
    situation.wait(10)
    cause = situation.first("deployment/web", "limit-range", "allows a container at most 1 cpu")
    assert "the LimitRanges there: small" in cause.evidence
    situation.mended(cause, "deployment/web")


def test_an_admission_policy(situation: Situation) -> None:
    version = "admissionregistration.k8s.io/v1"
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    rules = {"resourceRules": [pods]}
    validations = [{"expression": "has(object.metadata.annotations.owner)", "message": "say whose it is"}]
    situation.make(
        of("ValidatingAdmissionPolicy", "owned", version, spec={"matchConstraints": rules, "validations": validations}),
        of("ValidatingAdmissionPolicyBinding", "owned-all", version,
           spec={"policyName": "owned", "validationActions": ["Deny"]}),
    )  # fmt: skip
    situation.wait(5)
    situation.make(workload())
    situation.wait(10)
    cause = situation.first("deployment/web", "policy", "the ValidatingAdmissionPolicy owned refuses it")
    situation.mended(cause, "deployment/web", seconds=900)


def hook(name: str) -> Obj:
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    service = {"namespace": "default", "name": "guard", "path": "/"}
    one = {
        "name": name, "clientConfig": {"service": service}, "rules": [pods], "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }  # fmt: skip
    return of("ValidatingWebhookConfiguration", "guard", "admissionregistration.k8s.io/v1", webhooks=[one])


def test_a_webhook_that_does_not_answer(situation: Situation) -> None:
    """Its Service is not there, which is known without asking anybody."""
    situation.make(hook("guard.example.com"))
    situation.wait(5)
    situation.make(workload())
    situation.wait(10)
    cause = situation.first(
        "deployment/web", "webhook-fails", "the admission webhook guard.example.com does not answer"
    )
    assert any("ValidatingWebhookConfiguration guard" in each for each in cause.evidence)
    situation.mended(cause, "deployment/web", seconds=900)


def test_a_webhook_that_refuses(situation: Situation) -> None:
    situation.make(hook("guard.example.com"))
    found = said(situation, 'admission webhook "guard.example.com" denied the request: no latest tags')
    assert found.causes[0].rule == "webhook-refuses"
    assert "refuses it: no latest tags" in found.causes[0].sentence


def test_the_words_of_a_quota_lead_to_its_fix(situation: Situation) -> None:
    situation.make(of("ResourceQuota", "few", spec={"hard": {"pods": "0"}}))
    situation.wait(5)
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "a"}]}}
    with pytest.raises(ApiError) as refused:
        situation.cluster.run(situation.cluster.client.create(PODS, pod, "default"))
    cause = said(situation, f"Error from server (Forbidden): {refused.value.message}").causes[0]
    assert cause.rule == "quota"
    situation.mend(cause)
    situation.wait(5)
    situation.cluster.run(situation.cluster.client.create(PODS, pod, "default"))


def test_a_field_that_cannot_change(situation: Situation) -> None:
    message = (
        'The Deployment "web" is invalid: spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: field is immutable'
    )
    cause = said(situation, message).causes[0]
    assert cause.rule == "invalid" and "spec.selector cannot be changed once the object is there" in cause.sentence
    assert cause.fix is not None and "kubectl replace --force" in cause.fix.text


def test_what_is_not_valid(situation: Situation) -> None:
    message = (
        'The Pod "Web" is invalid: metadata.name: Invalid value: "Web": a lowercase RFC 1123 subdomain must consist of'
    )
    cause = said(situation, message).causes[0]
    assert cause.rule == "invalid" and "metadata.name: Invalid value" in cause.sentence


def test_a_kind_that_the_cluster_does_not_know(situation: Situation) -> None:
    message = (
        'error: resource mapping not found for name: "x": no matches for kind "Widget" in version "example.com/v1"'
    )
    cause = said(situation, message).causes[0]
    assert cause.rule == "no-kind" and "its CustomResourceDefinition is not there" in cause.sentence


def test_a_namespace_that_is_being_deleted(situation: Situation) -> None:
    message = 'pods "p" is forbidden: unable to create new content in namespace old because it is being terminated'
    cause = said(situation, message).causes[0]
    assert cause.rule == "namespace-ends" and "namespace old is being deleted" in cause.sentence


def test_words_that_no_rule_knows_are_told_as_they_are(situation: Situation) -> None:
    cause = said(situation, "the moon is full").causes[0]
    assert (cause.rule, cause.confidence) == ("other-refusal", "possible")
    assert cause.sentence == "No rule knows these words: the moon is full"
