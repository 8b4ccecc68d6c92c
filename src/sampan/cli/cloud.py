"""``sampan cloud-controller-manager``: what a cluster asks of its cloud, as a program of its own.

Options have the names, meanings and defaults of upstream's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sampan.cli.apart import (
    BindAddress,
    Certificate,
    ClientCa,
    Deadline,
    Elect,
    Key,
    KubeConfig,
    Lease,
    LeaseName,
    LeaseNamespace,
    Port,
    Retry,
    program_of,
    start,
)
from sampan.cli.commands import Group, Option
from sampan.cluster.errors import ClusterError, WrongUsage

_KINDS = ("local", "external")


def add_to(app: Group) -> None:
    app.command("cloud-controller-manager")(cloud_controller_manager)


def cloud_controller_manager(
    cloud_provider: Annotated[
        str, Option("--cloud-provider", help="local: machines in a file; external: a program that answers over HTTP.")
    ],
    cloud_config: Annotated[
        str, Option("--cloud-config", help="The file; or the URL, http(s)://HOST:PORT or http+unix:///SOCKET.")
    ],
    cloud_token_file: Annotated[
        Path | None, Option("--cloud-token-file", help="File with the token that an external one is shown.")
    ] = None,
    kubeconfig: KubeConfig = "",
    controllers: Annotated[
        str, Option("--controllers", help="Which controllers run: `*` all, `foo` that one, `-foo` not that one.")
    ] = "*",
    cluster_name: Annotated[str, Option("--cluster-name", help="What the cluster is called there.")] = "kubernetes",
    cluster_cidr: Annotated[
        str, Option("--cluster-cidr", help="The range of pods, whose routes are made; or one of each family: A,B.")
    ] = "",
    configure_cloud_routes: Annotated[
        str, Option("--configure-cloud-routes", bare="true", help="Make routes, where --cluster-cidr is given.")
    ] = "true",
    node_status_update_frequency: Annotated[
        str, Option("--node-status-update-frequency", help="How often addresses and labels of nodes are looked at.")
    ] = "5m",
    node_monitor_period: Annotated[
        str, Option("--node-monitor-period", help="How often the cloud is asked of nodes that are not ready.")
    ] = "5s",
    route_reconciliation_period: Annotated[
        str, Option("--route-reconciliation-period", help="How often routes are looked at.")
    ] = "10s",
    use_service_account_credentials: Annotated[
        str,
        Option(
            "--use-service-account-credentials",
            bare="true",
            help="Each controller writes as its own ServiceAccount.",
        ),
    ] = "false",
    leader_elect: Elect = "true",
    lease_duration: Lease = "15s",
    renew_deadline: Deadline = "10s",
    retry_period: Retry = "2s",
    lease_namespace: LeaseNamespace = "kube-system",
    lease_name: LeaseName = "cloud-controller-manager",
    bind_address: BindAddress = "0.0.0.0",
    secure_port: Port = 10258,
    tls_cert_file: Certificate = "",
    tls_private_key_file: Key = "",
    client_ca_file: ClientCa = "",
) -> None:
    """Run the controllers of a cloud: nodes, their life, routes, load balancers.

    Nodes wait for it that were started with `--cloud-provider external`. docs/cloud.md has the file, and the protocol
    for clouds that are programs.
    """
    import ipaddress

    from sampan.cloud.context import Settings
    from sampan.cloud.manager import CONTROLLERS
    from sampan.cluster.apart import cloud, options

    if cloud_provider not in _KINDS:
        raise WrongUsage(
            f"--cloud-provider {cloud_provider!r} is not part of this build",
            fix="choose local, or external for a program that answers over HTTP (docs/cloud.md)",
        )
    if cloud_provider == "local" and not Path(cloud_config).is_file():
        raise ClusterError(
            f"--cloud-config: there is no file {cloud_config!r}",
            fix="name the file of machines; docs/cloud.md shows one",
        )
    wanted = options.words(controllers)
    if unknown := [word for word in wanted if word != "*" and word.removeprefix("-") not in CONTROLLERS]:
        raise WrongUsage(f"--controllers: {unknown[0]!r} is not known", fix=f"choose of {', '.join(CONTROLLERS)}")
    disabled = frozenset(
        name for name in CONTROLLERS if f"-{name}" in wanted or (name not in wanted and "*" not in wanted)
    )
    cidrs = options.words(cluster_cidr) if options.truth("--configure-cloud-routes", configure_cloud_routes) else ()
    try:
        for cidr in cidrs:
            ipaddress.ip_network(cidr)
    except ValueError as error:
        raise WrongUsage(f"--cluster-cidr: {error}", fix="write it like 10.244.0.0/16") from error
    settings = Settings(
        cluster_name,
        cidrs,
        options.seconds("--node-status-update-frequency", node_status_update_frequency),
        options.seconds("--node-monitor-period", node_monitor_period),
        options.seconds("--route-reconciliation-period", route_reconciliation_period),
    )
    program = program_of(
        "cloud-controller-manager",
        kubeconfig,
        (leader_elect, lease_duration, renew_deadline, retry_period, lease_name, lease_namespace),
        (bind_address, secure_port),
        (tls_cert_file, tls_private_key_file, client_ca_file),
    )
    chosen = cloud.Chosen(cloud_provider, cloud_config, cloud_token_file)
    own = options.truth("--use-service-account-credentials", use_service_account_credentials)
    start(cloud.serve(program, chosen, settings, disabled, own_accounts=own), [])
