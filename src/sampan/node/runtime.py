"""The seam between the node agent and whatever runs containers: values and the ``Runtime`` protocol.

Implemented by ``sampan.node.cri`` (containerd, by CRI) and ``sampan.node.simulated`` (in memory); one contract suite
runs on both. Used by pod workers, probes, image manager, node API. Declarations only.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Literal, Protocol

from sampan.records import dataclass

ContainerState = Literal["created", "running", "exited", "unknown"]
OutputStream = Literal["stdout", "stderr"]
NamespaceMode = Literal["pod", "container", "node", "target"]
Propagation = Literal["private", "host_to_container", "bidirectional"]

#: Labels by which containers and sandboxes are found again (the kubelet's own names).
POD_NAME_LABEL = "io.kubernetes.pod.name"
POD_NAMESPACE_LABEL = "io.kubernetes.pod.namespace"
POD_UID_LABEL = "io.kubernetes.pod.uid"
CONTAINER_NAME_LABEL = "io.kubernetes.container.name"


class RuntimeCallError(Exception):
    """The runtime refused or failed a call; the message is the runtime's."""


class RuntimeNotFound(RuntimeCallError):
    """No such sandbox, container or image: done, for whoever wanted it gone."""


class RuntimeUnavailable(RuntimeCallError):
    """The runtime cannot be reached: back off and retry."""


class RuntimeLacks(RuntimeCallError):
    """The runtime does not have this call."""


class RuntimeDeadline(RuntimeCallError):
    """The call ran into its deadline (exec probes)."""


@dataclass(frozen=True, slots=True)
class DnsConfig:
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortMapping:
    container_port: int
    host_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Namespaces:
    network: NamespaceMode = "pod"
    pid: NamespaceMode = "container"
    ipc: NamespaceMode = "pod"
    target_id: str = ""


@dataclass(frozen=True, slots=True)
class SecurityProfile:
    type: Literal["RuntimeDefault", "Unconfined", "Localhost"]
    localhost_ref: str = ""


@dataclass(frozen=True, slots=True)
class SELinuxOptions:
    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True)
class Resources:
    """Linux resources of a container; 0 means not set, as in CRI."""

    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_shares: int = 0
    memory_limit_bytes: int = 0
    oom_score_adj: int = 0
    hugepage_limits: Mapping[str, int] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)
    #: ``0-3,8``; "" is whatever the pod may use.
    cpuset_cpus: str = ""
    #: NUMA nodes that its memory comes from, likewise.
    cpuset_mems: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    name: str
    uid: str
    namespace: str
    attempt: int = 0
    hostname: str = ""
    log_directory: str = ""
    dns: DnsConfig | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    namespaces: Namespaces = Namespaces()
    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    privileged: bool = False
    seccomp: SecurityProfile | None = None
    selinux: SELinuxOptions | None = None
    #: The image's own groups do not count (supplementalGroupsPolicy Strict).
    strict_groups: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """``ips`` is filled by ``sandbox_status`` only; the first one is the primary."""

    id: str
    name: str
    uid: str
    namespace: str
    attempt: int
    ready: bool
    created_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ips: tuple[str, ...] = ()
    host_network: bool = False
    #: The runtime handler it was made with; "" is the default one.
    handler: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    host_path: str
    container_path: str
    readonly: bool = False
    propagation: Propagation = "private"
    recursive_readonly: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    host_path: str
    container_path: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSecurity:
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    privileged: bool = False
    namespaces: Namespaces = Namespaces()
    run_as_user: int | None = None
    run_as_username: str = ""
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    readonly_rootfs: bool = False
    no_new_privs: bool = False
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    seccomp: SecurityProfile | None = None
    apparmor: SecurityProfile | None = None
    selinux: SELinuxOptions | None = None
    strict_groups: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    """``image`` is what the runtime knows (an image id or digest), ``user_image`` what the pod's spec says."""

    name: str
    attempt: int = 0
    image: str
    user_image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    #: A name of the API (``SIGUSR1``, ``SIGRTMIN+3``); "" is the image's or the runtime's own.
    stop_signal: str = ""
    resources: Resources = Resources()
    security: ContainerSecurity = ContainerSecurity()


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container as the runtime sees it.

    ``list_containers`` fills ``sandbox_id`` but not the fields from ``started_at`` on; ``container_status`` the
    other way round.
    """

    id: str
    name: str
    attempt: int
    state: ContainerState
    created_at: datetime
    image: str = ""
    image_ref: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    sandbox_id: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    log_path: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """``uid`` and ``username``: whom the image runs as; both unset means root."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size_bytes: int
    uid: int | None = None
    username: str = ""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class RegistryAuth:
    username: str = ""
    password: str = field(default="", repr=False)
    auth: str = field(default="", repr=False)
    server_address: str = ""
    identity_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ExecResult:
    stdout: bytes
    stderr: bytes
    exit_code: int


@dataclass(frozen=True, slots=True)
class ContainerStats:
    container_id: str
    labels: Mapping[str, str]
    timestamp: datetime
    cpu_nanoseconds: int
    memory_working_set_bytes: int
    memory_usage_bytes: int
    memory_rss_bytes: int
    writable_layer_bytes: int
    writable_layer_inodes: int = 0


@dataclass(frozen=True, slots=True)
class Version:
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class RuntimeCondition:
    """``RuntimeReady`` and ``NetworkReady``."""

    type: str
    status: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class HandlerFeatures:
    """What a runtime handler (a RuntimeClass; "" is the default one) can do."""

    recursive_read_only_mounts: bool = False
    user_namespaces: bool = False


@dataclass(frozen=True, slots=True)
class Features:
    """What the runtime says it can do. One that does not say can do none of it."""

    handlers: Mapping[str, HandlerFeatures] = field(default_factory=dict)
    supplemental_groups_policy: bool = False

    def of(self, handler: str) -> HandlerFeatures:
        return self.handlers.get(handler, HandlerFeatures())


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """A container or a sandbox ended (``container_id`` is either's). When an ``exit`` is delivered, the status already
    says so: ``exited``, a sandbox not ready, or not found.

    ``lost`` means events may have been missed (the stream was broken): list everything.
    """

    type: Literal["exit", "oom", "lost"]
    container_id: str = ""


class Command(Protocol):
    """A program in a container with its streams. One task reads each output, one writes.

    What is not read stays with the program, which waits; what it does not read stays with the caller.
    """

    async def read(self, stream: OutputStream) -> bytes:
        """b"" at the end, and for an output that was not asked for."""
        ...

    async def write(self, data: bytes) -> None:
        """Waits until the program can take all of it. Raises BrokenPipeError when it reads no more."""
        ...

    async def close_stdin(self) -> None: ...
    async def resize(self, width: int, height: int) -> None: ...

    async def wait(self) -> int:
        """The exit code. Raises RuntimeCallError when it cannot be known."""
        ...

    async def close(self) -> None:
        """Lets go of the streams. A program that still runs sees its input end (a terminal: hang up) and goes on."""
        ...


class PodRuntime(Protocol):
    """Sandboxes and containers. Stop and remove are idempotent: not found is success there."""

    async def run_sandbox(self, config: SandboxConfig, runtime_handler: str = "") -> str: ...
    async def stop_sandbox(self, sandbox_id: str) -> None: ...
    async def remove_sandbox(self, sandbox_id: str) -> None: ...
    async def sandbox_status(self, sandbox_id: str) -> Sandbox: ...
    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> list[Sandbox]: ...
    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str: ...
    async def start_container(self, container_id: str) -> None: ...
    async def stop_container(self, container_id: str, timeout_seconds: int, signal: str = "") -> None:
        """``signal`` (a name of the API) is what asks it to end; "" is the image's or the runtime's own."""
        ...

    async def remove_container(self, container_id: str) -> None: ...
    async def container_status(self, container_id: str) -> Container: ...
    async def list_containers(self, labels: Mapping[str, str] | None = None) -> list[Container]: ...
    async def update_resources(self, container_id: str, resources: Resources) -> None: ...


class StreamRuntime(Protocol):
    """Running commands inside, logs, statistics, events."""

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: int) -> ExecResult:
        """Raises RuntimeDeadline when the command takes longer; 0 is no limit."""
        ...

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> Command:
        """Starts the command; its streams are the caller's from now on. Raises RuntimeCallError."""
        ...

    async def attach(self, container_id: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> Command:
        """The container's own process. Its exit code is not told: ``wait`` gives 0 when it has ended."""
        ...

    async def connect_port(self, sandbox_id: str, port: int) -> socket.socket:
        """A connection to ``localhost:port`` inside the pod, not blocking. Raises RuntimeCallError."""
        ...

    async def reopen_log(self, container_id: str) -> None: ...
    async def list_stats(self) -> list[ContainerStats]: ...

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """Never ends; reconnects by itself and says ``lost`` each time it (re)connected."""
        ...


class ImageRuntime(Protocol):
    async def pull_image(self, reference: str, auth: RegistryAuth | None = None) -> str:
        """Returns the image's reference for ``ContainerConfig.image``."""
        ...

    async def image_status(self, reference: str) -> Image | None: ...
    async def list_images(self) -> list[Image]: ...
    async def remove_image(self, reference: str) -> None: ...
    async def image_filesystem(self) -> tuple[str, int]:
        """Mount point of the image store and bytes used by images."""
        ...


class Runtime(PodRuntime, StreamRuntime, ImageRuntime, Protocol):
    async def version(self) -> Version: ...
    async def conditions(self) -> list[RuntimeCondition]: ...
    async def features(self) -> Features: ...
    async def close(self) -> None: ...
