"""The settings of one node agent, with the kubelet's defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from sampan.node.thresholds import DEFAULT_HARD, Threshold, parse_thresholds
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class ShutdownGrace:
    """How long pods of this priority and above get to end when the machine is shut down."""

    priority: int
    seconds: int


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
    #: A folder of manifests of static pods; None: this node has none.
    static_pod_dir: Path | None = None
    #: Below it lie the volumes of Sampan's own provisioner; None: this node has no disk for them.
    local_volumes: Path | None = None
    #: Where the program that serves Ingresses tells its metrics; None: there is none.
    ingress_metrics: Path | None = None
    #: Where the node's DNS process does; None: there is none.
    dns_metrics: Path | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    #: Further resources that the node has, by name (simulated nodes).
    extended_resources: Mapping[str, str] = field(default_factory=dict)
    register_node: bool = True
    #: What the node's own programs and the system keep back from pods, by resource.
    kube_reserved: Mapping[str, str] = field(default_factory=dict)
    system_reserved: Mapping[str, str] = field(default_factory=dict)
    #: ``static`` gives whole processors to containers of Guaranteed pods that ask for them; ``none`` does not.
    cpu_manager_policy: str = "none"
    cpu_manager_reconcile_seconds: float = 10.0
    #: Of the policy ``static``, by name (``cpumanager.options``).
    cpu_manager_options: Mapping[str, str] = field(default_factory=dict)
    cpu_manager_alpha_options: bool = False
    #: what drivers say of the health of volumes is told (gate CSIVolumeHealth)
    volume_health: bool = False
    #: How close together processors, memory and devices lie (``topology.policies``).
    topology_policy: str = "none"
    topology_scope: str = "container"
    topology_options: Mapping[str, str] = field(default_factory=dict)
    #: ``Static`` gives containers of Guaranteed pods memory of as few NUMA nodes as may be; ``None`` does not.
    memory_manager_policy: str = "None"
    #: Memory that is no pod's, by NUMA node, as a KubeletConfiguration has it.
    reserved_memory: tuple[Mapping[str, Any], ...] = ()
    #: ``NoSwap`` or ``LimitedSwap``; "" is the former.
    swap_behaviour: str = ""
    #: Processors that no container gets alone (``0-1``); "": as many as are reserved.
    reserved_cpus: str = ""
    #: Pods together are held to what is left (kubelet ``enforceNodeAllocatable: [pods]``).
    enforce_allocatable: bool = True
    #: Image collection starts above the first percentage of a full disk and stops below the second.
    image_gc_high_percent: int = 85
    image_gc_low_percent: int = 80
    image_gc_period_seconds: float = 300
    #: Images are kept for so long after they came; and removed when unused for so long (0: however long).
    image_minimum_age_seconds: float = 120.0
    image_maximum_age_seconds: float = 0.0
    #: When the node is short of something; see ``sampan.node.eviction``.
    eviction_thresholds: tuple[Threshold, ...] = parse_thresholds(DEFAULT_HARD)
    eviction_period_seconds: float = 10
    eviction_pressure_transition_seconds: float = 300.0
    #: The most that a pod gets when a soft threshold ends it; less than 0: what it asks for itself.
    eviction_max_pod_grace_seconds: int = 0
    #: How many processes and threads a pod may have; -1: as many as the node.
    pod_pids_limit: int = -1
    #: A log is rotated when it is so large (0: never); so many files of it are kept.
    container_log_max_bytes: int = 10 << 20
    container_log_max_files: int = 5
    container_log_period_seconds: float = 10.0
    #: How long pods get to end when the machine is shut down; of that, the last part is the critical pods'.
    shutdown_grace_seconds: float = 0.0
    shutdown_critical_seconds: float = 0.0
    #: Instead: of each priority.
    shutdown_by_priority: tuple[ShutdownGrace, ...] = ()
    #: How many images the Node's status names; -1: all.
    status_max_images: int = 50
    #: Pods are held to what they said of the node's disk.
    local_storage_isolation: bool = True
    max_container_backoff_seconds: float = 300.0
    lease_duration_seconds: int = 40
    lease_renew_seconds: float = 10
    status_report_seconds: float = 300.0
    relist_seconds: float = 60
    serialize_image_pulls: bool = False
    max_parallel_image_pulls: int = 16
    #: Pulls a second, after a burst; 0: as they come.
    registry_pull_qps: float = 0
    registry_burst: int = 10
    #: A CredentialProviderConfig (file or directory), and the directory of the programs that it names.
    image_credential_providers: Path | None = None
    image_credential_programs: Path | None = None
    #: For which images pods must show credentials although they are here (``images/verification``).
    image_pull_verification: str = "NeverVerifyPreloadedImages"
    preloaded_images_allowlist: tuple[str, ...] = ()
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
