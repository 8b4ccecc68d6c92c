"""The checks of the level ``baseline``: no known way from a pod to its node."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sampan.api.podsecurity.findings import (
    Check,
    Container,
    Finding,
    Subject,
    containers,
    plural,
    quoted,
    setters,
    unique,
)
from sampan.api.reading import part, parts, text, texts
from sampan.api.types import Obj

_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_POD_ANNOTATION = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER_ANNOTATION = "container.seccomp.security.alpha.kubernetes.io/"

_DEFAULT_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
SELINUX_TYPES_31 = _SELINUX_TYPES | {"container_engine_t"}
SYSCTLS = frozenset({
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
})  # fmt: skip
SYSCTLS_27 = SYSCTLS | {"net.ipv4.ip_local_reserved_ports"}
SYSCTLS_29 = SYSCTLS_27 | {
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}  # fmt: skip
SYSCTLS_32 = SYSCTLS_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}


def is_confined(profile: str) -> bool:
    """Of a seccomp or AppArmor profile's type."""
    return profile in ("RuntimeDefault", "Localhost")


def privileged(subject: Subject) -> Finding | None:
    bad = subject.names(lambda container: container.security.get("privileged") is True)
    return Finding("privileged", f"{containers(bad)} must not set securityContext.privileged=true") if bad else None


def host_namespaces(subject: Subject) -> Finding | None:
    bad = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if subject.spec.get(field) is True]
    return Finding("host namespaces", ", ".join(bad)) if bad else None


def host_path_volumes(subject: Subject) -> Finding | None:
    bad = [text(volume, "name") for volume in parts(subject.spec, "volumes") if volume.get("hostPath") is not None]
    return Finding("hostPath volumes", f"{plural('volume', 'volumes', len(bad))} {quoted(bad)}") if bad else None


def _host_ports(container: Container) -> list[str]:
    return [str(port["hostPort"]) for port in parts(container.declared, "ports") if port.get("hostPort")]


def host_ports(subject: Subject) -> Finding | None:
    bad = subject.names(lambda container: bool(_host_ports(container)))
    if not bad:
        return None
    ports = unique(port for container in subject.containers for port in _host_ports(container))
    uses, word = plural("uses", "use", len(bad)), plural("hostPort", "hostPorts", len(ports))
    return Finding("hostPort", f"{containers(bad)} {uses} {word} {', '.join(ports)}")


def _other_hosts(container: Container) -> Iterator[str]:
    """Hosts that the node would call for the container (KEP-4940)."""
    lifecycle = part(container.declared, "lifecycle")
    handlers = [part(container.declared, probe) for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    for handler in (*handlers, part(lifecycle, "postStart"), part(lifecycle, "preStop")):
        for action in ("httpGet", "tcpSocket"):
            if host := text(part(handler, action), "host"):
                yield host


def probed_hosts(subject: Subject) -> Finding | None:
    bad = unique(subject.names(lambda container: any(_other_hosts(container))))
    if not bad:
        return None
    hosts = unique(host for container in subject.containers for host in _other_hosts(container))
    word = plural("probe or lifecycle host", "probe or lifecycle hosts", len(hosts))
    detail = f"{containers(bad)} {plural('uses', 'use', len(bad))} {word} {quoted(hosts)}"
    return Finding("probe or lifecycle host", detail)


def added_capabilities(container: Container) -> Iterator[str]:
    return texts(part(container.security, "capabilities"), "add")


def capabilities(subject: Subject) -> Finding | None:
    bad = subject.names(lambda container: not _DEFAULT_CAPABILITIES.issuperset(added_capabilities(container)))
    if not bad:
        return None
    added = {name for container in subject.containers for name in added_capabilities(container)}
    named = quoted(sorted(added - _DEFAULT_CAPABILITIES))
    return Finding(
        "non-default capabilities", f"{containers(bad)} must not include {named} in securityContext.capabilities.add"
    )


def _proc_mount(container: Container) -> str:
    return text(container.security, "procMount") or "Default"


def proc_mount(subject: Subject) -> Finding | None:
    bad = subject.names(lambda container: _proc_mount(container) != "Default")
    if not bad:
        return None
    named = quoted(unique(kind for one in subject.containers if (kind := _proc_mount(one)) != "Default"))
    return Finding("procMount", f"{containers(bad)} must not set securityContext.procMount to {named}")


def selinux(allowed: Collection[str] = _SELINUX_TYPES) -> Check:
    def check(subject: Subject) -> Finding | None:
        def is_bad(security: Obj) -> bool:
            options = part(security, "seLinuxOptions")
            return text(options, "type") not in allowed or bool(text(options, "user") or text(options, "role"))

        of_pod = is_bad(subject.security)
        bad = subject.names(lambda container: is_bad(container.security))
        if not of_pod and not bad:
            return None
        all_options = [
            part(security, "seLinuxOptions")
            for security in (subject.security, *(container.security for container in subject.containers))
        ]
        types = [kind for kind in unique(text(options, "type") for options in all_options) if kind not in allowed]
        said = [f"{plural('type', 'types', len(types))} {quoted(types)}"] if types else []
        said += [f"{key} may not be set" for key in ("user", "role") if any(text(o, key) for o in all_options)]
        who = setters(of_pod, bad)
        return Finding("seLinuxOptions", f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(said)}")

    return check


def sysctls(allowed: Collection[str] = SYSCTLS) -> Check:
    def check(subject: Subject) -> Finding | None:
        bad = [name for s in parts(subject.security, "sysctls") if (name := text(s, "name")) not in allowed]
        return Finding("forbidden sysctls", ", ".join(bad)) if bad else None

    return check


def host_process(subject: Subject) -> Finding | None:
    def is_set(security: Obj) -> bool:
        return part(security, "windowsOptions").get("hostProcess") is True

    of_pod, bad = is_set(subject.security), subject.names(lambda container: is_set(container.security))
    if not of_pod and not bad:
        return None
    return Finding(
        "hostProcess", f"{setters(of_pod, bad)} must not set securityContext.windowsOptions.hostProcess=true"
    )


def seccomp_annotations(subject: Subject) -> Finding | None:
    """Before v1.19 there was no field."""
    keys = [SECCOMP_POD_ANNOTATION]
    keys += [SECCOMP_CONTAINER_ANNOTATION + container.name for container in subject.containers]
    bad = unique(
        f'{key}="{value}"'
        for key in keys
        if (value := subject.annotations.get(key)) is not None
        and value not in ("runtime/default", "docker/default")
        and not value.startswith("localhost/")
    )
    if not bad:
        return None
    word = plural("annotation", "annotations", len(bad))
    return Finding("seccompProfile", f"forbidden {word} {', '.join(bad)}")


def profile_type(security: Obj, field: str) -> str | None:
    """None: there is no profile."""
    return text(security[field], "type") if isinstance(security.get(field), dict) else None


def unconfined(subject: Subject, field: str) -> tuple[bool, list[str], list[str]]:
    """Whether the pod sets a profile that confines nothing, which containers do, and the types that are set."""

    def is_bad(security: Obj) -> bool:
        kind = profile_type(security, field)
        return kind is not None and not is_confined(kind)

    of_pod, names = is_bad(subject.security), subject.names(lambda container: is_bad(container.security))
    holders = [subject.security, *(container.security for container in subject.containers)]
    return of_pod, names, unique(profile_type(security, field) or "" for security in holders if is_bad(security))


def seccomp(subject: Subject) -> Finding | None:
    of_pod, bad, kinds = unconfined(subject, "seccompProfile")
    if not of_pod and not bad:
        return None
    text = f"{setters(of_pod, bad)} must not set securityContext.seccompProfile.type to {quoted(kinds)}"
    return Finding("seccompProfile", text)


def apparmor(subject: Subject) -> Finding | None:
    of_pod, bad, values = unconfined(subject, "appArmorProfile")
    annotations = unique(
        f'{key}="{value}"'
        for key, value in subject.annotations.items()
        if key.startswith(_APPARMOR_ANNOTATION)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    who = [setters(of_pod, bad)] if of_pod or bad else []
    if annotations:
        who.append(plural("annotation", "annotations", len(annotations)))
    if not who:
        return None
    values += annotations
    reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", len(values))
    return Finding(reason, f"{' and '.join(who)} must not set AppArmor profile type to {quoted(values)}")
