"""``kubeletExtraArgs`` and ``taints`` of a node registration: what becomes of them."""

from __future__ import annotations

import pytest

from sampan.cluster.errors import ClusterError
from sampan.cluster.initializing import kubeletflags
from sampan.cluster.initializing.kubeletflags import registration


def test_flags_become_fields_of_the_configuration_or_options_and_the_rest_is_named() -> None:
    found = registration([
        ("node-ip", "192.0.2.7"), ("node-labels", "a=b"), ("max-pods", "30"), ("cluster-dns", "10.0.0.10,10.0.0.11"),
        ("eviction-hard", "memory.available<50Mi,nodefs.available<5%"), ("kube-reserved", "cpu=100m,memory=64Mi"),
        ("image-gc-high-threshold", "70"), ("image-gc-low-threshold", "60"), ("node-status-report-frequency", "1m"),
        ("register-with-taints", "a=b:NoSchedule,c:NoExecute"), ("fail-swap-on", "false"), ("pod-manifest-path", "/m"),
        ("container-runtime-endpoint", "unix:///x"), ("v", "4"), ("root-dir", "/x"), ("event-qps", "3"),
    ])  # fmt: skip
    assert found.options == {"--node-address": "192.0.2.7", "--node-labels": "a=b"}
    assert found.fields == {
        "maxPods": 30,
        "clusterDNS": ["10.0.0.10", "10.0.0.11"],
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "5%"},
        "kubeReserved": {"cpu": "100m", "memory": "64Mi"},
        "imageGCHighThresholdPercent": 70,
        "imageGCLowThresholdPercent": 60,
        "nodeStatusReportFrequency": "1m",
        "registerWithTaints": [{"key": "a", "value": "b", "effect": "NoSchedule"}, {"key": "c", "effect": "NoExecute"}],
        "failSwapOn": False,
        "staticPodPath": "/m",
        "eventRecordQPS": 3,
    }
    assert found.idle == ("v", "root-dir", "event-qps")


def test_taints_of_the_registration_are_those_that_count() -> None:
    taint = {"key": "gpu", "effect": "NoSchedule", "timeAdded": None}
    found = registration([("register-with-taints", "a:NoExecute")], [taint])
    assert found.fields == {"registerWithTaints": [{"key": "gpu", "effect": "NoSchedule"}]}


def test_a_flag_wins_over_the_file_as_it_does_with_the_kubelet() -> None:
    found = registration([("max-pods", "30")], document={"maxPods": 20, "podPidsLimit": 5})
    made = kubeletflags.merged({"maxPods": 20, "podPidsLimit": 5}, found.fields)
    assert (made["maxPods"], made["podPidsLimit"], made["kind"]) == (30, 5, "KubeletConfiguration")


@pytest.mark.parametrize(
    ("args", "taints", "said"),
    [
        ([("max-pods", "many")], (), "--max-pods 'many' is not valid"),
        ([("max-pods", "-1")], (), "maxPods -1 must not be a negative number"),
        ([("fail-swap-on", "maybe")], (), "write true or false"),
        ([("kube-reserved", "cpu")], (), "write it like name=value"),
        ([("register-with-taints", "a")], (), "write it like key=value:NoSchedule"),
        ([("authentication", "x")], (), "it cannot be said by a flag"),
        ([], [{"key": "a", "effect": "Never"}], "a taint has a key and an effect"),
        ([("register-with-taints", "a b=c:NoSchedule")], (), "registerWithTaints: a b=c: name part must consist of"),
        ([], [{"key": "a", "value": "b/c", "effect": "NoExecute"}], "registerWithTaints: a=b/c: a valid label must be"),
    ],
    ids=["number", "range", "switch", "map", "taint", "object", "effect", "key", "value"],
)
def test_what_no_node_could_be_given_is_refused_by_name(
    args: list[tuple[str, str]], taints: list[dict[str, str]], said: str
) -> None:
    with pytest.raises(ClusterError, match=said):
        registration(args, taints)
