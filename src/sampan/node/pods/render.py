"""The runtime's configuration of a pod's sandbox and containers, from the spec. Pure.

Called by the pod worker. Environment and volume mounts come in ready-made (``sampan.node.env``, ``.volumes``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

import orjson

from sampan.api import resolvconf
from sampan.api.types import Obj
from sampan.api.validation.security import sysctl_with_dots
from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.pods import resources, security, spec, state
from sampan.node.pods.swap import Swap
from sampan.records import dataclass

DEFAULT_TERMINATION_PATH = "/dev/termination-log"
_HOSTNAME_LIMIT = 63
_SEARCH_LIMIT = 32


#: The node's own resolv.conf.
HostDns = resolvconf.ResolvConf
parse_resolv_conf = resolvconf.parse


def hostname(pod: Obj) -> str:
    override = pod["spec"].get("hostnameOverride")
    name: str = override or pod["spec"].get("hostname") or pod["metadata"]["name"]
    return name[:_HOSTNAME_LIMIT].rstrip("-.")


def fully_qualified(pod: Obj, config: NodeConfig) -> str:
    """The pod's own name in the cluster's DNS, when it has a subdomain; else ""."""
    subdomain = pod["spec"].get("subdomain")
    if not subdomain:
        return ""
    return f"{hostname(pod)}.{subdomain}.{pod['metadata']['namespace']}.svc.{config.cluster_domain}"


def pod_dns(pod: Obj, config: NodeConfig, host: HostDns) -> runtime.DnsConfig:
    """ClusterFirst, ClusterFirstWithHostNet, Default, None; then dnsConfig on top."""
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    cluster = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not spec.is_host_network(pod))
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    if policy != "None":
        if cluster and config.cluster_dns:
            domain = config.cluster_domain
            servers = list(config.cluster_dns)
            searches = [f"{pod['metadata']['namespace']}.svc.{domain}", f"svc.{domain}", domain, *host.searches]
            options = ["ndots:5"]
        else:
            servers, searches, options = list(host.servers), list(host.searches), list(host.options)
    extra = pod["spec"].get("dnsConfig") or {}
    servers += [item for item in extra.get("nameservers") or () if item not in servers]
    searches += [item for item in extra.get("searches") or () if item not in searches]
    for option in extra.get("options") or ():
        options = [item for item in options if item.partition(":")[0] != option["name"]]
        value = option.get("value")
        options.append(f"{option['name']}:{value}" if value else option["name"])
    return runtime.DnsConfig(tuple(servers[:3]), tuple(searches[:_SEARCH_LIMIT]), tuple(options))


def pod_labels(pod: Obj) -> dict[str, str]:
    meta = pod["metadata"]
    return {
        runtime.POD_NAME_LABEL: meta["name"],
        runtime.POD_NAMESPACE_LABEL: meta["namespace"],
        runtime.POD_UID_LABEL: meta["uid"],
    }


def sandbox_config(
    pod: Obj, config: NodeConfig, host: HostDns, attempt: int, cgroup_parent: str
) -> runtime.SandboxConfig:
    meta = pod["metadata"]
    context = pod["spec"].get("securityContext") or {}
    host_network = spec.is_host_network(pod)
    ports = () if host_network else _port_mappings(pod)
    name = hostname(pod)
    if pod["spec"].get("setHostnameAsFQDN"):
        name = fully_qualified(pod, config) or name
    return runtime.SandboxConfig(
        name=meta["name"],
        uid=meta["uid"],
        namespace=meta["namespace"],
        attempt=attempt,
        hostname="" if host_network else name,
        log_directory=str(config.pod_log_dir(meta["namespace"], meta["name"], meta["uid"])),
        dns=pod_dns(pod, config, host),
        port_mappings=ports,
        labels={**(meta.get("labels") or {}), **pod_labels(pod)},
        annotations=dict(meta.get("annotations") or {}),
        cgroup_parent=cgroup_parent,
        namespaces=_sandbox_namespaces(pod),
        run_as_user=context.get("runAsUser"),
        run_as_group=context.get("runAsGroup") if context.get("runAsUser") is not None else None,
        supplemental_groups=security.supplemental_groups(pod),
        privileged=security.any_privileged(pod),
        seccomp=runtime.SecurityProfile("RuntimeDefault"),
        selinux=security.selinux(context.get("seLinuxOptions")),
        strict_groups=security.strict_groups(pod),
        sysctls={sysctl_with_dots(item["name"]): item["value"] for item in context.get("sysctls") or ()},
    )


def _sandbox_namespaces(pod: Obj) -> runtime.Namespaces:
    return security.namespaces(pod)


def _port_mappings(pod: Obj) -> tuple[runtime.PortMapping, ...]:
    return tuple(
        runtime.PortMapping(
            port["containerPort"], port["hostPort"], port.get("protocol") or "TCP", port.get("hostIP") or ""
        )
        for sort, container in spec.all_containers(pod)
        if sort == "main" or spec.is_sidecar(sort, container)
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerInputs:
    """What a container's configuration needs besides the spec."""

    attempt: int
    image: runtime.Image
    environment: Mapping[str, str]
    command: Sequence[str]
    args: Sequence[str]
    mounts: Sequence[runtime.Mount]
    memory_capacity_bytes: int = 0
    #: The container whose processes an ephemeral container sees.
    target_id: str = ""
    devices: Sequence[runtime.Device] = ()
    #: Of device plug-ins, for the runtime.
    annotations: Mapping[str, str] = field(default_factory=dict)
    #: Where seccomp profiles of type Localhost lie.
    seccomp_root: str = ""
    #: The machine has cgroup v2.
    unified_cgroups: bool = False
    #: The processors that it may use; "": those of its pod.
    cpus: str = ""
    memory_nodes: str = ""
    page_sizes: tuple[str, ...] = ()
    #: How the machine swaps; None: its kernel bounds no container's swap.
    swap: Swap | None = None


def container_config(pod: Obj, container: Obj, inputs: ContainerInputs) -> runtime.ContainerConfig:
    """Raises security.ContainerRefused."""
    security.verify_container(container)
    name = container["name"]
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    annotations = {
        **inputs.annotations,
        state.HASH_ANNOTATION: spec.container_hash(container),
        state.RESTART_COUNT_ANNOTATION: str(inputs.attempt),
        state.TERMINATION_PATH_ANNOTATION: container.get("terminationMessagePath") or DEFAULT_TERMINATION_PATH,
        state.TERMINATION_POLICY_ANNOTATION: container.get("terminationMessagePolicy") or "File",
        state.GRACE_ANNOTATION: str(30 if grace is None else grace),
    }
    if ports := container.get("ports"):
        annotations["io.kubernetes.container.ports"] = orjson.dumps(ports).decode()
    return runtime.ContainerConfig(
        name=name,
        attempt=inputs.attempt,
        image=inputs.image.id,
        user_image=container.get("image", ""),
        command=tuple(inputs.command),
        args=tuple(inputs.args),
        working_dir=container.get("workingDir") or "",
        env=tuple(inputs.environment.items()),
        mounts=tuple(inputs.mounts),
        devices=tuple(inputs.devices),
        labels={**pod_labels(pod), runtime.CONTAINER_NAME_LABEL: name},
        annotations=annotations,
        log_path=f"{name}/{inputs.attempt}.log",
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        resources=resources.container_resources(
            pod,
            container,
            inputs.memory_capacity_bytes,
            unified=inputs.unified_cgroups,
            cpus=inputs.cpus,
            memory_nodes=inputs.memory_nodes,
            page_sizes=inputs.page_sizes,
            swap=inputs.swap,
        ),
        stop_signal=security.stop_signal(container),
        security=security.container_security(pod, container, inputs.image, inputs.target_id, inputs.seccomp_root),
    )


def render_hosts(pod: Obj, ips: Sequence[str], config: NodeConfig, host_file: str | None = None) -> str:
    """The pod's /etc/hosts; ``host_file`` is the node's own, for pods in its network."""
    if host_file is not None:
        lines = ["# Kubernetes-managed hosts file (host network).", host_file.rstrip("\n")]
    else:
        lines = [
            "# Kubernetes-managed hosts file.",
            "127.0.0.1\tlocalhost",
            "::1\tlocalhost ip6-localhost ip6-loopback",
            "fe00::0\tip6-localnet",
            "fe00::0\tip6-mcastprefix",
            "fe00::1\tip6-allnodes",
            "fe00::2\tip6-allrouters",
        ]
        name = hostname(pod)
        full = fully_qualified(pod, config)
        names = f"{full}\t{name}" if full else name
        lines += [f"{address}\t{names}" for address in ips]
    aliases = pod["spec"].get("hostAliases") or ()
    if aliases:
        lines += ["", "# Entries added by HostAliases."]
        lines += ["\t".join([alias["ip"], *(alias.get("hostnames") or ())]) for alias in aliases]
    return "\n".join(lines) + "\n"
