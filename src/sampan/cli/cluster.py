"""``sampan up``, ``down``, ``status``, ``kubeconfig``: one cluster instance on this machine."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from sampan.cli.commands import Group, Option
from sampan.cli.options import (
    AdmissionConfig,
    CpuInitialization,
    CredentialPrograms,
    CredentialProviders,
    DisablePlugins,
    DownscaleStabilization,
    EnablePlugins,
    EtcdCa,
    EtcdCertificate,
    EtcdKey,
    EtcdPrefix,
    EtcdServers,
    FeatureGates,
    InitialReadiness,
    Name,
    Output,
    RuntimeConfig,
    SchedulerConfigFile,
    SchedulerPlugins,
    Store,
    SyncPeriod,
    Tolerance,
    admission_options,
    autoscaler_options,
    image_options,
    scheduler_options,
    store_options,
)
from sampan.cli.progress import steps
from sampan.cluster.errors import ClusterError, WrongUsage
from sampan.cluster.settings import DEFAULT_NAME

if TYPE_CHECKING:
    from sampan.cluster.instance import Instance
    from sampan.cluster.status import Seen

KubeconfigFile = Annotated[
    Path | None, Option("--kubeconfig", help="Kubeconfig to add the context to. Default: as kubectl.")
]


def add_to(app: Group) -> None:
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(kubeconfig)


def up(
    name: Name = DEFAULT_NAME,
    api_port: Annotated[int | None, Option(help="Port of the API server. [6443]")] = None,
    kubelet_port: Annotated[int | None, Option(help="Port of the node's own API. [10250]")] = None,
    dns_port: Annotated[int | None, Option(help="Port of the node's DNS server. [10053]")] = None,
    ip_family: Annotated[
        str | None,
        Option(help="Families of addresses: ipv4, ipv6, dual (IPv4 first) or dual-ipv6 (IPv6 first). [ipv4]"),
    ] = None,
    pod_cidr: Annotated[
        str | None, Option(help="Address range of pods, or one of each family: A,B. [10.244.0.0/14]")
    ] = None,
    node_cidr_mask: Annotated[int | None, Option(help="Size of a node's part of it, in IPv4. [24]")] = None,
    node_cidr_mask_ipv6: Annotated[int | None, Option(help="The same in IPv6. [64]")] = None,
    service_cidr: Annotated[str | None, Option(help="Address range of Services, the same way. [10.96.0.0/16]")] = None,
    node_port_range: Annotated[str | None, Option(help="Ports of NodePort Services. [30000-32767]")] = None,
    node_name: Annotated[str | None, Option(help="Name of this node. [the host name]")] = None,
    node_address: Annotated[str | None, Option(help="Address of this node; auto: of the default route. [auto]")] = None,
    runtime: Annotated[str | None, Option(help="OCI runtime below containerd: runc or crun. [runc]")] = None,
    proxy_mode: Annotated[
        str | None, Option(help="What makes Services real: nftables, iptables, ipvs or userspace. [nftables]")
    ] = None,
    ipvs_scheduler: Annotated[str | None, Option(help="With ipvs: rr, lc, sh and others of IPVS. [rr]")] = None,
    nodeport_addresses: Annotated[
        str | None, Option(help="Ranges of the node's addresses that node ports answer on. [every address]")
    ] = None,
    loadbalancer_pool: Annotated[
        str | None, Option(help="Addresses for LoadBalancers, announced on the nodes' network: A-B[,...]. [none]")
    ] = None,
    pod_network_backend: Annotated[
        str | None,
        Option(help="How pods reach other nodes': auto, host-gw, vxlan, wireguard or none. [auto]"),
    ] = None,
    cni_conf_dir: Annotated[
        str | None,
        Option(
            help="Directory with the CNI configuration of another pod network, as /etc/cni/net.d; ours is not made."
        ),
    ] = None,
    simulate: Annotated[
        str | None, Option(help="Simulate nodes: how many, or a file that describes them. Needs no root.")
    ] = None,
    with_node: Annotated[
        bool, Option("--with-node", help="With --simulate: this machine's own node beside them.")
    ] = False,
    boot: Annotated[
        bool | None,
        Option("--boot/--no-boot", help="Start it with the machine from now on, or no longer.", show_default=False),
    ] = None,
    allowed_unsafe_sysctls: Annotated[
        str | None, Option(help="Sysctls that pods may set though they are not safe, as kernel.msg*,net.core.*")
    ] = None,
    node_labels: Annotated[
        str | None, Option(help="Labels that the Node is given when it is made, as disk=ssd,rack=7.")
    ] = None,
    kubelet_config: Annotated[
        str | None, Option(help="File with a KubeletConfiguration: eviction, limits, reservations, shutdown.")
    ] = None,
    cloud_provider: Annotated[
        str | None,
        Option(help="external: pods come to the node once a cloud-controller-manager has found its machine. [none]"),
    ] = None,
    enable_plugins: EnablePlugins = None,
    disable_plugins: DisablePlugins = None,
    admission_config: AdmissionConfig = None,
    scheduler_config: SchedulerConfigFile = None,
    scheduler_plugins: SchedulerPlugins = None,
    autoscaler_sync: SyncPeriod = None,
    autoscaler_stabilization: DownscaleStabilization = None,
    autoscaler_tolerance: Tolerance = None,
    autoscaler_cpu: CpuInitialization = None,
    autoscaler_readiness: InitialReadiness = None,
    credential_providers: CredentialProviders = None,
    credential_programs: CredentialPrograms = None,
    runtime_config: RuntimeConfig = None,
    feature_gates: FeatureGates = None,
    gateway_api: Annotated[
        bool | None,
        Option(
            "--gateway-api/--no-gateway-api",
            help="Install the definitions of the Gateway API, or not. [install]",
            show_default=False,
        ),
    ] = None,
    ingress: Annotated[
        bool | None,
        Option("--ingress/--no-ingress", help="Serve Ingresses and Gateways, or not. [serve]", show_default=False),
    ] = None,
    ingress_http_port: Annotated[int | None, Option(help="Port of Ingresses for HTTP. [80]")] = None,
    ingress_https_port: Annotated[int | None, Option(help="Port of Ingresses for HTTPS. [443]")] = None,
    ingress_classes: Annotated[
        str | None, Option(help="Serve Ingresses of these classes too, though no IngressClass has them, as nginx.")
    ] = None,
    store: Store = None,
    etcd_servers: EtcdServers = None,
    etcd_ca: EtcdCa = None,
    etcd_certificate: EtcdCertificate = None,
    etcd_key: EtcdKey = None,
    etcd_prefix: EtcdPrefix = None,
    etcd_program: Annotated[
        str | None, Option(help="With --store etcd: the program of its member. [etcd of the PATH]")
    ] = None,
    etcd_client_port: Annotated[int | None, Option(help="Its port for clients. [2379]")] = None,
    etcd_peer_port: Annotated[int | None, Option(help="Its port for other members. [2380]")] = None,
    etcd_endpoint: Annotated[
        str | None,
        Option(help="ADDRESS:PORT at which the SQLite store is served as etcd would, for etcdctl; '' ends it."),
    ] = None,
    kubeconfig_file: KubeconfigFile = None,
    timeout: Annotated[float, Option(min=1, help="Seconds until it is given up. [60]", show_default=False)] = 60.0,
) -> None:
    """Start a cluster on this machine, or start it again with all it had.

    Ports and ranges that are not given are chosen: those in brackets, or the next that no other cluster of this machine
    has. A cluster that exists keeps what it was made with; stopped, its ports, address, runtime, proxy mode, pod
    network back end, sysctls, kubelet configuration, admission plugins, the scheduler's configuration, simulated nodes,
    what autoscalers go by, how images are pulled, served versions and features can be given anew.
    """
    import asyncio

    from sampan.api.clock import SystemClock
    from sampan.cluster import instance as instances
    from sampan.cluster import kubeconfigs
    from sampan.cluster import up as starting
    from sampan.cluster.choosing import Given

    began = time.monotonic()
    options: dict[str, Any] = {
        "--api-port": api_port,
        "--kubelet-port": kubelet_port,
        "--dns-port": dns_port,
        "--pod-cidr": pod_cidr,
        "--node-cidr-mask": node_cidr_mask,
        "--node-cidr-mask-ipv6": node_cidr_mask_ipv6,
        "--service-cidr": service_cidr,
        "--node-port-range": None if node_port_range is None else _port_range(node_port_range),
        "--node-name": node_name,
        "--node-address": "" if node_address == "auto" else node_address,
        "--runtime": runtime,
        "--cni-conf-dir": str(Path(cni_conf_dir).absolute()) if cni_conf_dir else cni_conf_dir,
        "--pod-network-backend": pod_network_backend,
        "--proxy-mode": proxy_mode,
        "--ipvs-scheduler": ipvs_scheduler,
        "--nodeport-addresses": nodeport_addresses,
        "--allowed-unsafe-sysctls": allowed_unsafe_sysctls,
        "--cloud-provider": cloud_provider,
        "--node-labels": node_labels,
        "--kubelet-config": str(Path(kubelet_config).absolute()) if kubelet_config else kubelet_config,
        "--simulate": simulate if simulate is None or simulate.isdigit() else str(Path(simulate).absolute()),
        **admission_options(enable_plugins, disable_plugins, admission_config),
        **scheduler_options(scheduler_config, scheduler_plugins),
        **autoscaler_options(
            autoscaler_sync, autoscaler_stabilization, autoscaler_tolerance, autoscaler_cpu, autoscaler_readiness
        ),
        **image_options(credential_providers, credential_programs),
        "--runtime-config": runtime_config,
        "--feature-gates": feature_gates,
        "--gateway-api": gateway_api,
        "--ingress": ingress,
        "--ingress-http-port": ingress_http_port,
        "--ingress-https-port": ingress_https_port,
        "--ingress-classes": ingress_classes,
        "--loadbalancer-pool": loadbalancer_pool,
        **store_options(store, etcd_servers, etcd_ca, etcd_certificate, etcd_key, etcd_prefix),
        "--etcd-program": etcd_program,
        "--etcd-client-port": etcd_client_port,
        "--etcd-peer-port": etcd_peer_port,
        "--etcd-endpoint": etcd_endpoint,
    }
    given = Given(
        {option: value for option, value in options.items() if value is not None},
        with_node=with_node,
        families=_families(ip_family),
    )
    named = instances.nameless(name)
    if boot and os.geteuid() != 0:
        raise ClusterError("only root's clusters start with the machine", fix="leave --boot out, or run as root (sudo)")
    if os.geteuid() == 0 or simulate or named.exists():  # else it is told what it takes to be root
        kubeconfigs.check_place(kubeconfig_file)
    with steps() as progress:
        starts = starting.up(named, given, SystemClock(), progress, timeout_seconds=timeout)
        instance, started = asyncio.run(starts)
    if started:
        print(f"Cluster {name!r} is ready after {time.monotonic() - began:.1f} s.")
    else:
        print(f"Cluster {name!r} is already running.")
    if name != DEFAULT_NAME:
        print(_ports_and_ranges(instance))
    if boot is not None:
        print(_boot(instance, wanted=boot))
    if not instance.node.runs_control_plane:  # and no administrator's credentials either
        print(f"It is node {instance.node.name!r} of the cluster at {instance.api_url}.")
        return
    target = kubeconfigs.merge(instance, kubeconfig_file)
    print(f"kubectl is set to context {instance.context!r} in {target}. Try: kubectl get nodes")


def down(
    name: Name = DEFAULT_NAME,
    purge: Annotated[bool, Option("--purge", help="Also remove all state: nothing of it is left.")] = False,
) -> None:
    """Stop the cluster. Its state stays for the next `sampan up`, unless --purge is given."""
    import asyncio

    from sampan.cluster import down as stopping
    from sampan.cluster import instance as instances

    # By name alone: half-made or damaged, it can still be stopped, and whatever carries the name removed.
    instance = instances.nameless(name)
    if not purge and not instance.exists():
        instance = instances.load(name)  # raises, and says why
    with steps() as progress:
        if purge:
            asyncio.run(stopping.purge(instance, progress))
        else:
            was_running = asyncio.run(stopping.down(instance, progress))
    if purge:
        print(f"Cluster {name!r} is gone.")
    else:
        print(f"Cluster {name!r} is stopped." if was_running else f"Cluster {name!r} was not running.")


def status(name: Name = DEFAULT_NAME, output: Output = "") -> None:
    """Show the processes, the API server, the node and the pods. Exit code 1 when something is not as it should be."""
    from sampan.cli import options
    from sampan.cluster import instance as instances

    instance = instances.load(name)
    show = options.printer(output)
    from sampan.cluster.status import observe  # loads the client's parts: errors come before

    seen = observe(instance)
    if show is None:
        _print_status(instance, seen)
    else:
        show(_describe(instance, seen))
    if not seen.healthy:
        sys.exit(1)


def kubeconfig(
    name: Name = DEFAULT_NAME,
    merge: Annotated[bool, Option("--merge", help="Add it to your kubeconfig and make it current.")] = False,
    kubeconfig_file: KubeconfigFile = None,
) -> None:
    """Print the kubeconfig of the cluster's admin, or add it to yours."""
    from sampan.cluster import instance as instances

    instance = instances.load(name)
    from sampan.cluster import kubeconfigs

    if merge or kubeconfig_file is not None:
        print(f"Context {instance.context!r} is in {kubeconfigs.merge(instance, kubeconfig_file)}")
    else:
        print(kubeconfigs.admin_text(instance), end="")


def _print_status(instance: Instance, seen: Seen) -> None:
    print(f"Cluster {instance.name!r}: {'running' if seen.running else 'stopped'}")
    for process in seen.processes:
        state = f"pid {process.pid}, {process.rss_bytes / 2**20:.0f} MiB" if process.pid else "not running"
        again = f", restarted {process.restarts} times (last: {process.last_exit})" if process.restarts else ""
        print(f"  {process.name:<12}{state}{again}")
        for part in process.failed:
            now = "runs again" if part.running else "waits to be started again"
            print(f"    {part.name}: failed {part.failures} times (last: {part.last_fault}), {now}")
    if seen.running:
        print(f"  {'API server':<12}{'ready' if seen.api_ready else 'not ready'} at {instance.api_url}")
        for member in seen.etcd:
            role = "leads" if member.leads else "follows"
            well = f"{member.version}, {role}, {member.size_bytes / 2**20:.0f} MiB"
            print(f"  {'etcd member':<12}{member.endpoint}: {member.problem or well}")
        if instance.node.etcd_endpoint:
            print(f"  {'etcd API':<12}of the store at https://{instance.node.etcd_endpoint} ({instance.pki / 'etcd'})")
        if instance.node.runs_containers:
            print(f"  {'node':<12}{'Ready' if seen.node_ready else 'not Ready'}: {seen.node_message}")
            if instance.node.ingress:
                node = instance.node
                print(
                    f"  {'ingress':<12}on ports {node.ingress_http_port} (HTTP) and {node.ingress_https_port} (HTTPS)"
                )
        if seen.simulated:
            print(f"  {'simulated':<12}{seen.simulated_ready} of {seen.simulated} nodes Ready")
        print(f"  {'pods':<12}{seen.pods_running} running of {seen.pods}")
    print(f"  {'logs':<12}{instance.command('logs')}")


def _describe(instance: Instance, seen: Seen) -> dict[str, Any]:
    """The same for programs. Names once given stay."""
    return {
        "name": instance.name,
        "running": seen.running,
        "healthy": seen.healthy,
        "context": instance.context,
        "kubeconfig": str(instance.admin_kubeconfig),
        "logs": str(instance.logs),
        "processes": [
            {
                "name": process.name,
                "pid": process.pid,
                "rssBytes": process.rss_bytes,
                "restarts": process.restarts,
                "lastExit": process.last_exit,
            }
            for process in seen.processes
        ],
        "apiServer": {"url": instance.api_url, "ready": seen.api_ready},
        **({"etcd": [dataclasses.asdict(member) for member in seen.etcd]} if seen.etcd else {}),
        "node": {"name": instance.node.name, "ready": seen.node_ready, "message": seen.node_message},
        "simulatedNodes": {"total": seen.simulated, "ready": seen.simulated_ready},
        "pods": {"total": seen.pods, "running": seen.pods_running},
    }


def _boot(instance: Instance, *, wanted: bool) -> str:
    from sampan.cluster import boot

    if not wanted:
        boot.remove(instance)
        return "It does not start with this machine."
    if boot.install(instance):
        return f"It starts with this machine ({boot.unit_name(instance)})."
    return boot.advice(instance)


def _ports_and_ranges(instance: Instance) -> str:
    cluster, node = instance.cluster, instance.node
    low, high = cluster.node_ports
    ingress = f", {node.ingress_http_port} and {node.ingress_https_port} (Ingress)" if node.ingress else ""
    return (
        f"It has ports {cluster.api_port} (API), {node.kubelet_port} (node), {node.dns_port} (DNS), {low}-{high} "
        f"(node ports){ingress}, pods in {cluster.pod_cidr}, Services in {cluster.service_cidr}."
    )


def _families(text: str | None) -> tuple[int, ...]:
    known = {None: (), "ipv4": (4,), "ipv6": (6,), "dual": (4, 6), "dual-ipv6": (6, 4)}
    if text not in known:
        raise WrongUsage(f"--ip-family {text!r} is not known", fix="choose ipv4, ipv6, dual or dual-ipv6")
    return known[text]


def _port_range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text)
    if not match:
        raise ClusterError(f"node port range {text!r} is not valid", fix="write it like 30000-32767")
    return int(match[1]), int(match[2])
