"""Between the values of ``sampan.node.runtime`` and the messages of CRI. Pure functions."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

from sampan.node import runtime
from sampan.node.cri.pb import cri_pb2 as pb

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MODES = {"pod": pb.POD, "container": pb.CONTAINER, "node": pb.NODE, "target": pb.TARGET}
_PROPAGATION = {
    "private": pb.PROPAGATION_PRIVATE,
    "host_to_container": pb.PROPAGATION_HOST_TO_CONTAINER,
    "bidirectional": pb.PROPAGATION_BIDIRECTIONAL,
}
_PROFILES = {
    "RuntimeDefault": pb.SecurityProfile.RuntimeDefault,
    "Unconfined": pb.SecurityProfile.Unconfined,
    "Localhost": pb.SecurityProfile.Localhost,
}
_PROTOCOLS = {"TCP": pb.TCP, "UDP": pb.UDP, "SCTP": pb.SCTP}
_STATES: dict[int, runtime.ContainerState] = {
    pb.CONTAINER_CREATED: "created",
    pb.CONTAINER_RUNNING: "running",
    pb.CONTAINER_EXITED: "exited",
    pb.CONTAINER_UNKNOWN: "unknown",
}


def moment(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def optional_moment(nanoseconds: int) -> datetime | None:
    return moment(nanoseconds) if nanoseconds > 0 else None


def _int64(value: int | None) -> Any:
    return None if value is None else pb.Int64Value(value=value)


def _namespaces(value: runtime.Namespaces) -> Any:
    return pb.NamespaceOption(
        network=_MODES[value.network], pid=_MODES[value.pid], ipc=_MODES[value.ipc], target_id=value.target_id
    )


def _profile(value: runtime.SecurityProfile | None) -> Any:
    if value is None:
        return None
    return pb.SecurityProfile(profile_type=_PROFILES[value.type], localhost_ref=value.localhost_ref)


def _selinux(value: runtime.SELinuxOptions | None) -> Any:
    if value is None:
        return None
    return pb.SELinuxOption(user=value.user, role=value.role, type=value.type, level=value.level)


def _signal(name: str) -> Any:
    """``SIGRTMIN+3`` is SIGRTMINPLUS3 there."""
    return pb.Signal.Value(name.replace("+", "PLUS").replace("-", "MINUS")) if name else pb.RUNTIME_DEFAULT


def signal_number(name: str) -> int:
    """Linux's number of a signal's name. ``SIGRTMIN`` and ``SIGRTMAX`` are glibc's bounds."""
    base, sign, offset = name.partition("+") if "+" in name else name.partition("-")
    return int(getattr(signal, base)) + int(f"{sign}{offset}" or 0)


def resources(value: runtime.Resources) -> Any:
    return pb.LinuxContainerResources(
        cpu_period=value.cpu_period,
        cpu_quota=value.cpu_quota,
        cpu_shares=value.cpu_shares,
        memory_limit_in_bytes=value.memory_limit_bytes,
        oom_score_adj=value.oom_score_adj,
        hugepage_limits=[pb.HugepageLimit(page_size=k, limit=v) for k, v in value.hugepage_limits.items()],
        unified=dict(value.unified),
        cpuset_cpus=value.cpuset_cpus,
        cpuset_mems=value.cpuset_mems,
    )


def sandbox_config(value: runtime.SandboxConfig) -> Any:
    dns = value.dns
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(
            name=value.name, uid=value.uid, namespace=value.namespace, attempt=value.attempt
        ),
        hostname=value.hostname,
        log_directory=value.log_directory,
        dns_config=pb.DNSConfig(servers=dns.servers, searches=dns.searches, options=dns.options) if dns else None,
        port_mappings=[
            pb.PortMapping(
                protocol=_PROTOCOLS[port.protocol],
                container_port=port.container_port,
                host_port=port.host_port,
                host_ip=port.host_ip,
            )
            for port in value.port_mappings
        ],
        labels=dict(value.labels),
        annotations=dict(value.annotations),
        linux=pb.LinuxPodSandboxConfig(
            cgroup_parent=value.cgroup_parent,
            sysctls=dict(value.sysctls),
            security_context=pb.LinuxSandboxSecurityContext(
                namespace_options=_namespaces(value.namespaces),
                run_as_user=_int64(value.run_as_user),
                run_as_group=_int64(value.run_as_group),
                supplemental_groups=value.supplemental_groups,
                privileged=value.privileged,
                seccomp=_profile(value.seccomp),
                selinux_options=_selinux(value.selinux),
                supplemental_groups_policy=pb.Strict if value.strict_groups else pb.Merge,
            ),
        ),
    )


def sandbox(message: Any, network: Any = None) -> runtime.Sandbox:
    """From ``PodSandbox`` or ``PodSandboxStatus``; ``network`` is the latter's."""
    ips: tuple[str, ...] = ()
    if network is not None and network.ip:
        ips = (network.ip, *(item.ip for item in network.additional_ips))
    return runtime.Sandbox(
        id=message.id,
        name=message.metadata.name,
        uid=message.metadata.uid,
        namespace=message.metadata.namespace,
        attempt=message.metadata.attempt,
        ready=message.state == pb.SANDBOX_READY,
        created_at=moment(message.created_at),
        labels=dict(message.labels),
        annotations=dict(message.annotations),
        ips=ips,
        handler=message.runtime_handler,
    )


def _security(value: runtime.ContainerSecurity) -> Any:
    return pb.LinuxContainerSecurityContext(
        capabilities=pb.Capability(add_capabilities=value.add_capabilities, drop_capabilities=value.drop_capabilities),
        privileged=value.privileged,
        namespace_options=_namespaces(value.namespaces),
        run_as_user=_int64(value.run_as_user),
        run_as_username=value.run_as_username,
        run_as_group=_int64(value.run_as_group),
        supplemental_groups=value.supplemental_groups,
        readonly_rootfs=value.readonly_rootfs,
        no_new_privs=value.no_new_privs,
        masked_paths=value.masked_paths,
        readonly_paths=value.readonly_paths,
        seccomp=_profile(value.seccomp),
        apparmor=_profile(value.apparmor),
        selinux_options=_selinux(value.selinux),
        supplemental_groups_policy=pb.Strict if value.strict_groups else pb.Merge,
    )


def container_config(value: runtime.ContainerConfig) -> Any:
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=value.name, attempt=value.attempt),
        image=pb.ImageSpec(image=value.image, user_specified_image=value.user_image),
        command=value.command,
        args=value.args,
        working_dir=value.working_dir,
        envs=[pb.KeyValue(key=key, value=text) for key, text in value.env],
        mounts=[
            pb.Mount(
                container_path=mount.container_path,
                host_path=mount.host_path,
                readonly=mount.readonly,
                propagation=_PROPAGATION[mount.propagation],
                recursive_read_only=mount.recursive_readonly,
            )
            for mount in value.mounts
        ],
        devices=[
            pb.Device(container_path=dev.container_path, host_path=dev.host_path, permissions=dev.permissions)
            for dev in value.devices
        ],
        labels=dict(value.labels),
        annotations=dict(value.annotations),
        log_path=value.log_path,
        stdin=value.stdin,
        stdin_once=value.stdin_once,
        tty=value.tty,
        stop_signal=_signal(value.stop_signal),
        linux=pb.LinuxContainerConfig(resources=resources(value.resources), security_context=_security(value.security)),
    )


def features(message: Any) -> runtime.Features:
    """From a ``StatusResponse``; containerd before 2.0 says nothing."""
    return runtime.Features(
        handlers={
            item.name: runtime.HandlerFeatures(item.features.recursive_read_only_mounts, item.features.user_namespaces)
            for item in message.runtime_handlers
        },
        supplemental_groups_policy=message.features.supplemental_groups_policy,
    )


def listed_container(message: Any) -> runtime.Container:
    return runtime.Container(
        id=message.id,
        sandbox_id=message.pod_sandbox_id,
        name=message.metadata.name,
        attempt=message.metadata.attempt,
        state=_STATES.get(message.state, "unknown"),
        created_at=moment(message.created_at),
        image=message.image.image,
        image_ref=message.image_ref,
        labels=dict(message.labels),
        annotations=dict(message.annotations),
    )


def container_status(message: Any) -> runtime.Container:
    return runtime.Container(
        id=message.id,
        name=message.metadata.name,
        attempt=message.metadata.attempt,
        state=_STATES.get(message.state, "unknown"),
        created_at=moment(message.created_at),
        image=message.image.image,
        image_ref=message.image_ref,
        labels=dict(message.labels),
        annotations=dict(message.annotations),
        started_at=optional_moment(message.started_at),
        finished_at=optional_moment(message.finished_at),
        exit_code=message.exit_code,
        reason=message.reason,
        message=message.message,
        log_path=message.log_path,
    )


def image(message: Any) -> runtime.Image:
    return runtime.Image(
        id=message.id,
        tags=tuple(message.repo_tags),
        digests=tuple(message.repo_digests),
        size_bytes=message.size,
        uid=message.uid.value if message.HasField("uid") else None,
        username=message.username,
        pinned=message.pinned,
    )


def measured(answer: Any) -> list[runtime.ContainerStats]:
    """What was measured. The runtime lists containers that have ended too, with nothing measured of them."""
    return [stats(item) for item in answer.stats if item.cpu.timestamp > 0]


def stats(message: Any) -> runtime.ContainerStats:
    return runtime.ContainerStats(
        container_id=message.attributes.id,
        labels=dict(message.attributes.labels),
        timestamp=moment(message.cpu.timestamp),
        cpu_nanoseconds=message.cpu.usage_core_nano_seconds.value,
        memory_working_set_bytes=message.memory.working_set_bytes.value,
        memory_usage_bytes=message.memory.usage_bytes.value or message.memory.working_set_bytes.value,
        memory_rss_bytes=message.memory.rss_bytes.value,
        writable_layer_bytes=message.writable_layer.used_bytes.value,
        writable_layer_inodes=message.writable_layer.inodes_used.value,
    )
