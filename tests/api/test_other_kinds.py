"""Services, configuration, RBAC and the rest: one table a rule."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from sampan.api import schema
from sampan.api.kind import Kind
from sampan.api.registry import registry
from sampan.api.validation import common


def kind_of(group: str, plural: str, version: str = "v1") -> Kind:
    kind = registry().by_resource(group, version, plural)
    assert kind is not None
    return kind


SERVICE = kind_of("", "services")


def service(**spec: Any) -> dict[str, Any]:
    obj: dict[str, Any] = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], **spec}}
    SERVICE.default(obj)
    return obj


def test_service_defaults() -> None:
    spec = service()["spec"]
    assert spec["type"] == "ClusterIP"
    assert spec["sessionAffinity"] == "None"
    assert spec["internalTrafficPolicy"] == "Cluster"
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert "externalTrafficPolicy" not in spec
    assert service(type="NodePort")["spec"]["externalTrafficPolicy"] == "Cluster"


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"ports": []}, "spec.ports", "FieldValueRequired"),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port", "FieldValueInvalid"),
        ({"ports": [{"port": 1}, {"port": 2}]}, "spec.ports[0].name", "FieldValueRequired"),
        ({"ports": [{"port": 1, "nodePort": 30000}]}, "spec.ports[0].nodePort", "FieldValueForbidden"),
        ({"type": "ExternalName"}, "spec.externalName", "FieldValueRequired"),
        ({"type": "Foo"}, "spec.type", "FieldValueNotSupported"),
        ({"clusterIPs": ["x"]}, "spec.clusterIPs[0]", "FieldValueInvalid"),
        ({"selector": {"a": "b c"}}, "spec.selector", "FieldValueInvalid"),
    ],
)
def test_a_bad_service_is_refused(spec: dict[str, Any], field: str, reason: str) -> None:
    assert (field, reason) in [(fault.field, fault.reason) for fault in SERVICE.validate(service(**spec))]


def test_what_was_allocated_stays_when_an_update_leaves_it_out() -> None:
    old = service(type="NodePort", clusterIP="10.96.0.5", clusterIPs=["10.96.0.5"])
    old["spec"]["ports"][0]["nodePort"] = 30001
    new = service(type="NodePort")
    SERVICE.prepare_update(new, old)
    assert new["spec"]["clusterIP"] == "10.96.0.5"
    assert new["spec"]["ports"][0]["nodePort"] == 30001
    assert SERVICE.validate_update(new, old) == []
    other = copy.deepcopy(new)
    other["spec"]["clusterIP"] = "10.96.0.6"
    SERVICE.prepare_update(other, old)
    assert [fault.field for fault in SERVICE.validate_update(other, old)] == ["spec.clusterIPs[0]"]


def test_a_node_port_goes_with_the_type() -> None:
    old = service(type="NodePort")
    old["spec"]["ports"][0]["nodePort"] = 30001
    new = copy.deepcopy(old)
    new["spec"]["type"] = "ClusterIP"
    SERVICE.prepare_update(new, old)
    assert SERVICE.validate(new) == []
    assert "nodePort" not in new["spec"]["ports"][0]


@pytest.mark.parametrize(
    ("group", "plural", "obj", "field"),
    [
        ("", "configmaps", {"data": {"a b": "x"}}, "data[a b]"),
        ("", "configmaps", {"data": {"a": "x" * (1 << 20 | 1)}}, "[]"),
        ("", "secrets", {"type": "kubernetes.io/tls"}, "data[tls.crt]"),
        ("", "nodes", {"spec": {"taints": [{"key": "a", "effect": "Maybe"}]}}, "metadata.taints[0].effect"),
        ("", "endpoints", {"subsets": [{}]}, "subsets[0]"),
        ("", "persistentvolumeclaims", {"spec": {}}, "spec.accessModes"),
        ("", "limitranges", {"spec": {"limits": [{"type": "Pod", "default": {"cpu": "1"}}]}}, "spec.limits[0].default"),
        ("discovery.k8s.io", "endpointslices", {}, "addressType"),
        ("coordination.k8s.io", "leases", {"spec": {"leaseDurationSeconds": 0}}, "spec.leaseDurationSeconds"),
        ("rbac.authorization.k8s.io", "roles", {"rules": [{"verbs": ["get"]}]}, "rules[0].apiGroups"),
        ("rbac.authorization.k8s.io", "rolebindings", {"roleRef": {"kind": "X"}}, "roleRef.kind"),
        ("networking.k8s.io", "ingresses", {"spec": {}}, "spec"),
        ("networking.k8s.io", "networkpolicies", {"spec": {"ingress": [{"from": [{}]}]}}, "spec.ingress[0].from[0]"),
        ("policy", "poddisruptionbudgets", {"spec": {"minAvailable": 1, "maxUnavailable": 1}}, "spec"),
        ("scheduling.k8s.io", "priorityclasses", {"value": 2_000_000_000}, "value"),
        ("storage.k8s.io", "storageclasses", {}, "provisioner"),
    ],
)
def test_a_fault_is_named(group: str, plural: str, obj: dict[str, Any], field: str) -> None:
    kind = kind_of(group, plural)
    obj = {"metadata": {"name": "a", "namespace": "n"}, **copy.deepcopy(obj)}
    kind.default(obj)
    assert field in [fault.field for fault in kind.validate(obj)]


@pytest.mark.parametrize(
    ("group", "plural", "old", "new", "message"),
    [
        ("", "configmaps", {"immutable": True, "data": {"a": "1"}}, {"immutable": True, "data": {}},
         "data: Forbidden: field is immutable when `immutable` is set"),
        ("", "secrets", {"type": "a"}, {"type": "b"}, 'type: Invalid value: "b": field is immutable'),
        ("", "nodes", {"spec": {"podCIDRs": ["10.0.0.0/24"]}}, {"spec": {}},
         'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'),
        ("rbac.authorization.k8s.io", "rolebindings", {"roleRef": {"name": "a"}}, {"roleRef": {"name": "b"}},
         'roleRef: Invalid value: {"APIGroup":"","Kind":"","Name":"b"}: cannot change roleRef'),
        ("scheduling.k8s.io", "priorityclasses", {"value": 1}, {"value": 2},
         "value: Forbidden: may not be changed in an update."),
        ("discovery.k8s.io", "endpointslices", {"addressType": "IPv4"}, {"addressType": "IPv6"},
         'addressType: Invalid value: "IPv6": field is immutable'),
    ],
)  # fmt: skip
def test_what_may_not_change(group: str, plural: str, old: dict[str, Any], new: dict[str, Any], message: str) -> None:
    assert message in [fault.message() for fault in kind_of(group, plural).validate_update(new, old)]


def test_string_data_of_a_secret_becomes_data() -> None:
    secret = {"metadata": {"name": "s"}, "stringData": {"a": "hello"}}
    kind_of("", "secrets").default(secret)
    assert secret == {"metadata": {"name": "s"}, "data": {"a": "aGVsbG8="}, "type": "Opaque"}


def test_a_namespace_begins_active_and_held_by_its_finalizer() -> None:
    kind = kind_of("", "namespaces")
    namespace: dict[str, Any] = {"metadata": {"name": "a"}}
    kind.default(namespace)
    kind.prepare_create(namespace)
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "a"}
    assert namespace["spec"]["finalizers"] == ["kubernetes"]
    assert namespace["status"] == {"phase": "Active"}


def test_an_event_of_the_new_group_is_stored_as_a_core_one() -> None:
    kind = kind_of("events.k8s.io", "events")
    event = {"kind": "Event", "metadata": {"name": "e"}, "regarding": {"name": "p"}, "note": "hi"}
    assert kind.to_stored is not None
    assert kind.from_stored is not None
    stored = kind.to_stored(event)
    assert stored["involvedObject"] == {"name": "p"}
    assert stored["message"] == "hi"
    assert stored["apiVersion"] == "v1"
    assert kind.from_stored(stored)["note"] == "hi"


def test_an_autoscaler_survives_the_way_through_v1() -> None:
    kind = kind_of("autoscaling", "horizontalpodautoscalers")
    metrics = [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
        {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "3"}}},
    ]
    stored = {"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "metrics": metrics}, "status": {}}
    schema.normalise(schema.load().definition("io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler"), stored)
    assert kind.to_stored is not None
    assert kind.from_stored is not None
    served = kind.from_stored(stored)
    assert served["spec"]["targetCPUUtilizationPercentage"] == 50
    assert "autoscaling.alpha.kubernetes.io/metrics" in served["metadata"]["annotations"]
    back = kind.to_stored(served)
    assert back["spec"] == stored["spec"]
    assert "annotations" not in back["metadata"]


ODD = [
    (
        "metrics",
        [5, {"type": ["x"]}, {"type": "Resource", "resource": 7}, {"type": "Object", "object": {"target": []}}],
    ),
    ("metrics", {"a": 1}),
    ("behavior", {"scaleUp": 5}),
    ("behavior", [1]),
    ("conditions", [{"type": 1}]),
    ("current-metrics", [[]]),
]


@pytest.mark.parametrize(("annotation", "value"), ODD)
def test_annotations_of_an_autoscaler_that_are_of_another_type_are_ignored(annotation: str, value: object) -> None:
    kind = kind_of("autoscaling", "horizontalpodautoscalers")
    assert kind.to_stored is not None
    text = json.dumps(value)
    odd = {"metadata": {"annotations": {f"autoscaling.alpha.kubernetes.io/{annotation}": text}}, "spec": {}}
    made = kind.to_stored(odd)
    kind.default(made)
    node = schema.load().definition("io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler")
    assert schema.check(node, made) is None


def test_numbers_of_thousands_of_digits_stand_in_no_way() -> None:
    long = "1" * 5000
    daemon_set = kind_of("apps", "daemonsets")
    old = {"metadata": {"annotations": {"deprecated.daemonset.template.generation": long}}, "spec": {"template": {}}}
    new = {"metadata": {}, "spec": {"template": {"spec": {}}}}
    daemon_set.prepare_update(new, old)
    cron_job = kind_of("batch", "cronjobs")
    for schedule in (f"{long} * * * *", f"*/{long} * * * *"):
        assert "spec.schedule" in {fault.field for fault in cron_job.validate({"spec": {"schedule": schedule}})}
    assert common.percent_of(f"{long}%") is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, None),
        ({"group": "example.org"}, "metadata.name"),
        ({"scope": "Galaxy"}, "spec.scope"),
        ({"versions": []}, "spec.versions"),
        ({"versions": [{"name": "v1", "storage": True}]}, "spec.versions[0].schema.openAPIV3Schema"),
        ({"preserveUnknownFields": True}, "spec.preserveUnknownFields"),
    ],
)
def test_a_custom_resource_definition_is_consistent(change: dict[str, Any], field: str | None) -> None:
    kind = kind_of("apiextensions.k8s.io", "customresourcedefinitions")
    spec = {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "foos", "kind": "Foo"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}},
        ],
    }  # fmt: skip
    definition = {"metadata": {"name": "foos.example.com"}, "spec": {**spec, **change}}
    kind.default(definition)
    kind.prepare_create(definition)
    found = [fault.field for fault in kind.validate(definition)]
    assert found == [] if field is None else field in found


def test_a_limit_range_out_of_order_names_the_field_and_shows_the_amount_that_upstream_does() -> None:
    limits = {
        "min": {"cpu": "5"}, "max": {"cpu": "1"}, "default": {"cpu": "3"}, "defaultRequest": {"cpu": "4"},
    }  # fmt: skip
    obj = {"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", **limits}]}}
    found = [(error.field, error.detail) for error in kind_of("", "limitranges").validate(obj)]
    assert found == [
        ("spec.limits[0].min[cpu]", 'Invalid value: "5": min value 5 is greater than max value 1'),
        (
            "spec.limits[0].defaultRequest[cpu]",
            'Invalid value: "4": min value 5 is greater than default request value 4',
        ),
        (
            "spec.limits[0].defaultRequest[cpu]",
            'Invalid value: "4": default request value 4 is greater than max value 1',
        ),
        (
            "spec.limits[0].defaultRequest[cpu]",
            'Invalid value: "4": default request value 4 is greater than default limit value 3',
        ),
        ("spec.limits[0].default[cpu]", 'Invalid value: "5": min value 5 is greater than default value 3'),
        ("spec.limits[0].default[cpu]", 'Invalid value: "1": default value 3 is greater than max value 1'),
    ]
