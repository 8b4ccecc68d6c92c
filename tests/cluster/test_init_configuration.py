"""kubeadm's configuration: read strictly, written as kubeadm writes it, and what of it becomes settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sampan.cluster.endpoints import split_endpoint
from sampan.cluster.errors import ClusterError, WrongUsage
from sampan.cluster.initializing import configuration, documents, phases, preflight
from sampan.cluster.initializing.configuration import Configuration
from sampan.cluster.preflight import Problem
from sampan.cluster.settings import ClusterSettings

V4 = """
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens: [{token: abcdef.0123456789abcdef, ttl: 1h0m0s, usages: [signing, authentication]}]
localAPIEndpoint: {advertiseAddress: 192.0.2.1, bindPort: 7443}
nodeRegistration:
  name: one
  taints: []
  kubeletExtraArgs: [{name: node-ip, value: 192.0.2.1}, {name: v, value: "2"}]
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
controlPlaneEndpoint: api.example.com:8443
networking: {podSubnet: 10.5.0.0/16, serviceSubnet: 10.6.0.0/16, dnsDomain: example.internal}
apiServer:
  certSANs: [api.example.com]
  extraArgs: [{name: service-node-port-range, value: 31000-31999}, {name: audit-log-path, value: /a}]
controllerManager: {extraArgs: [{name: node-cidr-mask-size, value: "25"}]}
certificateValidityPeriod: 100h0m0s
encryptionAlgorithm: ECDSA-P256
scheduler: {extraEnvs: [{name: A, value: b}]}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
maxPods: 50
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
"""
V3 = """
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
apiServer: {extraArgs: {runtime-config: api/all=true}, timeoutForControlPlane: 4m0s}
"""


def read(text: str) -> Configuration:
    return documents.configuration(documents.parse(text.encode(), "f"))


def test_documents_become_what_flags_would_say() -> None:
    wanted = read(V4)
    assert (wanted.node_name, wanted.bind_port, wanted.taints) == ("one", 7443, ())
    assert (wanted.tokens[0].token, wanted.tokens[0].ttl_seconds) == ("abcdef.0123456789abcdef", 3600)
    assert configuration.options(wanted) == {
        "--api-port": 7443,
        "--node-name": "one",
        "--node-address": "192.0.2.1",
        "--pod-cidr": "10.5.0.0/16",
        "--service-cidr": "10.6.0.0/16",
        "--node-port-range": (31000, 31999),
        "--node-cidr-mask": 25,
        "--proxy-mode": "iptables",
        "--store": "etcd",
    }
    cluster = configuration.settings(wanted, ClusterSettings("one"))
    assert cluster.endpoint == ("api.example.com", 8443)
    assert (cluster.certificate_seconds, cluster.cluster_domain) == (360_000, "example.internal")
    assert wanted.kubelet["maxPods"] == 50


@pytest.mark.parametrize(
    ("store", "options"),
    [
        ("", {"--store": "etcd"}),
        ("sqlite", {"--store": "sqlite"}),
        ("etcd://192.0.2.1:2379", {"--store": "etcd", "--etcd-servers": "192.0.2.1:2379"}),
    ],
)
def test_the_store_is_etcd_where_nobody_says_otherwise(store: str, options: dict[str, str]) -> None:
    found = configuration.options(Configuration(store=store))
    assert {name: value for name, value in found.items() if "store" in name or "etcd" in name} == options
    with pytest.raises(ClusterError, match="is not known"):
        configuration.options(Configuration(store="sqlite://x"))


def test_an_ipv6_address_alone_makes_a_cluster_of_ipv6() -> None:
    assert configuration.families(Configuration(advertise_address="2001:db8::1")) == (6,)
    assert configuration.families(Configuration(advertise_address="192.0.2.1")) == ()
    assert configuration.families(Configuration(advertise_address="2001:db8::1", pod_subnet="fd00::/56")) == ()


def test_an_etcd_of_others_is_named_with_its_files() -> None:
    wanted = read(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
        "etcd: {external: {endpoints: ['https://192.0.2.1:2379'], caFile: /ca, certFile: /crt, keyFile: /key}}"
    )
    found = configuration.options(wanted)
    assert (found["--etcd-servers"], found["--etcd-cafile"]) == ("192.0.2.1:2379", "/ca")
    assert documents.cluster_document(wanted)["etcd"]["external"]["endpoints"] == ["https://192.0.2.1:2379"]


def test_what_nothing_acts_on_is_told_by_its_path() -> None:
    assert configuration.words(read(V4)) == [
        "apiServer: nothing acts on --audit-log-path",
        "kubeletExtraArgs: nothing acts on --v",
        "scheduler.extraEnvs: nothing acts on it",
    ]


def test_the_older_version_is_read_and_migrated() -> None:
    assert configuration.options(read(V3))["--runtime-config"] == "api/all=true"
    (made,) = documents.migrated(documents.parse(V3.encode(), "f"))
    assert made == {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "apiServer": {"extraArgs": [{"name": "runtime-config", "value": "api/all=true"}]},
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nnodename: x", 'unknown field "nodename"'),
        (
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking: {podSubnets: x}",
            'unknown field "networking.podSubnets"',
        ),
        (
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nlocalAPIEndpoint: {bindPort: x}",
            "localAPIEndpoint.bindPort must be a whole number",
        ),
        (
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens: [{ttl: soon}]",
            r"bootstrapTokens\[0\].ttl must be a duration",
        ),
        ("apiVersion: kubeadm.k8s.io/v1beta1\nkind: InitConfiguration", "is not known"),
        ("kind: Pod\napiVersion: v1", "is not known"),
        ("a: [", "f: "),
        ("- a", "not an object"),
        ("", "holds no configuration"),
        (f"{V3}---{V3}", "two documents of kind ClusterConfiguration"),
        (
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\netcd: {external: {caFile: /a}}",
            "etcd.external.endpoints is empty",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_field(text: str, why: str) -> None:
    with pytest.raises(ClusterError, match=why):
        read(text)


def test_a_written_configuration_reads_back(tmp_path: Path) -> None:
    wanted = read(V4)
    file = tmp_path / "f"
    file.write_text(documents.render([documents.init_document(wanted), documents.cluster_document(wanted)]))
    again = documents.configuration(documents.load(file))
    assert configuration.settings(again, ClusterSettings()) == configuration.settings(wanted, ClusterSettings())
    assert again.tokens[0].token == wanted.tokens[0].token
    printed = yaml.safe_load(documents.render([documents.cluster_document(Configuration())]))
    assert (printed["kind"], printed["certificateValidityPeriod"]) == ("ClusterConfiguration", "8760h0m0s")


def test_another_release_is_refused() -> None:
    configuration.check_version("stable-1")
    configuration.check_version("v1.37.2")
    with pytest.raises(ClusterError, match=r"this is Kubernetes v1\.37"):
        configuration.check_version("v1.20.0")


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("a.example", ("a.example", 6443)),
        ("a.example:1", ("a.example", 1)),
        ("192.0.2.1:7", ("192.0.2.1", 7)),
        ("[2001:db8::1]:7", ("2001:db8::1", 7)),
        ("2001:db8::1", ("2001:db8::1", 6443)),
    ],
)
def test_an_endpoint_is_a_host_and_perhaps_a_port(text: str, endpoint: tuple[str, int]) -> None:
    assert split_endpoint(text, 6443) == endpoint


@pytest.mark.parametrize("text", ["a b", ":6443", "a:0", "a:99999", "-a"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="--control-plane-endpoint"):
        split_endpoint(text, 6443)


# Phases


def test_all_phases_run_in_kubeadm_s_order_but_those_skipped() -> None:
    steps = phases.plan_all(["addon", "certs/sa,kubeconfig"])
    assert [step.phase for step in steps] == [
        "preflight", "certs", "etcd", "control-plane", "kubelet-start", "wait-control-plane", "upload-config",
        "upload-certs", "mark-control-plane", "bootstrap-token", "kubelet-finalize", "show-join-command",
    ]  # fmt: skip
    assert not steps[1].has("sa")
    assert steps[1].has("ca")
    assert phases.plan_all([])[1].parts == ()


def test_one_phase_may_be_one_part_of_it() -> None:
    assert phases.plan_one(["certs", "all"]).parts == ()
    assert phases.plan_one(["certs", "apiserver"]).parts == ("apiserver",)
    assert phases.plan_one(["kubelet-finalize", "experimental-cert-rotation"]).parts == ("enable-client-cert-rotation",)


@pytest.mark.parametrize("words", [["x"], ["certs"], ["certs", "x"], ["upload-certs", "x"], ["certs", "sa", "x"], []])
def test_what_is_no_phase_is_refused(words: list[str]) -> None:
    with pytest.raises(WrongUsage):
        phases.plan_one(words)


# Preflight


def problem(name: str, *, fatal: bool = True) -> Problem:
    return Problem(f"{name} is wrong", f"mend {name}", fatal, name)


@pytest.mark.parametrize(
    ("ignored", "left"),
    [((), ["NumCPU", "Port-6443"]), (("numcpu",), ["Port-6443"]), (("all",), []), (("Swap",), ["NumCPU", "Port-6443"])],
)
def test_checks_are_ignored_by_name_whatever_the_case_or_all(ignored: tuple[str, ...], left: list[str]) -> None:
    found = [problem("NumCPU"), problem("Swap", fatal=False), problem("Port-6443")]
    warnings, errors = preflight.judge(found, ignored)
    assert [each.name for each in errors] == left
    assert len(warnings) == len(found) - len(left)


def test_a_refusal_names_each_check_with_its_fix() -> None:
    with pytest.raises(preflight.PreflightFailed) as caught:
        preflight.refuse([problem("NumCPU"), problem("Port-6443")])
    assert "\t[ERROR NumCPU]: NumCPU is wrong\n\t[ERROR Port-6443]: Port-6443 is wrong" in caught.value.message
    assert caught.value.fix.splitlines() == [
        "NumCPU: mend NumCPU",
        "Port-6443: mend Port-6443",
        "or, knowing what you do: --ignore-preflight-errors=NumCPU,Port-6443",
    ]
    preflight.refuse([])


def test_all_stands_alone() -> None:
    assert preflight.check_ignored(["a,b", "c"]) == ("a", "b", "c")
    with pytest.raises(WrongUsage):
        preflight.check_ignored(["all,Swap"])


def machine(tmp_path: Path, **files: str) -> preflight.Place:
    for name, text in files.items():
        path = tmp_path / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return preflight.Place(tmp_path / "proc", tmp_path / "sys", tmp_path / "etc", {})


@pytest.mark.parametrize(
    ("files", "name", "fatal"),
    [
        ({"proc__meminfo": "MemTotal: 1000000 kB\n"}, "Mem", True),
        ({"sys__fs__selinux__enforce": "1\n"}, "SELinux", False),
        ({"etc__manifests__etcd.yaml": ""}, "FileAvailable-{etc}-manifests-etcd.yaml", True),
        (
            {
                "sys__class__net__a__device": "",
                "sys__class__net__a__address": "02:00:00:00:00:01\n",
                "sys__class__net__b__device": "",
                "sys__class__net__b__address": "02:00:00:00:00:01\n",
            },
            "MACAddress",
            False,
        ),
    ],
    ids=["memory", "selinux", "another control plane", "cloned cards"],
)
def test_a_machine_that_is_not_fit_is_told_by_kubeadm_s_names(
    tmp_path: Path, files: dict[str, str], name: str, fatal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sampan.cluster.instance import Instance, NodeSettings

    monkeypatch.setattr("sampan.cluster.preflight.check", lambda instance: [])
    instance = Instance(ClusterSettings("x"), tmp_path, tmp_path, NodeSettings("localhost", address="192.0.2.1"))
    found = preflight.check(instance, control_plane=True, place=machine(tmp_path, **files))
    wanted = name.format(etc=str(tmp_path / "etc").replace("/", "-"))
    assert (wanted, fatal) in [(each.name, each.fatal) for each in found]
    clean = preflight.check(instance, control_plane=True, place=machine(tmp_path / "clean"))
    assert wanted not in [each.name for each in clean]
    assert all(each.fix for each in found)


def test_a_proxy_between_the_machines_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sampan.cluster.instance import Instance, NodeSettings

    monkeypatch.setattr("sampan.cluster.preflight.check", lambda instance: [])
    instance = Instance(ClusterSettings("x"), tmp_path, tmp_path, NodeSettings("localhost", address="192.0.2.1"))
    environment: dict[str, Any] = {"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "192.0.2.1,10.96.0.0/16"}
    place = preflight.Place(tmp_path, tmp_path, tmp_path, environment)
    found = [each for each in preflight.check(instance, control_plane=True, place=place) if "Proxy" in each.name]
    assert [(each.name, "10.244.0.0/14" in each.what) for each in found] == [("HTTPProxyCIDR", True)]
