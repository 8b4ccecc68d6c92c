"""Node (v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import (
    SUBDOMAIN,
    Invalid,
    KindCases,
    Row,
    Update,
    Warned,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)

_ABSENT = dict.fromkeys((
    "architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion", "kubeletVersion",
    "machineID", "operatingSystem", "osImage", "systemUUID",
), "")  # fmt: skip
_NOTHING: dict[str, Any] = {"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "nodeInfo": _ABSENT}
_CIDR_ONCE = 'node updates may not change podCIDR except from "" to valid'
_LABEL = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_FEATURE = (
    'invalid feature name "lower": must start with an UpperCamelCase segment, with subsequent segments separated '
    "by '/' "
    "(e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
)
_TWICE = '{"Key":"a","Value":"","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair'
_READY = {"type": "Ready", "status": "True"}
_SPEC: dict[str, Any] = {
    "podCIDR": "10.1.0.0/24",
    "podCIDRs": ["10.1.0.0/24", "2001:db8::/64"],
    "providerID": "aws:///a/i-1",
    "unschedulable": True,
    "taints": [
        {"key": "dedicated", "value": "db", "effect": "NoSchedule"},
        {"key": "dedicated", "effect": "NoExecute"},
    ],
}
_STATUS: dict[str, Any] = {
    "capacity": {"cpu": "2", "memory": "4Gi", "example.com/gpu": "1"},
    "allocatable": {"cpu": "1900m", "memory": "4Gi"},
    "conditions": [{**_READY, "lastHeartbeatTime": None, "lastTransitionTime": None}],
    "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "a"}],
    "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
    "nodeInfo": {**_ABSENT, "kubeletVersion": "v1.37.0", "swap": {"capacity": 1024}},
    "images": [{"names": ["a:1"], "sizeBytes": 10}],
    "volumesInUse": ["v"],
    "volumesAttached": [{"name": "v", "devicePath": "/dev/v"}],
    "runtimeHandlers": [{"name": "runc", "features": {"recursiveReadOnlyMounts": True, "userNamespaces": False}}],
    "features": {"supplementalGroupsPolicy": True},
    "declaredFeatures": ["InPlaceResize", "MyFeature/sub"],
}

CASES = KindCases(
    api_version="v1",
    kind="Node",
    plural="nodes",
    namespaced=False,
    minimal={"metadata": {"name": "a"}},
    minimal_stored={"spec": {}, "status": _NOTHING},
    full={
        "metadata": {"name": "a", "labels": {"node-role.kubernetes.io/worker": ""}},
        "spec": {**_SPEC, "configSource": {"configMap": {"name": "c", "namespace": "d", "kubeletConfigKey": "k"}}},
        "status": {**_STATUS, "config": {"error": "e"}},
    },
    full_stored={"spec": _SPEC, "status": _STATUS},
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
        Invalid(
            "taints that cannot be",
            {"spec.taints": [{"key": "a", "value": "b c", "effect": "Maybe"}]},
            [
                invalid("metadata.taints[0].value", '"b c"', _LABEL),
                not_supported("metadata.taints[0].effect", '"Maybe"', "NoSchedule", "PreferNoSchedule", "NoExecute"),
            ],
        ),
        Invalid(
            "a taint without effect",
            {"spec.taints": [{"key": "a", "effect": ""}]},
            [
                required("metadata.taints[0].effect"),
            ],
        ),
        Invalid(
            "a taint twice",
            {
                "spec.taints": [
                    {"key": "a", "value": "b", "effect": "NoSchedule"},
                    {"key": "a", "effect": "NoSchedule"},
                ]
            },
            [duplicate("metadata.taints[1]", _TWICE)],
            together=True,
        ),
        Invalid(
            "amounts that cannot be",
            {"status.capacity": {"cpu": "-1", "example.com/gpu": "500m"}},
            [
                invalid("status.capacity.cpu", '"-1"', "must be greater than or equal to 0"),
                invalid("status.capacity.example.com/gpu", '"500m"', "must be an integer"),
            ],
        ),
        Invalid(
            "swap of nothing",
            {"status.nodeInfo.swap": {"capacity": 0}},
            [
                invalid("metadata.nodeSwapStatus.capacity", "0", "must be greater than zero"),
            ],
        ),
        Invalid(
            "features out of order, twice, and of a bad name",
            {"status.declaredFeatures": ["B", "A", "A", "lower"]},
            [
                invalid("status.declaredFeatures[1]", '"A"', "list must be sorted alphabetically"),
                duplicate("status.declaredFeatures[2]", '"A"'),
                invalid("status.declaredFeatures[3]", '"lower"', _FEATURE),
            ],
            together=True,
        ),
        Invalid(
            "two ranges of one family",
            {"spec.podCIDR": "10.1.0.0/24", "spec.podCIDRs": ["10.1.0.0/24", "10.2.0.0/24"]},
            [
                invalid(
                    "spec.podCIDRs",
                    '["10.1.0.0/24","10.2.0.0/24"]',
                    "may specify no more than one CIDR for each IP family",
                ),
            ],
            together=True,
        ),
        Invalid(
            "a range twice",
            {"spec.podCIDRs": ["10.1.0.0/24", "2001:db8::/64", "2001:db8::/64"]},
            [
                invalid(
                    "spec.podCIDRs",
                    '["10.1.0.0/24","2001:db8::/64","2001:db8::/64"]',
                    "may specify no more than one CIDR for each IP family",
                ),
                duplicate("spec.podCIDRs[2]", '"2001:db8::/64"'),
            ],
            together=True,
        ),
        Invalid(
            "a range with bits of a host",
            {"spec.podCIDR": "10.1.0.1/24"},
            [
                invalid("spec.podCIDRs[0]", '"10.1.0.1/24"', "must not have bits set beyond the prefix length"),
            ],
        ),
    ],
    updates=[
        Update("the range", {"spec.podCIDR": "10.2.0.0/24"}, [forbidden("spec.podCIDRs", _CIDR_ONCE)]),
        Update(
            "one range of two",
            {"spec.podCIDRs": ["10.1.0.0/24", "2001:db8:1::/64"]},
            [
                forbidden("spec.podCIDRs", _CIDR_ONCE),
            ],
        ),
        Update("a first range", {"spec.podCIDR": "10.2.0.0/24"}, allowed=True, on="minimal"),
        Update(
            "the provider's name and the external one",
            {"spec.providerID": "gce://b", "spec.externalID": "c"},
            [
                forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid'),
                forbidden("spec.externalID", "may not be updated"),
            ],
        ),
        Update(
            "a taint that cannot be is told twice",
            {"spec.taints": [{"key": "a", "effect": ""}]},
            [
                required("metadata.taints[0].effect"),
                required("metadata.taints[0].effect"),
            ],
        ),
        Update("taints", {"spec.taints": [{"key": "a", "effect": "NoExecute"}]}, allowed=True),
        Update(
            "an address twice",
            {"status.addresses": [{"type": "Hostname", "address": "a"}] * 2},
            [
                duplicate("status.addresses[1]", '{"Type":"Hostname","Address":"a"}'),
            ],
            through="status",
        ),
        Update("a status", {"status.capacity.cpu": "4"}, allowed=True, through="status"),
    ],
    rows=[
        Row(
            "nothing known",
            {},
            [
                "a",
                "Unknown",
                "<none>",
                "60m",
                "",
                "<none>",
                "<none>",
                "<unknown>",
                "<unknown>",
                "<unknown>",
            ],
        ),
        Row(
            "ready, cordoned, with all it says",
            {
                "status.addresses.+": {"type": "ExternalIP", "address": "192.0.2.1"},
                "status.nodeInfo": {
                    "kubeletVersion": "v1.37.0",
                    "osImage": "Debian",
                    "kernelVersion": "6.1",
                    "containerRuntimeVersion": "containerd://2.0",
                },
            },
            [
                "a",
                "Ready,SchedulingDisabled",
                "worker",
                "60m",
                "v1.37.0",
                "10.0.0.1",
                "192.0.2.1",
                "Debian",
                "6.1",
                "containerd://2.0",
            ],
            on="full",
        ),
        Row(
            "not ready, of several roles",
            {
                "metadata.labels": {
                    "node-role.kubernetes.io/worker": "",
                    "node-role.kubernetes.io/control-plane": "",
                    "kubernetes.io/role": "edge",
                    "node-role.kubernetes.io/": "",
                },
                "status.conditions": [
                    {"type": "MemoryPressure", "status": "False"},
                    {"type": "Ready", "status": "Unknown"},
                ],
            },
            [
                "a",
                "NotReady",
                "control-plane,edge,worker",
                "60m",
                "",
                "<none>",
                "<none>",
                "<unknown>",
                "<unknown>",
                "<unknown>",
            ],
        ),
    ],
    warned=[
        Warned("nothing", {}, []),
        Warned(
            "an external name",
            {"spec.externalID": "a"},
            [
                "spec.externalID: this field is deprecated, and is unused by Kubernetes",
            ],
        ),
        Warned(
            "a range in a long form",
            {"spec.podCIDR": "2001:DB8::/64"},
            [
                'spec.podCIDRs[0]: IPv6 CIDR value "2001:DB8::/64" should be in RFC 5952 canonical format '
                '("2001:db8::/64")',
            ],
            on="minimal",
        ),
    ],
)
