"""The Pod Security Standards: each check, the versions in which it holds, and upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.podsecurity.policies import LATEST, Level, Policy, Standard, parse_version, policy_of
from sampan.api.podsecurity.standards import describe, judge
from sampan.api.podsecurity.templates import is_significant, template_of

HARDENED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def said(level: Level, spec: dict[str, Any], version: str = "latest", annotations: dict[str, str] | None = None) -> str:
    metadata = {"annotations": annotations} if annotations else {}
    return describe(judge(Standard(level, parse_version(version)), metadata, spec))


def container(name: str = "c", **security: Any) -> dict[str, Any]:
    return {"name": name, **({"securityContext": security} if security else {})}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"containers": list(containers) or [container()], **spec}


BASELINE = [
    (pod(container(privileged=True)), 'privileged (container "c" must not set securityContext.privileged=true)'),
    (
        pod(hostNetwork=True, hostIPC=True, hostPID=True),
        "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
    ),
    (
        pod(volumes=[{"name": "a", "hostPath": {}}, {"name": "b", "emptyDir": {}}, {"name": "d", "hostPath": {}}]),
        'hostPath volumes (volumes "a", "d")',
    ),
    (
        pod(
            {"name": "a", "ports": [{"hostPort": 8080}, {"hostPort": 0}]},
            {"name": "b", "ports": [{"hostPort": 10}, {"containerPort": 1}]},
        ),
        'hostPort (containers "a", "b" use hostPorts 10, 8080)',
    ),
    (
        pod(
            {"name": "a", "livenessProbe": {"httpGet": {"host": "10.0.0.1"}}},
            {"name": "b", "lifecycle": {"preStop": {"tcpSocket": {"host": "x"}}}},
            {"name": "d", "readinessProbe": {"httpGet": {"host": ""}}},
        ),
        'probe or lifecycle host (containers "a", "b" use probe or lifecycle hosts "10.0.0.1", "x")',
    ),
    (
        pod(container(capabilities={"add": ["NET_ADMIN", "CHOWN", "BPF"]})),
        'non-default capabilities (container "c" must not include "BPF", "NET_ADMIN" in '
        "securityContext.capabilities.add)",
    ),
    (
        pod(container(procMount="Unmasked"), container("d", procMount="Default")),
        'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        pod(container(seLinuxOptions={"type": "x", "user": "u"}), securityContext={"seLinuxOptions": {"role": "r"}}),
        'seLinuxOptions (pod and container "c" set forbidden securityContext.seLinuxOptions: type "x"; user may not be '
        "set; role may not be set)",
    ),
    (
        pod(
            container(seccompProfile={"type": "Unconfined"}), securityContext={"seccompProfile": {"type": "Unconfined"}}
        ),
        'seccompProfile (pod and container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
    (
        pod(container(appArmorProfile={"type": "Unconfined"})),
        'forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")',
    ),
    (
        pod(securityContext={"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_syncookies"}]}),
        "forbidden sysctls (kernel.msgmax)",
    ),
    (
        pod(container(windowsOptions={"hostProcess": True})),
        'hostProcess (container "c" must not set securityContext.windowsOptions.hostProcess=true)',
    ),
]


@pytest.mark.parametrize(("spec", "words"), BASELINE, ids=[words.split(" (")[0] for _, words in BASELINE])
def test_baseline_forbids(spec: dict[str, Any], words: str) -> None:
    assert said("baseline", spec) == words
    assert said("privileged", spec) == ""


RESTRICTED = [
    (
        {"allowPrivilegeEscalation": None},
        {},
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)',
    ),
    (
        {"capabilities": {"drop": ["KILL"], "add": ["NET_BIND_SERVICE", "CHOWN"]}},
        {},
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]; container "c" '
        'must not include "CHOWN" in securityContext.capabilities.add)',
    ),
    (
        {},
        {"volumes": [{"name": "a", "hostPath": {}}, {"name": "b", "nfs": {}}, {"name": "i", "image": {}}]},
        'restricted volume types (volumes "a", "b" use restricted volume types "hostPath", "nfs")',
    ),
    (
        {"runAsNonRoot": None},
        {},
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)',
    ),
    (
        {"runAsNonRoot": False},
        {"securityContext": {"runAsNonRoot": False}},
        'runAsNonRoot != true (pod and container "c" must not set securityContext.runAsNonRoot=false)',
    ),
    ({"runAsUser": 0}, {}, 'runAsUser=0 (container "c" must not set runAsUser=0)'),
    (
        {"seccompProfile": None},
        {},
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")',
    ),
    (
        {"seccompProfile": {"type": "Unconfined"}},
        {},
        'seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
]


@pytest.mark.parametrize(("security", "spec", "words"), RESTRICTED)
def test_restricted_forbids(security: dict[str, Any], spec: dict[str, Any], words: str) -> None:
    assert said("restricted", pod(container(**{**HARDENED, **security}), **spec)) == words


def test_a_hardened_pod_breaks_nothing_in_any_version() -> None:
    spec = pod(container(**HARDENED), initContainers=[container("i", **HARDENED)])
    assert [said("restricted", spec, f"v1.{minor}") for minor in range(40)] == [""] * 40


def test_what_the_pod_sets_holds_for_containers_that_say_nothing() -> None:
    bare = {key: HARDENED[key] for key in ("allowPrivilegeEscalation", "capabilities")}
    whole = {key: HARDENED[key] for key in ("runAsNonRoot", "seccompProfile")}
    assert said("restricted", pod(container(**bare), securityContext=whole)) == ""


def test_a_plain_pod_is_told_all_that_restricted_wants_in_upstreams_order() -> None:
    assert said("restricted", pod(container("nginx"))) == (
        'allowPrivilegeEscalation != false (container "nginx" must set '
        "securityContext.allowPrivilegeEscalation=false), "
        'unrestricted capabilities (container "nginx" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "nginx" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "nginx" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")'
    )


def test_baseline_comes_before_restricted_and_is_not_said_twice() -> None:
    spec = pod(container(privileged=True, **HARDENED), hostNetwork=True, volumes=[{"name": "v", "hostPath": {}}])
    assert [found.reason for found in judge(Standard("restricted"), {}, spec)] == [
        "host namespaces",
        "privileged",
        "restricted volume types",
    ]


@pytest.mark.parametrize("field", ["initContainers", "containers", "ephemeralContainers"])
def test_no_sort_of_container_is_forgotten(field: str) -> None:
    spec = {"containers": [container("c", **HARDENED)]} | {field: [container("x", privileged=True, **HARDENED)]}
    assert said("baseline", spec) == 'privileged (container "x" must not set securityContext.privileged=true)'


@pytest.mark.parametrize(
    ("level", "spec", "since", "until"),
    [
        ("restricted", pod(container(**HARDENED | {"allowPrivilegeEscalation": True})), 8, None),
        ("restricted", pod(container(**HARDENED | {"capabilities": {}})), 22, None),
        ("restricted", pod(container(**HARDENED | {"seccompProfile": None})), 19, None),
        ("restricted", pod(container(**HARDENED | {"runAsUser": 0})), 23, None),
        ("restricted", pod(container(), os={"name": "windows"}, securityContext={"runAsNonRoot": True}), 8, 25),
        ("restricted", pod(container(**HARDENED | {"runAsUser": 0}), hostUsers=False), 23, 35),
        ("restricted", pod(container(**HARDENED | {"runAsNonRoot": None}), hostUsers=False), 0, 35),
        ("restricted", pod(container(**HARDENED, procMount="Unmasked"), hostUsers=False), 0, None),
        ("baseline", pod(container(procMount="Unmasked"), hostUsers=False), 0, 35),
        ("baseline", pod(container(seLinuxOptions={"type": "container_engine_t"})), 0, 31),
        ("baseline", pod({"name": "c", "startupProbe": {"tcpSocket": {"host": "h"}}}), 34, None),
        ("baseline", pod(securityContext={"sysctls": [{"name": "net.ipv4.ip_local_reserved_ports"}]}), 0, 27),
        ("baseline", pod(securityContext={"sysctls": [{"name": "net.ipv4.tcp_fin_timeout"}]}), 0, 29),
        ("baseline", pod(securityContext={"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}), 0, 32),
        ("baseline", pod(container(seccompProfile={"type": "Unconfined"})), 19, None),
    ],
)
def test_a_check_holds_in_its_versions(level: Level, spec: dict[str, Any], since: int, until: int | None) -> None:
    forbidden = {minor for minor in range(45) if judge(Standard(level, minor), {}, spec)}
    assert forbidden == set(range(since, until if until is not None else 45))
    assert bool(judge(Standard(level, LATEST), {}, spec)) == (until is None)


def test_annotations_of_old_are_judged_in_the_versions_that_knew_them() -> None:
    seccomp = {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}
    words = 'seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")'
    assert said("baseline", pod(), "v1.18", seccomp) == words
    assert said("baseline", pod(), "v1.19", seccomp) == ""
    apparmor = {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}
    assert said("baseline", pod(), "latest", apparmor) == (
        "forbidden AppArmor profile (annotation must not set AppArmor profile type to "
        '"container.apparmor.security.beta.kubernetes.io/c="unconfined"")'
    )


@pytest.mark.parametrize("junk", [None, 5, "x", [], [1, None], {"securityContext": 7}])
def test_what_is_no_pod_is_judged_without_an_error(junk: Any) -> None:
    for field in ("containers", "volumes", "securityContext", "os"):
        judge(Standard("restricted"), {"annotations": junk}, {field: junk})


# Policies


def test_labels_override_what_holds_by_default() -> None:
    defaults = Policy(Standard("baseline", 20), Standard("baseline"), Standard("restricted"))
    assert policy_of({"app": "x"}, defaults) == (defaults, [])
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn-version": "v1.30"}
    policy, faults = policy_of(labels, defaults)
    assert (str(policy.enforce), str(policy.audit), str(policy.warn), faults) == (
        "restricted:v1.20",
        "baseline:latest",
        "restricted:v1.30",
        [],
    )


def test_a_wrong_label_enforces_the_strictest_and_silences_what_only_tells() -> None:
    prefix = "pod-security.kubernetes.io/"
    policy, faults = policy_of({prefix + mode: "x" for mode in ("enforce", "audit", "warn")}, Policy())
    assert [policy.enforce.level, policy.audit.level, policy.warn.level] == ["restricted", "privileged", "privileged"]
    assert faults[0].message() == (
        'metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "x": must be one of privileged, '
        "baseline, restricted"
    )


@pytest.mark.parametrize("version", ["", "1.2", "v1", "v2.0", "v1.01", "v1.x", "v1.²", f"v1.{'9' * 400}"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match=r'must be "latest" or "v1.x"'):
        parse_version(version)


# What is judged


def test_the_template_of_every_workload_is_found() -> None:
    template = {"spec": {"containers": []}}
    assert template_of(("apps", "deployments"), {"spec": {"template": template}}) == template
    assert template_of(("batch", "cronjobs"), {"spec": {"jobTemplate": {"spec": {"template": template}}}}) == template
    assert template_of(("", "podtemplates"), {"template": template}) == template
    assert template_of(("", "replicationcontrollers"), {"spec": {}}) is None


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        ({}, False),
        ({"containers": [{"name": "c", "image": "b"}]}, True),
        ({"ephemeralContainers": [{"name": "e"}]}, True),
        ({"initContainers": [{"name": "i"}]}, True),
        ({"tolerations": [{}]}, False),
        ({"containers": [{"name": "c", "image": "a", "resources": {"limits": {"cpu": "1"}}}]}, False),
    ],
)
def test_only_images_and_new_containers_make_an_update_matter(change: dict[str, Any], matters: bool) -> None:
    old = {"spec": {"containers": [{"name": "c", "image": "a"}]}}
    assert is_significant({"spec": {**old["spec"], **change}}, old) is matters
