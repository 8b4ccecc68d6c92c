"""What a pod asks for of isolation reaches the runtime, or is refused by name: nothing is left out quietly."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.pods import render, security

CONFIG = NodeConfig(node_name="n", addresses=("192.0.2.1",))
IMAGE = runtime.Image("i", ("i:1",), (), 1)
ABLE = runtime.Features(
    {
        "": runtime.HandlerFeatures(recursive_read_only_mounts=True),
        "nested": runtime.HandlerFeatures(user_namespaces=True),
    },
    supplemental_groups_policy=True,
)


def pod(container: Any = None, **extra: Any) -> Any:
    return {
        "metadata": {"name": "web", "namespace": "d", "uid": "u"},
        "spec": {"containers": [{"name": "main", "image": "i", **(container or {})}], **extra},
    }


def made(asked: Any, mounts: Any = (), seccomp_root: str = "/node/seccomp") -> runtime.ContainerConfig:
    inputs = render.ContainerInputs(
        attempt=0, image=IMAGE, environment={}, command=(), args=(), mounts=mounts, seccomp_root=seccomp_root
    )
    return render.container_config(asked, asked["spec"]["containers"][0], inputs)


def sandbox(asked: Any) -> runtime.SandboxConfig:
    return render.sandbox_config(asked, CONFIG, render.HostDns(), 0, "")


def test_a_user_namespace_that_the_runtime_lacks_is_refused_by_name() -> None:
    with pytest.raises(security.SandboxRefused) as found:
        security.verify_sandbox(pod(hostUsers=False), runtime.Features(), "")
    assert str(found.value) == "can't set `spec.hostUsers: false`, runtime does not support user namespaces"
    with pytest.raises(security.SandboxRefused) as found:
        security.verify_sandbox(pod(hostUsers=False), ABLE, "old")
    assert 'RuntimeClass handler "old" does not support user namespaces' in str(found.value)
    with pytest.raises(security.SandboxRefused, match="not supported by this node"):
        security.verify_sandbox(pod(hostUsers=False), ABLE, "nested")


@pytest.mark.parametrize("users", [{}, {"hostUsers": True}, {"hostUsers": None}])
def test_the_nodes_own_users_need_nothing_of_the_runtime(users: Any) -> None:
    security.verify_sandbox(pod(**users), runtime.Features(), "")


def test_proc_is_unmasked_only_below_a_user_namespace_of_its_own() -> None:
    unmasked = {"securityContext": {"procMount": "Unmasked"}}
    assert made(pod(unmasked)).security.masked_paths == security.MASKED_PATHS
    assert made(pod(unmasked, hostUsers=True)).security.readonly_paths == security.READONLY_PATHS
    assert made(pod(unmasked, hostUsers=False)).security.masked_paths == ()


MOUNT = runtime.Mount("/host/v", "/v", readonly=True)


def mounting(mode: str | None, **more: Any) -> Any:
    return {"volumeMounts": [{"name": "mnt", "mountPath": "v", "readOnly": True, "recursiveReadOnly": mode, **more}]}


def resolved(container: Any, features: runtime.Features) -> runtime.Mount:
    [mount] = security.resolve_recursive_readonly(container, [MOUNT], features.of(""))
    return mount


def test_a_mount_is_read_only_all_the_way_down_where_the_runtime_can() -> None:
    assert resolved(mounting("Enabled"), ABLE).recursive_readonly
    assert resolved(mounting("IfPossible"), ABLE).recursive_readonly
    assert not resolved(mounting("IfPossible"), runtime.Features()).recursive_readonly
    assert not resolved(mounting("Disabled"), ABLE).recursive_readonly
    assert resolved(mounting(None), ABLE) == MOUNT


@pytest.mark.parametrize(
    ("container", "features", "why"),
    [
        (mounting("Enabled"), runtime.Features(), "it is not supported by the runtime"),
        (mounting("IfPossible", readOnly=False), ABLE, "it is not read-only"),
        (
            mounting("Enabled", mountPropagation="HostToContainer"),
            ABLE,
            'it is not compatible with propagation "HostToContainer"',
        ),
    ],
)
def test_a_mount_that_cannot_be_read_only_all_the_way_down_is_refused(
    container: Any, features: runtime.Features, why: str
) -> None:
    with pytest.raises(security.ContainerRefused) as found:
        security.resolve_recursive_readonly(container, [MOUNT], features.of(""))
    start = 'failed to resolve recursive read-only mode: volume "mnt" requested recursive read-only mode, but '
    assert str(found.value) == start + why


def test_seccomp_profiles_of_the_node_lie_below_its_own_directory() -> None:
    def localhost(name: str) -> Any:
        return pod({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": name}}})

    assert CONFIG.seccomp_root == CONFIG.root_dir / "seccomp"
    profile = made(localhost("team/audit.json")).security.seccomp
    assert profile == runtime.SecurityProfile("Localhost", "/node/seccomp/team/audit.json")
    for bad in ("../kubeconfig", "team/../../x", "/etc/x", ""):
        with pytest.raises(security.ContainerRefused):
            made(localhost(bad))
    with pytest.raises(security.ContainerRefused):
        made(localhost("audit.json"), seccomp_root="")


def test_the_pods_seccomp_profile_is_that_of_containers_without_one() -> None:
    both = pod(securityContext={"seccompProfile": {"type": "RuntimeDefault"}})
    assert made(both).security.seccomp == runtime.SecurityProfile("RuntimeDefault")
    assert made(pod()).security.seccomp == runtime.SecurityProfile("Unconfined")


def test_apparmor_profiles_are_named_to_the_runtime() -> None:
    named = {"securityContext": {"appArmorProfile": {"type": "Localhost", "localhostProfile": "team-web"}}}
    assert made(pod(named)).security.apparmor == runtime.SecurityProfile("Localhost", "team-web")
    whole = pod(securityContext={"appArmorProfile": {"type": "RuntimeDefault"}})
    assert made(whole).security.apparmor == runtime.SecurityProfile("RuntimeDefault")


def test_selinux_options_reach_sandbox_and_container() -> None:
    options = {"level": "s0:c1,c2", "type": "spc_t"}
    asked = pod(securityContext={"seLinuxOptions": options})
    expected = runtime.SELinuxOptions(level="s0:c1,c2", type="spc_t")
    assert sandbox(asked).selinux == made(asked).security.selinux == expected
    own = pod({"securityContext": {"seLinuxOptions": {"level": "s0"}}}, securityContext={"seLinuxOptions": options})
    assert made(own).security.selinux == runtime.SELinuxOptions(level="s0")
    assert made(pod()).security.selinux is None


def test_strict_groups_reach_sandbox_and_container() -> None:
    strict = pod(securityContext={"supplementalGroupsPolicy": "Strict", "supplementalGroups": [60000]})
    assert sandbox(strict).strict_groups and made(strict).security.strict_groups
    merged = pod(securityContext={"supplementalGroupsPolicy": "Merge"})
    assert not sandbox(merged).strict_groups and not made(merged).security.strict_groups


def test_a_stop_signal_reaches_the_container() -> None:
    def ending(name: str) -> Any:
        return pod({"lifecycle": {"stopSignal": name}})

    assert made(ending("SIGUSR1")).stop_signal == "SIGUSR1"
    assert made(ending("SIGRTMIN+15")).stop_signal == "SIGRTMIN+15"
    assert made(pod()).stop_signal == ""
    for bad in ("SIGNONE", "USR1", "SIGRTMIN+16", "SIGTERM+1", "SIG_BLOCK"):
        with pytest.raises(security.ContainerRefused, match="invalid stop signal"):
            made(ending(bad))
        assert security.stop_signal(ending(bad)["spec"]["containers"][0]) == ""


def test_what_no_runtime_here_can_do_is_refused_by_name() -> None:
    options = {"volumeMounts": [{"name": "v", "mountPath": "/v", "bindMountOptions": ["noexec", "nosuid"]}]}
    with pytest.raises(security.ContainerRefused) as found:
        made(pod(options))
    assert str(found.value) == (
        'volume "v" requested bind mount options (noexec, nosuid), but they are not supported by the runtime'
    )
