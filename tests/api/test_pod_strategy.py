"""What a pod is given when it is made, what may stay wrong in it, and how a refusal shows what would change."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sampan.api.kind import Kind
from sampan.api.registry import registry
from sampan.api.validation import pod_diff

Obj = dict[str, Any]
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/c"


def _kind() -> Kind:
    kind = registry().by_resource("", "v1", "pods")
    assert kind is not None
    return kind


POD = _kind()


def _pod(spec: Obj | None = None, **metadata: Any) -> Obj:
    containers = {"containers": [{"name": "c", "image": "i"}]}
    pod = {"metadata": {"name": "p", "namespace": "n", **metadata}, "spec": {**containers, **(spec or {})}}
    POD.default(pod)
    return pod


def test_label_keys_become_requirements_with_the_pods_own_values() -> None:
    selector = {"matchLabels": {"app": "x"}}
    term = {"topologyKey": "zone", "labelSelector": selector, "matchLabelKeys": ["v"], "mismatchLabelKeys": ["t", "no"]}
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
    pod = _pod(
        {
            "affinity": {"podAntiAffinity": {_REQUIRED: [copy.deepcopy(term)]}},
            "topologySpreadConstraints": [copy.deepcopy({**spread, "matchLabelKeys": ["v"]})],
        },
        labels={"v": "2", "t": "a"},
    )
    POD.prepare_create(pod)
    (made,) = pod["spec"]["affinity"]["podAntiAffinity"][_REQUIRED]
    version = {"key": "v", "operator": "In", "values": ["2"]}
    assert made["labelSelector"]["matchExpressions"] == [
        version, {"key": "t", "operator": "NotIn", "values": ["a"]}
    ]  # fmt: skip
    assert pod["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchExpressions"] == [version]
    assert POD.validate(pod) == []


@pytest.mark.parametrize(
    ("annotation", "field"),
    [
        ("runtime/default", {"type": "RuntimeDefault"}),
        ("unconfined", {"type": "Unconfined"}),
        ("localhost/mine", {"type": "Localhost", "localhostProfile": "mine"}),
    ],
)
def test_a_profile_of_apparmor_stands_in_the_annotation_and_in_the_field(annotation: str, field: Obj) -> None:
    of_annotation = _pod(annotations={_APPARMOR: annotation})
    assert POD.prepare_create(of_annotation) == [
        f'metadata.annotations[{_APPARMOR}]: deprecated since v1.30; use the "appArmorProfile" field instead'
    ]
    assert of_annotation["spec"]["containers"][0]["securityContext"] == {"appArmorProfile": field}
    of_field = _pod({"securityContext": {"appArmorProfile": field}})
    assert POD.prepare_create(of_field) == []
    assert of_field["metadata"]["annotations"] == {_APPARMOR: annotation}
    assert POD.validate(of_annotation) == POD.validate(of_field) == []


def test_an_annotation_that_means_no_profile_is_spoken_of_and_refused() -> None:
    pod = _pod(annotations={_APPARMOR: "strange"})
    assert POD.prepare_create(pod) != []
    assert [(fault.field, fault.detail) for fault in POD.validate(pod)] == [
        (f"metadata.annotations[{_APPARMOR}]", 'Invalid value: "strange": invalid AppArmor profile name: "strange"')
    ]


_HUGE = {"cpu": "1", "hugepages-2Mi": "1Mi"}
_TERM = {
    "topologyKey": "zone",
    "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["-"]}]},
}
_SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}


@pytest.mark.parametrize(
    "spec",
    [
        {"hostNetwork": True, "securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}},
        {"containers": [{"name": "c", "image": "i", "resources": {"limits": _HUGE, "requests": _HUGE}}]},
        {"affinity": {"podAffinity": {_REQUIRED: [_TERM]}}},
        {"affinity": {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["-"]}]}]}}}},
        {"topologySpreadConstraints": [{**_SPREAD, "labelSelector": {"matchLabels": {"a": "-"}}}]},
        {"tolerations": [{"key": "a", "operator": "Lt", "value": "5"}]},
        {"serviceAccountName": "s", "volumes": [{"name": "v", "projected": {"sources": [
            {"serviceAccountToken": {"path": "../t"}}]}}]},
    ],
)  # fmt: skip
def test_a_fault_that_was_there_before_may_stay_and_not_come(spec: Obj) -> None:
    old = _pod(spec)
    assert POD.validate(old) != []
    changed = copy.deepcopy(old)
    changed["metadata"]["labels"] = {"a": "b"}
    assert POD.validate_update(changed, old) == []
    assert POD.validate_update(old, _pod()) != []


def test_a_fault_that_has_no_excuse_is_one_after_every_update() -> None:
    old = _pod({"dnsPolicy": "x"})
    assert [fault.field for fault in POD.validate_update(copy.deepcopy(old), old)] == ["spec.dnsPolicy"]


def test_specs_too_long_to_be_compared_line_by_line_are_compared_by_their_paths() -> None:
    env = [{"name": f"A{number}", "value": "<"} for number in range(600)]
    old = _pod({"containers": [{"name": "c", "image": "i", "env": env}]})["spec"]
    new = copy.deepcopy(old)
    new["containers"][0]["env"][7]["value"] = "other"
    assert pod_diff.specs(old, new) == "spec.containers[0].env[7].value"
    del old["containers"][0]["env"][9:], new["containers"][0]["env"][9:]
    lines = pod_diff.specs(old, new).split("\n")
    assert [line for line in lines if line[:1] in "+-"] == ['-     "Value": "\\u003c",', '+     "Value": "other",', ""]
