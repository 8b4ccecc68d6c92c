"""What valid pods and templates are warned about: each text is upstream's (pkg/api/pod/warnings.go)."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.groups.core import pod_warnings
from sampan.api.registry import registry


def _said(spec: dict[str, Any], annotations: dict[str, str] | None = None, name: str = "p") -> list[str]:
    kind = registry().by_resource("", "v1", "pods")
    assert kind is not None
    spec = {"containers": [{"name": "c", "image": "i"}], **spec}
    pod = {"metadata": {"name": name, "namespace": "n", "annotations": annotations or {}}, "spec": spec}
    kind.default(pod)
    return list(kind.warnings(pod, None))


def _container(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "i", **fields}]}


_NOT_STANDARD = "will be considered invalid in a future Kubernetes release: use"

CASES: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"nodeSelector": {"beta.kubernetes.io/os": "linux"}},
        ['spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead'],
    ),
    (
        {"volumes": [{"name": "v", "gitRepo": {"repository": "r"}}]},
        ["spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"],
    ),
    (
        {"volumes": [{"name": "v", "storageos": {"volumeName": "r"}}]},
        ["spec.volumes[0].storageOS: deprecated in v1.22, non-functional in v1.25+"],
    ),
    (
        {"volumes": [{"name": "v", "configMap": {"name": "m", "items": [
            {"key": "a", "path": "x/y"}, {"key": "b", "path": "x/"}, {"key": "c", "path": "xy"}]}}]},
        ['volume "v" (ConfigMap "m"): overlapping paths: "x" with "x/y"'],
    ),
    (
        {"volumes": [{"name": "v", "projected": {"sources": [
            {"clusterTrustBundle": {"signerName": "s", "path": "test/test"}},
            {"downwardAPI": {"items": [{"path": "test", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"secret": {"name": "t", "items": [{"key": "k", "path": "test"}]}}, {}]}}]},
        [
            'volume "v" (Projected) has no sources provided',
            'volume "v" (Projected): overlapping paths: "test" (DownwardAPI) with "test/test" (ClusterTrustBundle "s")',
            'volume "v" (Projected): overlapping paths: "test" (Secret "t") with "test/test" (ClusterTrustBundle "s")',
            'volume "v" (Projected): overlapping paths: "test" (Secret "t") with "test" (DownwardAPI)',
        ],
    ),
    (
        {"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {
            "resources": {"requests": {"storage": "100m"}}}}}}]},
        [
            'spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources.requests[storage]: fractional byte value '
            '"100m" is invalid, must be an integer'
        ],
    ),
    ({"hostAliases": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}]}, ['spec.hostAliases[1].ip: duplicate ip "1.1.1.1"']),
    (
        {"imagePullSecrets": [{"name": "a"}, {"name": "a"}, {}]},
        [
            'spec.imagePullSecrets[1].name: duplicate name "a"',
            'spec.imagePullSecrets[2].name: invalid empty name ""',
        ],
    ),
    (
        {"overhead": {"memory": "1.5"}},
        ['spec.overhead[memory]: fractional byte value "1500m" is invalid, must be an integer'],
    ),
    (
        _container(resources={"limits": {"memory": "1k", "ephemeral-storage": "1m"}, "requests": {"memory": "200m"}}),
        [
            'spec.containers[0].resources.requests[memory]: fractional byte value "200m" is invalid, must be an '
            "integer",
            'spec.containers[0].resources.limits[ephemeral-storage]: fractional byte value "1m" is invalid, must be an '
            "integer",
            'spec.containers[0].resources.requests[ephemeral-storage]: fractional byte value "1m" is invalid, must be '
            "an integer",
        ],
    ),
    (
        _container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "$(A)"},
                        {"name": "A", "value": "3"}]),
        [
            f'spec.containers[0].env[{index}]: hides previous definition of "A", which may be dropped when using apply'
            for index in (2, 3)
        ],
    ),
    (
        _container(ports=[
            {"containerPort": 80, "hostIP": "1.2.3.4"}, {"containerPort": 80}, {"containerPort": 81, "hostPort": 81},
            {"containerPort": 81, "hostPort": 81, "hostIP": "1.2.3.4"}, {"containerPort": 82, "name": "x"},
            {"containerPort": 82, "protocol": "UDP"}, {"containerPort": 80}]),
        [
            "spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 Protocol:TCP "
            "HostIP:1.2.3.4}",
            "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
            "spec.containers[0].ports[3]: dangerously ambiguous port definition with spec.containers[0].ports[2]",
            "spec.containers[0].ports[6]: overlapping port definition with spec.containers[0].ports[0]",
            "spec.containers[0].ports[6]: duplicate port definition with spec.containers[0].ports[1]",
        ],
    ),
    (
        {"initContainers": [{"name": "s", "image": "i", "restartPolicy": "Always", "ports": [
            {"containerPort": 1, "name": "http"}]}], **_container(ports=[{"containerPort": 2, "name": "http"}])},
        [
            'spec.containers[0].ports[0]: duplicate port name "http" with spec.initContainers[0].ports[0], services '
            "and probes that select ports by name will use spec.initContainers[0].ports[0]"
        ],
    ),
    (
        {"terminationGracePeriodSeconds": -1},
        ["spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"],
    ),
    (
        {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "failure-domain.beta.kubernetes.io/zone"}]},
        [
            "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since "
            'v1.17; use "topology.kubernetes.io/zone" instead',
            "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
        ],
    ),
    (
        {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "k"}]},
                      "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                          {"weight": 1, "podAffinityTerm": {"topologyKey": "k"}}]}}},
        [
            "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null "
            "labelSelector results in matching no pod",
            "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm."
            "labelSelector: a null labelSelector results in matching no pod",
        ],
    ),
    (
        {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [
                {"key": "beta.kubernetes.io/arch", "operator": "In", "values": ["-1"]}]}}]}}},
        [
            "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0]."
            'key: beta.kubernetes.io/arch is deprecated since v1.14; use "kubernetes.io/arch" instead',
            "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0]."
            "values[0]: -1 is invalid, a valid label must be an empty string or consist of alphanumeric characters, '-"
            "', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
            "'12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ],
    ),
    (
        {"dnsConfig": {"nameservers": ["1.2.3.4", "05.06.07.08", "2001:DB8::1"]}, "hostAliases": [
            {"ip": "::ffff:1.2.3.4"}]},
        [
            f'spec.dnsConfig.nameservers[1]: non-standard IP address "05.06.07.08" {_NOT_STANDARD} "5.6.7.8"',
            'spec.dnsConfig.nameservers[2]: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format '
            '("2001:db8::1")',
            f'spec.hostAliases[0].ip: non-standard IP address "::ffff:1.2.3.4" {_NOT_STANDARD} "1.2.3.4"',
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), CASES, ids=[text[0].split(":")[0] for _, text in CASES])
def test_what_is_unlikely_to_be_meant_is_spoken_of(spec: dict[str, Any], expected: list[str]) -> None:
    assert _said(spec) == expected


def test_a_plain_pod_is_not_spoken_of() -> None:
    assert (
        _said(_container(env=[{"name": "A"}, {"name": "B"}], ports=[{"containerPort": 80}, {"containerPort": 81}]))
        == []
    )


def test_a_name_that_is_no_label_is_one_of_hostnames() -> None:
    assert _said({}, name="a.b") == [
        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is "
        "recommended: [must not contain dots]"
    ]


def test_annotations_that_do_nothing_any_more_are_named() -> None:
    keys = ("scheduler.alpha.kubernetes.io/critical-pod", "seccomp.security.alpha.kubernetes.io/pod",
            "container.seccomp.security.alpha.kubernetes.io/c")  # fmt: skip
    assert _said({}, dict.fromkeys(keys, "runtime/default")) == [
        f'metadata.annotations[{keys[0]}]: non-functional in v1.16+; use the "priorityClassName" field instead',
        f'metadata.annotations[{keys[1]}]: non-functional in v1.27+; use the "seccompProfile" field instead',
        f'metadata.annotations[{keys[2]}]: non-functional in v1.27+; use the "seccompProfile" field instead',
    ]


def test_a_template_is_spoken_of_by_its_own_path() -> None:
    key = "container.apparmor.security.beta.kubernetes.io/c"
    template = {
        "metadata": {"annotations": {key: "unconfined"}},
        "spec": {"terminationGracePeriodSeconds": -1, "containers": [{"name": "c"}]},
    }
    assert pod_warnings.of_template(template, "spec.template") == [
        f'spec.template.metadata.annotations[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead',
        "spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be "
        "treated as 1",
    ]


def test_a_pod_is_spoken_of_when_it_is_made_alone() -> None:
    pod = {"metadata": {"name": "a.b"}, "spec": {"containers": []}}
    assert pod_warnings.of_pod(pod, None) != []
    assert pod_warnings.of_pod(pod, pod) == ()


def test_a_thousand_files_at_one_path_are_named_as_often_as_helps() -> None:
    items = [{"key": str(index), "path": "same"} for index in range(1000)]
    assert len(_said({"volumes": [{"name": "v", "configMap": {"name": "m", "items": items}}]})) == 100
