"""Which kernel settings a pod may have: those with a namespace that is its own, and no effect on others. Pure.

Upstream: ``pkg/kubelet/sysctl``. Used by the node's admission, and by whoever validates its configuration.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.api.validation.security import sysctl_with_dots

#: Sysctls that have a namespace and no effect on other pods, of the kernels that containerd runs on.
SAFE = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
)
#: The kernel namespace that a sysctl belongs to, in upstream's words; others have none.
_NAMESPACES = (
    ("kernel.sem", "IPC"),
    ("kernel.shm", "IPC"),
    ("kernel.msg", "IPC"),
    ("fs.mqueue.", "IPC"),
    ("net.", "Net"),
)


def forbidden(name: str, allowed_unsafe: Iterable[str], *, host_network: bool, host_ipc: bool) -> str:
    """Why a pod may not set the sysctl, in the kubelet's words; "" when it may."""
    name = sysctl_with_dots(name)
    if name not in SAFE and not any(_covers(sysctl_with_dots(pattern), name) for pattern in allowed_unsafe):
        return f'"{name}" not allowlisted'
    namespace = _namespace(name)
    if (namespace == "IPC" and host_ipc) or (namespace == "Net" and host_network):
        return f'"{name}" not allowed with host {namespace} enabled'
    return ""


def verify_sysctl_patterns(patterns: Iterable[str]) -> None:
    """Raises ValueError for a pattern that allows nothing a pod could have to itself."""
    for pattern in patterns:
        name = sysctl_with_dots(pattern).removesuffix("*")
        if "*" in name or not _namespace(name):
            raise ValueError(f'the sysctls "{pattern}" are not known to be namespaced')


def _covers(pattern: str, name: str) -> bool:
    return name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))


def _namespace(sysctl: str) -> str:
    return next((namespace for prefix, namespace in _NAMESPACES if sysctl.startswith(prefix)), "")
