"""The node's own admission, check by check: reasons and messages are the kubelet's."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.node.admission import Grounds, Refusal, admit
from sampan.node.sysctls import verify_sysctl_patterns

GIB = 1 << 30
ROOM = {"cpu": 4000, "memory": 8 * GIB, "pods": 10, "hugepages-2Mi": 0, "ephemeral-storage": 100 * GIB}


def pod(container: Any = None, labels: Any = None, **spec: Any) -> Any:
    return {
        "metadata": {"name": "p", "namespace": "d", "uid": "u", "labels": labels or {}},
        "spec": {"nodeName": "n1", "containers": [{"name": "main", **(container or {})}], **spec},
    }


def asking(**requests: str) -> Any:
    return {"resources": {"requests": {name.replace("_", "-"): value for name, value in requests.items()}}}


def grounds(**changes: Any) -> Grounds:
    conditions = [{"type": kind, "status": "True"} for kind in changes.pop("pressures", ())]
    node = {
        "metadata": {"name": "n1", "labels": changes.pop("labels", {"zone": "a"})},
        "spec": {"taints": changes.pop("taints", [])},
        "status": {"conditions": conditions},
    }
    return Grounds(node=node, allocatable={**ROOM, **changes.pop("room", {})}, **changes)


def reason(asked: Any, **changes: Any) -> str:
    refusal = admit(asked, grounds(**changes))
    return refusal.reason if refusal else ""


def sysctls(*names: str, **spec: Any) -> Any:
    return pod(securityContext={"sysctls": [{"name": name, "value": "1"} for name in names]}, **spec)


def test_a_plain_pod_is_taken() -> None:
    assert admit(pod(), grounds()) is None


@pytest.mark.parametrize("name", ["kernel.msgmax", "net.core.somaxconn", "net/core/somaxconn", "vm.swappiness"])
def test_a_sysctl_that_is_not_safe_is_forbidden(name: str) -> None:
    shown = name.replace("/", ".")
    assert admit(sysctls("net.ipv4.tcp_syncookies", name), grounds()) == Refusal(
        "SysctlForbidden", f'forbidden sysctl: "{shown}" not allowlisted'
    )


def test_the_nodes_configuration_allows_sysctls_by_name_and_by_prefix() -> None:
    allowed = ("kernel.msg*", "net.core.somaxconn")
    assert reason(sysctls("kernel.msgmax", "net.core.somaxconn"), allowed_unsafe_sysctls=allowed) == ""
    assert reason(sysctls("net.core.somaxconn2"), allowed_unsafe_sysctls=allowed) == "SysctlForbidden"


def test_a_sysctl_of_the_hosts_own_namespace_is_forbidden() -> None:
    assert admit(sysctls("kernel.shm_rmid_forced", hostIPC=True), grounds()) == Refusal(
        "SysctlForbidden", 'forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host IPC enabled'
    )
    refusal = admit(sysctls("net.ipv4.tcp_syncookies", hostNetwork=True), grounds())
    assert refusal is not None and "not allowed with host Net enabled" in refusal.message


def test_only_sysctls_of_a_namespace_can_be_allowed() -> None:
    verify_sysctl_patterns(["kernel.msg*", "net/core/somaxconn", "net.*"])
    for bad in ("vm.swappiness", "kernel.*", "*", "net.*.x", "kernel.panic"):
        with pytest.raises(ValueError):
            verify_sysctl_patterns([bad])


def test_pods_of_another_system_are_not_supported() -> None:
    assert admit(pod(os={"name": "windows"}), grounds()) == Refusal(
        "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"
    )
    assert reason(pod(os={"name": "linux"})) == ""
    assert admit(pod(labels={"kubernetes.io/os": "windows"}), grounds()) == Refusal(
        "PodOSSelectorNodeLabelDoesNotMatch",
        "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
    )


def test_strict_supplemental_groups_need_a_runtime_that_knows_them() -> None:
    strict = pod(securityContext={"supplementalGroupsPolicy": "Strict"})
    assert admit(strict, grounds()) == Refusal(
        "SupplementalGroupsPolicyNotSupported", "SupplementalGroupsPolicy=Strict is not supported in this node"
    )
    assert reason(strict, supplemental_groups_policy=True) == ""
    assert reason(pod(securityContext={"supplementalGroupsPolicy": "Merge"})) == ""


def test_what_the_node_has_not_left_is_told_with_its_numbers() -> None:
    others = [pod(asking(cpu="3", memory="1Gi"))]
    assert admit(pod(asking(cpu="1500m")), grounds(others=others)) == Refusal(
        "OutOfcpu", "Node didn't have enough resource: cpu, requested: 1500, used: 3000, capacity: 4000"
    )
    assert admit(pod(asking(memory="8Gi")), grounds(others=others)) == Refusal(
        "OutOfmemory",
        f"Node didn't have enough resource: memory, requested: {8 * GIB}, used: {GIB}, capacity: {8 * GIB}",
    )
    assert reason(pod(asking(cpu="1")), others=others) == ""
    assert reason(pod(asking(ephemeral_storage="200Gi"))) == "OutOfephemeral-storage"
    assert reason(pod(asking(**{"hugepages-2Mi": "2Mi"}))) == "OutOfhugepages-2Mi"


def test_what_a_pod_asks_for_as_a_whole_counts() -> None:
    assert reason(pod(resources={"requests": {"cpu": "5"}})) == "OutOfcpu"
    others = [pod(resources={"requests": {"cpu": "3"}})]
    assert reason(pod(asking(cpu="2")), others=others) == "OutOfcpu"


def test_the_number_of_pods_is_bounded() -> None:
    assert admit(pod(), grounds(others=[pod()] * 10)) == Refusal(
        "OutOfpods", "Node didn't have enough resource: pods, requested: 1, used: 10, capacity: 10"
    )


def test_resources_that_the_node_never_heard_of_are_not_its_to_refuse() -> None:
    wanted = pod(asking(**{"example.com/gpu": "1"}))
    assert reason(wanted) == ""
    assert reason(wanted, room={"example.com/gpu": 0}) == "OutOfexample.com/gpu"
    assert reason(wanted, room={"example.com/gpu": 1}) == ""


def test_a_pod_that_does_not_want_the_node_is_refused() -> None:
    elsewhere = pod(nodeSelector={"zone": "b"})
    assert admit(elsewhere, grounds()) == Refusal(
        "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    )
    terms = [{"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    assert reason(pod(affinity={"nodeAffinity": required})) == "NodeAffinity"
    assert reason(pod(nodeSelector={"zone": "a"})) == ""


def test_a_pod_of_another_node_is_refused() -> None:
    assert admit(pod(nodeName="n2"), grounds()) == Refusal(
        "NodeName", "Predicate NodeName failed: node(s) didn't match the requested node name"
    )


@pytest.mark.parametrize(
    ("wanted", "taken", "free"),
    [
        ({"hostPort": 80}, {"hostPort": 80}, False),
        ({"hostPort": 80, "hostIP": "192.0.2.1"}, {"hostPort": 80}, False),
        ({"hostPort": 80, "hostIP": "192.0.2.1"}, {"hostPort": 80, "hostIP": "192.0.2.2"}, True),
        ({"hostPort": 80, "protocol": "UDP"}, {"hostPort": 80}, True),
        ({"containerPort": 80}, {"hostPort": 80}, True),
    ],
)
def test_ports_of_the_node_are_taken_once(wanted: Any, taken: Any, free: bool) -> None:
    refusal = admit(pod({"ports": [wanted]}), grounds(others=[pod({"ports": [taken]})]))
    expected = Refusal(
        "NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    )
    assert refusal == (None if free else expected)


def test_a_taint_that_ends_pods_keeps_them_away_and_one_that_only_repels_does_not() -> None:
    ending = {"key": "maintenance", "effect": "NoExecute"}
    assert admit(pod(), grounds(taints=[ending])) == Refusal(
        "TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
    )
    assert reason(pod(tolerations=[{"operator": "Exists"}]), taints=[ending]) == ""
    assert reason(pod(), taints=[{"key": "maintenance", "effect": "NoSchedule"}]) == ""
    static = pod()
    static["metadata"]["annotations"] = {"kubernetes.io/config.source": "file"}
    assert reason(static, taints=[ending]) == ""


def test_a_pod_that_was_taken_before_stays_when_labels_and_taints_changed() -> None:
    moved = {"labels": {}, "taints": [{"key": "maintenance", "effect": "NoExecute"}]}
    assert reason(pod(nodeSelector={"zone": "a"}), **moved) == "NodeAffinity"
    assert reason(pod(nodeSelector={"zone": "a"}), **moved, taken_before=True) == ""
    assert reason(pod(asking(cpu="5")), taken_before=True) == "OutOfcpu"


@pytest.mark.parametrize("level", ["pod", "container"])
def test_apparmor_is_refused_where_the_kernel_does_not_enforce_it(level: str) -> None:
    def asks(profile: Any) -> Any:
        context = {"securityContext": {"appArmorProfile": profile}}
        return pod(**context) if level == "pod" else pod(context)

    assert admit(asks({"type": "RuntimeDefault"}), grounds()) == Refusal(
        "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"
    )
    assert reason(asks({"type": "RuntimeDefault"}), apparmor=True) == ""
    assert reason(asks({"type": "Unconfined"})) == ""
    assert reason(asks({"type": "Localhost", "localhostProfile": " "}), apparmor=True) == "AppArmor"


@pytest.mark.parametrize("level", ["pod", "container"])
def test_labels_that_the_kernel_would_enforce_are_refused_where_the_runtime_sets_none(level: str) -> None:
    context = {"securityContext": {"seLinuxOptions": {"level": "s0:c1,c2"}}}
    labelled = pod(**context) if level == "pod" else pod(context)
    assert reason(labelled) == ""
    assert admit(labelled, grounds(selinux=True)) == Refusal(
        "PodFeatureUnsupported", "Pod requires node features that are not available: SELinux labels"
    )
    assert reason(pod(), selinux=True) == ""


def test_a_node_under_pressure_takes_only_what_may_stay() -> None:
    assert admit(pod(), grounds(pressures=["MemoryPressure"])) == Refusal(
        "Evicted", "The node had condition: [MemoryPressure]. "
    )
    assert reason(pod(asking(cpu="1")), pressures=["MemoryPressure"]) == ""
    tolerant = pod(tolerations=[{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}])
    assert reason(tolerant, pressures=["MemoryPressure"]) == ""
    both = grounds(pressures=["DiskPressure", "MemoryPressure"])
    assert admit(pod(asking(cpu="1")), both) == Refusal(
        "Evicted", "The node had condition: [MemoryPressure DiskPressure]. "
    )
    assert reason(pod(priority=2_000_000_000), pressures=["DiskPressure"]) == ""


def test_the_checks_come_in_the_kubelets_order() -> None:
    """A pod that fails all of them, mended one by one."""
    everything: dict[str, Any] = {
        "pressures": ["PIDPressure"],
        "taints": [{"key": "x", "effect": "NoExecute"}],
        "others": [pod({"ports": [{"hostPort": 80}]})],
    }
    bad = pod(
        {"ports": [{"hostPort": 80}], **asking(cpu="9")},
        {"kubernetes.io/os": "windows"},
        nodeName="n2",
        nodeSelector={"zone": "b"},
        os={"name": "windows"},
        securityContext={
            "sysctls": [{"name": "kernel.msgmax", "value": "1"}],
            "supplementalGroupsPolicy": "Strict",
            "appArmorProfile": {"type": "RuntimeDefault"},
        },
    )
    mend = {
        "Evicted": lambda: everything.pop("pressures"),
        "SysctlForbidden": lambda: bad["spec"]["securityContext"].pop("sysctls"),
        "PodOSSelectorNodeLabelDoesNotMatch": lambda: bad["metadata"].pop("labels"),
        "PodOSNotSupported": lambda: bad["spec"].pop("os"),
        "SupplementalGroupsPolicyNotSupported": lambda: bad["spec"]["securityContext"].pop("supplementalGroupsPolicy"),
        "OutOfcpu": lambda: bad["spec"]["containers"][0].pop("resources"),
        "NodeAffinity": lambda: bad["spec"].pop("nodeSelector"),
        "NodeName": lambda: bad["spec"].update(nodeName="n1"),
        "NodePorts": lambda: bad["spec"]["containers"][0].pop("ports"),
        "TaintToleration": lambda: everything.pop("taints"),
        "AppArmor": lambda: bad["spec"].pop("securityContext"),
    }
    for expected, repair in mend.items():
        assert reason(bad, **everything) == expected
        repair()
    assert reason(bad, **everything) == ""


def test_a_damaged_pod_or_node_raises_nothing() -> None:
    for damaged in (
        {},
        {"spec": 1},
        {"metadata": {"labels": []}, "spec": {"containers": 3, "os": "x", "affinity": []}},
    ):
        admit(damaged, Grounds(node={"spec": {"taints": 1}, "status": None}, allocatable={}))
