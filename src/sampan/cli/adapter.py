"""``sampan metrics-adapter``: custom and external metrics out of a Prometheus server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sampan.cli.commands import Group, Option
from sampan.cluster.errors import ClusterError, WrongUsage


def add_to(app: Group) -> None:
    app.command("metrics-adapter")(metrics_adapter)


def metrics_adapter(
    prometheus: Annotated[str, Option("--prometheus", help="URL of the Prometheus server.", show_default=False)] = "",
    config: Annotated[
        Path | None, Option("--config", help="Rules, in the format of prometheus-adapter's configuration file.")
    ] = None,
    kubeconfig: Annotated[Path | None, Option("--kubeconfig", help="Of the cluster. Default: as kubectl.")] = None,
    address: Annotated[
        str, Option("--address", help="Where the API server reaches this machine. Default: found.", show_default=False)
    ] = "",
    port: Annotated[int, Option("--port", help="0: any free one.", min=0)] = 0,
    no_register: Annotated[bool, Option("--no-register", help="Make no Service and no APIServices.")] = False,
) -> None:
    """Serve custom.metrics.k8s.io and external.metrics.k8s.io out of a Prometheus server, in the foreground.

    It registers itself behind the cluster's API server, so that HorizontalPodAutoscalers can scale by any metric that
    Prometheus has, and takes its APIServices away when it ends. docs/metrics.md tells how rules are written.
    """
    import asyncio
    import ipaddress

    from sampan.api.errors import ApiError
    from sampan.client.kubeconfig import KubeConfig, KubeConfigError
    from sampan.cluster.arguments import log_to_stderr
    from sampan.metricsadapter.main import AdapterConfig, read_config, run
    from sampan.metricsadapter.rules import ConfigError

    if not prometheus.startswith(("http://", "https://")):
        raise WrongUsage("the URL of a Prometheus server is needed", fix="--prometheus http://127.0.0.1:9090")
    if config is None:
        raise WrongUsage("a file with rules is needed", fix="--config FILE; docs/metrics.md has an example")
    try:
        found = read_config(config)
        connection = KubeConfig.load(kubeconfig).connection()
    except ConfigError as error:
        raise WrongUsage(f"{config}: {error}", fix="docs/metrics.md says what rules may hold") from None
    except KubeConfigError as error:
        raise WrongUsage(str(error), fix="name a kubeconfig with --kubeconfig") from None
    try:
        address = str(ipaddress.ip_address(address)) if address else ""
    except ValueError:
        raise WrongUsage(f"--address: {address} is no IP address", fix="give a number, such as 10.0.0.5") from None
    wanted = AdapterConfig(prometheus=prometheus, rules=found, address=address, port=port, register=not no_register)
    log_to_stderr()
    try:
        asyncio.run(run(wanted, connection))
    except (ApiError, LookupError) as error:
        said = error.message if isinstance(error, ApiError) else str(error.args[0])
        raise ClusterError(
            f"the adapter cannot begin: {said}", fix="see that the cluster runs and that you may"
        ) from None
