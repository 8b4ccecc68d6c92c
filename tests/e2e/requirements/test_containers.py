"""What a container runs, as whom, what it may write, what it says at its end, and what its log holds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from e2e_harness import Cluster
from requirement_room import Obj, Room, container, pod, status_of, terminated

#: an image with an entrypoint and arguments of its own
SPEAKING = "docker.io/sampan/speaking:1"
NOBODY = 65534


def ending(name: str, script: str, policy: str = "File", **more: Any) -> Obj:
    return container(script, name, terminationMessagePolicy=policy, **more)


HOSTS = {"volumeMounts": [{"name": "hosts", "mountPath": "/etc/hosts"}]}
#: what takes a right that only the privileged have
CONFIGURE = "ip link set lo mtu 1400 && echo made || echo refused"


def speaking(name: str, **more: Any) -> Obj:
    return container("", name, **{"image": SPEAKING, "command": None, **more})


def prepare(cluster: Cluster, directory: Path) -> None:
    """An image that says what it is given, and has a program ``whose`` which everybody runs as root, if that is let."""
    whose = directory / "whose"
    shutil.copyfile(Path(shutil.which("id") or "id").resolve(), whose)
    whose.chmod(0o4755)
    cluster.sampan(
        "image", "build", "--name", cluster.name, "-t", SPEAKING, "--binary", f"{shutil.which('busybox')}:/bin/echo",
        "--binary", f"{whose}:/bin/whose", "--entrypoint", "/bin/echo image", "--cmd", "default arguments",
    )  # fmt: skip


PODS = (
    pod(
        "speaking",
        speaking("defaults"),
        speaking("arguments", args=["override", "arguments"]),
        speaking("command", command=["/bin/echo", "other"]),
        speaking("both", command=["/bin/echo", "other"], args=["override", "arguments"]),
    ),
    pod(
        "messages",
        ending("empty", "echo DONE", "FallbackToLogsOnError"),
        ending("file", "echo out; printf OK >/dev/termination-log", "FallbackToLogsOnError"),
        ending("logged", "printf DONE; exit 1", "FallbackToLogsOnError"),
        ending(
            "elsewhere", "id -u >&2; printf DONE >/dev/termination-custom-log",
            terminationMessagePath="/dev/termination-custom-log", securityContext={"runAsUser": 1000},
        ),
    ),
    pod("talking", container("echo Hello World; echo to stderr >&2")),
    pod("failing", container("exit 1"), restartPolicy="Always"),
    pod("read-only", container("echo test >/file; cat /file", securityContext={"readOnlyRootFilesystem": True})),
    pod("writable", container("echo test >/file; cat /file", securityContext={"readOnlyRootFilesystem": False})),
    pod(
        "aliases", container("cat /etc/hosts"),
        hostAliases=[
            {"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}, {"ip": "12.34.56.78", "hostnames": ["baz"]},
        ],
    ),
    pod(
        "hosts", container("cat /etc/hosts"), container("cat /etc/hosts", "of-its-own", **HOSTS),
        volumes=[{"name": "hosts", "hostPath": {"path": "/etc/hosts", "type": "File"}}],
    ),
    pod("hosts-of-node", container("cat /etc/hosts"), hostNetwork=True),
    pod(
        "users",
        container("id", "container-user", securityContext={"runAsUser": NOBODY}),
        container("id", "container-group", securityContext={"runAsUser": 1001, "runAsGroup": 2002}),
    ),
    pod("pod-users", container("id"), securityContext={"runAsUser": 1001, "runAsGroup": 2002}),
    pod(
        "rights",
        container(CONFIGURE, "unprivileged", securityContext={"privileged": False}),
        container(CONFIGURE, "privileged", securityContext={"privileged": True}),
    ),
    pod(
        "escalation",
        speaking("refused", command=["whose"], securityContext={"runAsUser": 1000, "allowPrivilegeEscalation": False}),
        speaking("let", command=["whose"], securityContext={"runAsUser": 1000, "allowPrivilegeEscalation": True}),
    ),
    pod(
        "sysctls", container("cat /proc/sys/kernel/shm_rmid_forced"),
        securityContext={"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]},
    ),
)  # fmt: skip


def test_the_image_says_what_runs_unless_the_container_does(room: Room) -> None:
    """Containers should use the image defaults if command and args are blank [NodeConformance]; Containers should be
    able to override the image's default arguments (container cmd) [NodeConformance]; Containers should be able to
    override the image's default command (container entrypoint) [NodeConformance]; Containers should be able to override
    the image's default command and arguments [NodeConformance]"""
    assert room.ended("speaking")["status"]["phase"] == "Succeeded"
    said = {name: room.log("speaking", name).strip() for name in ("defaults", "arguments", "command", "both")}
    assert said == {
        "defaults": "image default arguments",
        "arguments": "image override arguments",
        "command": "other",
        "both": "other override arguments",
    }


def test_last_words_come_from_the_file_or_after_a_failure_from_the_log(room: Room) -> None:
    """Container Runtime blackbox test on terminated container should report termination message as empty when pod
    succeeds and TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance]; Container Runtime blackbox
    test on terminated container should report termination message from file when pod succeeds and
    TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance]; Container Runtime blackbox test on
    terminated container should report termination message from log output if TerminationMessagePolicy
    FallbackToLogsOnError is set [NodeConformance]"""
    found = room.ended("messages")
    said = {name: terminated(found, name).get("message", "") for name in ("empty", "file", "logged")}
    assert said == {"empty": "", "file": "OK", "logged": "DONE"}
    assert terminated(found, "logged")["exitCode"] == 1


def test_whoever_is_not_root_leaves_last_words_where_it_was_told_to(room: Room) -> None:
    """Container Runtime blackbox test on terminated container should report termination message if
    TerminationMessagePath is set as non-root user and at a non-default path [NodeConformance]"""
    assert terminated(room.ended("messages"), "elsewhere")["message"] == "DONE"
    assert room.log("messages", "elsewhere") == "1000\n"


def test_the_log_holds_what_was_printed(room: Room) -> None:
    """Kubelet when scheduling a busybox command in a pod should print the output to logs [NodeConformance]"""
    room.ended("talking")
    assert sorted(room.log("talking").splitlines()) == ["Hello World", "to stderr"]


def test_what_always_fails_has_a_reason_and_can_be_deleted(room: Room) -> None:
    """Kubelet when scheduling a busybox command that always fails in a pod should have an terminated reason
    [NodeConformance]; Kubelet when scheduling a busybox command that always fails in a pod should be possible to delete
    [NodeConformance]"""

    def end(found: Obj) -> Obj:
        state: Obj = terminated(found) or status_of(found).get("lastState", {}).get("terminated", {})
        return state

    found = end(room.until("failing", end))
    assert (found["reason"], found["exitCode"]) == ("Error", 1)
    room.delete("failing")
    assert room.gone("failing")


def test_a_root_file_system_is_written_to_unless_it_is_read_only(room: Room) -> None:
    """Kubelet when scheduling a read only busybox container should not write to root filesystem [LinuxOnly]
    [NodeConformance]; Security Context When creating a pod with readOnlyRootFilesystem should run the container with
    writable rootfs when readOnlyRootFilesystem=false [NodeConformance]"""
    assert room.ended("read-only")["status"]["phase"] == "Failed"
    assert "Read-only file system" in room.log("read-only") and "test" not in room.log("read-only").split()
    assert room.ended("writable")["status"]["phase"] == "Succeeded"
    assert room.log("writable") == "test\n"


def test_aliases_of_hosts_stand_in_the_hosts_file(room: Room) -> None:
    """Kubelet when scheduling an agnhost Pod with hostAliases should write entries to /etc/hosts [NodeConformance]"""
    room.ended("aliases")
    lines = room.log("aliases").splitlines()
    assert {"123.45.67.89\tfoo\tbar", "12.34.56.78\tbaz"} <= set(lines)


def test_the_hosts_file_is_the_nodes_agents_unless_a_container_has_its_own(room: Room) -> None:
    """KubeletManagedEtcHosts should test kubelet managed /etc/hosts file [NodeConformance]"""
    managed = "# Kubernetes-managed hosts file."
    for name in ("hosts", "hosts-of-node"):
        room.ended(name)
    own = Path("/etc/hosts").read_text()
    assert managed not in own
    assert room.log("hosts").startswith(f"{managed}\n")
    assert room.log("hosts", "of-its-own") == own
    of_node = room.log("hosts-of-node")
    assert managed not in of_node and own.strip() in of_node


def test_programs_run_as_the_user_and_group_they_are_given(room: Room) -> None:
    """Security Context When creating a container with runAsUser should run the container with uid 65534 [LinuxOnly]
    [NodeConformance]; Security Context should support container.SecurityContext.RunAsUser And
    container.SecurityContext.RunAsGroup [LinuxOnly]; Security Context should support pod.Spec.SecurityContext.RunAsUser
    And pod.Spec.SecurityContext.RunAsGroup [LinuxOnly]"""
    room.ended("users")
    room.ended("pod-users")
    assert room.log("users", "container-user").startswith("uid=65534")
    assert room.log("users", "container-group").startswith("uid=1001 gid=2002")
    assert room.log("pod-users").startswith("uid=1001 gid=2002")


def test_who_is_not_privileged_configures_no_network(room: Room) -> None:
    """Security Context When creating a pod with privileged should run the container as unprivileged when false
    [LinuxOnly] [NodeConformance]"""
    assert room.ended("rights")["status"]["phase"] == "Succeeded"
    # Of two pipes that were written one after the other a runtime may log the second first.
    assert "refused" in room.log("rights", "unprivileged").splitlines()
    assert room.log("rights", "privileged") == "made\n"


def test_a_program_of_roots_gives_no_rights_where_that_is_refused(room: Room) -> None:
    """Security Context when creating containers with AllowPrivilegeEscalation should not allow privilege escalation
    when false [LinuxOnly] [NodeConformance]"""
    room.ended("escalation")
    assert room.log("escalation", "refused").startswith("uid=1000")
    assert "euid=0" not in room.log("escalation", "refused")
    assert "euid=0" in room.log("escalation", "let")


def test_safe_sysctls_are_set(room: Room) -> None:
    """Sysctls [LinuxOnly] [NodeConformance] should support sysctls [Environment:NotInUserNS]"""
    assert room.ended("sysctls")["status"]["phase"] == "Succeeded"
    assert room.log("sysctls") == "1\n"
