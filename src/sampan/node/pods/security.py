"""From a pod's and a container's securityContext to what the runtime takes. Pure functions.

The container's field wins over the pod's (``DetermineEffectiveSecurityContext``). What is not supported on this node
is refused by name, never ignored.
"""

from __future__ import annotations

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


class RunAsRootError(Exception):
    """``runAsNonRoot`` is broken; the text is the container's CreateContainerConfigError."""


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


def profile(value: Obj | None, default: runtime.SecurityProfile | None, root: str) -> runtime.SecurityProfile | None:
    """A seccompProfile or appArmorProfile; localhost seccomp profiles lie below ``root``."""
    if not value:
        return default
    if value.get("type") == "Localhost":
        return runtime.SecurityProfile("Localhost", f"{root}{value.get('localhostProfile', '')}")
    return runtime.SecurityProfile(value["type"])


def supplemental_groups(pod: Obj) -> tuple[int, ...]:
    context = pod["spec"].get("securityContext") or {}
    groups = [int(group) for group in context.get("supplementalGroups") or ()]
    if context.get("fsGroup") is not None:
        groups.append(int(context["fsGroup"]))
    return tuple(dict.fromkeys(groups))


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
    unmasked = context.get("procMount") == "Unmasked" or privileged
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
        seccomp=profile(
            effective(pod, container, "seccompProfile"), runtime.SecurityProfile("Unconfined"), seccomp_root
        ),
        apparmor=profile(effective(pod, container, "appArmorProfile"), None, ""),
    )


def any_privileged(pod: Obj) -> bool:
    return any((container.get("securityContext") or {}).get("privileged") for _, container in spec.all_containers(pod))
