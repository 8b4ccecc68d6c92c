"""Pods: defaults, faults of specs, what may change, class of service."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sampan.api.groups.core import pod_subresources
from sampan.api.kind import Kind
from sampan.api.pods import qos
from sampan.api.registry import registry
from sampan.api.validation.security import sysctl_with_dots


def _kind() -> Kind:
    kind = registry().by_resource("", "v1", "pods")
    assert kind is not None
    return kind


POD = _kind()


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    obj: dict[str, Any] = {
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"containers": [{"name": "c", "image": "i", **(container or {})}], **spec},
    }
    POD.default(obj)
    return obj


def test_defaults() -> None:
    obj = pod({"ports": [{"containerPort": 80}], "livenessProbe": {"httpGet": {"port": 80}}}, volumes=[{"name": "v"}])
    spec = obj["spec"]
    container = spec["containers"][0]
    assert spec["restartPolicy"] == "Always"
    assert spec["dnsPolicy"] == "ClusterFirst"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["enableServiceLinks"] is True
    assert spec["volumes"][0]["emptyDir"] == {}
    assert container["imagePullPolicy"] == "Always"
    assert container["ports"][0]["protocol"] == "TCP"
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
    }  # fmt: skip
    again = copy.deepcopy(obj)
    POD.default(again)
    assert again == obj


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"), ("nginx:latest", "Always"), ("nginx:1.27", "IfNotPresent"), ("r:5000/nginx", "Always"),
        ("nginx@sha256:abc", "IfNotPresent"),
    ],
)  # fmt: skip
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pod({"image": image})["spec"]["containers"][0]["imagePullPolicy"] == policy


@pytest.mark.parametrize(
    ("container", "spec", "field", "reason"),
    [
        ({}, {"containers": []}, "spec.containers", "FieldValueRequired"),
        ({"name": ""}, {}, "spec.containers[0].name", "FieldValueRequired"),
        ({"name": "A"}, {}, "spec.containers[0].name", "FieldValueInvalid"),
        ({"image": ""}, {}, "spec.containers[0].image", "FieldValueRequired"),
        ({}, {"restartPolicy": "Sometimes"}, "spec.restartPolicy", "FieldValueNotSupported"),
        ({}, {"dnsPolicy": "x"}, "spec.dnsPolicy", "FieldValueNotSupported"),
        ({}, {"activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds", "FieldValueInvalid"),
        ({"ports": [{"containerPort": 70000}]}, {}, "spec.containers[0].ports[0].containerPort", "FieldValueInvalid"),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/x"}]}, {},
            "spec.containers[0].volumeMounts[0].name", "FieldValueNotFound",
        ),
        ({"env": [{"name": "A", "valueFrom": {}}]}, {}, "spec.containers[0].env[0].valueFrom", "FieldValueInvalid"),
        (
            {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}, {},
            "spec.containers[0].resources.requests", "FieldValueInvalid",
        ),
        (
            {"resources": {"limits": {"gpu": "1"}}}, {},
            "spec.containers[0].resources.limits[gpu]", "FieldValueInvalid",
        ),
        ({"livenessProbe": {}}, {}, "spec.containers[0].livenessProbe", "FieldValueRequired"),
        ({}, {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]},
         "spec.volumes[0].hostPath", "FieldValueForbidden"),
        ({}, {"volumes": [{"name": "v", "hostPath": {"path": "/a/../b"}}]},
         "spec.volumes[0].hostPath.path", "FieldValueInvalid"),
        ({}, {"tolerations": [{"operator": "Equal"}]}, "spec.tolerations[0].operator", "FieldValueInvalid"),
        ({}, {"initContainers": [{"name": "c", "image": "i"}]}, "spec.initContainers[0].name", "FieldValueDuplicate"),
        (
            {}, {"initContainers": [{"name": "d", "image": "i", "lifecycle": {}}]},
            "spec.initContainers[0].lifecycle", "FieldValueForbidden",
        ),
        ({}, {"nodeName": "n", "schedulingGates": [{"name": "g"}]}, "spec.nodeName", "FieldValueForbidden"),
    ],
)  # fmt: skip
def test_a_bad_spec_is_refused(container: dict[str, Any], spec: dict[str, Any], field: str, reason: str) -> None:
    found = [(fault.field, fault.reason) for fault in POD.validate(pod(container, **spec))]
    assert (field, reason) in found


def test_a_rich_pod_is_accepted() -> None:
    obj = pod(
        {
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "envFrom": [{"configMapRef": {"name": "cm"}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a/b"}],
            "resources": {"limits": {"cpu": "1", "example.com/gpu": "1"}},
        },
        initContainers=[{"name": "s", "image": "i", "restartPolicy": "Always", "startupProbe": {"grpc": {"port": 1}}}],
        volumes=[{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
        serviceAccountName="a",
        tolerations=[{"operator": "Exists"}],
        affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}]}},
        topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    )  # fmt: skip
    assert POD.validate(obj) == []


def test_only_images_deadlines_and_more_tolerations_may_change() -> None:
    old = pod()
    new = copy.deepcopy(old)
    new["spec"]["containers"][0]["image"] = "other"
    new["spec"]["tolerations"] = [{"operator": "Exists"}]
    new["spec"]["activeDeadlineSeconds"] = 5
    assert POD.validate_update(new, old) == []
    new["spec"]["restartPolicy"] = "Never"
    (fault,) = POD.validate_update(new, old)
    assert fault.reason == "FieldValueForbidden"
    assert fault.detail.startswith("Forbidden: pod updates may not change fields other than `spec.containers[*].image`")
    assert '\n- "RestartPolicy": "Always",\n+ "RestartPolicy": "Never",\n' in fault.detail


def test_containers_come_and_go_only_with_the_pod() -> None:
    new = pod(containers=[{"name": "c", "image": "i"}, {"name": "d", "image": "i"}])
    (fault,) = POD.validate_update(new, pod())
    assert fault.detail == "Forbidden: pod updates may not add or remove containers"


def test_ephemeral_containers_are_only_added_and_not_on_create() -> None:
    old = pod(ephemeralContainers=[{"name": "e", "image": "i"}])
    assert [(f.field, f.detail) for f in POD.validate(old)] == [
        ("spec.ephemeralContainers", "Forbidden: cannot be set on create")
    ]
    assert pod_subresources.validate_ephemeral_containers(old, pod()) == []
    assert [f.field for f in pod_subresources.validate_ephemeral_containers(pod(), old)] == ["spec.ephemeralContainers"]


def test_a_resize_touches_resources_alone() -> None:
    old = pod({"resources": {"requests": {"cpu": "1"}}})
    new = pod({"resources": {"requests": {"cpu": "2"}}})
    assert pod_subresources.validate_resize(new, old) == []
    assert pod_subresources.validate_resize(pod({"resources": {"requests": {"cpu": "2"}}, "image": "x"}), old) != []
    found = pod_subresources.validate_resize(pod(), old)
    assert [f.field for f in found] == ["spec", "spec.containers[0].resources.requests"]


def test_an_ended_container_of_a_pod_that_never_restarts_stays_ended() -> None:
    old, new = pod(restartPolicy="Never"), pod(restartPolicy="Never")
    old["status"] = {"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 0}}}]}
    new["status"] = {"containerStatuses": [{"name": "c", "state": {"running": {}}}]}
    assert [f.field for f in POD.validate_status(new, old)] == ["status.containerStatuses[0].state"]


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
        ({"limits": {"example.com/x": "1"}}, "BestEffort"),
    ],
)
def test_the_class_of_service_follows_from_cpu_and_memory(resources: dict[str, Any], expected: str) -> None:
    assert qos.compute_qos_class(pod({"resources": resources})) == expected


def test_a_gated_pod_says_so_from_the_start() -> None:
    obj = pod(schedulingGates=[{"name": "g"}])
    POD.prepare_create(obj)
    assert obj["status"]["phase"] == "Pending"
    assert obj["status"]["conditions"][0]["reason"] == "SchedulingGated"


@pytest.mark.parametrize(
    ("name", "host", "why"),
    [
        ("net.ipv4.ip_forward", "", ""),
        ("net/ipv4/conf/eth0.1/forwarding", "", ""),
        ("kernel.shm_rmid_forced", "hostNetwork", ""),
        ("net.core.somaxconn", "hostIPC", ""),
        ("", "", "Required value"),
        ("Net.ipv4", "", "must have at most 253 characters and match regex"),
        ("net..ipv4", "", "must have at most 253 characters and match regex"),
        ("net.ipv4\n", "", "must have at most 253 characters and match regex"),
        ("a" * 254, "", "must have at most 253 characters and match regex"),
        ("net.core.somaxconn", "hostNetwork", "may not be specified when 'hostNetwork' is true"),
        ("net/core/somaxconn", "hostNetwork", "may not be specified when 'hostNetwork' is true"),
        ("kernel.msgmax", "hostIPC", "may not be specified when 'hostIPC' is true"),
        ("fs.mqueue.msg_max", "hostIPC", "may not be specified when 'hostIPC' is true"),
    ],
)
def test_names_of_sysctls_are_checked_and_none_reaches_into_the_host(name: str, host: str, why: str) -> None:
    context = {"sysctls": [{"name": name, "value": "1"}]}
    found = POD.validate(pod(securityContext=context, **({host: True} if host else {})))
    assert [(each.field, why in each.message()) for each in found] == (
        [("spec.securityContext.sysctls[0].name", True)] if why else []
    )


def test_a_sysctl_is_stated_once() -> None:
    twice = [{"name": "net.core.somaxconn", "value": value} for value in ("1", "2")]
    (found,) = POD.validate(pod(securityContext={"sysctls": twice}))
    assert (found.field, found.reason) == ("spec.securityContext.sysctls[1].name", "FieldValueDuplicate")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("net.core.x", "net.core.x"), ("net/core/x", "net.core.x"), ("net/ipv4/conf/eth0.1/x", "net.ipv4.conf.eth0/1.x")],
)
def test_a_sysctl_written_as_a_path_means_the_same(written: str, meant: str) -> None:
    assert sysctl_with_dots(written) == meant
