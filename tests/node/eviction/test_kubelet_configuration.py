"""The kubelet's configuration file: what it changes, what is refused in one line, and what is said not to act."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.node.config import NodeConfig, ShutdownGrace
from sampan.node.kubeletconfig.reading import BadKubeletConfig, parse
from sampan.node.kubeletconfig.settings import apply, not_acted_on, render
from sampan.node.thresholds import DEFAULT_HARD, Amount

HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
PLAIN = NodeConfig(node_name="n", addresses=())


def applied(text: str) -> NodeConfig:
    return apply(PLAIN, parse((HEAD + text).encode()))


def test_a_file_that_asks_for_nothing_changes_nothing() -> None:
    assert applied("") == PLAIN


def test_settings_arrive_where_the_node_looks_for_them() -> None:
    made = applied("""
maxPods: 20
podPidsLimit: 100
evictionPressureTransitionPeriod: 30s
evictionMaxPodGracePeriod: 60
imageMinimumGCAge: 1m
imageMaximumGCAge: 2h
imageGCHighThresholdPercent: 70
imageGCLowThresholdPercent: 60
containerLogMaxSize: 1Mi
containerLogMaxFiles: 3
kubeReserved: {cpu: 100m, memory: 200Mi}
enforceNodeAllocatable: [none]
allowedUnsafeSysctls: ["net.core.*"]
nodeLeaseDurationSeconds: 80
shutdownGracePeriod: 30s
shutdownGracePeriodCriticalPods: 10s
crashLoopBackOff: {maxContainerRestartPeriod: 60s}
registerWithTaints: [{key: a, effect: NoSchedule}]
""")
    assert (made.max_pods, made.pod_pids_limit, made.eviction_max_pod_grace_seconds) == (20, 100, 60)
    assert (made.eviction_pressure_transition_seconds, made.image_maximum_age_seconds) == (30, 7200)
    assert (made.image_gc_high_percent, made.image_gc_low_percent, made.image_minimum_age_seconds) == (70, 60, 60)
    assert (made.container_log_max_bytes, made.container_log_max_files) == (1 << 20, 3)
    assert dict(made.kube_reserved) == {"cpu": "100m", "memory": "200Mi"}
    assert (made.enforce_allocatable, made.allowed_unsafe_sysctls) == (False, ("net.core.*",))
    assert (made.lease_duration_seconds, made.lease_renew_seconds) == (80, 20)
    assert (made.shutdown_grace_seconds, made.shutdown_critical_seconds) == (30, 10)
    assert (made.max_container_backoff_seconds, made.taints) == (60, ({"key": "a", "effect": "NoSchedule"},))


def test_thresholds_that_are_given_replace_the_defaults_unless_they_are_to_be_merged() -> None:
    hard = 'evictionHard: {"memory.available": "1Gi"}\n'
    assert {each.signal for each in applied(hard).eviction_thresholds} == {
        "memory.available", "allocatableMemory.available",
    }  # fmt: skip
    merged = {each.signal: each for each in applied(hard + "mergeDefaultEvictionSettings: true").eviction_thresholds}
    assert set(merged) == {*DEFAULT_HARD, "allocatableMemory.available"}
    assert merged["memory.available"].value == Amount(1 << 30)
    assert applied("evictionHard: {}").eviction_thresholds == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("evictionhard: {}", 'strict decoding error: unknown field "evictionhard"'),
        ("maxPods: many", 'maxPods must be a whole number, not "many"'),
        ("maxPods: true", "maxPods must be a whole number, not true"),
        ("maxPods: -1", "invalid configuration: maxPods -1 must not be a negative number"),
        ("imageMinimumGCAge: 5", "imageMinimumGCAge must be a duration such as 30s or 5m, not 5"),
        ("imageMinimumGCAge: 5x", 'imageMinimumGCAge: time: invalid duration "5x"'),
        ("imageMinimumGCAge: 3m\nimageMaximumGCAge: 3m",
         "invalid configuration: imageMaximumGCAge 3m0s must be greater than imageMinimumGCAge 3m0s"),
        ("imageGCLowThresholdPercent: 90", "invalid configuration: imageGCLowThresholdPercent 90 must be less than "
         "imageGCHighThresholdPercent 85"),
        ("evictionHard: {disk: 1Gi}", "invalid configuration: unsupported eviction signal disk"),
        ("evictionHard: {memory.available: 1}", 'evictionHard["memory.available"] must be a text (in quotes), not 1'),
        ("evictionHard: [a]", "evictionHard must be a map of texts, not a list"),
        ("reservedMemory: [{numaNode: 0}, 7]", "reservedMemory[1] must be an object, not 7"),
        ("reservedMemory: 7", "reservedMemory must be a list of objects, not 7"),
        ("clusterDNS: [10.96.0.10, 3]", "clusterDNS[1] must be a text (in quotes), not 3"),
        ("kubeReserved: {memory: 1Gi, cpu: 2}", 'kubeReserved["cpu"] must be a text (in quotes), not 2'),
        ("featureGates: {SomeGate: yes please}", 'featureGates["SomeGate"] must be true or false, not "yes please"'),
        ("evictionHard: {memory.available: lots}", "invalid configuration: eviction threshold memory.available: "
         "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
        ("kubeReserved: {gpu: '1'}", 'invalid configuration: kubeReserved: cannot reserve "gpu" resource'),
        ("kubeReserved: {cpu: '-1'}",
         'invalid configuration: kubeReserved: resource quantity for "cpu" cannot be negative: -1'),
        ("containerLogMaxFiles: 1", "invalid configuration: containerLogMaxFiles 1 must be greater than 1"),
        ("shutdownGracePeriod: 500ms",
         "invalid configuration: shutdownGracePeriod 500ms must be either zero or otherwise >= 1 sec"),
        ("shutdownGracePeriodCriticalPods: 5s", "invalid configuration: shutdownGracePeriodCriticalPods 5s must be <= "
         "shutdownGracePeriod 0s"),
        ("shutdownGracePeriodByPodPriority: [{priority: 1, seconds: 2}]",
         'strict decoding error: unknown field "shutdownGracePeriodByPodPriority.seconds"'),
        ("crashLoopBackOff: {maxContainerRestartPeriod: 400s}", "invalid configuration: CrashLoopBackOff."
         "MaxContainerRestartPeriod (got: 400 seconds) must be set between 1s and 300s"),
        ("enforceNodeAllocatable: [all]", 'invalid configuration: option "all" specified for enforceNodeAllocatable; '
         'this node enforces "pods", or "none"'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(BadKubeletConfig) as caught:
        applied(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"[]", "not an object"),
        (b"{", "yaml"),
        (b"maxPods: 1", "kubelet.config.k8s.io/v1beta1, KubeletConfiguration"),
        ((HEAD + "maxPods: 1\nmaxPods: 2").encode(), "maxPods"),
        (b"#" * (1 << 21), "longer than"),
        (b"\xff\xfe", ""),
    ],
    ids=["a list", "no YAML", "of another kind", "twice", "too long", "no text"],
)
def test_what_is_no_configuration_is_refused(content: bytes, word: str) -> None:
    with pytest.raises(BadKubeletConfig) as caught:
        parse(content)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_nothing_acts_on_is_named_and_what_is_so_anyhow_is_not() -> None:
    document = parse((HEAD + "protectKernelDefaults: true\nfailSwapOn: false\nmaxPods: 5\neventBurst: 9\n").encode())
    assert not_acted_on(document) == ["protectKernelDefaults", "eventBurst"]


def test_the_memory_managers_policy_and_what_is_reserved_by_numa_node_are_taken_and_shown() -> None:
    reserved = "reservedMemory: [{numaNode: 1, limits: {memory: 100Mi}}]"
    made = applied("memoryManagerPolicy: Static\n" + reserved)
    shown = render(made)
    assert shown["memoryManagerPolicy"] == made.memory_manager_policy == "Static"
    assert shown["reservedMemory"] == [{"numaNode": 1, "limits": {"memory": "100Mi"}}]
    assert not_acted_on(parse((HEAD + "memoryManagerPolicy: Static\n" + reserved).encode())) == []
    assert not_acted_on(parse((HEAD + reserved).encode())) == ["reservedMemory"]
    for text, words in (
        ("memoryManagerPolicy: BestEffort", 'unknown policy: "BestEffort"'),
        ("reservedMemory: [{limits: {cpu: 1}}]", 'the limit type "cpu" for NUMA node 0 is not supported'),
    ):
        with pytest.raises(BadKubeletConfig, match=words):
            applied(text)


def test_options_of_the_static_policy_are_taken_shown_and_refused() -> None:
    head = "cpuManagerPolicy: static\nsystemReserved: {cpu: '1'}\ncpuManagerPolicyOptions: "
    made = applied(head + "{full-pcpus-only: 'true', distribute-cpus-across-numa: 'true'}")
    assert made.cpu_manager_options["full-pcpus-only"] == "true"
    assert render(made)["cpuManagerPolicyOptions"] == made.cpu_manager_options
    asked = {"cpuManagerPolicyOptions": made.cpu_manager_options}
    assert not_acted_on(asked) == []
    with pytest.raises(BadKubeletConfig, match='unknown CPU Manager Policy option: "fast"'):
        applied(head + "{fast: 'true'}")
    with pytest.raises(BadKubeletConfig, match="Alpha-level Options not enabled"):
        applied(head + "{align-by-socket: 'true'}")
    alpha = head + "{align-by-socket: 'true'}\nfeatureGates: {CPUManagerPolicyAlphaOptions: true, Other: true}"
    assert applied(alpha).cpu_manager_alpha_options
    assert not_acted_on(parse((HEAD + alpha).encode())) == ["featureGates.Other"]


def test_the_health_of_volumes_is_told_where_its_gate_is_on() -> None:
    assert not applied("").volume_health
    assert applied("featureGates: {CSIVolumeHealth: true}").volume_health
    assert not_acted_on(parse((HEAD + "featureGates: {CSIVolumeHealth: true}").encode())) == []


def test_policy_scope_and_options_of_the_topology_manager_are_taken_and_shown() -> None:
    text = "topologyManagerPolicy: restricted\ntopologyManagerScope: pod\n"
    made = applied(text + "topologyManagerPolicyOptions: {prefer-closest-numa-nodes: 'true'}")
    assert (made.topology_policy, made.topology_scope) == ("restricted", "pod")
    shown = render(made)
    assert (shown["topologyManagerPolicy"], shown["topologyManagerScope"]) == ("restricted", "pod")
    assert shown["topologyManagerPolicyOptions"] == {"prefer-closest-numa-nodes": "true"}
    assert not_acted_on(parse((HEAD + text).encode())) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "topologyManagerPolicy: strict",
            'topologyManagerPolicy (--topology-manager-policy) "strict" must be one of: '
            '["none" "best-effort" "restricted" "single-numa-node"]',
        ),
        (
            "topologyManagerScope: node",
            'topologyManagerScope (--topology-manager-scope) "node" must be one of: "container", or "pod"',
        ),
        ("topologyManagerPolicyOptions: {near: 'true'}", 'unknown Topology Manager Policy option: "near"'),
        (
            "topologyManagerPolicyOptions: {max-allowable-numa-nodes: '4'}",
            'the minimum value of "max-allowable-numa-nodes" should not be less than 8',
        ),
        (
            "topologyManagerPolicyOptions: {max-allowable-numa-nodes: many}",
            'unable to convert policy option to integer "max-allowable-numa-nodes": "many"',
        ),
        (
            "topologyManagerPolicyOptions: {prefer-closest-numa-nodes: 'yes'}",
            'bad value for option "prefer-closest-numa-nodes": strconv.ParseBool: parsing "yes": invalid syntax',
        ),
    ],
)
def test_what_no_topology_manager_takes_is_refused_in_the_kubelets_words(text: str, words: str) -> None:
    with pytest.raises(BadKubeletConfig) as caught:
        applied(text)
    assert str(caught.value) == f"invalid configuration: {words}"


def test_shutdown_by_priority() -> None:
    made = applied("shutdownGracePeriodByPodPriority: [{priority: 0, shutdownGracePeriodSeconds: 20}]")
    assert made.shutdown_by_priority == (ShutdownGrace(0, 20),)


def test_configz_shows_what_runs_and_is_itself_a_configuration_of_the_same_node() -> None:
    made = applied("""
evictionSoft: {nodefs.available: 15%}
evictionSoftGracePeriod: {nodefs.available: 1m30s}
evictionMinimumReclaim: {nodefs.available: 1Gi}
imageMaximumGCAge: 2h
shutdownGracePeriodByPodPriority: [{priority: 7, shutdownGracePeriodSeconds: 20}]
""")
    shown: dict[str, Any] = render(made)
    assert shown["evictionHard"] == {**DEFAULT_HARD}
    assert shown["evictionSoft"] == {"nodefs.available": "15%"}
    assert (shown["imageMaximumGCAge"], shown["imageMinimumGCAge"], shown["maxPods"]) == ("2h0m0s", "2m0s", 110)
    from orjson import dumps

    assert apply(PLAIN, parse(dumps(shown))) == made
