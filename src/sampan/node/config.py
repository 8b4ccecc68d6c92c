"""The settings of one node agent, with the kubelet's defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from sampan.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """Made by ``sampan.cluster`` from the instance's configuration; read by everything in ``sampan.node``."""

    node_name: str
    #: The node's own addresses; the first is the InternalIP.
    addresses: tuple[str, ...]
    root_dir: Path = Path("/var/lib/sampan/default/node")
    log_dir: Path = Path("/var/lib/sampan/default/node/logs/pods")
    runtime_socket: str = "/run/sampan/default/containerd.sock"
    node_api_port: int = 10250
    #: Parent of all pod cgroups ("" leaves cgroups to the runtime).
    cgroup_root: str = ""
    cgroup_mount: Path = Path("/sys/fs/cgroup")
    cluster_dns: tuple[str, ...] = ("10.96.0.10",)
    cluster_domain: str = "cluster.local"
    resolv_conf: Path = Path("/etc/resolv.conf")
    max_pods: int = 110
    static_pod_dir: Path | None = None
    #: Below it lie the volumes of Sampan's own provisioner; None: this node has no disk for them.
    local_volumes: Path | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    #: Further resources that the node has, by name (simulated nodes).
    extended_resources: Mapping[str, str] = field(default_factory=dict)
    register_node: bool = True
    #: CPU (millicores) and memory (bytes) kept back from allocatable.
    reserved_millicores: int = 0
    reserved_memory_bytes: int = 0
    #: Image collection starts above the first percentage of a full disk and stops below the second.
    image_gc_high_percent: int = 85
    image_gc_low_percent: int = 80
    image_gc_period_seconds: float = 300
    eviction_memory_available_bytes: int = 100 << 20
    eviction_disk_available_percent: int = 10
    max_container_backoff_seconds: float = 300
    lease_duration_seconds: int = 40
    lease_renew_seconds: float = 10
    status_report_seconds: float = 300
    relist_seconds: float = 60
    serialize_image_pulls: bool = False
    #: Sandboxes made at the same time: more only contend for the kernel's network lock and the processors.
    parallel_starts: int = field(default_factory=lambda: max(4, 2 * (os.cpu_count() or 1)))

    #: Sysctls that pods may set though they are not safe; a final * stands for any ending (``net.core.*``).
    allowed_unsafe_sysctls: tuple[str, ...] = ()

    @property
    def seccomp_root(self) -> Path:
        """Profiles of type Localhost lie below it, as below the kubelet's."""
        return self.root_dir / "seccomp"

    @property
    def host_ip(self) -> str:
        return self.addresses[0]

    def pod_dir(self, uid: str) -> Path:
        return self.root_dir / "pods" / uid

    def pod_log_dir(self, namespace: str, name: str, uid: str) -> Path:
        return self.log_dir / f"{namespace}_{name}_{uid}"
