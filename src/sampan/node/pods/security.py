"""From a pod's and a container's securityContext to what the runtime takes. Pure functions.

The container's field wins over the pod's (``DetermineEffectiveSecurityContext``). Isolation that the runtime cannot
give is refused by name, never left out: where the kubelet does not admit the pod by ``sampan.node.admission``, where it
does not make the sandbox or the container here.
"""

from __future__ import annotations

import posixpath
import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.pods import spec

#: What runtimes mask and make read-only below /proc and /sys when procMount is Default.
MASKED_PATHS = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_RECURSIVE = "failed to resolve recursive read-only mode"
_SIGNAL = re.compile(r"SIG[A-Z0-9]+|SIGRTMIN\+([1-9]|1[0-5])|SIGRTMAX-([1-9]|1[0-4])", re.ASCII)


class SandboxRefused(runtime.RuntimeCallError):
    """The runtime cannot give the pod what it asks for; the text is that of its FailedCreatePodSandBox."""


class ContainerRefused(Exception):
    """The container cannot have what it asks for; the text is its CreateContainerConfigError."""


class RunAsRootError(ContainerRefused):
    """``runAsNonRoot`` is broken."""


def _contexts(pod: Obj, container: Obj) -> tuple[Obj, Obj]:
    return pod["spec"].get("securityContext") or {}, container.get("securityContext") or {}


def effective(pod: Obj, container: Obj, field: str) -> Any:
    """A field that both levels have; None when neither sets it."""
    pod_level, container_level = _contexts(pod, container)
    value = container_level.get(field)
    return pod_level.get(field) if value is None else value


def namespaces(pod: Obj, target_id: str = "") -> runtime.Namespaces:
    pod_spec = pod["spec"]
    pid: runtime.NamespaceMode = "container"
    if pod_spec.get("hostPID"):
        pid = "node"
    elif pod_spec.get("shareProcessNamespace"):
        pid = "pod"
    elif target_id:
        pid = "target"
    return runtime.Namespaces(
        network="node" if pod_spec.get("hostNetwork") else "pod",
        pid=pid,
        ipc="node" if pod_spec.get("hostIPC") else "pod",
        target_id=target_id if pid == "target" else "",
    )


def seccomp(value: Obj | None, root: str) -> runtime.SecurityProfile:
    """``root`` is where profiles of type Localhost lie. Raises ContainerRefused."""
    if not value:
        return runtime.SecurityProfile("Unconfined")
    if value["type"] != "Localhost":
        return runtime.SecurityProfile(value["type"])
    name = value.get("localhostProfile") or ""
    if not name:
        raise ContainerRefused("localhostProfile must be set if seccompProfile type is Localhost.")
    path = posixpath.normpath(posixpath.join(root, name))
    if not root or not path.startswith(f"{root.rstrip('/')}/"):
        raise ContainerRefused(f'seccomp profile "{name}" is not below the node\'s own profiles')
    return runtime.SecurityProfile("Localhost", path)


def apparmor(value: Obj | None) -> runtime.SecurityProfile | None:
    """None: what the runtime does by itself."""
    if not value:
        return None
    return runtime.SecurityProfile(value["type"], value.get("localhostProfile") or "")


def selinux(value: Obj | None) -> runtime.SELinuxOptions | None:
    if not value:
        return None
    return runtime.SELinuxOptions(*(value.get(name) or "" for name in ("user", "role", "type", "level")))


def uses_host_users(pod: Obj) -> bool:
    return pod["spec"].get("hostUsers") is not False


def verify_sandbox(pod: Obj, features: runtime.Features, handler: str) -> None:
    """What the pod must have and cannot be given here. Raises SandboxRefused with the kubelet's texts."""
    if uses_host_users(pod):
        return
    why = "can't set `spec.hostUsers: false`, "
    if features.of(handler).user_namespaces:
        # The runtime could, but this node hands out no ranges of ids.
        raise SandboxRefused(f"{why}user namespaces are not supported by this node")
    raise SandboxRefused(
        f'{why}RuntimeClass handler "{handler}" does not support user namespaces'
        if handler
        else f"{why}runtime does not support user namespaces"
    )


def resolve_recursive_readonly(
    container: Obj, mounts: Sequence[runtime.Mount], features: runtime.HandlerFeatures
) -> list[runtime.Mount]:
    """``mounts`` as ``recursiveReadOnly`` wants them. Raises ContainerRefused with the kubelet's texts."""
    wanted: set[str] = set()
    for mount in container.get("volumeMounts") or ():
        mode, name = mount.get("recursiveReadOnly") or "Disabled", mount["name"]
        if mode == "Disabled":
            continue
        why = f'{_RECURSIVE}: volume "{name}" requested recursive read-only mode, but it is '
        propagation = mount.get("mountPropagation") or "None"
        if not mount.get("readOnly"):
            raise ContainerRefused(f"{why}not read-only")
        if propagation != "None":
            raise ContainerRefused(f'{why}not compatible with propagation "{propagation}"')
        if features.recursive_read_only_mounts:
            wanted.add("/" + mount["mountPath"].lstrip("/"))
        elif mode != "IfPossible":
            raise ContainerRefused(f"{why}not supported by the runtime")
    return [
        replace(mount, readonly=True, recursive_readonly=True) if mount.container_path in wanted else mount
        for mount in mounts
    ]


def stop_signal(container: Obj) -> str:
    """The signal that asks the container to end; "" is the image's own, and that of a name that is none."""
    name = str((container.get("lifecycle") or {}).get("stopSignal") or "")
    return name if _SIGNAL.fullmatch(name) and hasattr(signal, name.partition("+")[0].partition("-")[0]) else ""


def verify_container(container: Obj) -> None:
    """What the container must have and cannot be given here. Raises ContainerRefused."""
    name = (container.get("lifecycle") or {}).get("stopSignal")
    if name and not stop_signal(container):
        raise ContainerRefused(f'invalid stop signal "{name}"')
    for mount in container.get("volumeMounts") or ():
        if options := mount.get("bindMountOptions"):
            raise ContainerRefused(
                f'volume "{mount["name"]}" requested bind mount options ({", ".join(options)}), '
                "but they are not supported by the runtime"
            )


def supplemental_groups(pod: Obj) -> tuple[int, ...]:
    context = pod["spec"].get("securityContext") or {}
    groups = [int(group) for group in context.get("supplementalGroups") or ()]
    if context.get("fsGroup") is not None:
        groups.append(int(context["fsGroup"]))
    return tuple(dict.fromkeys(groups))


def strict_groups(pod: Obj) -> bool:
    return (pod["spec"].get("securityContext") or {}).get("supplementalGroupsPolicy") == "Strict"


def verify_run_as_non_root(pod: Obj, container: Obj, image: runtime.Image) -> None:
    """Raises RunAsRootError with the kubelet's texts."""
    if not effective(pod, container, "runAsNonRoot"):
        return
    where = f'(pod: "{spec.full_name(pod)}({pod["metadata"]["uid"]})", container: {container["name"]})'
    user = effective(pod, container, "runAsUser")
    if user is not None:
        if user == 0:
            raise RunAsRootError(f"container's runAsUser breaks non-root policy {where}")
        return
    if image.uid == 0 or (image.uid is None and not image.username):
        raise RunAsRootError(f"container has runAsNonRoot and image will run as root {where}")
    if image.username:
        raise RunAsRootError(
            f"container has runAsNonRoot and image has non-numeric user ({image.username}), "
            f"cannot verify user is non-root {where}"
        )


def container_security(
    pod: Obj, container: Obj, image: runtime.Image, target_id: str = "", seccomp_root: str = ""
) -> runtime.ContainerSecurity:
    _, context = _contexts(pod, container)
    capabilities = context.get("capabilities") or {}
    privileged = bool(context.get("privileged"))
    user = effective(pod, container, "runAsUser")
    # Only in a user namespace of its own may a container see /proc as it is: there it cannot write to the node's.
    unmasked = privileged or (context.get("procMount") == "Unmasked" and not uses_host_users(pod))
    escalation = context.get("allowPrivilegeEscalation")
    return runtime.ContainerSecurity(
        add_capabilities=tuple(capabilities.get("add") or ()),
        drop_capabilities=tuple(capabilities.get("drop") or ()),
        privileged=privileged,
        namespaces=namespaces(pod, target_id),
        run_as_user=image.uid if user is None and not image.username else user,
        run_as_username=image.username if user is None else "",
        run_as_group=effective(pod, container, "runAsGroup"),
        supplemental_groups=supplemental_groups(pod),
        readonly_rootfs=bool(context.get("readOnlyRootFilesystem")),
        no_new_privs=escalation is False,
        masked_paths=() if unmasked else MASKED_PATHS,
        readonly_paths=() if unmasked else READONLY_PATHS,
        seccomp=seccomp(effective(pod, container, "seccompProfile"), seccomp_root),
        apparmor=apparmor(effective(pod, container, "appArmorProfile")),
        selinux=selinux(effective(pod, container, "seLinuxOptions")),
        strict_groups=strict_groups(pod),
    )


def any_privileged(pod: Obj) -> bool:
    return any((container.get("securityContext") or {}).get("privileged") for _, container in spec.all_containers(pod))
