"""``sampan controller-manager`` and ``sampan scheduler``: parts of a control plane as programs of their own.

Options have the names, meanings and defaults of kube-controller-manager and kube-scheduler.
"""

from __future__ import annotations

import socket
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sampan.cli.commands import Group, Option
from sampan.cluster.errors import WrongUsage

if TYPE_CHECKING:
    from sampan.cluster.apart.options import Program

KubeConfig = Annotated[str, Option("--kubeconfig", help="How to reach the API server; without it, as a pod does.")]
Elect = Annotated[
    str, Option("--leader-elect", bare="true", help="Wait for the lease, and act only while holding it: true or false.")
]
Lease = Annotated[
    str, Option("--leader-elect-lease-duration", help="How long others wait for a leader that does not renew.")
]
Deadline = Annotated[
    str, Option("--leader-elect-renew-deadline", help="How long a leader that cannot renew goes on acting.")
]
Retry = Annotated[str, Option("--leader-elect-retry-period", help="Between two tries to take or to renew the lease.")]
LeaseNamespace = Annotated[str, Option("--leader-elect-resource-namespace", help="Where the lease is.")]
LeaseName = Annotated[str, Option("--leader-elect-resource-name", help="What the lease is called.")]
BindAddress = Annotated[str, Option("--bind-address", help="Where to serve health and metrics.")]
_LAST_PORT = 65_535
Port = Annotated[int, Option("--secure-port", min=0, help="The port for that, by HTTPS; 0 serves none.")]
Certificate = Annotated[
    str, Option("--tls-cert-file", help="Certificate for that; without one, the program makes one for itself.")
]
Key = Annotated[str, Option("--tls-private-key-file", help="Its key.")]
ClientCa = Annotated[str, Option("--client-ca-file", help="Whose client certificates may ask for metrics.")]


def add_to(app: Group) -> None:
    app.command("controller-manager")(controller_manager)
    app.command("scheduler")(scheduler)


def controller_manager(
    kubeconfig: KubeConfig = "",
    controllers: Annotated[
        str,
        Option(
            "--controllers",
            help="Which controllers run: `*` all that are on by default, `foo` that one, `-foo` not that one.",
        ),
    ] = "*",
    leader_elect: Elect = "true",
    lease_duration: Lease = "15s",
    renew_deadline: Deadline = "10s",
    retry_period: Retry = "2s",
    lease_namespace: LeaseNamespace = "kube-system",
    lease_name: LeaseName = "kube-controller-manager",
    use_service_account_credentials: Annotated[
        str,
        Option(
            "--use-service-account-credentials",
            bare="true",
            help="Each controller writes as its own ServiceAccount (upstream's default is false).",
        ),
    ] = "true",
    allocate_node_cidrs: Annotated[
        str, Option("--allocate-node-cidrs", bare="true", help="Give each node a range of addresses for its pods.")
    ] = "false",
    cluster_cidr: Annotated[
        str, Option("--cluster-cidr", help="The range that those are parts of, or one of each family: A,B.")
    ] = "",
    node_cidr_mask_size: Annotated[int, Option("--node-cidr-mask-size", min=1, help="How large each is.")] = 24,
    node_cidr_mask_size_ipv4: Annotated[
        int | None, Option("--node-cidr-mask-size-ipv4", min=1, help="The same where there are both families.")
    ] = None,
    node_cidr_mask_size_ipv6: Annotated[
        int, Option("--node-cidr-mask-size-ipv6", min=1, help="How large each is in IPv6.")
    ] = 64,
    root_ca_file: Annotated[
        str, Option("--root-ca-file", help="The CA that pods trust; it is published to them.")
    ] = "",
    cluster_signing_cert_file: Annotated[
        str, Option("--cluster-signing-cert-file", help="The CA that signs CertificateSigningRequests.")
    ] = "",
    cluster_signing_key_file: Annotated[str, Option("--cluster-signing-key-file", help="Its key.")] = "",
    cluster_signing_duration: Annotated[
        str, Option("--cluster-signing-duration", help="How long what it signs is valid, at most.")
    ] = "8760h",
    node_monitor_grace_period: Annotated[
        str, Option("--node-monitor-grace-period", help="How long a node may be silent before it is unhealthy.")
    ] = "50s",
    terminated_pod_gc_threshold: Annotated[
        int, Option("--terminated-pod-gc-threshold", min=0, help="How many pods that ended are kept.")
    ] = 12500,
    bind_address: BindAddress = "0.0.0.0",
    secure_port: Port = 10257,
    tls_cert_file: Certificate = "",
    tls_private_key_file: Key = "",
    client_ca_file: ClientCa = "",
) -> None:
    """Run the controllers as a program of their own, for any API server.

    Several of them elect a leader, and the others stand by. It ends when it leads no longer.
    """
    from sampan.cluster.apart import manager, options
    from sampan.controllers import selection
    from sampan.controllers.context import ControllersConfig
    from sampan.controllers.manager import CONTROLLERS

    patterns = options.words(controllers)
    try:
        off = selection.disabled(patterns, CONTROLLERS)
    except selection.UnknownControllers as error:
        listed = ", ".join(sorted(CONTROLLERS))
        raise WrongUsage(f"--controllers: {error}", fix=f"all controllers: {listed}") from error
    if not options.truth("--allocate-node-cidrs", allocate_node_cidrs):
        off |= {"node-ipam-controller"}
    elif not cluster_cidr:
        raise WrongUsage("--allocate-node-cidrs needs --cluster-cidr", fix="give the range of all pods' addresses")
    config = ControllersConfig(
        node_cidr_mask_size=node_cidr_mask_size if node_cidr_mask_size_ipv4 is None else node_cidr_mask_size_ipv4,
        node_cidr_mask_size_ipv6=node_cidr_mask_size_ipv6,
        root_ca_pem=_read("--root-ca-file", root_ca_file),
        signing_certificate=_path(cluster_signing_cert_file),
        signing_key=_path(cluster_signing_key_file),
        signing_seconds=options.seconds("--cluster-signing-duration", cluster_signing_duration),
        node_monitor_grace_seconds=options.seconds("--node-monitor-grace-period", node_monitor_grace_period),
        terminated_pod_threshold=terminated_pod_gc_threshold,
        disabled=off,
    )
    if cluster_cidr:
        config = replace(config, cluster_cidr=cluster_cidr)
    own = options.truth("--use-service-account-credentials", use_service_account_credentials)
    election = (leader_elect, lease_duration, renew_deadline, retry_period, lease_name, lease_namespace)
    program = program_of(
        "kube-controller-manager",
        kubeconfig,
        election,
        (bind_address, secure_port),
        (tls_cert_file, tls_private_key_file, client_ca_file),
    )
    missing = selection.asked_in_vain(patterns, CONTROLLERS)
    start(manager.serve(program, config, own_accounts=own), [f"{name} is not part of this build" for name in missing])


def scheduler(
    config: Annotated[
        str, Option("--config", help="File with a KubeSchedulerConfiguration (or an old Policy); docs/scheduler.md.")
    ] = "",
    plugin_files: Annotated[
        str, Option("--plugin-files", help="Python files with plug-ins, separated by commas; read again on a change.")
    ] = "",
    feature_gates: Annotated[
        str, Option("--feature-gates", help="GenericWorkload=true schedules gangs (PodGroup) together.")
    ] = "",
    kubeconfig: KubeConfig = "",
    leader_elect: Elect = "true",
    lease_duration: Lease = "15s",
    renew_deadline: Deadline = "10s",
    retry_period: Retry = "2s",
    lease_namespace: LeaseNamespace = "kube-system",
    lease_name: LeaseName = "kube-scheduler",
    bind_address: BindAddress = "0.0.0.0",
    secure_port: Port = 10259,
    tls_cert_file: Certificate = "",
    tls_private_key_file: Key = "",
    client_ca_file: ClientCa = "",
) -> None:
    """Run the scheduler as a program of its own, for any API server.

    Several of them elect a leader, and the others stand by. It ends when it leads no longer. What the file of --config
    says of leader election and of the kubeconfig holds where no option says otherwise.
    """
    from sampan.cluster.apart import options
    from sampan.cluster.apart import scheduler as scheduling
    from sampan.scheduler.config import SchedulerConfig

    loaded = scheduling.load(config) if config else None
    files = [Path(name).absolute() for name in options.words(plugin_files)]
    chosen = scheduling.with_gates(loaded.scheduler if loaded is not None else SchedulerConfig(), feature_gates)
    scheduling.check_plugins(files, chosen)
    if loaded is not None:
        kubeconfig = kubeconfig or loaded.client_connection.get("kubeconfig", "")
        told = loaded.leader_election
        leader_elect = _unless_given(leader_elect, "true", str(told.get("leaderElect", True)).lower())
        lease_duration = _unless_given(lease_duration, "15s", told.get("leaseDuration"))
        renew_deadline = _unless_given(renew_deadline, "10s", told.get("renewDeadline"))
        retry_period = _unless_given(retry_period, "2s", told.get("retryPeriod"))
        lease_namespace = _unless_given(lease_namespace, "kube-system", told.get("resourceNamespace"))
        lease_name = _unless_given(lease_name, "kube-scheduler", told.get("resourceName"))
    election = (leader_elect, lease_duration, renew_deadline, retry_period, lease_name, lease_namespace)
    program = program_of(
        "kube-scheduler",
        kubeconfig,
        election,
        (bind_address, secure_port),
        (tls_cert_file, tls_private_key_file, client_ca_file),
    )
    warnings = [f"{config}: {warning}" for warning in loaded.warnings] if loaded is not None else []
    start(scheduling.serve(program, chosen, files), warnings)


def _unless_given(option: str, default: str, told: str | None) -> str:
    """What the file tells, where the option is left as it is by default."""
    return told if told and option == default else option


def program_of(
    component: str,
    kubeconfig: str,
    election: tuple[str, str, str, str, str, str],
    place: tuple[str, int],
    files: tuple[str, str, str],
) -> Program:
    """Raises ClusterError, WrongUsage."""
    from sampan.api.clock import SystemRandom, random_uuid
    from sampan.cluster.apart import options

    if bool(files[0]) != bool(files[1]):
        raise WrongUsage(
            "--tls-cert-file and --tls-private-key-file belong together",
            fix="give both, or neither: the program makes a certificate for itself then",
        )
    if place[1] > _LAST_PORT:
        raise WrongUsage(f"--secure-port: {place[1]} is no port", fix=f"give one up to {_LAST_PORT}; 0 serves none")
    identity = f"{socket.gethostname()}_{random_uuid(SystemRandom())}"
    return options.Program(
        component=component,
        connection=options.connection(kubeconfig),
        election=options.election(*election, identity),
        bind_address=place[0],
        secure_port=place[1],
        tls_certificate=_path(files[0]),
        tls_key=_path(files[1]),
        client_ca=_path(files[2]),
        kubeconfig=_path(kubeconfig),
    )


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _read(option: str, path: str) -> str:
    try:
        return Path(path).read_text() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        from sampan.api.faults import cause

        raise WrongUsage(f"{option}: {path}: {cause(error)}") from error


def start(work: Coroutine[None, None, None], warnings: Sequence[str] = ()) -> None:
    """Blocks until the program ends."""
    import logging

    import uvloop

    from sampan.cluster.arguments import log_to_stderr

    log_to_stderr()
    for text in warnings:
        logging.getLogger(__name__).warning("%s", text)
    uvloop.run(work)
