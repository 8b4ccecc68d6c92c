"""What a person may say to ``sampan join``, and in a JoinConfiguration."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sampan.cluster.errors import ClusterError, WrongUsage
from sampan.cluster.joining import admission, wanted
from sampan.cluster.joining.wanted import Wanted
from sampan.cluster.settings import ClusterSettings

WHOLE = """
apiVersion: v1
kind: ConfigMap
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: 192.0.2.1:6443
    token: abcdef.0123456789abcdef
    caCertHashes: ["sha256:00"]
    unsafeSkipCAVerification: false
  tlsBootstrapToken: ghijkl.0123456789abcdef
nodeRegistration:
  name: m2
  criSocket: unix:///run/containerd/containerd.sock
  ignorePreflightErrors: [Swap]
controlPlane:
  certificateKey: "00ff"
  localAPIEndpoint: {advertiseAddress: 192.0.2.2, bindPort: 6444}
timeouts: {discovery: 1m0s, tlsBootstrap: 10s}
"""


def read(tmp_path: Path, text: str) -> Wanted:
    (tmp_path / "join.yaml").write_text(text)
    return wanted.read(tmp_path / "join.yaml")


def test_a_file_says_all_that_options_say(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)
    assert (found.endpoint, found.token, found.bootstrap_token) == (
        "192.0.2.1:6443", "abcdef.0123456789abcdef", "ghijkl.0123456789abcdef",
    )  # fmt: skip
    assert (found.pins, found.node_name, found.ignored) == (("sha256:00",), "m2", ("Swap",))
    assert found.control_plane == wanted.ControlPlane("00ff", "192.0.2.2", 6444)
    assert (found.discovery_seconds, found.bootstrap_seconds) == (60.0, 10.0)
    assert found.without_effect == ("nodeRegistration.criSocket: the node has a containerd of its own",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: JoinConfiguration\napiVersion: kubeadm.k8s.io/v1alpha1", "apiVersion 'kubeadm.k8s.io/v1alpha1'"),
        ("kind: Other", "no kind JoinConfiguration"),
        ("a: [", "it is no YAML"),
        (WHOLE.replace("caCertHashes", "caHashes"), 'unknown field "discovery.bootstrapToken.caHashes"'),
        (WHOLE.replace("name: m2", "name: [m2]"), "nodeRegistration.name must be a text"),
        (WHOLE.replace("bindPort: 6444", "bindPort: 99999"), "bindPort is no port"),
        (WHOLE.replace("name: m2", "taints: [{keys: a}]"), r"unknown field \"nodeRegistration.taints\[0\].keys"),
        (WHOLE.replace("name: m2", "taints: [null]"), r"nodeRegistration.taints\[0\] is empty"),
        (WHOLE.replace("1m0s", "soon"), "timeouts.discovery must be a duration"),
        (WHOLE.replace("nodeRegistration:", "nodeRegistration: 3\nx:"), "nodeRegistration must be an object"),
    ],
    ids=["version", "kind", "yaml", "unknown", "type", "port", "taints", "no taint", "duration", "object"],
)
def test_what_a_file_has_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ClusterError, match=said):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("written", "url"),
    [("192.0.2.1:6443", "https://192.0.2.1:6443"), ("cp.example", "https://cp.example:6443"),
     ("[2001:db8::1]:6443", "https://[2001:db8::1]:6443"), ("https://cp:443/", "https://cp:443")],
)  # fmt: skip
def test_an_address_may_leave_out_the_port(written: str, url: str) -> None:
    assert wanted.parse_endpoint(written) == url


@pytest.mark.parametrize("written", ["", "a:b", "cp:0", "cp:70000", "http://cp", "2001:db8::1"])
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(WrongUsage):
        wanted.parse_endpoint(written)


def test_there_is_one_way_to_find_a_cluster() -> None:
    for told in (Wanted(), Wanted(endpoint="cp:6443"), Wanted(endpoint="cp", token="t", discovery_file="/x")):
        with pytest.raises(WrongUsage):
            told.check()
    Wanted(discovery_file="/x").check()


OLD = """
apiVersion: kubeadm.k8s.io/v1beta3
kind: JoinConfiguration
discovery:
  timeout: 20s
  bootstrapToken: {apiServerEndpoint: "192.0.2.1:6443", token: abcdef.0123456789abcdef}
nodeRegistration:
  taints: [{key: gpu, value: "true", effect: NoSchedule}]
  kubeletExtraArgs: {max-pods: "30", node-labels: a=b}
skipPhases: [preflight]
timeouts: {kubeletHealthCheck: 1m}
"""


def test_a_registration_says_taints_and_flags_of_the_kubelet_in_either_version(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match='unknown field "timeouts"'):
        read(tmp_path, OLD)  # of v1beta4 alone
    found = read(tmp_path, OLD.replace("timeouts: {kubeletHealthCheck: 1m}", ""))
    assert found.taints == ({"key": "gpu", "value": "true", "effect": "NoSchedule"},)
    assert found.kubelet_args == (("max-pods", "30"), ("node-labels", "a=b"))
    assert (found.discovery_seconds, found.skipped_phases) == (20.0, ("preflight",))
    new = read(tmp_path, WHOLE.replace("name: m2", "taints: []\n  kubeletExtraArgs: [{name: v, value: '2'}]"))
    assert (new.taints, new.kubelet_args) == ((), (("v", "2"),))


def test_a_time_that_nothing_here_waits_for_is_told(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE.replace("tlsBootstrap: 10s", "kubeletHealthCheck: 1m"))
    assert [text for text in found.without_effect if text.startswith("timeouts.kubeletHealthCheck")]


def test_the_clusters_kubelet_configuration_is_what_its_nodes_begin_with() -> None:
    cluster = ClusterSettings("one")
    plain = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "clusterDNS": list(cluster.dns_ips),
        "clusterDomain": "cluster.local",
        "rotateCertificates": True,
    }
    for nothing in ({}, {"kubelet": yaml.safe_dump(plain)}):
        assert admission.kubelet_document(nothing, cluster) == {}
    told = admission.kubelet_document({"kubelet": yaml.safe_dump({**plain, "maxPods": 30})}, cluster)
    assert told["maxPods"] == 30
    assert "clusterDNS" not in told
    with pytest.raises(ClusterError, match="ConfigMap kube-system/kubelet-config of the cluster cannot be used"):
        admission.kubelet_document({"kubelet": yaml.safe_dump({**plain, "maxPod": 30})}, cluster)


def ready(status: str) -> dict[str, object]:
    return {
        "status": {
            "conditions": [{"type": "Ready", "status": status}],
            "addresses": [{"type": "InternalIP", "address": "192.0.2.7"}],
        }
    }


def test_the_name_of_a_living_node_is_refused_and_that_of_a_dead_one_taken_up() -> None:
    with pytest.raises(ClusterError, match=r'a Node with name "m2" and status "Ready" already exists.*192.0.2.7'):
        admission.refuse_double("m2", ready("True"))
    assert "takes up the Node 'm2' (at 192.0.2.7)" in admission.refuse_double("m2", ready("Unknown"))
    assert admission.refuse_double("m2", None) == ""


def test_another_nodes_credentials_are_refused_by_name() -> None:
    with pytest.raises(ClusterError, match="the credentials given are those of node 'm3'"):
        admission.refuse_foreign("m2", "system:node:m3")
    admission.refuse_foreign("m2", "system:node:m2")
    admission.refuse_foreign("m2", "system:bootstrap:abcdef")


def test_a_machine_takes_the_clusters_settings_and_its_own_place() -> None:
    data = {"cluster": '{"name": "one", "pod_cidr": "10.7.0.0/16", "api_port": 6443, "admission_config": "/a/file"}'}
    made = admission.cluster_settings("two", data, "https://[2001:db8::1]:7443")
    assert (made.name, made.pod_cidr, made.api_address, made.api_port) == ("two", "10.7.0.0/16", "2001:db8::1", 7443)
    assert made.admission_config == ""
    with pytest.raises(ClusterError, match="ConfigMap kube-system/sampan-config is missing"):
        admission.cluster_settings("two", {}, "https://cp:1")
    for damaged in ("[", "[]", '{"pod_cidr": 3}'):
        with pytest.raises(ClusterError, match="is damaged"):
            admission.cluster_settings("two", {"cluster": damaged}, "https://cp:1")
